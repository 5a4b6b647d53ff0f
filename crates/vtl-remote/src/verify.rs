//! Whether what is on a remote is what was sent.

use std::fmt;
use std::str::FromStr;

use crate::body::digest_all;
use crate::content::{Comparison, Content, Receipt, compare};
use crate::error::{Call, Class, Doing, Error};
use crate::limit::Limiter;
use crate::name::ObjectName;
use crate::remote::{Remote, Span};

/// How an object is verified after it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The remote is asked for a hash, which is compared with the one kept here.
    #[default]
    RemoteHash,
    /// All bytes are fetched and hashed here.
    Readback,
    /// Nothing is asked.
    None,
}

/// The words of the configuration.
const MODES: &[(Mode, &str)] =
    &[(Mode::RemoteHash, "remote-hash"), (Mode::Readback, "readback"), (Mode::None, "none")];

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = MODES.iter().find(|(mode, _)| mode == self).map_or("", |(_, word)| word);
        f.write_str(word)
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        MODES
            .iter()
            .find(|(_, word)| *word == text)
            .map(|(mode, _)| *mode)
            .ok_or_else(|| format!("'{text}' is no way to verify: write remote-hash, readback or none"))
    }
}

/// What a verification has shown. A record of the transfer says it in these words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The remote told this kind of hash, and it is the right one.
    RemoteHash(&'static str),
    /// Every byte came back right.
    Readback,
    /// Nobody looked.
    Unchecked,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RemoteHash(kind) => write!(f, "verified by the remote's {kind}"),
            Self::Readback => f.write_str("verified by reading back"),
            Self::Unchecked => f.write_str("not verified"),
        }
    }
}

/// Verifies an object. What is fetched for it goes no faster than the limiter says.
///
/// # Errors
///
/// [`Class::Damaged`] when it is not what was sent, [`Class::NotThere`] when it is gone, [`Class::Unverifiable`] when the
/// remote tells no hash that could be compared; else what the calls fail with.
pub async fn verify(
    remote: &dyn Remote,
    name: &ObjectName,
    content: &Content,
    receipt: &Receipt,
    mode: Mode,
    limiter: &Limiter,
) -> Result<Proof, Error> {
    let call = Call::new(remote.name(), Doing::Verify, name);
    match mode {
        Mode::RemoteHash => by_hash(remote, name, content, receipt, &call).await,
        Mode::Readback => by_reading(remote, name, content, limiter, &call).await,
        Mode::None => Ok(Proof::Unchecked),
    }
}

/// The same; an object of which the remote tells no hash is read back.
///
/// # Errors
///
/// As [`verify`], but for [`Class::Unverifiable`].
pub async fn verify_or_read_back(
    remote: &dyn Remote,
    name: &ObjectName,
    content: &Content,
    receipt: &Receipt,
    mode: Mode,
    limiter: &Limiter,
) -> Result<Proof, Error> {
    match verify(remote, name, content, receipt, mode, limiter).await {
        Err(error) if error.class() == Class::Unverifiable => {
            verify(remote, name, content, receipt, Mode::Readback, limiter).await
        }
        outcome => outcome,
    }
}

async fn by_hash(
    remote: &dyn Remote,
    name: &ObjectName,
    content: &Content,
    receipt: &Receipt,
    call: &Call,
) -> Result<Proof, Error> {
    same_size(remote, name, content, call).await?;
    match compare(content, receipt, &remote.hashes(name).await?) {
        Comparison::Equal(kind) => Ok(Proof::RemoteHash(kind)),
        Comparison::Differs(kind) => {
            Err(call.fail(Class::Damaged, format!("the remote's {kind} is not that of what was sent")))
        }
        Comparison::Nothing => Err(call.fail(
            Class::Unverifiable,
            "the remote tells no hash that could be compared: set verify to readback, or to none to go without",
        )),
    }
}

async fn by_reading(
    remote: &dyn Remote,
    name: &ObjectName,
    content: &Content,
    limiter: &Limiter,
    call: &Call,
) -> Result<Proof, Error> {
    same_size(remote, name, content, call).await?;
    let found = digest_all(limiter.paced(remote.get(name, Span::whole()).await?)).await?;
    if found == *content {
        return Ok(Proof::Readback);
    }
    Err(call.fail(Class::Damaged, "what came back does not have the hash of what was sent"))
}

async fn same_size(
    remote: &dyn Remote,
    name: &ObjectName,
    content: &Content,
    call: &Call,
) -> Result<(), Error> {
    let size = remote.head(name).await?.size;
    if size == content.size {
        return Ok(());
    }
    Err(call.fail(Class::Damaged, format!("it has {size} bytes, and {} were sent", content.size)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::folder::FolderRemote;

    #[tokio::test]
    async fn what_is_read_back_goes_no_faster_than_transfers_may() {
        let place = tempfile::tempdir().unwrap();
        let bytes = vec![7; 300 << 10];
        std::fs::write(place.path().join("x"), &bytes).unwrap();
        let remote = FolderRemote::open("r", place.path()).unwrap();
        let (name, content, receipt) = (ObjectName::new("x").unwrap(), Content::of(&bytes), Receipt::whole());
        let limiter = Limiter::new("1m".parse().unwrap(), 1, Arc::new(|| 0));
        let began = Instant::now();
        let proof = verify(&remote, &name, &content, &receipt, Mode::Readback, &limiter).await;
        // 300 KiB at 1 MiB/s.
        assert!(proof == Ok(Proof::Readback) && began.elapsed() >= Duration::from_millis(290));
    }

    #[test]
    fn modes_are_the_words_of_the_configuration() {
        for (mode, word) in MODES {
            assert_eq!(word.parse(), Ok(*mode));
            assert_eq!(mode.to_string(), *word);
        }
        assert!("md5".parse::<Mode>().unwrap_err().contains("readback"));
    }
}
