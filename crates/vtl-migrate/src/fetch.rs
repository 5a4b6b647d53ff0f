//! Fetches: a bundle as it lies on a remote, into a folder of this machine, each object compared with its hashes. No key is needed.
//!
//! It is made beside its place, as `FOLDER.part`, with the manifest last, and has its name when all of it is durable. A crash leaves the part, which the
//! next attempt of the same job begins anew; nothing that is there already is touched.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vtl_bundle::{Source as _, manifest_name};
use vtl_jobs::{Failure, Outcome, Plan, PlannedTask, Ticket, Work};
use vtl_transfer::{Inbox, Pace, Trouble, receive};

use crate::fail;
use crate::folder::FolderName;
use crate::job::{self, End, Opened, Plain, outcome};
use crate::maker::signature_told;
use crate::planning;
use crate::request::{FETCH, FetchRequest, FetchResult, read, told};
use crate::world::World;

/// Bytes that are copied at once.
const PIECE: usize = 1 << 20;

/// The engine.
pub struct Fetch {
    world: Arc<dyn World>,
}

/// A job's checkpoint: it has made the part.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Course {
    part: PathBuf,
}

impl Work for Fetch {
    fn kind(&self) -> &'static str {
        FETCH
    }

    fn plan(&self, request: &str) -> Result<Plan, Failure> {
        let request: FetchRequest = read(request)?;
        let world = &*self.world;
        let (end, opened) = planning::bundle(world, &request.remote, &request.folder)?;
        let to = Path::new(&request.to);
        // With the dot a file is none.
        to.join(".").metadata().map_err(|error| local(to, &error))?;
        let place = to.join(end.name.to_string());
        for taken in [&place, &to.join(format!("{}.part", end.name))] {
            if taken.symlink_metadata().is_ok() {
                return Err(is_there(taken));
            }
        }
        let notes = vec![format!(
            "{} objects and the manifest of folder {} of remote {} to {}; {}",
            opened.manifest.objects.len(),
            end.name,
            request.remote,
            place.display(),
            signature_told(&world.signers()?, opened.signed)
        )];
        let bytes = opened.manifest.stored_bytes().saturating_add(opened.bytes.len() as u64);
        Ok(Plan { tasks: vec![PlannedTask { name: "fetch".to_owned(), bytes }], notes })
    }

    fn run(&self, ticket: &Ticket) -> Result<Outcome, Failure> {
        outcome(self.attempt(ticket).and_then(|result| Ok(told(&result)?)))
    }

    fn undo(&self, ticket: &Ticket) -> Result<(), Failure> {
        begun(ticket)?.map_or(Ok(()), |course| clear(&course.part))
    }
}

fn begun(ticket: &Ticket) -> Result<Option<Course>, Failure> {
    job::checkpoint(ticket)
}

impl Fetch {
    /// An engine in this world.
    pub fn new(world: Arc<dyn World>) -> Self {
        Self { world }
    }

    fn attempt(&self, ticket: &Ticket) -> Result<FetchResult, Trouble> {
        let world = &*self.world;
        let request: FetchRequest = read(ticket.request())?;
        let end = End::open(world, &request.remote, FolderName::asked(&request.folder)?)?;
        ticket.set_tasks(&["fetch"]);
        let opened = end.opened(world, &Plain::new(ticket, 0))?;
        let place = Path::new(&request.to).join(end.name.to_string());
        let part = Path::new(&request.to).join(format!("{}.part", end.name));
        let begun_here = begun(ticket)?.is_some_and(|course| course.part == part);
        // An earlier attempt of this job has got so far: the manifest came last, and the name after it.
        let is_done = begun_here && has_manifest(&place, &opened);
        if !is_done {
            if place.symlink_metadata().is_ok() {
                return Err(is_there(&place).into());
            }
            self.begin(ticket, &part, begun_here)?;
            let fetched = fetch(ticket, &end, &opened, &part).and_then(|()| Ok(rename(&part, &place)?));
            if fetched.is_err()
                && let Err(left) = clear(&part)
            {
                ticket.note(&left.message);
            }
            fetched?;
        }
        ticket.task_done(0);
        Ok(FetchResult {
            remote: request.remote,
            folder: request.folder,
            place: place.to_string_lossy().into_owned(),
            objects: opened.manifest.objects.len() as u64,
            bytes: opened.manifest.stored_bytes(),
            signed: signature_told(&world.signers()?, opened.signed),
            known: opened.known,
        })
    }

    /// The part, empty. One that is there is cleared away only when this job has made it.
    fn begin(&self, ticket: &Ticket, part: &Path, begun_here: bool) -> Result<(), Failure> {
        if begun_here {
            clear(part)?;
        }
        if part.symlink_metadata().is_ok() {
            return Err(is_there(part));
        }
        let course = Course { part: part.to_owned() };
        job::save_checkpoint(ticket, &course)?;
        DirBuilder::new().mode(0o700).create(part).map_err(|error| local(part, &error))
    }
}

