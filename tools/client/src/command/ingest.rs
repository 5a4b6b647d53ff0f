//! Ingests of tapes.

use clap::Args;
use serde_json::json;
use vtl_api::IngestCartridge;

use super::{Call, PLAN, call, parse_size};
use crate::command::export::{Turn, job_view, then};
use crate::http::{Failure, Method};

/// Arguments of `vtl cartridge ingest`.
#[derive(Args)]
pub struct IngestArguments {
    /// Device of the server's machine, one without rewind, such as /dev/nst0. It is rewound, and reads blocks of any length from then on.
    #[arg(long, value_name = "DEV")]
    from_device: String,
    /// Label of the cartridge to be.
    #[arg(long)]
    label: String,
    /// Library that it is to appear in; the vault when left out.
    #[arg(long)]
    library: Option<String>,
    /// What it is to hold, such as 30t: a tape that was compressed by its drive has more than its label says.
    #[arg(long, value_name = "SIZE")]
    size: Option<String>,
    #[command(flatten)]
    turn: Turn,
    /// Wait for its end.
    #[arg(long)]
    wait: bool,
    /// Read nothing; print what would be done.
    #[arg(long, conflicts_with = "wait")]
    plan: bool,
}

impl IngestArguments {
    pub(super) fn call(&self) -> Result<Call, Failure> {
        let body = IngestCartridge {
            device: self.from_device.clone(),
            label: self.label.clone(),
            library: self.library.clone(),
            size_bytes: self.size.as_deref().map(parse_size).transpose()?,
            priority: self.turn.priority(),
            plan: self.plan,
        };
        let view = if self.plan { PLAN } else { job_view(self.wait) };
        let request = call(Method::Post, "/ingests".to_owned(), Some(json!(body)), view);
        Ok(Call { then: then(self.wait), ..request })
    }
}
