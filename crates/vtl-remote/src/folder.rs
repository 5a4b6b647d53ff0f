//! A folder as a remote: a disk, a mounted share.
//!
//! An object is a file below the folder. It is written under a name that begins with `.vtl-part-`, synced, renamed, and its
//! folder synced. A crash leaves at most such a file; the checkpoint names it, and the next try or `abandon` removes it. A crash before that is kept
//! leaves one of which only `half_sent` tells.
//! No step follows a symbolic link below the folder, so that nothing outside can be read or written through one.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use tokio::runtime::Handle;

use crate::body::{self, ByteStream, blocking};
use crate::content::{Receipt, StoredHash};
use crate::direct::Writing;
use crate::error::{Call, Class, Doing, Error, class_of_io};
use crate::listing::Pager;
use crate::name::{Folder, ObjectName, PART_MARK};
use crate::random;
use crate::remote::{
    Abilities, Checkpoint, CreateOnly, Flow, HalfSent, Hashes, Head, Page, Put, Remote, Span, Streams,
    Unwatched, Watch,
};

/// What a checkpoint of this driver begins with; the unfinished file's path follows.
const CHECKPOINT: &str = "folder ";
/// Rights of new files and folders before the umask.
const FILE_MODE: Mode = Mode::from_raw_mode(0o666);
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o777);
/// Tries to make a folder that somebody removes meanwhile.
const FOLDER_TRIES: u32 = 100;
/// A piece that is copied faster than a thread is asked to do it: the head of a frame is one.
const SMALL: usize = 4 << 10;
/// A shorter object may be wanted again soon: a manifest is, by every listing.
const READ_ONCE: u64 = 4 << 20;
/// More unfinished files are not told of at once.
const MOST_HALF_SENT: usize = 10_000;

/// A folder of this machine.
#[derive(Debug, Clone)]
pub struct FolderRemote {
    name: String,
    place: Arc<Place>,
}

impl FolderRemote {
    /// The folder at `path`, which must be there: one that a missing mount would have covered is not made.
    ///
    /// # Errors
    ///
    /// [`Class::Misconfigured`] when the path is not absolute, or something else is there; [`Class::Unavailable`] when nothing is: a disk may not be
    /// mounted.
    pub fn open(name: &str, path: impl Into<PathBuf>) -> Result<Self, Error> {
        let place = Place { root: path.into() };
        let refuse = |class, why: String| Error::new(class, Doing::Open, why).on(name).of_setting("path");
        let shown = place.root.display();
        if !place.root.is_absolute() {
            return Err(refuse(Class::Misconfigured, format!("the path {shown} is not absolute")));
        }
        place.open_root().map_err(|error| {
            let class = match error.kind() {
                io::ErrorKind::NotFound => Class::Unavailable,
                _ => Class::Misconfigured,
            };
            refuse(
                class,
                format!("the folder {shown}: {error}; it must be there: mount its disk, or make it"),
            )
        })?;
        Ok(Self { name: name.to_owned(), place: Arc::new(place) })
    }

    fn call(&self, doing: Doing, name: &ObjectName) -> Call {
        Call::new(&self.name, doing, name)
    }

