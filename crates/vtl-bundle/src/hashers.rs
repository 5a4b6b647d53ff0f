//! The hashes of an object, computed beside its writer: they take as long as all else that is done to stored bytes together.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use bytes::Bytes;
use vtl_digest::{Both, MD5_BYTES, SHA256_BYTES};

use crate::packers::Lost;

/// Pieces that the thread may be behind.
const PIECES_BEHIND: usize = 8;

/// MD5 and SHA-256 of an object.
pub(crate) type Hashes = ([u8; MD5_BYTES], [u8; SHA256_BYTES]);

/// Both hashes of one object after the other.
pub(crate) enum Hasher {
    /// In the caller's thread.
    Here(Both),
    There(Thread),
}

pub(crate) struct Thread {
    /// None: it is to end.
    pieces: Option<SyncSender<Piece>>,
    handle: Option<JoinHandle<()>>,
}

enum Piece {
    Bytes(Bytes),
    End(SyncSender<Hashes>),
}

impl Hasher {
    /// In the caller's thread.
    pub(crate) fn here() -> Self {
        Self::Here(Both::new())
    }

    /// In a thread of its own; in the caller's where none can be started.
    pub(crate) fn thread() -> Self {
        let (pieces, queue) = sync_channel(PIECES_BEHIND);
        match Builder::new().name("bundle-hashes".to_owned()).spawn(move || work(&queue)) {
            Ok(handle) => Self::There(Thread { pieces: Some(pieces), handle: Some(handle) }),
            Err(_) => Self::here(),
        }
    }

    /// The object's next bytes.
    pub(crate) fn update(&mut self, bytes: Bytes) -> Result<(), Lost> {
        match self {
            Self::Here(hashes) => {
                hashes.update(&bytes);
                Ok(())
            }
            Self::There(thread) => thread.send(Piece::Bytes(bytes)),
        }
    }

    /// Both hashes; another object may follow.
    pub(crate) fn finish(&mut self) -> Result<Hashes, Lost> {
        match self {
            Self::Here(hashes) => Ok(std::mem::take(hashes).finish()),
            Self::There(thread) => {
                let (give, hashes) = sync_channel(1);
                thread.send(Piece::End(give))?;
                hashes.recv().map_err(|_| Lost)
            }
        }
    }
}

impl Thread {
    fn send(&self, piece: Piece) -> Result<(), Lost> {
        self.pieces.as_ref().ok_or(Lost)?.send(piece).map_err(|_| Lost)
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.pieces = None;
        if let Some(handle) = self.handle.take() {
            // One that panicked has been told of by the hashes that it did not give.
            let _ = handle.join();
        }
    }
}

fn work(queue: &Receiver<Piece>) {
    let mut hashes = Both::new();
    for piece in queue {
        match piece {
            Piece::Bytes(bytes) => hashes.update(&bytes),
            // Nobody waits for them when the writer is gone.
            Piece::End(give) => drop(give.send(std::mem::take(&mut hashes).finish())),
        }
    }
}
