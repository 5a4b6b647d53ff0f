//! Repairs: damaged chunks of cartridges here are put back, from their own pool first, then from complete exports in the catalogue.
//!
//! An attempt, in this order, for each pool that was asked for:
//! 1. the store puts back what has another copy in the pool;
//! 2. for each cartridge that still lacks chunks, its exports: those of its present write generation first, then the newest. The manifest must be the
//!    one whose hash is kept here. Of the image only frames that hold lost bytes are fetched;
//! 3. pack by pack the bytes go to the store, which compares each chunk with the fingerprint that it was stored under, and takes nothing else.
//!
//! So an older export helps as far as the tape is the same, and a damaged or forged one does no harm. Nothing is staged and no copy is made: a crash
//! leaves what was put back by then, and the next attempt looks at what is still lost. The checkpoint has nothing but what is to be told at the end.

use std::cmp::Reverse;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use vtl_bundle::Image;
use vtl_cartridge::Cartridge;
use vtl_jobs::{Class, Failure, Outcome, Plan, PlannedTask, Ticket, Wanted, Work};
use vtl_store::{Lost, LostChunk, OwnerId, PutBack, StoreError};
use vtl_transfer::{Pace, Trouble};

use crate::catalogue::{self, Row};
use crate::fail;
use crate::folder::FolderName;
use crate::job::{self, End, Plain, outcome, read as look};
use crate::reach::Reach;
use crate::request::{REPAIR, RepairRequest, RepairResult, Repaired, read, told};
use crate::world::{Held, World};

/// So many reasons are told for a cartridge.
const TOLD: usize = 10;
/// How often and how long it is waited for a collection or another repair.
const BUSY_LOOK: Duration = Duration::from_millis(500);
const BUSY_LOOKS: u32 = 120;

/// The engine.
pub struct Repair {
    world: Arc<dyn World>,
}

impl Work for Repair {
    fn kind(&self) -> &'static str {
        REPAIR
    }

    fn alone(&self) -> bool {
        true
    }

    fn plan(&self, request: &str) -> Result<Plan, Failure> {
        let request: RepairRequest = read(request)?;
        let mut plan = Plan::default();
        for hurt in self.hurt(request.pool.as_deref())? {
            let name = format!("put back chunks of {}", hurt.held.label);
            plan.tasks.push(PlannedTask { name, bytes: hurt.to_put_back() });
            let places: Vec<String> = self.exports(&hurt.held)?.iter().map(place).collect();
            let from =
                if places.is_empty() { "no export of it is known".to_owned() } else { places.join(", ") };
            plan.notes.push(format!("{}: {} bytes cannot be read; {from}", hurt.held.label, hurt.lost.bytes));
        }
        plan.notes.push(
            "what has another copy in its pool is put back from there; from an export only chunks whose hash is known here"
                .to_owned(),
        );
        Ok(plan)
    }

    fn run(&self, ticket: &Ticket) -> Result<Outcome, Failure> {
        outcome(self.attempt(ticket).and_then(|result| Ok(told(&result)?)))
    }

    fn undo(&self, _ticket: &Ticket) -> Result<(), Failure> {
        // What is back is what was lost, and nothing is half done at a safe point.
        Ok(())
    }
}

/// A cartridge, and what it has lost; or why that cannot be told.
struct Hurt {
    held: Held,
    lost: Lost,
    unreadable: Option<String>,
}

impl Hurt {
    fn to_put_back(&self) -> u64 {
        self.lost.chunks.iter().map(bytes_of).sum()
    }
}

fn bytes_of(chunk: &LostChunk) -> u64 {
    chunk.range.end.saturating_sub(chunk.range.start)
}

fn place(row: &Row) -> String {
    format!("{}/{}", row.remote, row.folder)
}

impl Repair {
    /// An engine in this world.
    pub fn new(world: Arc<dyn World>) -> Self {
        Self { world }
    }

    fn attempt(&self, ticket: &Ticket) -> Result<RepairResult, Trouble> {
        let request: RepairRequest = read(ticket.request())?;
        let pool = request.pool.as_deref();
        ticket.set_tasks(&["put back"]);
        // What an earlier attempt has told stays told.
        let mut result: RepairResult = serde_json::from_slice(&ticket.checkpoint()).unwrap_or_default();
        self.within_pools(pool, &mut result)?;
        let hurt = self.hurt(pool)?;
        let pace = Plain::new(ticket, hurt.iter().map(Hurt::to_put_back).sum());
        result.cartridges.iter_mut().for_each(Repaired::presume_whole);
        let places: Vec<usize> = hurt.iter().map(|one| result.place_of(one)).collect();
        let mut passing = None;
        for (one, at) in hurt.iter().zip(places) {
            save(ticket, &result)?;
            let Some(told) = result.cartridges.get_mut(at) else { continue };
            let may_pass = self.repair(&pace, one, told)?;
            if told.remaining_bytes > 0 {
                passing = passing.or(may_pass);
            }
        }
        save(ticket, &result)?;
        if !hurt.is_empty() {
            // What came back for one may be what another one lacks; and the scrub looks again.
            patiently(ticket, || self.within_pools(pool, &mut result))?;
        }
        // A remote that cannot be reached now is tried again; what it could not give is told if it stays so.
        if let Some(failure) = passing {
            let message = format!("{}; {}", summary(&result), failure.message);
            return Err(Failure { message, ..failure }.into());
        }
        ticket.task_done(0);
        Ok(result)
    }

