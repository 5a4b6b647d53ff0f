//! The way to the objects of one bundle: ranges of them, and where frames are in those that were asked last.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use vtl_bundle::{Finding, Frames, Index};
use vtl_remote::{Class, Span, collect};
use vtl_transfer::{Pace, Trouble, failure, on_remote};

use super::{LazyRow, Unread};
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

    /// The bytes of the image in these frames.
    pub(super) fn raw(
        &self,
        frames: &Frames,
        wanted: Range<u64>,
        pace: &dyn Pace,
    ) -> Result<Vec<u8>, Unread> {
        let mut raw = Vec::new();
        for (at, part) in frames.parts(wanted) {
            let index = self.index(frames, at, pace)?;
            let range = index.range(&part).unwrap_or_default();
            let bytes = self.get(frames, at, range, pace)?;
            frames.raw(&index, part, &bytes, &mut raw).map_err(|finding| self.damaged(&finding))?;
        }
        Ok(raw)
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
        let name = frames.object(at).map_or("", |stored| &stored.name);
        let name = self.end.folder.object(name);
        let name = name.map_err(|why| fail::permanent("invalid", why.to_string(), ""))?;
        let (len, end) = (range.end.saturating_sub(range.start), &self.end);
        let most = usize::try_from(len).unwrap_or(usize::MAX);
        let got = on_remote(&end.runtime, pace, async {
            let read = async {
                let stream = end.remote.get(&name, Span::of(range.start, len)).await?;
                collect(end.settings.limiter.paced(stream), most).await
            };
            // What reads the stream knows neither remote nor object.
            Ok(read.await.map_err(|error| error.on(end.remote.name()).of(name.as_str())))
        });
        match got {
            Ok(Ok(bytes)) if bytes.len() == most => Ok(bytes),
            Ok(Ok(bytes)) => {
                let text = format!("{name}: {} of {len} bytes came", bytes.len());
                Err(Unread::Away(fail::temporary("conflict", text, "check the network; it is tried again")))
            }
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
