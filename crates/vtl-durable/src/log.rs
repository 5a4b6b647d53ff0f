//! An append log: a header block, then records, each alone in blocks of 4096 bytes.
//!
//! One record is written at a time and synced before the next, so after a crash at most the last one is torn. A
//! record starts at a block of its own: no block that was ever synced is written again. What a scan meets:
//!
//! | the bytes where the next record should be | verdict |
//! |---|---|
//! | a whole record with the next sequence number | a record |
//! | the end of the file, or zeros up to it | the end |
//! | not a whole record, and a later record of this log follows | damage: the log is refused |
//! | not a whole record, and none of its sectors is missing (all zeros, or beyond the end) | damage |
//! | not a whole record, and a sector of it is missing | a torn tail: it was never acknowledged |
//!
//! The last two rows lean on file systems showing zeros, not old bytes, where a file was extended but not written.
//! [`Scan::truncate_torn_tail`] removes a torn tail, so that a log is torn in its last file only.

use std::fmt;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskError, DiskFile, Open};
use crate::wire::{Malformed, Reader, Writer};

/// Records start at multiples of this; the header fills the first block.
pub const BLOCK: u64 = 4096;
/// A record longer than this is refused when written and taken as damage when read.
pub const MAX_RECORD_BYTES: usize = 256 << 20;
const RECORD_HEADER: usize = 32;
const RECORD_MAGIC: [u8; 4] = *b"vRec";
const SECTOR: u64 = 512;

/// What stands in a log file's first block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The first eight bytes: what sort of log it is.
    pub magic: [u8; 8],
    /// The version of the records' content.
    pub version: u32,
    /// Written into every record, so that none of another log is taken for one of this.
    pub log_id: u64,
    /// The file's place in its row of files.
    pub number: u64,
    /// The sequence number of its first record.
    pub first_sequence: u64,
    /// Whose log it is.
    pub tag: [u8; 16],
}

/// Why a log cannot be read or written.
#[derive(Debug)]
pub enum LogError {
    /// The disk refused. Nothing has changed; the log can go on.
    Disk(DiskError),
    /// The disk refused in a way that leaves unknown what is on it: nothing may be written to this log any more.
    Untrusted(DiskError),
    /// Bytes that once were a record or a header are not what was written.
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where it is wrong.
        offset: u64,
        /// How it is wrong.
        why: String,
    },
    /// A whole log of a version that this program does not know.
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version that is known.
        known: u32,
    },
    /// A record larger than any log takes.
    TooLong {
        /// Its length.
        len: usize,
    },
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(error) | Self::Untrusted(error) => error.fmt(f),
            Self::Damaged { path, offset, why } => {
                write!(f, "{} is damaged at byte {offset}: {why} (restore this file)", path.display())
            }
            Self::Version { path, found, known } => write!(
                f,
                "{} has format version {found}, this program knows {known} (use the program that wrote it)",
                path.display()
            ),
            Self::TooLong { len } => write!(f, "a record of {len} bytes is above {MAX_RECORD_BYTES}"),
        }
    }
}

impl std::error::Error for LogError {}

impl From<DiskError> for LogError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

/// A log file open for appending. Only a new file is: after a restart the old one is never written again.
#[derive(Debug)]
pub struct Log {
    file: Arc<dyn DiskFile>,
    header: Header,
    end: u64,
    next_sequence: u64,
    untrusted: bool,
}

impl Log {
    /// Makes a log file with its header, durable when it returns. `reserve_bytes` are asked of the file system in
    /// advance, so that a full disk shows here and not at a record.
    pub fn create(
        disk: &dyn Disk,
        path: &Path,
        header: Header,
        reserve_bytes: u64,
    ) -> Result<Self, LogError> {
        let file = disk.open(path, Open::Create)?;
        let write = || -> Result<(), DiskError> {
            file.allocate(reserve_bytes)?;
            file.write_at(0, &[IoSlice::new(&header.encode())])
        };
        let folder = path.parent().unwrap_or(Path::new("/"));
        if let Err(error) = write() {
            // A header that stays behind, or comes back after a crash, would say that the file before it has ended.
            let gone = disk.unlink(path).and_then(|()| disk.sync_folder(folder));
            return Err(if gone.is_ok() { LogError::Disk(error) } else { LogError::Untrusted(error) });
        }
        file.sync_data().map_err(LogError::Untrusted)?;
        disk.sync_folder(folder).map_err(LogError::Untrusted)?;
        Ok(Self { file, header, end: BLOCK, next_sequence: header.first_sequence, untrusted: false })
    }

