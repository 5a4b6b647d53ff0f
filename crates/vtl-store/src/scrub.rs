//! Reading the whole pool again and again, so that damage is known while there may still be another copy.
//!
//! A [`Scrubber`] takes steps; how fast is its driver's business, who has a clock. A step reads one region, or as little else, and holds
//! no lock meanwhile: whoever drives it can stop after any. In this order:
//! 1. what was damaged by the last pack is looked up for all owners, so that it has names;
//! 2. packs that were sealed, or written anew, since they were last read, oldest first;
//! 3. the pass: all packs in order of their ids, then the quarantine file, the pool file, and all owners.
//!
//! A damaged chunk goes to the quarantine, where readers put it too. Faults of a file beside its chunks are *broken* packs: they are remembered
//! here until the pack has been written anew, or is found whole.
//!
//! What survives a restart stands in the file `scrub` (`docs/formats/scrub.md`), written every few minutes, at the end of a pass and at a clean
//! stop. Without it a pass begins anew and nothing else is lost. Broken packs stand there among the unread ones, so that the next start reads
//! them first. A generation that a collection wrote after the last writing and before a crash is not among the unread packs of the next
//! start: the pass reads it.

mod pack;
pub(crate) mod record;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use vtl_durable::Disk;
use vtl_durable::sealed::{self, SealedError};

use crate::pack::PackId;
use crate::packs::{PackState, Packs};
use crate::store::Core;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Arc, Mutex};
use crate::types::OwnerId;
use crate::workers::lock;

use pack::{Reading, Seen};
use record::{PACKS_DONE, Record};
pub(crate) use walk::wrong_in;
use walk::{Found, Walk};

pub use record::Pass;

/// So many ranges are remembered and told.
pub(crate) const MAX_FINDINGS: usize = 1000;
/// The place is written so often, in seconds of the driver's clock.
const SAVE_S: u64 = 300;
/// After damage is looked up it is not looked up again for so long: a dying disk has some in each pack, and each look reads all heads.
const LOOK_S: u64 = 600;

/// Something that is damaged now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrubFinding {
    /// Whose bytes they are; none when no owner needs what is damaged.
    pub owner: Option<OwnerId>,
    /// Which bytes of its stream; empty when none is lost.
    pub range: Range<u64>,
    /// What is wrong.
    pub why: String,
}

/// How the scrub is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubStatus {
    /// The last pass that came to its end.
    pub last: Option<Pass>,
    /// The one that runs.
    pub current: Option<Pass>,
    /// Bytes of all packs, as the pass that runs found them at its beginning or after the start.
    pub total_bytes: u64,
    /// Packs that have not been read back since they were written.
    pub unread_packs: u64,
    /// Bytes of these.
    pub unread_bytes: u64,
    /// How many of these an earlier start has left: what it has found in them is not known yet.
    pub left_packs: u64,
    /// Chunks in quarantine.
    pub damaged_chunks: u64,
    /// Raw bytes in them.
    pub damaged_bytes: u64,
    /// Ranges of owners, and files, that are damaged now.
    pub findings: u64,
}

impl ScrubStatus {
    /// Whether anything is damaged now.
    pub fn is_damaged(&self) -> bool {
        self.damaged_chunks > 0 || self.findings > 0
    }
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScrubStep {
    /// There is nothing to do before a pass begins or a pack is sealed.
    Idle,
    /// It read so many bytes.
    Read(u64),
    /// Damage was found, and its owners are named: time for a repair.
    Damage,
    /// A pass has come to its end.
    Finished(Pass),
}

/// A pack with faults beside its chunks.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    pub(crate) pack: PackId,
    pub(crate) generation: u16,
    pub(crate) why: String,
    /// All that it holds is known, so writing it anew loses nothing.
    pub(crate) mendable: bool,
}

/// What everybody may know of the scrub.
pub(crate) struct Scrub {
    root: std::path::PathBuf,
    store_id: [u8; 16],
    /// Grows with each append and read of any stream.
    activity: AtomicU64,
    taken: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    record: Record,
    saved: Record,
    unread: BTreeSet<PackId>,
    /// What was unread at the start.
    left: BTreeSet<PackId>,
    total_bytes: u64,
    found: Found,
    broken: BTreeMap<PackId, Broken>,
    /// Files of the pool that are damaged, and why.
    files: Vec<String>,
}