fn has_manifest(place: &Path, opened: &Opened) -> bool {
    let found = fs::read(place.join(manifest_name(opened.manifest.label)));
    found.is_ok_and(|bytes| bytes == opened.bytes)
}

fn fetch(ticket: &Ticket, end: &End, opened: &Opened, part: &Path) -> Result<(), Trouble> {
    let manifest = &opened.manifest;
    let pace = Plain::of(ticket, manifest.version, manifest.image_bytes);
    let staging = end.staging(ticket)?;
    receive(end.line(&staging), manifest, &pace, |inbox| {
        for object in &manifest.objects {
            copy(inbox, &object.name, &part.join(&object.name), &pace)?;
        }
        Ok(())
    })?;
    let path = part.join(manifest_name(manifest.label));
    keep(&path, |file| file.write_all(&opened.bytes)).map_err(|error| local(&path, &error))?;
    sync_folder(part).map_err(|error| local(part, &error))?;
    Ok(())
}

/// One object, which has been compared with its hashes.
fn copy(inbox: &mut Inbox<'_, '_>, name: &str, path: &Path, pace: &dyn Pace) -> Result<(), Trouble> {
    let mut inbox = inbox;
    // What it was is told by the transfer.
    let mut object = inbox.open(name).map_err(|error| local(path, &error))?;
    let mut stopped = false;
    let kept = keep(path, |file| {
        let mut piece = vec![0; PIECE];
        loop {
            if !pace.goes_on() {
                stopped = true;
                return Ok(());
            }
            match io::Read::read(&mut object, &mut piece)? {
                0 => return Ok(()),
                read => file.write_all(piece.get(..read).unwrap_or_default())?,
            }
        }
    });
    match (stopped, kept) {
        (true, _) => Err(Trouble::Stopped),
        (false, Err(error)) => Err(local(path, &error).into()),
        (false, Ok(())) => Ok(()),
    }
}

/// A new file for its owner alone; durable when this returns.
fn keep(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    write(&mut file)?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The part has its name, durably. What has come there meanwhile is not replaced, unless it is an empty folder.
fn rename(part: &Path, place: &Path) -> Result<(), Failure> {
    if place.symlink_metadata().is_ok() {
        return Err(is_there(place));
    }
    let done = fs::rename(part, place).and_then(|()| place.parent().map_or(Ok(()), sync_folder));
    done.map_err(|error| local(place, &error))
}

fn clear(part: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let text = format!("{}: what was fetched so far is still there: {error}", part.display());
            Err(fail::temporary("internal", text, "remove it"))
        }
        _ => Ok(()),
    }
}

fn is_there(path: &Path) -> Failure {
    let text = format!("{} is there already", path.display());
    fail::permanent("exists", text, "name another folder with --to, or remove what is there")
}

fn local(path: &Path, error: &io::Error) -> Failure {
    let text = format!("{}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied => {
            fail::permanent("invalid", text, "name a folder that is there and that the server may write to")
        }
        _ => fail::temporary("internal", text, "check the disk and its room; it is tried again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_on_the_disk_that_fails_is_told_with_its_path_and_what_is_there_stays() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        // A write that fails.
        let full = keep(&path("a"), |_| Err(io::Error::from(io::ErrorKind::StorageFull))).unwrap_err();
        let told = local(&path("a"), &full);
        assert!(told.message.contains("/a: ") && told.class == vtl_jobs::Class::Temporary, "{told:?}");
        // A file that is there already, and a folder that is not.
        fs::write(path("b"), b"mine").unwrap();
        assert_eq!(keep(&path("b"), |_| Ok(())).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let nowhere = keep(&path("no/file"), |_| Ok(())).unwrap_err();
        assert_eq!(local(&path("no/file"), &nowhere).class, vtl_jobs::Class::Permanent);
        // The last name is taken, also by a link that leads nowhere.
        fs::create_dir(path("part")).unwrap();
        std::os::unix::fs::symlink("nowhere", path("link")).unwrap();
        for taken in ["b", "link"] {
            let refused = rename(&path("part"), &path(taken)).unwrap_err();
            assert!(refused.message.contains("is there already") && path("part").exists(), "{refused:?}");
        }
        assert_eq!(fs::read(path("b")).unwrap(), b"mine");
        assert!(rename(&path("gone"), &path("c")).unwrap_err().message.contains("/c: "));
        // What cannot be cleared away is named.
        assert!(clear(&path("b")).unwrap_err().message.contains("/b: what was fetched so far"));
        assert!(clear(&path("part")).is_ok() && clear(&path("part")).is_ok() && !path("part").exists());
    }
}
