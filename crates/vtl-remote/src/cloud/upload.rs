//! Uploads in parts, resumed after a crash.
//!
//! 1. The upload is begun at the server and its id kept by the caller.
//! 2. Each part is read into memory when there is room, hashed, sent, and noted in the checkpoint, which the caller keeps.
//! 3. When the whole body has passed its check, the upload is completed: only then an object is there.
//!
//! A later try reads the body again from its start, and sends only parts that the checkpoint does not have with the same
//! hashes: what was sent before is known to be the same, and not only believed. What a crash leaves is an upload that is
//! begun, which costs room at the provider until it is resumed or abandoned; one whose id was never kept is left to the
//! bucket's rule for incomplete uploads (at Azure it goes by itself after a week, and cannot be abandoned before).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use object_store::PutPayload;
use object_store::multipart::PartId;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use super::failure::{error_of, is_gone};
use super::{CloudRemote, PARTS_AT_ONCE, Place};
use crate::body::{self, ByteStream, blocking};
use crate::content::{Comparison, Content, Digester, Receipt, StoredHash, compare, from_hex, hex};
use crate::error::{Call, Class, Doing, Error};
use crate::name::ObjectName;
use crate::remote::{Checkpoint, Held, Put, Remote as _};

/// S3 takes no more parts of one object.
const MAX_PARTS: u64 = 10_000;
/// Parts are whole multiples of this.
const STEP: u64 = 1 << 20;

/// An upload that is begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Begun {
    bucket: String,
    key: String,
    /// Of the whole body, in hexadecimal.
    sha256: String,
    size: u64,
    part_size: u64,
    upload: String,
    /// By number, from 0.
    parts: BTreeMap<usize, Part>,
}

/// A part that the server has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    size: u64,
    md5: String,
    sha256: String,
    /// What the server calls it.
    id: String,
}

impl Part {
    fn new(content: &Content, id: PartId) -> Self {
        Self { size: content.size, md5: hex(&content.md5), sha256: hex(&content.sha256), id: id.content_id }
    }

    fn content(&self) -> Option<Content> {
        Some(Content { size: self.size, md5: from_hex(&self.md5)?, sha256: from_hex(&self.sha256)? })
    }
}

impl Begun {
    /// The driver's word, and JSON.
    fn checkpoint(&self, kind: &str) -> Checkpoint {
        // Strings and numbers always have a JSON form.
        Checkpoint::new(format!("{kind} {}", serde_json::to_string(self).unwrap_or_default()))
    }

    fn read(checkpoint: &Checkpoint, kind: &str) -> Option<Self> {
        serde_json::from_str(checkpoint.as_str().strip_prefix(kind)?.strip_prefix(' ')?).ok()
    }

    /// Whether this is the upload of that body to that place.
    fn is_of(&self, bucket: &str, path: &Path, content: &Content) -> bool {
        self.bucket == bucket
            && self.key == path.as_ref()
            && self.size == content.size
            && self.sha256 == hex(&content.sha256)
            && self.part_size > 0
    }

    fn has(&self, number: usize, content: &Content) -> bool {
        self.parts.get(&number).and_then(Part::content).is_some_and(|sent| sent == *content)
    }

    /// The hashes of the object when every part is there.
    fn receipt(&self) -> Option<Receipt> {
        let contents: Option<Vec<Content>> = self.parts.values().map(Part::content).collect();
        Some(Receipt::of_parts(&contents?))
    }
}

/// The size of parts so that there are not too many.
fn part_size(size: u64, wanted: u64) -> u64 {
    wanted.max(size.div_ceil(MAX_PARTS).next_multiple_of(STEP))
}

/// Sends an object in parts.
pub(super) async fn in_parts(
    remote: &CloudRemote,
    put: &Put<'_>,
    path: &Path,
    call: &Call,
) -> Result<Receipt, Error> {
    let upload = Upload { remote, put, path, call };
    if let Some(begun) = upload.resumed().await? {
        match upload.run(begun).await {
            Err(Trouble::Gone(last, _)) => {
                // Its completion may have been heard there and its answer lost.
                if let Some(receipt) = upload.completed_before(&last).await? {
                    return Ok(receipt);
                }
            }
            Err(Trouble::Failed(error)) => return Err(error),
            Ok(receipt) => return Ok(receipt),
        }
    }
    let begun = upload.begin().await?;
    upload.run(begun).await.map_err(|trouble| match trouble {
        Trouble::Failed(error) => error,
        Trouble::Gone(_, error) if error.class() == Class::NotThere => {
            call.fail(Class::Unavailable, format!("the upload went while it was sent: {}", error.detail()))
        }
        Trouble::Gone(_, error) => error,
    })
}

