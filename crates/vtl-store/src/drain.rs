//! Emptying a folder of the pool, and telling how its folders are.
//!
//! In this order, for each sealed pack of the folder: the same generation is put in another folder, whole and synced; it is compared with what it was
//! made from; readers are sent there; the old file is deleted. A crash leaves the pack once or twice, with the same bytes; the start keeps the one
//! that is not in a folder that is being emptied. No start takes the folder for empty before its last name is gone for good.
//!
//! Packs that wait for a stream are ended first, where they lie. In a folder that can be read and not written those stay, and the others go.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use vtl_durable::DiskError;

use crate::backend::{Backend, PackName};
use crate::error::StoreError;
use crate::members::{Member, Trouble};
use crate::pack::PackId;
use crate::packs::{Known, PackState};
use crate::recovery::is_same;
use crate::roster::{Stage, noted, refused};
use crate::store::Core;
use crate::writer::EndError;

const WINDOW: usize = 1 << 20;

/// A folder for packs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// 0: the pool's home.
    pub number: u32,
    /// Where it is, or was last seen.
    pub path: PathBuf,
    /// What it does.
    pub state: FolderState,
    /// Packs in it.
    pub packs: u64,
    /// Their lengths.
    pub stored_bytes: u64,
    /// What its file system can still take, the reserve included.
    pub free_bytes: u64,
}

/// What a folder does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FolderState {
    /// It takes packs.
    InUse,
    /// It takes none until it has room again.
    Full,
    /// It takes none until the pool is opened anew.
    Failed {
        /// What happened.
        why: String,
    },
    /// It takes none, and those that it has go elsewhere.
    Leaving,
    /// It has none and gets none.
    Empty,
    /// The pool was opened without it.
    Missing,
}

/// What emptying a folder did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainReport {
    /// Packs that went to other folders.
    pub moved: u64,
    /// Bytes in them.
    pub moved_bytes: u64,
    /// Packs that are still there: for want of room elsewhere, because they are being written, or because they could not be read.
    pub left: u64,
}

pub(crate) fn folders(core: &Core) -> Vec<Folder> {
    let members = &core.packs.members;
    let mut all: Vec<Folder> = members.all().iter().map(|member| folder(core, member)).collect();
    all.extend(members.missing().iter().map(|entry| Folder {
        number: entry.number,
        path: PathBuf::from(&entry.path),
        state: FolderState::Missing,
        packs: 0,
        stored_bytes: 0,
        free_bytes: 0,
    }));
    let known = core.packs.all();
    for folder in &mut all {
        for (_, known) in known.iter().filter(|(_, known)| known.member == folder.number) {
            folder.packs += 1;
            folder.stored_bytes += known.file_bytes;
        }
    }
    all.sort_by_key(|folder| folder.number);
    all
}

fn folder(core: &Core, member: &Member) -> Folder {
    let members = &core.packs.members;
    let state = match (members.trouble(member), members.stage(member.number)) {
        (Some(Trouble::Failed(why)), _) => FolderState::Failed { why },
        (_, Stage::Leaving) => FolderState::Leaving,
        (_, Stage::Empty) => FolderState::Empty,
        (Some(Trouble::Full(_)), Stage::InUse) => FolderState::Full,
        (None, Stage::InUse) if members.room(member).is_ok_and(|room| room == 0) => FolderState::Full,
        (None, Stage::InUse) => FolderState::InUse,
    };
    let free_bytes = member.folder.free_bytes().unwrap_or(0);
    Folder { number: member.number, path: member.path.clone(), state, packs: 0, stored_bytes: 0, free_bytes }
}

