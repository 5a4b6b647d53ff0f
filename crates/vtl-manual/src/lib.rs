//! Manual pages and shell completions, made from the command lines themselves, so that they say what the program does.
//!
//! Who uses it: each program, when it is called with its hidden option for that; packages call it and take the files.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;

/// When the pages got their form; what they say is as old as the program.
const DATE: &str = "2026-11-26";
/// Shells that get a file.
const SHELLS: [(Shell, &str); 3] = [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")];

/// Writes a page for the command and each of its subcommands into `folder`/man, and completions into `folder`/bash, zsh and fish.
///
/// # Errors
/// A file cannot be written.
pub fn write(command: &Command, section: &str, folder: &Path) -> io::Result<()> {
    let man = folder.join("man");
    fs::create_dir_all(&man)?;
    let name = command.get_name().to_owned();
    let mut whole = command.clone().disable_help_subcommand(true);
    whole.build();
    page(&whole, &name, section, &man)?;
    for (shell, place) in SHELLS {
        let to = folder.join(place);
        fs::create_dir_all(&to)?;
        generate_to(shell, &mut command.clone(), &name, &to)?;
    }
    Ok(())
}

/// The page of one command, named by all the words that lead to it.
fn page(command: &Command, name: &str, section: &str, folder: &Path) -> io::Result<()> {
    let shown = command.clone().display_name(name.to_owned());
    let mut file = File::create(folder.join(format!("{name}.{section}")))?;
    Man::new(shown).section(section).date(DATE).manual("vtl").render(&mut file)?;
    let inner = command.get_subcommands().filter(|inner| !inner.is_hide_set());
    inner
        .into_iter()
        .try_for_each(|inner| page(inner, &format!("{name}-{}", inner.get_name()), section, folder))
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    fn command() -> Command {
        let inner =
            Command::new("make").about("Makes one").arg(Arg::new("size").long("size").help("How large"));
        let hidden = Command::new("secret").hide(true);
        Command::new("toy").version("1").about("A toy").subcommand(inner).subcommand(hidden)
    }

    #[test]
    fn each_command_has_a_page_with_its_options_and_hidden_ones_have_none() {
        let folder = tempfile::tempdir().unwrap();
        write(&command(), "8", folder.path()).unwrap();
        let mut pages: Vec<String> = fs::read_dir(folder.path().join("man"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        pages.sort();
        assert_eq!(pages, ["toy-make.8", "toy.8"]);
        let page = fs::read_to_string(folder.path().join("man/toy-make.8")).unwrap();
        assert!(page.contains("How large") && page.contains(".TH toy-make 8"), "{page}");
    }

    #[test]
    fn each_shell_has_a_file_that_knows_the_subcommands() {
        let folder = tempfile::tempdir().unwrap();
        write(&command(), "1", folder.path()).unwrap();
        for file in ["bash/toy.bash", "zsh/_toy", "fish/toy.fish"] {
            let text = fs::read_to_string(folder.path().join(file)).unwrap();
            assert!(text.contains("make"), "{file}: {text}");
        }
    }
}
