//! Exports that nobody asks for each time: the triggers `full`, `idle` and `schedule` of `migrate.triggers`.
//!
//! One look at a library, in this order:
//!
//! 1. what its settings say, which of its times have come, and what is in it;
//! 2. what each cartridge that is not in a drive says of itself; remembered until it was moved again;
//! 3. those that a trigger concerns, that have content which is not complete on the remote, and that no export is at. A time of a schedule is not over as
//!    long as there is one that cannot be read, or that an export is at; the looks until then are for these alone;
//! 4. in one transaction: their jobs, the times that are over, and since when each cartridge has been idle.
//!
//! A job's key is made of cartridge, remote and write generation, so there is one for each content, whatever trigger comes first and however often
//! it looks; and another one when it has completed and the catalogue has the content no more. A crash before 4 leaves nothing, after it everything.
//! Nothing is moved: the export is the one that `vtl cartridge export` asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::{info, warn};
use vtl_api::Problem;
use vtl_cartridge::{Facts, Now};
use vtl_conf::{Schedule, Trigger};
use vtl_jobs::{JobError, NewJob, Priority};
use vtl_library::{Cartridge, CartridgeState, Library, LibraryError, Moved};
use vtl_meta::Tx;
use vtl_migrate::EXPORT;
use vtl_types::{CartridgeId, Label, LibraryName, Place};

use super::bell::Bell;
use super::rows::{self, Idle};
use crate::daemon::{Daemon, lock};
use crate::library_settings::Effective;

/// How often it looks when nothing rings and no time comes. A clock that is set is noticed by then.
const LOOK: Duration = Duration::from_secs(60);
/// And not more often than this.
const SHORTEST: Duration = Duration::from_secs(1);

/// The thread, and what it knows of cartridges.
#[derive(Debug, Default)]
pub(super) struct Triggers {
    bell: Bell,
    known: Mutex<BTreeMap<CartridgeId, Known>>,
    late: Mutex<BTreeMap<LibraryName, Late>>,
    problems: Mutex<Vec<Problem>>,
}

/// Cartridges that wait for a time which has come and is not over. A restart forgets it: then that time comes for all once more.
#[derive(Clone, Debug, Default)]
struct Late {
    /// When all were looked at, in seconds since 1970.
    at_s: u64,
    ids: BTreeSet<CartridgeId>,
}

/// Whom a time of a schedule is for, at one look.
#[derive(Debug)]
enum Fires {
    Nobody,
    These(BTreeSet<CartridgeId>),
    All,
}

impl Fires {
    fn concern(&self, id: CartridgeId) -> bool {
        match self {
            Self::Nobody => false,
            Self::These(ids) => ids.contains(&id),
            Self::All => true,
        }
    }
}

/// What a cartridge outside a drive said of itself: it stays so until somebody moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    generation: u64,
    load_count: u64,
    is_blank: bool,
    is_full: bool,
}

impl From<&Facts> for Known {
    fn from(facts: &Facts) -> Self {
        Self {
            generation: facts.generation,
            load_count: facts.load_count,
            is_blank: facts.objects == 0,
            is_full: facts.remaining_bytes() <= facts.early_warning_bytes,
        }
    }
}

/// What begins exports in one library by itself, beside its mailslots.
#[derive(Debug, Default)]
struct Rules {
    full: bool,
    idle: Option<Duration>,
    schedules: Vec<Schedule>,
    /// What cannot be read: it was set when more was known, such as a time zone.
    unreadable: Vec<String>,
}

impl Rules {
    fn of(settings: &Effective) -> Self {
        let mut rules = Self::default();
        if settings.remote().is_none() {
            return rules;
        }
        for trigger in settings.triggers() {
            match trigger {
                Ok(Trigger::Mailslot) => {}
                Ok(Trigger::Full) => rules.full = true,
                Ok(Trigger::Idle(time)) => rules.idle = Some(time),
                Ok(Trigger::Schedule(schedule)) => rules.schedules.push(schedule),
                Err(why) => rules.unreadable.push(why),
            }
        }
        rules
    }

    fn is_empty(&self) -> bool {
        !self.full && self.idle.is_none() && self.schedules.is_empty()
    }
}

/// What one look found to write.
#[derive(Debug, Default)]
struct Found {
    jobs: Vec<Wanted>,
    /// Cartridges and since when they are idle; none: they are not.
    idle: Vec<(CartridgeId, Option<Idle>)>,
    /// Schedules, and up to when their times are over.
    times: Vec<(String, u64)>,
    /// Schedules of which a time has come. It is over when nobody is late.
    come: Vec<String>,
    late: BTreeSet<CartridgeId>,
    next: Option<Duration>,
}