    /// Appends one record and syncs it; its sequence number. After [`LogError::Disk`] the log is as before.
    pub fn append(&mut self, payload: &[u8]) -> Result<u64, LogError> {
        if payload.len() > MAX_RECORD_BYTES {
            return Err(LogError::TooLong { len: payload.len() });
        }
        if self.untrusted {
            let closed = std::io::Error::other("an earlier write to this log failed");
            return Err(LogError::Untrusted(DiskError::new("append to", Path::new("log"), closed)));
        }
        let sequence = self.next_sequence;
        let head = record_header(self.header.log_id, sequence, payload);
        let len = record_span(payload.len());
        let padding = vec![0; len.saturating_sub((RECORD_HEADER + payload.len()) as u64) as usize];
        let parts = [IoSlice::new(&head), IoSlice::new(payload), IoSlice::new(&padding)];
        if let Err(error) = self.file.write_at(self.end, &parts) {
            return Err(self.undo(error));
        }
        if let Err(error) = self.file.sync_data() {
            self.untrusted = true;
            return Err(LogError::Untrusted(error));
        }
        self.end += len;
        self.next_sequence += 1;
        Ok(sequence)
    }

    /// Bytes in the file.
    pub fn len_bytes(&self) -> u64 {
        self.end
    }

    /// The sequence number of the next record.
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// The file's header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// A record that was written in part must not be found by a later scan.
    fn undo(&mut self, error: DiskError) -> LogError {
        let undone = self.file.set_size(self.end).and_then(|()| self.file.sync_data());
        match undone {
            Ok(()) => LogError::Disk(error),
            Err(_) => {
                self.untrusted = true;
                LogError::Untrusted(error)
            }
        }
    }
}

/// What a scan found besides the records.
#[derive(Debug)]
pub struct Scan {
    /// The header; none when the file was being made when the machine stopped, and holds nothing.
    pub header: Option<Header>,
    /// Where the last whole record ends.
    pub end: u64,
    /// The sequence number that the next record would have.
    pub next_sequence: u64,
    /// Bytes follow that never were a whole record.
    pub torn: bool,
    path: PathBuf,
}

impl Scan {
    /// Cuts a torn tail off and syncs. Done again after a crash, it does the same.
    pub fn truncate_torn_tail(&self, disk: &dyn Disk) -> Result<(), LogError> {
        if self.torn {
            let file = disk.open(&self.path, Open::Write)?;
            file.set_size(self.end)?;
            file.sync_data().map_err(LogError::Untrusted)?;
        }
        Ok(())
    }
}

/// The header of a log file; none when the file was being made when the machine stopped, and holds nothing.
pub fn read_header(
    disk: &dyn Disk,
    path: &Path,
    kind: crate::sealed::Kind,
) -> Result<Option<Header>, LogError> {
    let file = disk.open(path, Open::Read)?;
    Scanner::start(&*file, path, kind).map(|scanner| scanner.header)
}

/// Whether a log file has a whole record.
pub fn has_record(disk: &dyn Disk, path: &Path, kind: crate::sealed::Kind) -> Result<bool, LogError> {
    let file = disk.open(path, Open::Read)?;
    let mut scanner = Scanner::start(&*file, path, kind)?;
    scanner.next(&mut Vec::new())
}

/// Reads a log file from its start and gives each record's sequence number and payload to `visit`.
pub fn scan<E: From<LogError>>(
    disk: &dyn Disk,
    path: &Path,
    kind: crate::sealed::Kind,
    mut visit: impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<Scan, E> {
    let file = disk.open(path, Open::Read).map_err(LogError::Disk)?;
    let mut scanner = Scanner::start(&*file, path, kind)?;
    let mut payload = Vec::new();
    while scanner.next(&mut payload)? {
        visit(scanner.next_sequence - 1, &payload)?;
    }
    Ok(Scan {
        header: scanner.header,
        end: scanner.at,
        next_sequence: scanner.next_sequence,
        torn: scanner.at < scanner.size,
        path: path.to_path_buf(),
    })
}

/// What [`survey`] meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met<'a> {
    /// The header, at the beginning.
    Header(Header),
    /// A whole record.
    Record {
        /// Where it begins.
        at: u64,
        /// Its sequence number.
        sequence: u64,
        /// Its content.
        payload: &'a [u8],
    },
    /// Something that is not what it should be.
    Wrong {
        /// Where.
        at: u64,
        /// How.
        why: &'static str,
    },
}

