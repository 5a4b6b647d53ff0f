//! Exports.
//!
//! An attempt, in this order:
//! 1. a snapshot of the cartridge; a blank one, and one whose generation lies complete on that remote already, is skipped;
//! 2. a folder that nothing has; folder, bundle id and the sealed data key go into the checkpoint, then the folder is claimed, before anything is sent;
//! 3. objects, each that is whole in the staging folder in the checkpoint, each confirmed one in a row of its own; an attempt that goes on reads the
//!    snapshot from its beginning, passes over what is confirmed and what lies whole in the staging folder, sends that, and makes the rest anew, with new
//!    salts. When the cartridge was written since, the folder is removed and another one begun. A checkpoint may be older than what is there, as one of a
//!    restored inventory is: a folder with a whole manifest that the job has not noted is left as it is, and another one begun;
//! 4. the hash of the manifest into the checkpoint, then the manifest; the claim goes;
//! 5. the row of the catalogue, in one transaction;
//! 6. if that is wanted, proof by the row's hashes, then the cartridge goes here;
//! 7. if that is wanted, a spare, once for each cartridge ([`crate::spare`]).

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use vtl_bundle::{
    Attributes, Identity, MAX_RECIPIENTS, Manifest, ManifestError, Stored, Version, Writer, object_name,
};
use vtl_cartridge::{Facts, Kept, Reading};
use vtl_codec::{Key, PublicKey, Sealer};
use vtl_jobs::{Class, Failure, NewJob, Outcome, Plan, PlannedTask, Ticket, Work};
use vtl_library::{CartridgeState, LibraryError};
use vtl_remote::{Checkpoint, Doing, Error, Mode};
use vtl_transfer::{
    Confirmed, Left, Line, Outbox, Pace, Permission, Trouble, of_ticket, on_remote, send, to_its_end,
};
use vtl_types::{CartridgeId, Label};

use crate::catalogue::{self, Origin, Row, StoredObject};
use crate::fail;
use crate::folder::{FolderName, Remains, claim, free_name, size_of, sizes_in, sweep, unclaim};
use crate::job::{
    self, End, Folders, InUse, Meter, Plain, Undoing, Used, change, hex, id_of, image_bytes_of, known,
    outcome, read as look, remove_folder, staging_of, unhex,
};
use crate::lazy;
use crate::request::{
    EXPORT, ExportRequest, ExportResult, PRUNE, PruneRequest, codec, codec_word, read, told,
};
use crate::sent::{self, Sent};
use crate::spare::{self, SpareRequest, SpareWanted};
use crate::world::{Settings, World};

/// Threads that compress for one job: more than this the hashing of what they give back does not keep up with.
const MAX_THREADS: usize = 4;

fn compressing_threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS)
}

/// More than the head of an object, and those of its first frames.
const OBJECT_BYTES: u64 = 4 << 10;
/// So often a folder is chosen anew when others choose the same one at the same moment.
const CLAIMS: usize = 8;
/// Two that leave a folder to each other begin to look so many seconds apart from it, each by chance.
const APART_S: u8 = 8;
/// Longer nobody waits for the removal of what was half sent when an export has failed.
const ABANDON: Duration = Duration::from_secs(30);

/// zstd's level: more costs more time than the network saves.
const LEVEL: i32 = 1;
/// A key that is none.
pub(crate) const NOBODY: &str = "none";
/// What data keys in checkpoints are sealed along with.
const ABOUT: &[u8] = b"vtl export data key v0";

/// The engine.
pub struct Export {
    world: Arc<dyn World>,
    labels: InUse,
    folders: Arc<Folders>,
}

/// What a job is about, once it has begun: its checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Course {
    /// Number of the format's version that it was begun with.
    #[serde(default)]
    version: u32,
    cartridge: String,
    generation: u64,
    remote: String,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    sign_with: Option<String>,
    chunk_bytes: u64,
    compress: String,
    verify: String,
    delete_after_export: bool,
    #[serde(default)]
    spare: Option<SpareWanted>,
    folder: String,
    bundle: String,
    /// Sealed, base64.
    #[serde(default)]
    data_key: Option<String>,
    /// Confirmed objects, in order: only those of a checkpoint of before each had a row ([`crate::sent`]). What came after them has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    done: Vec<StoredObject>,
    #[serde(default)]
    proof: Option<String>,
    /// What removes half-sent objects.
    began: BTreeMap<String, String>,
    /// Objects that are whole in the staging folder and not confirmed, in order.
    #[serde(default)]
    staged: Vec<Stored>,
    /// Hashes of manifests that were about to be written; the last one is the newest.
    manifests: Vec<String>,
    /// The folder is claimed for it.
    #[serde(default)]
    held: bool,
    /// A claim of this bundle may be in the folder.
    #[serde(default)]
    claiming: bool,
    /// Something of an object was begun there: what is whole and not confirmed may lie there, whatever else is noted.
    #[serde(default)]
    sent: bool,
    /// No object that was begun there has a higher number: what lies there has names up to that one, whatever else is noted.
    #[serde(default)]
    reached: u32,
    /// It is of no checkpoint: no attempt before has sent anything.
    #[serde(skip)]
    is_new: bool,
}

impl Course {
    fn load(ticket: &Ticket) -> Result<Option<Self>, Failure> {
        Ok(job::checkpoint::<Self>(ticket)?.map(Self::with_its_reach))
    }

    /// One of before a mark has its reasons alone.
    fn with_its_reach(self) -> Self {
        let staged = self.staged.iter().map(|object| &object.name);
        let noted = staged.chain(self.began.keys()).filter_map(|name| number_of(name)).max();
        Self {
            sent: self.sent || self.notes_some(),
            reached: self.reached.max(noted.unwrap_or_default()),
            ..self
        }
    }

    /// Something of this object is about to be sent.
    fn begins(&mut self, object: &str) {
        self.sent = true;
        self.reached = self.reached.max(number_of(object).unwrap_or_default());
    }

    /// Whether it names something that was sent, or was about to be.
    fn notes_some(&self) -> bool {
        !self.began.is_empty() || !self.staged.is_empty() || !self.manifests.is_empty()
    }

    fn save(&self, ticket: &Ticket) -> Result<(), Failure> {
        job::save_checkpoint(ticket, self)
    }

    fn version(&self) -> Result<Version, Failure> {
        let unknown = || fail::unreadable("checkpoint", "its format is of a later version");
        Version::from_number(self.version).ok_or_else(unknown)
    }

    fn half_sent(&self) -> Vec<String> {
        self.began.values().cloned().collect()
    }

    /// Confirmed objects, in order, and what was proved of the last one.
    fn confirmed(&self, world: &dyn World) -> Result<(Vec<StoredObject>, Option<String>), Failure> {
        let rows = look(world, |tx| Ok(sent::all(tx, &self.remote, &self.folder)?))?;
        let proof = rows.last().map(|last| last.proof.clone()).or_else(|| self.proof.clone());
        Ok((self.done.iter().cloned().chain(rows.into_iter().map(|row| row.object)).collect(), proof))
    }

