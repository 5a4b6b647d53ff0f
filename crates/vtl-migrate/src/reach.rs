//! Objects of a bundle that are read in parts where they lie: what a frame needs is fetched, and nothing is staged.
//!
//! Whole objects are not compared with their hashes on this way: whoever reads through it has other hashes for what comes out.

use std::cell::RefCell;
use std::io::{self, Read, Seek, SeekFrom};

use bytes::Bytes;
use vtl_bundle::{FRAME_HEADER_BYTES, MAX_BODY_BYTES, Manifest, Source};
use vtl_remote::{Span, collect};
use vtl_transfer::{Pace, Trouble, on_remote};

use crate::fail;
use crate::job::End;

/// Bytes of one fetch: a frame at its longest.
const WINDOW_BYTES: u64 = (FRAME_HEADER_BYTES + MAX_BODY_BYTES) as u64;
/// So many fetched pieces are kept: an object's header and table are asked for again and again.
const KEPT: usize = 16;

/// The objects of one bundle.
pub(crate) struct Reach<'a> {
    end: &'a End,
    manifest: &'a Manifest,
    pace: &'a dyn Pace,
    kept: RefCell<Vec<Window>>,
    trouble: RefCell<Option<Trouble>>,
}

/// What was fetched of an object.
#[derive(Clone)]
struct Window {
    object: String,
    at: u64,
    bytes: Bytes,
}

impl<'a> Reach<'a> {
    pub(crate) fn new(end: &'a End, manifest: &'a Manifest, pace: &'a dyn Pace) -> Self {
        Self { end, manifest, pace, kept: RefCell::default(), trouble: RefCell::default() }
    }

    /// Why the last read failed, when that was not the bundle's fault.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.trouble.borrow_mut().take()
    }

    /// The bytes from `at` on, as far as one fetch goes; `len`: length of the object.
    fn piece_at(&self, object: &str, at: u64, len: u64) -> io::Result<Bytes> {
        let mut kept = self.kept.borrow_mut();
        let has = |one: &Window| {
            one.object == object && one.at <= at && at < one.at.saturating_add(one.bytes.len() as u64)
        };
        let window = match kept.iter().position(has) {
            Some(place) => kept.remove(place),
            None => self.fetch(object, at, len)?,
        };
        let skipped = usize::try_from(at - window.at).unwrap_or(usize::MAX).min(window.bytes.len());
        let found = window.bytes.slice(skipped..);
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push(window);
        Ok(found)
    }

    fn fetch(&self, object: &str, at: u64, len: u64) -> io::Result<Window> {
        self.ask(object, Span::of(at, WINDOW_BYTES.min(len - at)))
            .map(|bytes| Window { object: object.to_owned(), at, bytes })
            .map_err(|trouble| {
                *self.trouble.borrow_mut() = Some(trouble);
                io::Error::other("the object cannot be fetched")
            })
    }

    fn ask(&self, object: &str, span: Span) -> Result<Bytes, Trouble> {
        if !self.pace.goes_on() {
            return Err(Trouble::Stopped);
        }
        let name = self.end.folder.object(object);
        let name = name.map_err(|why| fail::permanent("invalid", why.to_string(), ""))?;
        let _permit = self.pace.permit().ok_or(Trouble::Stopped)?;
        on_remote(&self.end.runtime, self.pace, async {
            let stream = self.end.remote.get(&name, span).await?;
            collect(self.end.settings.limiter.paced(stream), WINDOW_BYTES as usize).await
        })
    }
}

impl<'a> Source for &'a Reach<'_> {
    type Object = Piece<'a>;

    fn open(&mut self, name: &str) -> io::Result<Piece<'a>> {
        let reach: &'a Reach<'_> = self;
        let stored = reach.manifest.objects.iter().find(|object| object.name == name);
        let stored = stored.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(Piece { reach, name: stored.name.clone(), len: stored.bytes, at: 0 })
    }
}

/// An object that is open.
pub(crate) struct Piece<'a> {
    reach: &'a Reach<'a>,
    name: String,
    len: u64,
    at: u64,
}

impl Read for Piece<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if room.is_empty() || self.at >= self.len {
            return Ok(0);
        }
        let read = self.reach.piece_at(&self.name, self.at, self.len)?.as_ref().read(room)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Piece<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}