/// Looks at a whole log, damaged or not, and tells every record in it: behind what is wrong it goes on with the next block that begins a
/// record. For tools; what a start believes, [`scan`] says.
pub fn survey(file: &dyn DiskFile, magic: [u8; 8], mut visit: impl FnMut(Met<'_>)) -> Result<(), DiskError> {
    let size = file.size()?;
    let mut block = Vec::new();
    file.read_at(0, BLOCK as usize, &mut block)?;
    let header = Header::decode(&block, magic);
    match header {
        Ok(header) => visit(Met::Header(header)),
        Err(why) => visit(Met::Wrong { at: 0, why }),
    }
    let (mut at, mut due, mut told) = (BLOCK, header.ok().map(|header| header.first_sequence), false);
    let mut payload = Vec::new();
    while at < size {
        block.clear();
        file.read_at(at, RECORD_HEADER, &mut block)?;
        let is_empty = block.iter().all(|byte| *byte == 0);
        let found =
            RecordHeader::decode(&block, header.map_or_else(|_| log_id_of(&block), |header| header.log_id));
        let Some(record) = found.filter(|record| record.len as u64 <= size) else {
            if !is_empty && !told {
                visit(Met::Wrong { at, why: "this is no record" });
            }
            told = !is_empty;
            at += BLOCK;
            continue;
        };
        told = false;
        payload.clear();
        let got = file.read_at(at + RECORD_HEADER as u64, record.len, &mut payload)?;
        if due.is_some_and(|due| due != record.sequence) {
            visit(Met::Wrong { at, why: "the record has another sequence number than the one due" });
        }
        if got == record.len && crc32c::crc32c(&payload) == record.payload_crc {
            visit(Met::Record { at, sequence: record.sequence, payload: &payload });
        } else {
            visit(Met::Wrong { at, why: "the record is cut short, or its checksum does not match" });
        }
        due = record.sequence.checked_add(1);
        at += record_span(record.len);
    }
    Ok(())
}

/// The log that a record says it belongs to.
fn log_id_of(head: &[u8]) -> u64 {
    head.get(16..24).and_then(|bytes| bytes.first_chunk::<8>()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

struct Scanner<'a> {
    file: &'a dyn DiskFile,
    path: &'a Path,
    size: u64,
    header: Option<Header>,
    at: u64,
    next_sequence: u64,
}

impl<'a> Scanner<'a> {
    fn start(file: &'a dyn DiskFile, path: &'a Path, kind: crate::sealed::Kind) -> Result<Self, LogError> {
        let size = file.size()?;
        let mut block = Vec::new();
        file.read_at(0, BLOCK as usize, &mut block)?;
        let mut scanner = Self { file, path, size, header: None, at: 0, next_sequence: 0 };
        match Header::decode(&block, kind.magic) {
            Ok(header) if header.version == kind.version => {
                scanner.header = Some(header);
                scanner.at = BLOCK;
                scanner.next_sequence = header.first_sequence;
                Ok(scanner)
            }
            Ok(header) => Err(LogError::Version {
                path: path.to_path_buf(),
                found: header.version,
                known: kind.version,
            }),
            // The header is synced before the first record, so a missing one means that nothing followed.
            Err(_) if size < BLOCK || (size == BLOCK && is_missing(&block, 0, SECTOR)) => Ok(scanner),
            Err(why) => Err(scanner.damaged(0, why)),
        }
    }

    /// Reads the record at the present place; `false` at the end.
    fn next(&mut self, payload: &mut Vec<u8>) -> Result<bool, LogError> {
        let Some(header) = self.header else { return Ok(false) };
        if self.at >= self.size {
            return Ok(false);
        }
        let mut head = Vec::new();
        self.file.read_at(self.at, SECTOR as usize, &mut head)?;
        let Some(record) = RecordHeader::decode(&head, header.log_id) else {
            return self.end_or_damage(is_missing(&head, 0, SECTOR), "this is no record");
        };
        if record.sequence != self.next_sequence {
            return Err(self.damaged(self.at, "the record has another sequence number than the one due"));
        }
        payload.clear();
        let got = self.file.read_at(self.at + RECORD_HEADER as u64, record.len, payload)?;
        if got < record.len {
            return self.end_or_damage(true, "the record is cut short");
        }
        if crc32c::crc32c(payload) != record.payload_crc {
            let missing = has_missing_sector(payload);
            return self.end_or_damage(missing, "the record's checksum does not match");
        }
        self.at += record_span(record.len);
        self.size = self.size.max(self.at);
        self.next_sequence += 1;
        Ok(true)
    }

    fn end_or_damage(&self, could_be_torn: bool, why: &str) -> Result<bool, LogError> {
        if !could_be_torn || self.a_later_record_follows()? {
            return Err(self.damaged(self.at, why));
        }
        Ok(false)
    }

    fn a_later_record_follows(&self) -> Result<bool, LogError> {
        let Some(header) = self.header else { return Ok(false) };
        let mut at = self.at + BLOCK;
        let mut head = Vec::new();
        while at < self.size {
            head.clear();
            self.file.read_at(at, RECORD_HEADER, &mut head)?;
            let found = RecordHeader::decode(&head, header.log_id);
            if found.is_some_and(|record| record.sequence > self.next_sequence) {
                return Ok(true);
            }
            at += BLOCK;
        }
        Ok(false)
    }

    fn damaged(&self, offset: u64, why: &str) -> LogError {
        LogError::Damaged { path: self.path.to_path_buf(), offset, why: why.to_string() }
    }
}

/// A sector that a crash kept from the medium reads as zeros or is beyond the end.
fn is_missing(bytes: &[u8], start: usize, len: u64) -> bool {
    let end = start.saturating_add(len as usize);
    bytes.len() < end || bytes.get(start..end).is_some_and(|sector| sector.iter().all(|byte| *byte == 0))
}

/// Whether a sector that the payload fills up to its own end is missing. The payload begins `RECORD_HEADER` bytes
/// into a sector whose header was whole, so that first sector is there.
fn has_missing_sector(payload: &[u8]) -> bool {
    let first = (SECTOR as usize) - RECORD_HEADER;
    let rest = payload.get(first..).unwrap_or_default();
    rest.chunks(SECTOR as usize).any(|sector| sector.iter().all(|byte| *byte == 0))
}

/// Bytes from one record's start to the next one's.
fn record_span(payload: usize) -> u64 {
    ((RECORD_HEADER + payload) as u64).div_ceil(BLOCK) * BLOCK
}

impl Header {
    const LEN: usize = 60;

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(BLOCK as usize);
        writer.raw(&self.magic).u32(self.version).u32(BLOCK as u32);
        writer.u64(self.log_id).u64(self.number).u64(self.first_sequence).raw(&self.tag).crc();
        writer.pad_to(BLOCK as usize);
        writer.into_bytes()
    }

    fn decode(bytes: &[u8], magic: [u8; 8]) -> Result<Self, &'static str> {
        let cut = |_: Malformed| "the header is cut short";
        let mut reader = Reader::new(bytes.get(..Self::LEN).ok_or("the header is cut short")?);
        if reader.array::<8>("magic").map_err(cut)? != magic {
            return Err("the first bytes are not those of this kind of log");
        }
        let (version, block) = (reader.u32("version").map_err(cut)?, reader.u32("block").map_err(cut)?);
        let header = Self {
            magic,
            version,
            log_id: reader.u64("log id").map_err(cut)?,
            number: reader.u64("number").map_err(cut)?,
            first_sequence: reader.u64("first sequence").map_err(cut)?,
            tag: reader.array("tag").map_err(cut)?,
        };
        let covered = reader.position();
        let crc = reader.u32("crc").map_err(cut)?;
        if bytes.get(..covered).map(crc32c::crc32c) != Some(crc) {
            return Err("the checksum of the header does not match");
        }
        if u64::from(block) != BLOCK {
            return Err("the block size is not 4096");
        }
        Ok(header)
    }
}

