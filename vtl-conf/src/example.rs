//! The configuration file that a package brings: every key with its default and its reason, made from the table.

use crate::keys::KEYS;

/// Keys that the file sets, because a package puts the state where systems keep it.
const SET: &[(&str, &str)] = &[("state", "\"/var/lib/vtl\"")];
const WIDTH: usize = 100;

const HEAD: &str = "\
# Configuration of vtld, the server of a virtual tape library.
#
# Every key is here with its default, as a comment: remove the # to set it. What is not set has its default, also after an
# upgrade that changes it. vtl config check says what is wrong with this file, vtl system reload makes vtld read it again.
# A size is a number of bytes, or a text with k, m, g or t. No secret stands here: keys name files of mode 0600.
";

/// The text of the file.
#[must_use]
pub fn example() -> String {
    let mut text = HEAD.to_owned();
    for key in KEYS {
        let name = key.name.replace(".IQN.", ".\"IQN\".");
        let set = SET.iter().find(|(name, _)| *name == key.name);
        text.push('\n');
        comment(&mut text, key.reason);
        comment(&mut text, &format!("({})", key.expects));
        match (set, key.default) {
            (Some((_, value)), _) => text.push_str(&format!("{name} = {value}\n")),
            (None, Some(default)) => text.push_str(&format!("#{name} = {default}\n")),
            (None, None) => text.push_str(&format!("#{name} = ...\n")),
        }
    }
    text
}

/// A comment in lines of bounded length.
fn comment(text: &mut String, words: &str) {
    let mut line = String::from("#");
    for word in words.split(' ') {
        if line.len() + word.len() >= WIDTH {
            text.push_str(&format!("{line}\n"));
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&format!("{line}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Surroundings, load};

    fn effective(text: &str) -> Vec<(String, String)> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("vtl.toml");
        std::fs::write(&file, text).unwrap();
        let surroundings = Surroundings { root: true, ..Surroundings::default() };
        let config = load(Some(&file), &[], &surroundings).unwrap();
        config.effective().iter().map(|setting| (setting.key.clone(), setting.value.clone())).collect()
    }

    #[test]
    fn the_file_of_the_package_is_the_one_that_the_table_makes() {
        let kept = include_str!("../../packaging/vtl.toml");
        assert!(kept == example(), "cargo run -p vtl-conf --example configuration > packaging/vtl.toml");
    }

    #[test]
    fn as_it_is_and_with_every_default_uncommented_it_says_the_same_as_no_file() {
        let text = example();
        let is_default = |line: &&str| {
            line.starts_with('#') && !line.starts_with("# ") && *line != "#" && !line.ends_with("= ...")
        };
        let uncommented: Vec<&str> =
            text.lines().filter(is_default).map(|line| line.trim_start_matches('#')).collect();
        assert!(uncommented.len() > 40, "{uncommented:?}");
        let nothing = effective("");
        assert_eq!(effective(&text), nothing);
        assert_eq!(effective(&uncommented.join("\n")), nothing);
    }
}
