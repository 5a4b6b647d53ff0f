//! Spare cartridges: a blank one in the library of a cartridge that was exported, once for each cartridge.
//!
//! The spare is made in the store first. Its place in the library and the row that says for which cartridge it was made are one transaction, so an
//! attempt after a crash finds the row and makes no second one; what a crash has left in the store alone is removed by the next start.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use vtl_jobs::{Failure, Ticket};
use vtl_meta::{MetaError, Table, Tx, Value};
use vtl_types::{ByteCount, CartridgeId, Label, LabelTemplate, LibraryName};

use crate::catalogue;
use crate::fail;
use crate::job::read as look;
use crate::world::{Blank, World};

/// Which cartridge got which spare, and by which job.
pub(crate) static SPARES: Table =
    Table { name: "spares", columns: &["cartridge", "label", "job", "made_s"], key_len: 1 };

pub(crate) const MIGRATION: &str = "
    CREATE TABLE spares (
        cartridge BLOB PRIMARY KEY NOT NULL CHECK (length(cartridge) = 16),
        label TEXT NOT NULL,
        job INTEGER NOT NULL,
        made_s INTEGER NOT NULL,
        row_sum BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
";

/// Somebody may take a label between the look and the transaction; more often than this it is something else.
const TRIES: usize = 3;

/// That a spare is wanted, as a request says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpareRequest {
    /// Name of the library that it is for.
    pub library: String,
    /// How its label looks: [`LabelTemplate`].
    pub label: String,
}

/// The same in a checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SpareWanted {
    request: SpareRequest,
    capacity_bytes: u64,
}

impl SpareWanted {
    pub(crate) fn new(request: SpareRequest, capacity_bytes: u64) -> Self {
        Self { request, capacity_bytes }
    }
}

/// What is known of a cartridge's spare.
struct Made {
    label: String,
    job: u64,
}

/// Makes the spare of a cartridge that was exported by this job: its label, or why there is none.
pub(crate) fn make(
    world: &dyn World,
    ticket: &Ticket,
    of: (CartridgeId, Label),
    wanted: &SpareWanted,
) -> Result<String, String> {
    let job = ticket.id().0;
    let made = made_before(world, of.0).and_then(|before| match before {
        Some(Made { label, job: by }) if by == job => Ok(label),
        Some(Made { label, job: by }) => Err(fail::permanent(
            "exists",
            format!("job {by} has made {label} for this cartridge already"),
            "vtl cartridge create makes another one",
        )),
        None => make_one(world, job, of, wanted),
    });
    made.map_err(Failure::advised)
}

fn make_one(
    world: &dyn World,
    job: u64,
    (cartridge, like): (CartridgeId, Label),
    SpareWanted { request, capacity_bytes }: &SpareWanted,
) -> Result<String, Failure> {
    let library: LibraryName = request.library.parse().map_err(|why| fail::unreadable("library", why))?;
    let template: LabelTemplate = request.label.parse().map_err(|why| fail::unreadable("template", why))?;
    let made_s = world.unix_s();
    let mut refused = None;
    for _ in 0..TRIES {
        let used = used(world)?;
        let label = template.next(like, &used).ok_or_else(|| no_label(&template, like))?;
        let new = Blank { label, library: library.clone(), capacity: ByteCount(*capacity_bytes) };
        let row = [
            Value::Blob(cartridge.0.to_vec()),
            Value::Text(label.to_string()),
            integer(job),
            integer(made_s),
        ];
        match world.make_blank(&new, &mut |tx| Ok(tx.insert(&SPARES, &row)?)) {
            Ok(()) => return Ok(label.to_string()),
            Err(failure) if failure.code == "exists" => refused = Some(failure),
            Err(failure) => return Err(failure),
        }
    }
    Err(refused.unwrap_or_else(|| fail::temporary("internal", "no spare was made", "")))
}

fn no_label(template: &LabelTemplate, like: Label) -> Failure {
    let message = match template.pattern(like) {
        Some(pattern) => format!("all labels of {pattern} are used or were"),
        None => format!("{like} has no digits that could count on"),
    };
    fail::permanent("full", message, "choose another migrate.spare_label, such as SPR###")
}

/// Labels that were ever used here, as far as anybody knows: also those of cartridges that are only on remotes.
fn used(world: &dyn World) -> Result<BTreeSet<Label>, Failure> {
    look(world, |tx| {
        let mut used = vtl_library::used_labels(tx)?;
        used.extend(catalogue::labels(tx)?);
        Ok(used)
    })
}

fn made_before(world: &dyn World, of: CartridgeId) -> Result<Option<Made>, Failure> {
    look(world, |tx| Ok(row_of(tx, of)?))
}

fn row_of(tx: &Tx<'_>, of: CartridgeId) -> Result<Option<Made>, MetaError> {
    let Some(row) = tx.get(&SPARES, &[Value::Blob(of.0.to_vec())])? else { return Ok(None) };
    let job: i64 = row.get("job")?;
    Ok(Some(Made { label: row.get("label")?, job: u64::try_from(job).map_err(|_| row.damaged())? }))
}

fn integer(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}
