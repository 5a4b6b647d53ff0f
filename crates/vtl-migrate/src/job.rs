//! What all engines do in the same way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use vtl_bundle::{Manifest, ManifestError, Signed, Stored, Version, manifest_name};
use vtl_jobs::{Failure, Job, JobError, JobId, Outcome, Ticket};
use vtl_library::LibraryError;
use vtl_meta::Tx;
use vtl_remote::{Folder, Hashes, Mode, Receipt, Remote, verify_or_read_back};
use vtl_transfer::{
    Confirmed, Left, Line, Pace, Permission, Staging, Trouble, content_of, of_ticket, on_remote, to_its_end,
};
use vtl_types::CartridgeId;

use crate::catalogue::{self, Row};
use crate::fail;
use crate::folder::{
    Come, FolderName, Remains, delete_manifests, look_again, manifest_of, remove_objects, unclaim_all, unseal,
};
use crate::maker::signer;
use crate::sent;
use crate::world::{Settings, World};

/// The other end of a job: everything that its calls need.
pub(crate) struct End {
    pub(crate) runtime: Handle,
    pub(crate) settings: Settings,
    pub(crate) remote: Arc<dyn Remote>,
    pub(crate) name: FolderName,
    pub(crate) folder: Folder,
}

impl End {
    pub(crate) fn open(world: &dyn World, remote: &str, name: FolderName) -> Result<Self, Failure> {
        let folder = name.folder()?;
        Ok(Self {
            runtime: world.runtime()?,
            settings: world.settings()?,
            remote: world.remote(remote)?,
            name,
            folder,
        })
    }

    pub(crate) fn staging(&self, ticket: &Ticket) -> Result<Staging, Trouble> {
        Staging::open(&self.settings.staging, &staging_of(ticket.id()), self.settings.margin_bytes)
    }

    /// The same with what a crash has left of these objects.
    pub(crate) fn staging_again(
        &self,
        ticket: &Ticket,
        objects: &[Stored],
        pace: &dyn Pace,
    ) -> Result<(Staging, Vec<Left>), Trouble> {
        let (parent, margin) = (&self.settings.staging, self.settings.margin_bytes);
        Staging::reopen(parent, &staging_of(ticket.id()), margin, objects, pace)
    }

    pub(crate) fn line<'a>(&'a self, staging: &'a Staging) -> Line<'a> {
        Line {
            runtime: &self.runtime,
            remote: &*self.remote,
            folder: &self.folder,
            staging,
            slots: self.settings.slots.max(1),
            limiter: &self.settings.limiter,
            verify: self.settings.verify,
        }
    }

    /// The manifest that is there, as bytes; none when there is none.
    pub(crate) fn manifest(&self, pace: &dyn Pace) -> Result<Option<bytes::Bytes>, Trouble> {
        let _permit = pace.permit().ok_or(Trouble::Stopped)?;
        self.manifest_at_once(pace)
    }

    /// The same without a turn among all transfers: what a cancel asks for waits for none of them.
    pub(crate) fn manifest_at_once(&self, pace: &dyn Pace) -> Result<Option<bytes::Bytes>, Trouble> {
        on_remote(&self.runtime, pace, manifest_of(&*self.remote, &self.name, &self.settings.limiter))
    }

