//! What the job of a lazy import does.
//!
//! In this order:
//! 1. the manifest and an unfinished copy without blocks go into the store, each under an id of its own;
//! 2. the cartridge appears in the vault, with its row that says where the rest is, in one transaction;
//! 3. pieces that are missing are fetched and kept, whoever reads the cartridge meanwhile;
//! 4. all of them are written into the copy, in order; when the hash of the whole is right it is finished, in one record;
//! 5. the row goes and the catalogue gets one, in one transaction; then the pieces go.
//!
//! An attempt that ends before 2 leaves nothing: it removes both, and after a crash the start does. Later ones go on: 3 with what is missing, 4 anew, 5 when
//! the copy is finished.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use vtl_bundle::{Entry, Frames, Manifest, Signed};
use vtl_cartridge::{Cartridge, CartridgeError, CartridgeSpec, Settings};
use vtl_jobs::{Class, Failure, Ticket};
use vtl_library::{CartridgeState, LibraryError, NewCartridges, NewPlace};
use vtl_store::Store;
use vtl_transfer::{Pace as _, Trouble};
use vtl_types::{ByteCount, CartridgeId, Label};

use super::kept::{self, Kept};
use super::{Ended, Keep, Lazy, LazyRow, PIECE_BYTES, Unread, import_anew, table};
use crate::catalogue::{self, Origin, Row, StoredObject};
use crate::fail;
use crate::import::Home;
use crate::job::{Plain, change, known, read as look};
use crate::world::World;

/// Pieces that are fetched at once for nobody.
const RUN: u64 = 8;
/// How long the job stands back for hosts, at most, before each of its fetches.
const STAND_BACK: Duration = Duration::from_secs(1);
/// Filemarks in one write.
const MARKS: u64 = 0xff_ffff;

/// Number and value of each.
type HostAttributes = Vec<(u16, Vec<u8>)>;

/// A bundle that becomes a cartridge here.
pub(crate) struct Begin<'a> {
    pub(crate) remote: &'a str,
    pub(crate) folder: &'a str,
    pub(crate) manifest: &'a Manifest,
    pub(crate) manifest_bytes: &'a Bytes,
    pub(crate) manifest_sha256: &'a str,
    pub(crate) cartridge: CartridgeId,
    pub(crate) pieces: CartridgeId,
    pub(crate) label: Label,
    /// Where it is made.
    pub(crate) home: &'a Home,
    /// Of what the bundle says of the cartridge.
    pub(crate) spec: &'a dyn Fn(&Frames) -> CartridgeSpec,
    /// And host attributes.
    pub(crate) attributes: &'a dyn Fn(&Frames) -> HostAttributes,
}

/// The cartridge is in the vault when this returns; on an error nothing is left of it.
pub(crate) fn begin(world: &dyn World, new: &Begin<'_>) -> Result<LazyRow, Trouble> {
    let store = &new.home.store;
    let begun = make(world, store, new).and_then(|()| list(world, store, new));
    if begun.is_err() {
        unbegin(world, new.home, new.cartridge, Some(new.pieces))?;
    }
    Ok(begun?)
}

fn make(world: &dyn World, store: &Store, new: &Begin<'_>) -> Result<(), Failure> {
    let keys = keys_of(new.manifest);
    let private = if new.manifest.sealed { Some(world.private_key(&keys)?) } else { None };
    let frames = Frames::open(new.manifest.clone(), private.as_ref());
    let frames = frames.map_err(|error| fail::bundle(&error))?;
    let made = || {
        Kept::begin(store, new.pieces, new.label, new.manifest_bytes)?;
        kept::remove(store, new.cartridge)?;
        Cartridge::begin_copy(store, new.cartridge, &(new.spec)(&frames))?;
        let mut copy = Cartridge::open(store, new.cartridge, Settings::default())?;
        for (number, value) in (new.attributes)(&frames) {
            copy.set_host_attribute(number, &value)?;
        }
        copy.close()
    };
    made().map_err(|error: CartridgeError| fail::cartridge(&error))
}

fn keys_of(manifest: &Manifest) -> Vec<String> {
    manifest.recipients.iter().map(|one| one.key.clone()).collect()
}

