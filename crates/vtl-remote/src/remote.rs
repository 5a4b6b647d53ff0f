//! The trait that every driver implements, and the values that its calls take and give.

use std::any::Any;
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::body::{Body, ByteStream};
use crate::content::{Content, Receipt, StoredHash};
use crate::error::Error;
use crate::limit::Limiter;
use crate::name::{Folder, ObjectName};

/// A place where objects lie: bytes under a name, put whole, read in ranges, never changed.
///
/// A driver does not retry: the caller does, and asks [`Error::is_retryable`]. A call may be dropped at any moment;
/// what it leaves is what a crash leaves (`docs/remotes.md`).
#[async_trait]
pub trait Remote: Send + Sync + fmt::Debug {
    /// The name that the operator gave it.
    fn name(&self) -> &str;

    /// What this driver can do.
    fn abilities(&self) -> Abilities;

    /// Whether what happens here is a rehearsal: then nothing here is given up for what lies there.
    fn is_rehearsal(&self) -> bool {
        false
    }

    /// Sends an object; one of that name is replaced. The object appears when it is complete and not before.
    /// The body is checked against `content` on its way, and nothing appears when they differ.
    async fn put(&self, put: Put<'_>) -> Result<Receipt, Error>;

    /// How objects are sent while they are made; none: this driver must know an object before it sends it. Whoever stands in front of another
    /// remote has to say it too, so there is no default.
    fn streams(&self) -> Option<&dyn Streams>;

    /// Sends a small object that must be new: manifests, markers. [`Class::AlreadyThere`](crate::Class) when one is
    /// there; it is left as it was. Who tries again after a lost answer finds its own: see [`create_or_same`].
    async fn create(&self, name: &ObjectName, bytes: Bytes) -> Result<(), Error>;

    /// Fetches an object or a range of it. The stream fails when it does not bring every byte.
    async fn get(&self, name: &ObjectName, span: Span) -> Result<ByteStream, Error>;

    /// The size of an object.
    async fn head(&self, name: &ObjectName) -> Result<Head, Error>;

    /// The hashes that the remote tells of an object; none when it knows none. For a folder this reads the file.
    async fn hashes(&self, name: &ObjectName) -> Result<Vec<StoredHash>, Error>;

    /// Objects in a folder and below, in the order of their names' bytes: at most `most`, after the name `after`.
    async fn list(&self, folder: &Folder, after: Option<&ObjectName>, most: usize) -> Result<Page, Error>;

    /// Removes an object. That it is not there is no error.
    async fn delete(&self, name: &ObjectName) -> Result<(), Error>;

    /// Removes what a put that will not be resumed has left on the remote. That nothing is left is no error.
    async fn abandon(&self, checkpoint: &Checkpoint) -> Result<(), Error>;

    /// What puts have left in a folder and below, where the driver can tell: also what no checkpoint was kept of. What is being put now is among it, so
    /// who abandons it all knows that nobody writes there. Whoever stands in front of another remote passes it on, so there is no default.
    async fn half_sent(&self, folder: &Folder) -> Result<Vec<HalfSent>, Error>;
}

/// What a driver has that takes an object of which neither size nor hashes are known before its end.
#[async_trait]
pub trait Streams: Send + Sync {
    /// Sends an object while it is made; one of that name is replaced. It appears when all of it has come and what is
    /// then told of it fits, and not before. Cut off, it is begun anew: its checkpoint serves [`Remote::abandon`] alone.
    async fn stream(&self, flow: Flow<'_>) -> Result<Receipt, Error>;
}

/// What a driver can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// Whether an upload that was cut off goes on where it was.
    pub resumes: bool,
    /// How sure a create-only put is.
    pub create: CreateOnly,
    /// Where the hashes come from that the remote tells.
    pub hashes: Hashes,
    /// Whether what is fetched comes from a disk of this machine: it can be used as it comes, and need not lie here first.
    pub near: bool,
}

/// Where a hash comes from that a remote tells of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hashes {
    /// All bytes are read back here.
    ReadHere,
    /// The remote computes it of what it has.
    OfRemote,
    /// It may be what was sent along with the object: nothing is deleted for it.
    PerhapsSent,
}

/// How sure it is that a create-only put replaces nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateOnly {
    /// Of two at the same time one wins. A server can still ignore the condition: the probe finds that out.
    Atomic,
    /// It is looked first and put then: two at the same time may both succeed.
    Checked,
}

