//! Objects from the bundle's writer to the remote: one fills while others are sent.
//!
//! An object that is sent is *confirmed* when it was verified and all before it are confirmed. The first failure ends everything: what is on its
//! way may end, nothing new begins. The manifest waits until all objects are confirmed.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, Scope};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Handle;
use vtl_bundle::{Sink, Stored};
use vtl_jobs::Failure;
use vtl_remote::{
    Checkpoint, Class, Content, FileBody, Mode, ObjectName, Put, Receipt, Streams, create_or_same, from_hex,
    verify, verify_or_read_back,
};

use crate::Line;
use crate::pace::{Confirmed, Pace, Until};
use crate::staging::{Kept, Left, Writing};
use crate::stream::{self, Spring};
use crate::telling::Telling;
use crate::trouble::{Trouble, local};

/// So often a call to a remote is interrupted to look whether a stop is wanted.
const LOOK: Duration = Duration::from_millis(200);
/// What helps where the staging folder is too small for an object.
const SMALLER: &str =
    "set migrate.chunk_size smaller and export it once more, or set migrate.staging_dir elsewhere";

/// What the threads share.
#[derive(Default)]
struct State {
    /// Objects in the staging folder, with the one that is being filled.
    staged: usize,
    /// Uploads that have not ended.
    running: usize,
    /// Sent and verified, but something before them is not.
    early: BTreeMap<u64, Confirmed>,
    /// The place of the next object to be confirmed.
    next: u64,
    trouble: Option<Trouble>,
}

struct Board {
    state: Mutex<State>,
    changed: Condvar,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let done = work(&mut self.lock());
        self.changed.notify_all();
        done
    }

    fn trouble(&self) -> Option<Trouble> {
        self.lock().trouble.clone()
    }

    /// The first trouble is the one that is told.
    fn fail(&self, trouble: Trouble) {
        self.change(|state| state.trouble.get_or_insert(trouble).clone());
    }

    /// Waits until it is so; the trouble, if there is any before.
    fn until(&self, pace: &dyn Pace, so: impl Fn(&State) -> bool) -> Result<(), Trouble> {
        let mut state = self.lock();
        loop {
            if let Some(trouble) = &state.trouble {
                return Err(trouble.clone());
            }
            if so(&state) {
                return Ok(());
            }
            if !pace.goes_on() {
                return Err(Trouble::Stopped);
            }
            let waited = self.changed.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Sends what `work` gives to the outbox. `first`: so many objects of the bundle are confirmed already; `left`: the next ones, which an attempt before has
/// staged, are sent first. No object has more bytes than `most`: so much room is found, and kept, before one is staged. It returns when nothing is on its
/// way any more.
///
/// # Errors
/// What stopped it. Objects that were confirmed stay.
pub fn send<T>(
    line: Line<'_>,
    first: u64,
    left: Vec<Left>,
    most: u64,
    pace: &dyn Pace,
    work: impl FnOnce(&mut Outbox<'_, '_>) -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    let board =
        Board { state: Mutex::new(State { next: first, ..State::default() }), changed: Condvar::new() };
    let done = std::thread::scope(|scope| {
        let mut outbox = Outbox { scope, line, most, pace, board: &board, next: first, open: Open::Nothing };
        let done = outbox.go_on(left).and_then(|()| work(&mut outbox));
        // Before what is on its way is cut off: that is told as a trouble of its own.
        if let Err(trouble) = &done {
            board.fail(trouble.clone());
        }
        drop(outbox);
        done
    });
    let state = board.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    match (state.trouble, done) {
        (Some(trouble), _) | (None, Err(trouble)) => Err(trouble),
        (None, Ok(done)) => Ok(done),
    }
}

/// Where the bundle's writer puts its objects.
pub struct Outbox<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    line: Line<'env>,
    most: u64,
    pace: &'env dyn Pace,
    board: &'env Board,
    next: u64,
    open: Open<'env>,
}

/// What is being written.
enum Open<'a> {
    Nothing,
    Staged(Writing<'a>),
    Streamed(Spring),
    Manifest(Vec<u8>),
}

impl Sink for &mut Outbox<'_, '_> {
    fn begin(&mut self, name: &str) -> io::Result<()> {
        let opened =
            if name.ends_with(".manifest") { Ok(Open::Manifest(Vec::new())) } else { self.begin_chunk(name) };
        self.open = opened.map_err(|trouble| self.stop(trouble))?;
        Ok(())
    }

    fn write(&mut self, bytes: &Bytes) -> io::Result<()> {
        let (board, pace) = (self.board, self.pace);
        // What waits for room hears of what fails meanwhile: that may be what it waits for.
        let watched = Until { pace, is_over: &|| board.trouble().is_some() };
        let written = match &mut self.open {
            Open::Nothing => Ok(()),
            Open::Staged(file) if pace.goes_on() => file.write(bytes, &watched),
            // What is staged can still be of use; of this nothing stays.
            Open::Streamed(spring) if pace.goes_on() => match board.trouble() {
                Some(trouble) => Err(trouble),
                None => spring.write(bytes).or_else(|_| self.why()),
            },
            Open::Staged(_) | Open::Streamed(_) => Err(Trouble::Stopped),
            Open::Manifest(held) => {
                held.extend_from_slice(bytes);
                Ok(())
            }
        };
        written.map_err(|trouble| self.stop(trouble))
    }

    fn end(&mut self, object: &Stored) -> io::Result<()> {
        let ended = match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Nothing => Ok(()),
            Open::Streamed(spring) => {
                content_of(object).and_then(|content| spring.end(object, content).or_else(|_| self.why()))
            }
            Open::Staged(file) => {
                let kept = file.finish().0;
                self.pace.staged(object).map_err(Trouble::from).and_then(|()| self.upload(kept, object, None))
            }
            Open::Manifest(bytes) => self.put_manifest(object, bytes.into()),
        };
        ended.map_err(|trouble| self.stop(trouble))
    }
}

