//! What plans have in common: they look at a remote as their jobs do, with the same refusals, and change nothing.

use std::time::Duration;

use vtl_bundle::Stored;
use vtl_jobs::Failure;
use vtl_transfer::{Confirmed, Pace, Permission, Trouble, on_remote};

use crate::fail;
use crate::folder::{FolderName, Found, found_in};
use crate::job::{End, Opened};
use crate::world::World;

/// So many names stand in one note.
const NAMED: usize = 20;

/// The pace of a plan, which is nobody's job: nothing is tried again, and no permit is needed, since `jobs.max_transfers` is about jobs.
struct Planning;

impl Pace for Planning {
    fn goes_on(&self) -> bool {
        true
    }

    fn wait(&self, _time: Duration) -> bool {
        false
    }

    fn permit(&self) -> Option<Permission> {
        Some(Box::new(()))
    }

    fn confirmed(&self, _object: &Confirmed) -> Result<(), Failure> {
        Ok(())
    }

    fn began(&self, _object: &str, _checkpoint: &str) -> Result<(), Failure> {
        Ok(())
    }

    fn sealing(&self, _sha256: &str) -> Result<(), Failure> {
        Ok(())
    }

    fn moved(&self, _object: &Stored, _bytes: u64) {}

    fn note(&self, _text: &str) {}
}

/// The bundle that a request names, as its job finds it.
pub(crate) fn bundle(world: &dyn World, remote: &str, folder: &str) -> Result<(End, Opened), Failure> {
    let end = End::open(world, remote, FolderName::asked(folder)?)?;
    let opened = end.opened(world, &Planning).map_err(failure)?;
    Ok((end, opened))
}

/// All folders of bundles on a remote.
pub(crate) fn folders(world: &dyn World, remote: &str) -> Result<Vec<Found>, Failure> {
    let remote = world.remote(remote)?;
    on_remote(&world.runtime()?, &Planning, found_in(&*remote)).map_err(failure)
}

/// The first of these names, and how many more there are.
pub(crate) fn some_of(names: &[String]) -> String {
    let (told, rest) = names.split_at(names.len().min(NAMED));
    match rest.len() {
        0 => told.join(", "),
        more => format!("{} and {more} more", told.join(", ")),
    }
}

fn failure(trouble: Trouble) -> Failure {
    match trouble {
        Trouble::Failed(failure) => failure,
        Trouble::Stopped => fail::temporary("conflict", "the plan was not ended", "ask for it once more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_names_so_many_and_counts_the_rest() {
        let names = |count: usize| (0..count).map(|at| at.to_string()).collect::<Vec<_>>();
        assert_eq!(some_of(&names(2)), "0, 1");
        assert!(some_of(&names(20)).ends_with("18, 19"));
        assert!(some_of(&names(23)).ends_with("18, 19 and 3 more"));
    }
}
