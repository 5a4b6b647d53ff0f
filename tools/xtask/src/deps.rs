//! Which crate may use which: the table is `allowed.txt`, the truth is what cargo says.
//!
//! Ordinary and build dependencies keep to the table. Tests of a crate may also use what the crates that it uses
//! may use (a simulated disk below a store, say), but nothing above it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::Outcome;

const ALLOWED: &str = include_str!("allowed.txt");
/// An async runtime by any of these names.
const RUNTIMES: &[&str] = &["tokio", "async-std", "smol"];

/// One line of the table.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rule {
    may_use: BTreeSet<String>,
    no_std: bool,
    sync: bool,
    top: bool,
}

type Rules = BTreeMap<String, Rule>;

/// One dependency as cargo tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Edge {
    from: String,
    to: String,
    for_tests: bool,
}

/// Checks the workspace; the text says what was looked at.
pub fn check() -> Outcome<String> {
    let rules = parse(ALLOWED)?;
    let metadata: Value = serde_json::from_str(&cargo(&["metadata", "--format-version", "1", "--no-deps"])?)
        .map_err(|cause| format!("cargo metadata: {cause}"))?;
    let edges = edges(&metadata);
    let members = names(&metadata);
    let mut faults = faults(&rules, &members, &edges);
    for name in members.iter().filter(|name| rules.get(*name).is_some_and(|rule| rule.no_std)) {
        faults.extend(std_features(name)?);
    }
    if faults.is_empty() {
        return Ok(format!("{} crates, {} dependencies keep the rules", members.len(), edges.len()));
    }
    Err(format!("dependency rules (tools/xtask/src/allowed.txt):\n  {}", faults.join("\n  ")))
}

fn parse(table: &str) -> Outcome<Rules> {
    let mut rules = Rules::new();
    for line in table.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let mut columns = line.split('|').map(str::trim);
        let (Some(name), Some(may_use), Some(words), None) =
            (columns.next(), columns.next(), columns.next(), columns.next())
        else {
            return Err(format!("not 'crate | may use | rules': {line}"));
        };
        let mut rule =
            Rule { may_use: may_use.split_whitespace().map(str::to_owned).collect(), ..Rule::default() };
        for word in words.split_whitespace() {
            match word {
                "no_std" => rule.no_std = true,
                "sync" => rule.sync = true,
                "top" => rule.top = true,
                _ => return Err(format!("unknown rule '{word}': {line}")),
            }
        }
        rules.insert(name.to_owned(), rule);
    }
    Ok(rules)
}

fn names(metadata: &Value) -> BTreeSet<String> {
    packages(metadata).filter_map(|package| text(package, "name")).collect()
}

fn edges(metadata: &Value) -> Vec<Edge> {
    let mut edges = Vec::new();
    for package in packages(metadata) {
        let Some(from) = text(package, "name") else { continue };
        for dependency in package.get("dependencies").and_then(Value::as_array).into_iter().flatten() {
            let Some(to) = text(dependency, "name") else { continue };
            let for_tests = text(dependency, "kind").as_deref() == Some("dev");
            edges.push(Edge { from: from.clone(), to, for_tests });
        }
    }
    edges
}

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata.get("packages").and_then(Value::as_array).into_iter().flatten()
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key)?.as_str().map(str::to_owned)
}

fn faults(rules: &Rules, members: &BTreeSet<String>, edges: &[Edge]) -> Vec<String> {
    let mut faults: Vec<String> = members
        .iter()
        .filter(|name| !rules.contains_key(*name))
        .map(|name| format!("{name} has no line"))
        .collect();
    for Edge { from, to, for_tests } in edges {
        let Some(rule) = rules.get(from) else { continue };
        if rule.sync && !for_tests && RUNTIMES.contains(&to.as_str()) {
            faults.push(format!("{from} must not use the async runtime {to}"));
        }
        if !members.contains(to) {
            continue;
        }
        let allowed = if *for_tests { reach(rules, from).contains(to) } else { rule.may_use.contains(to) };
        if !allowed || rules.get(to).is_some_and(|rule| rule.top) {
            let where_ = if *for_tests { " (in its tests)" } else { "" };
            faults.push(format!("{from} must not use {to}{where_}"));
        }
    }
    faults
}