struct RecordHeader {
    len: usize,
    sequence: u64,
    payload_crc: u32,
}

fn record_header(log_id: u64, sequence: u64, payload: &[u8]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(RECORD_HEADER);
    writer.raw(&RECORD_MAGIC).u32(payload.len() as u32).u64(sequence).u64(log_id);
    writer.u32(crc32c::crc32c(payload)).crc();
    writer.into_bytes()
}

impl RecordHeader {
    fn decode(bytes: &[u8], log_id: u64) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let magic = reader.array::<4>("magic").ok()?;
        let len = reader.u32("length").ok()? as usize;
        let (sequence, id) = (reader.u64("sequence").ok()?, reader.u64("log id").ok()?);
        let payload_crc = reader.u32("payload crc").ok()?;
        let covered = bytes.get(..reader.position())?;
        let crc = reader.u32("crc").ok()?;
        let good = magic == RECORD_MAGIC && id == log_id && crc == crc32c::crc32c(covered);
        (good && len <= MAX_RECORD_BYTES).then_some(Self { len, sequence, payload_crc })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SimDisk;
    use crate::sealed::Kind;

    const KIND: Kind = Kind { magic: *b"VTLTLOG\0", version: 0 };

    fn header() -> Header {
        Header {
            magic: KIND.magic,
            version: 0,
            log_id: 0x1122_3344_5566_7788,
            number: 3,
            first_sequence: 40,
            tag: *b"0123456789abcdef",
        }
    }

