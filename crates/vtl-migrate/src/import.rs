//! Imports.
//!
//! An attempt, in this order (a lazy one has its own, see `lazy/job.rs`):
//! 1. the manifest; its label must be free here, or another one be given; what nobody known has made is taken, held or refused, as the settings say;
//! 2. the id of the cartridge to be goes into the checkpoint, then its mark into the inventory when it is to be in quarantine, then the store gets a
//!    copy with this id that says of itself that it is unfinished;
//! 3. objects, each verified before a byte of it is read; their blocks and marks go to the copy;
//! 4. when the hash of the whole is right the copy is finished, in one record;
//! 5. the cartridge appears in the vault, with its pool and its row of the catalogue, in one transaction.
//!
//! An attempt that ends before 4 leaves nothing: it removes the copy, and after a crash the next start or the next attempt does. One that ends after it
//! is gone on with at 5.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vtl_bundle::{Event, Image, MAX_IMAGE_BYTES, Manifest, Signed};
use vtl_cartridge::{Cartridge, CartridgeError, CartridgeSpec, MAX_COPIED_GENERATION};
use vtl_codec::PrivateKey;
use vtl_jobs::{Class, Failure, Outcome, Plan, PlannedTask, Ticket, Work};
use vtl_library::{LibraryError, NewCartridges, NewPlace};
use vtl_store::{OwnerId, Store, StoreError};
use vtl_transfer::{Inbox, Pace, Trouble, receive_for_image};
use vtl_types::{ByteCount, CartridgeId, Label};

use crate::catalogue::{self, Origin, Row, StoredObject};
use crate::fail;
use crate::folder::FolderName;
use crate::job::{self, End, InUse, Opened, Plain, change, hex, id_of, outcome, read as look, unhex};
use crate::lazy::{self, Lazies, LazyRow};
use crate::maker::{Maker, signature_told};
use crate::planning;
use crate::request::{IMPORT, ImportRequest, ImportResult, read, told};
use crate::world::{ForeignRule, World};

/// No medium has more (`cartridge.size`); a bundle that says so is not believed.
const MAX_CAPACITY_BYTES: u64 = MAX_IMAGE_BYTES;

/// The engine.
pub struct Import {
    world: Arc<dyn World>,
    lazies: Arc<Lazies>,
    labels: InUse,
}

/// A job's checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Course {
    cartridge: String,
    /// The owner of what is here of a cartridge that is imported lazily.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pieces: Option<String>,
    /// Hash of the manifest that the copy is made of, once there may be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manifest: Option<String>,
}

impl Course {
    fn load(ticket: &Ticket) -> Result<Option<Self>, Failure> {
        job::checkpoint(ticket)
    }

    fn save(&self, ticket: &Ticket) -> Result<(), Failure> {
        job::save_checkpoint(ticket, self)
    }

    fn cartridge(&self) -> Result<CartridgeId, Failure> {
        id_of(&self.cartridge)
    }

    fn pieces(&self) -> Result<Option<CartridgeId>, Failure> {
        self.pieces.as_deref().map(id_of).transpose()
    }
}