impl Scrub {
    /// What an earlier start left. Without it the first pass begins when it is asked for.
    pub(crate) fn open(disk: &dyn Disk, root: &Path, store_id: [u8; 16], packs: &Packs) -> Self {
        let read = sealed::read(disk, &root.join(record::NAME), record::KIND);
        let record = match read {
            Ok(payload) => Record::decode(&payload, store_id).map_err(|error| error.to_string()),
            Err(SealedError::Disk(error)) if error.is_not_found() => Ok(Record::default()),
            Err(error) => Err(error.to_string()),
        };
        let record = record.unwrap_or_else(|error| {
            tracing::warn!(error, "the place of the scrub is not readable, a pass begins anew");
            Record::default()
        });
        let mut unread: BTreeSet<PackId> = record.unread.iter().copied().collect();
        if record != Record::default() {
            let made_since = packs.all().into_iter().map(|(id, _)| id).filter(|id| *id >= record.next);
            unread.extend(made_since);
        }
        let left = unread.clone();
        let inner = Inner { saved: record.clone(), record, unread, left, ..Inner::default() };
        Self {
            root: root.to_path_buf(),
            store_id,
            activity: AtomicU64::new(0),
            taken: AtomicBool::new(false),
            inner: Mutex::new(inner),
        }
    }

    /// A stream is being written or read.
    pub(crate) fn touch(&self) {
        self.activity.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn status(&self, core: &Core) -> ScrubStatus {
        let (damaged_chunks, damaged_bytes) = core.quarantine.sums();
        let findings = self.findings(core).len() as u64;
        let mut inner = lock(&self.inner);
        inner.hear(&core.packs);
        let length = |id: &PackId| core.packs.known(*id).map_or(0, |known| known.file_bytes);
        ScrubStatus {
            last: inner.record.last,
            current: inner.record.current.map(|(pass, _)| pass),
            total_bytes: inner.total_bytes,
            unread_packs: inner.unread.len() as u64,
            unread_bytes: inner.unread.iter().map(length).sum(),
            left_packs: inner.unread.intersection(&inner.left).count() as u64,
            damaged_chunks,
            damaged_bytes,
            findings: findings + inner.found.more,
        }
    }

    /// Findings of owners, then broken packs that no owner has been told of, then files.
    pub(crate) fn findings(&self, core: &Core) -> Vec<ScrubFinding> {
        let broken = self.broken(core);
        let inner = lock(&self.inner);
        let is_broken = |pack: &PackId| broken.iter().any(|one| one.pack == *pack);
        let noted = inner.found.findings.iter().filter(|one| one.broken.as_ref().is_none_or(is_broken));
        let told: BTreeSet<PackId> = noted.clone().filter_map(|one| one.broken).collect();
        let mut findings: Vec<ScrubFinding> = noted.map(|one| one.finding.clone()).collect();
        let nobodys = |why: String| ScrubFinding { owner: None, range: 0..0, why };
        let others = broken.iter().filter(|one| !told.contains(&one.pack));
        findings.extend(others.map(|one| nobodys(format!("pack {}: {}", one.pack, one.why))));
        findings.extend(inner.files.iter().cloned().map(nobodys));
        findings.truncate(MAX_FINDINGS);
        findings
    }

    /// Packs that are broken and have not been written anew.
    pub(crate) fn broken(&self, core: &Core) -> Vec<Broken> {
        lock(&self.inner).broken(&core.packs).cloned().collect()
    }

    /// Writes the place, unless it is written. What cannot be written is read again by the next start.
    pub(crate) fn save(&self, core: &Core) {
        let record = {
            let (next, open) = core.packs.unsealed();
            let mut inner = lock(&self.inner);
            inner.hear(&core.packs);
            let mut unread = inner.unread.clone();
            unread.extend(open);
            // The next start reads them first, and knows of them again.
            unread.extend(inner.broken(&core.packs).map(|one| one.pack));
            let record = Record { next, unread: unread.into_iter().collect(), ..inner.record.clone() };
            if record == inner.saved {
                return;
            }
            record
        };
        let payload = record.encode(self.store_id);
        match sealed::replace(&*core.disk, &self.root, record::NAME, record::KIND, &payload) {
            Ok(()) => lock(&self.inner).saved = record,
            Err(error) => {
                tracing::warn!(error = %error.into_inner(), "the place of the scrub is not saved");
            }
        }
    }
}

impl Inner {
    /// Takes in what was sealed meanwhile.
    fn hear(&mut self, packs: &Packs) {
        self.unread.extend(packs.take_fresh());
    }

