//! A file that is always read and replaced as a whole: magic, version, length, checksum, payload.
//!
//! Replacing, in this order, so that a crash leaves the old file or the new one and nothing between:
//! 1. write `NAME.tmp` from the start (an older leftover is removed first),
//! 2. sync it,
//! 3. rename it over `NAME`,
//! 4. sync the folder.
//!
//! A crash may leave `NAME.tmp`; whoever lists the folder removes it ([`is_leftover`]).

use std::fmt;
use std::io::IoSlice;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, DiskError, Open};
use crate::wire::{Reader, Writer};

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 32;
/// A file longer than this is not one of ours: no foreign length sizes an allocation above it.
const MAX_BYTES: u64 = 1 << 32;
const LEFTOVER: &str = ".tmp";

/// What a file of one kind starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The first eight bytes.
    pub magic: [u8; 8],
    /// The format version written, and the only one read.
    pub version: u32,
}

/// Why a sealed file gives no payload.
#[derive(Debug)]
pub enum SealedError {
    /// The disk refused.
    Disk(DiskError),
    /// The bytes are not what was written.
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where it is wrong.
        offset: u64,
        /// How it is wrong.
        why: String,
    },
    /// A whole file of a version that this program does not know.
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version that is known.
        known: u32,
    },
}

impl fmt::Display for SealedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(error) => error.fmt(f),
            Self::Damaged { path, offset, why } => {
                write!(f, "{} is damaged at byte {offset}: {why}", path.display())
            }
            Self::Version { path, found, known } => write!(
                f,
                "{} has format version {found}, this program knows {known} (use the program that wrote it)",
                path.display()
            ),
        }
    }
}

impl std::error::Error for SealedError {}

impl From<DiskError> for SealedError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

/// Why a replacement failed, told apart because a failed sync means that the disk cannot be trusted.
#[derive(Debug)]
pub enum ReplaceError {
    /// Nothing has changed: the old file stands.
    NotWritten(DiskError),
    /// A sync failed: whether the old or the new file survives a power cut is unknown.
    NotSynced(DiskError),
}

impl ReplaceError {
    /// What the disk said.
    pub fn into_inner(self) -> DiskError {
        match self {
            Self::NotWritten(error) | Self::NotSynced(error) => error,
        }
    }
}

/// Whether a name in a folder is the unfinished half of a replacement.
pub fn is_leftover(name: &str) -> bool {
    name.ends_with(LEFTOVER)
}

/// The name of a file's unfinished half, beside it.
pub fn leftover(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(LEFTOVER);
    PathBuf::from(name)
}

