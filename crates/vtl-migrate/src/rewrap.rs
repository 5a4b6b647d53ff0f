//! Rewraps: the data key of a bundle for other recipients. Objects stay as they are; the manifest is replaced (`docs/formats/bundle.md`).
//!
//! An attempt, in this order; whatever it ends at, the folder has a manifest that a reader takes:
//! 1. the manifest that counts; its data key is unwrapped with a private key that is here, and opens its inside;
//! 2. the hash of the new manifest goes into the checkpoint, then both hashes into the catalogue: from now on either is the right one;
//! 3. the new manifest is created beside the old one and read back: now it counts;
//! 4. the old one is deleted, the new one created under its name and read back, the one beside it deleted;
//! 5. the catalogue has the new hash alone.
//!
//! A cancel before 3 leaves all these hashes in the catalogue: what was about to be created may still come, and is right then. It has the folder for itself,
//! as an attempt has. No stop breaks off a call that creates or deletes a manifest at once: it could take place later, when the folder is somebody else's.
//! One that hangs is left after a while, and is as one whose answer was lost.
//!
//! Wrapping is random, so an attempt that finds no whole manifest of an earlier one makes another; one that does goes on with it at 4.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use vtl_bundle::{Manifest, Signed, counting, manifest_name, new_manifest_name};
use vtl_codec::SigningKey;
use vtl_jobs::{Failure, Job, JobId, Outcome, Plan, PlannedTask, Ticket, Work};
use vtl_remote::{Class, Doing, Error, ObjectName, Span, collect, create_or_same};
use vtl_transfer::{Pace, Trouble, on_remote, to_its_end};

use crate::catalogue;
use crate::export::{NOBODY, recipients};
use crate::fail;
use crate::folder::{FolderName, Manifests};
use crate::job::{
    self, End, Folders, Opened, Plain, Undoing, change, jobs, outcome, read as look_at, sha256,
};
use crate::lazy;
use crate::maker::{Maker, signer};
use crate::planning;
use crate::request::{IMPORT, ImportRequest, REWRAP, RewrapRequest, RewrapResult, read, told};
use crate::world::World;

/// The engine.
pub struct Rewrap {
    world: Arc<dyn World>,
    folders: Arc<Folders>,
}

/// A job's checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Course {
    remote: String,
    folder: String,
    /// Hash of the manifest that was there before.
    before: String,
    /// Hashes of those that were about to be written.
    after: Vec<String>,
}

impl Course {
    fn load(ticket: &Ticket) -> Result<Option<Self>, Failure> {
        job::checkpoint(ticket)
    }

    fn save(&self, ticket: &Ticket) -> Result<(), Failure> {
        job::save_checkpoint(ticket, self)
    }

    /// Hashes of all manifests that may be there, with a blank between them.
    fn hashes(&self) -> String {
        let after = self.after.iter().map(|sha256| format!(" {sha256}"));
        std::iter::once(self.before.clone()).chain(after).collect()
    }

    fn wrote(&self, sha256: &str) -> bool {
        self.after.iter().any(|own| own == sha256)
    }
}

impl Work for Rewrap {
    fn kind(&self) -> &'static str {
        REWRAP
    }

    fn plan(&self, request: &str) -> Result<Plan, Failure> {
        let request: RewrapRequest = read(request)?;
        let world = &*self.world;
        not_needed(world, &request)?;
        let (end, opened) = planning::bundle(world, &request.remote, &request.folder)?;
        let next = rewrapped(world, &request, &opened.manifest)?;
        let mut notes = vec![format!(
            "the manifest of folder {} of remote {}, {} bytes for {} keys, gives way to one for {} keys: {}; no object is sent",
            end.name,
            request.remote,
            opened.bytes.len(),
            opened.manifest.recipients.len(),
            next.recipients.len(),
            request.key
        )];
        let signing = self.signing(&mut |text| notes.push(text.to_owned()), &request, &opened)?;
        let signed = if signing.is_some() { "it is signed" } else { "it is not signed" };
        notes.push(signed.to_owned());
        let bytes = next.encode(signing.as_ref()).map_err(|error| fail::manifest(&error))?.len() as u64;
        Ok(Plan { tasks: vec![PlannedTask { name: "write the manifest".to_owned(), bytes }], notes })
    }

    fn run(&self, ticket: &Ticket) -> Result<Outcome, Failure> {
        outcome(self.attempt(ticket).and_then(|result| Ok(told(&result)?)))
    }

    /// A new manifest that counts by now is not taken back: half of it is done, and the way on is as short as the way back.
    fn undo(&self, ticket: &Ticket) -> Result<(), Failure> {
        let Some(course) = Course::load(ticket)? else { return Ok(()) };
        let end = End::open(&*self.world, &course.remote, FolderName::asked(&course.folder)?)?;
        let pace = Undoing::begin(ticket);
        let undone = self
            .folders
            .take_in_time(&course.remote, &course.folder, &pace)
            .and_then(|_alone| self.back(&end, &pace, &course));
        undone.map_err(|trouble| half_replaced(&course, pace.failure(trouble)))
    }
}

