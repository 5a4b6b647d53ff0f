//! The kind of store that the daemon under test makes: every case holds on each of them.
//!
//! `VTL_STORE` names what differs from the default, with commas between: `no-dedupe`, `direct`, `encrypted`.

use crate::{Result, Trouble};

/// The variable that says which kind is wanted.
pub const VARIABLE: &str = "VTL_STORE";
/// The variable in the daemon's environment that holds the passphrase; its name is in the words below.
const PASSPHRASE: (&str, &str) = ("VTL_TEST_PASSPHRASE", "a made-up passphrase of the tests");
/// Each name with the words that it adds to the daemon's command line.
const KINDS: [(&str, &[&str]); 3] = [
    ("no-dedupe", &["--set", "store.dedupe=false"]),
    ("direct", &["--set", "store.direct_io=on"]),
    (
        "encrypted",
        &["--set", "store.encryption=aes-256-gcm", "--set", "store.passphrase_env=VTL_TEST_PASSPHRASE"],
    ),
];

/// What to start the daemon with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreKind {
    args: Vec<String>,
}

impl StoreKind {
    /// What the environment asks for.
    pub fn from_env() -> Result<Self> {
        std::env::var(VARIABLE).map_or_else(|_| Ok(Self::default()), |names| Self::named(&names))
    }

    fn named(names: &str) -> Result<Self> {
        let mut kind = Self::default();
        for name in names.split(',').filter(|name| !name.is_empty()) {
            let (_, words) = KINDS.iter().find(|(known, _)| *known == name).ok_or_else(|| {
                let known: Vec<&str> = KINDS.iter().map(|(known, _)| *known).collect();
                Trouble(format!("{VARIABLE}: '{name}' is no kind of store ({})", known.join(", ")))
            })?;
            kind.args.extend(words.iter().map(|&word| word.to_owned()));
        }
        Ok(kind)
    }

    /// True for the store that a daemon makes without being told.
    pub fn is_default(&self) -> bool {
        self.args.is_empty()
    }

    /// Words for the daemon's command line.
    pub fn args(&self) -> &[String] {
        &self.args
    }

    /// What the daemon's environment must hold, whatever the kind.
    pub fn env() -> (&'static str, &'static str) {
        PASSPHRASE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_adds_its_words() {
        let kind = StoreKind::named("no-dedupe,encrypted").expect("known names");
        assert_eq!(
            kind.args().join(" "),
            "--set store.dedupe=false --set store.encryption=aes-256-gcm --set store.passphrase_env=VTL_TEST_PASSPHRASE"
        );
        assert!(!kind.is_default() && StoreKind::named("").expect("nothing").is_default());
    }

    #[test]
    fn an_unknown_name_is_told_with_the_known_ones() {
        let trouble = StoreKind::named("encrypted,fast").expect_err("no such kind");
        assert_eq!(
            trouble.to_string(),
            "VTL_STORE: 'fast' is no kind of store (no-dedupe, direct, encrypted)"
        );
    }
}
