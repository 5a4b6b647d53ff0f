//! Verifications: what lies on a remote against the hashes in its manifest, which are compared with those kept here when it was written here. No
//! key is needed.

use std::sync::Arc;

use vtl_bundle::{Manifest, Stored, Version};
use vtl_codec::Randomness;
use vtl_jobs::{Failure, Outcome, Plan, PlannedTask, Ticket, Work};
use vtl_remote::{Class, Mode, Receipt, verify};
use vtl_transfer::{Pace, Trouble, content_of, examine, on_remote};

use crate::fail;
use crate::folder::FolderName;
use crate::job::{End, Plain, image_bytes_of, outcome};
use crate::maker::signature_told;
use crate::planning;
use crate::request::{VERIFY, VerifyRequest, VerifyResult, read, told};
use crate::world::World;

/// So many damaged objects are named.
const NAMED: usize = 20;

/// The engine.
pub struct Verify {
    world: Arc<dyn World>,
}

impl Work for Verify {
    fn kind(&self) -> &'static str {
        VERIFY
    }

    fn plan(&self, request: &str) -> Result<Plan, Failure> {
        let request: VerifyRequest = read(request)?;
        let world = &*self.world;
        let (end, opened) = planning::bundle(world, &request.remote, &request.folder)?;
        let objects = &opened.manifest.objects;
        let chosen = sample(objects, request.sample_percent, &world.random())?;
        let bytes = chosen.iter().fold(0_u64, |sum, object| sum.saturating_add(object.bytes));
        let mut notes = vec![format!(
            "{} of {} objects in folder {} of remote {}; {}",
            chosen.len(),
            objects.len(),
            end.name,
            request.remote,
            signature_told(&world.signers()?, opened.signed)
        )];
        if request.sample_percent.is_some() {
            notes.push("the job draws as many once more: its bytes may be others".to_owned());
        }
        Ok(Plan { tasks: vec![PlannedTask { name: "fetch and compare".to_owned(), bytes }], notes })
    }

    fn run(&self, ticket: &Ticket) -> Result<Outcome, Failure> {
        outcome(self.attempt(ticket).and_then(|result| Ok(told(&result)?)))
    }

    fn undo(&self, _ticket: &Ticket) -> Result<(), Failure> {
        // It changes nothing.
        Ok(())
    }
}

impl Verify {
    /// An engine in this world.
    pub fn new(world: Arc<dyn World>) -> Self {
        Self { world }
    }

    fn attempt(&self, ticket: &Ticket) -> Result<VerifyResult, Trouble> {
        let world = &*self.world;
        let request: VerifyRequest = read(ticket.request())?;
        let end = End::open(world, &request.remote, FolderName::asked(&request.folder)?)?;
        ticket.set_tasks(&["fetch and compare"]);
        let opened = end.opened(world, &Plain::new(ticket, 0))?;
        let objects = &opened.manifest.objects;
        let chosen = sample(objects, request.sample_percent, &world.random())?;
        let place = |object: &Stored| objects.iter().position(|one| one.name == object.name);
        let version = opened.manifest.version;
        let pace = Plain::of(ticket, version, image_bytes(&chosen, version));
        let mut wrong = Vec::new();
        for object in &chosen {
            let Some(said) = compare(&end, object, &pace)? else { continue };
            let frame = place(object).and_then(|at| whereabouts(&end, &opened.manifest, at, &pace));
            wrong.push(frame.unwrap_or(said));
        }
        ticket.task_done(0);
        if !wrong.is_empty() {
            let more = if wrong.len() > NAMED { ", and more" } else { "" };
            let (count, named) = (wrong.len(), wrong.get(..NAMED).unwrap_or(&wrong).join("; "));
            let text = format!(
                "{count} of {} objects in folder {} are wrong: {named}{more}",
                chosen.len(),
                end.name
            );
            return Err(
                fail::permanent("conflict", text, "export the cartridge once more while it is here").into()
            );
        }
        Ok(VerifyResult {
            checked: chosen.len() as u64,
            objects: objects.len() as u64,
            bytes: chosen.iter().map(|object| object.bytes).sum(),
            known: opened.known,
            signed: signature_told(&world.signers()?, opened.signed),
        })
    }
}

