//! One collection of what nothing in a pool needs any more: what forbids it, and how a refusal is told.
//!
//! The store collects nothing while an owner that it knows of is missing or damaged. Where all of it was put back from an older copy it may not know
//! of a cartridge: that needs nothing in its eyes, and a collection would take the data that a copy of its head could still lead to. So none
//! begins while the inventory lists a cartridge that the store does not have either; the operator either brings it back or removes it for
//! good, which says that its data may go.

use std::collections::BTreeSet;
use std::path::Path;

use tracing::info;
use vtl_api::{ApiError, ErrorCode};
use vtl_library::{Cartridge, CartridgeState, LibraryError};
use vtl_store::{GcProgress, GcReport, GcRule, OwnerId, RepairReport, StoreError};
use vtl_types::{CartridgeId, Label};

use crate::api::refused;
use crate::daemon::{Daemon, lock};
use crate::given_up::give_up_now_command;
use crate::pools::Pool;

/// So many labels are named in a refusal; of more, the number.
const NAMED: usize = 5;

/// Why no collection took place.
#[derive(Debug)]
pub(crate) enum NotCollected {
    /// Another one runs, or something else that changes packs.
    Busy(ApiError),
    /// It is forbidden, or failed on the way.
    Refused(ApiError),
}

impl NotCollected {
    fn into_error(self) -> ApiError {
        match self {
            Self::Busy(error) | Self::Refused(error) => error,
        }
    }
}

impl Daemon {
    /// Collects once; the pool is in use meanwhile.
    ///
    /// # Errors
    /// What forbids it, with a remedy. Nothing has been freed then, unless the store says that the disk failed on the way.
    pub(crate) fn collect(&self, pool: &Pool, rule: GcRule) -> Result<GcReport, ApiError> {
        self.collect_while(pool, rule, &|_| true).map_err(NotCollected::into_error)
    }

    /// The same, asking `go_on` at each safe point.
    ///
    /// # Errors
    /// As [`Daemon::collect`].
    pub(crate) fn collect_while(
        &self,
        pool: &Pool,
        rule: GcRule,
        go_on: &dyn Fn(GcProgress) -> bool,
    ) -> Result<GcReport, NotCollected> {
        let begun = pool.keeper.begins();
        let refused = match self.nothing_is_lost(pool) {
            Err(refused) => refused,
            Ok(()) => match pool.store.gc_while(rule, go_on) {
                Ok(report) => {
                    pool.keeper.collected(&pool.name, &begun, &report);
                    return Ok(report);
                }
                // What comes of the other one is noted when it ends.
                Err(error @ StoreError::Collecting) => {
                    return Err(NotCollected::Busy(self.not_collected(&error)));
                }
                Err(error) => self.not_collected(&error),
            },
        };
        pool.keeper.refused(&pool.name, &refused);
        Err(NotCollected::Refused(refused))
    }

    /// Puts damaged chunks back whose content is elsewhere in the store.
    ///
    /// # Errors
    /// What stops it, with a remedy.
    pub(crate) fn repair(&self, pool: &Pool) -> Result<RepairReport, ApiError> {
        let report = pool.store.repair().map_err(|error| self.not_collected(&error))?;
        pool.scrub.look_again();
        if report != RepairReport::default() {
            info!(
                pool = %pool.name,
                readable = report.readable,
                healed = report.healed,
                mended = report.mended,
                lost = report.lost,
                lost_bytes = report.lost_bytes,
                "repaired"
            );
        }
        Ok(report)
    }

    /// Finds out what each cartridge takes.
    ///
    /// # Errors
    /// What stops it, with a remedy.
    pub(crate) fn account(&self, pool: &Pool) -> Result<(), ApiError> {
        pool.store.account().map_err(|error| self.not_collected(&error))
    }

