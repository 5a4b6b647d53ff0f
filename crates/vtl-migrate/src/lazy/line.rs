//! The way to the objects of one bundle: ranges of them, and where frames are in those that were asked last.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use vtl_bundle::{Finding, Frames, Index};
use vtl_remote::{ByteStream, Class, Doing, Error, ObjectName, Span};
use vtl_transfer::{Pace, Trouble, failure, on_remote};

use super::{LOOK, LazyRow, Unread, frames_in_piece};
use crate::fail;
use crate::folder::FolderName;
use crate::job::End;
use crate::world::World;

/// Objects whose frame tables are in memory.
const INDEXES: usize = 8;

pub(super) struct Line {
    end: End,
    /// By place in the manifest; the last one that was asked is last.
    indexes: Mutex<VecDeque<(usize, Arc<Index>)>>,
}

impl Line {
    pub(super) fn open(world: &dyn World, row: &LazyRow) -> Result<Self, Unread> {
        let end = End::open(world, &row.remote, FolderName::asked(&row.folder)?)?;
        Ok(Self { end, indexes: Mutex::default() })
    }

    /// The bytes of the image in these frames: a piece each time, as soon as all of it has come and is right. They begin where a piece does.
    pub(super) fn pieces(
        &self,
        frames: &Frames,
        wanted: Range<u64>,
        pace: &dyn Pace,
        came: &mut dyn FnMut(Bytes) -> Result<(), Unread>,
    ) -> Result<(), Unread> {
        let (mut raw, each) = (Vec::new(), frames_in_piece(frames.manifest()));
        for (at, part) in frames.parts(wanted) {
            let index = self.index(frames, at, pace)?;
            let range = index.range(&part).unwrap_or_default();
            let mut flow = self.flow(frames, at, range, pace)?;
            for some in cut(part, each) {
                let bytes = flow.take(index.range(&some).map_or(0, |range| len(&range)))?;
                let (end, opened) = (some.end, frames.raw(&index, some, &bytes, &mut raw));
                opened.map_err(|finding| self.damaged(&finding))?;
                if end.is_multiple_of(each) {
                    came(std::mem::take(&mut raw).into())?;
                }
            }
            flow.end()?;
        }
        if raw.is_empty() { Ok(()) } else { came(raw.into()) }
    }

    fn index(&self, frames: &Frames, at: usize, pace: &dyn Pace) -> Result<Arc<Index>, Unread> {
        let known = {
            let indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
            indexes.iter().find(|(object, _)| *object == at).map(|(_, index)| Arc::clone(index))
        };
        if let Some(index) = known {
            return Ok(index);
        }
        let [header, table] = frames.outline(at).map_err(|finding| self.damaged(&finding))?;
        let (header, table) = (self.get(frames, at, header, pace)?, self.get(frames, at, table, pace)?);
        let index = frames.index(at, &header, &table).map_err(|finding| self.damaged(&finding))?;
        let index = Arc::new(index);
        let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        indexes.push_back((at, Arc::clone(&index)));
        let over = indexes.len().saturating_sub(INDEXES);
        indexes.drain(..over);
        Ok(index)
    }

    fn get(&self, frames: &Frames, at: usize, range: Range<u64>, pace: &dyn Pace) -> Result<Bytes, Unread> {
        let len = len(&range);
        let mut flow = self.flow(frames, at, range, pace)?;
        let bytes = flow.take(len)?;
        flow.end()?;
        Ok(bytes)
    }