fn list(world: &dyn World, store: &Store, new: &Begin<'_>) -> Result<LazyRow, Failure> {
    let facts = Cartridge::inspect(store, new.cartridge).map_err(|error| fail::cartridge(&error))?;
    let row = LazyRow {
        cartridge: new.cartridge,
        pieces: new.pieces,
        label: new.label,
        remote: new.remote.to_owned(),
        folder: new.folder.to_owned(),
        manifest_sha256: new.manifest_sha256.to_owned(),
        manifest_bytes: new.manifest_bytes.len() as u64,
        image_bytes: new.manifest.image_bytes,
        keys: keys_of(new.manifest),
        wrong: None,
    };
    let place = NewCartridges { first: new.label, count: 1, library: None, place: NewPlace::Vault };
    change(world, |tx| {
        let capacity = ByteCount(facts.capacity_bytes);
        vtl_library::create_cartridges(tx, &place, &[new.cartridge], capacity, facts.created_s)?;
        world.note_pool(tx, new.cartridge, new.home.pool.as_deref())?;
        Ok(table::put(tx, &row)?)
    })?;
    Ok(row)
}

/// Removes what an attempt that did not come to its row has left.
pub(crate) fn unbegin(
    world: &dyn World,
    home: &Home,
    cartridge: CartridgeId,
    pieces: Option<CartridgeId>,
) -> Result<(), Failure> {
    for id in [Some(cartridge), pieces].into_iter().flatten() {
        kept::remove(&home.store, id).map_err(|error| {
            fail::temporary(
                "internal",
                format!("what was imported so far could not be removed: {error}"),
                "the next start of vtld removes it",
            )
        })?;
    }
    if look(world, |tx| vtl_library::quarantined(tx, cartridge))?.is_some() {
        change(world, |tx| vtl_library::forget_quarantine(tx, cartridge))?;
    }
    world.freed(home.pool.as_deref());
    Ok(())
}

/// What a job says of it at its end.
pub(crate) struct Rested {
    pub(crate) image_bytes: u64,
    pub(crate) generation: u64,
    pub(crate) signed: Signed,
    pub(crate) known: bool,
}

impl Lazy {
    /// Fetches what is missing, and makes an ordinary cartridge of it.
    pub(crate) fn rest(&self, ticket: &Ticket) -> Result<Rested, Trouble> {
        let world = &*self.world;
        ticket.set_tasks(&["fetch", "write"]);
        let pace = Plain::new(ticket, self.row.image_bytes);
        let store = world.store_of(self.row.cartridge)?;
        if self.is_unfinished(&store)? {
            self.fetch_rest(ticket, &pace)?;
            ticket.task_done(0);
            self.write(ticket, &pace, &store)?;
        }
        ticket.task_done(1);
        let rested = self.rested()?;
        self.settle(&store)?;
        Ok(rested)
    }

    fn rested(&self) -> Result<Rested, Failure> {
        let manifest = self.frames.manifest();
        Ok(Rested {
            image_bytes: manifest.image_bytes,
            generation: manifest.generation,
            signed: self.signed,
            known: !known(&*self.world, &self.row.remote, &self.row.folder)?.is_empty(),
        })
    }

    fn is_unfinished(&self, store: &Store) -> Result<bool, Failure> {
        let facts = Cartridge::inspect(store, self.row.cartridge).map_err(|error| fail::cartridge(&error))?;
        Ok(facts.unfinished)
    }

    /// Whether somebody wants it still.
    fn is_wanted(&self) -> Result<(), Failure> {
        let found = look(&*self.world, |tx| vtl_library::cartridge_by_id(tx, self.row.cartridge))?;
        match found {
            Some(found) if found.state == CartridgeState::Normal => Ok(()),
            _ => Err(fail::permanent(
                "conflict",
                format!("{} was removed", self.row.label),
                "vtl cartridge restore brings it back; then vtl job retry ID",
            )),
        }
    }

    fn fetch_rest(&self, ticket: &Ticket, pace: &Plain<'_>) -> Result<(), Trouble> {
        let before = self.here_bytes();
        let mut next = 0;
        while let Some(missing) = self.missing(next, RUN)? {
            self.is_wanted()?;
            self.stand_back(pace)?;
            let _permit = pace.permit().ok_or(Trouble::Stopped)?;
            let brought = self.bring(missing.clone(), pace, Keep::Must);
            brought.map_err(|unread| got_further(unread.into(), self.here_bytes() > before))?;
            ticket.progress(0, self.here_bytes(), self.row.image_bytes);
            next = missing.start;
        }
        Ok(())
    }

    /// The next pieces that are missing, `most` at most.
    fn missing(&self, from: u64, most: u64) -> Result<Option<std::ops::Range<u64>>, Unread> {
        let state = self.lock();
        if let Some(end) = &state.end {
            return Err(self.ended(end));
        }
        let missing = state.kept.as_ref().and_then(|kept| kept.missing(from..self.pieces()));
        Ok(missing.map(|range| range.start..range.end.min(range.start.saturating_add(most))))
    }

