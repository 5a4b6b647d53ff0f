//! Removals from a remote: one folder by its name, or all that are incomplete.
//!
//! An incomplete folder may be that of an export that runs on another server. So without a name only those go that are a week old by their names, and
//! none that a job here writes to. While one goes no job here begins to write to it: a failed export that is tried again finds it busy.

use std::sync::Arc;

use vtl_jobs::{Failure, Outcome, Plan, PlannedTask, Ticket, Work};
use vtl_transfer::{Trouble, on_remote};

use crate::export::left_in;
use crate::fail;
use crate::folder::{FolderName, Found, Remains, found_in, has_manifest, is_of_these};
use crate::job::{End, Folders, Plain, known, outcome, read as look, remove_folder};
use crate::lazy;
use crate::planning;
use crate::request::{PRUNE, PruneRequest, PruneResult, read, told};
use crate::world::World;

/// No export takes longer; who knows better names the folder.
const OLD_S: i64 = 7 * 24 * 60 * 60;

/// So many folders a plan names one by one.
const NAMED: usize = 100;

/// The engine.
pub struct Prune {
    world: Arc<dyn World>,
    folders: Arc<Folders>,
}

impl Work for Prune {
    fn kind(&self) -> &'static str {
        PRUNE
    }

    fn alone(&self) -> bool {
        true
    }

    fn plan(&self, request: &str) -> Result<Plan, Failure> {
        let request: PruneRequest = read(request)?;
        let world = &*self.world;
        let all = with_unlisted(world, &request, planning::folders(world, &request.remote)?)?;
        let (in_use, now_s) = (world.written_to()?, world.unix_s());
        let (mut goes, mut left) = (Vec::new(), Vec::new());
        for one in all {
            let name = one.name.to_string();
            let is_in_use = in_use.iter().any(|(at, folder)| *at == request.remote && *folder == name);
            match verdict(&request, &one, is_in_use, now_s) {
                Verdict::Goes => {
                    not_needed(world, &request.remote, &name)?;
                    goes.push(one);
                }
                Verdict::Stays => {}
                Verdict::MayBeInUse => left.push(name),
                Verdict::Refused(failure) => return Err(failure),
            }
        }
        match &request.folder {
            Some(folder) if goes.is_empty() => Err(fail::permanent(
                "not-found",
                format!("remote {} has no folder {folder} of an export", request.remote),
                "see vtl export ls --remote REMOTE",
            )),
            _ => Ok(planned(&request, &goes, &left)),
        }
    }

    fn run(&self, ticket: &Ticket) -> Result<Outcome, Failure> {
        outcome(self.attempt(ticket).and_then(|result| Ok(told(&result)?)))
    }

    fn undo(&self, _ticket: &Ticket) -> Result<(), Failure> {
        // What is gone was to go.
        Ok(())
    }
}

impl Prune {
    /// An engine in this world, with the folders that others are at.
    pub fn new(world: Arc<dyn World>, folders: Arc<Folders>) -> Self {
        Self { world, folders }
    }

    fn attempt(&self, ticket: &Ticket) -> Result<PruneResult, Trouble> {
        let world = &*self.world;
        let request: PruneRequest = read(ticket.request())?;
        let pace = Plain::new(ticket, 0);
        let remote = world.remote(&request.remote)?;
        let all = on_remote(&world.runtime()?, &pace, found_in(&*remote))?;
        let all = with_unlisted(world, &request, all)?;
        let in_use = world.written_to()?;
        let mut result = PruneResult::default();
        for one in all {
            let name = one.name.to_string();
            let is_in_use = is_among(&in_use, &request.remote, &name);
            let may_be_late = request.left_by.is_some() && one.complete && !is_in_use;
            let verdict = match verdict(&request, &one, is_in_use, world.unix_s()) {
                Verdict::Goes => self.remove(&request, one, &pace, &mut result)?,
                Verdict::MayBeInUse if may_be_late => self.remove(&request, one, &pace, &mut result)?,
                other => other,
            };
            match verdict {
                Verdict::Goes | Verdict::Stays => {}
                Verdict::MayBeInUse => result.left.push(name),
                Verdict::Refused(failure) => return Err(failure.into()),
            }
        }
        match &request.folder {
            Some(folder) if result.folders.is_empty() && request.left_by.is_none() => Err(fail::permanent(
                "not-found",
                format!("remote {} has no folder {folder} of an export", request.remote),
                "see vtl export ls --remote REMOTE",
            )
            .into()),
            _ => Ok(result),
        }
    }

