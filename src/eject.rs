//! Ejection: what is put into a mailslot of a library that exports goes on to the vault, and a job exports it.
//!
//! The move, the vault and the job are one transaction, in this order: the cartridge is put into the mailslot; it leaves it for the vault; the job is
//! queued, with what has led to it as the first lines of its log. A crash at any point leaves all of it or nothing, so there is one job for each move
//! that a host was told of. The engine is told when the transaction is durable; after a crash it finds the job by itself.

use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use scsi::Host;
use tracing::info;
use vtl_jobs::{JobError, NewJob};
use vtl_library::{LibraryError, Moved};
use vtl_meta::Tx;
use vtl_migrate::{Clean, EXPORT};
use vtl_types::{CartridgeId, Label, LibraryName, Place};

use crate::library_settings::{Defaults, Effective};
use crate::policies::{note_import, rows};
use crate::pools::Pools;
use crate::pools::rows::pool_of;

/// What every library does with what is put into its mailslots.
#[derive(Clone)]
pub struct Ejection(Arc<Shared>);

struct Shared {
    pools: Arc<Pools>,
    defaults: RwLock<Defaults>,
    wake: OnceLock<Box<Wake>>,
}

/// Hears what was moved, by which host, and whether something of it was ejected.
type Wake = dyn Fn(&[Moved], Option<&Host>, bool) + Send + Sync;

impl fmt::Debug for Ejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ejection")
    }
}

/// One movement: what tells it from all others, and what it has ejected.
#[derive(Debug)]
pub struct Event {
    id: String,
    /// Who commanded it; none: the operator, or a rule of his.
    host: Option<Host>,
    /// As the last try of its transaction had it.
    ejected: RefCell<Vec<(Label, Ending)>>,
}

/// What follows for a cartridge that was put out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Its export is queued.
    Queued,
    /// It is a clean import: there is nothing to export.
    Clean,
}

impl Ending {
    const fn words(self) -> &'static str {
        match self {
            Self::Queued => "element-cleared, vaulted, job queued",
            Self::Clean => "element-cleared, vaulted, a clean import",
        }
    }
}

impl Event {
    /// Another one each time.
    pub fn new(host: Option<Host>) -> Self {
        Self { id: crate::state::hexadecimal(&crate::random::id()), host, ejected: RefCell::default() }
    }
}

impl Ejection {
    /// With the cartridges of these pools.
    pub(crate) fn new(pools: Arc<Pools>) -> Self {
        Self(Arc::new(Shared { pools, defaults: RwLock::default(), wake: OnceLock::new() }))
    }

    /// What the configuration says from now on.
    pub fn heed(&self, defaults: Defaults) {
        *self.0.defaults.write().unwrap_or_else(PoisonError::into_inner) = defaults;
    }

    /// Who is told of movements. Said once.
    pub fn tell(&self, wake: impl Fn(&[Moved], Option<&Host>, bool) + Send + Sync + 'static) {
        drop(self.0.wake.set(Box::new(wake)));
    }