    /// Packs that are broken and have not been written anew.
    fn broken(&self, packs: &Packs) -> impl Iterator<Item = &Broken> {
        let still = move |one: &&Broken| {
            packs.known(one.pack).is_some_and(|known| known.generation == one.generation)
        };
        self.broken.values().filter(still)
    }

    /// A pack has been read to its end.
    fn read(&mut self, id: PackId, generation: u16, seen: &Seen, unread: bool) {
        if seen.outdated {
            return;
        }
        self.unread.remove(&id);
        self.broken.remove(&id);
        if !seen.faults.is_empty() {
            let mendable = seen.whole_footer || !seen.unknown_bytes;
            let why = seen.faults.join("; ");
            tracing::error!(pack = %id, why, "a damaged pack");
            self.broken.insert(id, Broken { pack: id, generation, why, mendable });
        }
        if let (Some((pass, _)), false) = (&mut self.record.current, unread) {
            pass.packs += 1;
        }
    }

    fn count_damage(&mut self, damaged: u64) {
        if let Some((pass, _)) = &mut self.record.current {
            pass.damaged += damaged;
        }
    }
}

/// Who reads the pool. There is one; another can come when it is dropped.
pub struct Scrubber {
    core: Arc<Core>,
    hand: Hand,
    /// The driver's clock at the last writing of the place.
    saved_s: Option<u64>,
    looked_s: Option<u64>,
    /// Packs whose files were not there while a collection ran.
    missing: BTreeSet<PackId>,
    /// Damage was found that has no names yet.
    look: bool,
    seen_activity: u64,
    /// The pass stands; what is new is read all the same.
    held: bool,
}

enum Hand {
    Empty,
    /// A pack; whether it is read because it is new, and not in its turn.
    Pack(Box<Reading>, bool),
    /// All owners; whether this ends the pass.
    Owners(Walk, bool),
}

impl std::fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scrubber").field("root", &self.core.root).finish_non_exhaustive()
    }
}

impl Drop for Scrubber {
    fn drop(&mut self) {
        self.core.scrub.taken.store(false, Ordering::SeqCst);
    }
}

impl Scrubber {
    pub(crate) fn new(core: &Arc<Core>) -> Option<Self> {
        if core.scrub.taken.swap(true, Ordering::SeqCst) {
            return None;
        }
        lock(&core.scrub.inner).total_bytes = core.packs.sums().file_bytes;
        let core = Arc::clone(core);
        // What an earlier start put into quarantine has no names here yet.
        let look = core.quarantine.sums().0 > 0;
        Some(Self {
            core,
            hand: Hand::Empty,
            saved_s: None,
            looked_s: None,
            missing: BTreeSet::new(),
            look,
            seen_activity: 0,
            held: false,
        })
    }

    /// Begins a pass; one that runs begins anew. Its number.
    pub fn begin(&mut self, now_s: u64) -> u64 {
        let total_bytes = self.core.packs.sums().file_bytes;
        self.hand = Hand::Empty;
        let number = {
            let mut inner = lock(&self.core.scrub.inner);
            let record = &mut inner.record;
            let before = [record.last, record.current.map(|(pass, _)| pass)];
            let number = before.into_iter().flatten().map(|pass| pass.number).max().unwrap_or(0) + 1;
            record.current = Some((Pass { number, begun_s: now_s, ..Pass::default() }, PackId::default()));
            inner.total_bytes = total_bytes;
            number
        };
        self.save(now_s);
        number
    }