    /// How many they are; none when that cannot be told.
    fn count(&self, world: &dyn World) -> u64 {
        let rows = look(world, |tx| Ok(sent::confirmed(tx, &self.remote, &self.folder)?));
        self.done.len() as u64 + rows.unwrap_or(0)
    }

    /// What may be in its folder.
    fn remains(&self, world: &dyn World) -> Result<Remains, Failure> {
        // They have the first numbers, without gaps.
        let confirmed = u32::try_from(self.confirmed(world)?.0.len()).unwrap_or_default();
        Ok(Remains {
            half_sent: self.half_sent(),
            objects: self.reached.max(confirmed),
            bundles: vec![self.bundle.clone()],
            complete: false,
            sealed: self.manifests.first().map(|_| self.bundle.clone()).into_iter().collect(),
        })
    }

    /// Nothing goes on with what is confirmed: it is forgotten. How many objects may be there is noted before, for who removes them.
    fn forget(&self, world: &dyn World, ticket: &Ticket) -> Result<Remains, Failure> {
        let remains = self.remains(world)?;
        let begun = self.sent || remains.objects > 0;
        Self { reached: remains.objects, sent: begun, done: Vec::new(), ..self.clone() }.save(ticket)?;
        change(world, |tx| Ok(sent::forget(tx, &self.remote, &self.folder)?))?;
        Ok(remains)
    }

    /// Whether it may have sent something: to a folder that it holds, or that it began with when none was claimed.
    fn has_begun(&self, world: &dyn World) -> Result<bool, Failure> {
        Ok(self.held || self.sent || !self.confirmed(world)?.0.is_empty())
    }

    fn end(&self, world: &dyn World) -> Result<End, Failure> {
        End::open(world, &self.remote, FolderName::asked(&self.folder)?)
    }
}

/// What checkpoints of all jobs that write to a folder have in common.
#[derive(Deserialize)]
struct Place {
    remote: String,
    folder: String,
}

/// The remote and the folder that a job with this checkpoint writes to.
#[must_use]
pub fn written_to(checkpoint: &[u8]) -> Option<(String, String)> {
    serde_json::from_slice::<Place>(checkpoint).ok().map(|place| (place.remote, place.folder))
}

/// What jobs that have ended have begun to send to a folder and not taken back, as their checkpoints say.
pub(crate) fn left_in(world: &dyn World, remote: &str, folder: &str) -> Result<Remains, Failure> {
    let jobs = job::jobs(world, vtl_jobs::not_done)?;
    let exports = jobs.iter().filter(|job| job.kind == EXPORT);
    let courses = exports.filter_map(|job| serde_json::from_slice::<Course>(&job.checkpoint).ok());
    let mut left = Remains::default();
    for course in courses.filter(|course| course.remote == remote && course.folder == folder) {
        let one = course.with_its_reach().remains(world)?;
        left.half_sent.extend(one.half_sent);
        left.bundles.extend(one.bundles);
        left.objects = left.objects.max(one.objects);
        left.sealed.extend(one.sealed);
    }
    Ok(left)
}

/// What is to be done.
enum Begun {
    Skipped(Box<ExportResult>),
    /// An attempt before has done all of it but for what comes after.
    Complete(Box<Course>, Box<Row>),
    Course(Box<Course>),
}

/// How the folder of a course is found.
enum Standing {
    /// An attempt before has completed the bundle without entering it: its row.
    Complete(Box<Row>),
    /// A manifest is there that this course cannot answer for, and why: nothing may be sent to the folder or removed from it.
    Taken(String),
    /// No manifest is there.
    Open,
}

impl Work for Export {
    fn kind(&self) -> &'static str {
        EXPORT
    }

    fn plan(&self, request: &str) -> Result<Plan, Failure> {
        let request: ExportRequest = read(request)?;
        let label =
            request.label.as_deref().ok_or_else(|| fail::permanent("invalid", "a plan needs a label", ""))?;
        let (world, settings) = (&*self.world, self.world.settings()?);
        let cartridge = find(world, parse(label)?)?;
        let reading =
            Reading::open(&world.store_of(cartridge)?, cartridge).map_err(|error| fail::cartridge(&error))?;
        let facts = reading.facts();
        let wanted = Wanted::of(&request, &settings)?;
        let mut notes = vec![format!(
            "to remote {}, objects of at most {} bytes, compression {}, {}, {}",
            wanted.remote,
            wanted.chunk_bytes,
            wanted.compress,
            wanted.key.as_ref().map_or_else(|| "not encrypted".to_owned(), |key| format!("for key {key}")),
            wanted
                .sign_with
                .as_ref()
                .map_or_else(|| "not signed".to_owned(), |key| format!("signed with {key}"))
        )];
        let bytes = match self.skip(&facts, cartridge, &wanted.remote)? {
            Some((skipped, _)) => {
                notes.push(format!("nothing is to be done: {}", skipped.skipped.unwrap_or_default()));
                0
            }
            None => facts.used_bytes,
        };
        Ok(Plan { tasks: vec![PlannedTask { name: "send".to_owned(), bytes }], notes })
    }

    fn run(&self, ticket: &Ticket) -> Result<Outcome, Failure> {
        let count = |course: Option<Course>| course.map_or(0, |course| course.count(&*self.world));
        let before = count(Course::load(ticket)?);
        let attempt = self.attempt(ticket).and_then(|result| Ok(told(&result)?));
        // Of one that fails it goes in `failed`. How the attempt has ended is not changed by it.
        if attempt.is_ok()
            && let Err(left) = discard(&*self.world, ticket)
        {
            ticket.note(&left.advised());
        }
        outcome(attempt).map_err(|failure| {
            let after = count(Course::load(ticket).ok().flatten());
            let further = failure.class == Class::Temporary && after > before;
            if further { Failure { class: Class::Further, ..failure } } else { failure }
        })
    }

    fn failed(&self, ticket: &Ticket) -> Result<(), Failure> {
        let discarded = discard(&*self.world, ticket);
        let Some(course) = Course::load(ticket)? else { return discarded };
        let prune = prune(&course);
        let gone = let_go(&*self.world, ticket, course, &Plain::new(ticket, 0)).map_err(|failure| {
            let message = format!("{}; they go with the folder: {prune}", failure.message);
            Failure { message, ..failure }
        });
        gone.and(discarded)
    }

    fn undo(&self, ticket: &Ticket) -> Result<(), Failure> {
        let Some(course) = Course::load(ticket)? else { return Ok(()) };
        let pace = Undoing::begin(ticket);
        let discarded = discard(&*self.world, ticket);
        self.take_back_if_begun(ticket, &course, &pace).and(discarded)
    }
}

/// Removes what a crash has left in the staging folder of a job that does not go on.
fn discard(world: &dyn World, ticket: &Ticket) -> Result<(), Failure> {
    let staging = world.settings()?.staging;
    vtl_transfer::discard(&staging, &staging_of(ticket.id())).map_err(|error| {
        fail::temporary(
            "internal",
            format!("the staging folder {}: {error}", staging.display()),
            "check its disk",
        )
    })
}