    /// Work on the disk, away from tasks.
    async fn work<T: Send + 'static>(
        &self,
        call: &Call,
        work: impl FnOnce(&Place) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let place = self.place.clone();
        blocking(move || work(&place)).await?.map_err(|error| call.io(&error))
    }

    /// One step of an unfinished file, away from tasks.
    async fn step<T: Send + 'static>(
        &self,
        held: &mut Held,
        call: &Call,
        step: impl FnOnce(Unfinished) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let unfinished = held.0.take().ok_or_else(|| call.fail(Class::Local, "nothing of it is there"))?;
        self.work(call, move |_| step(unfinished)).await
    }

    /// Writes what the stream brings into a new unfinished file. When that fails, the file is gone before it is told.
    async fn write(
        &self,
        name: &ObjectName,
        stream: ByteStream,
        watch: &dyn Watch,
        call: &Call,
    ) -> Result<Held, Error> {
        let target = name.clone();
        let unfinished = self.work(call, move |place| place.start(&target)).await?;
        let checkpoint = unfinished.checkpoint();
        let mut held = Held(Some(unfinished));
        let filled = match watch.keep(&checkpoint) {
            Ok(()) => self.fill(&mut held, stream, watch, call).await,
            Err(why) => Err(call.fail(Class::Local, format!("the checkpoint cannot be kept: {why}"))),
        };
        match filled {
            Ok(()) => Ok(held),
            Err(error) => Err(self.give_up(held, call, error).await),
        }
    }

    async fn fill(
        &self,
        held: &mut Held,
        mut stream: ByteStream,
        watch: &dyn Watch,
        call: &Call,
    ) -> Result<(), Error> {
        while let Some(piece) = stream.next().await {
            let piece = piece?;
            let length = piece.len() as u64;
            match held
                .0
                .as_mut()
                .filter(|unfinished| unfinished.file.has_room(piece.len()) && piece.len() <= SMALL)
            {
                // No thread is asked for what is only noted.
                Some(unfinished) => unfinished.file.write(&piece).map_err(|error| call.io(&error))?,
                None => {
                    held.0 = Some(self.step(held, call, move |unfinished| unfinished.write(&piece)).await?)
                }
            }
            watch.sent(length);
        }
        Ok(())
    }

    /// Removes an unfinished file for this reason, and gives the reason back.
    async fn give_up(&self, mut held: Held, call: &Call, why: Error) -> Error {
        let gone = |unfinished| {
            drop::<Unfinished>(unfinished);
            Ok(())
        };
        // What it fails with is of less interest, and the checkpoint names the file still.
        let _ = self.step(&mut held, call, gone).await;
        why
    }

    async fn open_object(&self, name: &ObjectName, call: &Call) -> Result<(File, u64), Error> {
        let object = name.clone();
        self.work(call, move |place| place.open_object(&object)).await
    }
}

#[async_trait]
impl Remote for FolderRemote {
    fn name(&self) -> &str {
        &self.name
    }

    fn abilities(&self) -> Abilities {
        Abilities { resumes: false, create: CreateOnly::Atomic, hashes: Hashes::ReadHere, near: true }
    }

    async fn put(&self, put: Put<'_>) -> Result<Receipt, Error> {
        let call = self.call(Doing::Put, put.name);
        if let Some(left) = put.resume {
            self.abandon(left).await.map_err(|error| call.name(error))?;
        }
        let stream = put.limiter.paced(put.body.open());
        let stream = body::checked(stream, *put.content, Class::Source, call.clone());
        let mut held = self.write(put.name, stream, put.watch, &call).await?;
        self.step(&mut held, &call, |unfinished| unfinished.finish(Arrival::Replaces)).await?;
        Ok(Receipt::whole())
    }

    fn streams(&self) -> Option<&dyn Streams> {
        Some(self)
    }

    async fn create(&self, name: &ObjectName, bytes: Bytes) -> Result<(), Error> {
        let call = self.call(Doing::Create, name);
        let pieces: Vec<Bytes> = body::pieces(&bytes).collect();
        let stream = futures_util::stream::iter(pieces.into_iter().map(Ok)).boxed();
        let mut held = self.write(name, stream, &Unwatched, &call).await?;
        self.step(&mut held, &call, |unfinished| unfinished.finish(Arrival::MustBeNew)).await
    }

    async fn get(&self, name: &ObjectName, span: Span) -> Result<ByteStream, Error> {
        let call = self.call(Doing::Get, name);
        let (file, size) = self.open_object(name, &call).await?;
        let Some((start, length)) = span.within(size) else {
            return Err(call.fail(Class::OutOfRange, format!("it has {size} bytes")));
        };
        let blame = call.clone();
        let blame = move |error: &io::Error| blame.io(error);
        let stream = match span.range() {
            None if length >= READ_ONCE => body::read_once(file, blame),
            _ => body::read(move || Ok(file), start, Some(length), blame),
        };
        Ok(body::exact(stream, length, call))
    }

    async fn head(&self, name: &ObjectName) -> Result<Head, Error> {
        let (_, size) = self.open_object(name, &self.call(Doing::Head, name)).await?;
        Ok(Head { size })
    }

    async fn hashes(&self, name: &ObjectName) -> Result<Vec<StoredHash>, Error> {
        let call = self.call(Doing::Hash, name);
        let (file, _) = self.open_object(name, &call).await?;
        // One is enough, and an MD5 as well would take nearly three times as long.
        let sha256 = body::sha256_of(file).await?;
        Ok(vec![StoredHash::Sha256(sha256.map_err(|error| call.io(&error))?)])
    }

