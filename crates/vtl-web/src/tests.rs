use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::*;

fn assets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets")
}

/// Every file below a folder, by its name from there.
fn below(folder: &Path, root: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            below(&path, root, found);
        } else {
            found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        }
    }
}

fn modules() -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES
        .iter()
        .filter(|(name, _)| name.ends_with(".js"))
        .map(|(name, body)| (*name, std::str::from_utf8(body).unwrap()))
}

/// The text as it is told to a browser.
fn index() -> String {
    String::from_utf8(page("/").unwrap().body.to_vec()).unwrap()
}

/// What stands between quotes behind `attribute=`.
fn attributes(text: &str, attribute: &str) -> Vec<String> {
    let begin = format!(" {attribute}=\"");
    let parts = text.split(begin.as_str()).skip(1);
    parts.filter_map(|part| part.split_once('"')).map(|(value, _)| value.to_owned()).collect()
}

#[test]
fn every_file_of_the_folder_is_in_the_table() {
    let mut there = BTreeSet::new();
    below(&assets(), &assets(), &mut there);
    assert!(there.remove("index.html"));
    let known: BTreeSet<String> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(there, known);
}

#[test]
fn the_page_names_only_parts_that_are_there() {
    let text = index();
    let parts = [attributes(&text, "src"), attributes(&text, "href")].concat();
    assert!(parts.iter().any(|path| path.ends_with("/js/main.js")), "{parts:?}");
    for path in &parts {
        assert!(page(path).is_some(), "{path}");
    }
}

#[test]
fn modules_import_only_modules_that_are_there() {
    let mut imports = 0;
    for (name, text) in modules() {
        let folder = name.rsplit_once('/').unwrap().0;
        for (at, _) in text.match_indices("'./").chain(text.match_indices("'../")) {
            let target = text[at + 1..].split('\'').next().unwrap();
            let mut path: Vec<&str> = folder.split('/').collect();
            for step in target.split('/') {
                match step {
                    "." => {}
                    ".." => drop(path.pop()),
                    step => path.push(step),
                }
            }
            let path = path.join("/");
            assert!(FILES.iter().any(|(own, _)| *own == path), "{name} names {target}");
            imports += 1;
        }
    }
    assert!(imports > 50, "{imports}");
}

#[test]
fn parts_are_kept_for_ever_and_the_page_is_asked_for_again() {
    let main = attributes(&index(), "src").remove(0);
    let part = page(&main).unwrap();
    assert_eq!(part.cache_control, "public, max-age=31536000, immutable");
    assert_eq!(part.content_type, "text/javascript; charset=utf-8");
    assert_eq!(page("/").unwrap().cache_control, "no-cache");
    assert_eq!(page("/").unwrap().etag.len(), 18);
}

#[test]
fn a_part_of_another_version_is_not_there() {
    assert!(page("/web/0000000000000000/js/main.js").is_none());
    assert!(page("/web/js/main.js").is_none());
    assert!(page("/index.html").is_none());
}

#[test]
fn another_content_or_another_name_is_another_hash() {
    let one = hash_of("page", &[("a.js", b"1")]);
    assert_eq!(one, hash_of("page", &[("a.js", b"1")]));
    for other in [
        hash_of("page", &[("a.js", b"2")]),
        hash_of("page", &[("a.j", b"s1")]),
        hash_of("pag", &[("a.js", b"1")]),
        hash_of("page", &[]),
    ] {
        assert_ne!(one, other);
    }
}

#[test]
fn nothing_is_inline_and_nothing_is_read_as_markup() {
    let text = index();
    assert!(!text.contains("style="), "{text}");
    assert!(!text.contains("<style"), "{text}");
    assert_eq!(text.matches("<script").count(), 1);
    assert!(text.contains("></script>"));
    let forbidden = [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "DOMParser",
    ];
    for (name, text) in modules() {
        for word in forbidden {
            assert!(!text.contains(word), "{name} has {word}");
        }
    }
}

#[test]
fn no_other_host_is_named() {
    let namespaces = ["http://www.w3.org/2000/svg"];
    for (name, body) in FILES {
        let text = std::str::from_utf8(body).unwrap();
        for (at, _) in text.match_indices("://") {
            let start = text[..at].rfind(|c: char| !c.is_ascii_alphabetic()).map_or(0, |at| at + 1);
            let rest = &text[start..];
            assert!(namespaces.iter().any(|known| rest.starts_with(known)), "{name}: {}", &rest[..40]);
        }
    }
}

/// Every text by its dotted key.
fn texts() -> BTreeMap<String, String> {
    fn walk(at: &str, value: &Value, out: &mut BTreeMap<String, String>) {
        match value {
            Value::String(text) => drop(out.insert(at.to_owned(), text.clone())),
            Value::Object(all) => {
                for (name, value) in all {
                    let key = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                    walk(&key, value, out);
                }
            }
            other => panic!("{at} is {other}"),
        }
    }
    let text = std::fs::read_to_string(assets().join("texts.en.json")).unwrap();
    let mut out = BTreeMap::new();
    walk("", &serde_json::from_str(&text).unwrap(), &mut out);
    out
}

/// The keys that modules ask for: whole ones, and beginnings of those that are put together.
fn asked() -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut whole, mut beginnings) = (BTreeSet::new(), BTreeSet::new());
    for (_, text) in modules() {
        for call in ["t(", "count(", "word("] {
            for (at, _) in text.match_indices(call) {
                if text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '.' || c == '_') {
                    continue;
                }
                let rest = text[at + call.len()..].trim_start();
                if let Some(pattern) = rest.strip_prefix('`') {
                    beginnings.insert(pattern.split("${").next().unwrap().to_owned());
                    continue;
                }
                // One key, or one of two.
                for part in rest.split([',', ')']).next().unwrap().split(['?', ':']).map(str::trim) {
                    let Some(key) = part.strip_prefix('\'').and_then(|key| key.strip_suffix('\'')) else {
                        continue;
                    };
                    if call == "t(" {
                        whole.insert(key.to_owned());
                    } else {
                        beginnings.insert(format!("{key}."));
                    }
                }
            }
        }
    }
    (whole, beginnings)
}

#[test]
fn every_text_that_is_asked_for_is_there_and_every_text_is_asked_for() {
    let texts = texts();
    let (whole, beginnings) = asked();
    assert!(whole.len() > 100, "{}", whole.len());
    let missing: Vec<&String> = whole.iter().filter(|key| !texts.contains_key(*key)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let used = |key: &str| whole.contains(key) || beginnings.iter().any(|one| key.starts_with(one.as_str()));
    let unused: Vec<&String> = texts.keys().filter(|key| !used(key)).collect();
    assert!(unused.is_empty(), "{unused:?}");
}

#[test]
fn files_stay_short_enough_to_be_read() {
    for (name, body) in FILES.iter().filter(|(name, _)| !name.ends_with(".json")) {
        let text = std::str::from_utf8(body).unwrap();
        assert!(text.lines().count() <= 600, "{name}");
    }
}
