//! Where in an object the damage is: it is fetched once more and looked at as it comes. No key is needed, and nothing is kept.

use std::io;

use tokio::runtime::Handle;
use vtl_bundle::{Fault, Manifest, Source, verify_at};
use vtl_remote::{Limiter, ObjectName, Remote, Span};

use crate::arriving::Arriving;
use crate::pace::Pace;
use crate::send::on_remote;

/// What is wrong with the object at this place of the manifest, with its frame if it is in one; none when it cannot be fetched, or is right by now.
#[must_use]
pub fn examine(
    runtime: &Handle,
    remote: &dyn Remote,
    limiter: &Limiter,
    name: &ObjectName,
    manifest: &Manifest,
    at: usize,
    pace: &dyn Pace,
) -> Option<String> {
    let mut coming = Coming { runtime, remote, limiter, name, pace };
    match verify_at(manifest, at, &mut coming) {
        Err(finding) if !matches!(finding.fault, Fault::Read(_)) => Some(finding.to_string()),
        _ => None,
    }
}

/// One object on a remote, whatever name is asked for.
struct Coming<'a> {
    runtime: &'a Handle,
    remote: &'a dyn Remote,
    limiter: &'a Limiter,
    name: &'a ObjectName,
    pace: &'a dyn Pace,
}

impl<'a> Source for Coming<'a> {
    type Object = Arriving<'a>;

    fn open(&mut self, _name: &str) -> io::Result<Self::Object> {
        let stream = on_remote(self.runtime, self.pace, self.remote.get(self.name, Span::whole()));
        let stream = stream.map_err(|_| io::Error::other("it cannot be fetched"))?;
        let stream = self.limiter.paced(stream);
        Ok(Arriving::new(self.runtime, self.pace, stream, |_| {}, |_| {}))
    }
}
