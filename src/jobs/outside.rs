//! What the engines of exports and imports are given of this daemon: the adapter behind [`vtl_migrate::World`].

use std::sync::{Arc, Mutex, Weak};

use tokio::runtime::Handle;
use vtl_api::ErrorCode;
use vtl_cartridge::Cartridge;
use vtl_codec::{Key, Method, PrivateKey, PublicKey, Randomness, SigningKey, VerifyingKey};
use vtl_conf::{Compress, Config, ForeignBundles};
use vtl_jobs::{Class, Failure, Ticket, Wanted};
use vtl_library::LibraryError;
use vtl_meta::Tx;
use vtl_migrate::{Blank, Defaults, ForeignRule, Held, Settings, World};
use vtl_remote::{Limiter, Remote, Schedule};
use vtl_store::{Health, RepairReport, Store};
use vtl_transfer::Trouble;
use vtl_types::{CartridgeId, Label, Place};

use super::{failure, upgrade};
use crate::daemon::{Daemon, internal, lock};
use crate::hook::{Ending, Vaulted};
use crate::keys::Sort;
use crate::policies::still_goes;
use crate::pools::Pool;
use crate::remotes::RemoteRefused;
use crate::trash::{self, Wait};

/// So much of the staging folder's file system is left for others, unless it is small: as much as makes a pool low.
const MARGIN_BYTES: u64 = crate::daemon::LOW_POOL_BYTES;

/// The daemon, as engines see it.
pub(super) struct Outside {
    daemon: Weak<Daemon>,
    /// One for all transfers, until bandwidth or number change.
    limiter: Mutex<Option<(String, u32, Limiter)>>,
}

impl Outside {
    pub(super) fn new(daemon: Weak<Daemon>) -> Self {
        Self { daemon, limiter: Mutex::default() }
    }

    fn limiter(&self, config: &Config) -> Result<Limiter, Failure> {
        let (text, sharers) = (&config.transfer.bandwidth, config.jobs.max_transfers);
        let mut limiter = lock(&self.limiter);
        if let Some((old, among, limiter)) = &*limiter
            && (old, *among) == (text, sharers)
        {
            return Ok(limiter.clone());
        }
        let schedule: Schedule = text.parse().map_err(|why: vtl_remote::ScheduleError| {
            failure(Class::Permanent, internal(&why.to_string()))
        })?;
        let fresh = Limiter::new(schedule, sharers.into(), Arc::new(crate::clock::minute_of_day));
        *limiter = Some((text.clone(), sharers, fresh.clone()));
        Ok(fresh)
    }
}

impl World for Outside {
    fn store_of(&self, id: CartridgeId) -> Result<Store, Failure> {
        let pool = upgrade(&self.daemon)?.pools.of(id);
        pool.map(|pool| pool.store.clone()).map_err(|why| failure(Class::Permanent, why.into()))
    }

    fn store_of_new(&self, pool: Option<&str>) -> Result<Store, Failure> {
        let pool = upgrade(&self.daemon)?.pools.one(pool);
        pool.map(|pool| pool.store.clone()).map_err(|why| failure(Class::Permanent, why.into()))
    }

    fn note_pool(&self, tx: &mut Tx<'_>, id: CartridgeId, pool: Option<&str>) -> Result<(), LibraryError> {
        crate::pools::note(tx, id, pool)
    }

    fn held(&self, pool: Option<&str>) -> Result<Vec<Held>, Failure> {
        let daemon = upgrade(&self.daemon)?;
        let mut held = Vec::new();
        for pool in super::pools(&daemon, pool)? {
            let listed = daemon.listed_in(&pool.name);
            let listed = listed.map_err(|e| failure(Class::Temporary, crate::api::refused(&e)))?;
            held.extend(listed.into_iter().map(|one| Held {
                id: one.id,
                label: one.label,
                pool: pool.name.to_string(),
                store: pool.store.clone(),
            }));
        }
        Ok(held)
    }

    fn repair(&self, pool: Option<&str>) -> Result<Vec<RepairReport>, Failure> {
        let daemon = upgrade(&self.daemon)?;
        let pools = super::pools(&daemon, pool)?;
        // What takes no writes is told when something is to be put back there.
        let writable = pools.iter().filter(|pool| pool.store.health() == Health::Ok);
        let class = |error: &vtl_api::ApiError| match error.code {
            ErrorCode::Conflict => Class::Busy,
            _ => Class::Temporary,
        };
        let repaired = |pool: &Arc<Pool>| daemon.repair(pool).map_err(|error| failure(class(&error), error));
        writable.map(repaired).collect()
    }