impl<'scope, 'env> Outbox<'scope, 'env> {
    /// The writer only needs to know that it ends here; what it was is told at the end.
    fn stop(&self, trouble: Trouble) -> io::Error {
        self.board.fail(trouble);
        io::Error::other("the transfer has ended")
    }

    fn begin_chunk(&mut self, name: &str) -> Result<Open<'env>, Trouble> {
        let slots = self.line.slots;
        self.board.until(self.pace, |state| state.staged <= slots)?;
        self.board.change(|state| state.staged += 1);
        match self.line.remote.streams() {
            Some(remote) => self.stream(remote, name).map(Open::Streamed),
            None => self.stage(name).map(Open::Staged),
        }
    }

    /// A file for an object, when there is room for the largest that it can become: half of one could wait for ever for room that it has itself.
    fn stage(&self, name: &str) -> Result<Writing<'env>, Trouble> {
        let (staging, board) = (self.line.staging, self.board);
        let watched = Until { pace: self.pace, is_over: &|| board.trouble().is_some() };
        let room = staging.promise(self.most, SMALLER, &watched)?;
        Ok(staging.create(name, room)?.watching())
    }

    /// What the stream of an object was ended by.
    fn why(&self) -> Result<(), Trouble> {
        self.board.until(self.pace, |_| false)
    }

    /// Sends what an attempt before has staged.
    fn go_on(&mut self, left: Vec<Left>) -> Result<(), Trouble> {
        self.board.change(|state| state.staged += left.len());
        left.into_iter().try_for_each(|Left { object, kept, upload }| self.upload(kept, &object, upload))
    }

    fn upload(&mut self, kept: Kept, object: &Stored, resume: Option<Checkpoint>) -> Result<(), Trouble> {
        let object = object.clone();
        self.spawn(move |line, pace| {
            let sent = upload(line, pace, &kept, &object, resume.as_ref());
            if sent.as_ref().is_err_and(Trouble::may_pass) {
                kept.leave();
            }
            sent
        })
    }

    fn stream(&mut self, remote: &'env dyn Streams, name: &str) -> Result<Spring, Trouble> {
        let (spring, course) = stream::begin(named(&self.line, name)?);
        self.spawn(move |line, pace| course.run(line, remote, pace))?;
        Ok(spring)
    }

    /// Has a thread of its own send the next object.
    fn spawn(
        &mut self,
        work: impl FnOnce(Line<'env>, &'env dyn Pace) -> Result<Confirmed, Trouble> + Send + 'scope,
    ) -> Result<(), Trouble> {
        let number = self.next;
        self.next += 1;
        self.board.change(|state| state.running += 1);
        let (line, pace, board) = (self.line, self.pace, self.board);
        let span = tracing::Span::current();
        let spawned = Builder::new().name("upload".to_owned()).spawn_scoped(self.scope, move || {
            let _of_the_job = span.entered();
            match work(line, pace).and_then(|confirmed| confirm(board, pace, number, confirmed)) {
                Ok(()) => board
                    .change(|state| (state.staged, state.running) = (state.staged - 1, state.running - 1)),
                Err(trouble) => {
                    board.fail(trouble);
                    board.change(|state| state.running -= 1);
                }
            }
        });
        spawned.map(drop).map_err(|error| local("a thread for an upload", &error).into())
    }

    fn put_manifest(&self, object: &Stored, bytes: Bytes) -> Result<(), Trouble> {
        self.board.until(self.pace, |state| state.running == 0)?;
        let name = named(&self.line, &object.name)?;
        self.pace.sealing(&object.sha256)?;
        let line = self.line;
        let content = content_of(object)?;
        to_its_end(line.runtime, self.pace, create_or_same(line.remote, &name, bytes))?;
        let damage = interruptible(line, self.pace, async {
            let mode = if line.verify == Mode::None { Mode::None } else { Mode::Readback };
            match verify(line.remote, &name, &content, &Receipt::whole(), mode, line.limiter).await {
                Err(error) if error.class() == Class::Damaged => Ok(Some(error)),
                outcome => outcome.map(|_| None),
            }
        })?;
        let Some(damage) = damage else { return Ok(()) };
        // A manifest says that all is there: one that is wrong must not stay.
        to_its_end(line.runtime, self.pace, line.remote.delete(&name))?;
        Err(damage.into())
    }
}

