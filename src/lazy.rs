//! Cartridges that are here in part, as the daemon sees them: in drives, in lists, at start, and when they go. What they are stands in `docs/lazy.md`; the
//! engine is in `vtl-migrate`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;
use vtl_api::{ApiError, ErrorCode, LazyInfo, Problem};
use vtl_cartridge::{Cartridge, Settings};
use vtl_jobs::Failure;
use vtl_migrate::{Lazies, Lazy, LazyRow, import_anew};
use vtl_store::{OwnerId, Store, StoreError};
use vtl_types::CartridgeId;

use crate::daemon::{Daemon, internal};
use crate::given_up::give_up_command;
use crate::media::turn_switch;
use crate::pools::Pool;

/// How long a removal waits for who has the cartridge open to let go of it.
const LETTING_GO: Duration = Duration::from_millis(100);
const LETTING_GO_TIMES: u32 = 100;

/// What a drive has beside the cartridge while not all of it is here.
pub(crate) struct Part {
    lazy: Arc<Lazy>,
    again: Box<dyn Fn() -> Result<Cartridge, String> + Send>,
    /// How the write-protect switch was turned meanwhile.
    protect: Option<bool>,
}

impl Part {
    /// The cartridge as far as it is here, if that is not all of it. `again` opens it when it is.
    pub(crate) fn open(
        lazies: &Lazies,
        store: &Store,
        id: CartridgeId,
        again: impl Fn() -> Result<Cartridge, String> + Send + 'static,
    ) -> Result<Option<(Cartridge, Self)>, String> {
        if row_of(lazies, store, id)?.is_none() {
            return Ok(None);
        }
        let lazy = lazies.of(id).map_err(Failure::advised)?;
        let Some(lazy) = lazy.filter(|lazy| !lazy.is_whole()) else { return Ok(None) };
        let opened = Cartridge::open_absent(store, id, Settings::default(), lazy.objects(), lazy.absent());
        let cartridge = opened.map_err(|error| error.to_string())?;
        Ok(Some((cartridge, Self { lazy, again: Box::new(again), protect: None })))
    }

    /// All of it is here.
    pub(crate) fn is_over(&self) -> bool {
        self.lazy.is_whole()
    }

    /// The switch is turned when all of it is here.
    pub(crate) fn set_write_protected(&mut self, on: bool) {
        self.protect = Some(on);
    }

    /// Opens it as an ordinary cartridge, which stands where `now` stands.
    pub(crate) fn whole(&self, now: &Cartridge) -> Result<Cartridge, String> {
        let mut whole = (self.again)()?;
        if let Some(on) = self.protect {
            turn_switch(&mut whole, on)?;
        }
        whole.locate_object(now.position().object);
        Ok(whole)
    }
}

/// The row of a cartridge of which not all is here. One whose copy is finished is an ordinary cartridge, whatever rows say.
pub(crate) fn row_of(lazies: &Lazies, store: &Store, id: CartridgeId) -> Result<Option<LazyRow>, String> {
    let unread = |why: String| format!("whether all of it is here cannot be read: {why}");
    let Some(row) = lazies.row(id).map_err(|failure| unread(failure.advised()))? else { return Ok(None) };
    let facts = Cartridge::inspect(store, id).map_err(|error| unread(error.to_string()))?;
    Ok(facts.unfinished.then_some(row))
}

/// The same for who only tells of it.
pub(crate) fn row_if_read(lazies: &Lazies, store: &Store, id: CartridgeId) -> Option<LazyRow> {
    row_of(lazies, store, id).unwrap_or_else(|why| {
        warn!(cartridge = %id, why, "what is here of a cartridge is not told");
        None
    })
}

