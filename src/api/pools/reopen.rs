//! Opening a pool that could not be opened at the start, while the server runs.

use std::sync::Arc;

use vtl_api::{ApiError, Done, ErrorCode, Problem};
use vtl_types::CartridgeId;

use super::refused;
use crate::daemon::{Daemon, internal, lock};
use crate::pools::rows::PoolState;
use crate::pools::{Pool, PoolError};

impl Daemon {
    /// Opens a pool that is closed, with everything that a start does for it:
    ///
    /// 1. its store, with its key; a making that was cut off is finished;
    /// 2. what is in it and not listed is listed, and what an import left unfinished goes; nobody finds the pool before;
    /// 3. it is among the others, with keeper and scrub; passes of the scrub stand that their jobs want to stand;
    /// 4. drives that stayed empty for want of it get their cartridges.
    ///
    /// # Errors
    /// It stays closed; why, with what helps.
    pub(crate) fn pool_open(&self, name: &str) -> Result<Done, ApiError> {
        let pool = {
            let _one_at_a_time = lock(&self.changes);
            let closed = match self.pools.one(Some(name)) {
                Ok(pool) => return Ok(done(format!("pool {} is open already", pool.name), &pool)),
                Err(PoolError::Closed(closed)) => closed,
                Err(error) => return Err(error.into()),
            };
            if closed.row.state == PoolState::Removing {
                return Err(ApiError::new(
                    ErrorCode::Conflict,
                    format!("pool {name} is being removed and is no pool any more: {}", closed.why),
                    closed.remedy(),
                ));
            }
            let (row, pool) = self.pools.reopen(&self.config(), &closed)?;
            if let Err(error) = self.list_what_is_in(std::slice::from_ref(&pool)) {
                self.pools.close_again(row, pool, &error.clone().advised());
                return Err(error);
            }
            self.pools.enter(&pool);
            pool
        };
        self.jobs.hold_passes_in(&pool);
        self.look_after(&pool).map_err(|why| internal(&why))?;
        let listed = self.look_at_listed(&pool)?;
        Ok(done(format!("pool {} is open, with {listed} cartridges", pool.name), &pool))
    }

    /// What was said of its cartridges at the start is said anew; how many there are.
    fn look_at_listed(&self, pool: &Arc<Pool>) -> Result<usize, ApiError> {
        let listed = self.listed_in(&pool.name).map_err(|error| refused(&error))?;
        for cartridge in &listed {
            self.forget_problem(cartridge.label.as_str());
            if !pool.has(cartridge.id) {
                self.note_missing(cartridge);
            }
        }
        let ids: Vec<CartridgeId> = listed.iter().map(|cartridge| cartridge.id).collect();
        for live in self.libraries() {
            let left_out =
                live.fill_drives_with(ids.clone()).map_err(|error| internal(&error.to_string()))?;
            for (label, message) in left_out {
                let remedy = "see vtl store check; move the cartridge to a slot to use the drive".to_owned();
                self.note_problem(Problem { subject: label.to_string(), message, remedy });
            }
        }
        Ok(listed.len())
    }
}

fn done(message: String, pool: &Pool) -> Done {
    Done { message, names: vec![pool.name.to_string()] }
}
