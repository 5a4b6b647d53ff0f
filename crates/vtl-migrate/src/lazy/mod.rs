//! Cartridges that are here in part: loadable at once, blocks fetched when they are read, then kept. `docs/lazy.md` is the design.
//!
//! ```text
//! drive -> Host (Absent) -> Lazy -> Kept (pieces in the store), or else a range of an object of the remote -> Frames (checked, opened) -> Kept
//! job   -> Lazy: every piece that is missing, then all of them in order into the cartridge -> its hash is right -> an ordinary cartridge
//! ```
//!
//! [`Lazies`] has each of them once, however many use it. A crash leaves the pieces that are kept; the row of the inventory says where the rest is.

mod host;
mod job;
mod kept;
mod line;
mod table;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use vtl_bundle::{Entry, Frames, Manifest, Signed};
use vtl_cartridge::{Absent, CartridgeError};
use vtl_jobs::Failure;
use vtl_store::{Store, StoreError};
use vtl_transfer::{Pace, Trouble};
use vtl_types::{CartridgeId, Label};

use crate::fail;
use crate::job::{hex, read as look};
use crate::world::World;
use host::Host;
use kept::{Kept, PIECE_BYTES};
use line::Line;

pub use table::{
    LazyRow, MODULE as LAZY_MODULE, all as lazy_all, forget as lazy_forget, of as lazy_of, put as lazy_put,
};

pub(crate) use job::{Begin, begin, unbegin};
pub(crate) use table::{from_folder, of};

/// Frames of this bundle in a piece.
fn frames_in_piece(manifest: &Manifest) -> u64 {
    PIECE_BYTES / manifest.frame_bytes()
}

/// Pieces in memory: what is fetched ahead at most, and some that a drive is at.
const RECENT: usize = 24;
/// How often a wait looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);
/// A cartridge that somebody closes at this moment can be opened within so many looks.
const CLOSING_LOOKS: u32 = 50;

/// What helps against a part of a cartridge that is of no use. In the trash it would keep its label, and the import would be refused.
#[must_use]
pub fn import_anew(label: Label) -> String {
    format!("{}, then import it once more", remove_for_good(label))
}

/// Only then its row goes, which says that the folder on the remote is needed.
pub(crate) fn remove_for_good(label: Label) -> String {
    format!("vtl cartridge rm {label} --now --confirm {label}")
}

/// All of one server.
pub struct Lazies {
    world: Arc<dyn World>,
    open: Mutex<BTreeMap<CartridgeId, Weak<Lazy>>>,
    stopping: Arc<AtomicBool>,
}

impl Lazies {
    /// None is open.
    pub fn new(world: Arc<dyn World>) -> Self {
        Self { world, open: Mutex::default(), stopping: Arc::default() }
    }

    /// What the inventory says of a cartridge that is here in part.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn row(&self, cartridge: CartridgeId) -> Result<Option<LazyRow>, Failure> {
        look(&*self.world, |tx| Ok(table::of(tx, cartridge)?))
    }

    /// A cartridge that is here in part, for who reads it or fetches the rest; none when it is not one.
    ///
    /// # Errors
    /// What is here of it cannot be read, or the private key that opens the bundle is not here.
    pub fn of(&self, cartridge: CartridgeId) -> Result<Option<Arc<Lazy>>, Failure> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lazy) = open.get(&cartridge).and_then(Weak::upgrade) {
            return Ok(Some(lazy));
        }
        let Some(row) = self.row(cartridge)? else { return Ok(None) };
        let lazy = Arc::new(Lazy::open(&self.world, row, &self.stopping)?);
        open.retain(|_, lazy| lazy.strong_count() > 0);
        open.insert(cartridge, Arc::downgrade(&lazy));
        Ok(Some(lazy))
    }

    /// Bytes of the image that are here of a cartridge that is not open; told from what the store has.
    #[must_use]
    pub fn here_bytes(&self, row: &LazyRow) -> u64 {
        let store = self.world.store_of(row.cartridge).ok();
        let facts = store.and_then(|store| vtl_cartridge::Cartridge::inspect(&store, row.pieces).ok());
        facts.map_or(0, |facts| kept::image_bytes(&facts, row.manifest_bytes).min(row.image_bytes))
    }

    /// The server stops: nobody waits for a remote any more.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    /// The cartridge is to go for good: whoever has it open lets go of it, what is here of it goes. Its row is the caller's.
    ///
    /// # Errors
    /// It is still in use.
    pub fn give_up(&self, row: &LazyRow) -> Result<(), Failure> {
        let lazy = {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.get(&row.cartridge).and_then(Weak::upgrade)
        };
        if let Some(lazy) = lazy {
            lazy.end(Ended::Gone);
        }
        let store = self.world.store_of(row.cartridge)?;
        kept::remove(&store, row.pieces).map_err(|error| fail::cartridge(&error.into()))
    }
}

