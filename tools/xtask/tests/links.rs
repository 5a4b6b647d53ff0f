//! Holds the links of the pages to the truth: what a page points to in this project is there.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pages(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

fn all_pages() -> Vec<PathBuf> {
    let mut found = vec![root().join("README.md")];
    pages(&root().join("docs"), &mut found);
    found
}

/// Targets of `[text](target)` outside code that stay in this project, without the part behind `#`.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_code = false;
    for line in text.lines() {
        if line.starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        // What stands between backticks is code: every second part.
        let prose: String = line.split('`').step_by(2).collect();
        for behind in prose.split("](").skip(1) {
            let target = behind.split([')', '#']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") {
                found.push(target.to_owned());
            }
        }
    }
    found
}

#[test]
fn links_are_found_and_code_is_none() {
    let text = "[a](b.md), `[c](d.md)`, [e](https://f) and [g](../h.md#part)\n```\n[i](j.md)\n```\n[k](#l) [`m`](n.md)";
    assert_eq!(links(text), ["b.md", "../h.md", "n.md"]);
}

#[test]
fn every_page_that_a_page_points_to_is_there() {
    let mut missing = Vec::new();
    for page in all_pages() {
        let folder = page.parent().unwrap();
        for target in links(&fs::read_to_string(&page).unwrap()) {
            if !folder.join(&target).exists() {
                missing.push(format!("{} -> {target}", page.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn the_index_of_the_documents_leads_to_each_of_them() {
    let docs = root().join("docs");
    let mut wanted = Vec::new();
    pages(&docs, &mut wanted);
    let mut linked = Vec::new();
    for index in ["README.md", "initiators/README.md"] {
        let index = docs.join(index);
        let folder = index.parent().unwrap();
        linked.push(index.clone());
        linked.extend(links(&fs::read_to_string(&index).unwrap()).iter().map(|target| folder.join(target)));
    }
    let linked: Vec<PathBuf> = linked.iter().map(|page| page.canonicalize().unwrap()).collect();
    for page in wanted {
        assert!(linked.contains(&page.canonicalize().unwrap()), "{} is in no index", page.display());
    }
}