/// Gives up an upload.
pub(super) async fn abandon(remote: &CloudRemote, checkpoint: &Checkpoint) -> Result<(), Error> {
    let Place { remote: own, kind, bucket, .. } = &*remote.place;
    let Some(begun) = Begun::read(checkpoint, kind).filter(|begun| begun.bucket == *bucket) else {
        return Ok(());
    };
    let named = |error: Error| error.on(own).of(&begun.key);
    let call = Call::unnamed(Doing::Abandon);
    let path =
        Path::parse(&begun.key).map_err(|error| named(call.fail(Class::Refused, error.to_string())))?;
    match remote.store.abort_multipart(&path, &begun.upload).await.map_err(|error| error_of(&error, &call)) {
        Err(error) if error.class() != Class::NotThere => Err(named(error)),
        _ => Ok(()),
    }
}

enum Trouble {
    /// The server does not know this upload, or not its parts.
    Gone(Box<Begun>, Error),
    Failed(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Where a part failed.
enum Failed {
    Here(Error),
    There(object_store::Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Here(error)
    }
}

impl From<object_store::Error> for Failed {
    fn from(error: object_store::Error) -> Self {
        Self::There(error)
    }
}

struct Upload<'a> {
    remote: &'a CloudRemote,
    put: &'a Put<'a>,
    path: &'a Path,
    call: &'a Call,
}

/// A part's number and content, and how its sending ended.
type Sent = (usize, Content, object_store::Result<PartId>);

/// The parts that are on their way.
struct Way {
    sending: JoinSet<Sent>,
    /// The call that an upload has the right to. A part that goes by it gives it back before its end is told.
    own: Arc<Semaphore>,
}

impl Upload<'_> {
    /// The upload of an earlier try. One of another body is given up.
    async fn resumed(&self) -> Result<Option<Begun>, Error> {
        let Some(checkpoint) = self.put.resume else { return Ok(None) };
        let begun = Begun::read(checkpoint, self.remote.place.kind);
        if let Some(begun) = begun
            && begun.is_of(&self.remote.place.bucket, self.path, self.put.content)
        {
            return Ok(Some(begun));
        }
        self.remote.abandon(checkpoint).await.map_err(|error| self.call.name(error))?;
        Ok(None)
    }

    async fn begin(&self) -> Result<Begun, Error> {
        let begun = self.remote.store.create_multipart(self.path).await;
        let begun = Begun {
            upload: begun.map_err(|error| error_of(&error, self.call))?,
            bucket: self.remote.place.bucket.clone(),
            key: self.path.to_string(),
            sha256: hex(&self.put.content.sha256),
            size: self.put.content.size,
            part_size: part_size(self.put.content.size, self.remote.place.part_size),
            parts: BTreeMap::new(),
        };
        self.keep(&begun)?;
        Ok(begun)
    }

    fn keep(&self, begun: &Begun) -> Result<(), Error> {
        let kept = self.put.watch.keep(&begun.checkpoint(self.remote.place.kind));
        kept.map_err(|why| self.call.fail(Class::Local, format!("the checkpoint cannot be kept: {why}")))
    }