    fn path() -> &'static Path {
        Path::new("/log")
    }

    fn payloads() -> Vec<Vec<u8>> {
        vec![b"one".to_vec(), vec![2; 5000], Vec::new(), vec![3; 4096 - 32], b"five".to_vec()]
    }

    type Found = Vec<(u64, Vec<u8>)>;

    fn read(disk: &SimDisk) -> Result<(Found, Scan), LogError> {
        let mut found = Vec::new();
        let scan = scan::<LogError>(disk, path(), KIND, |sequence, payload| {
            found.push((sequence, payload.to_vec()));
            Ok(())
        })?;
        Ok((found, scan))
    }

    fn written() -> SimDisk {
        let disk = SimDisk::new(1);
        let mut log = Log::create(&disk, path(), header(), 0).unwrap();
        for payload in payloads() {
            log.append(&payload).unwrap();
        }
        disk
    }

    #[test]
    fn a_log_keeps_its_bytes() {
        let disk = SimDisk::new(1);
        Log::create(&disk, path(), header(), 0).unwrap().append(b"hello").unwrap();
        let bytes = disk.contents(path()).unwrap();
        let mut expected =
            b"VTLTLOG\0\0\0\0\0\0\x10\0\0\x88\x77\x66\x55\x44\x33\x22\x11\x03\0\0\0\0\0\0\0".to_vec();
        expected.extend_from_slice(b"\x28\0\0\0\0\0\0\x000123456789abcdef");
        assert_eq!(bytes[..56], expected);
        assert_eq!(bytes[56..60], crc32c::crc32c(&expected).to_le_bytes());
        assert!(bytes[60..4096].iter().all(|byte| *byte == 0));
        // CRC32C("hello") = 0x9a71bb4c.
        let record = b"vRec\x05\0\0\0\x28\0\0\0\0\0\0\0\x88\x77\x66\x55\x44\x33\x22\x11\x4c\xbb\x71\x9a";
        assert_eq!(bytes[4096..4124], record[..]);
        assert_eq!(bytes[4124..4128], crc32c::crc32c(record).to_le_bytes());
        assert_eq!(bytes[4128..4133], *b"hello");
        assert_eq!(bytes.len(), 8192);
    }

    #[test]
    fn records_come_back_in_order_with_their_numbers() {
        let (found, scan) = read(&written()).unwrap();
        let expected: Vec<_> = (40..).zip(payloads()).collect();
        assert_eq!(found, expected);
        assert!(!scan.torn);
        assert_eq!(scan.header, Some(header()));
        assert_eq!(scan.next_sequence, 45);
    }

    #[test]
    fn a_crash_at_any_step_leaves_all_synced_records_and_at_most_one_more() {
        for seed in 0..60 {
            for step in 0.. {
                let disk = SimDisk::new(seed);
                disk.crash_at(step);
                let mut done = 0;
                let mut run = || -> Result<(), LogError> {
                    let mut log = Log::create(&disk, path(), header(), 0)?;
                    for payload in payloads() {
                        log.append(&payload)?;
                        done += 1;
                    }
                    Ok(())
                };
                let finished = run().is_ok();
                let after = disk.after_crash(seed * 7 + step);
                match read(&after) {
                    Err(LogError::Disk(_)) if done == 0 => {}
                    Err(error) => panic!("seed {seed} step {step}: {error}"),
                    Ok((found, scan)) => {
                        assert!(found.len() == done || found.len() == done + 1, "seed {seed} step {step}");
                        assert!(found.iter().zip(payloads()).all(|(found, payload)| found.1 == payload));
                        scan.truncate_torn_tail(&after).unwrap();
                        assert!(!read(&after).unwrap().1.torn);
                    }
                }
                if finished {
                    break;
                }
            }
        }
    }

    #[test]
    fn a_flipped_bit_in_any_record_is_damage_and_never_a_torn_tail() {
        let disk = written();
        let (mut at, mut spans) = (BLOCK, Vec::new());
        for payload in payloads() {
            spans.push((at, RECORD_HEADER + payload.len()));
            at += record_span(payload.len());
        }
        for (start, len) in spans {
            for byte in (start..start + len as u64).step_by(3) {
                disk.flip_bit(path(), byte, (byte % 8) as u8);
                let error = read(&disk).unwrap_err();
                assert!(
                    matches!(error, LogError::Damaged { offset, .. } if offset == start),
                    "{byte}: {error}"
                );
                disk.flip_bit(path(), byte, (byte % 8) as u8);
            }
        }
    }

    #[test]
    fn a_flipped_bit_in_the_header_is_damage() {
        let disk = written();
        for byte in 0..60 {
            disk.flip_bit(path(), byte, 5);
            assert!(matches!(read(&disk), Err(LogError::Damaged { offset: 0, .. })), "byte {byte}");
            disk.flip_bit(path(), byte, 5);
        }
    }

    #[test]
    fn a_record_of_another_log_is_not_taken() {
        let disk = written();
        let mut block = record_header(99, 45, b"x");
        block.extend_from_slice(b"x");
        disk.open(path(), Open::Write).unwrap().append(&[IoSlice::new(&block)]).unwrap();
        assert!(matches!(read(&disk), Err(LogError::Damaged { .. }) | Ok(_)));
        assert!(read(&disk).map_or(true, |(found, _)| found.len() == 5));
    }

    #[test]
    fn a_failed_write_leaves_the_log_usable_and_without_the_record() {
        for call in 0..2 {
            let disk = SimDisk::new(5);
            let mut log = Log::create(&disk, path(), header(), 0).unwrap();
            log.append(b"one").unwrap();
            disk.fail_call(disk.calls() + call, crate::Fault::Eio);
            let error = log.append(&[9; 9000]).unwrap_err();
            let usable = log.append(b"two");
            match error {
                LogError::Disk(_) => assert_eq!(usable.unwrap(), 41),
                LogError::Untrusted(_) => assert!(matches!(usable, Err(LogError::Untrusted(_)))),
                other => panic!("{other}"),
            }
            assert_eq!(call == 1, matches!(log.append(b""), Err(LogError::Untrusted(_))));
        }
    }

    #[test]
    fn a_file_whose_header_was_not_finished_holds_nothing() {
        for size in [0, 1, 59, 60, 511, 512, 4095] {
            let disk = written();
            disk.open(path(), Open::Write).unwrap().set_size(size).unwrap();
            assert_eq!(read(&disk).unwrap().0, []);
        }
    }

    #[test]
    fn a_file_has_a_record_when_its_first_one_is_whole() {
        let disk = written();
        // The header of a record has 32 bytes, and the first payload three.
        let cuts = [(4095, false), (4096, false), (4096 + 34, false), (4096 + 35, true), (8192, true)];
        for (size, has) in cuts {
            let after = disk.survivor(1);
            after.open(path(), Open::Write).unwrap().set_size(size).unwrap();
            assert_eq!(has_record(&after, path(), KIND).unwrap(), has, "{size} bytes");
        }
    }

    #[test]
    fn an_unknown_version_is_refused() {
        let disk = SimDisk::new(1);
        Log::create(&disk, path(), Header { version: 7, ..header() }, 0).unwrap();
        assert!(matches!(read(&disk), Err(LogError::Version { found: 7, known: 0, .. })));
    }
}