    /// What the configuration says.
    pub fn defaults(&self) -> Defaults {
        self.0.defaults.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets cartridges that were put into a mailslot, in this transaction and from inside the library, go on to the vault, and queues their jobs. What
    /// comes from the vault is not to go any more.
    ///
    /// # Errors
    /// They cannot; nothing of the transaction may be kept then.
    pub fn follow(
        &self,
        tx: &mut Tx<'_>,
        library: &LibraryName,
        moved: Vec<Moved>,
        event: &Event,
    ) -> Result<Vec<Moved>, LibraryError> {
        event.ejected.borrow_mut().clear();
        for one in moved.iter().filter(|one| one.from == Place::Vault) {
            rows::forget_return(tx, one.cartridge.id)?;
        }
        if !moved.iter().any(is_put_out) {
            return Ok(moved);
        }
        let settings = Effective::read(tx, library, &self.defaults())?;
        if !settings.is_ejecting() {
            return Ok(moved);
        }
        let eject = |one: Moved| match is_put_out(&one) {
            true => self.put_out(tx, one, library, &settings, event),
            false => Ok(one),
        };
        moved.into_iter().map(eject).collect()
    }

    fn put_out(
        &self,
        tx: &mut Tx<'_>,
        put: Moved,
        library: &LibraryName,
        settings: &Effective,
        event: &Event,
    ) -> Result<Moved, LibraryError> {
        // What an earlier ejection has noted was by the settings of that time.
        rows::forget_return(tx, put.cartridge.id)?;
        match self.clean_import(tx, put.cartridge.id, settings)? {
            Some(clean) => come_back(tx, put, settings, &clean, event),
            None => export(tx, put, library, settings, event),
        }
    }

    /// Whether a cartridge came from a remote and is there still, unchanged. Of one that cannot be read its job says why.
    fn clean_import(
        &self,
        tx: &Tx<'_>,
        id: CartridgeId,
        settings: &Effective,
    ) -> Result<Option<Clean>, LibraryError> {
        let Some(remote) = settings.remote() else { return Ok(None) };
        let pool = self.0.pools.named(&pool_of(tx, id)?);
        let generation = || Some(vtl_cartridge::Cartridge::inspect(&pool.ok()?.store, id).ok()?.generation);
        Ok(vtl_migrate::clean_import(tx, id, remote, generation)?)
    }

    /// What a movement did is durable; whether it has ejected something.
    pub fn done(&self, library: &LibraryName, event: &Event, moved: &[Moved]) -> bool {
        for (label, ending) in event.ejected.borrow().iter() {
            info!(%library, %label, "{}", ending.words());
        }
        let is_any = !event.ejected.borrow().is_empty();
        if let Some(wake) = self.0.wake.get() {
            wake(moved, event.host.as_ref(), is_any);
        }
        is_any
    }
}

/// What comes from the vault is brought in by an operator, and not put out.
fn is_put_out(moved: &Moved) -> bool {
    matches!(moved.to, Place::Mailslot(_)) && moved.from != Place::Vault
}

/// There is nothing to export, and so no job. With `migrate.delete_clean_import` it goes when the copy is proved.
fn come_back(
    tx: &mut Tx<'_>,
    put: Moved,
    settings: &Effective,
    clean: &Clean,
    event: &Event,
) -> Result<Moved, LibraryError> {
    let label = put.cartridge.label;
    let vaulted = vtl_library::eject(tx, put)?;
    let goes = settings.deletes_clean_imports();
    if goes {
        rows::let_go(tx, vaulted.cartridge.id, clean)?;
    }
    let then = if goes { "it is removed here when that is proved" } else { "it stays in the vault" };
    let told = format!(
        "{label} was put out unchanged: it lies in folder {} of remote {}, and {then}",
        clean.folder, clean.remote
    );
    note_import(tx, label, crate::clock::unix_seconds(), "clean-skip", &told)?;
    event.ejected.borrow_mut().push((label, Ending::Clean));
    Ok(vaulted)
}

fn export(
    tx: &mut Tx<'_>,
    put: Moved,
    library: &LibraryName,
    settings: &Effective,
    event: &Event,
) -> Result<Moved, LibraryError> {
    let (label, mailslot) = (put.cartridge.label, put.to);
    let vaulted = vtl_library::eject(tx, put)?;
    let request = settings.request_of_ejected(label, library);
    let follow = |why: String| LibraryError::Follow { label, why };
    let new = NewJob {
        key: format!("eject:{}:{}", vaulted.cartridge.id, event.id),
        kind: EXPORT.to_owned(),
        label: Some(label.to_string()),
        request: serde_json::to_string(&request).map_err(|error| follow(error.to_string()))?,
        before: vec![
            ("element-cleared", format!("{mailslot} of {library} is free again")),
            ("vaulted", format!("{label} is in the vault")),
        ],
        ..NewJob::default()
    };
    match vtl_jobs::enqueue(tx, &new, crate::clock::unix_seconds()) {
        Ok(_) => {
            event.ejected.borrow_mut().push((label, Ending::Queued));
            Ok(vaulted)
        }
        Err(JobError::Meta(error)) => Err(error.into()),
        Err(error) => Err(follow(format!("its export cannot be queued: {error}"))),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use serde_json::{Value, json};
    use vtl_jobs::{Job, State};
    use vtl_library::{Cartridge, Gates, Mover};
    use vtl_meta::{MetaError, Table, Value as MetaValue};

    use super::*;
    use crate::daemon::Daemon;
    use crate::daemon::tests::open;
    use crate::inventory::{CarryError, Force};
    use crate::meta::SharedMeta;

    /// The default library, exporting to a remote that nobody asks about here.
    struct Bench {
        daemon: Arc<Daemon>,
        folder: tempfile::TempDir,
    }

    fn lib0() -> LibraryName {
        "lib0".parse().unwrap()
    }

    fn slot(number: u16) -> Place {
        Place::Slot(number)
    }

    const MAILSLOT: Place = Place::Mailslot(1);

    impl Bench {
        fn new(settings: &[(&str, &str)]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let daemon = open(folder.path(), &[]);
            let set = |tx: &mut Tx<'_>| {
                settings
                    .iter()
                    .try_for_each(|(key, value)| vtl_library::set_setting(tx, &lib0(), key, Some(value)))
            };
            daemon.meta.change(set).unwrap();
            Self { daemon, folder }
        }

        fn exporting() -> Self {
            Self::new(&[("migrate.remote", "cloud"), ("migrate.key", "k"), ("migrate.chunk_size", "64m")])
        }

        /// As a host commands it.
        fn robot(&self, from: Place, to: Place) -> Result<Vec<Moved>, CarryError> {
            self.carry(&[from], move |tx, gates| {
                vtl_library::move_medium(tx, &lib0(), from, to, Mover::Robot, gates).map(|moved| vec![moved])
            })
        }

        fn carry(
            &self,
            sources: &[Place],
            change: impl Fn(&mut Tx<'_>, &Gates) -> Result<Vec<Moved>, LibraryError> + Send + 'static,
        ) -> Result<Vec<Moved>, CarryError> {
            let (library, sources) = (self.daemon.library(&lib0()).unwrap(), sources.to_vec());
            let carry = move |changer: &mut crate::library::Changer| {
                changer.inventory_mut().carry(&sources, Force(false), change)
            };
            library.changer.call(carry).unwrap()
        }

        fn row(&self, number: u16) -> Cartridge {
            row(&self.daemon.meta, number)
        }
    }

    fn row(meta: &SharedMeta, number: u16) -> Cartridge {
        let label = format!("VTL{number:03}L8").parse().unwrap();
        meta.read(|tx| vtl_library::cartridge(tx, label)).unwrap()
    }

    fn jobs(meta: &SharedMeta) -> Vec<Job> {
        meta.with(|meta| meta.read(vtl_jobs::unfinished)).unwrap()
    }

    #[test]
    fn what_a_host_puts_into_a_mailslot_is_in_the_vault_with_one_job_and_the_mailslot_is_free_for_the_next() {
        let bench = Bench::exporting();
        for number in [1, 2] {
            let moved = bench.robot(slot(number), MAILSLOT).unwrap();
            assert_eq!((moved[0].from, moved[0].to), (slot(number), Place::Vault));
            assert_eq!((bench.row(number).place, bench.row(number).library), (Place::Vault, None));
        }
        let queued = jobs(&bench.daemon.meta);
        assert_eq!(queued.len(), 2);
        let job = &queued[0];
        assert_eq!(
            (job.kind.as_str(), job.label.as_deref(), job.state),
            ("export", Some("VTL001L8"), State::Queued)
        );
        let request: Value = serde_json::from_str(&job.request).unwrap();
        assert_eq!(
            request,
            json!({
                "label": "VTL001L8", "library": "lib0", "remote": "cloud", "key": "k", "sign_with": "none",
                "chunk_bytes": 67_108_864, "compress": "zstd", "delete_after_export": false,
                "verify": "remote-hash"
            })
        );
        crate::jobs::Jobs::open(&bench.daemon);
        let (_, log) = bench.daemon.jobs.manager().unwrap().detail(job.id).unwrap();
        let words: Vec<&str> = log.iter().map(|line| line.event.as_str()).collect();
        assert_eq!(words, ["element-cleared", "vaulted", "queued"]);
        bench.daemon.stop();
    }

    #[test]
    fn an_exchange_that_ends_in_a_mailslot_ejects_that_one_alone() {
        let bench = Bench::exporting();
        let moved = bench
            .carry(&[slot(1), slot(2)], |tx, gates| {
                vtl_library::exchange(tx, &lib0(), slot(1), slot(2), MAILSLOT, Mover::Robot, gates)
                    .map(Vec::from)
            })
            .unwrap();
        assert_eq!(moved.iter().map(|one| one.to).collect::<Vec<_>>(), [slot(2), Place::Vault]);
        assert_eq!((bench.row(1).place, bench.row(2).place), (slot(2), Place::Vault));
        assert_eq!(jobs(&bench.daemon.meta)[0].label.as_deref(), Some("VTL002L8"));
        bench.daemon.stop();
    }

    #[test]
    fn an_operator_may_put_a_loaded_cartridge_out_too_and_what_is_brought_in_is_not_put_out() {
        let bench = Bench::exporting();
        bench.robot(slot(1), Place::Drive(0)).unwrap();
        let label = bench.row(1).label;
        let by_label = |to: Place| {
            move |tx: &mut Tx<'_>, gates: &Gates| {
                vtl_library::move_label(tx, label, Some(&lib0()), to, gates).map(|moved| vec![moved])
            }
        };
        bench.carry(&[Place::Drive(0)], by_label(MAILSLOT)).unwrap();
        assert_eq!(bench.row(1).place, Place::Vault);
        let drive = bench.daemon.library(&lib0()).unwrap().bay(0).unwrap().unit;
        assert_eq!(drive.call(|drive| drive.status().label).unwrap(), None);
        bench.carry(&[Place::Vault], by_label(MAILSLOT)).unwrap();
        assert_eq!((bench.row(1).place, jobs(&bench.daemon.meta).len()), (MAILSLOT, 1));
        bench.robot(MAILSLOT, slot(1)).unwrap();
        bench.carry(&[slot(1)], by_label(Place::Vault)).unwrap();
        assert_eq!(jobs(&bench.daemon.meta).len(), 1, "the operator's own way to the vault");
        bench.daemon.stop();
    }

    #[test]
    fn a_library_without_a_remote_or_without_the_trigger_keeps_it_in_the_mailslot() {
        for settings in [
            &[][..],
            &[("migrate.remote", "none")],
            &[("migrate.remote", "cloud"), ("migrate.triggers", "none")],
        ] {
            let bench = Bench::new(settings);
            bench.robot(slot(1), MAILSLOT).unwrap();
            assert_eq!((bench.row(1).place, jobs(&bench.daemon.meta).len()), (MAILSLOT, 0), "{settings:?}");
            let full = bench.robot(slot(2), MAILSLOT);
            assert!(matches!(full, Err(CarryError::Refused(LibraryError::Move(_)))), "{full:?}");
            bench.daemon.stop();
        }
    }

    /// What a process that is killed now leaves: the files as they are, opened by the next one.
    fn killed_now(state: &Path) -> (Place, usize) {
        let copy = tempfile::tempdir().unwrap();
        for name in ["inventory.db", "inventory.db-wal"] {
            std::fs::copy(state.join(name), copy.path().join(name)).unwrap();
        }
        let meta = SharedMeta::open(&copy.path().join("inventory.db")).unwrap();
        (row(&meta, 1).place, jobs(&meta).len())
    }

    #[test]
    fn a_crash_at_any_step_leaves_the_cartridge_in_its_slot_without_a_job_or_in_the_vault_with_one() {
        let bench = Bench::exporting();
        let state = bench.folder.path().join("state");
        let ejection = &bench.daemon.ejection;
        let (before, after) = ((slot(1), 0), (Place::Vault, 1));
        let event = Event::new(None);
        let moved: Result<(), LibraryError> = bench.daemon.meta.change(|tx| {
            assert_eq!(killed_now(&state), before, "begun");
            let moved =
                vtl_library::move_medium(tx, &lib0(), slot(1), MAILSLOT, Mover::Robot, &Gates::open())?;
            assert_eq!(killed_now(&state), before, "in the mailslot");
            ejection.follow(tx, &lib0(), vec![moved], &event)?;
            assert_eq!(killed_now(&state), before, "in the vault, its job queued, not committed");
            Ok(())
        });
        moved.unwrap();
        assert_eq!(killed_now(&state), after, "committed, and nobody told");
        assert!(ejection.done(&lib0(), &event, &[]));
        assert_eq!(killed_now(&state), after);
        bench.daemon.stop();
    }

    /// The catalogue's rows, as `docs/formats/inventory.md` has them.
    static CATALOGUE: Table = Table {
        name: "exports",
        columns: &[
            "remote",
            "folder",
            "cartridge",
            "label",
            "generation",
            "origin",
            "made_s",
            "image_bytes",
            "stored_bytes",
            "manifest_sha256",
            "proof",
            "objects",
        ],
        key_len: 3,
    };

    /// Cartridge 1 was imported from there as it is, as far as the catalogue says.
    pub(crate) fn call_imported(meta: &SharedMeta, remote: &str) {
        let text = |text: &str| MetaValue::Text(text.to_owned());
        let number = MetaValue::Integer;
        let values = [
            text(remote),
            text("VTL001L8-20261126_031500"),
            MetaValue::Blob(row(meta, 1).id.0.to_vec()),
            text("VTL001L8"),
            number(0),
            text("import"),
            number(1),
            number(0),
            number(0),
            text("00"),
            text("every byte"),
            text("[]"),
        ];
        meta.change(|tx| Ok(tx.insert(&CATALOGUE, &values)?)).unwrap();
    }

    fn notes(meta: &SharedMeta) -> Vec<(CartridgeId, Clean)> {
        meta.read(|tx| Ok(rows::returns(tx)?)).unwrap()
    }

    #[test]
    fn a_clean_import_leaves_with_the_note_that_it_is_to_go_and_without_a_job_in_one_transaction() {
        let bench = Bench::exporting();
        let meta = &bench.daemon.meta;
        let set = |tx: &mut Tx<'_>| {
            vtl_library::set_setting(tx, &lib0(), "migrate.delete_clean_import", Some("true"))
        };
        meta.change(set).unwrap();
        call_imported(meta, "cloud");
        let state = bench.folder.path().join("state");
        let note = Clean {
            remote: "cloud".to_owned(),
            folder: "VTL001L8-20261126_031500".to_owned(),
            generation: 0,
        };
        let event = Event::new(None);
        let moved: Result<(), LibraryError> = meta.change(|tx| {
            let moved =
                vtl_library::move_medium(tx, &lib0(), slot(1), MAILSLOT, Mover::Robot, &Gates::open())?;
            bench.daemon.ejection.follow(tx, &lib0(), vec![moved], &event)?;
            assert_eq!(killed_now(&state), (slot(1), 0), "not committed");
            assert_eq!(rows::returns(tx)?, [(row_id(tx), note.clone())]);
            Ok(())
        });
        moved.unwrap();
        assert_eq!(killed_now(&state), (Place::Vault, 0));
        assert_eq!(notes(meta), [(bench.row(1).id, note)]);
        bench.daemon.stop();
    }