/// Empties a folder. It holds the gate of the collector: both replace packs.
pub(crate) fn drain(core: &Core, path: &Path) -> Result<DrainReport, StoreError> {
    core.writable()?;
    let all = core.packs.members.all();
    let Some(member) = all.iter().find(|member| noted(&member.path) == noted(path)) else {
        return Err(refused(path, "it is no folder of this pool (see vtl pool ls)".to_owned()));
    };
    if member.number == 0 {
        let why = "it is the pool's home, with the journal and the index, and cannot be emptied (only further folders can)";
        return Err(refused(path, why.to_owned()));
    }
    if !core.dock.finder.gate.begin() {
        return Err(StoreError::Collecting);
    }
    let result = drain_member(core, member);
    core.dock.finder.gate.end();
    result
}

fn drain_member(core: &Core, member: &Member) -> Result<DrainReport, StoreError> {
    core.packs.members.set_stage(member, Stage::Leaving)?;
    let not_ended = end_idle(core, member)?;
    let mut report = DrainReport::default();
    for (id, known) in packs_in(core, member) {
        if core.dock.finder.gate.is_stopped() {
            break;
        }
        if known.state != PackState::Sealed {
            continue;
        }
        match move_pack(core, id, known, member) {
            Ok(false) => {}
            Ok(true) => {
                report.moved += 1;
                report.moved_bytes += known.file_bytes;
            }
            Err(error) => {
                tracing::warn!(pack = %id, %error, "a pack could not be moved and stays where it is")
            }
        }
    }
    member.folder.settle()?;
    report.left = packs_in(core, member).len() as u64;
    if report.left == 0 {
        core.packs.members.set_stage(member, Stage::Empty)?;
    }
    match not_ended {
        Some(error) if report.left > 0 => Err(StoreError::Io(error)),
        _ => Ok(report),
    }
}

/// Ends the packs that wait for a stream, so that they can be moved; what kept one of them from getting its footer, if anything did.
fn end_idle(core: &Core, member: &Member) -> Result<Option<DiskError>, StoreError> {
    match core.dock.seal_in(member.number) {
        Ok(()) => Ok(None),
        Err(EndError::Write(error)) => Ok(Some(error)),
        Err(EndError::Sync(error)) => {
            let why = error.to_string();
            core.set_read_only(&why);
            Err(StoreError::ReadOnly { why })
        }
    }
}

fn packs_in(core: &Core, member: &Member) -> Vec<(PackId, Known)> {
    core.packs.all().into_iter().filter(|(_, known)| known.member == member.number).collect()
}

/// Moves a pack; false without room for it.
fn move_pack(core: &Core, id: PackId, known: Known, from: &Member) -> Result<bool, DiskError> {
    let members = &core.packs.members;
    let Some(to) = members.for_moved(known.file_bytes) else { return Ok(false) };
    let name = PackName { id, generation: known.generation };
    let copied = copy(&from.folder, &to.folder, name);
    copied.inspect_err(|error| {
        if error.path.starts_with(&to.path) {
            members.blame(&to, error)
        }
    })?;
    core.packs.moved(id, to.number);
    if let Err(error) = from.folder.delete(name) {
        tracing::warn!(pack = %id, %error, "a moved pack's old file stays until the next start");
    }
    Ok(true)
}

/// Puts the pack in the other place too, with the same bytes.
fn copy(from: &dyn Backend, to: &dyn Backend, name: PackName) -> Result<(), DiskError> {
    let source = from.open(name)?;
    let size = source.size()?;
    let mut put = to.put(name)?;
    let mut window = Vec::new();
    let mut at = 0;
    while at < size {
        window.clear();
        source.read_at(at, WINDOW, &mut window)?;
        if window.is_empty() {
            break;
        }
        put.write(&[IoSlice::new(&window)])?;
        at += window.len() as u64;
    }
    put.seal()?;
    put.publish()?;
    if is_same(&*source, &*to.open(name)?)? {
        return Ok(());
    }
    to.delete(name)?;
    let wrong = io::Error::new(io::ErrorKind::InvalidData, "the copy is not what was read");
    Err(DiskError::new("move", Path::new(&id_text(name)), wrong))
}

fn id_text(name: PackName) -> String {
    name.id.file_name(name.generation)
}
