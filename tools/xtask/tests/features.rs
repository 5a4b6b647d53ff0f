//! Holds `docs/features-v.md` to the truth: every row is there, and every test that it names exists.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Rust files of the workspace that git would have.
fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            rust_files(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

/// Names of functions behind `#[test]`, and of those of the suite that each driver of remotes passes.
fn test_functions() -> BTreeSet<String> {
    let mut files = Vec::new();
    rust_files(&root(), &mut files);
    let mut names = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let marks: &[&str] =
            if file.ends_with("contract/suite.rs") { &["pub async "] } else { &["#[test]", "#[tokio::test"] };
        for behind in marks.iter().flat_map(|mark| text.split(mark).skip(1)) {
            let name = behind.split("fn ").nth(1).and_then(|rest| rest.split(['(', '<']).next());
            names.extend(name.map(str::to_owned));
        }
    }
    names
}

fn rows() -> Vec<String> {
    let text = fs::read_to_string(root().join("docs/features-v.md")).unwrap();
    text.lines().filter(|line| line.starts_with("| V")).map(str::to_owned).collect()
}

#[test]
fn every_row_is_there_once_and_has_a_test_or_says_that_it_is_not_built() {
    let numbers: Vec<String> = rows().iter().map(|row| row[2..5].to_owned()).collect();
    let wanted: Vec<String> = (1..=49).map(|number| format!("V{number:02}")).collect();
    assert_eq!(numbers, wanted);
    for row in rows() {
        let tests = row.trim_end_matches('|').rsplit('|').next().unwrap();
        assert_eq!(tests.contains('`'), !row.contains("| not built"), "{row}");
    }
}

#[test]
fn every_test_that_a_row_names_exists() {
    let functions = test_functions();
    let (mut named, mut missing) = (0, Vec::new());
    for row in rows() {
        let tests = row.trim_end_matches('|').rsplit('|').next().unwrap().to_owned();
        let mut before = "";
        for (at, part) in tests.split('`').enumerate() {
            if at % 2 == 1 {
                named += 1;
                let is_there = match before.trim_end().ends_with("case") {
                    true => root().join("integration/cases").join(part).with_extension("sh").exists(),
                    false => functions.contains(part),
                };
                missing.extend((!is_there).then(|| part.to_owned()));
            }
            before = part;
        }
    }
    assert!(named > 80, "{named} names: the table is read wrongly");
    assert_eq!(missing, Vec::<String>::new());
}