    /// Whether the pass stands where it is. Packs that are new are read all the same. What of a pack has been read goes for nothing.
    pub fn hold(&mut self, held: bool) {
        self.held = held;
        if held {
            self.drop_hand_of_pass();
        }
    }

    /// Ends the pass that runs, if it has this number, without a result.
    pub fn end_pass(&mut self, number: u64, now_s: u64) {
        let ended = {
            let mut inner = lock(&self.core.scrub.inner);
            inner.record.current.take_if(|(pass, _)| pass.number == number).is_some()
        };
        if ended {
            self.drop_hand_of_pass();
            self.save(now_s);
        }
    }

    fn drop_hand_of_pass(&mut self) {
        if matches!(self.hand, Hand::Pack(_, false) | Hand::Owners(_, true)) {
            self.hand = Hand::Empty;
        }
    }

    /// Whether any stream has been written or read since the last asking, or is being written now.
    pub fn take_busy(&mut self) -> bool {
        let activity = self.core.scrub.activity.load(Ordering::Relaxed);
        let moved = std::mem::replace(&mut self.seen_activity, activity) != activity;
        moved || self.core.in_flight.load(Ordering::Relaxed) > 0
    }

    /// After a repair: what is damaged now is looked up again with the next step.
    pub fn look_again(&mut self) {
        (self.look, self.looked_s) = (true, None);
    }

    /// Reads a little. `now_s`: wall time in seconds since 1970.
    pub fn step(&mut self, now_s: u64) -> ScrubStep {
        match std::mem::replace(&mut self.hand, Hand::Empty) {
            Hand::Pack(reading, unread) => self.read_on(reading, unread),
            Hand::Owners(walk, ends) => self.walk_on(walk, ends, now_s),
            Hand::Empty => self.next(now_s),
        }
    }

    fn next(&mut self, now_s: u64) -> ScrubStep {
        if self.saved_s.is_none_or(|at| now_s.abs_diff(at) >= SAVE_S) {
            self.save(now_s);
        }
        if self.look && self.looked_s.is_none_or(|at| now_s.abs_diff(at) >= LOOK_S) {
            self.hand = Hand::Owners(self.walk(), false);
            return ScrubStep::Read(0);
        }
        match self.choose() {
            Some((id, unread)) => self.open(id, unread),
            None => self.next_owners(),
        }
    }

    /// The next pack: one that was missed, a new one, or that of the pass.
    fn choose(&mut self) -> Option<(PackId, bool)> {
        if !self.core.dock.finder.gate.is_collecting()
            && let Some(id) = self.missing.pop_first()
        {
            return Some((id, true));
        }
        let mut inner = lock(&self.core.scrub.inner);
        inner.hear(&self.core.packs);
        // One that is not sealed comes again when it is; one that is gone does not.
        while let Some(id) = inner.unread.first().copied() {
            if is_sealed(&self.core, id) {
                return Some((id, true));
            }
            inner.unread.remove(&id);
        }
        let (_, at) = inner.record.current.as_mut().filter(|_| !self.held)?;
        let next = self.core.packs.first_from(*at).map(|(id, _)| id);
        *at = next.unwrap_or(PACKS_DONE);
        next.map(|id| (id, false))
    }

    fn open(&mut self, id: PackId, unread: bool) -> ScrubStep {
        match Reading::open(&self.core, id) {
            Ok(Some(reading)) => self.hand = Hand::Pack(Box::new(reading), unread),
            Ok(None) => self.pack_done(id, unread),
            Err(error) if error.is_not_found() && self.core.dock.finder.gate.is_collecting() => {
                self.missing.insert(id);
                self.pack_done(id, unread);
            }
            // No collection runs, so one that took the pack has forgotten it by now. One that is not sealed is only now made, or given up.
            Err(_) if !is_sealed(&self.core, id) => self.pack_done(id, unread),
            Err(error) => {
                let generation = self.core.packs.known(id).map_or(0, |known| known.generation);
                let seen = Seen { faults: vec![error.to_string()], unknown_bytes: true, ..Seen::default() };
                self.seen(id, generation, &seen, unread);
            }
        }
        ScrubStep::Read(0)
    }

