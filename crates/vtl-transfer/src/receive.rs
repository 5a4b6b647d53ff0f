//! Objects from a remote to the bundle's reader: each is fetched whole and compared with its hashes before a byte of it is read. But for those
//! on a disk of this machine, when the reader compares the same hashes itself, and keeps what it read apart until it has: they are read as they come.
//!
//! Room for an object is found, and kept for it, before it has the right to a transfer: who waits for room holds nothing that others need to make
//! some. Objects get their room in order, so that what the reader waits for never waits for what comes after it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, Scope};
use std::time::Duration;

use futures_util::StreamExt as _;
use vtl_bundle::{Manifest, Source, Stored};
use vtl_jobs::Failure;
use vtl_remote::{Class, Span, verified};

use crate::Line;
use crate::arriving::Arriving;
use crate::examine::examine;
use crate::pace::{Pace, Permission, Until};
use crate::send::{content_of, named, on_remote};
use crate::staging::{Kept, Room};
use crate::trouble::{Trouble, local};

const LOOK: Duration = Duration::from_millis(200);
/// What helps an object that was made elsewhere into a folder that is too small for it.
const LARGER: &str = "set migrate.staging_dir to a folder on a larger file system";

/// Fetches the objects of a bundle for `work`, which reads them in order.
///
/// # Errors
/// What stopped it.
pub fn receive<T>(
    line: Line<'_>,
    manifest: &Manifest,
    pace: &dyn Pace,
    work: impl FnOnce(&mut Inbox<'_, '_>) -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    through(line, manifest, pace, false, work)
}

/// The same for `work` that compares each object with its hashes itself, as [`vtl_bundle::Image`] does, and keeps nothing before it has: what lies on
/// a disk of this machine is not staged.
///
/// # Errors
/// What stopped it.
pub fn receive_for_image<T>(
    line: Line<'_>,
    manifest: &Manifest,
    pace: &dyn Pace,
    work: impl FnOnce(&mut Inbox<'_, '_>) -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    through(line, manifest, pace, line.remote.abilities().near, work)
}

fn through<T>(
    line: Line<'_>,
    manifest: &Manifest,
    pace: &dyn Pace,
    as_they_come: bool,
    work: impl FnOnce(&mut Inbox<'_, '_>) -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    let board = Board { state: Mutex::default(), changed: Condvar::new() };
    let done = std::thread::scope(|scope| {
        let mut inbox = Inbox { scope, line, pace, board: &board, manifest, next: 0, as_they_come };
        let done = work(&mut inbox);
        if let Err(trouble) = &done {
            board.fail(trouble.clone());
        }
        board.change(|state| state.over = true);
        done
    });
    let state = board.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    match (state.trouble, done) {
        (Some(trouble), Err(_)) | (None, Err(trouble)) => Err(trouble),
        (_, Ok(done)) => Ok(done),
    }
}

/// An object, from its first byte on.
pub struct Fetched<'a>(From<'a>);

enum From<'a> {
    Staged(Staged),
    Coming { object: Arriving<'a>, _permit: Permission },
}

/// An object that is here and right. Dropping it removes the file.
struct Staged {
    file: File,
    _kept: Kept,
}

impl Read for Fetched<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            From::Staged(staged) => staged.file.read(room),
            From::Coming { object, .. } => object.read(room),
        }
    }
}

#[derive(Default)]
struct State {
    here: BTreeMap<usize, Staged>,
    /// The next object to get room.
    turn: usize,
    trouble: Option<Trouble>,
    over: bool,
}

struct Board {
    state: Mutex<State>,
    changed: Condvar,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, work: impl FnOnce(&mut State)) {
        work(&mut self.lock());
        self.changed.notify_all();
    }

    fn fail(&self, trouble: Trouble) {
        self.change(|state| {
            state.trouble.get_or_insert(trouble);
        });
    }

    /// Whether nobody wants what is fetched any more.
    fn is_over(&self) -> bool {
        let state = self.lock();
        state.over || state.trouble.is_some()
    }

    fn take(&self, at: usize, pace: &dyn Pace) -> Result<Staged, Trouble> {
        self.until(pace, |state| state.here.remove(&at))
    }

    /// Finds room for an object when all before it have theirs.
    fn in_turn(
        &self,
        at: usize,
        pace: &dyn Pace,
        room: impl FnOnce() -> Result<Room, Trouble>,
    ) -> Result<Room, Trouble> {
        self.until(pace, |state| (state.turn == at).then_some(()))?;
        let room = room()?;
        self.change(|state| state.turn += 1);
        Ok(room)
    }

    /// Waits until there is what is looked for; the trouble, if there is any before.
    fn until<T>(&self, pace: &dyn Pace, mut look: impl FnMut(&mut State) -> Option<T>) -> Result<T, Trouble> {
        let mut state = self.lock();
        loop {
            if let Some(found) = look(&mut state) {
                return Ok(found);
            }
            if let Some(trouble) = &state.trouble {
                return Err(trouble.clone());
            }
            if state.over || !pace.goes_on() {
                return Err(Trouble::Stopped);
            }
            let waited = self.changed.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Where the bundle's reader takes its objects from.
pub struct Inbox<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    line: Line<'env>,
    pace: &'env dyn Pace,
    board: &'env Board,
    manifest: &'env Manifest,
    /// The next object to be fetched.
    next: usize,
    /// Not staged, and compared with nothing here.
    as_they_come: bool,
}

impl<'env> Source for &mut Inbox<'_, 'env> {
    type Object = Fetched<'env>;

    fn open(&mut self, name: &str) -> io::Result<Fetched<'env>> {
        let at = self.manifest.objects.iter().position(|object| object.name == name);
        let at = at.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let from = match self.manifest.objects.get(at) {
            Some(object) if self.as_they_come => self.coming(object),
            _ => self.take(at).map(From::Staged),
        };
        from.map(Fetched).map_err(|trouble| {
            self.board.fail(trouble);
            io::Error::other("the transfer has ended")
        })
    }
}

