//! A page of `docs/` as a test: its commands in order, exactly as they stand there, each with what it shows.
//!
//! The word behind a fence says what a block is:
//!
//! ````text
//! ```sh server       commands typed on the machine of vtld, as root
//! ```sh initiator    commands typed on the machine that backs up, as root
//! ```text shows      lines that are among the output of the block before, in this order; blanks count as one, … is anything
//! ```sh packages     what has to be installed first; not run, but held against the packages that the tests install
//! ````
//!
//! A shell block without such a word is refused: nothing that looks like a command goes untried. Other blocks
//! (configuration, pictures) are the reader's alone.

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
}

/// A fenced block that is being read.
struct Open<'a> {
    line: usize,
    fence: &'a str,
    info: &'a str,
    text: Vec<&'a str>,
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
        for (line, number) in text.lines().zip(1..) {
            match open.as_mut() {
                Some(block) if line.trim_end() == block.fence => {
                    page.take(block)?;
                    open = None;
                }
                Some(block) => block.text.push(line),
                None => {
                    open =
                        fence(line).map(|(fence, info)| Open { line: number, fence, info, text: Vec::new() });
                }
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
            [shell @ ("sh" | "bash" | "shell" | "console"), ..] => {
                return Err(Trouble(format!(
                    "line {}: '{shell}' does not say where it is typed: sh server, sh initiator, sh packages",
                    block.line
                )));
            }
            _ => {}
        }
        Ok(())
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

    fn docs() -> PathBuf {
        crate::here().join("../docs")
    }

    /// Pages whose commands are run, or that say that they are not.
    fn pages() -> Vec<String> {
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
        let pages = pages();
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
}
