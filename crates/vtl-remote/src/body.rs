//! Streams of bytes: what is sent, what is fetched, and the checks that they pass through.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use crate::content::{Content, Digester, Sha256Bytes};
use crate::direct::Reading;
use crate::error::{Call, Class, Doing, Error};

/// Files are read in pieces of this size.
pub const PIECE: usize = 1 << 20;
/// So many pieces of a file are read before they are asked for.
const PIECES_AHEAD: usize = 2;

/// Bytes as they come. An error ends the stream; without one before its end, the stream was complete.
pub type ByteStream = BoxStream<'static, Result<Bytes, Error>>;

/// What is to be sent. A driver may open it several times, and each time gets the same bytes from the first on.
pub trait Body: Send + Sync + fmt::Debug {
    /// The bytes from the first on.
    fn open(&self) -> ByteStream;

    /// The file that holds exactly these bytes, for drivers that hand a file to a program.
    fn file(&self) -> Option<&Path> {
        None
    }
}

/// A file.
#[derive(Debug, Clone)]
pub struct FileBody(PathBuf);

impl FileBody {
    /// The file is opened when it is sent, not now.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
}

impl Body for FileBody {
    fn open(&self) -> ByteStream {
        let path = self.0.clone();
        let blame = path.display().to_string();
        read(
            move || File::open(path),
            0,
            None,
            move |error| Error::new(Class::Source, Doing::Put, format!("{blame}: {error}")),
        )
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.0)
    }
}

/// Bytes at hand.
#[derive(Debug, Clone)]
pub struct BytesBody(pub Bytes);

impl Body for BytesBody {
    fn open(&self) -> ByteStream {
        let pieces: Vec<Bytes> = pieces(&self.0).collect();
        stream::iter(pieces.into_iter().map(Ok)).boxed()
    }
}

/// `bytes` in pieces, not copied.
pub(crate) fn pieces(bytes: &Bytes) -> impl Iterator<Item = Bytes> + use<'_> {
    (0..bytes.len()).step_by(PIECE).map(|from| bytes.slice(from..bytes.len().min(from + PIECE)))
}

/// Bytes of a file from `from` on, at most `most`, read by a thread of their own.
pub(crate) fn read(
    open: impl FnOnce() -> io::Result<File> + Send + 'static,
    from: u64,
    most: Option<u64>,
    blame: impl Fn(&io::Error) -> Error + Send + 'static,
) -> ByteStream {
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = read_into(open, from, most, &sender) {
            // A receiver that is gone wants to know nothing.
            let _ = sender.blocking_send(Err(blame(&error)));
        }
    });
    from_channel(receiver)
}

/// All bytes of a file that nobody will want soon again, read by a thread of their own. Who knows how many they should be compares: a file may grow.
pub(crate) fn read_once(file: File, blame: impl Fn(&io::Error) -> Error + Send + 'static) -> ByteStream {
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut reading = Reading::new(file);
        loop {
            let (piece, is_last) = match reading.piece() {
                Ok(piece) if piece.is_empty() => return,
                Ok(piece) => (Ok(piece), false),
                Err(error) => (Err(blame(&error)), true),
            };
            // A receiver that is gone wants to know nothing.
            if sender.blocking_send(piece).is_err() || is_last {
                return;
            }
        }
    });
    from_channel(receiver)
}

fn read_into(
    open: impl FnOnce() -> io::Result<File>,
    from: u64,
    most: Option<u64>,
    sender: &mpsc::Sender<Result<Bytes, Error>>,
) -> io::Result<()> {
    let mut file = open()?;
    file.seek(SeekFrom::Start(from))?;
    let mut left = most.unwrap_or(u64::MAX);
    while left > 0 {
        let mut piece = Vec::with_capacity(PIECE);
        let wanted = left.min(PIECE as u64);
        let count = file.by_ref().take(wanted).read_to_end(&mut piece)? as u64;
        left -= count;
        if count == 0 || sender.blocking_send(Ok(piece.into())).is_err() {
            break;
        }
    }
    Ok(())
}

pub(crate) fn from_channel(receiver: mpsc::Receiver<Result<Bytes, Error>>) -> ByteStream {
    stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) }).boxed()
}