impl Work for Import {
    fn kind(&self) -> &'static str {
        IMPORT
    }

    fn plan(&self, request: &str) -> Result<Plan, Failure> {
        let request: ImportRequest = read(request)?;
        let world = &*self.world;
        Home::open(world, request.pool.clone())?;
        let (end, opened) = planning::bundle(world, &request.remote, &request.folder)?;
        let (label, manifest) = (label_of(&request, &end.name)?, &opened.manifest);
        same_media(label, manifest.label)?;
        within_bounds(manifest)?;
        let quarantined = quarantine_of(world, &end, &opened)?;
        let rows = look(world, |tx| Ok(lazy::from_folder(tx, &request.remote, &request.folder)?))?;
        let is_begun = rows.iter().any(|row| row.label == label);
        if !is_begun {
            is_free(world, label)?;
        }
        private_key(world, manifest)?;
        let pool = request.pool.as_deref().map_or_else(String::new, |name| format!(" and in pool {name}"));
        let signed = signature_told(&world.signers()?, opened.signed);
        let mut notes = vec![
            format!(
                "{label} of folder {} of remote {}: {} objects, {} bytes of blocks; {signed}",
                end.name,
                request.remote,
                manifest.objects.len(),
                manifest.image_bytes
            ),
            format!("it is in the vault{pool} then"),
        ];
        notes.extend(quarantined.map(|why| format!("in quarantine: {why}")));
        if is_begun {
            notes.push("it is here in part: only what is not here is fetched".to_owned());
        } else if request.lazy {
            notes.push("it can be loaded at once; blocks are fetched when they are read".to_owned());
        }
        let fetch = PlannedTask { name: "fetch".to_owned(), bytes: manifest.stored_bytes() };
        Ok(Plan { tasks: vec![fetch], notes })
    }

    fn run(&self, ticket: &Ticket) -> Result<Outcome, Failure> {
        outcome(self.attempt(ticket).and_then(|result| Ok(told(&result)?)))
    }

    fn undo(&self, ticket: &Ticket) -> Result<(), Failure> {
        let Some(course) = Course::load(ticket)? else { return Ok(()) };
        let id = course.cartridge()?;
        if is_listed(&*self.world, id)? {
            if self.lazies.row(id)?.is_some() {
                ticket.note("the cartridge stays, and what is not here is fetched when it is read; to fetch the rest, import it once more");
            }
            return Ok(());
        }
        let request: ImportRequest = read(ticket.request())?;
        match Home::open(&*self.world, request.pool) {
            Ok(home) => lazy::unbegin(&*self.world, &home, id, course.pieces()?),
            // It is removed when the pool is opened, since it says of itself that it is unfinished; it must not keep the pool from being forgotten.
            Err(closed) if closed.class == Class::Permanent => {
                ticket.note(&format!(
                    "what was imported so far goes when its pool is opened: {}",
                    closed.message
                ));
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }
}

/// Where the new cartridge is made.
pub(crate) struct Home {
    pub(crate) store: Store,
    /// Name of its pool; none: the one for those that nobody chose a pool for.
    pub(crate) pool: Option<String>,
}

impl Home {
    pub(crate) fn open(world: &dyn World, pool: Option<String>) -> Result<Self, Failure> {
        Ok(Self { store: world.store_of_new(pool.as_deref())?, pool })
    }
}

/// The id that earlier attempts have chosen.
pub(crate) fn begun(ticket: &Ticket) -> Result<Option<CartridgeId>, Failure> {
    Course::load(ticket)?.map(|course| course.cartridge()).transpose()
}

/// The id of the cartridge to be, and of its pieces when it is imported lazily; they are in the checkpoint when this returns.
pub(crate) fn chosen(world: &dyn World, ticket: &Ticket, lazy: bool) -> Result<CartridgeId, Trouble> {
    if let Some(id) = begun(ticket)? {
        return Ok(id);
    }
    let fresh = || {
        let mut id = [0; 16];
        let filled = world.random().fill(&mut id);
        filled.map_err(|why| fail::temporary("internal", format!("no random bytes: {why}"), ""))?;
        Ok::<_, Failure>(CartridgeId(id))
    };
    let (id, pieces) = (fresh()?, if lazy { Some(fresh()?) } else { None });
    Course { cartridge: hex(&id.0), pieces: pieces.map(|pieces| hex(&pieces.0)), manifest: None }
        .save(ticket)?;
    Ok(id)
}

pub(crate) fn is_listed(world: &dyn World, id: CartridgeId) -> Result<bool, Failure> {
    look(world, |tx| vtl_library::cartridge_by_id(tx, id)).map(|found| found.is_some())
}

/// Removes a copy that nothing leads to, and its mark after it.
pub(crate) fn remove_copy(world: &dyn World, home: &Home, id: CartridgeId) -> Result<(), Failure> {
    remove_owner(world, home, id)?;
    if look(world, |tx| vtl_library::quarantined(tx, id))?.is_some() {
        change(world, |tx| vtl_library::forget_quarantine(tx, id))?;
    }
    Ok(())
}

fn remove_owner(world: &dyn World, home: &Home, id: CartridgeId) -> Result<(), Failure> {
    match home.store.remove(OwnerId(id.0)) {
        Ok(()) => {
            world.freed(home.pool.as_deref());
            Ok(())
        }
        Err(StoreError::UnknownOwner { .. }) => Ok(()),
        Err(error) => Err(fail::temporary(
            "internal",
            format!("what was imported so far could not be removed: {error}"),
            "the next start of vtld removes it",
        )),
    }
}

impl Import {
    /// An engine in this world.
    pub fn new(world: Arc<dyn World>, lazies: Arc<Lazies>) -> Self {
        Self { world, lazies, labels: InUse::default() }
    }

    fn attempt(&self, ticket: &Ticket) -> Result<ImportResult, Trouble> {
        let world = &*self.world;
        let request: ImportRequest = read(ticket.request())?;
        let home = Home::open(world, request.pool.clone())?;
        let end = End::open(world, &request.remote, FolderName::asked(&request.folder)?)?;
        let label = label_of(&request, &end.name)?;
        let _alone = self.labels.take(label.as_str())?;
        if let Some(row) = self.begun_lazily(ticket, &request, label)? {
            return self.rest(ticket, request, &row);
        }
        ticket.set_tasks(&["fetch"]);
        let opened = end.opened(world, &Plain::new(ticket, 0))?;
        same_media(label, opened.manifest.label)?;
        within_bounds(&opened.manifest)?;
        let quarantined = quarantine_of(world, &end, &opened)?;
        let pace = Plain::of(ticket, opened.manifest.version, opened.manifest.image_bytes);
        let id = chosen(world, ticket, request.lazy)?;
        if request.lazy && !is_listed(world, id)? {
            // Before there is a cartridge: no crash lists it without its mark.
            if let Some(why) = &quarantined {
                change(world, |tx| vtl_library::quarantine(tx, id, why))?;
            }
            let row = self.begin_lazily(ticket, &request, &opened, label, &home)?;
            return self.rest(ticket, request, &row);
        }
        let new = New { label, id, home: &home, quarantined: quarantined.as_deref() };
        self.of_one_manifest(ticket, &opened.sha256, &new)?;
        if !is_listed(world, id)? {
            if let Err(taken) = is_free(world, label) {
                remove_copy(world, &home, id)?;
                return Err(taken.into());
            }
            if !is_finished(&home.store, id) {
                self.make(ticket, &end, &opened, &new, &pace)?;
            }
        }
        list(world, &end, &opened, &new)?;
        ticket.progress(0, opened.manifest.image_bytes, opened.manifest.image_bytes);
        ticket.task_done(0);
        let manifest = &opened.manifest;
        let whole = (manifest.image_bytes, manifest.generation);
        self.told(id, label, request, whole, opened.signed, opened.known)
    }

    /// What the job says at its end; `whole`: bytes and write generation.
    fn told(
        &self,
        id: CartridgeId,
        label: Label,
        request: ImportRequest,
        (image_bytes, generation): (u64, u64),
        signed: Signed,
        known: bool,
    ) -> Result<ImportResult, Trouble> {
        Ok(ImportResult {
            label: label.to_string(),
            remote: request.remote,
            folder: request.folder,
            pool: request.pool,
            image_bytes,
            generation,
            signed: signature_told(&self.world.signers()?, signed),
            known,
            quarantined: look(&*self.world, |tx| vtl_library::quarantined(tx, id))?,
        })
    }

    /// The cartridge that this job, or another one before it, has begun lazily of the same folder.
    fn begun_lazily(
        &self,
        ticket: &Ticket,
        request: &ImportRequest,
        label: Label,
    ) -> Result<Option<LazyRow>, Failure> {
        if let Some(course) = Course::load(ticket)? {
            return self.lazies.row(course.cartridge()?);
        }
        let rows = look(&*self.world, |tx| Ok(lazy::from_folder(tx, &request.remote, &request.folder)?))?;
        let Some(row) = rows.into_iter().find(|row| row.label == label) else { return Ok(None) };
        let pieces = Some(hex(&row.pieces.0));
        Course { cartridge: hex(&row.cartridge.0), pieces, manifest: None }.save(ticket)?;
        Ok(Some(row))
    }

    fn begin_lazily(
        &self,
        ticket: &Ticket,
        request: &ImportRequest,
        opened: &Opened,
        label: Label,
        home: &Home,
    ) -> Result<LazyRow, Trouble> {
        let course = Course::load(ticket)?.ok_or_else(|| fail::unreadable("checkpoint", "there is none"))?;
        let cartridge = course.cartridge()?;
        let pieces = course.pieces()?.ok_or_else(|| fail::unreadable("checkpoint", "it has no pieces"))?;
        is_free(&*self.world, label)?;
        let now_s = self.world.unix_s();
        let new = lazy::Begin {
            remote: &request.remote,
            folder: &request.folder,
            manifest: &opened.manifest,
            manifest_bytes: &opened.bytes,
            manifest_sha256: &opened.sha256,
            cartridge,
            pieces,
            label,
            home,
            spec: &|frames| spec(label, cartridge, frames.manifest(), &frames.inside().attributes, now_s),
            attributes: &|frames| host_attributes(&frames.inside().attributes).collect(),
        };
        let row = lazy::begin(&*self.world, &new)?;
        ticket.note(&format!(
            "{label} is in the vault and can be loaded; what is not here is fetched when it is read"
        ));
        Ok(row)
    }

    fn rest(&self, ticket: &Ticket, request: ImportRequest, row: &LazyRow) -> Result<ImportResult, Trouble> {
        let lazy = self.lazies.of(row.cartridge)?;
        let lazy = lazy.ok_or_else(|| fail::busy(format!("{} has just become whole", row.label)))?;
        let rested = lazy.rest(ticket)?;
        let whole = (rested.image_bytes, rested.generation);
        self.told(row.cartridge, row.label, request, whole, rested.signed, rested.known)
    }

    /// A copy that an attempt before has made is of this manifest when this returns, or there is none.
    fn of_one_manifest(&self, ticket: &Ticket, sha256: &str, new: &New<'_>) -> Result<(), Trouble> {
        let mut course =
            Course::load(ticket)?.ok_or_else(|| fail::unreadable("checkpoint", "there is none"))?;
        if course.manifest.as_deref() == Some(sha256) {
            return Ok(());
        }
        if course.manifest.is_some() {
            if is_listed(&*self.world, new.id)? {
                let text =
                    format!("{} is here already, of another manifest than the folder has now", new.label);
                return Err(
                    fail::permanent("conflict", text, "import the folder once more, with --as").into()
                );
            }
            remove_copy(&*self.world, new.home, new.id)?;
        }
        course.manifest = Some(sha256.to_owned());
        Ok(course.save(ticket)?)
    }

    /// The copy is whole when this returns; else there is none.
    fn make(
        &self,
        ticket: &Ticket,
        end: &End,
        opened: &Opened,
        new: &New<'_>,
        pace: &Plain<'_>,
    ) -> Result<(), Trouble> {
        let world = &*self.world;
        remove_copy(world, new.home, new.id)?;
        // Before there is a copy: no crash lists the cartridge without its mark.
        if let Some(why) = new.quarantined {
            change(world, |tx| vtl_library::quarantine(tx, new.id, why))?;
        }
        let made = self.fetch(ticket, end, &opened.manifest, new, pace);
        if made.is_err()
            && let Err(left) = remove_copy(world, new.home, new.id)
        {
            tracing::warn!(label = %new.label, why = left.message, "an unfinished import stays for now");
        }
        made
    }

    /// One step of `make`: whatever fails in it is cleared away there.
    fn fetch(
        &self,
        ticket: &Ticket,
        end: &End,
        manifest: &Manifest,
        new: &New<'_>,
        pace: &Plain<'_>,
    ) -> Result<(), Trouble> {
        let New { label, id, home: Home { store, .. }, .. } = *new;
        let private = private_key(&*self.world, manifest)?;
        let staging = end.staging(ticket)?;
        receive_for_image(end.line(&staging), manifest, pace, |inbox| {
            let mut image =
                Image::open(manifest, private.as_ref(), inbox).map_err(|error| fail::bundle(&error))?;
            let attributes = image.inside().attributes.clone();
            let spec = spec(label, id, manifest, &attributes, self.world.unix_s());
            Cartridge::begin_copy(store, id, &spec).map_err(|error| fail::cartridge(&error))?;
            let opened = Cartridge::open(store, id, vtl_cartridge::Settings::default());
            let mut copy = opened.map_err(|error| fail::cartridge(&error))?;
            copy.not_read_soon();
            write(&mut image, &mut copy, pace)?;
            for (number, value) in host_attributes(&attributes) {
                copy.set_host_attribute(number, &value).map_err(|error| fail::cartridge(&error))?;
            }
            Ok(copy.finish_copy(manifest.generation).map_err(|error| fail::cartridge(&error))?)
        })
    }
}

/// The cartridge that is made.
#[derive(Clone, Copy)]
struct New<'a> {
    label: Label,
    id: CartridgeId,
    home: &'a Home,
    /// Why it is to be in quarantine, if it is.
    quarantined: Option<&'a str>,
}