    fn read_on(&mut self, mut reading: Box<Reading>, unread: bool) -> ScrubStep {
        let (bytes, seen) = reading.step(&self.core);
        if let (Some((pass, _)), false) = (&mut lock(&self.core.scrub.inner).record.current, unread) {
            pass.bytes += bytes;
        }
        match seen {
            None => self.hand = Hand::Pack(reading, unread),
            Some(seen) => self.seen(reading.id(), reading.generation(), &seen, unread),
        }
        ScrubStep::Read(bytes)
    }

    fn seen(&mut self, id: PackId, generation: u16, seen: &Seen, unread: bool) {
        let damaged = seen.damaged + u64::from(!seen.faults.is_empty() && !seen.outdated);
        {
            let mut inner = lock(&self.core.scrub.inner);
            inner.read(id, generation, seen, unread);
            // What is read because it is new is read again in its turn.
            inner.count_damage(if unread { 0 } else { damaged });
        }
        if damaged > 0 {
            self.look = true;
            self.core.quarantine.save();
        }
        self.pack_done(id, unread);
    }

    fn pack_done(&mut self, id: PackId, unread: bool) {
        let mut inner = lock(&self.core.scrub.inner);
        if unread {
            inner.unread.remove(&id);
            return;
        }
        if let Some((_, at)) = &mut inner.record.current {
            *at = after(id);
        }
    }

    /// Packs are done: what else is in the pool, and then the owners.
    fn next_owners(&mut self) -> ScrubStep {
        if self.held || lock(&self.core.scrub.inner).record.current.is_none() {
            return ScrubStep::Idle;
        }
        let mended = self.core.quarantine.mend();
        if let Some(why) = &mended {
            tracing::error!(why, "the list of damaged chunks was damaged, and is written anew");
        }
        let pool = crate::recovery::verify_pool(&*self.core.disk, &self.core.root, self.core.domain.store_id);
        {
            let mut inner = lock(&self.core.scrub.inner);
            inner.count_damage(u64::from(mended.is_some()) + u64::from(pool.is_some()));
            inner.files = pool.into_iter().collect();
        }
        self.hand = Hand::Owners(self.walk(), true);
        ScrubStep::Read(0)
    }

    fn walk(&self) -> Walk {
        Walk::new(&self.core, self.core.scrub.broken(&self.core))
    }

    fn walk_on(&mut self, mut walk: Walk, ends: bool, now_s: u64) -> ScrubStep {
        let (bytes, found) = walk.step(&self.core);
        let Some(found) = found else {
            self.hand = Hand::Owners(walk, ends);
            return ScrubStep::Read(bytes);
        };
        (self.look, self.looked_s) = (false, Some(now_s));
        let anything = !found.findings.is_empty() || self.core.quarantine.sums().0 > 0;
        let finished = {
            let mut inner = lock(&self.core.scrub.inner);
            let heads = found.findings.iter().filter(|one| one.finding.range.end == u64::MAX).count() as u64;
            inner.found = found;
            if ends {
                inner.count_damage(heads);
            }
            inner.record.current.take_if(|_| ends).map(|(pass, _)| {
                let pass = Pass { finished_s: now_s.max(1), ..pass };
                inner.record.last = Some(pass);
                pass
            })
        };
        for finding in self.core.scrub.findings(&self.core) {
            tracing::error!(owner = ?finding.owner, range = ?finding.range, why = finding.why, "damage");
        }
        match finished {
            Some(pass) => {
                self.save(now_s);
                ScrubStep::Finished(pass)
            }
            None if anything || !self.core.scrub.broken(&self.core).is_empty() => ScrubStep::Damage,
            None => ScrubStep::Read(bytes),
        }
    }

    fn save(&mut self, now_s: u64) {
        self.saved_s = Some(now_s);
        self.core.scrub.save(&self.core);
    }
}

fn is_sealed(core: &Core, id: PackId) -> bool {
    core.packs.known(id).is_some_and(|known| known.state == PackState::Sealed)
}

fn after(id: PackId) -> PackId {
    match id.number.checked_add(1) {
        Some(number) => PackId { number, ..id },
        None => PackId { epoch: id.epoch.saturating_add(1), number: 0 },
    }
}
