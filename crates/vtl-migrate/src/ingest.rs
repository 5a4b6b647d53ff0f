//! Ingests: a cartridge is made of what is on a tape in a device of this machine. `docs/ingest.md` is the design.
//!
//! An attempt, in this order:
//! 1. the label must be free here, and nobody else at the device;
//! 2. the id of the cartridge to be goes into the checkpoint, then the store gets a copy with this id that says of itself that it is unfinished;
//! 3. records and filemarks go to the copy, from the beginning of the tape to end of data;
//! 4. when the tape is known to have no more than was read the copy is finished, in one record;
//! 5. the cartridge appears, in a slot or in the vault, in one transaction.
//!
//! What ends before 4 leaves nothing and begins anew, what ends after it is gone on with at 5, as with imports.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use vtl_cartridge::{Cartridge, CartridgeError, CartridgeSpec};
use vtl_jobs::{Failure, Outcome, Plan, PlannedTask, Ticket, Work};
use vtl_library::{Gates, LibraryError, NewCartridges, NewPlace};
use vtl_meta::Tx;
use vtl_store::Store;
use vtl_transfer::{Trouble, of_ticket};
use vtl_types::{ByteCount, CartridgeId, Label, LibraryName, Place};

use crate::fail;
use crate::import::{Home, begun, chosen, is_finished, is_free, is_listed, own_serial, remove_copy};
use crate::job::{InUse, change, outcome, read as look};
use crate::request::{read, told};
use crate::tape::{Reader, TapeDevice, Thing};
use crate::world::World;

/// Kind of ingests.
pub const INGEST: &str = "ingest";

/// An ingest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestRequest {
    /// Label of the cartridge to be.
    pub label: String,
    /// The device's file.
    pub device: String,
    /// The library that it is to appear in; the vault without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
    /// What the cartridge is to hold.
    pub capacity_bytes: u64,
    /// Distance of early warning from its end.
    pub early_warning_bytes: u64,
}

/// How an ingest ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestResult {
    /// The cartridge.
    pub label: String,
    /// The device.
    pub device: String,
    /// Blocks on it.
    pub blocks: u64,
    /// Filemarks on it.
    pub filemarks: u64,
    /// Bytes of all blocks.
    pub image_bytes: u64,
    /// Where it is: `slot:N` or `vault`.
    pub place: String,
    /// The library of the slot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
    /// Why it is in the vault although a library was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vaulted_because: Option<String>,
}

/// This machine's tape devices, and who is told of a new cartridge.
pub trait Tapes: Send + Sync {
    /// Opens the device with this file. The device is the job's until it is dropped.
    ///
    /// # Errors
    /// There is none, it is no tape device, or somebody else has it.
    fn open(&self, device: &str) -> Result<Box<dyn TapeDevice>, Failure>;

    /// A cartridge has appeared in a library.
    fn appeared(&self, id: CartridgeId, library: &LibraryName, place: Place);
}

/// The engine.
pub struct Ingest {
    world: Arc<dyn World>,
    tapes: Arc<dyn Tapes>,
    labels: InUse,
    devices: InUse,
}

/// Where a cartridge has appeared.
struct Listed {
    place: Place,
    library: Option<LibraryName>,
    vaulted_because: Option<String>,
}

impl Work for Ingest {
    fn kind(&self) -> &'static str {
        INGEST
    }

    fn plan(&self, request: &str) -> Result<Plan, Failure> {
        let request: IngestRequest = read(request)?;
        let world = &*self.world;
        let label = label_of(&request)?;
        Home::open(world, None)?;
        is_free(world, label).map_err(another)?;
        let place = library_of(&request)?.map_or_else(
            || "in the vault".to_owned(),
            |library| format!("in the first free slot of {library}"),
        );
        let notes = vec![
            format!("the tape in {} becomes {label}, {place}", request.device),
            format!(
                "it may have up to {} bytes; how many it has, its end will tell: a plan does not open the device",
                request.capacity_bytes
            ),
        ];
        Ok(Plan { tasks: vec![PlannedTask { name: "read the tape".to_owned(), bytes: 0 }], notes })
    }

    fn run(&self, ticket: &Ticket) -> Result<Outcome, Failure> {
        outcome(self.attempt(ticket).and_then(|result| Ok(told(&result)?)))
    }

    fn undo(&self, ticket: &Ticket) -> Result<(), Failure> {
        let Some(id) = begun(ticket)? else { return Ok(()) };
        if is_listed(&*self.world, id)? {
            return Ok(());
        }
        remove_copy(&*self.world, &Home::open(&*self.world, None)?, id)
    }
}

