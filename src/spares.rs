//! Blank cartridges that take the place of exported ones: what the engine of exports asks the daemon for. `docs/vault.md`, "Spares".

use vtl_api::{ApiError, ErrorCode};
use vtl_library::{LibraryError, NewCartridges, NewPlace};
use vtl_meta::Tx;
use vtl_migrate::Blank;

use crate::daemon::{Daemon, lock};

impl Daemon {
    /// Makes a blank cartridge in the first empty slot of its library, in the pool that this library puts new ones into; `also` is a part of the
    /// transaction that lists it. Hosts hear of it as of any other that an operator puts in.
    pub(crate) fn make_blank(
        &self,
        new: &Blank,
        also: &mut dyn FnMut(&mut Tx<'_>) -> Result<(), LibraryError>,
    ) -> Result<(), ApiError> {
        let _one_at_a_time = lock(&self.changes);
        let live = self.library(&new.library).ok_or_else(|| {
            ApiError::new(
                ErrorCode::NotFound,
                format!("library {} is not there any more", new.library),
                "vtl cartridge create makes a blank one in another library",
            )
        })?;
        let wanted = NewCartridges {
            first: new.label,
            count: 1,
            library: Some(new.library.clone()),
            place: NewPlace::Slot,
        };
        let pool = self.pool_of_new(Some(&new.library), None)?;
        self.make_cartridges_with(&pool, &wanted, Some(new.capacity), also)?;
        live.contents_changed();
        Ok(())
    }
}