    fn within_pools(&self, pool: Option<&str>, result: &mut RepairResult) -> Result<(), Failure> {
        for report in self.world.repair(pool)? {
            result.readable += report.readable;
            result.healed += report.healed;
            result.mended += report.mended;
        }
        Ok(())
    }

    /// Cartridges that lack something.
    fn hurt(&self, pool: Option<&str>) -> Result<Vec<Hurt>, Failure> {
        let mut hurt = Vec::new();
        for held in self.world.held(pool)? {
            let (lost, unreadable) = match held.store.lost(OwnerId(held.id.0)) {
                Ok(lost) => (lost, None),
                Err(error) => (Lost::default(), Some(error.to_string())),
            };
            if lost.bytes > 0 || unreadable.is_some() {
                hurt.push(Hurt { held, lost, unreadable });
            }
        }
        Ok(hurt)
    }

    /// Its exports, the most promising first.
    fn exports(&self, held: &Held) -> Result<Vec<Row>, Failure> {
        let generation = Cartridge::inspect(&held.store, held.id).map(|facts| facts.generation).ok();
        let mut rows = look(&*self.world, |tx| Ok(catalogue::of_cartridge(tx, held.id)?))?;
        rows.sort_by_key(|row| Reverse((Some(row.generation) == generation, row.made_s)));
        Ok(rows)
    }

    /// Repairs one cartridge, as far as its exports go; the failure that may pass, if there was one.
    fn repair(&self, pace: &Plain<'_>, hurt: &Hurt, told: &mut Repaired) -> Result<Option<Failure>, Trouble> {
        let held = &hurt.held;
        let mut passing = None;
        if let Some(why) = &hurt.unreadable {
            told.because(format!(
                "what it has cannot be told, and no export brings that back: {why}; import an export under another label (vtl cartridge import --as)"
            ));
            pace.ticket.note(&told.line());
            return Ok(None);
        }
        let rows = self.exports(held)?;
        if rows.is_empty() {
            told.because(format!("no export of {} is known here", held.label));
        }
        for row in rows {
            let lost = held.lost()?;
            if lost.chunks.is_empty() {
                break;
            }
            let mut from = Taken { told, place: place(&row), back: PutBack::default() };
            let done = self.take_from(&mut from, pace, held, &lost.chunks, &row);
            from.tell();
            match done {
                Ok(()) => {}
                Err(Trouble::Failed(failure)) if failure.class != Class::Busy => {
                    told.because(format!("{}: {}", place(&row), in_words(&failure)));
                    passing = passing.or((failure.class == Class::Temporary).then_some(failure));
                }
                Err(trouble) => return Err(trouble),
            }
        }
        let left = held.lost()?;
        told.remaining_bytes = left.bytes;
        if left.unknown_bytes > 0 {
            told.because(format!(
                "of {} bytes no hash is known here, because a pack or the header of a part of it is gone: import the export under another label (vtl cartridge import --as)",
                left.unknown_bytes
            ));
        }
        pace.ticket.note(&told.line());
        Ok(passing)
    }

    fn take_from(
        &self,
        from: &mut Taken<'_>,
        pace: &Plain<'_>,
        held: &Held,
        chunks: &[LostChunk],
        row: &Row,
    ) -> Result<(), Trouble> {
        let world = &*self.world;
        let end = End::open(world, &row.remote, FolderName::asked(&row.folder)?)?;
        let opened = end.opened(world, pace)?;
        let manifest = &opened.manifest;
        let keys: Vec<String> = manifest.recipients.iter().map(|one| one.key.clone()).collect();
        let private = if manifest.sealed { Some(world.private_key(&keys)?) } else { None };
        let reach = Reach::new(&end, manifest, pace);
        let mut image =
            Image::open(manifest, private.as_ref(), &reach).map_err(|error| fail::bundle(&error))?;
        for pack in chunks.chunk_by(LostChunk::is_beside) {
            let mut brought = Vec::new();
            for chunk in pack {
                if !pace.goes_on() {
                    return Err(Trouble::Stopped);
                }
                // Of an older generation the tape may be shorter.
                if chunk.range.end > manifest.image_bytes {
                    from.back.other += 1;
                    continue;
                }
                match bytes(&mut image, chunk) {
                    Ok(bytes) => brought.push((chunk.clone(), bytes)),
                    Err(error) => match reach.trouble() {
                        None => from.told.because(format!("{}: {error}", from.place)),
                        Some(Trouble::Failed(failure)) if is_of_one_object(&failure) => {
                            from.told.because(format!("{}: {}", from.place, in_words(&failure)));
                        }
                        Some(trouble) => {
                            from.put_back(pace.ticket, held, brought)?;
                            return Err(trouble);
                        }
                    },
                }
                pace.meter.add(bytes_of(chunk));
            }
            from.put_back(pace.ticket, held, brought)?;
        }
        Ok(())
    }
}

