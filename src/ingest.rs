//! Requests about ingests. What they do stands in `docs/ingest.md`; the engine is in `vtl-migrate`.

use serde_json::Value;
use vtl_api::{ApiError, ErrorCode, IngestCartridge};
use vtl_jobs::{Failure, Trouble};
use vtl_library::{LibraryError, NewCartridges, NewPlace};
use vtl_migrate::{INGEST, IngestRequest};
use vtl_types::Label;

use crate::api::{field, new_size, parse};
use crate::daemon::Daemon;
use crate::jobs::Ask;

impl Daemon {
    /// A job that makes a cartridge of what is on a tape in a device of this machine. What is wrong is told at once, as far as it shows.
    /// Or what it would do.
    pub(crate) fn cartridge_ingest(&self, asked: &IngestCartridge) -> Result<Value, ApiError> {
        let label: Label = field("label", parse(&asked.label))?;
        let library = field("library", asked.library.as_deref().map(|name| self.live(name)).transpose())?;
        let library = library.map(|live| live.name.clone());
        let size = field("size_bytes", asked.size_bytes.map(new_size).transpose())?;
        field("device", crate::tape_device::look(&asked.device).map_err(refused))?;
        let new = NewCartridges {
            first: label,
            count: 1,
            place: if library.is_some() { NewPlace::Slot } else { NewPlace::Vault },
            library,
        };
        self.meta.read(|tx| vtl_library::plan_cartridges(tx, &new)).map_err(|error| match error {
            LibraryError::LabelTaken(_) => ApiError::new(
                ErrorCode::Exists,
                format!("a cartridge {label} is here already"),
                "choose another label, or remove the one that is here",
            )
            .about("label"),
            error => crate::api::refused(&error),
        })?;
        let defaults = self.config().cartridge.clone();
        let native = label.media().generation.native_capacity();
        let capacity = size.or(defaults.size).unwrap_or(native);
        let request = IngestRequest {
            label: label.to_string(),
            device: asked.device.clone(),
            library: new.library.map(|name| name.to_string()),
            capacity_bytes: capacity.0,
            early_warning_bytes: defaults.early_warning(capacity).0,
        };
        let ask = Ask::of(asked.plan, asked.priority);
        self.plan_or_begin(ask, INGEST, Some(label.to_string()), &request)
    }
}

fn refused(failure: Failure) -> ApiError {
    let Failure { code, message, remedy, .. } = failure;
    crate::jobs::refusal(&Trouble { code, message, remedy })
}