    fn runtime(&self) -> Result<Handle, Failure> {
        upgrade(&self.daemon)?.remotes.runtime().cloned().map_err(no_remote)
    }

    fn settings(&self) -> Result<Settings, Failure> {
        let daemon = upgrade(&self.daemon)?;
        let config = daemon.config();
        let migrate = &config.migrate;
        let verify =
            migrate.verify.parse().map_err(|why: String| failure(Class::Permanent, internal(&why)))?;
        Ok(Settings {
            staging: daemon.staging(),
            margin_bytes: MARGIN_BYTES,
            slots: usize::try_from(config.jobs.max_transfers).unwrap_or(1),
            limiter: self.limiter(&config)?,
            verify,
            foreign: match migrate.foreign_bundles {
                ForeignBundles::Accept => ForeignRule::Accept,
                ForeignBundles::Quarantine => ForeignRule::Quarantine,
                ForeignBundles::Refuse => ForeignRule::Refuse,
            },
            read_wait: migrate.read_wait,
            defaults: Defaults {
                remote: migrate.remote.clone(),
                key: migrate.key.clone(),
                sign_with: migrate.sign_with.clone(),
                chunk_bytes: migrate.chunk_size.0,
                compress: match migrate.compress {
                    Compress::Zstd => Method::Zstd,
                    Compress::Lz4 => Method::Lz4,
                    Compress::None => Method::Raw,
                },
                delete_after_export: migrate.delete_after_export,
            },
        })
    }

    fn remote(&self, name: &str) -> Result<Arc<dyn Remote>, Failure> {
        let daemon = upgrade(&self.daemon)?;
        // Drivers may want the runtime already when they are made.
        let runtime = daemon.remotes.runtime().cloned().map_err(no_remote)?;
        let _inside = runtime.enter();
        daemon.remotes.open(name).map_err(no_remote)
    }

    fn public_key(&self, name: &str) -> Result<PublicKey, Failure> {
        let key = upgrade(&self.daemon)?.keys.public(name);
        key.map_err(|refused| failure(Class::Permanent, crate::keys::refused(refused)))
    }

    fn private_key(&self, fingerprints: &[String]) -> Result<PrivateKey, Failure> {
        let keys = upgrade(&self.daemon)?;
        let refused = |refused| failure(Class::Permanent, crate::keys::refused(refused));
        for (name, key) in keys.keys.all().map_err(refused)? {
            let fits = key.is_ok_and(|key| {
                key.sort() == Sort::Rsa
                    && key.is_private()
                    && fingerprints.contains(&crate::state::hexadecimal(&key.fingerprint()))
            });
            if fits {
                return keys.keys.private(name.as_str()).map_err(refused);
            }
        }
        Err(failure(
            Class::Permanent,
            vtl_api::ApiError::new(
                ErrorCode::NotFound,
                format!(
                    "the bundle is encrypted, and no private key that opens it is here: {}",
                    fingerprints.join(", ")
                ),
                "import the private key with one of these fingerprints: vtl key import FILE --name K",
            ),
        ))
    }

    fn signing_key(&self, name: &str) -> Result<SigningKey, Failure> {
        let key = upgrade(&self.daemon)?.keys.signing(name);
        key.map_err(|refused| failure(Class::Permanent, crate::keys::refused(refused)))
    }

    fn signers(&self) -> Result<Vec<(String, VerifyingKey)>, Failure> {
        let all = upgrade(&self.daemon)?.keys.signers();
        let all = all.map_err(|refused| failure(Class::Temporary, crate::keys::refused(refused)))?;
        Ok(all.into_iter().map(|(name, key)| (name.to_string(), key)).collect())
    }

    fn checkpoint_key(&self) -> Result<Key, Failure> {
        let key = upgrade(&self.daemon)?.state.checkpoint_key();
        key.map_err(|why| failure(Class::Temporary, internal(&why.to_string())))
    }

    fn random(&self) -> Randomness {
        Randomness::system()
    }