impl Ingest {
    /// An engine in this world, for these devices.
    pub fn new(world: Arc<dyn World>, tapes: Arc<dyn Tapes>) -> Self {
        Self { world, tapes, labels: InUse::default(), devices: InUse::default() }
    }

    fn attempt(&self, ticket: &Ticket) -> Result<IngestResult, Trouble> {
        let world = &*self.world;
        let request: IngestRequest = read(ticket.request())?;
        let label = label_of(&request)?;
        let library = library_of(&request)?;
        let _alone = self.labels.take(label.as_str())?;
        let _mine = self.devices.take(&request.device)?;
        ticket.set_tasks(&["read the tape"]);
        let id = chosen(world, ticket, false)?;
        let home = Home::open(world, None)?;
        let store = &home.store;
        if !is_listed(world, id)? {
            if let Err(taken) = is_free(world, label) {
                remove_copy(world, &home, id)?;
                return Err(another(taken).into());
            }
            if !is_finished(store, id) {
                self.make(ticket, &request, label, id, &home)?;
            }
        }
        let listed = list(world, &home, label, id, library.as_ref())?;
        if let Some(library) = &listed.library {
            self.tapes.appeared(id, library, listed.place);
        }
        let facts = Cartridge::inspect(store, id).map_err(|error| fail::cartridge(&error))?;
        ticket.progress(0, facts.used_bytes, facts.used_bytes);
        ticket.task_done(0);
        Ok(IngestResult {
            label: label.to_string(),
            device: request.device,
            blocks: facts.objects.saturating_sub(facts.filemarks),
            filemarks: facts.filemarks,
            image_bytes: facts.used_bytes,
            place: listed.place.to_string(),
            library: listed.library.map(|library| library.to_string()),
            vaulted_because: listed.vaulted_because,
        })
    }

    /// The copy is whole when this returns; else there is none.
    fn make(
        &self,
        ticket: &Ticket,
        request: &IngestRequest,
        label: Label,
        id: CartridgeId,
        home: &Home,
    ) -> Result<(), Trouble> {
        let world = &*self.world;
        remove_copy(world, home, id)?;
        let made = self.copy(ticket, request, label, id, &home.store);
        if made.is_err()
            && let Err(left) = remove_copy(world, home, id)
        {
            tracing::warn!(%label, why = left.message, "an unfinished ingest stays for now");
        }
        made
    }

    fn copy(
        &self,
        ticket: &Ticket,
        request: &IngestRequest,
        label: Label,
        id: CartridgeId,
        store: &Store,
    ) -> Result<(), Trouble> {
        let mut device = self.tapes.open(&request.device)?;
        let mut reader = Reader::begin(&mut *device, &request.device)?;
        let spec = CartridgeSpec {
            label,
            serial: own_serial(id),
            kind: label.media(),
            capacity: ByteCount(request.capacity_bytes),
            early_warning: Some(ByteCount(request.early_warning_bytes)),
            write_protected: false,
            created_s: i64::try_from(self.world.unix_s()).unwrap_or(0),
            place: None,
        };
        Cartridge::begin_copy(store, id, &spec).map_err(|error| fail::cartridge(&error))?;
        let opened = Cartridge::open(store, id, vtl_cartridge::Settings::default());
        let mut copy = opened.map_err(|error| fail::cartridge(&error))?;
        copy.not_read_soon();
        loop {
            if !of_ticket::goes_on(ticket) {
                return Err(Trouble::Stopped);
            }
            let written = match reader.next_thing()? {
                Thing::Record(bytes) => copy.write_block(&[Bytes::copy_from_slice(bytes)], true),
                Thing::Filemark => copy.write_filemarks(1),
                Thing::End => break,
            };
            written.map_err(|error| not_written(&error, request))?;
            ticket.progress(0, copy.used_bytes(), 0);
        }
        copy.flush().map_err(|error| not_written(&error, request))?;
        let generation = copy.facts().generation;
        Ok(copy.finish_copy(generation).map_err(|error| fail::cartridge(&error))?)
    }
}

