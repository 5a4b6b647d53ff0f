//! Holds `docs/conformance.md` to the truth: every test that it names exists.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Names of functions that the test harness runs: the next `fn` behind `#[test]`, and those in `proptest!`, which carry it, too.
fn test_functions() -> BTreeSet<String> {
    let mut files = Vec::new();
    for folder in ["scsi/src", "crates/vtl-iscsi/src", "crates/vtl-iscsi/tests", "src"] {
        rust_files(&root().join(folder), &mut files);
    }
    let mut names = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        for behind in text.split("#[test]").skip(1) {
            let name = behind.split("fn ").nth(1).and_then(|rest| rest.split(['(', '<']).next());
            names.extend(name.map(str::to_owned));
        }
    }
    names
}

#[test]
fn every_test_that_the_table_names_exists() {
    let text = fs::read_to_string(root().join("docs/conformance.md")).unwrap();
    let functions = test_functions();
    let mut named = 0;
    let mut missing = Vec::new();
    let mut before = "";
    for (at, part) in text.split('`').enumerate() {
        let quoted = at % 2 == 1;
        if quoted && before.trim_end().ends_with("case") {
            let case = root().join("integration/cases").join(part).with_extension("sh");
            named += 1;
            missing.extend((!case.exists()).then_some(part));
        } else if quoted && part.matches('_').count() >= 3 {
            named += 1;
            missing.extend((!functions.contains(part)).then_some(part));
        }
        before = part;
    }
    assert!(named > 60, "{named} names: the table is read wrongly");
    assert_eq!(missing, Vec::<&str>::new());
}