/// Nothing goes on with what is left of a cancelled export, as its checkpoint is by now.
fn give_up(world: &dyn World, ticket: &Ticket) -> Result<(), Failure> {
    Course::load(ticket)?.map_or(Ok(()), |course| course.forget(world, ticket).map(drop))
}

/// Removes what was half sent, and the claim on a folder to which nothing was ever begun, as far as that is possible now: nothing goes on with them by
/// itself. What stays is in the checkpoint.
fn let_go(world: &dyn World, ticket: &Ticket, mut course: Course, pace: &dyn Pace) -> Result<(), Failure> {
    let is_claim_alone = course.claiming && !course.sent && course.confirmed(world)?.0.is_empty();
    if course.began.is_empty() && !is_claim_alone {
        return Ok(());
    }
    let claim = is_claim_alone.then_some(course.bundle.as_str());
    let abandoned = course
        .end(world)
        .map_err(Trouble::from)
        .and_then(|end| abandon_all(&end, pace, &course.half_sent(), claim));
    match abandoned {
        Ok(()) => {
            course.began.clear();
            course.held &= !is_claim_alone;
            course.claiming &= !is_claim_alone;
            course.save(ticket)
        }
        Err(trouble) => {
            let why = match trouble {
                Trouble::Failed(failure) => failure.message,
                Trouble::Stopped => "it was broken off".to_owned(),
            };
            let what = match course.began.len() {
                0 => "the claim on".to_owned(),
                many => format!("{many} half-sent objects of"),
            };
            let text = format!("{what} folder {} stays on remote {}: {why}", course.folder, course.remote);
            Err(fail::temporary("conflict", text, ""))
        }
    }
}

/// Each of them is tried, and the claim of this bundle; the last error, if there is one.
fn abandon_all(end: &End, pace: &dyn Pace, half_sent: &[String], claim: Option<&str>) -> Result<(), Trouble> {
    on_remote(&end.runtime, pace, async {
        let all = async {
            let mut outcome = Ok(());
            for one in half_sent {
                if let Err(error) = end.remote.abandon(&Checkpoint::new(one.clone())).await {
                    outcome = Err(error);
                }
            }
            if let Some(bundle) = claim {
                unclaim(&*end.remote, &end.name, &end.folder, bundle).await?;
            }
            outcome
        };
        tokio::time::timeout(ABANDON, all).await.unwrap_or_else(|_| {
            let text = format!("it takes more than {} s", ABANDON.as_secs());
            Err(Error::new(vtl_remote::Class::Unavailable, Doing::Abandon, text).on(end.remote.name()))
        })
    })
}

/// Removes an export's own folder, with what a listing that lags does not show.
fn remove_all(
    world: &dyn World,
    ticket: &Ticket,
    end: &End,
    course: &Course,
    pace: &dyn Pace,
) -> Result<(), Trouble> {
    let remains = course.forget(world, ticket)?;
    remove_folder(world, end, pace, &remains).map(drop)
}

/// Takes the claim on a folder back. One that stays is in nobody's way: where it would count, a manifest or objects count, too.
fn release(end: &End, course: &Course, pace: &dyn Pace) {
    let gone = on_remote(&end.runtime, pace, unclaim(&*end.remote, &end.name, &end.folder, &course.bundle));
    if let Err(trouble) = gone {
        tracing::warn!(folder = course.folder, ?trouble, "the claim on a folder stays on the remote");
    }
}

/// Not all of what was sent could be removed, from a folder that was found to be one of an incomplete export.
fn still_there(course: &Course, failure: Failure) -> Failure {
    let message = format!(
        "something of what was sent to folder {} of remote {}, which was found without a manifest, is still there: {}",
        course.folder, course.remote, failure.message
    );
    Failure { message, remedy: Some(prune(course)), ..failure }
}

/// Nothing was removed, because there may be a manifest.
fn not_looked_at(course: &Course, failure: Failure) -> Failure {
    let message = format!(
        "what was sent to folder {} of remote {} is still there, and whether it is complete is not known: {}",
        course.folder, course.remote, failure.message
    );
    let remedy =
        format!("see vtl export ls --remote {}; what is incomplete removes {}", course.remote, prune(course));
    Failure { message, remedy: Some(remedy), ..failure }
}

/// Has a job of its own remove the rest of a folder without a manifest, when this one has ended.
fn hand_over(ticket: &Ticket, course: &Course) {
    let request = PruneRequest {
        remote: course.remote.clone(),
        folder: Some(course.folder.clone()),
        confirm: None,
        left_by: Some(ticket.id().0),
    };
    // Without it, the remedy stays.
    let Ok(request) = told(&request) else { return };
    ticket.follow(NewJob {
        key: format!("{PRUNE}:left-by:{}", ticket.id()),
        kind: PRUNE.to_owned(),
        label: FolderName::asked(&course.folder).ok().map(|name| name.label.to_string()),
        request,
        before: vec![("note", format!("what job {} has left goes, for it was cancelled", ticket.id()))],
        ..NewJob::default()
    });
}

fn prune(course: &Course) -> String {
    format!("vtl export prune --remote {} --folder {}", course.remote, course.folder)
}

/// What is wanted, with nothing left open.
struct Wanted {
    remote: String,
    key: Option<String>,
    sign_with: Option<String>,
    chunk_bytes: u64,
    compress: String,
    verify: Mode,
    delete_after_export: bool,
    spare: Option<SpareRequest>,
}

impl Wanted {
    fn of(request: &ExportRequest, settings: &Settings) -> Result<Self, Failure> {
        let defaults = &settings.defaults;
        let remote = request.remote.clone().or_else(|| defaults.remote.clone());
        let remote = remote.ok_or_else(|| {
            fail::permanent("invalid", "no remote is named", "name one with --remote, or set migrate.remote")
        })?;
        let compress = match &request.compress {
            Some(word) => codec_word(codec(word)?),
            None => codec_word(defaults.compress),
        };
        let verify = match &request.verify {
            Some(word) => mode(word)?,
            None => settings.verify,
        };
        Ok(Self {
            remote,
            key: named(request.key.as_ref(), defaults.key.as_ref()),
            sign_with: named(request.sign_with.as_ref(), defaults.sign_with.as_ref()),
            chunk_bytes: request.chunk_bytes.unwrap_or(defaults.chunk_bytes),
            compress: compress.to_owned(),
            verify,
            delete_after_export: request.delete_after_export.unwrap_or(defaults.delete_after_export),
            spare: request.spare.clone(),
        })
    }
}

fn named(asked: Option<&String>, otherwise: Option<&String>) -> Option<String> {
    asked.or(otherwise).filter(|name| *name != NOBODY).cloned()
}

fn mode(word: &str) -> Result<Mode, Failure> {
    word.parse().map_err(|why: String| fail::permanent("invalid", why, "choose one of them"))
}

fn parse(label: &str) -> Result<Label, Failure> {
    label.parse().map_err(|why: vtl_types::LabelError| {
        fail::permanent("invalid", why.to_string(), "see vtl cartridge ls")
    })
}

