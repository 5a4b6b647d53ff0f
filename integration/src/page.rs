//! A page of `docs/` as a test: its commands in order, exactly as they stand there, each with what it shows.
//!
//! The word behind a fence says what a block is:
//!
//! ````text
//! ```sh server       commands typed on the machine of vtld, as root
//! ```sh initiator    commands typed on the machine that backs up, as root
//! ```text shows      lines that are among the output of the block before, in this order; blanks count as one, … is anything
//! ```sh packages     what has to be installed first; not run, but held against the packages that the tests install
//! ```sh elsewhere    commands that another test runs; `ELSEWHERE` has each of them with that test
//! ```sh not-run      commands that no test can type; the text before says "Not run here" and why
//! ```text synopsis   forms of commands, not to be typed as they stand
//! ```text            what is no command: pictures
//! ````
//!
//! A shell block without such a word is refused, and so is a block without any word, and a line of `text` or of indented
//! code that begins with a command: nothing that looks like a command goes untried. Other blocks (configuration) are the
//! reader's alone. Commands of our programs that a page only mentions, or does not run, are held against the programs
//! (`tests/pages.rs`).

use std::path::Path;

use crate::{Result, Trouble, here};

/// Commands of a page that are run together, in the shell that ran those before.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// Line of its fence, counted from 1.
    pub line: usize,
    /// Whose commands they are; in the test both machines are one.
    pub machine: Machine,
    /// As they stand in the page.
    pub commands: String,
    /// What must be among the output, in this order.
    pub shows: Vec<String>,
}

/// Where commands are typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// That of vtld.
    Server,
    /// That of the backup software.
    Initiator,
}

/// What is in a page.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In their order.
    pub blocks: Vec<Block>,
    /// Words of `apt install` lines.
    pub packages: Vec<String>,
    /// Lines of `sh elsewhere`.
    pub elsewhere: Vec<Line>,
    /// Commands that are not run from here: forms, what stands between backticks, lines of blocks that are not run.
    pub mentions: Vec<Line>,
    /// Lines outside of such blocks that begin with a command.
    pub loose: Vec<Line>,
}

/// A line of a page, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Counted from 1.
    pub number: usize,
    /// What stands there.
    pub text: String,
}

/// What commands begin with on these pages, whoever types them.
const COMMANDS: &[&str] = &[
    "apt",
    "cargo",
    "chmod",
    "chown",
    "cp",
    "curl",
    "dd",
    "dpkg",
    "impexp",
    "install",
    "iscsiadm",
    "lsscsi",
    "mkdir",
    "modprobe",
    "mount",
    "mt",
    "mtx",
    "openssl",
    "rclone",
    "rm",
    "systemctl",
    "tar",
    "vtl",
    "vtl-bench",
    "vtl-decode",
    "vtl-inspect",
    "vtld",
];

/// Before a block that is not run.
const NOT_RUN: &str = "Not run here";
/// Indented code.
const INDENT: &str = "    ";

/// A fenced block that is being read.
struct Open<'a> {
    line: usize,
    fence: &'a str,
    info: &'a str,
    /// Whether the text before it says that it is not run.
    is_not_run: bool,
    text: Vec<&'a str>,
}

/// The text that a block stands behind.
#[derive(Default)]
struct Paragraph {
    text: String,
    has_ended: bool,
}

impl Paragraph {
    fn add(&mut self, line: &str) {
        if line.is_empty() {
            self.has_ended = true;
            return;
        }
        if std::mem::take(&mut self.has_ended) {
            self.text.clear();
        }
        self.text.push_str(line);
        self.text.push(' ');
    }
}

impl Page {
    /// The page `name` of `docs/`.
    pub fn of_docs(name: &str) -> Result<Self> {
        let path = here().join("../docs").join(name);
        let text = std::fs::read_to_string(&path).map_err(Trouble::with(path.display().to_string()))?;
        Self::read(&text).map_err(|trouble| Trouble(format!("{name}: {trouble}")))
    }