/// An upload.
#[derive(Debug)]
pub struct Put<'a> {
    /// Where to.
    pub name: &'a ObjectName,
    /// What the body is.
    pub content: &'a Content,
    /// The bytes.
    pub body: &'a dyn Body,
    /// Where an earlier try of this upload came to. One that does not fit is given up, and the upload starts anew.
    pub resume: Option<&'a Checkpoint>,
    /// Whom to tell of progress.
    pub watch: &'a dyn Watch,
    /// How fast.
    pub limiter: &'a Limiter,
}

/// An upload of what is still being made.
pub struct Flow<'a> {
    /// Where to.
    pub name: &'a ObjectName,
    /// The bytes, as they come.
    pub bytes: ByteStream,
    /// What all of them were. It is told when the last one has come; when nobody will tell it, there is no object.
    pub made: oneshot::Receiver<Content>,
    /// Whom to tell of progress.
    pub watch: &'a dyn Watch,
    /// How fast.
    pub limiter: &'a Limiter,
}

impl fmt::Debug for Flow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The right to something of which there is not enough for everybody; dropping it gives it back.
pub type Held = Box<dyn Any + Send>;

/// Hears how an upload goes.
pub trait Watch: Send + Sync + fmt::Debug {
    /// So many more bytes are with the remote (or were, when an upload is resumed).
    fn sent(&self, bytes: u64) {
        let _ = bytes;
    }

    /// To be kept, durably, before this returns: given to the next try or to [`Remote::abandon`]. It replaces the one
    /// before. Short work only: it runs between two parts.
    ///
    /// # Errors
    ///
    /// Why it could not be kept; the upload stops with [`Class::Local`](crate::Class).
    fn keep(&self, checkpoint: &Checkpoint) -> Result<(), String> {
        let _ = checkpoint;
        Ok(())
    }

    /// The right to one call more at the same time, beside the one that an upload has: asked for before a second part goes beside a first one. Without it
    /// parts go one after the other. It does not wait.
    fn beside(&self) -> Option<Held> {
        None
    }
}

/// Nobody wants to know.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Watch for Unwatched {}

/// How far an upload came: a text that only the driver which made it reads. No secret is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint(String);

impl Checkpoint {
    /// From the text that was kept.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text to keep.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a put has left that has no end yet, or none any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HalfSent {
    /// Where it lies.
    pub folder: Folder,
    /// What [`Remote::abandon`] removes it by.
    pub checkpoint: Checkpoint,
}

/// A range of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(Option<(u64, u64)>);

impl Span {
    /// All of it.
    #[must_use]
    pub const fn whole() -> Self {
        Self(None)
    }

    /// `length` bytes from `start` on. They must all be there.
    #[must_use]
    pub const fn of(start: u64, length: u64) -> Self {
        Self(Some((start, length)))
    }

    /// Start and length in an object of `size` bytes, or `None` when the range ends after it.
    #[must_use]
    pub fn within(self, size: u64) -> Option<(u64, u64)> {
        match self.0 {
            None => Some((0, size)),
            Some((start, length)) => (start.checked_add(length)? <= size).then_some((start, length)),
        }
    }

    /// Start and length, `None` for the whole object.
    #[must_use]
    pub const fn range(self) -> Option<(u64, u64)> {
        self.0
    }
}

/// What is known of an object without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// In bytes.
    pub size: u64,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: ObjectName,
    /// In bytes.
    pub size: u64,
}

/// A piece of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Objects in the order of their names' bytes.
    pub entries: Vec<Entry>,
    /// Foreign things whose names no object may have, as text to show: the first few of them.
    pub foreign: Vec<String>,
    /// The name to go on after, when there is more.
    pub next: Option<ObjectName>,
}

/// Creates an object, or finds that the one which is there has the same bytes: what a try after a lost answer wants.
///
/// # Errors
///
/// As [`Remote::create`]; [`Class::AlreadyThere`](crate::Class) only when other bytes are there.
pub async fn create_or_same(remote: &dyn Remote, name: &ObjectName, bytes: Bytes) -> Result<(), Error> {
    let refused = match remote.create(name, bytes.clone()).await {
        Err(error) if error.class() == crate::Class::AlreadyThere => error,
        outcome => return outcome,
    };
    if remote.head(name).await?.size != bytes.len() as u64 {
        return Err(refused);
    }
    let there = crate::body::collect(remote.get(name, Span::whole()).await?, bytes.len()).await?;
    if there == bytes { Ok(()) } else { Err(refused) }
}