fn half_replaced(course: &Course, failure: Failure) -> Failure {
    let message = format!(
        "the manifest of folder {} may be half replaced; it can be read: {}",
        course.folder, failure.message
    );
    Failure { message, remedy: Some("ask for the rewrap once more".to_owned()), ..failure }
}

impl Rewrap {
    /// An engine in this world, with the folders that others are at.
    pub fn new(world: Arc<dyn World>, folders: Arc<Folders>) -> Self {
        Self { world, folders }
    }

    fn attempt(&self, ticket: &Ticket) -> Result<RewrapResult, Trouble> {
        let world = &*self.world;
        let request: RewrapRequest = read(ticket.request())?;
        let end = End::open(world, &request.remote, FolderName::asked(&request.folder)?)?;
        let _alone = self.folders.take(&request.remote, &request.folder)?;
        ticket.set_tasks(&["rewrap"]);
        let pace = Plain::new(ticket, 0);
        let course = Course::load(ticket)?;
        not_needed(world, &request)?;
        // Nothing is touched in a folder whose manifest cannot be used.
        end.opened(world, &pace)?;
        let there = look(&end, &pace)?;
        let left = there.new.clone().filter(|_| there.clone().counting() == there.new);
        let bytes = match (left, course) {
            (Some(new), Some(course)) if course.wrote(&sha256(&new)) => new,
            (left, course) => {
                // Another job, here or elsewhere, came so far: what it has written counts, and is not lost by ours.
                match left {
                    Some(new) => replace(&end, &pace, &new)?,
                    None => delete(&end, &pace, &new_manifest_name(end.name.label))?,
                }
                match course.filter(|course| named_is_ours(&there, course)) {
                    Some(_) => there.named.unwrap_or_default(),
                    None => self.write(ticket, &end, &pace, &request)?,
                }
            }
        };
        replace(&end, &pace, &bytes)?;
        self.enter(&end, &sha256(&bytes))?;
        ticket.task_done(0);
        self.result(&request, &bytes)
    }

    /// The new manifest; it counts when this returns.
    fn write(
        &self,
        ticket: &Ticket,
        end: &End,
        pace: &Plain<'_>,
        request: &RewrapRequest,
    ) -> Result<Bytes, Trouble> {
        let world = &*self.world;
        let opened = end.opened(world, pace)?;
        let next = rewrapped(world, request, &opened.manifest)?;
        let signing = self.signing(&mut |text| ticket.note(text), request, &opened)?;
        let bytes = Bytes::from(next.encode(signing.as_ref()).map_err(|error| fail::manifest(&error))?);
        let course = Course::load(ticket)?;
        let mut course = course.unwrap_or_else(|| Course {
            remote: request.remote.clone(),
            folder: request.folder.clone(),
            before: opened.sha256.clone(),
            after: Vec::new(),
        });
        course.before = opened.sha256;
        course.after.push(sha256(&bytes));
        course.save(ticket)?;
        self.enter(end, &course.hashes())?;
        put(end, pace, &new_manifest_name(end.name.label), &bytes)?;
        Ok(bytes)
    }