impl Found {
    fn look_in(&mut self, time: Duration) {
        self.next = Some(self.next.map_or(time, |next| next.min(time)));
    }

    fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.idle.is_empty() && self.times.is_empty()
    }
}

/// An export that a trigger wants.
#[derive(Debug)]
struct Wanted {
    id: CartridgeId,
    label: Label,
    generation: u64,
    why: &'static str,
}

impl Triggers {
    pub(super) fn start(daemon: &Arc<Daemon>) -> Result<(), String> {
        Bell::start(daemon, "vtld-triggers", |daemon| &daemon.policies.triggers.bell, turn)
    }

    pub(super) fn ring(&self) {
        self.bell.ring();
    }

    /// What they said of themselves may not be true any more; what has come out of a drive is looked at now.
    pub(super) fn moved(&self, moved: &[Moved]) {
        let mut known = lock(&self.known);
        for one in moved {
            known.remove(&one.cartridge.id);
        }
        drop(known);
        if moved.iter().any(|one| is_drive(one.from) && !is_drive(one.to)) {
            self.ring();
        }
    }

    pub(super) fn stop(&self) {
        self.bell.stop();
    }

    pub(super) fn join(&self) {
        self.bell.join();
    }

    pub(super) fn problems(&self) -> Vec<Problem> {
        let failed = self.bell.has_failed().then(|| {
            problem(
                "exports that are to begin by themselves do not: the thread that looks for them has failed",
            )
        });
        failed.into_iter().chain(lock(&self.problems).iter().cloned()).collect()
    }
}

fn problem(message: &str) -> Problem {
    advised(message, "see the log")
}

/// With the inventory's own advice, when it has one.
fn refused(message: &str, error: &LibraryError) -> Problem {
    error.remedy().map_or_else(|| problem(message), |remedy| advised(message, &remedy))
}

fn advised(message: &str, remedy: &str) -> Problem {
    Problem {
        subject: "migrate.triggers".to_owned(),
        message: message.to_owned(),
        remedy: format!("{remedy}; vtl cartridge export asks for one by hand"),
    }
}

fn is_drive(place: Place) -> bool {
    matches!(place, Place::Drive(_))
}

fn turn(daemon: &Daemon) -> Duration {
    daemon.look_for_triggers(daemon.retention.now())
}

impl Daemon {
    /// Looks at all libraries once; how long until the next look.
    pub(super) fn look_for_triggers(&self, now: Now) -> Duration {
        let mut problems = Vec::new();
        let pause = match self.libraries_with_rules() {
            Ok(libraries) => {
                let pauses = libraries.into_iter().map(|(library, settings, rules)| {
                    problems.extend(rules.unreadable.iter().map(|why| problem(why)));
                    self.look_at(&library, &settings, &rules, now).unwrap_or_else(|why| {
                        problems.push(refused(&format!("library {}: {why}", library.name), &why));
                        None
                    })
                });
                pauses.flatten().min().unwrap_or(LOOK)
            }
            Err(error) => {
                problems.push(refused(&error.to_string(), &error));
                LOOK
            }
        };
        let mut told = lock(&self.policies.triggers.problems);
        for new in problems.iter().filter(|new| !told.contains(new)) {
            warn!(new.message, "a trigger of exports does not work");
        }
        *told = problems;
        if !told.is_empty() {
            return pause.min(LOOK);
        }
        pause.clamp(SHORTEST, LOOK)
    }

    fn libraries_with_rules(&self) -> Result<Vec<(Library, Effective, Rules)>, LibraryError> {
        let defaults = self.ejection.defaults();
        let libraries = self.meta.read(|tx| {
            let with_rules = |library: Library| {
                let settings = Effective::read(tx, &library.name, &defaults)?;
                let rules = Rules::of(&settings);
                Ok((library, settings, rules))
            };
            vtl_library::libraries(tx)?.into_iter().map(with_rules).collect::<Result<Vec<_>, LibraryError>>()
        })?;
        let names: rows::Schedules = libraries
            .iter()
            .flat_map(|(library, _, rules)| {
                rules.schedules.iter().map(|one| (library.name.to_string(), one.as_str().to_owned()))
            })
            .collect();
        // One that comes back after it was taken out begins anew, and does not make up for what it has missed.
        if self.meta.read(|tx| Ok(rows::has_other_schedules(tx, &names)?))? {
            self.meta.change(|tx| Ok(rows::keep_schedules(tx, &names)?))?;
        }
        Ok(libraries)
    }