    /// The manifest of a complete bundle, that it is the one of this folder, and what is known of it here.
    pub(crate) fn opened(&self, world: &dyn World, pace: &dyn Pace) -> Result<Opened, Trouble> {
        let bytes = self.manifest(pace)?.ok_or_else(|| {
            fail::permanent(
                "not-found",
                format!(
                    "remote {}: folder {} has no manifest: there is no complete export in it",
                    self.remote.name(),
                    self.name
                ),
                "see vtl export ls --remote REMOTE",
            )
        })?;
        let (manifest, signed) =
            Manifest::decode(&bytes, None).map_err(|error| self.unusable_manifest(&error))?;
        if manifest.folder() != self.name.to_string() {
            let text = format!("the manifest in folder {} is that of {}", self.name, manifest.folder());
            return Err(fail::permanent("conflict", text, "give the folder its right name again").into());
        }
        let known = known(world, self.remote.name(), &self.name.to_string())?;
        let sha256 = sha256(&bytes);
        if let Some(row) = known.first()
            && !row.has_manifest(&sha256)
            && !is_rewrapped(world, row, &manifest, signed)?
        {
            let text =
                format!("the manifest in folder {} is not the one that was written or read here", self.name);
            return Err(fail::permanent(
                "conflict",
                text,
                "somebody has changed it; restore it, or look at it with vtl-decode",
            )
            .into());
        }
        Ok(Opened { manifest, bytes, signed, sha256, known: !known.is_empty() })
    }

    /// What is wrong with the manifest, and where it lies.
    fn unusable_manifest(&self, error: &ManifestError) -> Failure {
        let failure = fail::manifest(error);
        let (remote, manifest) = (self.remote.name(), manifest_name(self.name.label));
        let message = format!("remote {remote}: folder {}: {manifest}: {}", self.name, failure.message);
        Failure { message, ..failure }
    }

    /// Proves at this moment that what a row says is there, by hashes kept here. A remote for rehearsals proves nothing.
    pub(crate) fn prove(&self, row: &Row, wanted: Mode, pace: &dyn Pace) -> Result<(), Trouble> {
        if self.remote.is_rehearsal() {
            let text = format!(
                "remote {} is for rehearsals: nothing is deleted for what it has",
                self.remote.name()
            );
            return Err(fail::permanent("conflict", text, "export to a remote without faults").into());
        }
        let reads = wanted == Mode::Readback || self.remote.abilities().hashes == Hashes::PerhapsSent;
        let mode = if reads { Mode::Readback } else { Mode::RemoteHash };
        if row.objects.is_empty() {
            let text = format!("nothing is known here of the objects in folder {}", self.name);
            return Err(fail::permanent("conflict", text, "export the cartridge once more").into());
        }
        for stored in &row.objects {
            let name = self.folder.object(&stored.object.name);
            let name = name.map_err(|why| fail::permanent("invalid", why.to_string(), ""))?;
            let content = content_of(&stored.object)?;
            let receipt = stored
                .receipt
                .parse::<Receipt>()
                .map_err(|why: String| fail::unreadable("catalogue", why))?;
            let _permit = pace.permit().ok_or(Trouble::Stopped)?;
            on_remote(
                &self.runtime,
                pace,
                verify_or_read_back(&*self.remote, &name, &content, &receipt, mode, &self.settings.limiter),
            )?;
        }
        match self.manifest(pace)? {
            Some(bytes) if row.has_manifest(&sha256(&bytes)) => Ok(()),
            found => {
                let word = if found.is_some() { "another one" } else { "gone" };
                let text = format!("the manifest in folder {} is {word}", self.name);
                Err(fail::permanent("conflict", text, "export the cartridge once more").into())
            }
        }
    }
}

/// Whether another server has given a bundle that is known here other recipients: a known signer says so, and the objects are those of the row.
fn is_rewrapped(world: &dyn World, row: &Row, manifest: &Manifest, signed: Signed) -> Result<bool, Failure> {
    let same = row.objects.iter().map(|stored| &stored.object).eq(&manifest.objects);
    Ok(same && signer(&world.signers()?, signed).is_some())
}

/// The name of a job's folder in the staging folder.
#[must_use]
pub fn staging_of(job: JobId) -> String {
    format!("job-{job}")
}

/// A manifest that may be used.
pub(crate) struct Opened {
    pub(crate) manifest: Manifest,
    /// As it was fetched.
    pub(crate) bytes: bytes::Bytes,
    pub(crate) signed: Signed,
    pub(crate) sha256: String,
    /// Hashes kept here say that it is what was written or read here.
    pub(crate) known: bool,
}