    /// Takes the blocks out of a page's text.
    pub fn read(text: &str) -> Result<Self> {
        let mut page = Self::default();
        let mut open: Option<Open<'_>> = None;
        let mut paragraph = Paragraph::default();
        for (line, number) in text.lines().zip(1..) {
            match open.as_mut() {
                Some(block) if line.trim_end() == block.fence => {
                    page.take(block)?;
                    open = None;
                }
                Some(block) => block.text.push(line),
                None => match fence(line) {
                    Some((fence, info)) => {
                        let is_not_run = paragraph.text.contains(NOT_RUN);
                        open = Some(Open { line: number, fence, info, is_not_run, text: Vec::new() });
                    }
                    None => {
                        page.prose(line, number);
                        paragraph.add(line);
                    }
                },
            }
        }
        match open {
            None => Ok(page),
            Some(block) => Err(Trouble(format!("line {}: the block has no end", block.line))),
        }
    }

    fn take(&mut self, block: &Open<'_>) -> Result<()> {
        match block.info.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["sh", "server"] => self.run(block, Machine::Server),
            ["sh", "initiator"] => self.run(block, Machine::Initiator),
            ["sh", "packages"] => self.packages.extend(packages(block)?),
            ["text", "shows"] => {
                let before = self.blocks.last_mut().filter(|before| before.shows.is_empty());
                let before =
                    before.ok_or_else(|| Trouble(format!("line {}: no commands show this", block.line)))?;
                before.shows.extend(block.text.iter().map(|line| (*line).to_owned()));
            }
            ["sh", "elsewhere"] => {
                self.elsewhere.extend(block.commands());
                self.mentions.extend(block.commands());
            }
            ["sh", "not-run"] if block.is_not_run => self.mentions.extend(block.commands()),
            ["sh", "not-run"] => {
                return Err(Trouble(format!(
                    "line {}: the text before does not say '{NOT_RUN}' and why",
                    block.line
                )));
            }
            ["text", "synopsis"] => self.mentions.extend(block.forms()),
            ["text"] => self.loose.extend(block.lines().filter(|line| is_command(&line.text))),
            [shell @ ("sh" | "bash" | "shell" | "console"), ..] => {
                return Err(Trouble(format!(
                    "line {}: '{shell}' does not say where it is typed: sh server, sh initiator, sh packages, sh elsewhere, sh not-run",
                    block.line
                )));
            }
            [] => {
                return Err(Trouble(format!(
                    "line {}: the block does not say what it is, such as text",
                    block.line
                )));
            }
            _ => {}
        }
        Ok(())
    }

    /// A line outside of blocks: indented code, and what stands between backticks.
    fn prose(&mut self, line: &str, number: usize) {
        if line.starts_with(INDENT) && is_command(line) {
            self.loose.push(Line { number, text: line.trim().to_owned() });
        }
        // Every second part is code.
        let code = line.split('`').skip(1).step_by(2).filter(|text| is_command(text));
        self.mentions.extend(code.map(|text| Line { number, text: text.to_owned() }));
    }

    fn run(&mut self, block: &Open<'_>, machine: Machine) {
        let commands = block.text.iter().flat_map(|line| [*line, "\n"]).collect();
        self.blocks.push(Block { line: block.line, machine, commands, shows: Vec::new() });
    }

    /// Writes it for `guest/page.sh`: a folder with three files for each block.
    pub fn write(&self, name: &str, folder: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        for (block, number) in self.blocks.iter().zip(1..) {
            let file = |kind: &str| folder.join(format!("{number:03}.{kind}"));
            let machine = match block.machine {
                Machine::Server => "server",
                Machine::Initiator => "initiator",
            };
            std::fs::write(file("sh"), &block.commands)?;
            std::fs::write(file("at"), format!("{name}:{} ({machine})\n", block.line))?;
            let shows: String = block.shows.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
            std::fs::write(file("shows"), shows)?;
        }
        Ok(())
    }
}

impl Open<'_> {
    fn lines(&self) -> impl Iterator<Item = Line> {
        self.text.iter().zip(self.line + 1..).map(|(text, number)| Line { number, text: (*text).to_owned() })
    }

    /// Lines without what they say behind `#`.
    fn commands(&self) -> impl Iterator<Item = Line> {
        self.lines().map(|line| Line { text: uncommented(&line.text).to_owned(), ..line })
    }

    /// Forms of commands; one that takes several lines goes on indented.
    fn forms(&self) -> Vec<Line> {
        let mut forms: Vec<Line> = Vec::new();
        for line in self.commands() {
            match forms.last_mut().filter(|_| line.text.starts_with(' ')) {
                Some(form) => form.text.push_str(&line.text),
                None => forms.push(line),
            }
        }
        forms
    }
}

fn uncommented(line: &str) -> &str {
    line.split_once(" #").map_or(line, |(command, _)| command).trim_end()
}

