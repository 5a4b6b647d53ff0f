//! What engines need of the program around them.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::runtime::Handle;
use vtl_codec::{Key, Method, PrivateKey, PublicKey, Randomness, SigningKey, VerifyingKey};
use vtl_jobs::{Failure, Ticket};
use vtl_library::LibraryError;
use vtl_meta::Tx;
use vtl_remote::{Limiter, Mode, Remote};
use vtl_store::{RepairReport, Store};
use vtl_transfer::Trouble;
use vtl_types::{ByteCount, CartridgeId, Label, LibraryName};

/// How things move.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where objects stay on their way; each job has a folder of its own in it.
    pub staging: PathBuf,
    /// So much of its file system is left free, or a quarter of it where that is less.
    pub margin_bytes: u64,
    /// Objects of one job that are on their way at once.
    pub slots: usize,
    /// How fast, all transfers together.
    pub limiter: Limiter,
    /// How what was sent is verified.
    pub verify: Mode,
    /// What becomes of a bundle that nobody known here has made.
    pub foreign: ForeignRule,
    /// How long a host's read waits for a block that is not here.
    pub read_wait: std::time::Duration,
    /// What requests need not say.
    pub defaults: Defaults,
}

/// What becomes of a bundle that was not exported from here and that no known signer has signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignRule {
    /// It is taken as any other.
    Accept,
    /// It is taken, and stays in the vault until somebody releases it.
    Quarantine,
    /// It is not taken.
    Refuse,
}

/// What a request that does not say it means.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// Where to.
    pub remote: Option<String>,
    /// For whom: names of keys, with commas between them.
    pub key: Option<String>,
    /// Who signs.
    pub sign_with: Option<String>,
    /// The most that an object may have.
    pub chunk_bytes: u64,
    /// What frames are tried with.
    pub compress: Method,
    /// Whether a cartridge goes when its export is proved.
    pub delete_after_export: bool,
}

/// A cartridge with nothing on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blank {
    /// Its label.
    pub label: Label,
    /// Where it is to be.
    pub library: LibraryName,
    /// What it may hold.
    pub capacity: ByteCount,
}

/// A cartridge and where it is.
#[derive(Debug)]
pub struct Held {
    /// Which.
    pub id: CartridgeId,
    /// Its label.
    pub label: Label,
    /// Name of its pool.
    pub pool: String,
    /// The store of that.
    pub store: Store,
}

/// The program around the engines.
pub trait World: Send + Sync {
    /// Where a cartridge is.
    ///
    /// # Errors
    /// Its store is not open; the program is about to end.
    fn store_of(&self, id: CartridgeId) -> Result<Store, Failure>;

    /// Where a cartridge is made: in this pool, or in the one for those that nobody chose a pool for.
    ///
    /// # Errors
    /// There is no such pool, or it is not open; the program is about to end.
    fn store_of_new(&self, pool: Option<&str>) -> Result<Store, Failure>;

    /// Notes which pool a new cartridge is in, inside the transaction that lists it.
    ///
    /// # Errors
    /// There is no such pool; the inventory cannot be written.
    fn note_pool(&self, tx: &mut Tx<'_>, id: CartridgeId, pool: Option<&str>) -> Result<(), LibraryError>;

    /// Where calls to remotes run.
    ///
    /// # Errors
    /// The program is about to end.
    fn runtime(&self) -> Result<Handle, Failure>;

    /// How things move now.
    ///
    /// # Errors
    /// The program is about to end.
    fn settings(&self) -> Result<Settings, Failure>;

    /// The remote of this name.
    ///
    /// # Errors
    /// There is none, or it cannot be opened.
    fn remote(&self, name: &str) -> Result<Arc<dyn Remote>, Failure>;

    /// The public key of this name.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    fn public_key(&self, name: &str) -> Result<PublicKey, Failure>;

    /// The private key that has one of these fingerprints (hexadecimal).
    ///
    /// # Errors
    /// There is none here, or it cannot be read.
    fn private_key(&self, fingerprints: &[String]) -> Result<PrivateKey, Failure>;

    /// The key of this name that signs.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    fn signing_key(&self, name: &str) -> Result<SigningKey, Failure>;

    /// Names and keys of everybody whose signature is known here.
    ///
    /// # Errors
    /// They cannot be read.
    fn signers(&self) -> Result<Vec<(String, VerifyingKey)>, Failure>;

    /// What data keys in checkpoints are sealed with. It stays the same over restarts.
    ///
    /// # Errors
    /// It cannot be read or made.
    fn checkpoint_key(&self) -> Result<Key, Failure>;

    /// Where random bytes come from.
    fn random(&self) -> Randomness;

    /// Seconds since 1970.
    fn unix_s(&self) -> u64;

    /// Cartridges of this pool, or of all that are open, those in the trash too.
    ///
    /// # Errors
    /// There is no such pool, or it is not open; the inventory cannot be read.
    fn held(&self, pool: Option<&str>) -> Result<Vec<Held>, Failure>;

    /// Has this pool, or each that is open, put back what has another copy in it.
    ///
    /// # Errors
    /// Something else changes packs, the pool takes no writes, or the disk failed.
    fn repair(&self, pool: Option<&str>) -> Result<Vec<RepairReport>, Failure>;

    /// Runs `work` once in a transaction on the inventory.
    ///
    /// # Errors
    /// Whatever `work` returns; nothing has changed then.
    fn change(
        &self,
        work: &mut dyn FnMut(&mut Tx<'_>) -> Result<(), LibraryError>,
    ) -> Result<(), LibraryError>;

    /// Runs `work` once on a view of the inventory.
    ///
    /// # Errors
    /// Whatever `work` returns.
    fn read(&self, work: &mut dyn FnMut(&Tx<'_>) -> Result<(), LibraryError>) -> Result<(), LibraryError>;

    /// Removes a cartridge here for good, unless it was written since this generation, is in a drive, or is kept. That it is gone already is no error.
    ///
    /// # Errors
    /// Why it stays.
    fn delete_here(&self, id: CartridgeId, generation: u64) -> Result<(), Failure>;

    /// Makes a blank cartridge in the first empty slot of its library. `also` is a part of the transaction that lists it.
    ///
    /// # Errors
    /// There is none then. `exists`: the label is taken; `full`: no slot is empty.
    fn make_blank(
        &self,
        new: &Blank,
        also: &mut dyn FnMut(&mut Tx<'_>) -> Result<(), LibraryError>,
    ) -> Result<(), Failure>;

    /// What was made in this pool for a new cartridge and is removed has left bytes that nobody needs.
    fn freed(&self, pool: Option<&str>);

    /// The same in the pool of a cartridge.
    fn freed_beside(&self, id: CartridgeId);

    /// A cartridge has been put out of a library and is in the vault: what the site wants to be done before anything is sent. May be asked more than once.
    ///
    /// # Errors
    /// Nothing is to be sent, or a stop is wanted.
    fn vaulted(&self, ticket: &Ticket, label: Label, library: &str, used_bytes: u64) -> Result<(), Trouble>;

    /// Folders, with their remotes, that jobs which have not ended write to.
    ///
    /// # Errors
    /// The list of jobs cannot be read.
    fn written_to(&self) -> Result<Vec<(String, String)>, Failure>;
}