/// Blocks and marks of the image to the copy; what is wrong is known when this returns.
fn write(
    image: &mut Image<'_, &mut Inbox<'_, '_>>,
    copy: &mut Cartridge,
    pace: &dyn Pace,
) -> Result<(), Trouble> {
    let mut trouble: Option<Trouble> = None;
    let mut refuse = |why: Trouble| {
        trouble.get_or_insert(why);
        io::Error::other("the import ends here")
    };
    let done = image.events(|event| {
        if !pace.goes_on() {
            return Err(refuse(Trouble::Stopped));
        }
        let written = match event {
            Event::Block(block) => copy.write_block(block, true),
            Event::Filemark => copy.write_filemarks(1),
        };
        written.map(drop).map_err(|error: CartridgeError| refuse(fail::cartridge(&error).into()))
    });
    match (trouble, done) {
        (Some(trouble), _) => Err(trouble),
        (None, Err(error)) => Err(fail::bundle(&error).into()),
        (None, Ok(())) => Ok(()),
    }
}

/// The new cartridge: what the bundle says of it, as far as that can be.
fn spec(
    label: Label,
    id: CartridgeId,
    manifest: &Manifest,
    attributes: &BTreeMap<String, String>,
    now_s: u64,
) -> CartridgeSpec {
    let number = |name: &str| attributes.get(name).and_then(|text| text.parse::<u64>().ok());
    let native = label.media().generation.native_capacity().0;
    let stated = number("capacity_bytes").map_or(native, |bytes| bytes.min(MAX_CAPACITY_BYTES));
    let capacity = stated.max(manifest.image_bytes);
    let created = attributes.get("created_s").and_then(|text| text.parse().ok());
    let serial = attributes.get("serial").filter(|_| label == manifest.label).cloned();
    CartridgeSpec {
        label,
        serial: serial.filter(|text| is_serial(text)).unwrap_or_else(|| own_serial(id)),
        kind: label.media(),
        capacity: ByteCount(capacity),
        early_warning: number("early_warning_bytes").filter(|bytes| *bytes <= capacity).map(ByteCount),
        write_protected: false,
        created_s: created.unwrap_or_else(|| i64::try_from(now_s).unwrap_or(0)),
        place: None,
    }
}