    fn flow<'a>(
        &'a self,
        frames: &Frames,
        at: usize,
        range: Range<u64>,
        pace: &'a dyn Pace,
    ) -> Result<Flow<'a>, Unread> {
        let (end, asked, looked) = (&self.end, len(&range), Instant::now());
        let name = frames.object(at).map_or("", |stored| &stored.name);
        let name = end.folder.object(name);
        let name = name.map_err(|why| fail::permanent("invalid", why.to_string(), ""))?;
        let stream = async { end.remote.get(&name, Span::of(range.start, len_u64(&range))).await };
        let stream = end.settings.limiter.paced(self.on(&name, pace, stream)?);
        Ok(Flow { line: self, pace, name, stream, asked, left: asked, came: BytesMut::new(), looked })
    }

    fn on<T>(
        &self,
        name: &ObjectName,
        pace: &dyn Pace,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Unread> {
        let end = &self.end;
        // What reads a stream knows neither remote nor object.
        let call = async { Ok(call.await.map_err(|error| error.on(end.remote.name()).of(name.as_str()))) };
        match on_remote(&end.runtime, pace, call) {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) if error.class() == Class::OutOfRange => {
                let failure = failure(&error);
                Err(Unread::Damaged(fail::permanent(
                    "conflict",
                    failure.message,
                    failure.remedy.as_deref().unwrap_or_default(),
                )))
            }
            Ok(Err(error)) => Err(Unread::Away(failure(&error))),
            Err(Trouble::Stopped) => Err(Unread::Stopped),
            Err(Trouble::Failed(failure)) => Err(Unread::Away(failure)),
        }
    }

    fn damaged(&self, finding: &Finding) -> Unread {
        Unread::Damaged(fail::permanent(
            "conflict",
            format!("remote {}, folder {}: {finding}", self.end.remote.name(), self.end.name),
            "put the object back as it was, then vtl job retry ID; vtl export verify tells more",
        ))
    }
}

/// A range of an object, as it comes.
struct Flow<'a> {
    line: &'a Line,
    pace: &'a dyn Pace,
    name: ObjectName,
    stream: ByteStream,
    asked: usize,
    /// Bytes that are still to come.
    left: usize,
    /// What came and was not taken.
    came: BytesMut,
    looked: Instant,
}

impl Flow<'_> {
    /// The next bytes, so many, once they have come.
    fn take(&mut self, len: usize) -> Result<Bytes, Unread> {
        while self.came.len() < len {
            if !self.more()? {
                let came = self.asked.saturating_sub(self.left);
                let text = format!("{}: {came} of {} bytes came", self.name, self.asked);
                let remedy = "check the network; it is tried again";
                return Err(Unread::Away(fail::temporary("conflict", text, remedy)));
            }
        }
        // So many are here.
        Ok(self.came.split_to(len).freeze())
    }

    /// Nothing follows.
    fn end(&mut self) -> Result<(), Unread> {
        while self.more()? {}
        Ok(())
    }

    /// Waits for what comes next; false at the end.
    fn more(&mut self) -> Result<bool, Unread> {
        // A wait looks by itself; what always comes in time does not wait.
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            if !self.pace.goes_on() {
                return Err(Unread::Stopped);
            }
        }
        let (stream, left, asked) = (&mut self.stream, self.left, self.asked);
        let next = async {
            match stream.next().await.transpose()? {
                Some(bytes) if bytes.len() > left => {
                    let text = format!("there are more than {asked} bytes");
                    Err(Error::new(Class::Refused, Doing::Get, text))
                }
                next => Ok(next),
            }
        };
        let Some(bytes) = self.line.on(&self.name, self.pace, next)? else { return Ok(false) };
        self.left = left.saturating_sub(bytes.len());
        self.came.extend_from_slice(&bytes);
        Ok(true)
    }
}

/// Frames, cut where pieces begin, of which each has so many.
fn cut(frames: Range<u64>, each: u64) -> impl Iterator<Item = Range<u64>> {
    let pieces = frames.start / each..frames.end.div_ceil(each);
    pieces.map(move |piece| {
        let start = piece.saturating_mul(each);
        start.max(frames.start)..start.saturating_add(each).min(frames.end)
    })
}

fn len(range: &Range<u64>) -> usize {
    usize::try_from(len_u64(range)).unwrap_or(usize::MAX)
}

fn len_u64(range: &Range<u64>) -> u64 {
    range.end.saturating_sub(range.start)
}