/// What the catalogue has of a folder.
pub(crate) fn known(world: &dyn World, remote: &str, folder: &str) -> Result<Vec<Row>, Failure> {
    read(world, |tx| Ok(catalogue::of_folder(tx, remote, folder)?))
}

/// One look at the inventory.
pub(crate) fn read<T>(
    world: &dyn World,
    work: impl FnOnce(&Tx<'_>) -> Result<T, LibraryError>,
) -> Result<T, Failure> {
    let (mut work, mut found) = (Some(work), None);
    let done = world.read(&mut |tx| {
        if let Some(work) = work.take() {
            found = Some(work(tx)?);
        }
        Ok(())
    });
    done.map_err(|error| fail::inventory(&error))?;
    found.ok_or_else(|| fail::temporary("internal", "the inventory was not read", ""))
}

/// Jobs of the list.
pub(crate) fn jobs(
    world: &dyn World,
    which: impl FnOnce(&Tx<'_>) -> Result<Vec<Job>, JobError>,
) -> Result<Vec<Job>, Failure> {
    let jobs = read(world, |tx| match which(tx) {
        Ok(jobs) => Ok(Ok(jobs)),
        Err(JobError::Meta(error)) => Err(error.into()),
        Err(error) => Ok(Err(error)),
    })?;
    jobs.map_err(|error| fail::temporary("internal", error.to_string(), fail::REPORT))
}

/// One change of the inventory.
pub(crate) fn change(
    world: &dyn World,
    work: impl FnOnce(&mut Tx<'_>) -> Result<(), LibraryError>,
) -> Result<(), Failure> {
    let mut work = Some(work);
    let changed = world.change(&mut |tx| work.take().map_or(Ok(()), |work| work(tx)));
    changed.map_err(|error| fail::inventory(&error))
}

/// How an attempt came back, as the manager wants it.
pub(crate) fn outcome(attempt: Result<String, Trouble>) -> Result<Outcome, Failure> {
    match attempt {
        Ok(result) => Ok(Outcome::Done(result)),
        Err(Trouble::Stopped) => Ok(Outcome::Stopped),
        Err(Trouble::Failed(failure)) => Err(failure),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As manifests are told apart.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    vtl_remote::from_hex(text)
}

/// What a job has kept of itself; none before it has.
pub(crate) fn checkpoint<T: DeserializeOwned>(ticket: &Ticket) -> Result<Option<T>, Failure> {
    let bytes = ticket.checkpoint();
    if bytes.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|why| fail::unreadable("checkpoint", why))
}

/// It is durable when this returns.
pub(crate) fn save_checkpoint<T: Serialize>(ticket: &Ticket, course: &T) -> Result<(), Failure> {
    ticket.save(serde_json::to_vec(course).map_err(|why| fail::unreadable("checkpoint", why))?)
}

pub(crate) fn id_of(text: &str) -> Result<CartridgeId, Failure> {
    unhex(text).map(CartridgeId).ok_or_else(|| fail::unreadable("checkpoint", "its cartridge is none"))
}

/// Bytes of the image in an object; a last one has less.
pub(crate) fn image_bytes_of(object: &Stored, version: Version) -> u64 {
    object.frames.saturating_mul(version.frame_bytes() as u64)
}

/// How far a job is, in bytes of the image.
pub(crate) struct Meter<'a> {
    ticket: &'a Ticket,
    done: AtomicU64,
    /// How much of it was read for objects that are sent while they are made.
    read: AtomicU64,
    total: u64,
    version: Version,
}

impl<'a> Meter<'a> {
    /// `version`: of the bundle whose objects move.
    pub(crate) fn new(ticket: &'a Ticket, done: u64, total: u64, version: Version) -> Self {
        let meter = Self { ticket, done: AtomicU64::new(0), read: AtomicU64::new(0), total, version };
        meter.add(done);
        meter
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        self.tell();
    }

    fn tell(&self) {
        let done = self.done.load(Ordering::Relaxed).max(self.read.load(Ordering::Relaxed));
        self.ticket.progress(0, done.min(self.total), self.total);
    }

    /// So much was read, from the image's beginning, of what is sent while it is made: but for a few pieces it has moved.
    pub(crate) fn read(&self, bytes: u64) {
        // Not for each small block.
        if bytes.saturating_sub(self.read.load(Ordering::Relaxed)) >= self.version.frame_bytes() as u64 {
            self.read.fetch_max(bytes, Ordering::Relaxed);
            self.tell();
        }
    }

    /// So many stored bytes of an object moved.
    pub(crate) fn moved(&self, object: &Stored, bytes: u64) {
        let of_image = u128::from(image_bytes_of(object, self.version)) * u128::from(bytes)
            / u128::from(object.bytes.max(1));
        self.add(u64::try_from(of_image).unwrap_or(u64::MAX));
    }
}

/// The pace of a job that remembers nothing on its way.
pub(crate) struct Plain<'a> {
    pub(crate) ticket: &'a Ticket,
    pub(crate) meter: Meter<'a>,
}

impl<'a> Plain<'a> {
    pub(crate) fn new(ticket: &'a Ticket, total: u64) -> Self {
        Self::of(ticket, Version::default(), total)
    }

    /// Where objects of a bundle of this version move.
    pub(crate) fn of(ticket: &'a Ticket, version: Version, total: u64) -> Self {
        Self { ticket, meter: Meter::new(ticket, 0, total, version) }
    }
}

impl Pace for Plain<'_> {
    fn goes_on(&self) -> bool {
        of_ticket::goes_on(self.ticket)
    }

    fn wait(&self, time: Duration) -> bool {
        of_ticket::wait(self.ticket, time)
    }

    fn permit(&self) -> Option<Permission> {
        of_ticket::permit(self.ticket)
    }

    fn confirmed(&self, _object: &Confirmed) -> Result<(), Failure> {
        Ok(())
    }

    fn began(&self, _object: &str, _checkpoint: &str) -> Result<(), Failure> {
        Ok(())
    }

    fn sealing(&self, _sha256: &str) -> Result<(), Failure> {
        Ok(())
    }

    fn moved(&self, object: &Stored, bytes: u64) {
        self.meter.moved(object, bytes);
    }

    fn note(&self, text: &str) {
        self.ticket.note(text);
    }
}

