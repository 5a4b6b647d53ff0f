//! An object that is read as it comes, and lies nowhere.

use std::fmt;
use std::io::{self, Read};

use bytes::{Buf as _, Bytes};
use futures_util::StreamExt as _;
use tokio::runtime::Handle;
use vtl_remote::ByteStream;

use crate::pace::Pace;
use crate::send::on_remote;
use crate::trouble::Trouble;

/// Its bytes, in order.
pub struct Arriving<'a> {
    runtime: &'a Handle,
    pace: &'a dyn Pace,
    stream: ByteStream,
    piece: Bytes,
    moved: Box<dyn Fn(u64) + 'a>,
    failed: Box<dyn Fn(Trouble) + 'a>,
}

impl fmt::Debug for Arriving<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arriving").finish_non_exhaustive()
    }
}

impl<'a> Arriving<'a> {
    /// `moved` is told how many bytes have come, `failed` why no more do: a reader can only say that it is so.
    pub(crate) fn new(
        runtime: &'a Handle,
        pace: &'a dyn Pace,
        stream: ByteStream,
        moved: impl Fn(u64) + 'a,
        failed: impl Fn(Trouble) + 'a,
    ) -> Self {
        let (moved, failed) = (Box::new(moved), Box::new(failed));
        Self { runtime, pace, stream, piece: Bytes::new(), moved, failed }
    }
}

impl Read for Arriving<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let next = on_remote(self.runtime, self.pace, async { self.stream.next().await.transpose() });
            let next = next.map_err(|trouble| {
                (self.failed)(trouble);
                io::Error::other("it cannot be fetched")
            });
            let Some(piece) = next? else { return Ok(0) };
            (self.moved)(piece.len() as u64);
            self.piece = piece;
        }
        let count = room.len().min(self.piece.len());
        self.piece.copy_to_slice(room.get_mut(..count).unwrap_or_default());
        Ok(count)
    }
}