fn label_of(request: &IngestRequest) -> Result<Label, Failure> {
    request.label.parse().map_err(|why: vtl_types::LabelError| invalid(why.to_string()))
}

fn library_of(request: &IngestRequest) -> Result<Option<LibraryName>, Failure> {
    let parse = |name: &String| {
        name.parse::<LibraryName>().map_err(|_| invalid(format!("'{name}' is no name of a library")))
    };
    request.library.as_ref().map(parse).transpose()
}

fn invalid(why: String) -> Failure {
    fail::permanent("invalid", why, "ask for it anew")
}

/// The label is taken, and an ingest has no other one by itself.
fn another(taken: Failure) -> Failure {
    let remedy = "choose another label, or remove the one that is here";
    Failure { remedy: Some(remedy.to_owned()), ..taken }
}

fn not_written(error: &CartridgeError, request: &IngestRequest) -> Failure {
    match error {
        CartridgeError::EndOfPartition => fail::permanent(
            "full",
            format!(
                "the tape in {} has more than the {} bytes that {} would hold",
                request.device, request.capacity_bytes, request.label
            ),
            "ask for it anew with more: --size SIZE",
        ),
        _ => fail::cartridge(error),
    }
}

/// The cartridge appears. A start after a crash may have listed it in the vault already.
fn list(
    world: &dyn World,
    home: &Home,
    label: Label,
    id: CartridgeId,
    library: Option<&LibraryName>,
) -> Result<Listed, Failure> {
    let facts = Cartridge::inspect(&home.store, id).map_err(|error| fail::cartridge(&error))?;
    let capacity = ByteCount(facts.capacity_bytes);
    let mut because = None;
    let listed = change(world, |tx| {
        if vtl_library::cartridge_by_id(tx, id)?.is_none() {
            let new = NewCartridges { first: label, count: 1, library: None, place: NewPlace::Vault };
            vtl_library::create_cartridges(tx, &new, &[id], capacity, facts.created_s)?;
            world.note_pool(tx, id, home.pool.as_deref())?;
        }
        because = library.map_or(Ok(None), |library| from_vault(tx, id, library))?;
        Ok(())
    });
    // Somebody else took the label meanwhile: nothing leads to the copy any more.
    if listed.as_ref().is_err_and(|failure| failure.code == "exists") {
        remove_copy(world, home, id)?;
    }
    listed?;
    let row = look(world, |tx| vtl_library::cartridge_by_id(tx, id))?;
    let (place, library) = row.map_or((Place::Vault, None), |row| (row.place, row.library));
    Ok(Listed { place, library, vaulted_because: because })
}

/// Into the first free slot, unless somebody has moved it already; why it stays in the vault.
fn from_vault(
    tx: &mut Tx<'_>,
    id: CartridgeId,
    library: &LibraryName,
) -> Result<Option<String>, LibraryError> {
    let label = match vtl_library::cartridge_by_id(tx, id)? {
        Some(row) if row.place == Place::Vault => row.label,
        _ => return Ok(None),
    };
    match vtl_library::load_from_vault(tx, label, library, NewPlace::Slot, &Gates::open()) {
        Ok(_) => Ok(None),
        Err(why @ (LibraryError::NoRoom { .. } | LibraryError::UnknownLibrary(_))) => Ok(Some(why.advised())),
        Err(error) => Err(error),
    }
}
