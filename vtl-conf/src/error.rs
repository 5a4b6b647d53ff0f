//! What is wrong with the configuration: where, which key, which value, and what would be right.

use std::{fmt, path::PathBuf};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// A line of the configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// Counts from 1; 0 when the file could not be read at all.
        line: usize,
    },
    /// An argument, as it was given.
    CommandLine(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: 0 } => path.display().fmt(f),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::CommandLine(argument) => f.write_str(argument),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfError {
    /// Where.
    pub origin: Origin,
    /// The dotted key; empty when the text is no TOML at all.
    pub key: String,
    /// The value as TOML; empty when there is none.
    pub value: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl ConfError {
    /// Where, which key, which value and what is wrong, without what to do.
    #[must_use]
    pub fn fact(&self) -> String {
        let setting = match (self.key.is_empty(), self.value.is_empty()) {
            (true, _) => String::new(),
            (false, true) => format!("{}: ", self.key),
            (false, false) => format!("{} = {}: ", self.key, self.value),
        };
        format!("{}: {setting}{}", self.origin, self.problem)
    }
}

impl fmt::Display for ConfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.fact(), self.remedy)
    }
}

impl std::error::Error for ConfError {}

/// Everything that is wrong; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfErrors(pub Vec<ConfError>);

impl From<ConfError> for ConfErrors {
    fn from(error: ConfError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for ConfErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfErrors {}