    /// Removes a folder, if that is still the verdict when nobody here can begin to write to it; the verdict of then.
    fn remove(
        &self,
        request: &PruneRequest,
        one: Found,
        pace: &Plain<'_>,
        result: &mut PruneResult,
    ) -> Result<Verdict, Trouble> {
        let world = &*self.world;
        let name = one.name.to_string();
        let Ok(_alone) = self.folders.take(&request.remote, &name) else {
            return Ok(verdict(request, &one, true, world.unix_s()));
        };
        let end = End::open(world, &request.remote, one.name.clone())?;
        let left = left_in(world, &request.remote, &name)?;
        let one = but_late(world, request, &end, looked_at(&end, one, pace)?, &left, pace)?;
        let in_use = is_among(&world.written_to()?, &request.remote, &name);
        let verdict = verdict(request, &one, in_use, world.unix_s());
        if matches!(verdict, Verdict::Goes) {
            not_needed(world, &request.remote, &name)?;
            let remains = Remains { complete: one.complete, ..left };
            let (objects, bytes) = remove_folder(world, &end, pace, &remains)?;
            result.folders.push(name);
            result.objects += objects;
            result.bytes += bytes;
        }
        Ok(verdict)
    }
}

fn is_among(folders: &[(String, String)], remote: &str, folder: &str) -> bool {
    folders.iter().any(|(at, one)| at == remote && one == folder)
}

/// A folder as it is at this moment: the listing is older, and may have lacked a manifest that is there.
fn looked_at(end: &End, one: Found, pace: &Plain<'_>) -> Result<Found, Trouble> {
    let has_one = on_remote(&end.runtime, pace, has_manifest(&*end.remote, &end.name, &end.folder))?;
    if has_one && !one.complete {
        pace.ticket.note(&format!("folder {} has a manifest, which the listing did not show", one.name));
    }
    Ok(Found { complete: one.complete || has_one, ..one })
}

/// A manifest that a cancelled export was about to create, and that has come since, completes nothing: the objects were going already. One that the
/// catalogue knows is no such one.
fn but_late(
    world: &dyn World,
    request: &PruneRequest,
    end: &End,
    one: Found,
    left: &Remains,
    pace: &Plain<'_>,
) -> Result<Found, Trouble> {
    let is_asked = one.complete && request.left_by.is_some();
    if !is_asked || !known(world, &request.remote, &one.name.to_string())?.is_empty() {
        return Ok(one);
    }
    let limiter = &end.settings.limiter;
    let is_late = is_of_these(&*end.remote, &end.name, &end.folder, limiter, &left.sealed);
    let is_late = on_remote(&end.runtime, pace, is_late)?;
    Ok(Found { complete: !is_late, ..one })
}

/// With the folder that is named, when the listing lacks it and a job has left something there.
fn with_unlisted(
    world: &dyn World,
    request: &PruneRequest,
    mut all: Vec<Found>,
) -> Result<Vec<Found>, Failure> {
    let Some(folder) = &request.folder else { return Ok(all) };
    let is_listed = all.iter().any(|one| one.name.to_string() == *folder);
    if !is_listed && left_in(world, &request.remote, folder)?.is_something() {
        all.push(Found { name: FolderName::asked(folder)?, objects: 0, bytes: 0, complete: false });
    }
    Ok(all)
}

/// A cartridge that is here in part has its rest there.
fn not_needed(world: &dyn World, remote: &str, folder: &str) -> Result<(), Failure> {
    let rows = look(world, |tx| Ok(lazy::from_folder(tx, remote, folder)?))?;
    match rows.first() {
        None => Ok(()),
        Some(row) => Err(fail::permanent(
            "conflict",
            format!("{folder} is needed: {} is here in part, and the rest of it is there", row.label),
            &format!(
                "let its import end, or remove the cartridge for good: {}",
                lazy::remove_for_good(row.label)
            ),
        )),
    }
}