/// A copy that is not finished is no tape: what it lacks would look like blank tape, and take writes.
pub(crate) fn is_finished(store: &Store, id: CartridgeId) -> Result<(), String> {
    match Cartridge::inspect(store, id) {
        Ok(facts) if facts.unfinished => Err(format!(
            "not all of cartridge {} is here, and what says where the rest is was not found: {}",
            facts.label,
            import_anew(facts.label)
        )),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Refuses to remove what the next start reads, and this one cannot.
fn refuse_mended(store: &Store, ids: impl IntoIterator<Item = CartridgeId>) -> Result<(), ApiError> {
    for owner in ids.into_iter().map(|id| OwnerId(id.0)) {
        if store.is_mended(owner).map_err(|error| not_removed(&error))? {
            return Err(not_removed(&StoreError::Mended { owner }));
        }
    }
    Ok(())
}

/// Why a pool cannot read these pieces.
fn damage_of(pool: &Pool, pieces: CartridgeId) -> Option<StoreError> {
    pool.store.usage(OwnerId(pieces.0)).err().filter(|error| matches!(error, StoreError::Damaged { .. }))
}

/// Removes pieces of a cartridge that is whole, if they cannot be read: nobody needs them.
fn remove_damaged(pool: &Pool, row: &LazyRow) {
    if damage_of(pool, row.pieces).is_some()
        && let Err(error) = pool.store.remove(OwnerId(row.pieces.0))
    {
        warn!(label = %row.label, %error, "pieces that nobody needs stay for now");
    }
}

fn not_given_up(failure: Failure) -> ApiError {
    ApiError::new(ErrorCode::Internal, failure.message, failure.remedy.unwrap_or_default())
}

fn not_removed(error: &StoreError) -> ApiError {
    match error {
        StoreError::Mended { .. } => {
            let remedy = "restart vtld, which reads it; then remove it";
            ApiError::new(ErrorCode::Conflict, error.to_string(), remedy)
        }
        other => internal(&other.to_string()),
    }
}

impl Daemon {
    /// What is here of a cartridge, and where the rest is; none when all of it is here.
    pub(crate) fn lazy_row(&self, id: CartridgeId) -> Option<LazyRow> {
        let pool = self.pools.of(id).ok()?;
        row_if_read(self.shelf.lazies(), &pool.store, id)
    }

    /// The same for lists.
    pub(crate) fn lazy_info(&self, row: &LazyRow) -> LazyInfo {
        LazyInfo {
            remote: row.remote.clone(),
            folder: row.folder.clone(),
            here_bytes: self.shelf.lazies().here_bytes(row),
            image_bytes: row.image_bytes,
            problem: row.wrong.clone(),
        }
    }

    /// The cartridge whose pieces an owner of the store has, for each such owner.
    pub(crate) fn owners_of_pieces(&self) -> BTreeMap<[u8; 16], [u8; 16]> {
        let rows = self.meta.read(|tx| Ok(vtl_migrate::lazy_all(tx)?)).unwrap_or_default();
        rows.into_iter().map(|row| (row.pieces.0, row.cartridge.0)).collect()
    }

    /// Cartridges that are here in part, and would stay so.
    pub(crate) fn lazy_problems(&self) -> Vec<Problem> {
        let rows = self.meta.read(|tx| Ok(vtl_migrate::lazy_all(tx)?)).unwrap_or_default();
        if rows.is_empty() {
            return Vec::new();
        }
        let jobs = self.jobs.manager().ok().and_then(|manager| manager.unfinished().ok()).unwrap_or_default();
        let is_at = |row: &LazyRow| {
            let label = Some(row.label.as_str());
            jobs.iter().any(|job| job.kind == vtl_migrate::IMPORT && job.label.as_deref() == label)
        };
        let told = |row: &LazyRow| match &row.wrong {
            Some(wrong) => Some((
                format!("nothing of it is served: {wrong}"),
                format!("see vtl export verify; then {}", import_anew(row.label)),
            )),
            None if is_at(row) => None,
            None => {
                let own = if row.folder.starts_with(row.label.as_str()) {
                    String::new()
                } else {
                    format!(" --as {}", row.label)
                };
                Some((
                    "not all of it is here, and no job fetches the rest".to_owned(),
                    format!(
                        "vtl cartridge import --remote {} --folder {}{own} --lazy goes on",
                        row.remote, row.folder
                    ),
                ))
            }
        };
        let problem = |row: &LazyRow| {
            let (message, remedy) = self.damaged_pieces(row).or_else(|| told(row))?;
            Some(Problem { subject: row.label.to_string(), message, remedy })
        };
        rows.iter().filter_map(problem).collect()
    }

    /// Why what is here of a cartridge is of no use, and what helps; none while the store can read it.
    fn damaged_pieces(&self, row: &LazyRow) -> Option<(String, String)> {
        let pool = self.pools.of(row.cartridge).ok()?;
        let error = damage_of(&pool, row.pieces)?;
        let facts = Cartridge::inspect(&pool.store, row.cartridge);
        if facts.as_ref().is_ok_and(|facts| !facts.unfinished) {
            return Some((
                format!("all of it is here; what its import has left beside it cannot be read: {error}"),
                "restart vtld, which removes what is left; the cartridge stays as it is".to_owned(),
            ));
        }
        let listed = self.meta.read(vtl_library::cartridges).unwrap_or_default();
        let remedy = match listed.iter().find(|one| one.id == row.cartridge) {
            Some(one) if facts.is_ok() => import_anew(one.label),
            // Whether it has become whole, and was written since, is not known.
            Some(one) => format!(
                "put its folder back from a copy of the store, and restart vtld; or, if nothing was written to it here: {}",
                import_anew(one.label)
            ),
            None => give_up_command(row.cartridge),
        };
        Some((format!("what is here of it cannot be read: {error}"), remedy))
    }

    /// Owners of the store that have what is here of cartridges. A row of a cartridge that is whole, and whose pieces are gone, goes; so do its pieces that
    /// cannot be read.
    pub(crate) fn pieces(&self) -> Result<BTreeSet<CartridgeId>, ApiError> {
        let found = self.meta.read(|tx| Ok((vtl_migrate::lazy_all(tx)?, vtl_library::cartridges(tx)?)));
        let (rows, listed) = found.map_err(|e| crate::api::refused(&e))?;
        for row in &rows {
            let Ok(pool) = self.pools.of(row.cartridge) else { continue };
            let facts = Cartridge::inspect(&pool.store, row.cartridge);
            let is_whole = facts.is_ok_and(|facts| !facts.unfinished);
            // One that is not listed may wait for its label, and its row keeps its import from being made anew.
            if is_whole && listed.iter().any(|one| one.id == row.cartridge) {
                remove_damaged(&pool, row);
            }
            if is_whole && !pool.has(row.pieces) {
                let forgotten = self.meta.change(|tx| Ok(vtl_migrate::lazy_forget(tx, row.cartridge)?));
                forgotten.map_err(|e| crate::api::refused(&e))?;
            }
        }
        Ok(rows.into_iter().map(|row| row.pieces).collect())
    }

    /// Whether a cartridge may be removed as far as it is known what is removed: it, or what is here of it, could not be read when its pool was opened, and
    /// is there again. A mark of its removal would let the next start, which reads it, remove it.
    ///
    /// # Errors
    /// It is mended; or whether it is is not known.
    pub(crate) fn refuse_mended(&self, id: CartridgeId) -> Result<(), ApiError> {
        let Ok(pool) = self.pools.of(id) else { return Ok(()) };
        // A row that cannot be read lets nothing be removed.
        let row = self.shelf.lazies().row(id).ok().flatten();
        refuse_mended(&pool.store, [id].into_iter().chain(row.map(|row| row.pieces)))
    }

    /// Removes a cartridge from its pool, and what is here of it when that is not all.
    pub(crate) fn remove_from(&self, pool: &Pool, id: CartridgeId) -> Result<(), ApiError> {
        let row = self.shelf.lazies().row(id).map_err(not_given_up)?;
        if let Some(row) = &row {
            // Pieces go first, and not those of a cartridge that stays.
            refuse_mended(&pool.store, [id, row.pieces])?;
            self.shelf.lazies().give_up(row).map_err(not_given_up)?;
        }
        if !pool.has(id) {
            return Ok(());
        }
        let mut times = if row.is_some() { LETTING_GO_TIMES } else { 0 };
        loop {
            match pool.store.remove(OwnerId(id.0)) {
                Err(StoreError::Busy { .. }) if times > 0 => std::thread::sleep(LETTING_GO),
                done => return done.map_err(|error| not_removed(&error)),
            }
            times -= 1;
        }
    }
}