/// Notes what has arrived, in the order of the objects.
fn confirm(board: &Board, pace: &dyn Pace, number: u64, confirmed: Confirmed) -> Result<(), Trouble> {
    let mut state = board.lock();
    state.early.insert(number, confirmed);
    loop {
        let next = state.next;
        let Some(confirmed) = state.early.get(&next) else { return Ok(()) };
        // Under the lock: they are kept one after the other.
        pace.confirmed(confirmed)?;
        state.early.remove(&next);
        state.next += 1;
    }
}

fn upload(
    line: Line<'_>,
    pace: &dyn Pace,
    kept: &Kept,
    object: &Stored,
    resume: Option<&Checkpoint>,
) -> Result<Confirmed, Trouble> {
    let name = named(&line, &object.name)?;
    let content = content_of(object)?;
    let _permit = pace.permit().ok_or(Trouble::Stopped)?;
    let watch = Telling::of_staged(pace, object, kept);
    let body = FileBody::new(kept.path());
    let sent = interruptible(line, pace, async {
        let put =
            Put { name: &name, content: &content, body: &body, resume, watch: &watch, limiter: line.limiter };
        let receipt = line.remote.put(put).await?;
        let verified = verify_or_read_back(line.remote, &name, &content, &receipt, line.verify, line.limiter);
        let proof = verified.await?;
        Ok((receipt, proof))
    });
    match sent {
        Ok((receipt, proof)) => Ok(Confirmed { object: object.clone(), receipt: receipt.to_string(), proof }),
        Err(trouble) => {
            if !trouble.may_pass() {
                watch.abandon(line);
            }
            Err(trouble)
        }
    }
}

pub(crate) fn interruptible<T>(
    line: Line<'_>,
    pace: &dyn Pace,
    calls: impl Future<Output = Result<T, vtl_remote::Error>>,
) -> Result<T, Trouble> {
    on_remote(line.runtime, pace, calls)
}

/// Runs calls to a remote until they are done or a stop is wanted; then they are dropped. Not to be called from a thread of the runtime.
///
/// # Errors
/// What the calls fail with, or [`Trouble::Stopped`].
pub fn on_remote<T>(
    runtime: &Handle,
    pace: &dyn Pace,
    calls: impl Future<Output = Result<T, vtl_remote::Error>>,
) -> Result<T, Trouble> {
    waiting(runtime, pace, Duration::ZERO, calls)
}

/// Runs calls that create or delete a manifest. A stop does not break them off at once: they could take place later, when the objects are gone or the
/// manifest is another one. What hangs is left when the pace has no more patience: it counts as not answered. Not to be called from a thread of the runtime.
///
/// # Errors
/// What the calls fail with, or [`Trouble::Stopped`].
pub fn to_its_end<T>(
    runtime: &Handle,
    pace: &dyn Pace,
    calls: impl Future<Output = Result<T, vtl_remote::Error>>,
) -> Result<T, Trouble> {
    waiting(runtime, pace, pace.patience(), calls)
}

fn waiting<T>(
    runtime: &Handle,
    pace: &dyn Pace,
    patience: Duration,
    calls: impl Future<Output = Result<T, vtl_remote::Error>>,
) -> Result<T, Trouble> {
    runtime.block_on(async {
        let mut calls = std::pin::pin!(calls);
        let mut stopped = None;
        loop {
            tokio::select! {
                done = &mut calls => return done.map_err(Trouble::from),
                () = tokio::time::sleep(LOOK) => {
                    if !pace.goes_on() && stopped.get_or_insert_with(Instant::now).elapsed() >= patience {
                        return Err(Trouble::Stopped);
                    }
                }
            }
        }
    })
}

pub(crate) fn named(line: &Line<'_>, name: &str) -> Result<ObjectName, Trouble> {
    line.folder.object(name).map_err(|error| {
        let message = error.to_string();
        Trouble::Failed(Failure {
            class: vtl_jobs::Class::Permanent,
            code: "invalid".to_owned(),
            message,
            remedy: Some("the folder's name is none of an export".to_owned()),
        })
    })
}

/// Length and hashes of an object, as remotes are asked for them.
///
/// # Errors
/// Its hashes are none.
pub fn content_of(object: &Stored) -> Result<Content, Trouble> {
    let hashes = from_hex(&object.md5).zip(from_hex(&object.sha256));
    let (md5, sha256) = hashes.ok_or_else(|| {
        Trouble::Failed(Failure {
            class: vtl_jobs::Class::Permanent,
            code: "invalid".to_owned(),
            message: format!("{}: its hashes are none", object.name),
            remedy: None,
        })
    })?;
    Ok(Content { size: object.bytes, md5, sha256 })
}
