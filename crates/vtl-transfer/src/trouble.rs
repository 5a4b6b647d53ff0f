//! Why a transfer ended early, and what that means for its job.

use std::io;

use vtl_jobs::{Class, Failure};
use vtl_remote::Class as Remote;

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A stop was wanted.
    Stopped,
    /// It failed.
    Failed(Failure),
}

impl Trouble {
    /// Whether another attempt may get further with what this one has made.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Stopped => true,
            Self::Failed(failure) => failure.class != Class::Permanent,
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<vtl_remote::Error> for Trouble {
    fn from(error: vtl_remote::Error) -> Self {
        Self::Failed(failure(&error))
    }
}

/// Word and remedy for each class of a remote's errors; whether a retry helps, the class says itself.
const MEANINGS: &[(Remote, &str, &str)] = &[
    (Remote::NotThere, "not-found", "see what is there: vtl export ls --remote REMOTE"),
    (Remote::AlreadyThere, "exists", "see what is there: vtl export ls --remote REMOTE"),
    (Remote::OutOfRange, "conflict", "the object is shorter than it was: vtl export verify tells which"),
    (Remote::Denied, "forbidden", "check the remote's credentials and rights: vtl remote test REMOTE"),
    (Remote::Misconfigured, "invalid", "check the remote's settings: vtl remote test REMOTE"),
    (Remote::Refused, "conflict", "see what the remote says, then vtl job retry ID"),
    (Remote::Throttled, "conflict", "lower jobs.max_transfers or set transfer.bandwidth; it is tried again"),
    (
        Remote::Unavailable,
        "conflict",
        "check the network and the remote: vtl remote test REMOTE; it is tried again",
    ),
    (Remote::Interrupted, "conflict", "check the network; it is tried again"),
    (
        Remote::Damaged,
        "conflict",
        "what is there is not what was sent: vtl export verify tells more; it is tried again",
    ),
    (Remote::Unverifiable, "unsupported", "set migrate.verify to readback, or to none to go without"),
    (Remote::Full, "full", "make room on the remote; it is tried again"),
    (Remote::Source, "internal", "check the disk of migrate.staging_dir, then vtl job retry ID"),
    (Remote::Local, "internal", "check this machine's disks and programs, then vtl job retry ID"),
    (Remote::Unsupported, "unsupported", "use another type of remote"),
];

/// What an error of a remote means for a job.
#[must_use]
pub fn failure(error: &vtl_remote::Error) -> Failure {
    let meaning = MEANINGS.iter().find(|(class, ..)| *class == error.class());
    let (code, remedy) = meaning.map_or(("internal", "see the log"), |(_, code, remedy)| (*code, *remedy));
    Failure {
        class: if error.is_retryable() { Class::Temporary } else { Class::Permanent },
        code: code.to_owned(),
        message: error.to_string(),
        remedy: Some(remedy.to_owned()),
    }
}

/// An error of this machine's disk.
pub(crate) fn local(what: &str, error: &io::Error) -> Failure {
    Failure {
        class: Class::Temporary,
        code: "internal".to_owned(),
        message: format!("{what}: {error}"),
        remedy: Some("check the disk of migrate.staging_dir; it is tried again".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vtl_remote::Doing;

    #[test]
    fn what_may_pass_is_tried_again_and_what_will_not_is_told_with_its_remedy() {
        let all = [
            (Remote::NotThere, false),
            (Remote::AlreadyThere, false),
            (Remote::OutOfRange, false),
            (Remote::Denied, false),
            (Remote::Misconfigured, false),
            (Remote::Refused, false),
            (Remote::Throttled, true),
            (Remote::Unavailable, true),
            (Remote::Interrupted, true),
            (Remote::Damaged, true),
            (Remote::Unverifiable, false),
            (Remote::Full, true),
            (Remote::Source, false),
            (Remote::Local, false),
            (Remote::Unsupported, false),
        ];
        assert_eq!(all.len(), MEANINGS.len());
        for (class, again) in all {
            let failure = failure(&vtl_remote::Error::new(class, Doing::Put, "so it is").on("r").of("a/b"));
            assert_eq!(failure.class == Class::Temporary, again, "{class:?}");
            assert!(failure.message.contains("so it is") && failure.message.contains("a/b"));
            assert!(failure.remedy.is_some_and(|remedy| remedy.len() > 10));
        }
    }
}