    fn look_at(
        &self,
        library: &Library,
        settings: &Effective,
        rules: &Rules,
        now: Now,
    ) -> Result<Option<Duration>, LibraryError> {
        if rules.is_empty() {
            return Ok(None);
        }
        let all = self.meta.read(vtl_library::cartridges)?;
        let mut found = Found::default();
        let ids: BTreeSet<CartridgeId> = all.iter().map(|one| one.id).collect();
        lock(&self.policies.triggers.known).retain(|id, _| ids.contains(id));
        // A note of one that is gone is of no use.
        let idle = self.meta.read(|tx| Ok(rows::idle_ones(tx)?))?;
        let gone = idle.into_iter().filter(|id| !ids.contains(id));
        found.idle.extend(gone.map(|id| (id, None)));
        let held: Vec<Cartridge> = all
            .into_iter()
            .filter(|one| one.library.as_ref() == Some(&library.name) && one.state == CartridgeState::Normal)
            .collect();
        let Some(remote) = settings.remote() else { return Ok(None) };
        let late = lock(&self.policies.triggers.late).get(&library.name).cloned().unwrap_or_default();
        let fires = self.meta.read(|tx| times(tx, &library.name, rules, now, late, &mut found))?;
        let facts: Vec<(&Cartridge, Option<Known>)> =
            held.iter().map(|one| (one, self.known(one, fires.concern(one.id)))).collect();
        self.meta.read(|tx| {
            for (cartridge, known) in &facts {
                consider(tx, cartridge, *known, rules, &fires, now, &mut found)?;
            }
            let mut open = Vec::new();
            for one in std::mem::take(&mut found.jobs) {
                match standing(tx, remote, &one)? {
                    Standing::Open(_) => open.push(one),
                    Standing::Waits if fires.concern(one.id) => drop(found.late.insert(one.id)),
                    Standing::Waits | Standing::Done => {}
                }
            }
            found.jobs = open;
            Ok(())
        })?;
        if found.late.is_empty() {
            found.times.extend(std::mem::take(&mut found.come).into_iter().map(|come| (come, now.wall_s)));
        }
        if !found.is_empty() {
            self.meta.change(|tx| write(tx, &library.name, settings, remote, &found))?;
        }
        self.note_late(&library.name, &fires, now, std::mem::take(&mut found.late));
        for one in &found.jobs {
            info!(label = %one.label, library = %library.name, why = one.why, "an export begins by itself");
        }
        if !found.jobs.is_empty() {
            self.jobs.poke();
        }
        Ok(found.next)
    }

    /// Remembers who is late, once what was found is written down.
    fn note_late(&self, library: &LibraryName, fires: &Fires, now: Now, ids: BTreeSet<CartridgeId>) {
        let mut all = lock(&self.policies.triggers.late);
        if ids.is_empty() {
            all.remove(library);
            return;
        }
        let late = all.entry(library.clone()).or_default();
        late.ids = ids;
        if matches!(fires, Fires::All) {
            late.at_s = now.wall_s;
        }
    }

    /// What a cartridge says of itself; one in a drive is asked only when `also_loaded`. Nothing when it cannot be read, which the store's check tells, and
    /// nothing of a copy before it is whole: it becomes so where it is.
    fn known(&self, cartridge: &Cartridge, also_loaded: bool) -> Option<Known> {
        let inspect = || {
            let pool = self.pools.of(cartridge.id).ok()?;
            let facts = vtl_cartridge::Cartridge::inspect(&pool.store, cartridge.id).ok()?;
            (!facts.unfinished).then(|| Known::from(&facts))
        };
        if is_drive(cartridge.place) {
            return if also_loaded { inspect() } else { None };
        }
        let known = &self.policies.triggers.known;
        if let Some(known) = lock(known).get(&cartridge.id) {
            return Some(*known);
        }
        let said = inspect()?;
        lock(known).insert(cartridge.id, said);
        Some(said)
    }
}

/// Which times have come, and for whom.
fn times(
    tx: &Tx<'_>,
    library: &LibraryName,
    rules: &Rules,
    now: Now,
    late: Late,
    found: &mut Found,
) -> Result<Fires, LibraryError> {
    let mut fires_anew = false;
    for schedule in &rules.schedules {
        let over = rows::schedule(tx, library, schedule.as_str())?;
        // A new one begins now; and so does one whose last time lies ahead, because the clock was set back.
        let from = over.filter(|over| *over <= now.wall_s);
        let comes_after = |from: u64| schedule.next_after(from).is_some_and(|next| next <= now.wall_s);
        match from {
            None => found.times.push((schedule.as_str().to_owned(), now.wall_s)),
            Some(from) if comes_after(from) => {
                found.come.push(schedule.as_str().to_owned());
                fires_anew |= comes_after(from.max(late.at_s));
            }
            Some(_) => {}
        }
        if let Some(next) = schedule.next_after(now.wall_s) {
            found.look_in(Duration::from_secs(next - now.wall_s));
        }
    }
    Ok(match found.come.is_empty() {
        true => Fires::Nobody,
        false if fires_anew => Fires::All,
        false => Fires::These(late.ids),
    })
}