/// An object that is gone or cut short is no reason to leave the others alone.
fn is_of_one_object(failure: &Failure) -> bool {
    failure.class == Class::Permanent && ["not-found", "conflict"].contains(&failure.code.as_str())
}

/// Remembers what has been told, for the next attempt.
fn save(ticket: &Ticket, result: &RepairResult) -> Result<(), Failure> {
    job::save_checkpoint(ticket, result)
}

/// Waits for whatever else changes packs: a while here, and then as the manager does.
fn patiently<T>(ticket: &Ticket, mut work: impl FnMut() -> Result<T, Failure>) -> Result<T, Trouble> {
    for _ in 0..BUSY_LOOKS {
        match work() {
            Err(failure) if failure.class == Class::Busy => {
                if ticket.wait(BUSY_LOOK) == Wanted::Stop {
                    return Err(Trouble::Stopped);
                }
            }
            done => return Ok(done?),
        }
    }
    Ok(work()?)
}

/// The bytes of a chunk, from the image.
fn bytes(image: &mut Image<'_, &Reach<'_>>, chunk: &LostChunk) -> Result<Bytes, vtl_bundle::BundleError> {
    let mut bytes = Vec::new();
    image.read(chunk.range.clone(), |part| {
        bytes.extend_from_slice(part);
        io::Result::Ok(())
    })?;
    Ok(bytes.into())
}

impl Held {
    fn lost(&self) -> Result<Lost, Failure> {
        self.store.lost(OwnerId(self.id.0)).map_err(|error| store(&error))
    }
}

/// What is taken from one export for one cartridge.
struct Taken<'a> {
    told: &'a mut Repaired,
    place: String,
    back: PutBack,
}

impl Taken<'_> {
    fn put_back(
        &mut self,
        ticket: &Ticket,
        held: &Held,
        brought: Vec<(LostChunk, Bytes)>,
    ) -> Result<(), Trouble> {
        if brought.is_empty() {
            return Ok(());
        }
        let back = patiently(ticket, || held.store.put_back(brought.clone()).map_err(|error| store(&error)))?;
        self.back.healed += back.healed;
        self.back.healed_bytes += back.healed_bytes;
        self.back.other += back.other;
        self.back.waiting += back.waiting;
        Ok(())
    }

    fn tell(self) {
        let Self { told, place, back } = self;
        told.healed_chunks += back.healed;
        told.healed_bytes += back.healed_bytes;
        if back.other > 0 {
            told.because(format!(
                "{place}: what it has in place of {} chunks is not what was lost",
                back.other
            ));
        }
        if back.waiting > 0 {
            told.because(format!(
                "{} chunks wait: their pack is still written to, or cannot be read in another part (see the log, and ask again after a restart of vtld)",
                back.waiting
            ));
        }
        if back.healed > 0 {
            told.from.push(place);
        }
    }
}

impl RepairResult {
    /// Where this cartridge is in the list; it is entered when it is not.
    fn place_of(&mut self, hurt: &Hurt) -> usize {
        let Hurt { held, lost, .. } = hurt;
        let label = held.label.to_string();
        let at = self.cartridges.iter().position(|one| one.label == label).unwrap_or_else(|| {
            self.cartridges.push(Repaired::of(held.label, &held.pool, lost.bytes));
            self.cartridges.len() - 1
        });
        if let Some(told) = self.cartridges.get_mut(at) {
            told.remaining_bytes = lost.bytes;
        }
        at
    }
}

impl Repaired {
    /// Until it is found to lack something.
    fn presume_whole(&mut self) {
        self.remaining_bytes = 0;
        self.why.clear();
    }

    fn because(&mut self, why: String) {
        if self.why.len() < TOLD && !self.why.contains(&why) {
            self.why.push(why);
        }
    }

    /// The same in a line.
    fn line(&self) -> String {
        let mut line = format!(
            "{}: {} of {} bytes are back, {} cannot be read",
            self.label, self.healed_bytes, self.damaged_bytes, self.remaining_bytes
        );
        for why in &self.why {
            // Writing to a string cannot fail.
            let _ = write!(line, "; {why}");
        }
        line
    }
}

fn summary(result: &RepairResult) -> String {
    let lines: Vec<String> = result.cartridges.iter().map(Repaired::line).collect();
    lines.join("; ")
}

fn in_words(failure: &Failure) -> String {
    match &failure.remedy {
        Some(remedy) => format!("{} ({remedy})", failure.message),
        None => failure.message.clone(),
    }
}

fn store(error: &StoreError) -> Failure {
    match error {
        StoreError::Collecting => fail::busy("a collection or another repair runs"),
        StoreError::ReadOnly { .. } => fail::permanent(
            "conflict",
            error.to_string(),
            "check the disk, then restart vtld: it verifies the pool",
        ),
        _ => fail::temporary("internal", error.to_string(), "see the log, and check the disk of the pool"),
    }
}
