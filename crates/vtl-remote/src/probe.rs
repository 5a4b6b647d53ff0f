//! Whether a remote does what exports will ask of it: `vtl remote test`.
//!
//! One small object is created, created again, asked for, read, hashed, listed and deleted. Its name is random, and it is
//! deleted in any case.

use bytes::Bytes;

use crate::body::{BytesBody, collect};
use crate::content::{Comparison, Content, Receipt, compare};
use crate::error::{Class, Doing, Error};
use crate::limit::Limiter;
use crate::name::{Folder, ObjectName};
use crate::random;
use crate::remote::{Hashes, Put, Remote, Span, Unwatched};

/// The folder of probe objects.
const FOLDER: &str = "vtl-probe";
/// The probe's bytes: enough for a range.
const SIZE: usize = 4_096;
/// The range that is asked.
const RANGE: (u64, u64) = (1_000, 96);
/// Listings of the probe folder are followed so far: probes that were cut off may be in it.
const MAX_PAGES: usize = 100;
const PAGE: usize = 1_000;

/// What a step found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It works.
    Works,
    /// It works with a limit, which the text names.
    Limited(&'static str),
    /// It failed.
    Failed(Error),
}

/// What a probe found, step after step. A step that needs a failed one is not there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Step and finding.
    pub steps: Vec<(&'static str, Finding)>,
}

impl Report {
    /// True when nothing failed.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        !self.steps.iter().any(|(_, finding)| matches!(finding, Finding::Failed(_)))
    }

    /// What a step found, when it was tried.
    #[must_use]
    pub fn step(&self, name: &str) -> Option<&Finding> {
        self.steps.iter().find(|(step, _)| *step == name).map(|(_, finding)| finding)
    }

    /// Notes a step; whether it did not fail.
    fn note(&mut self, step: &'static str, outcome: Result<Finding, Error>) -> bool {
        let finding = outcome.unwrap_or_else(Finding::Failed);
        let went = !matches!(finding, Finding::Failed(_));
        self.steps.push((step, finding));
        went
    }
}

/// Tries a remote out.
pub async fn probe(remote: &dyn Remote) -> Report {
    let mut report = Report::default();
    let (name, bytes) = match subject() {
        Ok(subject) => subject,
        Err(error) => {
            report.note("prepare", Err(error.on(remote.name())));
            return report;
        }
    };
    if report.note("create", remote.create(&name, bytes.clone()).await.map(|()| Finding::Works)) {
        report.note("create again", create_again(remote, &name, bytes.clone()).await);
        report.note("size", size(remote, &name, &bytes).await);
        report.note("read", read(remote, &name, &bytes, Span::whole()).await);
        report.note("read a range", read_range(remote, &name, &bytes).await);
        report.note("hash", hash(remote, &name, &bytes).await);
        report.note("list", list(remote, &name).await);
        report.note("replace", replace(remote, &name, bytes).await);
    }
    // After a failed create too: its answer may have been lost.
    report.note("delete", delete(remote, &name).await);
    report
}

fn subject() -> Result<(ObjectName, Bytes), Error> {
    let local = |why: String| Error::new(Class::Local, Doing::Open, why);
    let random = random::hex().map_err(local)?;
    let name = ObjectName::new(format!("{FOLDER}/{random}")).map_err(|error| local(error.to_string()))?;
    let bytes: Vec<u8> = random.bytes().cycle().take(SIZE).collect();
    Ok((name, bytes.into()))
}

async fn create_again(remote: &dyn Remote, name: &ObjectName, bytes: Bytes) -> Result<Finding, Error> {
    match remote.create(name, bytes).await {
        Err(error) if error.class() == Class::AlreadyThere => Ok(Finding::Works),
        Ok(()) => {
            Ok(Finding::Limited("the remote replaces an object that must be new: it ignores the condition"))
        }
        Err(error) => Err(error),
    }
}

async fn size(remote: &dyn Remote, name: &ObjectName, bytes: &Bytes) -> Result<Finding, Error> {
    let size = remote.head(name).await?.size;
    expect(size == bytes.len() as u64, remote, name, Doing::Head, "the size is not that of what was sent")
}

async fn read(remote: &dyn Remote, name: &ObjectName, expected: &[u8], span: Span) -> Result<Finding, Error> {
    let found = collect(remote.get(name, span).await?, SIZE).await?;
    expect(found == expected, remote, name, Doing::Get, "the bytes are not those that were sent")
}

async fn read_range(remote: &dyn Remote, name: &ObjectName, bytes: &Bytes) -> Result<Finding, Error> {
    let (start, length) = RANGE;
    let expected = bytes.slice(start as usize..(start + length) as usize);
    read(remote, name, &expected, Span::of(start, length)).await
}

async fn hash(remote: &dyn Remote, name: &ObjectName, bytes: &Bytes) -> Result<Finding, Error> {
    let told = remote.hashes(name).await?;
    match compare(&Content::of(bytes), &Receipt::whole(), &told) {
        Comparison::Equal(_) if remote.abilities().hashes == Hashes::ReadHere => {
            Ok(Finding::Limited("a hash is computed by reading the object back"))
        }
        Comparison::Equal(_) => Ok(Finding::Works),
        Comparison::Nothing => Ok(Finding::Limited(
            "the remote tells no hash: verify by readback, which reads every object again",
        )),
        Comparison::Differs(_) => {
            expect(false, remote, name, Doing::Hash, "the hash is not that of what was sent")
        }
    }
}

async fn list(remote: &dyn Remote, name: &ObjectName) -> Result<Finding, Error> {
    let folder =
        Folder::new(FOLDER).map_err(|error| Error::new(Class::Local, Doing::List, error.to_string()))?;
    let mut after = None;
    for _ in 0..MAX_PAGES {
        let page = remote.list(&folder, after.as_ref(), PAGE).await?;
        if page.entries.iter().any(|entry| entry.name == *name && entry.size == SIZE as u64) {
            return Ok(Finding::Works);
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    expect(false, remote, name, Doing::List, "the listing of vtl-probe does not have it")
}

async fn replace(remote: &dyn Remote, name: &ObjectName, bytes: Bytes) -> Result<Finding, Error> {
    let (content, limiter) = (Content::of(&bytes), Limiter::unlimited());
    let body = BytesBody(bytes);
    let put =
        Put { name, content: &content, body: &body, resume: None, watch: &Unwatched, limiter: &limiter };
    remote.put(put).await.map(|_| Finding::Works)
}

async fn delete(remote: &dyn Remote, name: &ObjectName) -> Result<Finding, Error> {
    remote.delete(name).await?;
    match remote.head(name).await {
        Err(error) if error.class() == Class::NotThere => Ok(Finding::Works),
        Ok(_) => expect(false, remote, name, Doing::Delete, "it is there still after it was deleted"),
        Err(error) => Err(error),
    }
}

fn expect(
    holds: bool,
    remote: &dyn Remote,
    name: &ObjectName,
    doing: Doing,
    why: &str,
) -> Result<Finding, Error> {
    if holds {
        return Ok(Finding::Works);
    }
    Err(Error::new(Class::Damaged, doing, why).on(remote.name()).of(name))
}