/// Passes bytes on and fails at the end, or as soon as there are too many, when they are not `content`: the caller's
/// fault or the remote's, as `blame` says. Goes by the SHA-256: an MD5 as well would take nearly three times as long.
pub(crate) fn checked(stream: ByteStream, content: Content, blame: Class, call: Call) -> ByteStream {
    let state = (stream, Sha256::new(), 0);
    stream::try_unfold(state, move |(mut stream, hash, size)| {
        let call = call.clone();
        async move {
            let Some(piece) = stream.next().await else {
                return same(size, hash.finalize().into(), &content, blame, &call).map(|()| None);
            };
            let piece = piece.map_err(|error| call.name(error))?;
            let size = size + piece.len() as u64;
            if size > content.size {
                return Err(call.fail(blame, format!("there are more than {} bytes", content.size)));
            }
            let bytes = piece.clone();
            let hash = blocking(move || hash.chain_update(&bytes)).await?;
            Ok(Some((piece, (stream, hash, size))))
        }
    })
    .boxed()
}

/// Fetched bytes that are checked against what is known of them as they pass. Who takes bytes before the end must drop
/// them when the stream ends with an error.
#[must_use]
pub fn verified(stream: ByteStream, content: Content) -> ByteStream {
    let call = Call::unnamed(Doing::Get);
    checked(stream, content, Class::Damaged, call)
}

