//! What is on a tape, read from the cartridge's head as it was last committed: no drive waits for it, and it for no drive.

use vtl_api::{ApiError, CartridgeMap, ErrorCode, TapeFiles};
use vtl_cartridge::Reading;
use vtl_types::Label;

use crate::api::parse;
use crate::daemon::Daemon;

/// So many rows are told. A picture of a tape has no more columns worth looking at.
const MOST_FILES: usize = 500;

impl Daemon {
    /// Blocks and filemarks of a cartridge.
    pub(crate) fn cartridge_map(&self, label: &str) -> Result<CartridgeMap, ApiError> {
        let parsed: Label = parse(label)?;
        let cartridge =
            self.meta.read(|tx| vtl_library::cartridge(tx, parsed)).map_err(|e| crate::api::refused(&e))?;
        let pool = self.pools.of(cartridge.id)?;
        let reading = Reading::open(&pool.store, cartridge.id).map_err(|error| {
            ApiError::new(
                ErrorCode::Conflict,
                format!("the tape of {label} cannot be read: {error}"),
                "see vtl store check",
            )
        })?;
        let facts = reading.facts();
        let files = reading.files(MOST_FILES);
        Ok(CartridgeMap {
            label: facts.label.to_string(),
            serial: facts.serial,
            write_generation: facts.generation,
            load_count: facts.load_count,
            capacity_bytes: facts.capacity_bytes,
            used_bytes: facts.used_bytes,
            blocks: facts.objects.saturating_sub(facts.filemarks),
            filemarks: facts.filemarks,
            grouped: files.iter().any(|row| row.files > 1),
            files: files
                .into_iter()
                .map(|row| TapeFiles {
                    number: row.number,
                    files: row.files,
                    blocks: row.blocks,
                    bytes: row.bytes,
                })
                .collect(),
        })
    }
}