    /// Hosts come first, for a while.
    fn stand_back(&self, pace: &Plain<'_>) -> Result<(), Trouble> {
        let step = super::LOOK / 5;
        let mut stood = Duration::ZERO;
        while self.hosts.load(Ordering::SeqCst) > 0 && stood < STAND_BACK {
            if !pace.wait(step) {
                return Err(Trouble::Stopped);
            }
            stood = stood.saturating_add(step);
        }
        if pace.goes_on() { Ok(()) } else { Err(Trouble::Stopped) }
    }

    /// The copy is finished when this returns.
    fn write(&self, ticket: &Ticket, pace: &Plain<'_>, store: &Store) -> Result<(), Trouble> {
        let opened = Cartridge::open(store, self.row.cartridge, Settings::default());
        let mut copy = opened.map_err(|error| fail::cartridge(&error))?;
        // What an attempt before has written.
        copy.erase().map_err(|error| fail::cartridge(&error))?;
        let (mut hasher, mut at, total) = (blake3::Hasher::new(), 0_u64, self.row.image_bytes);
        for entry in self.frames.inside().map.entries() {
            match entry {
                Entry::Marks { count } => write_marks(&mut copy, count)?,
                Entry::Blocks { len, count } => {
                    for _ in 0..count {
                        if !pace.goes_on() {
                            return Err(Trouble::Stopped);
                        }
                        let bytes = self.bytes(at, len.into(), pace, Keep::IfThereIsRoom)?;
                        bytes.iter().for_each(|bytes| {
                            hasher.update(bytes);
                        });
                        copy.write_block(&bytes, true).map_err(|error| fail::cartridge(&error))?;
                        at = at.saturating_add(len.into());
                        if at % PIECE_BYTES < u64::from(len) {
                            ticket.progress(1, at, total);
                        }
                    }
                }
            }
        }
        if *hasher.finalize().as_bytes() != self.frames.inside().blake3 {
            return Err(self.is_wrong()?.into());
        }
        self.is_wanted()?;
        let generation = self.frames.manifest().generation;
        Ok(copy.finish_copy(generation).map_err(|error| fail::cartridge(&error))?)
    }

    /// All is here and each frame was right by itself, and the whole is not what it should be: nothing of it is served any more.
    fn is_wrong(&self) -> Result<Failure, Failure> {
        let text = format!(
            "remote {}, folder {}: all of it was fetched, and its BLAKE3 is not the manifest's",
            self.row.remote, self.row.folder
        );
        let row = LazyRow { wrong: Some(text.clone()), ..self.row.clone() };
        change(&*self.world, |tx| Ok(table::put(tx, &row)?))?;
        self.end(Ended::Wrong(text.clone()));
        let remedy = format!("vtl export verify tells which object; then {}", import_anew(self.row.label));
        Ok(fail::permanent("conflict", text, &remedy))
    }

    fn settle(&self, store: &Store) -> Result<(), Failure> {
        let manifest = self.frames.manifest();
        let object =
            |object: &vtl_bundle::Stored| StoredObject { object: object.clone(), receipt: String::new() };
        let row = Row {
            remote: self.row.remote.clone(),
            folder: self.row.folder.clone(),
            cartridge: self.row.cartridge,
            label: self.row.label,
            // As `finish_copy` has set it: what a host has written since is not in the bundle.
            generation: manifest.generation.max(1),
            origin: Origin::Import,
            made_s: self.world.unix_s(),
            image_bytes: manifest.image_bytes,
            stored_bytes: manifest.stored_bytes(),
            manifest_sha256: self.row.manifest_sha256.clone(),
            proof: "every frame was fetched and checked, and the hash of the whole compared".to_owned(),
            objects: manifest.objects.iter().map(object).collect(),
        };
        change(&*self.world, |tx| {
            table::forget(tx, self.row.cartridge)?;
            Ok::<(), LibraryError>(catalogue::put(tx, &row)?)
        })?;
        self.end(Ended::Whole);
        // A start removes what stays.
        if let Err(error) = kept::remove(store, self.row.pieces) {
            tracing::warn!(label = %self.row.label, %error, "pieces that nobody needs stay for now");
        }
        self.world.freed_beside(self.row.cartridge);
        Ok(())
    }
}

/// Many are written in several steps.
fn write_marks(copy: &mut Cartridge, count: u64) -> Result<(), Failure> {
    let mut left = count;
    while left > 0 {
        let some = left.min(MARKS);
        let marks = u32::try_from(some).unwrap_or(u32::MAX);
        copy.write_filemarks(marks).map_err(|error| fail::cartridge(&error))?;
        left -= some;
    }
    Ok(())
}

/// An attempt that brought something is not counted.
fn got_further(trouble: Trouble, further: bool) -> Trouble {
    match trouble {
        Trouble::Failed(failure) if further && failure.class == Class::Temporary => {
            Trouble::Failed(Failure { class: Class::Further, ..failure })
        }
        other => other,
    }
}