/// What is to be done about one cartridge.
fn consider(
    tx: &Tx<'_>,
    cartridge: &Cartridge,
    known: Option<Known>,
    rules: &Rules,
    fires: &Fires,
    now: Now,
    found: &mut Found,
) -> Result<(), LibraryError> {
    let id = cartridge.id;
    let fires = fires.concern(id);
    let is_loaded = is_drive(cartridge.place);
    if is_loaded && rules.idle.is_some() && rows::idle(tx, id)?.is_some() {
        found.idle.push((id, None));
    }
    if fires && known.is_none() {
        found.late.insert(id);
    }
    let Some(known) = known.filter(|known| !known.is_blank) else { return Ok(()) };
    let is_idle = match rules.idle {
        Some(time) if !is_loaded => is_idle(tx, id, known, time, now, found)?,
        _ => false,
    };
    let why = match () {
        () if fires => "schedule",
        () if rules.full && known.is_full && !is_loaded => "full",
        () if is_idle => "idle",
        () => return Ok(()),
    };
    found.jobs.push(Wanted { id, label: cartridge.label, generation: known.generation, why });
    Ok(())
}

/// Whether a cartridge was left alone for so long, by the count of seconds that nobody can set.
fn is_idle(
    tx: &Tx<'_>,
    id: CartridgeId,
    known: Known,
    time: Duration,
    now: Now,
    found: &mut Found,
) -> Result<bool, LibraryError> {
    let since = rows::idle(tx, id)?.filter(|idle| {
        (idle.generation, idle.load_count) == (known.generation, known.load_count)
            && idle.since_count_s <= now.counted_s
    });
    let Some(since) = since else {
        let begins =
            Idle { generation: known.generation, load_count: known.load_count, since_count_s: now.counted_s };
        found.idle.push((id, Some(begins)));
        found.look_in(time);
        return Ok(false);
    };
    let left = time.saturating_sub(Duration::from_secs(now.counted_s - since.since_count_s));
    if !left.is_zero() {
        found.look_in(left);
    }
    Ok(left.is_zero())
}

/// The key of the next job for this content, which is not on the remote; none as long as the last one has not completed. What one has exported that
/// completed was removed from there.
fn next_key(tx: &Tx<'_>, remote: &str, wanted: &Wanted) -> Result<Option<String>, JobError> {
    let first = format!("policy:{}:{remote}:{}", wanted.id, wanted.generation);
    let (mut key, mut round) = (first.clone(), 1_u64);
    loop {
        match vtl_jobs::is_completed(tx, &key)? {
            None => return Ok(Some(key)),
            Some(false) => return Ok(None),
            Some(true) => round += 1,
        }
        key = format!("{first}:{round}");
    }
}

/// Where the export of a content stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    /// It is not on the remote, nobody exports it, and no job that was to do so by itself has not. The key of its next one.
    Open(String),
    /// Another export is at the cartridge.
    Waits,
    /// It is exported, or was to be by itself.
    Done,
}

fn standing(tx: &Tx<'_>, remote: &str, wanted: &Wanted) -> Result<Standing, LibraryError> {
    let label = wanted.label;
    let failed = |error| not_queued(label, error);
    if vtl_migrate::is_exported(tx, wanted.id, remote, wanted.generation)? {
        return Ok(Standing::Done);
    }
    let Some(key) = next_key(tx, remote, wanted).map_err(failed)? else { return Ok(Standing::Done) };
    Ok(match vtl_jobs::is_about(tx, EXPORT, label.as_str()).map_err(failed)? {
        true => Standing::Waits,
        false => Standing::Open(key),
    })
}

fn not_queued(label: Label, error: JobError) -> LibraryError {
    match error {
        JobError::Meta(error) => error.into(),
        error => LibraryError::Follow { label, why: format!("its export cannot be queued: {error}") },
    }
}

