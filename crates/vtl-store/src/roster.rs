//! Which folders a pool's packs lie in, as the files `members` and `member` say it.
//!
//! Byte tables, and what is done about each thing that may be wrong: `docs/formats/members.md`.

use std::path::Path;

use vtl_durable::sealed::{self, Kind, SealedError};
use vtl_durable::wire::{Malformed, Reader, Writer};
use vtl_durable::{Disk, Found};

use crate::error::StoreError;

const ROSTER: &str = "members";
pub(crate) const ROSTER_KIND: Kind = Kind { magic: *b"VTLMEMS\0", version: 0 };
pub(crate) const BADGE: &str = "member";
pub(crate) const BADGE_KIND: Kind = Kind { magic: *b"VTLMEMB\0", version: 0 };
pub(crate) const PACKS: &str = "packs";
/// What a new file system has at its root.
const LOST_AND_FOUND: &str = "lost+found";
/// What a path is cut at when it is noted.
const MAX_PATH: usize = 4096;

/// What becomes of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    InUse,
    /// It takes no packs, and those that it has go elsewhere.
    Leaving,
    /// It has none and gets none.
    Empty,
}

const STAGES: [(u8, Stage); 3] = [(0, Stage::InUse), (1, Stage::Leaving), (2, Stage::Empty)];

/// A folder that belongs to the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) number: u32,
    pub(crate) stage: Stage,
    /// Where it was last seen.
    pub(crate) path: String,
}

/// All folders of a pool beside its home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Roster {
    pub(crate) store_id: [u8; 16],
    pub(crate) next: u32,
    pub(crate) entries: Vec<Entry>,
}

impl Roster {
    /// What the home says; nothing when it has no such file.
    pub(crate) fn read(disk: &dyn Disk, home: &Path, store_id: [u8; 16]) -> Result<Self, StoreError> {
        let path = home.join(ROSTER);
        let payload = match sealed::read(disk, &path, ROSTER_KIND) {
            Ok(payload) => payload,
            Err(SealedError::Disk(error)) if error.is_not_found() => {
                return Ok(Self { store_id, next: 1, entries: Vec::new() });
            }
            Err(SealedError::Damaged { path, offset, why }) => {
                let why = format!(
                    "{why} (put it back; or remove it, with every folder of the pool named in store.folders and in its place, and it is made again)"
                );
                return Err(StoreError::Damaged { path, offset, why });
            }
            Err(error) => return Err(error.into()),
        };
        let found = Self::decode(&payload).ok().filter(|found| found.store_id == store_id);
        found.ok_or_else(|| refused(&path, "it belongs to another pool (put the right file back)".to_owned()))
    }

    pub(crate) fn save(&self, disk: &dyn Disk, home: &Path) -> Result<(), sealed::ReplaceError> {
        sealed::replace(disk, home, ROSTER, ROSTER_KIND, &self.encode())
    }

    /// A number that no folder has had.
    pub(crate) fn next_number(&self) -> u32 {
        self.next
    }

    pub(crate) fn get(&self, number: u32) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.number == number)
    }

    /// Notes where a folder is; whether that is news.
    pub(crate) fn enter(&mut self, number: u32, path: &Path) -> bool {
        let path = noted(path);
        self.next = self.next.max(number.saturating_add(1));
        match self.entries.iter_mut().find(|entry| entry.number == number) {
            Some(entry) if entry.path == path => false,
            Some(entry) => {
                entry.path = path;
                true
            }
            None => {
                self.entries.push(Entry { number, stage: Stage::InUse, path });
                self.entries.sort_by_key(|entry| entry.number);
                true
            }
        }
    }

    pub(crate) fn set_stage(&mut self, number: u32, stage: Stage) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.number == number) {
            entry.stage = stage;
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.raw(&self.store_id).u32(self.next).u32(self.entries.len() as u32);
        for entry in &self.entries {
            let code = STAGES.iter().find(|(_, stage)| *stage == entry.stage).map_or(0, |(code, _)| *code);
            writer.u32(entry.number).raw(&[code, 0]).u16(entry.path.len() as u16).raw(entry.path.as_bytes());
        }
        writer.into_bytes()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let (store_id, next, count) =
            (reader.array("store id")?, reader.u32("next number")?, reader.u32("folders")?);
        let mut entries = Vec::new();
        for _ in 0..count {
            let number = reader.u32("number")?;
            let [code, _] = reader.array("state")?;
            let len = reader.u16("length of the path")?;
            let path = String::from_utf8_lossy(reader.raw(usize::from(len), "path")?).into_owned();
            let stage = STAGES.iter().find(|(known, _)| *known == code).map(|(_, stage)| *stage);
            let stage = stage.ok_or_else(|| reader.malformed("state"))?;
            entries.push(Entry { number, stage, path });
        }
        reader.end("members")?;
        Ok(Self { store_id, next, entries })
    }
}

/// A path as it is noted.
pub(crate) fn noted(path: &Path) -> String {
    let mut text = path.to_string_lossy().into_owned();
    let end = (0..=MAX_PATH.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or(0));
    text
}

/// What a configured folder turns out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Member(u32),
    /// Nothing is in it.
    Blank,
}