    /// Sends what is missing and completes.
    async fn run(&self, mut begun: Begun) -> Result<Receipt, Trouble> {
        let stream = body::checked(self.put.body.open(), *self.put.content, Class::Source, self.call.clone());
        let mut parts = Parts { stream, part_size: begun.part_size, rest: Bytes::new() };
        let mut way = Way { sending: JoinSet::new(), own: Arc::new(Semaphore::new(1)) };
        let (mut number, mut left) = (0, self.put.content.size);
        let mut outcome = Ok(());
        while outcome.is_ok() {
            let room = self.put.limiter.room(begun.part_size.min(left)).await;
            let Some((content, pieces)) = parts.next().await? else { break };
            left = left.saturating_sub(content.size);
            if begun.has(number, &content) {
                self.put.watch.sent(content.size);
            } else {
                match self.lane(&mut begun, &mut way).await {
                    Ok(lane) => {
                        self.put.limiter.pass(content.size).await;
                        way.sending.spawn(self.send(&begun, number, content, pieces, [lane, room]));
                    }
                    Err(failed) => outcome = Err(failed),
                }
            }
            number += 1;
        }
        // What was on its way when one part failed is noted too: it need not be sent again.
        while !way.sending.is_empty() {
            outcome = outcome.and(self.note(&mut begun, way.sending.join_next().await));
        }
        if let Err(trouble) = outcome {
            return Err(self.unless_gone(trouble, begun));
        }
        // A checkpoint can have more parts than its body: then it is not this body's.
        begun.parts.retain(|kept, _| *kept < number);
        self.complete(begun).await
    }

    /// What a part may go by: the upload's own lane, or one beside it while nobody else wants that. Until there is one it waits for parts that are on
    /// their way, and for nothing else.
    async fn lane(&self, begun: &mut Begun, way: &mut Way) -> Result<Held, Failed> {
        loop {
            if way.sending.len() < PARTS_AT_ONCE {
                if let Ok(own) = Arc::clone(&way.own).try_acquire_owned() {
                    return Ok(Box::new(own));
                }
                if let Some(beside) = self.put.watch.beside() {
                    return Ok(beside);
                }
            }
            self.note(begun, way.sending.join_next().await)?;
        }
    }

    /// Sends a part, beside what else is done, and gives back what it holds. It ends with the set that it is in.
    fn send(
        &self,
        begun: &Begun,
        number: usize,
        content: Content,
        pieces: Vec<Bytes>,
        held: [Held; 2],
    ) -> impl Future<Output = Sent> + Send + use<> {
        let (store, path, upload) = (self.remote.store.clone(), self.path.clone(), begun.upload.clone());
        let payload = PutPayload::from_iter(pieces);
        async move {
            let outcome = store.put_part(&path, &upload, number, payload).await;
            drop(held);
            (number, content, outcome)
        }
    }

    fn note(&self, begun: &mut Begun, sent: Option<Result<Sent, JoinError>>) -> Result<(), Failed> {
        let Some(sent) = sent else { return Ok(()) };
        let ended =
            |error: JoinError| self.call.fail(Class::Local, format!("sending a part ended early: {error}"));
        let (number, content, outcome) = sent.map_err(ended)?;
        begun.parts.insert(number, Part::new(&content, outcome?));
        self.keep(begun)?;
        self.put.watch.sent(content.size);
        Ok(())
    }

    async fn complete(&self, begun: Begun) -> Result<Receipt, Trouble> {
        let receipt = begun
            .receipt()
            .ok_or_else(|| self.call.fail(Class::Source, "the checkpoint has a part without a hash"))?;
        let ids = begun.parts.values().map(|part| PartId { content_id: part.id.clone() }).collect();
        match self.remote.store.complete_multipart(self.path, &begun.upload, ids).await {
            Ok(_) => Ok(receipt),
            Err(error) => Err(self.unless_gone(Failed::There(error), begun)),
        }
    }

    fn unless_gone(&self, failed: Failed, begun: Begun) -> Trouble {
        match failed {
            Failed::Here(error) => Trouble::Failed(error),
            Failed::There(error) if is_gone(&error) => {
                Trouble::Gone(Box::new(begun), error_of(&error, self.call))
            }
            Failed::There(error) => Trouble::Failed(error_of(&error, self.call)),
        }
    }

    /// The receipt when the object is there already, exactly as this upload would have left it.
    async fn completed_before(&self, last: &Begun) -> Result<Option<Receipt>, Error> {
        let sizes: u64 = last.parts.values().map(|part| part.size).sum();
        let Some(receipt) = last.receipt().filter(|_| sizes == last.size) else { return Ok(None) };
        match told(self.remote, self.put.name, self.call).await? {
            Some((size, told)) if size == last.size => {
                let same = compare(self.put.content, &receipt, &told);
                Ok(matches!(same, Comparison::Equal(_)).then_some(receipt))
            }
            _ => Ok(None),
        }
    }
}