/// A line for each folder, as far as they are named one by one, and what stays.
fn planned(request: &PruneRequest, goes: &[Found], left: &[String]) -> Plan {
    let bytes_of = |some: &[Found]| some.iter().fold(0_u64, |sum, one| sum.saturating_add(one.bytes));
    let why = if request.folder.is_some() { "named" } else { "a week old" };
    let removal = |one: &Found| {
        let state = if one.complete { "complete" } else { "incomplete" };
        let name = format!("remove {}: {state}, {why}, {} objects", one.name, one.objects);
        PlannedTask { name, bytes: one.bytes }
    };
    let (named, more) = goes.split_at(goes.len().min(NAMED));
    let mut tasks: Vec<PlannedTask> = named.iter().map(removal).collect();
    if !more.is_empty() {
        tasks.push(PlannedTask { name: format!("and {} more", more.len()), bytes: bytes_of(more) });
    }
    let mut notes = vec![format!(
        "of remote {} go {} folders with {} bytes; what was half sent to them goes too and is not counted",
        request.remote,
        goes.len(),
        bytes_of(goes)
    )];
    if !left.is_empty() {
        notes.push(format!(
            "{} incomplete folders stay, because something may still write to them: {}",
            left.len(),
            planning::some_of(left)
        ));
    }
    Plan { tasks, notes }
}

enum Verdict {
    Goes,
    Stays,
    MayBeInUse,
    Refused(Failure),
}

/// What a cancelled job has left may have become somebody's meanwhile; nobody waits for an answer then.
fn verdict(request: &PruneRequest, one: &Found, in_use: bool, now_s: u64) -> Verdict {
    match by_rule(request, one, in_use, now_s) {
        Verdict::Refused(_) if request.left_by.is_some() => Verdict::MayBeInUse,
        verdict => verdict,
    }
}

fn by_rule(request: &PruneRequest, one: &Found, in_use: bool, now_s: u64) -> Verdict {
    let name = one.name.to_string();
    match &request.folder {
        Some(folder) if *folder != name => Verdict::Stays,
        _ if in_use && request.folder.is_none() => Verdict::MayBeInUse,
        Some(_) if in_use => Verdict::Refused(fail::permanent(
            "conflict",
            format!("a job writes to {name}"),
            "cancel the job: that removes what it has sent",
        )),
        Some(_) if one.complete && request.confirm.as_deref() != Some(&name) => {
            Verdict::Refused(fail::permanent(
                "invalid",
                format!("{name} is complete; removing it cannot be undone"),
                "type its name once more: --confirm FOLDER",
            ))
        }
        Some(_) => Verdict::Goes,
        None if one.complete => Verdict::Stays,
        None if age_s(&one.name, now_s).is_some_and(|age| age >= OLD_S) => Verdict::Goes,
        None => Verdict::MayBeInUse,
    }
}

/// How old a folder is by its name.
fn age_s(name: &FolderName, now_s: u64) -> Option<i64> {
    let made = jiff::civil::DateTime::strptime("%Y%m%d_%H%M%S", name.created.to_string()).ok()?;
    let made = made.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second();
    Some(i64::try_from(now_s).ok()?.saturating_sub(made))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 60 * 60;
    /// 2026-11-26 00:00:00 UTC.
    const NOW: u64 = 1_795_651_200;

    fn goes(
        folder: Option<&str>,
        confirm: Option<&str>,
        complete: bool,
        in_use: bool,
        now_s: u64,
    ) -> &'static str {
        let one = Found { name: "VTL001L8-20261126_000000".parse().unwrap(), objects: 1, bytes: 1, complete };
        let request = PruneRequest {
            remote: "r".into(),
            folder: folder.map(Into::into),
            confirm: confirm.map(Into::into),
            left_by: None,
        };
        match verdict(&request, &one, in_use, now_s) {
            Verdict::Goes => "goes",
            Verdict::Stays => "stays",
            Verdict::MayBeInUse => "may be in use",
            Verdict::Refused(_) => "refused",
        }
    }

    #[test]
    fn what_is_complete_goes_by_its_name_typed_twice_and_what_is_incomplete_when_nobody_can_be_at_it() {
        let name = Some("VTL001L8-20261126_000000");
        assert_eq!(goes(None, None, true, false, NOW + 900 * DAY), "stays");
        assert_eq!(goes(None, None, false, false, NOW + 6 * DAY), "may be in use");
        assert_eq!(goes(None, None, false, false, NOW + 7 * DAY), "goes");
        assert_eq!(goes(None, None, false, true, NOW + 7 * DAY), "may be in use");
        assert_eq!(goes(name, None, false, false, NOW), "goes");
        assert_eq!(goes(name, None, false, true, NOW), "refused");
        assert_eq!(goes(name, None, true, false, NOW), "refused");
        assert_eq!(goes(name, name, true, false, NOW), "goes");
        assert_eq!(goes(Some("VTL002L8-20261126_000000"), None, false, false, NOW), "stays");
    }
}
