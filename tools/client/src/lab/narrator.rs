//! What the lab tells while it works: a title for each step, the commands that a person would type, and what came out.

use std::ffi::OsStr;
use std::io::Write;

/// Tells it to people.
pub struct Narrator {
    to: Box<dyn Write>,
    step: u32,
    title: &'static str,
}

impl Narrator {
    /// With JSON on standard output, it is told on standard error.
    pub fn new(json: bool) -> Self {
        let to: Box<dyn Write> = if json { Box::new(std::io::stderr()) } else { Box::new(std::io::stdout()) };
        Self { to, step: 0, title: "" }
    }

    pub fn step(&mut self, title: &'static str) {
        (self.step, self.title) = (self.step + 1, title);
        self.put(&format!("{:2}  {title}", self.step));
    }

    /// The step in hand, for a failure.
    pub fn where_it_is(&self) -> String {
        format!("step {} ({})", self.step, self.title)
    }

    pub fn command<'a>(&mut self, program: &str, words: impl Iterator<Item = &'a OsStr>) {
        let words: String = words.map(|word| format!(" {}", quoted(word))).collect();
        self.line(&format!("$ {program}{words}"));
    }

    /// Something about the step.
    pub fn line(&mut self, text: &str) {
        self.put(&format!("    {text}"));
    }

    /// Who does not read it does not miss it.
    pub fn put(&mut self, text: &str) {
        let _ = writeln!(self.to, "{text}").and_then(|()| self.to.flush());
    }
}

/// As a shell takes it for one word.
pub fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_when_a_shell_would_take_it_for_something_else() {
        for (word, typed) in [
            ("--to", "--to"),
            ("/srv/lab:1", "/srv/lab:1"),
            ("", "''"),
            ("two words", "'two words'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
        ] {
            assert_eq!(quoted(OsStr::new(word)), typed);
        }
    }
}