/// Size and hashes of an object, when it is there.
pub(super) async fn told(
    remote: &CloudRemote,
    name: &ObjectName,
    call: &Call,
) -> Result<Option<(u64, Vec<StoredHash>)>, Error> {
    match remote.ask(name, call).await {
        Err(error) if error.class() == Class::NotThere => Ok(None),
        outcome => outcome.map(Some),
    }
}

/// Cuts a stream into parts.
struct Parts {
    stream: ByteStream,
    part_size: u64,
    rest: Bytes,
}

impl Parts {
    /// The next part and its hashes; `None` when the stream ended without an error.
    async fn next(&mut self) -> Result<Option<(Content, Vec<Bytes>)>, Error> {
        let (mut pieces, mut missing) = (Vec::new(), self.part_size);
        while missing > 0 {
            if self.rest.is_empty() {
                match self.stream.next().await {
                    Some(piece) => self.rest = piece?,
                    None => break,
                }
            }
            let take = self.rest.len().min(usize::try_from(missing).unwrap_or(usize::MAX));
            pieces.push(self.rest.split_to(take));
            missing -= take as u64;
        }
        pieces.retain(|piece| !piece.is_empty());
        if pieces.is_empty() {
            return Ok(None);
        }
        let hashed = blocking(move || {
            let mut digester = Digester::default();
            pieces.iter().for_each(|piece| digester.update(piece));
            (digester.finish(), pieces)
        });
        hashed.await.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_as_large_as_ten_thousand_of_them_need() {
        const MIB: u64 = 1 << 20;
        assert_eq!(part_size(10 << 30, 8 * MIB), 8 * MIB);
        assert_eq!(part_size(80_000 * MIB, 8 * MIB), 8 * MIB);
        assert_eq!(part_size(80_000 * MIB + 1, 8 * MIB), 9 * MIB);
        assert_eq!(part_size(5 << 40, 8 * MIB), 525 * MIB);
    }

    #[test]
    fn a_part_of_the_largest_object_that_is_exported_has_room_in_memory() {
        assert_eq!(part_size(1 << 40, 5 << 20), 105 << 20);
        assert!(part_size(1 << 40, 5 << 20) <= super::super::MAX_PART_SIZE);
    }

    #[tokio::test]
    async fn a_stream_is_cut_into_parts_of_the_size_and_a_rest() {
        let bytes: Vec<u8> = (0..100).collect();
        let pieces: Vec<_> = bytes.chunks(7).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let mut parts =
            Parts { stream: futures_util::stream::iter(pieces).boxed(), part_size: 40, rest: Bytes::new() };
        let mut seen = Vec::new();
        while let Some((content, pieces)) = parts.next().await.unwrap() {
            assert_eq!(content, Content::of(&pieces.concat()));
            seen.push(pieces.concat());
        }
        assert_eq!(seen.iter().map(Vec::len).collect::<Vec<_>>(), [40, 40, 20]);
        assert_eq!(seen.concat(), bytes);
    }

    #[test]
    fn a_checkpoint_is_of_one_body_at_one_place() {
        let content = Content::of(b"body");
        let path = Path::from("a/b");
        let begun = Begun {
            bucket: "bucket".to_owned(),
            key: "a/b".to_owned(),
            sha256: hex(&content.sha256),
            size: 4,
            part_size: 8,
            upload: "id".to_owned(),
            parts: BTreeMap::from([(0, Part::new(&content, PartId { content_id: "\"e\"".to_owned() }))]),
        };
        assert_eq!(Begun::read(&begun.checkpoint("s3"), "s3"), Some(begun.clone()));
        assert_eq!(Begun::read(&begun.checkpoint("azure"), "s3"), None);
        assert!(begun.is_of("bucket", &path, &content) && begun.has(0, &content));
        assert!(!begun.is_of("other", &path, &content) && !begun.is_of("bucket", &Path::from("a"), &content));
        assert!(!begun.is_of("bucket", &path, &Content::of(b"Body")) && !begun.has(0, &Content::of(b"x")));
        for text in ["", "s3", "s3 ", "s3 {}", "folder x"] {
            assert_eq!(Begun::read(&Checkpoint::new(text), "s3"), None, "{text}");
        }
    }
}