    async fn list(&self, folder: &Folder, after: Option<&ObjectName>, most: usize) -> Result<Page, Error> {
        let call = Call::on_folder(&self.name, Doing::List, folder);
        let (folder, mut pager) = (folder.clone(), Pager::new(after, most));
        self.work(&call, move |place| {
            place.walk(folder.as_str().unwrap_or(""), &mut |seen| match seen {
                Seen::Object(path, size) => pager.take(path, size),
                Seen::Foreign(path) => pager.take_foreign(path),
                Seen::Unfinished(_) => {}
            })?;
            Ok(pager.page())
        })
        .await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        let object = name.clone();
        self.work(&self.call(Doing::Delete, name), move |place| place.remove(object.as_str())).await
    }

    async fn abandon(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let Some(path) = checkpoint.as_str().strip_prefix(CHECKPOINT).and_then(unfinished_path) else {
            return Ok(());
        };
        let call = Call::new(&self.name, Doing::Abandon, &path.0);
        self.work(&call, move |place| place.remove(&path.1)).await
    }

    async fn half_sent(&self, folder: &Folder) -> Result<Vec<HalfSent>, Error> {
        let call = Call::on_folder(&self.name, Doing::List, folder);
        let (folder, mut found) = (folder.clone(), Vec::new());
        self.work(&call, move |place| {
            place.walk(folder.as_str().unwrap_or(""), &mut |seen| match seen {
                Seen::Unfinished(path) if found.len() < MOST_HALF_SENT => found.extend(half_sent(path)),
                _ => {}
            })?;
            Ok(found)
        })
        .await
    }
}

#[async_trait]
impl Streams for FolderRemote {
    async fn stream(&self, flow: Flow<'_>) -> Result<Receipt, Error> {
        let call = self.call(Doing::Put, flow.name);
        let mut held = self.write(flow.name, flow.limiter.paced(flow.bytes), flow.watch, &call).await?;
        let wrong = match flow.made.await {
            Ok(made) if made.size == held.size() => None,
            Ok(made) => Some(format!("{} bytes came, and not {}", held.size(), made.size)),
            Err(_) => Some("its making was given up".to_owned()),
        };
        if let Some(why) = wrong {
            return Err(self.give_up(held, &call, call.fail(Class::Source, why)).await);
        }
        self.step(&mut held, &call, |unfinished| unfinished.finish(Arrival::Replaces)).await?;
        Ok(Receipt::whole())
    }
}

/// A path of a checkpoint, when it is one of an unfinished file: no other file is ever removed by it. The object whose
/// name stands in for it in messages comes first.
fn unfinished_path(path: &str) -> Option<(ObjectName, String)> {
    let (folder, last) = path.rsplit_once('/').unwrap_or(("", path));
    let random = last.strip_prefix(PART_MARK).filter(|rest| rest.bytes().all(|c| c.is_ascii_hexdigit()))?;
    let folder = Folder::new(folder).ok()?;
    Some((folder.object(random).ok()?, path.to_owned()))
}

/// What [`Remote::half_sent`] says of such a path.
fn half_sent(path: &str) -> Option<HalfSent> {
    unfinished_path(path)?;
    let folder = Folder::new(split(path).0).ok()?;
    Some(HalfSent { folder, checkpoint: Checkpoint::new(format!("{CHECKPOINT}{path}")) })
}