/// Everything that a crate may use, directly or through others.
fn reach(rules: &Rules, from: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from.to_owned()];
    while let Some(name) = open.pop() {
        for next in rules.get(&name).map(|rule| &rule.may_use).into_iter().flatten() {
            if reached.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    reached
}

/// Dependencies of a `no_std` crate, near and far, that are built with their feature `std`, when only this crate is
/// built: in the whole workspace other crates switch it on with good reason.
fn std_features(name: &str) -> Outcome<Vec<String>> {
    let tree =
        cargo(&["tree", "-p", name, "-e", "normal,no-proc-macro", "--prefix", "none", "-f", "{p}|{f}"])?;
    Ok(with_std(&tree)
        .into_iter()
        .map(|dependency| format!("{name} is no_std, but {dependency} has std"))
        .collect())
}

fn with_std(tree: &str) -> BTreeSet<String> {
    tree.lines()
        .filter_map(|line| line.trim_end_matches(" (*)").split_once('|'))
        .filter(|(_, features)| features.split(',').any(|feature| feature == "std"))
        .map(|(package, _)| package.to_owned())
        .collect()
}

fn cargo(args: &[&str]) -> Outcome<String> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(args)
        .output()
        .map_err(|cause| format!("cargo: {cause}"))?;
    if !output.status.success() {
        return Err(format!("cargo {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "low | | no_std sync\nmid | low | sync\nhigh | mid | top\n";

    fn edge(from: &str, to: &str, for_tests: bool) -> Edge {
        Edge { from: from.to_owned(), to: to.to_owned(), for_tests }
    }

    fn found(edges: &[Edge]) -> Vec<String> {
        let members = ["low", "mid", "high"].map(str::to_owned).into();
        faults(&parse(TABLE).expect("table"), &members, edges)
    }

    #[test]
    fn an_edge_of_the_table_is_allowed_and_any_other_is_not() {
        assert!(found(&[edge("mid", "low", false), edge("high", "mid", false)]).is_empty());
        assert_eq!(found(&[edge("low", "mid", false)]), ["low must not use mid"]);
        assert_eq!(found(&[edge("high", "low", false)]), ["high must not use low"]);
    }

    #[test]
    fn tests_may_reach_further_down_but_never_up() {
        assert!(found(&[edge("high", "low", true)]).is_empty());
        assert_eq!(found(&[edge("low", "high", true)]), ["low must not use high (in its tests)"]);
    }

    #[test]
    fn an_async_runtime_is_refused_where_sync_is_the_rule() {
        assert_eq!(found(&[edge("mid", "tokio", false)]), ["mid must not use the async runtime tokio"]);
        assert!(found(&[edge("high", "tokio", false)]).is_empty());
    }

    #[test]
    fn a_crate_without_a_line_is_a_fault() {
        let members = ["low", "new"].map(str::to_owned).into();
        assert_eq!(faults(&parse(TABLE).expect("table"), &members, &[]), ["new has no line"]);
    }

    #[test]
    fn the_feature_std_is_found_among_others_and_only_whole() {
        let tree = "a v1|\nb v2|alloc,std\nc v3|stdlike\nb v2|alloc,std (*)\n";
        assert_eq!(Vec::from_iter(with_std(tree)), ["b v2"]);
    }

    #[test]
    fn the_projects_table_is_well_formed_and_names_only_crates_with_a_line() {
        let rules = parse(ALLOWED).expect("table");
        for (name, rule) in &rules {
            for used in &rule.may_use {
                assert!(rules.contains_key(used), "{name} may use {used}, which has no line");
                assert!(!reach(&rules, used).contains(name), "{name} and {used} use each other");
            }
        }
    }
}