/// The SHA-256 of a file: what has come is hashed while the next bytes come. It is given up between two pieces when nobody waits for it any more.
pub(crate) async fn sha256_of(file: File) -> Result<io::Result<Sha256Bytes>, Error> {
    let (mut reading, mut digester) = (Reading::new(file), Sha256::new());
    let (mut came, mut spare) = (Reading::room(), Reading::room());
    loop {
        let read = blocking(move || {
            let outcome = reading.refill(&mut spare);
            (reading, spare, outcome)
        });
        let hash = blocking(move || {
            digester.update(came.bytes());
            (digester, came)
        });
        let (read, hash) = tokio::try_join!(read, hash)?;
        let outcome;
        (reading, came, outcome) = read;
        (digester, spare) = hash;
        match outcome {
            Ok(()) if came.is_empty() => return Ok(Ok(digester.finalize().into())),
            Ok(()) => {}
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// Hashes a whole stream.
pub(crate) async fn digest_all(mut stream: ByteStream) -> Result<Content, Error> {
    let mut digester = Digester::default();
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        digester = blocking(move || {
            digester.update(&piece);
            digester
        })
        .await?;
    }
    Ok(digester.finish())
}

/// Runs what takes milliseconds, or waits for a disk, where it stops nobody.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::new(Class::Local, Doing::Put, format!("a thread ended early: {error}")))
}

fn same(size: u64, sha256: Sha256Bytes, content: &Content, blame: Class, call: &Call) -> Result<(), Error> {
    if size != content.size {
        return Err(call.fail(blame, format!("there are {size} bytes and not {}", content.size)));
    }
    if sha256 != content.sha256 {
        return Err(call.fail(blame, "the bytes do not have the hash that is known of them"));
    }
    Ok(())
}

/// Passes bytes on and fails when the stream ends before `length` bytes or goes beyond.
pub(crate) fn exact(stream: ByteStream, length: u64, call: Call) -> ByteStream {
    stream::try_unfold((stream, length), move |(mut stream, left)| {
        let call = call.clone();
        async move {
            match stream.next().await {
                None if left == 0 => Ok(None),
                None => Err(call.fail(
                    Class::Interrupted,
                    format!("the stream ended {left} bytes before its end of {length}"),
                )),
                Some(piece) => {
                    let piece = piece.map_err(|error| call.name(error))?;
                    let left = left.checked_sub(piece.len() as u64).ok_or_else(|| {
                        call.fail(Class::Damaged, format!("more than the asked {length} bytes came"))
                    })?;
                    Ok(Some((piece, (stream, left))))
                }
            }
        }
    })
    .boxed()
}

/// Gives each piece when the next one has come, and the last one when the stream has ended without an error: who has all bytes
/// knows that they were checked.
#[cfg(feature = "http")]
pub(crate) fn last_when_done(stream: ByteStream) -> ByteStream {
    stream::try_unfold((stream.fuse(), None), |(mut stream, mut held)| async move {
        loop {
            match (stream.next().await.transpose()?, held.take()) {
                (Some(piece), None) => held = Some(piece),
                (Some(piece), Some(before)) => return Ok(Some((before, (stream, Some(piece))))),
                (None, Some(last)) => return Ok(Some((last, (stream, None)))),
                (None, None) => return Ok(None),
            }
        }
    })
    .boxed()
}

/// Everything of a stream that is known to be short.
///
/// # Errors
///
/// What the stream fails with; [`Class::Refused`] when there are more than `most` bytes.
pub async fn collect(mut stream: ByteStream, most: usize) -> Result<Bytes, Error> {
    let mut all = Vec::new();
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        if all.len() + piece.len() > most {
            return Err(Error::new(Class::Refused, Doing::Get, format!("there are more than {most} bytes")));
        }
        all.extend_from_slice(&piece);
    }
    Ok(all.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Call {
        Call::unnamed(Doing::Get)
    }

    fn stream(pieces: &[&'static [u8]]) -> ByteStream {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece))).collect();
        stream::iter(pieces).boxed()
    }

    #[tokio::test]
    async fn a_stream_that_is_not_what_was_said_ends_with_an_error() {
        let content = Content::of(b"abcdef");
        for (pieces, fits) in [
            (vec![&b"abc"[..], b"def"], true),
            (vec![&b"abc"[..], b"deg"], false),
            (vec![&b"abc"[..]], false),
            (vec![&b"abc"[..], b"def", b"g"], false),
        ] {
            let outcome = collect(checked(stream(&pieces), content, Class::Source, call()), 100).await;
            assert_eq!(outcome.map_err(|error| error.class()).err(), (!fits).then_some(Class::Source));
        }
    }

    #[cfg(feature = "http")]
    #[tokio::test]
    async fn the_last_piece_is_given_when_all_are_checked() {
        for (pieces, given) in
            [(vec![&b"abc"[..], b"def"], 6), (vec![&b"abc"[..], b"deg"], 3), (vec![&b"abcdeg"[..]], 0)]
        {
            let checked = checked(stream(&pieces), Content::of(b"abcdef"), Class::Source, call());
            let (mut got, mut all) = (0, last_when_done(checked));
            while let Some(Ok(piece)) = all.next().await {
                got += piece.len();
            }
            assert_eq!(got, given);
        }
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_ends_its_hash_and_its_stream_with_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let open = || File::open(folder.path()).unwrap();
        assert!(sha256_of(open()).await.unwrap().is_err(), "a folder has no bytes");
        let blame = |error: &io::Error| Error::new(Class::Local, Doing::Get, error.to_string());
        let mut stream = read_once(open(), blame);
        assert!(stream.next().await.unwrap().is_err() && stream.next().await.is_none());
    }

    #[tokio::test]
    async fn a_file_of_any_length_is_hashed_and_read_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        for length in [0, 1, PIECE, 2 * PIECE + 5] {
            let bytes: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            let open = || File::open(&path).unwrap();
            let hash = sha256_of(open()).await.unwrap().unwrap();
            assert_eq!(hash, Content::of(&bytes).sha256, "{length}");
            assert!(
                collect(read_once(open(), |_| unreachable!()), length).await.unwrap() == bytes,
                "{length}"
            );
        }
    }

    #[tokio::test]
    async fn a_stream_that_ends_early_is_interrupted_and_one_that_goes_on_is_damaged() {
        let outcome = async |length| {
            collect(exact(stream(&[b"abc", b"de"]), length, call()), 100).await.map_err(|error| error.class())
        };
        assert_eq!(outcome(5).await.as_deref(), Ok(&b"abcde"[..]));
        assert_eq!(outcome(6).await, Err(Class::Interrupted));
        assert_eq!(outcome(4).await, Err(Class::Damaged));
    }

    #[tokio::test]
    async fn a_file_is_read_from_any_place_and_a_missing_one_is_the_callers_fault() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let bytes: Vec<u8> = (0..PIECE * 2 + 5).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let all = collect(FileBody::new(&path).open(), bytes.len()).await.unwrap();
        assert!(all == bytes);
        let opened = path.clone();
        let some = read(move || File::open(opened), 7, Some(PIECE as u64), |_| unreachable!());
        assert!(collect(some, PIECE).await.unwrap() == bytes[7..7 + PIECE]);
        let error = collect(FileBody::new(folder.path().join("none")).open(), 10).await.unwrap_err();
        assert_eq!(error.class(), Class::Source);
    }
}