/// Something below the folder, with its path.
enum Seen<'a> {
    /// And its size.
    Object(&'a str, u64),
    Unfinished(&'a str),
    Foreign(&'a str),
}

/// The folder, and everything that is done below it, one segment after the other.
#[derive(Debug)]
struct Place {
    root: PathBuf,
}

/// Folder and last segment of an object's path.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

impl Place {
    fn open_root(&self) -> io::Result<OwnedFd> {
        open_folder(fs::CWD, &self.root, OFlags::empty())
    }

    /// The same for work below it: that nothing is there says that a disk is away, and nothing of an object.
    fn root(&self) -> io::Result<OwnedFd> {
        self.open_root().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => io::Error::other(error),
            _ => error,
        })
    }

    /// A folder below the root.
    fn folder(&self, path: &str) -> io::Result<OwnedFd> {
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        segments.into_iter().try_fold(self.root()?, |above, segment| {
            open_folder(above.as_fd(), Path::new(segment), OFlags::NOFOLLOW)
        })
    }

    /// The same; what is missing is made, durably.
    fn make_folder(&self, path: &str) -> io::Result<OwnedFd> {
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        segments.into_iter().try_fold(self.root()?, |above, segment| {
            match fs::mkdirat(&above, segment, FOLDER_MODE) {
                Ok(()) => fs::fsync(&above)?,
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            open_folder(above.as_fd(), Path::new(segment), OFlags::NOFOLLOW)
        })
    }

    fn start(&self, target: &ObjectName) -> io::Result<Unfinished> {
        let (folder_path, last) = split(target.as_str());
        let part = format!("{PART_MARK}{}", random::hex().map_err(io::Error::other)?);
        let (folder, file) = self.make_part(folder_path, &part)?;
        let path = if folder_path.is_empty() { part.clone() } else { format!("{folder_path}/{part}") };
        Ok(Unfinished { folder, file: Writing::new(file), part, path, target: last.to_owned(), there: true })
    }

    /// A new file in a folder. Who removes the last object of the folder meanwhile takes the folder along: then it is made again.
    fn make_part(&self, folder: &str, part: &str) -> io::Result<(OwnedFd, File)> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut left = FOLDER_TRIES;
        loop {
            let made = self.make_folder(folder).and_then(|folder| {
                let file = fs::openat(&folder, part, flags, FILE_MODE)?.into();
                Ok((folder, file))
            });
            left -= 1;
            match made {
                Err(error) if error.kind() == io::ErrorKind::NotFound && left > 0 => {}
                made => return made,
            }
        }
    }

    /// An object's file and size.
    fn open_object(&self, name: &ObjectName) -> io::Result<(File, u64)> {
        let (folder, last) = split(name.as_str());
        // Nothing lies below a file or a link either.
        let folder = self.folder(folder).map_err(|error| match error.kind() {
            io::ErrorKind::NotADirectory => io::Error::new(io::ErrorKind::NotFound, error),
            _ => error,
        })?;
        // Without waiting: what is there may be a pipe.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(fs::openat(&folder, last, flags, Mode::empty())?);
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "what is there is not a file"));
        }
        Ok((file, about.len()))
    }

    /// Removes folders that have nothing in them, upwards from this one. Best effort: an empty folder is nothing that a listing shows.
    fn remove_empty(&self, mut path: &str) {
        while !path.is_empty() {
            let (above, last) = split(path);
            let removed =
                self.folder(above).and_then(|above| Ok(fs::unlinkat(&above, last, AtFlags::REMOVEDIR)?));
            if removed.is_err() {
                return;
            }
            path = above;
        }
    }

    /// Removes a file; that it is gone is durable then. Folders that are empty without it go, too.
    fn remove(&self, path: &str) -> io::Result<()> {
        let (folder, last) = split(path);
        let removed = self.folder(folder).and_then(|folder| {
            fs::unlinkat(&folder, last, AtFlags::empty())?;
            Ok(fs::fsync(&folder)?)
        });
        match removed {
            // Gone is gone; that the whole folder is, is another error.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Ok(()) => {
                self.remove_empty(folder);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Every file below a folder; the folder need not be there.
    fn walk(&self, top: &str, see: &mut dyn FnMut(Seen<'_>)) -> io::Result<()> {
        let mut open = vec![top.to_owned()];
        while let Some(path) = open.pop() {
            match self.folder(&path) {
                Ok(folder) => self.walk_one(&folder, &path, see, &mut open)?,
                // It was removed since its name was read, or was never there.
                Err(error) if matches!(class_of_io(&error), Class::NotThere | Class::Refused) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn walk_one(
        &self,
        folder: &OwnedFd,
        path: &str,
        see: &mut dyn FnMut(Seen<'_>),
        open: &mut Vec<String>,
    ) -> io::Result<()> {
        for entry in fs::Dir::read_from(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy();
            if name == "." || name == ".." {
                continue;
            }
            let below = if path.is_empty() { name.to_string() } else { format!("{path}/{name}") };
            let about = fs::statat(folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW);
            let Some(about) = still_there(about)? else { continue };
            match (FileType::from_raw_mode(about.st_mode), name.starts_with(PART_MARK)) {
                (FileType::RegularFile, true) => see(Seen::Unfinished(&below)),
                (_, true) => {}
                (FileType::RegularFile, false) => {
                    see(Seen::Object(&below, u64::try_from(about.st_size).unwrap_or(0)));
                }
                (FileType::Directory, false) if ObjectName::new(&below).is_ok() => open.push(below),
                (_, false) => see(Seen::Foreign(&below)),
            }
        }
        Ok(())
    }
}

/// What was removed since its name was read is left out. Whatever else hides a file fails the listing: one that lacks it would say that it is not there.
fn still_there<T>(found: Result<T, Errno>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn open_folder(above: impl std::os::fd::AsFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    Ok(fs::openat(above, path, flags | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Whether an object may take the place of one that is there.
#[derive(Debug, Clone, Copy)]
enum Arrival {
    Replaces,
    MustBeNew,
}

/// A file that is being written. Dropped before it is finished, it is removed.
#[derive(Debug)]
struct Unfinished {
    folder: OwnedFd,
    file: Writing,
    part: String,
    path: String,
    target: String,
    there: bool,
}

impl Unfinished {
    fn checkpoint(&self) -> Checkpoint {
        Checkpoint::new(format!("{CHECKPOINT}{}", self.path))
    }

    fn write(mut self, piece: &[u8]) -> io::Result<Self> {
        self.file.write(piece)?;
        Ok(self)
    }

    /// The last steps: bytes that stay, the name, and the folder that has it.
    fn finish(mut self, arrival: Arrival) -> io::Result<()> {
        self.file.finish()?;
        match arrival {
            Arrival::Replaces => fs::renameat(&self.folder, &self.part, &self.folder, &self.target)?,
            Arrival::MustBeNew => self.rename_to_new()?,
        }
        self.there = false;
        Ok(fs::fsync(&self.folder)?)
    }

    /// One of two ways to give a name only when nobody has it; network file systems may know the second alone.
    fn rename_to_new(&self) -> io::Result<()> {
        let flags = RenameFlags::NOREPLACE;
        match fs::renameat_with(&self.folder, &self.part, &self.folder, &self.target, flags) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                fs::linkat(&self.folder, &self.part, &self.folder, &self.target, AtFlags::empty())?;
                Ok(fs::unlinkat(&self.folder, &self.part, AtFlags::empty())?)
            }
            outcome => Ok(outcome?),
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.there {
            // The checkpoint names it still, when this fails.
            let _ = fs::unlinkat(&self.folder, &self.part, AtFlags::empty());
        }
    }
}

/// An unfinished file in the hands of a task. A call that is dropped lets it go by a thread that may wait: a disk that does
/// not answer holds up no stop.
struct Held(Option<Unfinished>);

impl Held {
    /// Bytes in it.
    fn size(&self) -> u64 {
        self.0.as_ref().map_or(0, |unfinished| unfinished.file.size())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(unfinished) = self.0.take() else { return };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(unfinished))),
            Err(_) => drop(unfinished),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::{Body, BytesBody};
    use crate::content::Content;
    use crate::limit::Limiter;
    use crate::remote::Unwatched;

    #[test]
    fn a_file_that_cannot_be_looked_at_fails_a_listing_and_one_that_is_gone_does_not() {
        assert_eq!(still_there(Ok(1)).unwrap(), Some(1));
        assert_eq!(still_there::<u8>(Err(Errno::NOENT)).unwrap(), None);
        for away in [Errno::STALE, Errno::IO, Errno::TIMEDOUT] {
            assert_eq!(class_of_io(&still_there::<u8>(Err(away)).unwrap_err()), Class::Unavailable);
        }
    }

    fn name(text: &str) -> ObjectName {
        ObjectName::new(text).unwrap()
    }

    async fn put(
        remote: &FolderRemote,
        to: &str,
        body: &dyn Body,
        content: &Content,
    ) -> Result<Receipt, Error> {
        let limiter = Limiter::unlimited();
        let put = Put { name: &name(to), content, body, resume: None, watch: &Unwatched, limiter: &limiter };
        remote.put(put).await
    }

    fn files(folder: &Path) -> Vec<String> {
        let mut found: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        found.sort();
        found
    }

    async fn stream(remote: &FolderRemote, to: &str, told: Option<Content>) -> Result<Receipt, Error> {
        let pieces = [Bytes::from_static(b"abc"), Bytes::from_static(b"def")];
        let bytes = futures_util::stream::iter(pieces.map(Ok)).boxed();
        let (tell, made) = tokio::sync::oneshot::channel();
        match told {
            Some(content) => tell.send(content).unwrap(),
            None => drop(tell),
        }
        let limiter = Limiter::unlimited();
        let flow = Flow { name: &name(to), bytes, made, watch: &Unwatched, limiter: &limiter };
        remote.streams().unwrap().stream(flow).await
    }

    #[tokio::test]
    async fn what_is_sent_while_it_is_made_is_there_when_its_maker_says_that_it_is_whole_and_not_otherwise() {
        let root = tempfile::tempdir().unwrap();
        let remote = FolderRemote::open("r", root.path()).unwrap();
        for told in [None, Some(Content::of(b"abcde"))] {
            let error = stream(&remote, "a", told).await.unwrap_err();
            assert_eq!((error.class(), files(root.path())), (Class::Source, Vec::new()), "{told:?}");
        }
        stream(&remote, "a", Some(Content::of(b"abcdef"))).await.unwrap();
        assert_eq!(std::fs::read(root.path().join("a")).unwrap(), b"abcdef");
        assert_eq!(files(root.path()), ["a"]);
    }

    #[tokio::test]
    async fn pieces_of_any_lengths_make_the_object_and_are_told_of_as_sent() {
        let root = tempfile::tempdir().unwrap();
        let remote = FolderRemote::open("r", root.path()).unwrap();
        let lengths = [32, SMALL, SMALL + 1, (1 << 20) - 1, 32, 0, 3 << 20, 7];
        let piece = |(number, length): (usize, usize)| Bytes::from(vec![number as u8; length]);
        let pieces: Vec<Bytes> = lengths.into_iter().enumerate().map(piece).collect();
        let whole = pieces.concat();
        let bytes = futures_util::stream::iter(pieces.into_iter().map(Ok)).boxed();
        let (tell, made) = tokio::sync::oneshot::channel();
        tell.send(Content::of(&whole)).unwrap();
        let (object, limiter, watch) = (name("a"), Limiter::unlimited(), Counting::default());
        let flow = Flow { name: &object, bytes, made, watch: &watch, limiter: &limiter };
        remote.streams().unwrap().stream(flow).await.unwrap();
        assert!(std::fs::read(root.path().join("a")).unwrap() == whole);
        assert_eq!(watch.0.load(std::sync::atomic::Ordering::SeqCst), whole.len() as u64);
    }

    #[tokio::test]
    async fn an_object_of_any_length_is_fetched_whole_and_in_part() {
        let root = tempfile::tempdir().unwrap();
        let remote = FolderRemote::open("r", root.path()).unwrap();
        for length in [0, 1, READ_ONCE - 1, READ_ONCE, READ_ONCE + 1] {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            std::fs::write(root.path().join("a"), &bytes).unwrap();
            let fetched = async |span| {
                let stream = remote.get(&name("a"), span).await.unwrap();
                body::collect(stream, bytes.len()).await.unwrap()
            };
            assert!(fetched(Span::whole()).await == bytes, "{length}");
            assert!(fetched(Span::of(0, length)).await == bytes, "{length}");
        }
    }

    /// Counts what was sent.
    #[derive(Debug, Default)]
    struct Counting(std::sync::atomic::AtomicU64);

    impl Watch for Counting {
        fn sent(&self, bytes: u64) {
            self.0.fetch_add(bytes, std::sync::atomic::Ordering::SeqCst);
        }
    }

    #[test]
    fn who_drops_an_upload_does_not_wait_for_the_disk_that_its_file_goes_from() {
        let root = tempfile::tempdir().unwrap();
        let remote = FolderRemote::open("r", root.path()).unwrap();
        let runtime =
            tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).enable_all().build();
        runtime.unwrap().block_on(async {
            let (object, limiter, watch) = (name("a"), Limiter::unlimited(), Counting::default());
            let first = futures_util::stream::iter([Ok(Bytes::from_static(b"abc"))]);
            let bytes = first.chain(futures_util::stream::pending()).boxed();
            let (_tell, made) = tokio::sync::oneshot::channel();
            let flow = Flow { name: &object, bytes, made, watch: &watch, limiter: &limiter };
            let mut sending = Box::pin(remote.streams().unwrap().stream(flow));
            let soon = std::time::Duration::from_millis(5);
            while watch.0.load(std::sync::atomic::Ordering::SeqCst) < 3 {
                assert!(tokio::time::timeout(soon, &mut sending).await.is_err(), "it has an end");
            }
            // The one thread that may wait for disks waits.
            let (answer, disk) = std::sync::mpsc::channel::<()>();
            let hanging = tokio::task::spawn_blocking(move || disk.recv());
            drop(sending);
            assert_eq!(files(root.path()).len(), 1, "it was waited for");
            answer.send(()).unwrap();
            hanging.await.unwrap().unwrap();
            while !files(root.path()).is_empty() {
                tokio::time::sleep(soon).await;
            }
        });
    }

    #[tokio::test]
    async fn a_folder_goes_with_its_last_object_and_the_root_stays() {
        let root = tempfile::tempdir().unwrap();
        let remote = FolderRemote::open("r", root.path()).unwrap();
        for to in ["a/b/one", "a/b/two", "a/three"] {
            put(&remote, to, &BytesBody(Bytes::from_static(b"x")), &Content::of(b"x")).await.unwrap();
        }
        for (gone, left) in [("a/b/one", vec!["b", "three"]), ("a/b/two", vec!["three"])] {
            remote.delete(&name(gone)).await.unwrap();
            assert_eq!(files(&root.path().join("a")), left);
        }
        remote.delete(&name("a/three")).await.unwrap();
        assert!(files(root.path()).is_empty() && root.path().is_dir());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_object_is_put_into_a_folder_that_loses_its_last_one_at_that_moment() {
        let root = tempfile::tempdir().unwrap();
        let remote = FolderRemote::open("r", root.path()).unwrap();
        let turns = |to: &'static str| {
            let remote = remote.clone();
            tokio::spawn(async move {
                for _ in 0..200 {
                    put(&remote, to, &BytesBody(Bytes::from_static(b"x")), &Content::of(b"x")).await.unwrap();
                    remote.delete(&name(to)).await.unwrap();
                }
            })
        };
        for turn in [turns("a/b/one"), turns("a/b/two")] {
            turn.await.unwrap();
        }
        assert!(files(root.path()).is_empty());
    }

    #[tokio::test]
    async fn a_symbolic_link_below_the_folder_leads_nowhere() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(outside.path().join("secret"), b"x").unwrap();
        std::os::unix::fs::symlink(outside.path(), inside.path().join("out")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), inside.path().join("s")).unwrap();
        let remote = FolderRemote::open("r", inside.path()).unwrap();
        for to in ["out/secret", "s"] {
            assert!(remote.get(&name(to), Span::whole()).await.is_err(), "{to}");
            assert!(remote.head(&name(to)).await.is_err(), "{to}");
        }
        let bytes = BytesBody(Bytes::from_static(b"new"));
        assert!(put(&remote, "out/new", &bytes, &Content::of(b"new")).await.is_err());
        assert!(remote.delete(&name("out/secret")).await.is_err());
        assert_eq!(files(outside.path()), ["secret"]);
        let page = remote.list(&Folder::all(), None, 10).await.unwrap();
        assert_eq!((page.entries.len(), page.foreign.len()), (0, 2));
    }

    #[tokio::test]
    async fn a_checkpoint_removes_only_unfinished_files_below_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("inside");
        std::fs::create_dir_all(inside.join("a")).unwrap();
        for file in ["outside", "inside/kept", "inside/a/.vtl-part-00ff"] {
            std::fs::write(folder.path().join(file), b"x").unwrap();
        }
        let remote = FolderRemote::open("r", &inside).unwrap();
        for text in ["", "folder ../outside", "folder kept", "folder /.vtl-part-../../outside", "s3 {}"] {
            remote.abandon(&Checkpoint::new(text)).await.unwrap();
        }
        assert_eq!(
            (files(folder.path()), files(&inside.join("a")).len()),
            (vec!["inside".into(), "outside".into()], 1)
        );
        for _ in 0..2 {
            remote.abandon(&Checkpoint::new("folder a/.vtl-part-00ff")).await.unwrap();
        }
        assert_eq!(files(&inside), ["kept"], "the folder that is empty now has gone, too");
    }

    #[tokio::test]
    async fn what_is_half_sent_is_told_folder_by_folder_and_nothing_else_is() {
        let root = tempfile::tempdir().unwrap();
        let remote = FolderRemote::open("r", root.path()).unwrap();
        for folder in ["a/b", "c/.vtl-part-01"] {
            std::fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        for file in [".vtl-part-00", "a/.vtl-part-0f", "a/b/.vtl-part-ff", "a/.vtl-part-notes", "a/one"] {
            std::fs::write(root.path().join(file), b"x").unwrap();
        }
        let left = async |folder: &str| {
            let left = remote.half_sent(&Folder::new(folder).unwrap()).await.unwrap();
            let mut left: Vec<_> =
                left.into_iter().map(|one| (one.folder.to_string(), one.checkpoint)).collect();
            left.sort_by(|a, b| a.0.cmp(&b.0));
            left
        };
        let half = |folder: &str, path: &str| (folder.to_owned(), Checkpoint::new(path));
        let below = [half("a", "folder a/.vtl-part-0f"), half("a/b", "folder a/b/.vtl-part-ff")];
        assert_eq!(left("a").await, below);
        assert_eq!(left("").await[..2], below);
        assert_eq!(left("").await[2], half("everything", "folder .vtl-part-00"));
        assert!(left("c").await.is_empty() && left("nowhere").await.is_empty());
        for (_, checkpoint) in left("").await {
            remote.abandon(&checkpoint).await.unwrap();
        }
        assert_eq!(
            (left("").await, files(&root.path().join("a"))),
            (vec![], vec![".vtl-part-notes".into(), "one".into()])
        );
    }

    #[tokio::test]
    async fn a_put_that_fails_or_is_dropped_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let remote = FolderRemote::open("r", folder.path()).unwrap();
        let bytes = BytesBody(Bytes::from_static(b"other"));
        let error = put(&remote, "x", &bytes, &Content::of(b"what was said")).await.unwrap_err();
        assert_eq!(error.class(), Class::Source);
        assert!(files(folder.path()).is_empty());
    }

    #[test]
    fn a_folder_that_is_not_there_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mount");
        let error = FolderRemote::open("r", &path).unwrap_err();
        assert!(error.class() == Class::Unavailable && error.is_retryable(), "its disk may be mounted later");
        assert!(!path.exists());
        std::fs::write(&path, "a file").unwrap();
        assert_eq!(FolderRemote::open("r", &path).unwrap_err().class(), Class::Misconfigured);
        assert!(FolderRemote::open("r", "relative").unwrap_err().to_string().contains("not absolute"));
    }

    #[tokio::test]
    async fn every_call_says_of_a_folder_that_has_gone_that_it_is_away_and_none_that_an_object_is() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("mount");
        std::fs::create_dir(&root).unwrap();
        let remote = FolderRemote::open("r", &root).unwrap();
        put(&remote, "a/x", &BytesBody(Bytes::from_static(b"x")), &Content::of(b"x")).await.unwrap();
        std::fs::remove_dir_all(&root).unwrap();
        let (object, all) = (name("a/x"), Folder::all());
        for something_else in [false, true] {
            if something_else {
                std::fs::write(&root, "a file").unwrap();
            }
            let body = BytesBody(Bytes::from_static(b"x"));
            let outcomes = [
                remote.head(&object).await.map(drop),
                remote.get(&object, Span::whole()).await.map(drop),
                remote.hashes(&object).await.map(drop),
                remote.list(&all, None, 10).await.map(drop),
                remote.delete(&object).await,
                remote.abandon(&Checkpoint::new("folder a/.vtl-part-00ff")).await,
                remote.create(&object, Bytes::from_static(b"x")).await,
                put(&remote, "a/x", &body, &Content::of(b"x")).await.map(drop),
            ];
            for (call, outcome) in outcomes.into_iter().enumerate() {
                assert_eq!(outcome.unwrap_err().class(), Class::Unavailable, "call {call}, {something_else}");
            }
        }
        assert!(root.is_file(), "nothing is made where a disk belongs");
    }

    #[test]
    fn only_the_path_of_an_unfinished_file_is_one() {
        assert!(unfinished_path("a/.vtl-part-0f").is_some());
        for path in ["a/b", "../.vtl-part-0f", "a/.vtl-part-x/../y", ".vtl-part-"] {
            assert!(unfinished_path(path).is_none(), "{path}");
        }
    }
}