    fn unix_s(&self) -> u64 {
        crate::clock::unix_seconds()
    }

    fn change(
        &self,
        work: &mut dyn FnMut(&mut Tx<'_>) -> Result<(), LibraryError>,
    ) -> Result<(), LibraryError> {
        self.daemon.upgrade().ok_or(LibraryError::NotInstalled)?.meta.change(|tx| work(tx))
    }

    fn read(&self, work: &mut dyn FnMut(&Tx<'_>) -> Result<(), LibraryError>) -> Result<(), LibraryError> {
        self.daemon.upgrade().ok_or(LibraryError::NotInstalled)?.meta.read(|tx| work(tx))
    }

    fn delete_here(&self, id: CartridgeId, generation: u64) -> Result<(), Failure> {
        let daemon = upgrade(&self.daemon)?;
        daemon
            .delete_exported(id, generation, Here::Anywhere)
            .map_err(|refused| failure(Class::Permanent, refused))
    }

    fn make_blank(
        &self,
        new: &Blank,
        also: &mut dyn FnMut(&mut Tx<'_>) -> Result<(), LibraryError>,
    ) -> Result<(), Failure> {
        upgrade(&self.daemon)?.make_blank(new, also).map_err(|refused| failure(Class::Permanent, refused))
    }

    fn freed(&self, pool: Option<&str>) {
        if let Some(daemon) = self.daemon.upgrade()
            && let Ok(pool) = daemon.pools.one(pool)
        {
            pool.keeper.removed();
        }
    }

    fn freed_beside(&self, id: CartridgeId) {
        if let Some(daemon) = self.daemon.upgrade()
            && let Ok(pool) = daemon.pools.of(id)
        {
            pool.keeper.removed();
        }
    }

    fn vaulted(&self, ticket: &Ticket, label: Label, library: &str, used_bytes: u64) -> Result<(), Trouble> {
        let Some(hook) = upgrade(&self.daemon)?.post_vault_hook() else { return Ok(()) };
        let about = Vaulted {
            label: label.to_string(),
            library: Some(library.to_owned()),
            job: ticket.id().0,
            bytes: used_bytes,
        };
        let run = hook.run(&about, &|| ticket.wanted() == Wanted::Stop);
        if !run.said.is_empty() {
            ticket.note(&format!("the post-vault hook said: {}", run.said));
        }
        match run.ending {
            Ending::Done => Ok(()),
            Ending::Stopped => Err(Trouble::Stopped),
            Ending::Failed(failure) => Err(failure.into()),
        }
    }

    fn written_to(&self) -> Result<Vec<(String, String)>, Failure> {
        let daemon = upgrade(&self.daemon)?;
        let manager = daemon.jobs.manager().map_err(|why| failure(Class::Temporary, why))?;
        let unfinished = manager.unfinished();
        let unfinished = unfinished.map_err(|why| failure(Class::Temporary, super::not_done(None, &why)))?;
        Ok(unfinished.iter().filter_map(|job| vtl_migrate::written_to(&job.checkpoint)).collect())
    }
}

/// What is said of a remote that a driver cannot reach now passes; what is wrong with its settings does not.
fn no_remote(refused: RemoteRefused) -> Failure {
    let class = match &refused {
        RemoteRefused::Driver(error) if error.is_retryable() => Class::Temporary,
        _ => Class::Permanent,
    };
    failure(class, crate::remotes::refused(refused))
}

/// Where a cartridge that is to go must be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Here {
    /// Not in a drive.
    Anywhere,
    /// Nobody has taken it back into a library, or wants to export it.
    InVault,
}

impl Daemon {
    /// Removes a clean import that is in the vault, whose copy elsewhere has been proved: unless it was written since that generation, or is kept.
    pub(crate) fn delete_returned(&self, id: CartridgeId, generation: u64) -> Result<(), vtl_api::ApiError> {
        self.delete_exported(id, generation, Here::InVault)
    }

    /// Removes a cartridge whose copy elsewhere has been proved: unless it was written since that generation, is in a drive, or is kept.
    fn delete_exported(&self, id: CartridgeId, generation: u64, here: Here) -> Result<(), vtl_api::ApiError> {
        let _one_at_a_time = lock(&self.changes);
        let found =
            self.meta.read(|tx| vtl_library::cartridge_by_id(tx, id)).map_err(|e| crate::api::refused(&e))?;
        let Some(cartridge) = found else { return Ok(()) };
        self.refuse_kept(&cartridge)?;
        self.refuse_mended(id)?;
        self.refuse_written(&cartridge, generation)?;
        let going = self.begin_deletion(&cartridge, here).map_err(|e| crate::api::refused(&e))?;
        // From here on no drive gets it; one may have had it since it was looked at.
        if let Err(written) = self.refuse_written(&cartridge, generation) {
            self.meta
                .change(|tx| trash::take_back(tx, cartridge.label))
                .map_err(|e| crate::api::refused(&e))?;
            return Err(written);
        }
        self.meta.change(|tx| Ok(trash::note(tx, id, Wait::Not)?)).map_err(|e| crate::api::refused(&e))?;
        self.destroy(&going)
    }

    /// No drive gets the cartridge any more. Until it has been looked at once more it waits in the trash: a crash, which forgets the generation, leaves
    /// it there.
    fn begin_deletion(
        &self,
        cartridge: &vtl_library::Cartridge,
        here: Here,
    ) -> Result<vtl_library::Cartridge, LibraryError> {
        let label = cartridge.label;
        let wait = Wait::from_now_on(self.retention.now());
        let going = self.meta.change(|tx| {
            let place = vtl_library::cartridge(tx, label)?.place;
            match here {
                Here::InVault if place != Place::Vault => {
                    return Err(LibraryError::NotInVault { label, place });
                }
                Here::InVault => still_goes(tx, cartridge.id, label)?,
                Here::Anywhere => {}
            }
            trash::put_in(tx, label, wait)
        })?;
        if let Some(live) = cartridge.library.as_ref().and_then(|name| self.library(name)) {
            live.contents_changed();
        }
        Ok(going)
    }

    fn refuse_written(
        &self,
        cartridge: &vtl_library::Cartridge,
        generation: u64,
    ) -> Result<(), vtl_api::ApiError> {
        let pool = self.pools.of(cartridge.id)?;
        let facts = Cartridge::inspect(&pool.store, cartridge.id).map_err(|e| internal(&e.to_string()))?;
        if facts.generation == generation {
            return Ok(());
        }
        Err(vtl_api::ApiError::new(
            ErrorCode::Conflict,
            format!("{} was written since it was exported", cartridge.label),
            format!("export it once more: vtl cartridge export {}", cartridge.label),
        ))
    }
}

#[cfg(test)]
mod tests {
    use vtl_remote::FolderRemote;

    use super::*;
    use crate::daemon::tests::open;

    #[test]
    fn a_deletion_after_an_export_that_a_crash_cuts_off_before_the_second_look_waits_in_the_trash() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let label: Label = "VTL001L8".parse().unwrap();
        let row = |daemon: &Daemon| daemon.meta.read(|tx| vtl_library::cartridge(tx, label));
        let cartridge = row(&daemon).unwrap();
        daemon.begin_deletion(&cartridge, Here::Anywhere).unwrap();
        daemon.stop();
        drop(daemon);
        let daemon = open(folder.path(), &[]);
        daemon.empty_trash_now(daemon.pools.default());
        assert_eq!(row(&daemon).unwrap().state, vtl_library::CartridgeState::Removing);
        assert!(daemon.pools.default().has(cartridge.id));
        assert!(daemon.trash_ends(cartridge.id).is_some());
        // The job goes on, and looks itself.
        assert_eq!(
            daemon.delete_exported(cartridge.id, 1, Here::Anywhere).unwrap_err().code,
            ErrorCode::Conflict
        );
        daemon.delete_exported(cartridge.id, 0, Here::Anywhere).unwrap();
        assert!(row(&daemon).is_err() && !daemon.pools.default().has(cartridge.id));
        daemon.stop();
    }

    #[test]
    fn a_job_whose_remote_is_on_a_disk_that_is_not_mounted_is_tried_again_later() {
        let folder = tempfile::tempdir().unwrap();
        let class = |path: std::path::PathBuf| {
            let error = FolderRemote::open("r", path).unwrap_err();
            no_remote(RemoteRefused::Driver(error)).class
        };
        assert_eq!(class(folder.path().join("not-mounted")), Class::Temporary);
        assert_eq!(class("relative".into()), Class::Permanent);
    }
}