/// What is half done is taken back for so long at most. With the time that its engine needs to come to a safe point, a job is cancelled within 5 s.
const UNDO: Duration = Duration::from_secs(3);

/// The pace of what is taken back after a cancel: it waits for no turn among the transfers, and its time is short.
pub(crate) struct Undoing<'a> {
    ticket: &'a Ticket,
    until: Instant,
}

impl<'a> Undoing<'a> {
    /// From now on.
    pub(crate) fn begin(ticket: &'a Ticket) -> Self {
        Self { ticket, until: Instant::now() + UNDO }
    }

    /// Why not all of it was done.
    pub(crate) fn failure(&self, trouble: Trouble) -> Failure {
        match trouble {
            Trouble::Failed(failure) => failure,
            Trouble::Stopped if of_ticket::goes_on(self.ticket) => {
                fail::temporary("conflict", format!("it takes more than {} s", UNDO.as_secs()), "")
            }
            Trouble::Stopped => fail::temporary("conflict", "the server stops", ""),
        }
    }
}

impl Pace for Undoing<'_> {
    fn goes_on(&self) -> bool {
        of_ticket::goes_on(self.ticket) && Instant::now() < self.until
    }

    fn wait(&self, time: Duration) -> bool {
        let left = self.until.saturating_duration_since(Instant::now());
        of_ticket::wait(self.ticket, time.min(left)) && self.goes_on()
    }

    /// Its time is over then.
    fn patience(&self) -> Duration {
        Duration::ZERO
    }

    fn permit(&self) -> Option<Permission> {
        self.goes_on().then(|| Box::new(()) as Permission)
    }

    fn confirmed(&self, _object: &Confirmed) -> Result<(), Failure> {
        Ok(())
    }

    fn began(&self, _object: &str, _checkpoint: &str) -> Result<(), Failure> {
        Ok(())
    }

    fn sealing(&self, _sha256: &str) -> Result<(), Failure> {
        Ok(())
    }

    fn moved(&self, _object: &Stored, _bytes: u64) {}

    fn note(&self, text: &str) {
        self.ticket.note(text);
    }
}