    /// Who signs: who was asked to, or who is to sign exports, or who signed before. What nobody known has made is signed by nobody who was not asked.
    fn signing(
        &self,
        note: &mut dyn FnMut(&str),
        request: &RewrapRequest,
        opened: &Opened,
    ) -> Result<Option<SigningKey>, Failure> {
        let world = &*self.world;
        match request.sign_with.as_deref() {
            Some(NOBODY) => return Ok(None),
            Some(name) => return world.signing_key(name).map(Some),
            None => {}
        }
        match (Maker::find(world, &opened.sha256, opened.signed)?, opened.signed) {
            (Maker::Foreign(_), Signed::By(_)) => return Err(not_signed_anew()),
            (Maker::Foreign(why), Signed::No) => {
                note(&format!(
                    "the new manifest is not signed: {why}; --sign-with KEY signs it all the same"
                ));
                return Ok(None);
            }
            _ => {}
        }
        if let Some(name) = world.settings()?.defaults.sign_with.filter(|name| name != NOBODY) {
            return world.signing_key(&name).map(Some);
        }
        match (signer(&world.signers()?, opened.signed), opened.signed) {
            (_, Signed::No) => Ok(None),
            (Some(name), _) => world.signing_key(name).map(Some),
            (None, Signed::By(_)) => Err(not_signed_anew()),
        }
    }

    /// The hash of the manifest, or of two, into all rows of the folder.
    fn enter(&self, end: &End, hashes: &str) -> Result<(), Failure> {
        let (remote, folder) = (end.remote.name(), end.name.to_string());
        change(&*self.world, |tx| Ok(catalogue::set_manifest(tx, remote, &folder, hashes)?))
    }

    fn back(&self, end: &End, pace: &dyn Pace, course: &Course) -> Result<(), Trouble> {
        let there = look(end, pace)?;
        let counts = there.clone().counting().unwrap_or_default();
        if course.wrote(&sha256(&counts)) {
            replace(end, pace, &counts)?;
            return Ok(self.enter(end, &sha256(&counts))?);
        }
        if there.new.is_some_and(|new| new != counts) {
            delete(end, pace, &new_manifest_name(end.name.label))?;
        }
        Ok(())
    }

    fn result(&self, request: &RewrapRequest, bytes: &[u8]) -> Result<RewrapResult, Trouble> {
        let (manifest, signed) = Manifest::decode(bytes, None).map_err(|error| fail::manifest(&error))?;
        Ok(RewrapResult {
            remote: request.remote.clone(),
            folder: request.folder.clone(),
            key: request.key.clone(),
            recipients: manifest.recipients.into_iter().map(|one| one.key).collect(),
            signed_with: signer(&self.world.signers()?, signed).map(str::to_owned),
            manifest_sha256: sha256(bytes),
        })
    }
}

/// A cartridge that is here in part, and an import that has not ended, keep the hash of the manifest that they have begun with.
fn not_needed(world: &dyn World, request: &RewrapRequest) -> Result<(), Failure> {
    let lazy = look_at(world, |tx| Ok(lazy::from_folder(tx, &request.remote, &request.folder)?))?;
    let needed = |who: &str, remedy: &str| {
        let text = format!("the manifest of folder {} is needed as it is: {who}", request.folder);
        Err(fail::permanent("conflict", text, remedy))
    };
    if let Some(row) = lazy.first() {
        return needed(
            &format!("{} is here in part, and the rest of it is there", row.label),
            &format!(
                "let its import end, or remove the cartridge for good: {}; then ask for the rewrap once more",
                lazy::remove_for_good(row.label)
            ),
        );
    }
    match importing(world, request)? {
        Some(job) => needed(
            &format!("job {job} imports it"),
            "let that job end, or cancel it: vtl job cancel ID; then ask for the rewrap once more",
        ),
        None => Ok(()),
    }
}

/// A job that imports the folder and has not ended.
fn importing(world: &dyn World, request: &RewrapRequest) -> Result<Option<JobId>, Failure> {
    let jobs = jobs(world, vtl_jobs::unfinished)?;
    let is_of_it = |job: &&Job| {
        // One that cannot be read runs nowhere.
        job.kind == IMPORT
            && read::<ImportRequest>(&job.request)
                .is_ok_and(|import| import.remote == request.remote && import.folder == request.folder)
    };
    Ok(jobs.iter().find(is_of_it).map(|job| job.id))
}