/// All of it, or nothing.
fn write(
    tx: &mut Tx<'_>,
    library: &LibraryName,
    settings: &Effective,
    remote: &str,
    found: &Found,
) -> Result<(), LibraryError> {
    for (id, idle) in &found.idle {
        rows::set_idle(tx, *id, idle.as_ref())?;
    }
    for (schedule, over_s) in &found.times {
        rows::set_schedule(tx, library, schedule, *over_s)?;
    }
    for wanted in &found.jobs {
        // It may have gone, or been exported, since it was looked at.
        let here = vtl_library::cartridge_by_id(tx, wanted.id)?;
        let here = here.filter(|one| one.state == CartridgeState::Normal && one.label == wanted.label);
        if here.is_none() {
            continue;
        }
        let Standing::Open(key) = standing(tx, remote, wanted)? else { continue };
        let failed = |error| not_queued(wanted.label, error);
        let request = serde_json::to_string(&settings.request(wanted.label, Some(library)));
        let request =
            request.map_err(|error| LibraryError::Follow { label: wanted.label, why: error.to_string() })?;
        let new = NewJob {
            key,
            kind: EXPORT.to_owned(),
            label: Some(wanted.label.to_string()),
            request,
            // Somebody who asks for a job waits for it, and for these nobody does.
            priority: Priority::Low,
            before: vec![("triggered", format!("by {} in library {library}", wanted.why))],
            ..NewJob::default()
        };
        vtl_jobs::enqueue(tx, &new, crate::clock::unix_seconds()).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use vtl_jobs::Job;
    use vtl_library::{Gates, Mover};

    use super::*;
    use crate::daemon::tests::open;

    /// 2026-11-26 03:15:00 UTC.
    const NOW_S: u64 = 1_795_662_900;
    const DAY_S: u64 = 24 * 60 * 60;

    /// The default library with cartridges of 1 MiB, exporting to a remote that nobody asks about here.
    struct Bench {
        /// None only between two.
        running: Option<Arc<Daemon>>,
        folder: tempfile::TempDir,
        now: Now,
    }

    fn lib0() -> LibraryName {
        "lib0".parse().unwrap()
    }

    fn label(number: u16) -> Label {
        format!("VTL{number:03}L8").parse().unwrap()
    }

    impl Bench {
        fn new(triggers: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let bench = Self {
                running: Some(open(folder.path(), &["cartridge.size=1m"])),
                folder,
                now: Now { wall_s: NOW_S, counted_s: 1000 },
            };
            bench.set("migrate.remote", "cloud");
            bench.set("migrate.triggers", triggers);
            bench
        }

        fn daemon(&self) -> &Arc<Daemon> {
            self.running.as_ref().unwrap()
        }

        fn set(&self, key: &str, value: &str) {
            self.daemon().meta.change(|tx| vtl_library::set_setting(tx, &lib0(), key, Some(value))).unwrap();
        }

        fn row(&self, number: u16) -> Cartridge {
            self.daemon().meta.read(|tx| vtl_library::cartridge(tx, label(number))).unwrap()
        }

        fn write(&self, number: u16, bytes: usize) {
            let store = &self.daemon().pools.default().store;
            let id = self.row(number).id;
            let mut tape =
                vtl_cartridge::Cartridge::open(store, id, vtl_cartridge::Settings::default()).unwrap();
            tape.space_to_end();
            tape.write_block(&[Bytes::from(vec![7; bytes])], true).unwrap();
            tape.close().unwrap();
            // As a move does it.
            lock(&self.daemon().policies.triggers.known).remove(&id);
        }

        fn carry(&self, from: Place, to: Place) {
            let library = self.daemon().library(&lib0()).unwrap();
            let carry = move |changer: &mut crate::library::Changer| {
                changer.inventory_mut().carry(
                    &[from],
                    crate::inventory::Force(false),
                    move |tx, gates: &Gates| {
                        vtl_library::move_medium(tx, &lib0(), from, to, Mover::Robot, gates)
                            .map(|one| vec![one])
                    },
                )
            };
            let moved = library.changer.call(carry).unwrap().unwrap();
            self.daemon().policies.triggers.moved(&moved);
        }

        /// Looks; all jobs that there are then, as label and what triggered them.
        fn look(&self) -> Vec<(String, String)> {
            self.daemon().look_for_triggers(self.now);
            assert_eq!(self.daemon().policies.triggers.problems(), []);
            self.jobs()
        }

        fn jobs(&self) -> Vec<(String, String)> {
            let told = |tx: &Tx<'_>, job: Job| {
                let log = vtl_jobs::events(tx, job.id)?;
                let why = log.into_iter().find(|line| line.event == "triggered").unwrap().text;
                Ok::<_, JobError>((job.label.unwrap(), why.split(' ').nth(1).unwrap().to_owned()))
            };
            let read = |tx: &Tx<'_>| vtl_jobs::unfinished(tx)?.into_iter().map(|job| told(tx, job)).collect();
            self.daemon().meta.with(|meta| meta.read(read)).unwrap()
        }

        /// The export of a cartridge ends, without having done anything.
        fn end(&self, number: u16) {
            let label = label(number).to_string();
            let jobs = self.daemon().meta.with(|meta| meta.read(vtl_jobs::unfinished)).unwrap();
            let job = jobs.into_iter().find(|job| job.label.as_deref() == Some(&label)).unwrap();
            if self.daemon().jobs.manager().is_err() {
                crate::jobs::Jobs::open(self.daemon());
            }
            self.daemon().jobs.manager().unwrap().cancel(job.id).unwrap();
        }

        fn after(&mut self, seconds: u64) {
            self.now.wall_s += seconds;
            self.now.counted_s += seconds;
        }

        fn restart(&mut self) {
            self.daemon().stop();
            self.running = None;
            self.running = Some(open(self.folder.path(), &["cartridge.size=1m"]));
        }
    }

    impl Drop for Bench {
        fn drop(&mut self) {
            self.daemon().stop();
        }
    }

    /// Cartridge 900 is in the library.
    fn list(tx: &mut Tx<'_>, id: CartridgeId) -> Result<(), LibraryError> {
        let (library, place) = (Some(lib0()), vtl_library::NewPlace::Slot);
        let new = vtl_library::NewCartridges { first: label(900), count: 1, library, place };
        vtl_library::create_cartridges(tx, &new, &[id], vtl_types::ByteCount(1 << 20), 0).map(drop)
    }

    fn unlist(tx: &mut Tx<'_>, id: CartridgeId) -> Result<(), LibraryError> {
        vtl_library::begin_remove(tx, label(900))?;
        vtl_library::finish_remove(tx, id)
    }

    fn one(number: u16, why: &str) -> (String, String) {
        (label(number).to_string(), why.to_owned())
    }

    #[test]
    fn what_the_inventory_advises_stands_in_the_problem_that_it_makes() {
        let damaged = || {
            let row = vtl_meta::RowName { table: "policy_idle", key: "cartridge=01".to_owned() };
            vtl_meta::MetaError::DamagedRow(row)
        };
        let told = refused("library lib0", &damaged().into());
        assert_eq!(told.remedy, format!("{}; vtl cartridge export asks for one by hand", damaged().remedy()));
        let fault_of_the_program = refused("library lib0", &LibraryError::Ids);
        assert!(fault_of_the_program.remedy.starts_with("see the log; "), "{fault_of_the_program:?}");
    }

    #[test]
    fn a_full_cartridge_is_exported_once_when_it_is_out_of_its_drive_and_again_when_it_was_written() {
        let bench = Bench::new("full");
        bench.carry(Place::Slot(1), Place::Drive(0));
        bench.carry(Place::Drive(0), Place::Slot(1));
        bench.write(1, 930_000);
        bench.write(2, 100_000);
        bench.carry(Place::Slot(1), Place::Drive(0));
        assert_eq!(bench.look(), [], "it is in a drive");
        bench.carry(Place::Drive(0), Place::Slot(1));
        assert_eq!(bench.look(), [one(1, "full")]);
        assert_eq!(bench.look(), [one(1, "full")], "and not again");
        assert_eq!(bench.row(1).place, Place::Slot(1), "nothing is moved");
        let job = bench.daemon().meta.with(|meta| meta.read(vtl_jobs::unfinished)).unwrap().remove(0);
        let request: serde_json::Value = serde_json::from_str(&job.request).unwrap();
        assert_eq!((&request["remote"], &request["library"]), (&"cloud".into(), &serde_json::Value::Null));
        assert_eq!(job.priority, Priority::Low, "what somebody asks for comes first");
        // While that one waits there is none beside it, whatever is written.
        bench.write(1, 10_000);
        assert_eq!(bench.look(), [one(1, "full")]);
    }

    #[test]
    fn an_idle_cartridge_is_exported_when_it_was_left_alone_long_enough_by_a_count_that_nobody_can_set() {
        let mut bench = Bench::new("idle:7d");
        bench.write(1, 1000);
        assert_eq!(bench.look(), []);
        bench.now.wall_s += 400 * DAY_S;
        assert_eq!(bench.look(), [], "a clock that jumps is not believed");
        bench.now.wall_s = NOW_S;
        bench.after(6 * DAY_S);
        assert_eq!(bench.look(), []);
        // Loaded and read: it begins anew when it is out again.
        bench.carry(Place::Slot(1), Place::Drive(0));
        assert_eq!(bench.look(), []);
        bench.after(3 * DAY_S);
        assert_eq!(bench.look(), []);
        bench.carry(Place::Drive(0), Place::Slot(1));
        assert_eq!(bench.look(), []);
        bench.after(5 * DAY_S);
        bench.restart();
        assert_eq!(bench.look(), [], "the time before a restart counts");
        bench.after(2 * DAY_S);
        assert_eq!(bench.look(), [one(1, "idle")]);
        bench.after(30 * DAY_S);
        assert_eq!(bench.look(), [one(1, "idle")], "once for what is on it");
    }

    #[test]
    fn a_time_of_a_schedule_exports_what_is_not_exported_also_when_it_came_while_the_server_was_off() {
        let mut bench = Bench::new("schedule:0 4 * * *");
        bench.write(1, 1000);
        assert_eq!(bench.look(), [], "03:15");
        bench.after(44 * 60);
        assert_eq!(bench.look(), [], "03:59");
        bench.after(60);
        assert_eq!(bench.look(), [one(1, "schedule")], "04:00");
        bench.write(2, 1000);
        bench.after(60);
        assert_eq!(bench.look(), [one(1, "schedule")], "the next one is tomorrow");
        // What is in a drive belongs to it. Two times were missed, and are one.
        bench.carry(Place::Slot(2), Place::Drive(0));
        bench.after(2 * DAY_S);
        bench.restart();
        assert_eq!(bench.look(), [one(1, "schedule"), one(2, "schedule")]);
    }

    #[test]
    fn a_time_of_a_schedule_waits_for_a_cartridge_that_an_export_is_at_and_comes_for_no_other_meanwhile() {
        let mut bench = Bench::new("full,schedule:0 4 * * *");
        bench.write(1, 930_000);
        assert_eq!(bench.look(), [one(1, "full")], "03:15");
        bench.write(1, 10_000);
        bench.write(2, 1000);
        bench.after(60 * 60);
        assert_eq!(bench.look(), [one(1, "full"), one(2, "schedule")], "one export is at cartridge 1");
        bench.write(3, 1000);
        bench.after(60);
        assert_eq!(bench.look(), [one(1, "full"), one(2, "schedule")], "cartridge 3 was not late");
        bench.end(1);
        bench.after(60);
        assert_eq!(bench.look(), [one(2, "schedule"), one(1, "schedule")], "the time was not over for it");
        bench.end(1);
        bench.write(1, 10_000);
        bench.set("migrate.triggers", "schedule:0 4 * * *");
        bench.after(60);
        assert_eq!(bench.look(), [one(2, "schedule")], "and it is over now");
        bench.write(2, 1000);
        bench.after(DAY_S);
        assert_eq!(bench.look(), [one(2, "schedule"), one(1, "schedule"), one(3, "schedule")]);
        bench.write(4, 1000);
        bench.after(DAY_S);
        let all = [one(2, "schedule"), one(1, "schedule"), one(3, "schedule"), one(4, "schedule")];
        assert_eq!(bench.look(), all, "a time that comes while one is late is for all again");
        // A restart while one is late finds it.
        bench.restart();
        bench.end(2);
        bench.after(60);
        assert_eq!(bench.look()[3], one(2, "schedule"));
    }

    #[test]
    fn a_time_of_a_schedule_waits_for_a_cartridge_that_cannot_be_read() {
        let mut bench = Bench::new("schedule:0 4 * * *");
        bench.look();
        let ghost = CartridgeId([9; 16]);
        let now = bench.now;
        bench.daemon().meta.change(|tx| list(tx, ghost)).unwrap();
        bench.after(DAY_S);
        bench.look();
        let over = |bench: &Bench| {
            let read = |tx: &Tx<'_>| Ok(rows::schedule(tx, &lib0(), "0 4 * * *")?);
            bench.daemon().meta.read(read).unwrap()
        };
        assert_eq!(over(&bench), Some(now.wall_s), "its pool may be opened yet");
        bench.daemon().meta.change(|tx| unlist(tx, ghost)).unwrap();
        bench.look();
        assert_eq!(over(&bench), Some(bench.now.wall_s));
    }

    #[test]
    fn a_copy_that_becomes_whole_where_it_is_is_asked_again_and_what_is_gone_is_not_remembered() {
        let bench = Bench::new("full");
        bench.look();
        let store = bench.daemon().pools.default().store.clone();
        let (id, label) = (CartridgeId([9; 16]), label(900));
        let spec = vtl_cartridge::CartridgeSpec {
            label,
            serial: "SERIAL01".to_owned(),
            kind: label.media(),
            capacity: vtl_types::ByteCount(1 << 20),
            early_warning: None,
            write_protected: false,
            created_s: 1,
            place: None,
        };
        vtl_cartridge::Cartridge::begin_copy(&store, id, &spec).unwrap();
        bench.daemon().meta.change(|tx| list(tx, id)).unwrap();
        assert_eq!(bench.look(), []);
        let mut copy =
            vtl_cartridge::Cartridge::open(&store, id, vtl_cartridge::Settings::default()).unwrap();
        copy.write_block(&[Bytes::from(vec![7; 930_000])], true).unwrap();
        copy.finish_copy(5).unwrap();
        assert_eq!(bench.look(), [(label.to_string(), "full".to_owned())]);
        bench.daemon().meta.change(|tx| unlist(tx, id)).unwrap();
        bench.look();
        assert!(!lock(&bench.daemon().policies.triggers.known).contains_key(&id));
    }

    #[test]
    fn a_clock_that_is_set_forward_and_back_brings_nothing_twice_and_does_not_stop_a_schedule() {
        let mut bench = Bench::new("schedule:0 4 * * *");
        bench.write(1, 1000);
        bench.look();
        bench.now.wall_s = NOW_S + 3650 * DAY_S;
        assert_eq!(bench.look(), [one(1, "schedule")], "its time is over, as far as anybody can tell");
        bench.now.wall_s = NOW_S;
        bench.write(2, 1000);
        assert_eq!(bench.look(), [one(1, "schedule")]);
        bench.after(DAY_S);
        assert_eq!(bench.look(), [one(1, "schedule"), one(2, "schedule")]);
    }

    #[test]
    fn a_schedule_that_was_taken_out_and_put_in_again_does_not_make_up_for_what_it_has_missed() {
        let mut bench = Bench::new("schedule:0 4 * * *");
        bench.write(1, 1000);
        bench.look();
        bench.set("migrate.triggers", "none");
        bench.after(3 * DAY_S);
        assert_eq!(bench.look(), []);
        bench.set("migrate.triggers", "schedule:0 4 * * *");
        assert_eq!(bench.look(), []);
        bench.after(DAY_S);
        assert_eq!(bench.look(), [one(1, "schedule")]);
    }

    #[test]
    fn without_a_remote_nothing_begins_and_what_cannot_be_read_is_told() {
        let bench = Bench::new("full,schedule:TZ=Middle/Earth 0 4 * * *");
        bench.write(1, 930_000);
        bench.daemon().look_for_triggers(bench.now);
        let problems = bench.daemon().policies.triggers.problems();
        assert!(problems.len() == 1 && problems[0].message.contains("Middle/Earth"), "{problems:?}");
        assert_eq!(bench.jobs(), [one(1, "full")], "the others go on");
        bench.set("migrate.remote", "none");
        bench.write(2, 930_000);
        assert_eq!(bench.look(), [one(1, "full")]);
    }

    #[test]
    fn what_an_export_has_done_that_is_not_on_the_remote_any_more_is_exported_again() {
        let bench = Bench::new("full");
        let defaults = crate::library_settings::Defaults::from([("migrate.remote", "cloud".to_owned())]);
        let (daemon, settings) = (bench.daemon(), Effective::of_all(defaults));
        let wanted = Wanted { id: bench.row(1).id, label: label(1), generation: 1, why: "full" };
        let found = Found { jobs: vec![wanted], ..Found::default() };
        let standing = || daemon.meta.read(|tx| standing(tx, "cloud", &found.jobs[0])).unwrap();
        let write = || daemon.meta.change(|tx| write(tx, &lib0(), &settings, "cloud", &found)).unwrap();
        write();
        assert_eq!(standing(), Standing::Done, "it is in the list");
        crate::jobs::Jobs::open(daemon);
        daemon.jobs.start().unwrap();
        let end = std::time::Instant::now() + Duration::from_secs(60);
        // The cartridge is blank: its export completes, and the catalogue has nothing of it.
        while standing() == Standing::Done {
            assert!(std::time::Instant::now() < end, "{:?}", daemon.jobs.manager().unwrap().list());
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(matches!(standing(), Standing::Open(key) if key.ends_with(":cloud:1:2")));
        write();
        assert_eq!(daemon.jobs.manager().unwrap().list().unwrap().len(), 2);
    }

    #[test]
    fn a_look_that_cannot_be_written_down_leaves_neither_jobs_nor_times() {
        let mut bench = Bench::new("schedule:0 4 * * *");
        bench.write(1, 1000);
        bench.look();
        bench.after(DAY_S);
        let settings = Effective::of_all(crate::library_settings::Defaults::from([(
            "migrate.remote",
            "cloud".to_owned(),
        )]));
        let (id, name) = (bench.row(1).id, lib0());
        let found = Found {
            jobs: vec![Wanted { id, label: label(1), generation: 1, why: "schedule" }],
            times: vec![("0 4 * * *".to_owned(), bench.now.wall_s)],
            ..Found::default()
        };
        let torn = bench.daemon().meta.change(|tx| {
            write(tx, &name, &settings, "cloud", &found)?;
            Err::<(), _>(LibraryError::NotInstalled)
        });
        assert!(torn.is_err());
        assert_eq!(bench.jobs(), []);
        assert_eq!(bench.look(), [one(1, "schedule")], "the time is not over");
    }
}