/// Removes a folder and forgets it, as far as it can be reached. Who calls it knows that nobody's whole bundle is in it, or that it is to go. Which objects
/// were confirmed is forgotten first: when it is cut off, nobody believes that they are there.
pub(crate) fn remove_folder(
    world: &dyn World,
    end: &End,
    pace: &dyn Pace,
    remains: &Remains,
) -> Result<(u64, u64), Trouble> {
    let (remote, folder) = (end.remote.name(), end.name.to_string());
    change(world, |tx| {
        sent::forget(tx, remote, &folder)?;
        Ok(catalogue::forget(tx, remote, &folder)?)
    })?;
    let (at, name, place) = (&*end.remote, &end.name, &end.folder);
    let no_manifest = || to_its_end(&end.runtime, pace, delete_manifests(at, name, place));
    to_its_end(&end.runtime, pace, unseal(at, name, place, &remains.half_sent))?;
    match on_remote(&end.runtime, pace, look_again(at, name, place, &end.settings.limiter, remains))? {
        Come::Nothing => {}
        Come::Late => no_manifest()?,
        Come::Foreign => return Err(completed_meanwhile(remote, &folder).into()),
    }
    let removed = on_remote(&end.runtime, pace, remove_objects(at, name, place, remains.objects))?;
    if !remains.sealed.is_empty() {
        no_manifest()?;
    }
    on_remote(&end.runtime, pace, unclaim_all(at, name, place, &removed.claims, &remains.bundles))?;
    Ok((removed.objects, removed.bytes))
}

fn completed_meanwhile(remote: &str, folder: &str) -> Failure {
    let text = format!(
        "somebody has completed folder {folder} of remote {remote} meanwhile, so its objects are left as they are"
    );
    fail::temporary("conflict", text, &format!("see vtl export ls --remote {remote}"))
}

/// So often who waits for a folder looks whether somebody else is at it still.
const LOOK: Duration = Duration::from_millis(100);

/// Folders on remotes that engines of this process write to or remove, each of them alone. Nobody waits for one with another one in its hands.
#[derive(Default)]
pub struct Folders(InUse);

impl Folders {
    /// For as long as the guard lives.
    pub(crate) fn take(&self, remote: &str, folder: &str) -> Result<Used<'_>, Failure> {
        self.0.take(&format!("folder {folder} of remote {remote}"))
    }

    /// The same when who is at it is done in time.
    pub(crate) fn take_in_time(
        &self,
        remote: &str,
        folder: &str,
        pace: &dyn Pace,
    ) -> Result<Used<'_>, Trouble> {
        loop {
            match self.take(remote, folder) {
                Ok(held) => return Ok(held),
                Err(busy) if !pace.wait(LOOK) => return Err(busy.into()),
                Err(_) => {}
            }
        }
    }
}

/// A set of names that are in use; a name leaves it when its guard goes.
#[derive(Default)]
pub(crate) struct InUse(Mutex<std::collections::BTreeSet<String>>);

pub(crate) struct Used<'a>(&'a InUse, String);

impl InUse {
    pub(crate) fn take(&self, name: &str) -> Result<Used<'_>, Failure> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match names.insert(name.to_owned()) {
            true => Ok(Used(self, name.to_owned())),
            false => Err(fail::busy(format!("another job is at {name}"))),
        }
    }
}

impl Drop for Used<'_> {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}