/// The id of a cartridge that can be used, and is here as a whole.
fn find(world: &dyn World, label: Label) -> Result<CartridgeId, Failure> {
    let (cartridge, quarantined, lazy) = look(world, |tx| {
        let cartridge = vtl_library::cartridge(tx, label)?;
        let quarantined = vtl_library::quarantined(tx, cartridge.id)?;
        let lazy = lazy::of(tx, cartridge.id)?;
        Ok((cartridge, quarantined, lazy))
    })?;
    match cartridge.state {
        CartridgeState::Normal if lazy.is_some() => {
            Err(fail::busy(format!("not all of {label} is here: it is exported when its import has ended")))
        }
        CartridgeState::Normal => match quarantined {
            None => Ok(cartridge.id),
            // An export would be ours, and signed as ours.
            Some(why) => Err(fail::inventory(&LibraryError::Quarantined { label, why })),
        },
        CartridgeState::Removing => Err(fail::permanent(
            "conflict",
            format!("{label} is in the trash"),
            "take it back first: vtl cartridge restore LABEL",
        )),
    }
}

/// The row that this job has written.
fn recorded(world: &dyn World, course: &Course) -> Result<Option<Row>, Failure> {
    let id = id_of(&course.cartridge)?;
    Ok(known(world, &course.remote, &course.folder)?.into_iter().find(|row| row.cartridge == id))
}

impl Export {
    /// An engine in this world, with the folders that others are at.
    pub fn new(world: Arc<dyn World>, folders: Arc<Folders>) -> Self {
        Self { world, labels: InUse::default(), folders }
    }

    fn attempt(&self, ticket: &Ticket) -> Result<ExportResult, Trouble> {
        let world = &*self.world;
        let request: ExportRequest = read(ticket.request())?;
        let label = ticket.label().or(request.label.as_deref());
        let label = parse(label.ok_or_else(|| fail::unreadable("request", "it names no cartridge"))?)?;
        let _alone = self.labels.take(label.as_str())?;
        ticket.set_tasks(&["send"]);
        let before = Course::load(ticket)?;
        // Until it comes back: nobody else here removes the folder meanwhile.
        let held = before.as_ref().map(|course| self.folders.take(&course.remote, &course.folder));
        let mut held = held.transpose()?;
        if let Some(course) = &before
            && let Some(row) = recorded(world, course)?
        {
            return self.after(ticket, course, &row);
        }
        let id = find(world, label)?;
        let reading = Reading::open(&world.store_of(id)?, id).map_err(|error| fail::cartridge(&error))?;
        let facts = reading.facts();
        let course = match self.course(ticket, &request, before, id, &facts, &mut held)? {
            Begun::Skipped(result) => {
                ticket.task_done(0);
                return Ok(*result);
            }
            Begun::Complete(course, row) => return self.after(ticket, &course, &row),
            Begun::Course(course) => *course,
        };
        let row = self.complete(ticket, course, reading, &facts)?;
        let course = Course::load(ticket)?.ok_or_else(|| fail::unreadable("checkpoint", "it is gone"))?;
        self.after(ticket, &course, &row)
    }

    /// Why there is nothing to do, if there is not; with the row that says so.
    fn skip(
        &self,
        facts: &Facts,
        id: CartridgeId,
        remote: &str,
    ) -> Result<Option<(ExportResult, Option<Row>)>, Failure> {
        let skipped = |why: &str| ExportResult {
            skipped: Some(why.to_owned()),
            remote: remote.to_owned(),
            generation: facts.generation,
            image_bytes: facts.used_bytes,
            ..ExportResult::default()
        };
        if facts.objects == 0 {
            return Ok(Some((skipped("blank"), None)));
        }
        let rows = look(&*self.world, |tx| Ok(catalogue::of_cartridge(tx, id)?))?;
        let same = rows.into_iter().find(|row| row.remote == remote && row.generation == facts.generation);
        let told = |row: Row| {
            let result = ExportResult { folder: Some(row.folder.clone()), ..skipped("unchanged") };
            (result, Some(row))
        };
        Ok(same.map(told))
    }

    /// Whether the bundle of a row is there still: its manifest is, which a removal takes first. What is not is forgotten.
    fn is_there(&self, ticket: &Ticket, row: &Row) -> Result<bool, Trouble> {
        let world = &*self.world;
        let end = End::open(world, &row.remote, FolderName::asked(&row.folder)?)?;
        let found = end.manifest(&Plain::new(ticket, 0))?.map(|bytes| hex(&Sha256::digest(&bytes)));
        if found.is_some_and(|sha256| row.has_manifest(&sha256)) {
            return Ok(true);
        }
        ticket.note(&format!("folder {} is not there any more as it was: it is exported anew", row.folder));
        change(world, |tx| Ok(catalogue::forget(tx, &row.remote, &row.folder)?))?;
        Ok(false)
    }