/// A serial number that follows from the cartridge's id.
pub(crate) fn own_serial(id: CartridgeId) -> String {
    hex(&id.0).chars().take(10).collect::<String>().to_uppercase()
}

fn is_serial(text: &str) -> bool {
    (1..=vtl_cartridge::MAX_SERIAL_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn host_attributes(attributes: &BTreeMap<String, String>) -> impl Iterator<Item = (u16, Vec<u8>)> {
    attributes.iter().filter_map(|(name, value)| {
        let id = u16::from_str_radix(name.strip_prefix("host_attribute_")?, 16).ok()?;
        let digits = value.as_bytes().chunks_exact(2);
        let bytes: Option<Vec<u8>> =
            digits.map(|pair| unhex::<1>(std::str::from_utf8(pair).ok()?).map(|[byte]| byte)).collect();
        Some((id, bytes?))
    })
}

/// Why the cartridge is to be in quarantine, if it is.
fn quarantine_of(world: &dyn World, end: &End, opened: &Opened) -> Result<Option<String>, Failure> {
    let Maker::Foreign(why) = Maker::find(world, &opened.sha256, opened.signed)? else { return Ok(None) };
    match end.settings.foreign {
        ForeignRule::Accept => Ok(None),
        ForeignRule::Quarantine => Ok(Some(format!("what it was made of is foreign: {why}"))),
        ForeignRule::Refuse => Err(fail::permanent(
            "forbidden",
            format!("folder {} is foreign: {why}, and migrate.foreign_bundles is refuse", end.name),
            "if you know who signed it, make the signer known: vtl key import PUBLIC.pem --name K; else migrate.foreign_bundles=quarantine takes it in and holds it",
        )),
    }
}

pub(crate) fn is_finished(store: &Store, id: CartridgeId) -> bool {
    Cartridge::inspect(store, id).is_ok_and(|facts| !facts.unfinished)
}

/// The label that the cartridge is to have here.
fn label_of(request: &ImportRequest, name: &FolderName) -> Result<Label, Failure> {
    match &request.as_label {
        Some(label) => label
            .parse::<Label>()
            .map_err(|why| fail::permanent("invalid", why.to_string(), "choose another label")),
        None => Ok(name.label),
    }
}

/// The key that opens the bundle, when one is needed.
fn private_key(world: &dyn World, manifest: &Manifest) -> Result<Option<PrivateKey>, Failure> {
    let keys: Vec<String> = manifest.recipients.iter().map(|one| one.key.clone()).collect();
    if manifest.sealed { world.private_key(&keys).map(Some) } else { Ok(None) }
}

/// A medium keeps its kind under whatever label.
fn same_media(label: Label, original: Label) -> Result<(), Failure> {
    if label.media() == original.media() {
        return Ok(());
    }
    let text = format!("{label} is another kind of medium than {original}");
    Err(fail::permanent("invalid", text, "choose a label that ends as the original's does"))
}

/// No cartridge can have more, whatever a bundle says.
fn within_bounds(manifest: &Manifest) -> Result<(), Failure> {
    let bounds = [
        ("bytes", manifest.image_bytes, MAX_CAPACITY_BYTES),
        ("write generation", manifest.generation, MAX_COPIED_GENERATION),
    ];
    let beyond = bounds.into_iter().find(|(_, found, most)| found > most);
    beyond.map_or(Ok(()), |(what, found, most)| {
        let text = format!("the bundle says {what} {found}, no cartridge has more than {most}");
        Err(fail::permanent("invalid", text, "no server has written that: do not trust where it comes from"))
    })
}

pub(crate) fn is_free(world: &dyn World, label: Label) -> Result<(), Failure> {
    let taken = look(world, |tx| match vtl_library::cartridge(tx, label) {
        Ok(_) => Ok(true),
        Err(LibraryError::UnknownCartridge(_)) => Ok(false),
        Err(error) => Err(error),
    })?;
    if taken { Err(fail::inventory(&LibraryError::LabelTaken(label))) } else { Ok(()) }
}

/// The cartridge appears, unless a start after a crash has found it and listed it already; its pool and the catalogue have it in the same transaction.
fn list(world: &dyn World, end: &End, opened: &Opened, new: &New<'_>) -> Result<(), Failure> {
    let New { label, id, home, .. } = *new;
    let facts = Cartridge::inspect(&home.store, id).map_err(|error| fail::cartridge(&error))?;
    let manifest = &opened.manifest;
    let object =
        |object: &vtl_bundle::Stored| StoredObject { object: object.clone(), receipt: String::new() };
    let row = Row {
        remote: end.remote.name().to_owned(),
        folder: end.name.to_string(),
        cartridge: id,
        label,
        // Of the bundle: a host may have written meanwhile.
        generation: manifest.generation.max(1),
        origin: Origin::Import,
        made_s: world.unix_s(),
        image_bytes: manifest.image_bytes,
        stored_bytes: manifest.stored_bytes(),
        manifest_sha256: opened.sha256.clone(),
        proof: "every byte was fetched and compared".to_owned(),
        objects: manifest.objects.iter().map(object).collect(),
    };
    let listing = NewCartridges { first: label, count: 1, library: None, place: NewPlace::Vault };
    let listed = change(world, |tx| {
        if vtl_library::cartridge_by_id(tx, id)?.is_none() {
            let capacity = ByteCount(facts.capacity_bytes);
            vtl_library::create_cartridges(tx, &listing, &[id], capacity, facts.created_s)?;
            world.note_pool(tx, id, home.pool.as_deref())?;
        }
        Ok(catalogue::put(tx, &row)?)
    });
    // Somebody else took the label meanwhile: nothing leads to the copy any more.
    if listed.as_ref().is_err_and(|failure| failure.code == "exists") {
        remove_copy(world, home, id)?;
    }
    listed
}