/// A signature is not lost by accident.
fn not_signed_anew() -> Failure {
    fail::permanent(
        "not-found",
        "the manifest is signed, and the key that signed it is not here to sign the new one",
        "name a key with --sign-with KEY, or --sign-with none to leave it unsigned",
    )
}

/// Whether an earlier attempt got so far that only the catalogue was left.
fn named_is_ours(there: &Manifests, course: &Course) -> bool {
    there.new.is_none() && there.named.as_ref().is_some_and(|named| course.wrote(&sha256(named)))
}

/// The same manifest for other recipients.
fn rewrapped(world: &dyn World, request: &RewrapRequest, manifest: &Manifest) -> Result<Manifest, Failure> {
    if !manifest.sealed {
        return Err(fail::permanent(
            "conflict",
            format!("folder {} is not encrypted: there is no key to wrap", request.folder),
            "export the cartridge once more with --key",
        ));
    }
    let publics = recipients(world, Some(&request.key))?;
    let own: Vec<String> = manifest.recipients.iter().map(|one| one.key.clone()).collect();
    let private = world.private_key(&own)?;
    let wrong = |error| fail::manifest(&error);
    let data_key = manifest.data_key(&private).map_err(wrong)?;
    // What does not open the inside is not the data key, whoever wrapped it.
    manifest.inside(Some(&data_key)).map_err(wrong)?;
    let mut next = manifest.clone();
    next.rewrap(&data_key, &publics).map_err(wrong)?;
    Ok(next)
}

fn look(end: &End, pace: &dyn Pace) -> Result<Manifests, Trouble> {
    let _permit = pace.permit().ok_or(Trouble::Stopped)?;
    let fetched = Manifests::fetch(&*end.remote, &end.name, &end.folder, &end.settings.limiter);
    on_remote(&end.runtime, pace, fetched)
}

/// These bytes under the manifest's name, and nothing beside it. They count already, so a crash at any moment leaves a manifest.
fn replace(end: &End, pace: &dyn Pace, bytes: &Bytes) -> Result<(), Trouble> {
    let there = look(end, pace)?;
    let name = manifest_name(end.name.label);
    if there.named.as_ref() != Some(bytes) {
        if counting(None, there.new.as_ref()) != Some(bytes) {
            put(end, pace, &new_manifest_name(end.name.label), bytes)?;
        }
        delete(end, pace, &name)?;
        put(end, pace, &name, bytes)?;
    }
    delete(end, pace, &new_manifest_name(end.name.label))
}

/// Creates a manifest and reads it back.
fn put(end: &End, pace: &dyn Pace, name: &str, bytes: &Bytes) -> Result<(), Trouble> {
    let name = named(end, name)?;
    let _permit = pace.permit().ok_or(Trouble::Stopped)?;
    to_its_end(&end.runtime, pace, create_or_same(&*end.remote, &name, bytes.clone()))?;
    let is_right = on_remote(&end.runtime, pace, async {
        let stream = end.remote.get(&name, Span::whole()).await?;
        match collect(stream, bytes.len()).await {
            Err(error) if error.is_retryable() => Err(error),
            there => Ok(there.is_ok_and(|there| there == *bytes)),
        }
    })?;
    if is_right {
        return Ok(());
    }
    delete_to_its_end(end, &name)?;
    let text = "what was read back is not what was written";
    Err(Error::new(Class::Damaged, Doing::Get, text).on(end.remote.name()).of(name.as_str()).into())
}

fn delete(end: &End, pace: &dyn Pace, name: &str) -> Result<(), Trouble> {
    let name = named(end, name)?;
    let _permit = pace.permit().ok_or(Trouble::Stopped)?;
    delete_to_its_end(end, &name)
}

/// No stop breaks it off, however long it takes: it could still take place later, and take the manifest that has this name by then, the only place of the
/// wrapped data key.
fn delete_to_its_end(end: &End, name: &ObjectName) -> Result<(), Trouble> {
    Ok(end.runtime.block_on(end.remote.delete(name))?)
}

fn named(end: &End, name: &str) -> Result<ObjectName, Failure> {
    end.folder.object(name).map_err(|why| fail::permanent("invalid", why.to_string(), ""))
}