/// A cartridge that is here in part.
pub struct Lazy {
    world: Arc<dyn World>,
    row: LazyRow,
    frames: Frames,
    signed: Signed,
    stopping: Arc<AtomicBool>,
    /// The way to the remote, once it was needed; made anew after a failure.
    line: Mutex<Option<Arc<Line>>>,
    state: Mutex<State>,
    changed: Condvar,
    /// Reads of hosts that are waiting.
    hosts: AtomicUsize,
    /// Somebody fetches ahead.
    ahead: AtomicBool,
}

/// What changes of it.
struct State {
    /// None when it has ended.
    kept: Option<Kept>,
    /// Pieces on their way.
    pending: BTreeSet<u64>,
    /// The last pieces that somebody has read, or may read next.
    recent: VecDeque<(u64, Bytes)>,
    /// Where a read that goes on begins.
    next: u64,
    /// Pieces to fetch ahead.
    window: u64,
    end: Option<Ended>,
}

/// Why it is not in part here any more.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ended {
    /// All is here, and right: it is an ordinary cartridge.
    Whole,
    /// The cartridge goes.
    Gone,
    /// All was here, and it is not what it should be.
    Wrong(String),
}

/// Why bytes are not to be had.
#[derive(Clone, Debug)]
enum Unread {
    /// Not now.
    Away(Failure),
    /// They are damaged where they are.
    Damaged(Failure),
    /// Nobody waits for them any more.
    Stopped,
}

impl From<Failure> for Unread {
    fn from(failure: Failure) -> Self {
        Self::Away(failure)
    }
}

impl From<Unread> for Trouble {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Away(failure) | Unread::Damaged(failure) => Self::Failed(failure),
            Unread::Stopped => Self::Stopped,
        }
    }
}

/// What becomes of pieces that were fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    /// They are kept, or the call fails.
    Must,
    /// They are served, also when the store cannot keep them.
    IfThereIsRoom,
}

impl Lazy {
    fn open(world: &Arc<dyn World>, row: LazyRow, stopping: &Arc<AtomicBool>) -> Result<Self, Failure> {
        let store = world.store_of(row.cartridge)?;
        let (kept, manifest) = open_kept(&store, row.pieces)?;
        if hex(&Sha256::digest(&manifest)) != row.manifest_sha256 {
            let text = format!("the manifest that was kept for {} is another one", row.label);
            return Err(fail::permanent("internal", text, &import_anew(row.label)));
        }
        let (manifest, signed) = Manifest::decode(&manifest, None).map_err(|error| fail::manifest(&error))?;
        let private = if manifest.sealed { Some(world.private_key(&row.keys)?) } else { None };
        let frames = Frames::open(manifest, private.as_ref()).map_err(|error| fail::bundle(&error))?;
        let end = row.wrong.clone().map(Ended::Wrong);
        let state = State {
            kept: Some(kept).filter(|_| end.is_none()),
            pending: BTreeSet::new(),
            recent: VecDeque::new(),
            next: 0,
            window: 1,
            end,
        };
        Ok(Self {
            world: Arc::clone(world),
            row,
            frames,
            signed,
            stopping: Arc::clone(stopping),
            line: Mutex::default(),
            state: Mutex::new(state),
            changed: Condvar::new(),
            hosts: AtomicUsize::new(0),
            ahead: AtomicBool::new(false),
        })
    }

    /// Blocks and filemarks in order: their length (0: filemarks), and how many.
    pub fn objects(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.frames.inside().map.entries().map(|entry| match entry {
            Entry::Marks { count } => (0, count),
            Entry::Blocks { len, count } => (len, count),
        })
    }