    #[test]
    fn what_is_loaded_from_the_vault_or_put_out_again_under_other_settings_is_not_to_go_any_more() {
        let bench = Bench::exporting();
        let meta = &bench.daemon.meta;
        let goes = |value: &'static str| {
            let set = move |tx: &mut Tx<'_>| {
                vtl_library::set_setting(tx, &lib0(), "migrate.delete_clean_import", Some(value))
            };
            meta.change(set).unwrap();
        };
        call_imported(meta, "cloud");
        goes("true");
        bench.robot(slot(1), MAILSLOT).unwrap();
        let left = notes(meta);
        assert_eq!(left.len(), 1);
        let load = |tx: &mut Tx<'_>, gates: &Gates| {
            let (label, into) = ("VTL001L8".parse().unwrap(), vtl_library::NewPlace::Slot);
            vtl_library::load_from_vault(tx, label, &lib0(), into, gates).map(|moved| vec![moved])
        };
        bench.carry(&[], load).unwrap();
        assert_eq!((bench.row(1).place, notes(meta)), (slot(1), vec![]));

        // As a server before this rule has left it.
        let (id, clean) = &left[0];
        meta.change(|tx| Ok(rows::let_go(tx, *id, clean)?)).unwrap();
        goes("false");
        bench.robot(slot(1), MAILSLOT).unwrap();
        assert_eq!((bench.row(1).place, notes(meta)), (Place::Vault, vec![]));
        bench.daemon.stop();
    }

    fn row_id(tx: &Tx<'_>) -> CartridgeId {
        vtl_library::cartridge(tx, "VTL001L8".parse().unwrap()).unwrap().id
    }

    #[test]
    fn an_import_of_another_remote_is_exported_to_the_one_of_the_library() {
        let bench = Bench::exporting();
        call_imported(&bench.daemon.meta, "elsewhere");
        bench.robot(slot(1), MAILSLOT).unwrap();
        let queued = jobs(&bench.daemon.meta).len();
        assert_eq!((bench.row(1).place, queued, notes(&bench.daemon.meta)), (Place::Vault, 1, vec![]));
        bench.daemon.stop();
    }

    #[test]
    fn a_transaction_that_fails_after_the_job_was_queued_leaves_cartridge_drive_and_list_as_they_were() {
        let bench = Bench::exporting();
        bench.robot(slot(1), Place::Drive(0)).unwrap();
        let event = Event::new(None);
        let failed: Result<(), LibraryError> = bench.daemon.meta.change(|tx| {
            let moved = vtl_library::move_medium(
                tx,
                &lib0(),
                Place::Drive(0),
                MAILSLOT,
                Mover::Robot,
                &Gates::open(),
            )?;
            bench.daemon.ejection.follow(tx, &lib0(), vec![moved], &event)?;
            let torn = vtl_meta::RowName { table: "jobs", key: "made to fail".to_owned() };
            Err(MetaError::Absent(torn).into())
        });
        assert!(failed.is_err());
        assert_eq!((bench.row(1).place, jobs(&bench.daemon.meta).len()), (Place::Drive(0), 0));
        bench.daemon.stop();
    }
}