/// Looks at a configured folder, and writes nothing.
pub(crate) fn look(disk: &dyn Disk, folder: &Path, store_id: [u8; 16]) -> Result<Seen, StoreError> {
    let path = folder.join(BADGE);
    let payload = match sealed::read(disk, &path, BADGE_KIND) {
        Ok(payload) => payload,
        Err(SealedError::Disk(error)) if error.is_not_found() => return look_at_unmarked(disk, folder),
        Err(error) => return Err(error.into()),
    };
    let (id, number) = decode_badge(&payload)
        .map_err(|_| refused(&path, "it is not the mark of a pool's folder (put it back)".to_owned()))?;
    if id != store_id {
        let why = "this folder belongs to another pool (take it out of store.folders, or mount the right disk there)";
        return Err(refused(folder, why.to_owned()));
    }
    Ok(Seen::Member(number))
}

fn look_at_unmarked(disk: &dyn Disk, folder: &Path) -> Result<Seen, StoreError> {
    let found = match disk.list(folder) {
        Ok(found) => found,
        Err(error) if error.is_not_found() => {
            let why = "this folder of the pool is not there (mount its disk; or make the folder, if it is to be a new one)";
            return Err(refused(folder, why.to_owned()));
        }
        Err(error) => return Err(error.into()),
    };
    for one in &found {
        if !is_of_a_new_folder(disk, folder, one)? {
            let why = format!(
                "this folder is not marked as one of the pool and holds {} (mount the right disk there, or name an empty folder)",
                one.name
            );
            return Err(refused(folder, why));
        }
    }
    Ok(Seen::Blank)
}

/// What a start that was cut off leaves in a folder that it was about to take, and what file systems have.
fn is_of_a_new_folder(disk: &dyn Disk, folder: &Path, found: &Found) -> Result<bool, StoreError> {
    Ok(match found.name.as_str() {
        LOST_AND_FOUND => found.is_folder,
        PACKS => found.is_folder && disk.list(&folder.join(PACKS))?.is_empty(),
        name => name == format!("{BADGE}.tmp"),
    })
}

/// Makes a folder one of the pool.
pub(crate) fn mark(
    disk: &dyn Disk,
    folder: &Path,
    store_id: [u8; 16],
    number: u32,
) -> Result<(), StoreError> {
    disk.create_folder(&folder.join(PACKS))?;
    disk.sync_folder(folder)?;
    let mut writer = Writer::new();
    writer.raw(&store_id).u32(number).u32(0);
    Ok(sealed::replace(disk, folder, BADGE, BADGE_KIND, writer.as_slice())?)
}

pub(crate) fn decode_badge(bytes: &[u8]) -> Result<([u8; 16], u32), Malformed> {
    let mut reader = Reader::new(bytes);
    let (id, number) = (reader.array("store id")?, reader.u32("number")?);
    reader.u32("reserved")?;
    reader.end("member")?;
    Ok((id, number))
}

pub(crate) fn refused(path: &Path, why: String) -> StoreError {
    StoreError::Folder { path: path.to_path_buf(), why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vtl_durable::SimDisk;

    const ID: [u8; 16] = [0x55; 16];
    /// Typed out from docs/formats/members.md.
    const ROSTER_BYTES: &[u8] = b"\x55\x55\x55\x55\x55\x55\x55\x55\x55\x55\x55\x55\x55\x55\x55\x55\
        \x08\0\0\0\x02\0\0\0\
        \x02\0\0\0\0\0\x02\0/a\
        \x07\0\0\0\x02\0\x03\0/bc";
    const BADGE_BYTES: &[u8] =
        b"\x55\x55\x55\x55\x55\x55\x55\x55\x55\x55\x55\x55\x55\x55\x55\x55\x07\0\0\0\0\0\0\0";

    #[test]
    fn both_files_keep_their_bytes() {
        let mut roster = Roster { store_id: ID, next: 1, entries: Vec::new() };
        assert!(roster.enter(7, Path::new("/bc")) && roster.enter(2, Path::new("/a")));
        assert!(!roster.enter(2, Path::new("/a")));
        roster.set_stage(7, Stage::Empty);
        assert_eq!(roster.encode(), ROSTER_BYTES);
        assert_eq!(Roster::decode(ROSTER_BYTES).unwrap(), roster);
        assert!((0..ROSTER_BYTES.len()).all(|len| Roster::decode(&ROSTER_BYTES[..len]).is_err()));
        let disk = SimDisk::new(1);
        disk.create_folder(Path::new("/m")).unwrap();
        mark(&disk, Path::new("/m"), ID, 7).unwrap();
        assert_eq!(disk.contents(Path::new("/m/member")).unwrap()[32..], *BADGE_BYTES);
        assert_eq!(decode_badge(BADGE_BYTES).unwrap(), (ID, 7));
        assert_eq!(look(&disk, Path::new("/m"), ID).unwrap(), Seen::Member(7));
    }

    #[test]
    fn a_long_path_is_cut_between_characters() {
        let long = format!("/{}", "ä".repeat(3000));
        assert_eq!(noted(Path::new(&long)).len(), 4095);
    }
}
