//! The hashes of an object, computed beside its writer: an MD5 takes as long as all else that is done to stored bytes together.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use bytes::Bytes;
use md5::Md5;
use sha2::digest::Output;
use sha2::{Digest, Sha256};

use crate::packers::Lost;

/// Pieces that a thread may be behind.
const PIECES_BEHIND: usize = 8;

/// MD5 and SHA-256 of one object after the other.
pub(crate) struct Hashers {
    md5: Hasher<Md5>,
    sha256: Hasher<Sha256>,
}

impl Hashers {
    /// In the caller's thread.
    pub(crate) fn here() -> Self {
        Self { md5: Hasher::Here(Md5::new()), sha256: Hasher::Here(Sha256::new()) }
    }

    /// Each in a thread of its own; in the caller's where none can be started.
    pub(crate) fn threads() -> Self {
        Self { md5: Hasher::thread("bundle-md5"), sha256: Hasher::thread("bundle-sha256") }
    }

    /// The object's next bytes.
    pub(crate) fn update(&mut self, bytes: Bytes) -> Result<(), Lost> {
        self.md5.update(bytes.clone())?;
        self.sha256.update(bytes)
    }

    /// Both hashes; another object may follow.
    pub(crate) fn finish(&mut self) -> Result<(Output<Md5>, Output<Sha256>), Lost> {
        Ok((self.md5.finish()?, self.sha256.finish()?))
    }
}

enum Hasher<D: Digest> {
    Here(D),
    There(Thread<D>),
}

struct Thread<D: Digest> {
    /// None: it is to end.
    pieces: Option<SyncSender<Piece<D>>>,
    handle: Option<JoinHandle<()>>,
}

enum Piece<D: Digest> {
    Bytes(Bytes),
    End(SyncSender<Output<D>>),
}

impl<D: Digest + Send + 'static> Hasher<D> {
    fn thread(name: &str) -> Self {
        let (pieces, queue) = sync_channel(PIECES_BEHIND);
        match Builder::new().name(name.to_owned()).spawn(move || work(&queue)) {
            Ok(handle) => Self::There(Thread { pieces: Some(pieces), handle: Some(handle) }),
            Err(_) => Self::Here(D::new()),
        }
    }

    fn update(&mut self, bytes: Bytes) -> Result<(), Lost> {
        match self {
            Self::Here(digest) => {
                digest.update(&bytes);
                Ok(())
            }
            Self::There(thread) => thread.send(Piece::Bytes(bytes)),
        }
    }

    fn finish(&mut self) -> Result<Output<D>, Lost> {
        match self {
            Self::Here(digest) => Ok(std::mem::replace(digest, D::new()).finalize()),
            Self::There(thread) => {
                let (give, hash) = sync_channel(1);
                thread.send(Piece::End(give))?;
                hash.recv().map_err(|_| Lost)
            }
        }
    }
}

impl<D: Digest> Thread<D> {
    fn send(&self, piece: Piece<D>) -> Result<(), Lost> {
        self.pieces.as_ref().ok_or(Lost)?.send(piece).map_err(|_| Lost)
    }
}

impl<D: Digest> Drop for Thread<D> {
    fn drop(&mut self) {
        self.pieces = None;
        if let Some(handle) = self.handle.take() {
            // One that panicked has been told of by the hash that it did not give.
            let _ = handle.join();
        }
    }
}

fn work<D: Digest>(queue: &Receiver<Piece<D>>) {
    let mut digest = D::new();
    for piece in queue {
        match piece {
            Piece::Bytes(bytes) => digest.update(&bytes),
            // Nobody waits for it when the writer is gone.
            Piece::End(give) => drop(give.send(std::mem::replace(&mut digest, D::new()).finalize())),
        }
    }
}