    /// The course to follow: that of the attempts before, while it is of what is on the cartridge now, else a new one. Its folder is `held` then.
    fn course<'a>(
        &'a self,
        ticket: &Ticket,
        request: &ExportRequest,
        before: Option<Course>,
        id: CartridgeId,
        facts: &Facts,
        held: &mut Option<Used<'a>>,
    ) -> Result<Begun, Trouble> {
        let world = &*self.world;
        if let Some(course) = before
            && let Some(begun) = self.going_on(ticket, course, id, facts)?
        {
            return Ok(begun);
        }
        let settings = world.settings()?;
        let wanted = Wanted::of(request, &settings)?;
        if let Some((result, row)) = self.skip(facts, id, &wanted.remote)?
            && row.map_or(Ok(true), |row| self.is_there(ticket, &row))?
        {
            return Ok(Begun::Skipped(Box::new(result)));
        }
        if let Some(library) = &request.library {
            world.vaulted(ticket, facts.label, library, facts.used_bytes)?;
        }
        let mut from_s = world.unix_s();
        for _ in 0..CLAIMS {
            let mut course = self.begin(ticket, &wanted, id, facts, from_s)?;
            // The one before is done with, and may be the same.
            drop(held.take());
            *held = Some(self.folders.take(&course.remote, &course.folder)?);
            // Of an export that had this folder once, and whose folder somebody else has removed.
            change(world, |tx| Ok(sent::forget(tx, &course.remote, &course.folder)?))?;
            course.save(ticket)?;
            let end = course.end(world)?;
            if self.holds(ticket, &end, &mut course)? {
                return Ok(Begun::Course(Box::new(course)));
            }
            ticket.note(&format!("somebody else has chosen folder {} at the same moment", course.folder));
            from_s = from_s.saturating_add(apart_s(&course));
        }
        Err(fail::busy(format!(
            "each folder that is chosen on remote {} is chosen by somebody else at the same moment",
            wanted.remote
        ))
        .into())
    }

    /// What comes of the course of the attempts before; nothing when another folder is to be begun.
    fn going_on(
        &self,
        ticket: &Ticket,
        mut course: Course,
        id: CartridgeId,
        facts: &Facts,
    ) -> Result<Option<Begun>, Trouble> {
        let world = &*self.world;
        let (end, pace) = (course.end(world)?, Plain::new(ticket, 0));
        let given_up = self.given_up(&end, &course, id, facts, &pace)?;
        let has_begun = course.has_begun(world)?;
        match (self.standing(&end, &course, &pace)?, given_up) {
            // It stays, and is what it was: of the generation that it began with.
            (Standing::Complete(row), given_up) => {
                self.settle(&end, &course, &row, &pace)?;
                Ok(given_up.is_none().then(|| Begun::Complete(Box::new(course), row)))
            }
            (Standing::Taken(why), _) => {
                self.leave(ticket, &end, course, &format!("{why}; another one is begun"), &pace)?;
                Ok(None)
            }
            (Standing::Open, Some(why)) if has_begun => {
                ticket.note(&format!("{why}; the folder is given up and another one begun"));
                remove_all(world, ticket, &end, &course, &pace)?;
                Ok(None)
            }
            (Standing::Open, Some(why)) => {
                self.leave(ticket, &end, course, &why, &pace)?;
                Ok(None)
            }
            (Standing::Open, None) if self.holds(ticket, &end, &mut course)? => {
                Ok(Some(Begun::Course(Box::new(course))))
            }
            (Standing::Open, None) => {
                self.leave(ticket, &end, course, "somebody else writes to it; another one is begun", &pace)?;
                Ok(None)
            }
        }
    }

    /// Claims the folder for the course, if it has not; whether it has it.
    fn holds(&self, ticket: &Ticket, end: &End, course: &mut Course) -> Result<bool, Trouble> {
        if course.held {
            return Ok(true);
        }
        let sent_before = course.has_begun(&*self.world)?;
        course.claiming = true;
        course.save(ticket)?;
        let claiming = claim(&*end.remote, &end.name, &end.folder, &course.bundle, sent_before);
        if !on_remote(&end.runtime, &Plain::new(ticket, 0), claiming)? {
            return Ok(false);
        }
        course.held = true;
        course.save(ticket)?;
        Ok(true)
    }

    /// What a cancelled export has sent goes, unless it is complete, as far as there is time for it.
    fn take_back_if_begun(
        &self,
        ticket: &Ticket,
        course: &Course,
        pace: &Undoing<'_>,
    ) -> Result<(), Failure> {
        let world = &*self.world;
        if recorded(world, course)?.is_some() {
            // It was complete; what was cancelled is what would have come after.
            return Ok(());
        }
        let looked = self.folders.take_in_time(&course.remote, &course.folder, pace).and_then(|held| {
            let end = course.end(world)?;
            let standing = self.standing(&end, course, pace)?;
            Ok((held, end, standing))
        });
        let gone = match looked {
            Ok((_held, end, standing)) => {
                self.take_back(ticket, &end, course, standing, pace).map_err(|trouble| pace.failure(trouble))
            }
            Err(trouble) => Err(not_looked_at(course, pace.failure(trouble))),
        };
        if gone.is_err()
            && let Err(why) = give_up(world, ticket)
        {
            ticket.note(&why.message);
        }
        gone
    }

    /// Takes back what a cancelled export has sent, but for what is complete or not its own.
    fn take_back(
        &self,
        ticket: &Ticket,
        end: &End,
        course: &Course,
        standing: Standing,
        pace: &Undoing<'_>,
    ) -> Result<(), Trouble> {
        let world = &*self.world;
        match standing {
            // Only not entered yet: what was cancelled is what would have come after.
            Standing::Complete(row) => self.settle(end, course, &row, pace),
            Standing::Taken(why) => self.leave(ticket, end, course.clone(), &why, pace),
            Standing::Open if course.has_begun(world)? => remove_all(world, ticket, end, course, pace)
                .map_err(|trouble| {
                    if trouble.may_pass() {
                        hand_over(ticket, course);
                    }
                    still_there(course, pace.failure(trouble)).into()
                }),
            Standing::Open => self.leave(ticket, end, course.clone(), "nothing was sent to it", pace),
        }
    }

    /// Leaves a folder as it is, but for what this export has half sent and its claim.
    fn leave(
        &self,
        ticket: &Ticket,
        end: &End,
        course: Course,
        why: &str,
        pace: &dyn Pace,
    ) -> Result<(), Trouble> {
        let world = &*self.world;
        ticket.note(&format!("folder {} of remote {} is left as it is: {why}", course.folder, course.remote));
        change(world, |tx| Ok(sent::forget(tx, &course.remote, &course.folder)?))?;
        release(end, &course, pace);
        // Nothing in it counts as this export's any more.
        let course = Course { sent: false, reached: 0, staged: Vec::new(), ..course };
        course.save(ticket)?;
        if let Err(left) = let_go(world, ticket, course, pace) {
            ticket.note(&left.message);
        }
        Ok(())
    }

    fn begin(
        &self,
        ticket: &Ticket,
        wanted: &Wanted,
        id: CartridgeId,
        facts: &Facts,
        from_s: u64,
    ) -> Result<Course, Trouble> {
        let world = &*self.world;
        let remote = world.remote(&wanted.remote)?;
        let in_use = world.written_to()?;
        let used = |folder: &str| {
            let writes = in_use.iter().any(|(at, one)| *at == wanted.remote && one == folder);
            // What cannot be read is found on the remote.
            writes || known(world, &wanted.remote, folder).is_ok_and(|rows| !rows.is_empty())
        };
        let pace = Plain::new(ticket, facts.used_bytes);
        let name = on_remote(&world.runtime()?, &pace, free_name(&*remote, facts.label, from_s, used))??;
        recipients(world, wanted.key.as_deref())?;
        wanted.sign_with.as_ref().map(|name| world.signing_key(name)).transpose()?;
        let no_random =
            |why: std::io::Error| fail::temporary("internal", format!("no random bytes: {why}"), "");
        let identity = Identity::new(&world.random(), wanted.key.is_some()).map_err(no_random)?;
        let data_key = identity.data_key.as_ref().map(|key| self.seal(&identity.bundle, key)).transpose()?;
        Ok(Course {
            version: Version::default().number(),
            cartridge: id.to_string(),
            generation: facts.generation,
            remote: wanted.remote.clone(),
            key: wanted.key.clone(),
            sign_with: wanted.sign_with.clone(),
            chunk_bytes: wanted.chunk_bytes,
            compress: wanted.compress.clone(),
            verify: wanted.verify.to_string(),
            delete_after_export: wanted.delete_after_export,
            spare: wanted.spare.clone().map(|spare| SpareWanted::new(spare, facts.capacity_bytes)),
            folder: name.to_string(),
            bundle: hex(&identity.bundle),
            data_key,
            done: Vec::new(),
            proof: None,
            began: BTreeMap::new(),
            staged: Vec::new(),
            manifests: Vec::new(),
            held: false,
            claiming: false,
            sent: false,
            reached: 0,
            is_new: true,
        })
    }

    fn sealer(&self) -> Result<Sealer, Failure> {
        Ok(Sealer::new(&self.world.checkpoint_key()?, ABOUT.to_vec(), self.world.random()))
    }

    fn seal(&self, bundle: &[u8; 16], key: &Key) -> Result<String, Failure> {
        let mut text = key.expose().to_vec();
        let sealed = self.sealer()?.seal(bundle, &mut text);
        sealed.map_err(|why| {
            fail::temporary("internal", format!("the data key could not be sealed: {why}"), "")
        })?;
        Ok(STANDARD.encode(text))
    }

    fn identity(&self, course: &Course) -> Result<Identity, Failure> {
        let lost = || fail::unreadable("checkpoint", "its data key does not open");
        let bundle = unhex(&course.bundle).ok_or_else(lost)?;
        let data_key = match &course.data_key {
            None => None,
            Some(sealed) => {
                let mut text = STANDARD.decode(sealed).map_err(|_| lost())?;
                self.sealer()?.open(&bundle, &mut text).map_err(|_| lost())?;
                let key = <[u8; 32]>::try_from(text.as_slice()).map_err(|_| lost())?;
                Some(Key::new(key))
            }
        };
        Ok(Identity { bundle, data_key })
    }

    /// The bundle is complete when this returns, and the catalogue has it.
    fn complete(
        &self,
        ticket: &Ticket,
        mut course: Course,
        reading: Reading,
        facts: &Facts,
    ) -> Result<Row, Trouble> {
        let world = &*self.world;
        let end = course.end(world)?;
        let image_bytes = facts.used_bytes;
        let (done, proof) = course.confirmed(world)?;
        // What is confirmed is complete, whatever an older checkpoint says: nothing of it is to be abandoned.
        let is_done = |name: &str| done.iter().any(|stored| stored.object.name == name);
        course.began.retain(|name, _| !is_done(name));
        course.staged.retain(|object| !is_done(&object.name));
        course.staged.truncate(next_in_order(facts.label, done.len(), &course.staged));
        let pace = Exporting::new(ticket, world, course, done, proof, image_bytes);
        self.send(ticket, &end, &pace, reading, facts)?;
        let course = pace.course().clone();
        let sha256 = course.manifests.last().cloned().unwrap_or_default();
        let Done { objects, proof } = pace.done().clone();
        let row = Row {
            remote: course.remote.clone(),
            folder: course.folder.clone(),
            cartridge: id_of(&course.cartridge)?,
            label: facts.label,
            generation: course.generation,
            origin: Origin::Export,
            made_s: world.unix_s(),
            image_bytes,
            stored_bytes: objects.iter().map(|stored| stored.object.bytes).sum(),
            manifest_sha256: sha256,
            proof: proof.unwrap_or_default(),
            objects,
        };
        self.settle(&end, &course, &row, &pace)?;
        Ok(row)
    }

    /// A bundle is complete: the claim goes, for the manifest keeps the folder from now on, and the row comes.
    fn settle(&self, end: &End, course: &Course, row: &Row, pace: &dyn Pace) -> Result<(), Trouble> {
        release(end, course, pace);
        Ok(self.enter(row)?)
    }

    /// The row of a bundle that is complete; what was noted of it on its way goes.
    fn enter(&self, row: &Row) -> Result<(), Failure> {
        change(&*self.world, |tx| {
            sent::forget(tx, &row.remote, &row.folder)?;
            Ok(catalogue::put(tx, row)?)
        })
    }

    /// What is in the folder of a course by its manifest. It is asked for also when the checkpoint knows of none: the checkpoint may be older.
    fn standing(&self, end: &End, course: &Course, pace: &dyn Pace) -> Result<Standing, Trouble> {
        let Some(bytes) = end.manifest_at_once(pace)? else { return Ok(Standing::Open) };
        let taken = |what: &str| Ok(Standing::Taken(format!("it has {what}")));
        let manifest = match Manifest::decode(&bytes, None) {
            Ok((manifest, _)) => manifest,
            Err(ManifestError::Field { .. }) => return taken("a manifest that is of another version"),
            Err(_) if course.manifests.is_empty() => {
                return taken("a manifest that cannot be read, and that this job has not written");
            }
            Err(_) => {
                // Ours, damaged on its way: it is written anew.
                let name = end.folder.object(&vtl_bundle::manifest_name(end.name.label));
                let name = name.map_err(|why| fail::permanent("invalid", why.to_string(), ""))?;
                to_its_end(&end.runtime, pace, end.remote.delete(&name))?;
                return Ok(Standing::Open);
            }
        };
        if hex(&manifest.bundle) != course.bundle {
            return taken("the manifest of another bundle");
        }
        if course.manifests.is_empty() {
            return taken("a whole manifest, of which the checkpoint of this job does not know");
        }
        let (objects, proof) = course.confirmed(&*self.world)?;
        if !objects.iter().map(|stored| &stored.object).eq(&manifest.objects) {
            return taken("the manifest of other objects than those that were confirmed");
        }
        if let Some(name) = missing(end, &objects, pace)? {
            return taken(&format!("a manifest, and {name} is not there as it was confirmed"));
        }
        let row = Row {
            remote: course.remote.clone(),
            folder: course.folder.clone(),
            cartridge: id_of(&course.cartridge)?,
            label: manifest.label,
            generation: course.generation,
            origin: Origin::Export,
            made_s: self.world.unix_s(),
            image_bytes: manifest.image_bytes,
            stored_bytes: objects.iter().map(|stored| stored.object.bytes).sum(),
            manifest_sha256: hex(&Sha256::digest(&bytes)),
            proof: proof.unwrap_or_default(),
            objects,
        };
        Ok(Standing::Complete(Box::new(row)))
    }

    /// Why a course is not gone on with; nothing when it is.
    fn given_up(
        &self,
        end: &End,
        course: &Course,
        id: CartridgeId,
        facts: &Facts,
        pace: &dyn Pace,
    ) -> Result<Option<String>, Trouble> {
        if course.cartridge != id.to_string() || course.generation != facts.generation {
            return Ok(Some("the cartridge was written since".to_owned()));
        }
        match self.identity(course) {
            Ok(_) => {}
            Err(failure) if failure.class == Class::Permanent => return Ok(Some(failure.message)),
            Err(failure) => return Err(failure.into()),
        }
        let (objects, _) = course.confirmed(&*self.world)?;
        let missing = missing(end, &objects, pace)?;
        Ok(missing.map(|name| format!("{name} is not on the remote as it was confirmed")))
    }

    fn send(
        &self,
        ticket: &Ticket,
        end: &End,
        pace: &Exporting<'_>,
        mut reading: Reading,
        facts: &Facts,
    ) -> Result<(), Trouble> {
        let course = pace.course().clone();
        let recipients = recipients(&*self.world, course.key.as_deref())?;
        let signing = course.sign_with.as_ref().map(|name| self.world.signing_key(name)).transpose()?;
        let identity = self.identity(&course)?;
        let (codec, verify) = (codec(&course.compress)?, mode(&course.verify)?);
        let (staging, left) = end.staging_again(ticket, &course.staged, pace)?;
        let mut done: Vec<Stored> = pace.done().objects.iter().map(|stored| stored.object.clone()).collect();
        let confirmed = done.len() as u64;
        done.extend(left.iter().map(|left| left.object().clone()));
        // The first word of an upload is in the checkpoint alone.
        let left = left.into_iter().map(|one| {
            let began = course.began.get(&one.object().name);
            one.or_upload(began.map(|text| Checkpoint::new(text.clone())))
        });
        let left: Vec<Left> = left.collect();
        let settings = vtl_bundle::Settings {
            version: course.version()?,
            label: facts.label,
            created: end.name.created.clone(),
            generation: course.generation,
            attributes: attributes(&reading, facts),
            codec,
            level: LEVEL,
            chunk_bytes: course.chunk_bytes,
            recipients,
            signing,
            random: self.world.random(),
        };
        if let Err(trouble) = abandon(end, pace, &course, &left) {
            if trouble.may_pass() {
                left.into_iter().for_each(Left::leave);
                staging.leave();
            }
            return Err(trouble);
        }
        let line = Line { verify, ..end.line(&staging) };
        let most = course.chunk_bytes.min(most_stored(facts.used_bytes));
        let sent = send(line, confirmed, left, most, pace, |outbox| {
            let writer = Writer::resume(settings, identity, done, outbox);
            let writer = writer.map_err(|error| fail::write(&error))?;
            let streams = end.remote.streams().is_some();
            let read = |bytes| {
                if streams {
                    pace.meter.read(bytes);
                }
            };
            pack(writer.with_threads(compressing_threads()), &mut reading, pace, &read)
        });
        if sent.as_ref().is_err_and(Trouble::may_pass) {
            staging.leave();
        }
        sent
    }

    /// What comes after a complete bundle.
    fn after(&self, ticket: &Ticket, course: &Course, row: &Row) -> Result<ExportResult, Trouble> {
        let mut result = ExportResult {
            exported: true,
            skipped: None,
            remote: row.remote.clone(),
            folder: Some(row.folder.clone()),
            generation: row.generation,
            objects: row.objects.len() as u64,
            stored_bytes: row.stored_bytes,
            image_bytes: row.image_bytes,
            proof: Some(row.proof.clone()),
            signed_with: course.sign_with.clone(),
            ..ExportResult::default()
        };
        let is_here = look(&*self.world, |tx| vtl_library::cartridge_by_id(tx, row.cartridge))?.is_some();
        if course.delete_after_export && !is_here {
            // Before a crash.
            result.deleted_here = true;
        } else if course.delete_after_export {
            let end = course.end(&*self.world)?;
            let pace = Plain::new(ticket, row.image_bytes);
            let gone = end
                .prove(row, mode(&course.verify)?, &pace)
                .and_then(|()| Ok(self.world.delete_here(row.cartridge, row.generation)?));
            match gone {
                Ok(()) => result.deleted_here = true,
                Err(Trouble::Failed(failure)) if failure.class == Class::Permanent => {
                    let why = failure.advised();
                    ticket.note(&format!("the cartridge stays here: {why}"));
                    result.kept_because = Some(why);
                }
                Err(trouble) => return Err(trouble),
            }
        }
        if let Some(wanted) = &course.spare {
            match spare::make(&*self.world, ticket, (row.cartridge, row.label), wanted) {
                Ok(label) => result.spare = Some(label),
                Err(why) => {
                    ticket.note(&format!("there is no spare: {why}"));
                    result.no_spare_because = Some(why);
                }
            }
        }
        ticket.progress(0, row.image_bytes, row.image_bytes);
        ticket.task_done(0);
        Ok(result)
    }
}