impl<'env> Inbox<'_, 'env> {
    /// This object, as it comes.
    fn coming(&self, object: &'env Stored) -> Result<From<'env>, Trouble> {
        let (line, pace, board) = (self.line, self.pace, self.board);
        let name = named(&line, &object.name)?;
        let permit = pace.permit().ok_or(Trouble::Stopped)?;
        let stream = on_remote(line.runtime, pace, line.remote.get(&name, Span::whole()))?;
        let stream = line.limiter.paced(stream);
        let (moved, failed) = (move |bytes| pace.moved(object, bytes), move |trouble| board.fail(trouble));
        Ok(From::Coming { object: Arriving::new(line.runtime, pace, stream, moved, failed), _permit: permit })
    }

    /// This object, while those after it are fetched.
    fn take(&mut self, at: usize) -> Result<Staged, Trouble> {
        // The one that is being read is in the folder, too.
        let until = at.saturating_add(self.line.slots).saturating_add(1).min(self.manifest.objects.len());
        while self.next < until {
            self.fetch(self.next)?;
            self.next += 1;
        }
        self.board.take(at, self.pace)
    }

    fn fetch(&self, at: usize) -> Result<(), Trouble> {
        let manifest = self.manifest;
        let Some(object) = manifest.objects.get(at) else { return Ok(()) };
        let (line, pace, board) = (self.line, self.pace, self.board);
        let span = tracing::Span::current();
        let spawned = Builder::new().name("download".to_owned()).spawn_scoped(self.scope, move || {
            let _of_the_job = span.entered();
            let watched = Until { pace, is_over: &|| board.is_over() };
            let room = board.in_turn(at, pace, || line.staging.promise(object.bytes, LARGER, &watched));
            match room.and_then(|room| fetch(line, &watched, manifest, at, object, room)) {
                Ok(staged) => board.change(|state| {
                    state.here.insert(at, staged);
                }),
                Err(trouble) => board.fail(trouble),
            }
        });
        spawned.map(drop).map_err(|error| local("a thread for a download", &error).into())
    }
}

fn fetch(
    line: Line<'_>,
    pace: &dyn Pace,
    manifest: &Manifest,
    at: usize,
    object: &Stored,
    room: Room,
) -> Result<Staged, Trouble> {
    let name = named(&line, &object.name)?;
    let content = content_of(object)?;
    let _permit = pace.permit().ok_or(Trouble::Stopped)?;
    let mut writing = line.staging.create(&object.name, room)?;
    let mut stream = on_remote(line.runtime, pace, line.remote.get(&name, Span::whole()))?;
    stream = verified(line.limiter.paced(stream), content);
    loop {
        let mut damaged = false;
        let piece = on_remote(line.runtime, pace, async {
            let piece = stream.next().await.transpose();
            // What compares the bytes knows neither remote nor object.
            piece.map_err(|error| {
                damaged = error.class() == Class::Damaged;
                error.on(line.remote.name()).of(name.as_str())
            })
        });
        let piece = match piece {
            Err(Trouble::Failed(failure)) if damaged => {
                let found = examine(line.runtime, line.remote, line.limiter, &name, manifest, at, pace);
                return Err(with_its_place(failure, found).into());
            }
            piece => piece?,
        };
        let Some(piece) = piece else { break };
        writing.write(&piece, pace)?;
        pace.moved(object, piece.len() as u64);
    }
    let (kept, mut file) = writing.finish();
    file.seek(SeekFrom::Start(0)).map_err(|error| local(&format!("staging {}", object.name), &error))?;
    Ok(Staged { file, _kept: kept })
}

/// Damage is told with its frame.
fn with_its_place(failure: Failure, found: Option<String>) -> Failure {
    let message =
        found.map_or_else(|| failure.message.clone(), |found| format!("{}; {found}", failure.message));
    Failure { message, ..failure }
}