/// Whether its first word is a command, and more follows.
fn is_command(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next().is_some_and(|first| COMMANDS.contains(&first)) && words.next().is_some()
}

/// Every page of the documents, by its name below `docs`.
pub fn all() -> Result<Vec<String>> {
    let docs = here().join("../docs");
    let mut found = vec!["../README.md".to_owned()];
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let path = docs.join(&folder);
        let entries = std::fs::read_dir(&path).map_err(Trouble::with(path.display().to_string()))?;
        for entry in entries.flatten() {
            let name = format!("{folder}{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                folders.push(format!("{name}/"));
            } else if name.ends_with(".md") {
                found.push(name);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The folder's name for a page, which may lie in a folder of its own.
pub fn folder_name(page: &str) -> String {
    page.replace('/', "_")
}

/// A fence of at least three backticks, and the words behind it.
fn fence(line: &str) -> Option<(&str, &str)> {
    let ticks = line.len() - line.trim_start_matches('`').len();
    if ticks < 3 {
        return None;
    }
    line.split_at_checked(ticks)
}

fn packages(block: &Open<'_>) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for line in &block.text {
        let names = line.strip_prefix("apt install ").ok_or_else(|| {
            Trouble(format!("line {}: '{line}' is not 'apt install PACKAGE..'", block.line))
        })?;
        found.extend(names.split_whitespace().map(str::to_owned));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::case;

    const PAGE: &str = "# A page\n\n```sh packages\napt install mtx lsscsi\n```\n\nText.\n\n```sh server\n\
                        vtl system status\necho $HOME\n```\n```text shows\nstate: ok\n```\n```toml\nlog.level = \"warn\"\n\
                        ```\n````sh initiator\ncat <<'END'\n```\nEND\n````\n";

    #[test]
    fn commands_come_out_in_order_and_exactly_as_they_stand() {
        let page = Page::read(PAGE).expect("page");
        assert_eq!(page.packages, ["mtx", "lsscsi"]);
        let status = Block {
            line: 9,
            machine: Machine::Server,
            commands: "vtl system status\necho $HOME\n".to_owned(),
            shows: vec!["state: ok".to_owned()],
        };
        let cat = Block {
            line: 19,
            machine: Machine::Initiator,
            commands: "cat <<'END'\n```\nEND\n".to_owned(),
            shows: Vec::new(),
        };
        assert_eq!(page.blocks, [status, cat]);
    }

    #[test]
    fn a_shell_block_that_does_not_say_where_it_is_typed_is_refused() {
        for bad in [
            "```sh\nls\n```\n",
            "```bash\nls\n```\n",
            "```sh somewhere\nls\n```\n",
            "```console\n$ ls\n```\n",
        ] {
            assert!(Page::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn output_without_commands_a_block_without_an_end_and_other_installations_are_refused() {
        assert!(Page::read("```text shows\nok\n```\n").is_err());
        assert!(Page::read("```sh server\nls\n").is_err());
        assert!(Page::read("```sh packages\ncurl x | sh\n```\n").is_err());
    }

    fn loose(text: &str) -> Vec<String> {
        Page::read(text).expect("page").loose.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn commands_outside_of_shell_blocks_are_found_and_pictures_are_none() {
        assert_eq!(loose("```text\nvtl job ls\nvtl-store -> disk\n| vtl |\n```\n"), ["vtl job ls"]);
        assert_eq!(
            loose("Text.\n\n    mtx -f /dev/sg0 status\n    connection: open\n"),
            ["mtx -f /dev/sg0 status"]
        );
        assert!(Page::read("```\nls\n```\n").is_err());
    }

    #[test]
    fn a_block_that_is_not_run_stands_behind_a_text_that_says_so() {
        let block = "\n\n```sh not-run\nvtl cartridge ingest # of a tape\n```\n";
        let page = Page::read(&format!("Not run here:\nit wants a drive.{block}")).expect("page");
        assert_eq!(page.mentions, [Line { number: 5, text: "vtl cartridge ingest".to_owned() }]);
        assert!(Page::read(&format!("Not run here.\n\nAnother one.{block}")).is_err());
    }

    #[test]
    fn mentions_are_what_stands_between_backticks_and_forms_whole() {
        let text = "Say `vtl job ls`, `no command` or `mt status`.\n\n```text synopsis\nvtl a --b C\n    [--d]  # or so\nvtl e\n```\n";
        let page = Page::read(text).expect("page");
        let said: Vec<&str> = page.mentions.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(said, ["vtl job ls", "mt status", "vtl a --b C    [--d]", "vtl e"]);
    }

    /// Commands of `sh elsewhere` begin with one of these; the file is the test that runs it.
    const ELSEWHERE: &[(&str, &str)] = &[
        ("cargo run --release", "integration/src/server.rs"),
        ("cargo build --release --workspace", "tools/xtask/src/steps.rs"),
        ("target/release/vtl lab up", "integration/tests/lab.rs"),
        ("vtl lab", "integration/tests/lab.rs"),
        ("cargo xtask test", "tools/xtask/src/steps.rs"),
    ];

    fn says_not_run(text: &str) -> bool {
        text.lines().take(8).any(|line| line.contains("Not run here."))
    }

    #[test]
    fn no_page_has_commands_that_are_neither_run_nor_marked() {
        let run = pages_of_cases();
        let pages = all().expect("docs");
        assert!(pages.len() >= 50, "{pages:?}");
        let mut wrong = Vec::new();
        for name in pages {
            let text = text(&name);
            let page = Page::read(&text).unwrap_or_else(|trouble| panic!("{name}: {trouble}"));
            if !says_not_run(&text) {
                wrong.extend(
                    page.loose
                        .iter()
                        .map(|line| format!("{name}:{}: not in a shell block: {}", line.number, line.text)),
                );
            }
            if !run.contains(&name) {
                wrong.extend(
                    page.blocks.iter().map(|block| format!("{name}:{}: no case runs this page", block.line)),
                );
            }
            let is_unknown =
                |line: &&Line| !ELSEWHERE.iter().any(|(command, _)| line.text.starts_with(command));
            wrong.extend(
                page.elsewhere
                    .iter()
                    .filter(is_unknown)
                    .map(|line| format!("{name}:{}: ELSEWHERE lacks {}", line.number, line.text)),
            );
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        for (command, test) in ELSEWHERE {
            assert!(docs().join("..").join(test).exists(), "{command}: {test}");
        }
    }

    fn docs() -> PathBuf {
        crate::here().join("../docs")
    }

    /// Pages of steps: their commands are run, or they say that they are not.
    fn pages_of_steps() -> Vec<String> {
        let mut found = vec!["first-hour.md".to_owned(), "disaster.md".to_owned()];
        for entry in std::fs::read_dir(docs().join("initiators")).expect("folder") {
            let name = entry.expect("entry").file_name().into_string().expect("name");
            found.push(format!("initiators/{name}"));
        }
        found.retain(|name| name != "initiators/README.md");
        found
    }

    fn text(page: &str) -> String {
        std::fs::read_to_string(docs().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
    }

    fn pages_of_cases() -> Vec<String> {
        let cases = case::all(&crate::here().join("cases")).expect("cases");
        cases.into_iter().flat_map(|case| case.pages).collect()
    }

    #[test]
    fn every_page_with_steps_is_run_by_a_case_or_says_that_it_is_not_and_where_it_is_from() {
        let run = pages_of_cases();
        let pages = pages_of_steps();
        assert!(pages.len() >= 10, "{pages:?}");
        for page in pages {
            let text = text(&page);
            let head: String = text.lines().take(8).collect();
            let read = Page::read(&text).unwrap_or_else(|trouble| panic!("{page}: {trouble}"));
            if run.contains(&page) {
                assert!(!read.blocks.is_empty(), "{page} has no commands");
                assert!(!head.contains("Not run here"), "{page} is run");
            } else {
                assert!(head.contains("Not run here."), "{page} is run by no case and does not say so");
                assert!(head.contains("https://"), "{page} does not name its source");
                assert!(read.blocks.is_empty(), "{page} has commands that look as if they were run");
            }
        }
    }

    #[test]
    fn every_case_names_pages_that_are_there() {
        for page in pages_of_cases() {
            Page::read(&text(&page)).unwrap_or_else(|trouble| panic!("{page}: {trouble}"));
        }
    }

    #[test]
    fn packages_that_a_page_wants_are_those_that_the_tests_install() {
        let list = crate::here().join("../tools/xtask/src/packages.rs");
        let installed = std::fs::read_to_string(list).expect("packages.rs");
        for page in pages_of_cases() {
            for package in Page::read(&text(&page)).expect("page").packages {
                assert!(installed.contains(&format!("(\"{package}\", ")), "{page}: {package}");
            }
        }
    }

    /// The one block of a page that has this in it, with a folder of the test in the place of another.
    fn block_with(page: &str, part: &str, replaced: &str, folder: &Path) -> String {
        let page = Page::of_docs(page).expect("page");
        let mut found = page.blocks.into_iter().filter(|block| block.commands.contains(part));
        let block = found.next().expect("block");
        assert_eq!(found.next(), None, "{part}");
        block.commands.replace(replaced, &folder.display().to_string())
    }

    /// What is printed when a block is pasted into a shell, which goes on after a failure; `world` are functions in the place of commands.
    fn pasted(world: &str, block: &str) -> String {
        let script = format!("{world}\n{block}");
        let told = std::process::Command::new("bash").args(["-c", &script]).output().expect("bash");
        String::from_utf8(told.stdout).expect("text")
    }

    fn folder_with(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("folder");
        for name in names {
            std::fs::create_dir(folder.path().join(name)).expect("folder");
        }
        folder
    }

    #[test]
    fn of_each_label_the_newest_export_that_can_be_imported_comes_back() {
        let site = folder_with(&[
            "VTL001L8-20260101_000000",
            "VTL001L8-20260102_000000",
            "VTL001L8-20260103_000000",
            "VTL002L8-20260101_000000",
            "VTL002L8-20260103_000000",
        ]);
        let block = block_with("disaster.md", "NOT IMPORTED", "/srv/second-site", site.path());
        let told = pasted(
            "vtl() { [ \"$2\" != import ] || { echo $6; [ $6 != VTL001L8-20260103_000000 ]; }; }",
            &block,
        );
        let wanted = "VTL002L8-20260103_000000\nVTL001L8-20260103_000000\nNOT IMPORTED: VTL001L8-20260103_000000\n\
                      VTL001L8-20260102_000000\nback: VTL002L8 VTL001L8\n";
        assert_eq!(told, wanted);
    }

    #[test]
    fn an_export_leaves_a_remote_only_when_a_new_one_is_there_and_whole() {
        let makes = "mkdir VTL001L8-20260102_000000";
        for (export, verify, is_removed) in [
            ("false", "true", false),
            ("true", "true", false),
            (makes, "false", false),
            (makes, "true", true),
        ] {
            let site = folder_with(&["VTL001L8-20260101_000000"]);
            let block = block_with("disaster.md", "vtl export prune", "/srv/off-site", site.path());
            let world = format!(
                "cd {}; vtl() {{ echo \"$*\"; case $2 in export) {export} ;; verify) {verify} ;; esac; }}",
                site.path().display()
            );
            let told = pasted(&world, &block);
            let removal = "export prune --remote off-site --folder VTL001L8-20260101_000000";
            assert_eq!(told.contains(removal), is_removed, "{export}, {verify}: {told}");
        }
    }

    #[test]
    fn a_cartridge_is_removed_for_good_only_when_its_export_is_whole() {
        for (page, label) in [("first-hour.md", "VTL001L8"), ("export.md", "VTL002L8")] {
            let name = format!("{label}-20260101_000000");
            let site = folder_with(&[name.as_str()]);
            let removal = format!("cartridge rm {label}");
            let block = block_with(page, &removal, "/srv/off-site", site.path());
            for (verify, is_removed) in [("false", false), ("true", true)] {
                let world = format!("vtl() {{ echo \"$*\"; [ $2 != verify ] || {verify}; }}");
                let told = pasted(&world, &block);
                assert_eq!(told.contains(&removal), is_removed, "{page}, {verify}: {told}");
            }
        }
    }

    #[test]
    fn without_a_copy_no_inventory_is_put_aside() {
        let world = "mktemp() { echo /nowhere; }\nvtl() { echo vtl; }\nsystemctl() { echo \"$1\"; }\n\
                     find() { echo find; }\ninstall() { echo \"install $7\"; }\n";
        let copies = folder_with(&[]);
        let block = block_with("disaster.md", "no copy: stop here", "/srv/copies", copies.path());
        assert_eq!(pasted(world, &block), "no copy: stop here\n");
        let copy = copies.path().join("inventory-20260101-000000.db");
        std::fs::write(&copy, "").expect("copy");
        let wanted = format!("stop\nfind\ninstall {}\nstart\nvtl\nvtl\n", copy.display());
        assert_eq!(pasted(world, &block), wanted);
    }
}