/// Replaces `folder/name`; durable when it returns.
pub fn replace(
    disk: &dyn Disk,
    folder: &Path,
    name: &str,
    kind: Kind,
    payload: &[u8],
) -> Result<(), ReplaceError> {
    let target = folder.join(name);
    let draft = leftover(&target);
    let write = || -> Result<_, DiskError> {
        match disk.unlink(&draft) {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
        let file = disk.open(&draft, Open::Create)?;
        file.write_at(0, &[IoSlice::new(&header(kind, payload)), IoSlice::new(payload)])?;
        Ok(file)
    };
    let undo = |error| {
        // Best effort: a leftover takes space, nothing else, and the next start removes it.
        let _ = disk.unlink(&draft);
        error
    };
    let file = write().map_err(|error| undo(ReplaceError::NotWritten(error)))?;
    file.sync_data().map_err(|error| undo(ReplaceError::NotSynced(error)))?;
    disk.rename(&draft, &target).map_err(|error| undo(ReplaceError::NotWritten(error)))?;
    disk.sync_folder(folder).map_err(ReplaceError::NotSynced)
}

/// Reads the payload of `folder/name`.
pub fn read(disk: &dyn Disk, path: &Path, kind: Kind) -> Result<Vec<u8>, SealedError> {
    let damaged = |offset: u64, why: &str| SealedError::Damaged {
        path: path.to_path_buf(),
        offset,
        why: why.to_string(),
    };
    let file = disk.open(path, Open::Read)?;
    let size = file.size()?;
    if size > MAX_BYTES {
        return Err(damaged(0, "longer than any file of this kind"));
    }
    let mut head = Vec::new();
    if file.read_at(0, HEADER_BYTES, &mut head)? < HEADER_BYTES {
        return Err(damaged(0, "shorter than its header"));
    }
    let fields = parse_header(&head, kind).map_err(|why| damaged(0, why))?;
    if fields.version != kind.version {
        return Err(SealedError::Version {
            path: path.to_path_buf(),
            found: fields.version,
            known: kind.version,
        });
    }
    let len = size.saturating_sub(HEADER_BYTES as u64);
    if fields.len != len {
        return Err(damaged(HEADER_BYTES as u64, "its length is not the one in its header"));
    }
    let len = usize::try_from(len).map_err(|_| damaged(0, "too long for this machine"))?;
    let mut payload = Vec::new();
    if file.read_at(HEADER_BYTES as u64, len, &mut payload)? < len {
        return Err(damaged(HEADER_BYTES as u64, "it became shorter while it was read"));
    }
    if crc32c::crc32c(&payload) != fields.payload_crc {
        return Err(damaged(HEADER_BYTES as u64, "the checksum of its content does not match"));
    }
    Ok(payload)
}

/// What a file says of itself, and what is wrong with it: for tools that look at damaged files too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The version in its header.
    pub version: u32,
    /// The length of the payload in its header.
    pub len: u64,
    /// Faults with their offsets.
    pub wrong: Vec<(u64, &'static str)>,
}

/// Looks at the header and payload of a file of this kind, all of which is in `bytes`.
pub fn survey(bytes: &[u8], kind: Kind) -> Survey {
    let payload = bytes.get(HEADER_BYTES..).unwrap_or_default();
    let mut survey = Survey { version: 0, len: payload.len() as u64, wrong: Vec::new() };
    match parse_header(bytes, kind) {
        Err(why) => survey.wrong.push((0, why)),
        Ok(fields) => {
            (survey.version, survey.len) = (fields.version, fields.len);
            if fields.version != kind.version {
                survey.wrong.push((8, "its version is not known"));
            }
            if fields.len != payload.len() as u64 {
                survey.wrong.push((16, "its length is not the one in its header"));
            }
            if fields.payload_crc != crc32c::crc32c(payload) {
                survey.wrong.push((HEADER_BYTES as u64, "the checksum of its content does not match"));
            }
        }
    }
    survey
}

/// The whole bytes of such a file, for a copy that goes elsewhere.
pub fn encode(kind: Kind, payload: &[u8]) -> Vec<u8> {
    [&header(kind, payload), payload].concat()
}

fn header(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(HEADER_BYTES);
    writer.raw(&kind.magic).u32(kind.version).u32(crc32c::crc32c(payload));
    writer.u64(payload.len() as u64).u32(0).crc();
    writer.into_bytes()
}

struct Fields {
    version: u32,
    payload_crc: u32,
    len: u64,
}

fn parse_header(bytes: &[u8], kind: Kind) -> Result<Fields, &'static str> {
    let parse = || {
        let mut reader = Reader::new(bytes);
        let magic = reader.array::<8>("magic")?;
        let fields = Fields {
            version: reader.u32("version")?,
            payload_crc: reader.u32("crc")?,
            len: reader.u64("length")?,
        };
        reader.u32("reserved")?;
        let covered = reader.position();
        Ok((magic, fields, covered, reader.u32("header crc")?))
    };
    let (magic, fields, covered, crc) =
        parse().map_err(|_: crate::wire::Malformed| "its header is cut short")?;
    if magic != kind.magic {
        return Err("its first bytes are not those of this kind of file");
    }
    if bytes.get(..covered).map(crc32c::crc32c) != Some(crc) {
        return Err("the checksum of its header does not match");
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SimDisk;

    const KIND: Kind = Kind { magic: *b"VTLTEST\0", version: 0 };

    /// Typed out from docs/formats/framing.md. CRC32C("hello") = 0x9a71bb4c (RFC 3720 polynomial).
    const HELLO: [u8; 37] = [
        b'V', b'T', b'L', b'T', b'E', b'S', b'T', 0, // magic
        0, 0, 0, 0, //                                  version 0
        0x4c, 0xbb, 0x71, 0x9a, //                      CRC32C of the payload
        5, 0, 0, 0, 0, 0, 0, 0, //                      length
        0, 0, 0, 0, //                                  reserved
        0, 0, 0, 0, //                                  CRC32C of bytes 0..28, filled in below
        b'h', b'e', b'l', b'l', b'o',
    ];

    #[test]
    fn a_sealed_file_keeps_its_bytes() {
        let disk = SimDisk::new(1);
        replace(&disk, Path::new("/"), "x", KIND, b"hello").unwrap();
        let mut written = disk.contents(Path::new("/x")).unwrap();
        assert_eq!(written[28..32], crc32c::crc32c(&HELLO[..28]).to_le_bytes());
        written[28..32].fill(0);
        assert_eq!(written, HELLO);
        assert_eq!(read(&disk, Path::new("/x"), KIND).unwrap(), b"hello");
        assert_eq!(disk.contents(Path::new("/x")).unwrap(), encode(KIND, b"hello"));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let disk = SimDisk::new(1);
        replace(&disk, Path::new("/"), "x", KIND, b"hello").unwrap();
        for bit in 0..37 * 8 {
            disk.flip_bit(Path::new("/x"), bit / 8, (bit % 8) as u8);
            assert!(
                matches!(read(&disk, Path::new("/x"), KIND), Err(SealedError::Damaged { .. })),
                "bit {bit}"
            );
            disk.flip_bit(Path::new("/x"), bit / 8, (bit % 8) as u8);
        }
    }

    #[test]
    fn a_whole_file_of_an_unknown_version_is_named_as_such() {
        let disk = SimDisk::new(1);
        replace(&disk, Path::new("/"), "x", Kind { version: 9, ..KIND }, b"hello").unwrap();
        let error = read(&disk, Path::new("/x"), KIND).unwrap_err();
        assert!(matches!(error, SealedError::Version { found: 9, known: 0, .. }), "{error}");
    }

    #[test]
    fn a_crash_at_any_step_leaves_the_old_content_or_the_new() {
        for seed in 0..20 {
            for step in 0.. {
                let disk = SimDisk::new(seed);
                replace(&disk, Path::new("/"), "x", KIND, b"old").unwrap();
                disk.crash_at(disk.steps() + step);
                let result = replace(&disk, Path::new("/"), "x", KIND, &[7; 5000]);
                let after = disk.after_crash(seed * 1000 + step);
                let content = read(&after, Path::new("/x"), KIND).unwrap();
                if result.is_ok() {
                    assert_eq!(content, [7; 5000]);
                    break;
                }
                assert!(content == b"old" || content == [7; 5000], "step {step} seed {seed}");
            }
        }
    }
}
