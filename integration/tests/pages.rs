//! Commands of our programs that pages of `docs/` only mention, or do not run: each word and option is one that the program knows.
//! What the pages do run is run by the cases `pages-*`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use integration::bin_dir;
use integration::page::{Line, Page, all};

/// Programs of ours that an operator types.
const PROGRAMS: [&str; 5] = ["vtl", "vtld", "impexp", "vtl-decode", "vtl-inspect"];

/// The one name of `is_label` without a version.
const STATE_SECRET: &str = "vtl state secret";

/// What programs say of themselves, asked once each.
struct Help(BTreeMap<String, String>);

impl Help {
    /// What this program, or this command of it, says.
    fn of(&mut self, words: &[&str]) -> &str {
        self.0.entry(words.join(" ")).or_insert_with(|| {
            let mut command = Command::new(bin_dir().join(words[0]));
            let told = command.args(&words[1..]).arg("--help").stdin(Stdio::null()).output().unwrap();
            assert!(told.status.success(), "{words:?} --help: {told:?}");
            String::from_utf8(told.stdout).unwrap()
        })
    }

    /// What is wrong with a command as a page has it.
    fn fault(&mut self, text: &str) -> Option<String> {
        let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || "[]()".contains(c)).collect();
        let mut words = words.into_iter().filter(|word| !word.is_empty()).peekable();
        let mut path = vec![words.next()?];
        while let Some(commands) = commands(self.of(&path)) {
            // Behind an option, or with words that stand for others, it is a form, and what follows is not known.
            let Some(word) = words.next_if(|word| {
                word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-')
            }) else {
                break;
            };
            if !commands.iter().any(|known| known == word) {
                return Some(format!("{} has no {word}", path.join(" ")));
            }
            path.push(word);
        }
        let help = self.of(&path);
        let options =
            words.filter(|word| word.starts_with('-')).map(|word| word.split('=').next().unwrap_or(word));
        let mut unknown =
            options.filter(|option| !knows(help, option.trim_end_matches(['…', '.', ',', ';'])));
        unknown.next().map(|option| format!("{} has no {option}", path.join(" ")))
    }
}

/// The commands that a help lists, if it lists any.
fn commands(help: &str) -> Option<Vec<String>> {
    let (_, list) = help.split_once("\nCommands:\n")?;
    let lines = list.lines().take_while(|line| !line.is_empty());
    Some(lines.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect())
}

fn knows(help: &str, option: &str) -> bool {
    let listed = help.lines().filter(|line| line.trim_start().starts_with('-'));
    listed.flat_map(|line| line.split([' ', ',', '='])).any(|word| word.trim_end_matches("...") == option)
}

/// What is shown of a command up to a pipe, a redirection or another command.
fn first_of(text: &str) -> &str {
    text.split([';', '>', '<'])
        .next()
        .unwrap_or(text)
        .split(" | ")
        .next()
        .unwrap_or(text)
        .split("&&")
        .next()
        .unwrap_or(text)
}

fn is_ours(line: &Line) -> bool {
    let is_program = line.text.split_whitespace().next().is_some_and(|first| PROGRAMS.contains(&first));
    is_program && !is_label(&line.text)
}

/// Keys are derived under such names (`vtl keyring v0`): they are no commands.
fn is_label(text: &str) -> bool {
    let last = text.split_whitespace().last().unwrap_or_default();
    matches!(last, "v0" | "v1") || text == STATE_SECRET
}

#[test]
fn every_command_of_ours_that_a_page_mentions_is_one_that_the_program_knows() {
    let mut help = Help(BTreeMap::new());
    let mut wrong = Vec::new();
    let mut seen = 0;
    for name in all().unwrap() {
        for line in Page::of_docs(&name).unwrap().mentions.iter().filter(|line| is_ours(line)) {
            seen += 1;
            let fault = help.fault(first_of(&line.text));
            wrong.extend(fault.map(|fault| format!("{name}:{}: '{}': {fault}", line.number, line.text)));
        }
    }
    assert!(seen > 200, "{seen}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_command_or_an_option_that_the_program_does_not_know_is_found() {
    let mut help = Help(BTreeMap::new());
    for good in [
        "vtl job ls",
        "vtl cartridge rm LABEL --now --confirm LABEL",
        "vtl store",
        "vtl export show --remote R [--folder F]",
        "impexp -l",
        "vtld --set KEY=VALUE",
    ] {
        assert_eq!(help.fault(good), None, "{good}");
    }
    for bad in [
        "vtl jobs ls",
        "vtl job list",
        "vtl cartridge rm LABEL --never",
        "vtl-decode show",
        "vtld --sett a=b",
        "impexp -q",
    ] {
        assert!(help.fault(bad).is_some(), "{bad}");
    }
}