    /// Its bytes, for a drive.
    #[must_use]
    pub fn absent(self: &Arc<Self>) -> Arc<dyn Absent> {
        Arc::new(Host(Arc::clone(self)))
    }

    /// All is here and right: who has it open opens it anew, as an ordinary cartridge.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.lock().end == Some(Ended::Whole)
    }

    /// Bytes of the image that are here.
    #[must_use]
    pub fn here_bytes(&self) -> u64 {
        let kept = self.lock().kept.as_ref().map(Kept::count);
        kept.map_or(0, |pieces| pieces.saturating_mul(PIECE_BYTES)).min(self.row.image_bytes)
    }

    fn pieces(&self) -> u64 {
        self.frames.manifest().image_bytes.div_ceil(PIECE_BYTES)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, end: Ended) {
        let mut state = self.lock();
        state.end = Some(end);
        state.kept = None;
        state.recent.clear();
        drop(state);
        self.changed.notify_all();
    }

    fn ended(&self, end: &Ended) -> Unread {
        let label = self.row.label;
        match end {
            Ended::Whole => Unread::Away(fail::busy(format!("all of {label} is here: it is opened anew"))),
            Ended::Gone => Unread::Away(fail::permanent(
                "conflict",
                format!("{label} is being removed"),
                "import it once more if it is wanted",
            )),
            Ended::Wrong(why) => Unread::Damaged(fail::permanent(
                "conflict",
                why.clone(),
                &format!("vtl export verify tells more; then {}", import_anew(label)),
            )),
        }
    }

    /// A part of the image, from here or from the remote.
    fn bytes(&self, offset: u64, len: u64, pace: &dyn Pace, keep: Keep) -> Result<Vec<Bytes>, Unread> {
        let end = offset.saturating_add(len);
        let pieces = offset / PIECE_BYTES..end.div_ceil(PIECE_BYTES);
        let mut all = Vec::new();
        for piece in pieces.clone() {
            let bytes = self.piece(piece..pieces.end, pace, keep)?;
            let start = piece.saturating_mul(PIECE_BYTES);
            let from = usize::try_from(offset.saturating_sub(start)).unwrap_or(usize::MAX).min(bytes.len());
            let to = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX).min(bytes.len());
            all.push(bytes.slice(from.min(to)..to));
        }
        let found: u64 = all.iter().map(|bytes| bytes.len() as u64).sum();
        if found == len {
            return Ok(all);
        }
        let text = format!("{}: bytes {offset} to {end} are not in the image", self.row.label);
        Err(Unread::Damaged(fail::permanent(
            "conflict",
            text,
            "the bundle is damaged; vtl export verify tells more",
        )))
    }

    /// The first of these pieces; when it must be fetched, the others with it.
    fn piece(&self, wanted: Range<u64>, pace: &dyn Pace, keep: Keep) -> Result<Bytes, Unread> {
        loop {
            match self.here(wanted.start)? {
                Here::Yes(bytes) => return Ok(bytes),
                Here::No => self.bring(wanted.clone(), pace, keep)?,
                Here::Unreadable => {
                    let one = wanted.start..wanted.start.saturating_add(1);
                    self.fetch(one, pace, &mut |bytes| {
                        self.lock().remember(wanted.start, &bytes);
                        Ok(())
                    })?;
                }
            }
        }
    }

    fn here(&self, piece: u64) -> Result<Here, Unread> {
        let mut state = self.lock();
        if let Some(end) = &state.end {
            return Err(self.ended(end));
        }
        if let Some((_, bytes)) = state.recent.iter().find(|(number, _)| *number == piece) {
            return Ok(Here::Yes(bytes.clone()));
        }
        match state.kept.as_mut().map_or(Ok(None), |kept| kept.read(piece)) {
            Ok(Some(bytes)) => {
                state.remember(piece, &bytes);
                Ok(Here::Yes(bytes))
            }
            Ok(None) => Ok(Here::No),
            Err(error) => {
                tracing::warn!(label = %self.row.label, piece, %error, "what was kept cannot be read; it is fetched once more");
                Ok(Here::Unreadable)
            }
        }
    }

    /// Fetches the first of these pieces that are not here, as many as lie side by side, and keeps each as it comes. One that is on its way is waited for.
    fn bring(&self, wanted: Range<u64>, pace: &dyn Pace, keep: Keep) -> Result<(), Unread> {
        let Some(run) = self.claim(wanted, pace)? else { return Ok(()) };
        let mut next = run.start;
        let done = self.fetch(run.clone(), pace, &mut |bytes| {
            let mut state = self.lock();
            state.pending.remove(&next);
            let kept = self.keep(&mut state, next, bytes, keep);
            next = next.saturating_add(1);
            drop(state);
            self.changed.notify_all();
            kept
        });
        let mut state = self.lock();
        (next..run.end).for_each(|piece| {
            state.pending.remove(&piece);
        });
        drop(state);
        self.changed.notify_all();
        done
    }

    fn keep(&self, state: &mut State, piece: u64, bytes: Bytes, keep: Keep) -> Result<(), Unread> {
        if let Some(end) = &state.end {
            return Err(self.ended(end));
        }
        let kept = state.kept.as_mut().map_or(Ok(()), |kept| kept.put(piece, std::slice::from_ref(&bytes)));
        match (keep, kept) {
            (Keep::Must, Ok(())) => Ok(()),
            (Keep::Must, Err(error)) => Err(Unread::Away(fail::cartridge(&error))),
            (Keep::IfThereIsRoom, kept) => {
                if let Err(error) = kept {
                    tracing::warn!(label = %self.row.label, %error, "what was fetched is served, and could not be kept");
                }
                state.remember(piece, &bytes);
                Ok(())
            }
        }
    }

    /// The first of these pieces that are neither here nor on their way to somebody else; they are on their way now. None: all are here.
    fn claim(&self, wanted: Range<u64>, pace: &dyn Pace) -> Result<Option<Range<u64>>, Unread> {
        let mut state = self.lock();
        loop {
            if let Some(end) = &state.end {
                return Err(self.ended(end));
            }
            let missing = state.kept.as_ref().and_then(|kept| kept.missing(wanted.clone()));
            let Some(missing) = missing else { return Ok(None) };
            let end = state.pending.range(missing.clone()).next().copied().unwrap_or(missing.end);
            if end > missing.start {
                state.pending.extend(missing.start..end);
                return Ok(Some(missing.start..end));
            }
            if !pace.goes_on() {
                return Err(Unread::Stopped);
            }
            let waited = self.changed.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Pieces from the remote, each frame checked; each as soon as all of it has come.
    fn fetch(
        &self,
        pieces: Range<u64>,
        pace: &dyn Pace,
        came: &mut dyn FnMut(Bytes) -> Result<(), Unread>,
    ) -> Result<(), Unread> {
        let line = self.line()?;
        let each = frames_in_piece(self.frames.manifest());
        let frames = pieces.start.saturating_mul(each)..pieces.end.saturating_mul(each);
        let fetched = line.pieces(&self.frames, frames, pace, came);
        if matches!(fetched, Err(Unread::Away(_))) {
            *self.line.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        fetched
    }

    fn line(&self) -> Result<Arc<Line>, Unread> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = &*line {
            return Ok(Arc::clone(line));
        }
        let fresh = Arc::new(Line::open(&*self.world, &self.row)?);
        *line = Some(Arc::clone(&fresh));
        Ok(fresh)
    }
}

impl State {
    fn remember(&mut self, piece: u64, bytes: &Bytes) {
        self.recent.retain(|(number, _)| *number != piece);
        self.recent.push_back((piece, bytes.clone()));
        let over = self.recent.len().saturating_sub(RECENT);
        self.recent.drain(..over);
    }
}

enum Here {
    Yes(Bytes),
    No,
    /// It was, and the store cannot give it back.
    Unreadable,
}

/// Somebody may be about to close it.
fn open_kept(store: &Store, pieces: CartridgeId) -> Result<(Kept, Vec<u8>), Failure> {
    let mut looks = 0;
    loop {
        match Kept::open(store, pieces) {
            Err(CartridgeError::Store(StoreError::Busy { .. })) if looks < CLOSING_LOOKS => {
                looks += 1;
                std::thread::sleep(LOOK / 5);
            }
            opened => return opened.map_err(|error| fail::cartridge(&error)),
        }
    }
}