/// How much of the image they hold, as their manifest says, which may say anything.
fn image_bytes(objects: &[&Stored], version: Version) -> u64 {
    objects.iter().fold(0, |sum, object| sum.saturating_add(image_bytes_of(object, version)))
}

/// What is wrong with an object that is not what it should be, with the frame if it is in one.
fn whereabouts(end: &End, manifest: &Manifest, at: usize, pace: &Plain<'_>) -> Option<String> {
    let name = end.folder.object(&manifest.objects.get(at)?.name).ok()?;
    let _permit = pace.permit()?;
    examine(&end.runtime, &*end.remote, &end.settings.limiter, &name, manifest, at, pace)
}

/// What is wrong with an object, if anything is.
fn compare(end: &End, object: &Stored, pace: &Plain<'_>) -> Result<Option<String>, Trouble> {
    let name = end.folder.object(&object.name);
    let name = name.map_err(|why| fail::permanent("invalid", why.to_string(), ""))?;
    let content = content_of(object)?;
    let _permit = pace.permit().ok_or(Trouble::Stopped)?;
    let (receipt, limiter) = (Receipt::whole(), &end.settings.limiter);
    let wrong = on_remote(&end.runtime, pace, async {
        match verify(&*end.remote, &name, &content, &receipt, Mode::Readback, limiter).await {
            Ok(_) => Ok(None),
            Err(error) if matches!(error.class(), Class::Damaged | Class::NotThere) => {
                Ok(Some(format!("{}: {}", object.name, error.detail())))
            }
            Err(error) => Err(error),
        }
    })?;
    pace.moved(object, object.bytes);
    Ok(wrong)
}

/// So many percent of the objects, at least one, by chance and in their order.
fn sample<'a>(
    objects: &'a [Stored],
    percent: Option<u8>,
    random: &Randomness,
) -> Result<Vec<&'a Stored>, Failure> {
    let Some(percent) = percent else { return Ok(objects.iter().collect()) };
    if !(1..=100).contains(&percent) {
        return Err(fail::permanent("invalid", format!("{percent} percent cannot be"), "write 1 to 100"));
    }
    let mut left = (objects.len() * usize::from(percent)).div_ceil(100).max(1);
    let mut chosen = Vec::with_capacity(left);
    for (object, behind) in objects.iter().zip((1..=objects.len()).rev()) {
        let mut bytes = [0; 8];
        let drawn = random.fill(&mut bytes);
        drawn.map_err(|why| fail::temporary("internal", format!("no random bytes: {why}"), ""))?;
        // With a chance of `left` in `behind`: each choice of that many is equally likely.
        if u64::from_le_bytes(bytes) % (behind as u64) < left as u64 {
            chosen.push(object);
            left -= 1;
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_that_claims_more_frames_than_there_can_be_is_counted_without_a_panic() {
        let object = |frames| Stored {
            name: String::new(),
            bytes: 1,
            md5: String::new(),
            sha256: String::new(),
            frames,
        };
        assert_eq!(image_bytes(&[&object(1), &object(2)], Version::V0), 3 << 18);
        assert_eq!(image_bytes(&[&object(1 << 46), &object(1)], Version::V0), u64::MAX);
    }

    #[test]
    fn a_sample_has_as_many_objects_as_asked_in_their_order() {
        let object = |number: u64| Stored {
            name: number.to_string(),
            bytes: 1,
            md5: String::new(),
            sha256: String::new(),
            frames: 1,
        };
        let objects: Vec<Stored> = (0..40).map(object).collect();
        for (percent, wanted) in [(1, 1), (10, 4), (11, 5), (100, 40)] {
            let chosen = sample(&objects, Some(percent), &Randomness::system()).unwrap();
            assert_eq!(chosen.len(), wanted);
            let numbers: Vec<u64> = chosen.iter().map(|object| object.name.parse().unwrap()).collect();
            assert!(numbers.is_sorted(), "{numbers:?}");
        }
        assert_eq!(sample(&objects, None, &Randomness::system()).unwrap().len(), 40);
        assert!(sample(&objects, Some(0), &Randomness::system()).is_err());
    }
}