/// The keys of a list with commas. Who asks anew names them without blanks; a checkpoint of before may have some.
///
/// # Errors
/// One is not here, or is no name; a key stands there twice; they are more than a bundle can have.
pub(crate) fn recipients(world: &dyn World, names: Option<&str>) -> Result<Vec<PublicKey>, Failure> {
    let names: Vec<&str> = names.into_iter().flat_map(|names| names.split(',')).map(str::trim).collect();
    if names.len() > MAX_RECIPIENTS {
        let text = format!("{} keys are named, one export takes {MAX_RECIPIENTS}", names.len());
        return Err(fail::permanent("invalid", text, "leave some of them out"));
    }
    let mut keys: Vec<PublicKey> = Vec::with_capacity(names.len());
    for name in names {
        let key = world.public_key(name)?;
        if keys.iter().any(|other| other.fingerprint() == key.fingerprint()) {
            let text = format!("key {name} is named twice, or another one with the same content is");
            return Err(fail::permanent("invalid", text, "name each key once"));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// The first confirmed object that is not there: the remote of this name may be another place by now, and others can remove a folder. What a listing
/// lacks is asked for by its name.
fn missing(end: &End, objects: &[StoredObject], pace: &dyn Pace) -> Result<Option<String>, Trouble> {
    if objects.is_empty() {
        return Ok(None);
    }
    let there = on_remote(&end.runtime, pace, sizes_in(&*end.remote, &end.folder))?;
    for Stored { name, bytes, .. } in objects.iter().map(|one| &one.object) {
        if there.get(name) == Some(bytes) {
            continue;
        }
        if !pace.goes_on() {
            return Err(Trouble::Stopped);
        }
        let object = end.folder.object(name);
        let object = object.map_err(|why| fail::permanent("invalid", why.to_string(), ""))?;
        if on_remote(&end.runtime, pace, size_of(&*end.remote, &object))? != Some(*bytes) {
            return Ok(Some(name.clone()));
        }
    }
    Ok(None)
}

/// Seconds until another folder is tried for, by the chance that has made the bundle's id.
fn apart_s(course: &Course) -> u64 {
    let id: [u8; 16] = unhex(&course.bundle).unwrap_or_default();
    u64::from(1 + id.iter().fold(0_u8, |sum, byte| sum ^ byte) % APART_S)
}

/// Which one an object is, by its name.
fn number_of(object: &str) -> Option<u32> {
    object.rsplit_once('.').and_then(|(_, number)| number.parse().ok())
}

/// How many of these come one after the other behind so many that are confirmed.
fn next_in_order(label: Label, confirmed: usize, staged: &[Stored]) -> usize {
    let names = (confirmed..).map(|at| u32::try_from(at + 1).map(|number| object_name(label, number)));
    staged.iter().zip(names).take_while(|(object, name)| name.as_ref() == Ok(&object.name)).count()
}

/// Removes what attempts before have half sent, but for what is gone on with: it is made anew.
fn abandon(end: &End, pace: &Exporting<'_>, course: &Course, left: &[Left]) -> Result<(), Trouble> {
    let goes_on = |name: &str| left.iter().any(|left| left.object().name == name);
    on_remote(&end.runtime, pace, async {
        for (_, checkpoint) in course.began.iter().filter(|(name, _)| !goes_on(name)) {
            end.remote.abandon(&Checkpoint::new(checkpoint.clone())).await?;
        }
        // Where listings hide it, nothing that was half sent can be gone on with. What a new export finds is another server's, which has
        // chosen the same name.
        if course.is_new { Ok(()) } else { sweep(&*end.remote, &end.folder).await }
    })?;
    if course.staged.len() == left.len() && course.began.keys().all(|name| goes_on(name)) {
        return Ok(());
    }
    Ok(pace.keep(|course| {
        course.began.retain(|name, _| goes_on(name));
        course.staged.retain(|object| goes_on(&object.name));
    })?)
}

/// The most that an image of so many bytes becomes as one object. What does not compress grows by less than a thousandth, and by what every object has.
const fn most_stored(image_bytes: u64) -> u64 {
    image_bytes.saturating_add(image_bytes / 1000).saturating_add(OBJECT_BYTES)
}

/// Everything that is on the tape, through the writer; `read` is told how much it was.
fn pack(
    mut writer: Writer<&mut Outbox<'_, '_>>,
    reading: &mut Reading,
    pace: &dyn Pace,
    read: &dyn Fn(u64),
) -> Result<(), Trouble> {
    let failed = |error: vtl_bundle::WriteError| Trouble::from(fail::write(&error));
    loop {
        if !pace.goes_on() {
            return Err(Trouble::Stopped);
        }
        match reading.next_object().map_err(|error| fail::cartridge(&error))? {
            Kept::EndOfData => break,
            Kept::Filemark => writer.filemarks(1).map_err(failed)?,
            Kept::Block(portions) => {
                writer.block_of(&portions).map_err(failed)?;
                read(writer.image_bytes());
            }
        }
    }
    writer.finish().map(drop).map_err(failed)
}

/// What the inside of the manifest says of the cartridge beside its content. Import reads it.
fn attributes(reading: &Reading, facts: &Facts) -> Attributes {
    let fixed = [
        ("serial", facts.serial.clone()),
        ("capacity_bytes", facts.capacity_bytes.to_string()),
        ("early_warning_bytes", facts.early_warning_bytes.to_string()),
        ("created_s", facts.created_s.to_string()),
        ("write_protected", facts.write_protected.to_string()),
    ];
    let of_host =
        reading.host_attributes().map(|(id, value)| (format!("host_attribute_{id:04x}"), hex(value)));
    fixed.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(of_host).collect()
}

/// An export on its way: what its transfers tell it goes into the checkpoint, and confirmed objects into rows of their own.
struct Exporting<'a> {
    ticket: &'a Ticket,
    world: &'a dyn World,
    course: Mutex<Course>,
    done: Mutex<Done>,
    meter: Meter<'a>,
}

/// What is confirmed.
#[derive(Clone, Debug)]
struct Done {
    objects: Vec<StoredObject>,
    proof: Option<String>,
}

impl<'a> Exporting<'a> {
    fn new(
        ticket: &'a Ticket,
        world: &'a dyn World,
        course: Course,
        objects: Vec<StoredObject>,
        proof: Option<String>,
        image_bytes: u64,
    ) -> Self {
        // What cannot be read is refused where it is written with.
        let version = course.version().unwrap_or_default();
        let done = objects.iter().map(|stored| image_bytes_of(&stored.object, version)).sum();
        let meter = Meter::new(ticket, done, image_bytes, version);
        Self { ticket, world, course: Mutex::new(course), done: Mutex::new(Done { objects, proof }), meter }
    }

    fn done(&self) -> MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the checkpoint; what could not be kept has not changed.
    fn keep(&self, work: impl FnOnce(&mut Course)) -> Result<(), Failure> {
        let mut course = self.course();
        let mut next = course.clone();
        work(&mut next);
        next.save(self.ticket)?;
        *course = next;
        Ok(())
    }
}

impl Pace for Exporting<'_> {
    fn goes_on(&self) -> bool {
        of_ticket::goes_on(self.ticket)
    }

    fn wait(&self, time: Duration) -> bool {
        of_ticket::wait(self.ticket, time)
    }

    fn permit(&self) -> Option<Permission> {
        of_ticket::permit(self.ticket)
    }

    fn another(&self) -> Option<Permission> {
        of_ticket::another(self.ticket)
    }

    fn confirmed(&self, confirmed: &Confirmed) -> Result<(), Failure> {
        let (object, receipt) = (confirmed.object.clone(), confirmed.receipt.clone());
        let sent = Sent { object: StoredObject { object, receipt }, proof: confirmed.proof.to_string() };
        let mut done = self.done();
        let (remote, folder, before) = {
            let course = self.course();
            (course.remote.clone(), course.folder.clone(), course.done.len())
        };
        let number = (done.objects.len() - before.min(done.objects.len())) as u64;
        change(self.world, |tx| Ok(sent::add(tx, &remote, &folder, number, &sent)?))?;
        // After the row, so that no checkpoint lacks what no row has. The one on the disk has it until it is written next; who reads both goes by the row.
        let mut course = self.course();
        course.began.remove(&confirmed.object.name);
        course.staged.retain(|object| object.name != confirmed.object.name);
        drop(course);
        done.proof = Some(sent.proof);
        done.objects.push(sent.object);
        Ok(())
    }

    fn staged(&self, object: &Stored) -> Result<(), Failure> {
        self.keep(|course| {
            course.begins(&object.name);
            course.staged.push(object.clone());
        })
    }

    fn began(&self, object: &str, checkpoint: &str) -> Result<(), Failure> {
        self.keep(|course| {
            course.begins(object);
            course.began.insert(object.to_owned(), checkpoint.to_owned());
        })
    }

    fn sealing(&self, sha256: &str) -> Result<(), Failure> {
        self.keep(|course| course.manifests.push(sha256.to_owned()))
    }

    fn moved(&self, object: &Stored, bytes: u64) {
        self.meter.moved(object, bytes);
    }

    fn note(&self, text: &str) {
        self.ticket.note(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A checkpoint as it was before the format had versions, but for what has no say in it.
    const BEFORE: &str = r#"{"cartridge":"00","generation":1,"remote":"r","chunk_bytes":1048576,"compress":"zstd","verify":"readback",
        "delete_after_export":false,"folder":"VTL001L8-20261126_031500","bundle":"00","began":{},"staged":[],"manifests":[]}"#;

    #[test]
    fn an_export_goes_on_with_the_version_that_it_was_begun_with() {
        let course: Course = serde_json::from_str(BEFORE).unwrap();
        assert_eq!((course.version().ok(), course.is_new, course.sent), (Some(Version::V0), false, false));
        let later = BEFORE.replacen('{', r#"{"version":2,"#, 1);
        let course: Course = serde_json::from_str(&later).unwrap();
        assert!(course.version().unwrap_err().message.contains("later version"));
    }

    #[test]
    fn how_far_an_export_has_come_is_known_by_what_a_checkpoint_of_before_names() {
        let began = r#""began":{"VTL001L8.img.000007":"x","VTL001L8.img.000002":"y"}"#;
        let before = BEFORE.replacen(r#""began":{}"#, began, 1);
        let course = serde_json::from_str::<Course>(&before).unwrap().with_its_reach();
        assert_eq!((course.sent, course.reached), (true, 7));
        let nothing = serde_json::from_str::<Course>(BEFORE).unwrap().with_its_reach();
        assert_eq!((nothing.sent, nothing.reached), (false, 0));
    }
}