    pub(crate) fn nothing_is_lost(&self, pool: &Pool) -> Result<(), ApiError> {
        let lost = self.lost(pool).map_err(|error| refused(&error))?;
        if lost.is_empty() {
            return Ok(());
        }
        let named: Vec<String> = lost.iter().take(NAMED).map(ToString::to_string).collect();
        let more = match lost.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let example = named.first().map_or("LABEL", String::as_str);
        Err(ApiError::new(
            ErrorCode::Conflict,
            format!(
                "the store lacks {}{more}, which the inventory lists: a collection could take what is left of their data",
                named.join(", ")
            ),
            format!(
                "bring them back from a copy of the store, or give their data up: vtl cartridge rm {example} --now --confirm {example}"
            ),
        ))
    }

    /// Cartridges that are listed for a pool, or in the trash before their time is over, and that its store does not have.
    fn lost(&self, pool: &Pool) -> Result<Vec<Label>, LibraryError> {
        // A removal takes a cartridge from the store first and then from the inventory: not to be seen half done.
        let _one_at_a_time = lock(&self.changes);
        let owners: BTreeSet<OwnerId> = pool.store.owners().into_iter().collect();
        let mut listed = self.listed_in(&pool.name)?;
        let now = self.retention.now();
        let wanted =
            |one: &Cartridge| one.state == CartridgeState::Normal || !self.trash_time_is_over(one.id, now);
        listed.retain(|one| !owners.contains(&OwnerId(one.id.0)) && wanted(one));
        Ok(listed.into_iter().map(|one| one.label).collect())
    }

    pub(crate) fn not_collected(&self, error: &StoreError) -> ApiError {
        let (code, message, remedy) = match error {
            StoreError::Collecting => (
                ErrorCode::Conflict,
                "a collection is running already".to_owned(),
                "wait for it to end; vtl store stats shows what is left".to_owned(),
            ),
            StoreError::Damaged { path, .. } | StoreError::Format { path, .. } => {
                let (whose, give_up) = self.owner_of(path).unwrap_or_else(|| {
                    ("a cartridge".to_owned(), "vtl system status says which and how".to_owned())
                });
                (
                    ErrorCode::Internal,
                    format!("what {whose} needs cannot be read, so nothing is collected: {error}"),
                    format!(
                        "put {} back from a copy of the store, or give its data up: {give_up}",
                        path.display()
                    ),
                )
            }
            StoreError::ReadOnly { .. } => (
                ErrorCode::Conflict,
                error.to_string(),
                "check the disk, then restart vtld: it verifies the pool".to_owned(),
            ),
            other => (
                ErrorCode::Internal,
                other.to_string(),
                "see the log, check the disk, and try again".to_owned(),
            ),
        };
        ApiError::new(code, message, remedy)
    }

    /// The cartridge that a file of the store belongs to, and the command that gives it up: its folder has the owner's name, which may be that of what is
    /// here of a cartridge.
    fn owner_of(&self, path: &Path) -> Option<(String, String)> {
        let owner: CartridgeId = path.parent()?.file_name()?.to_str()?.parse().ok()?;
        let id = self.owners_of_pieces().get(&owner.0).map_or(owner, |cartridge| CartridgeId(*cartridge));
        let listed = self.meta.read(vtl_library::cartridges).ok()?;
        Some(match listed.into_iter().find(|one| one.id == id) {
            Some(Cartridge { label, .. }) => {
                (label.to_string(), format!("vtl cartridge rm {label} --now --confirm {label}"))
            }
            None => (format!("cartridge {id}, which the inventory does not list,"), give_up_now_command(id)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::tests::open;

    #[test]
    fn a_second_collection_is_a_conflict_and_a_read_only_pool_is_told_with_what_helps() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let told = daemon.not_collected(&StoreError::Collecting);
        assert_eq!(told.code, ErrorCode::Conflict);
        assert!(told.remedy.unwrap().contains("wait"), "{}", told.message);
        let told = daemon.not_collected(&StoreError::ReadOnly { why: "sync failed".to_owned() });
        assert_eq!(told.code, ErrorCode::Conflict);
        assert!(told.message.contains("sync failed") && told.remedy.unwrap().contains("restart vtld"));
        daemon.stop();
    }
}
