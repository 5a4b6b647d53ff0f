//! The open log: entries are appended and read, never changed.

use std::collections::BTreeSet;
use std::fmt;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use vtl_durable::{Disk, DiskError, DiskFile, Open};

use crate::entry::{Entry, EntryKind, Record, hash};
use crate::head::{Head, SLOT};
use crate::reader::{Places, Reader, each_line};
use crate::verify::{Report, Verifier};

const LOG: &str = "audit.log";
const HEAD: &str = "audit.head";
/// The longest line; what is longer is refused before anything is done.
pub const MOST_LINE: usize = 16 << 10;
/// Space that is kept for entries ahead, where the file system can: so that a full disk can still be emptied over the API.
const RESERVE: u64 = 256 << 10;
/// Why an entry was not written or a log not opened.
#[derive(Debug)]
pub enum AuditError {
    /// The disk.
    Disk(DiskError),
    /// An earlier failure left it unknown what is on the disk.
    Broken,
    /// An entry has more bytes than a line may have.
    TooLong(usize),
}

impl AuditError {
    /// There is no room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Disk(error) if error.is_full())
    }
}

impl From<DiskError> for AuditError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl fmt::Display for AuditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(error) => error.fmt(f),
            Self::Broken => {
                f.write_str("an earlier entry could not be made durable; check the disk, then restart vtld")
            }
            Self::TooLong(bytes) => write!(f, "an entry of {bytes} bytes is longer than {MOST_LINE}"),
        }
    }
}

impl std::error::Error for AuditError {}

/// The log, with one owner.
#[derive(Debug)]
pub struct AuditLog {
    log: Arc<dyn DiskFile>,
    head_file: Arc<dyn DiskFile>,
    head: Head,
    /// Bytes of whole lines.
    len: u64,
    /// Bytes that are kept for them.
    reserved: u64,
    /// Bytes of a line that was not finished may lie behind them.
    ragged: bool,
    broken: bool,
    places: Places,
    /// Requests without an outcome.
    open: BTreeSet<u64>,
}

impl AuditLog {
    /// Opens the log in a folder, or makes one, and looks at every entry in it. A line that a crash left unfinished goes: nobody
    /// was told that it is there. Whatever else is wrong is in the report, and stays as it is.
    ///
    /// # Errors
    /// The files cannot be opened, read or made durable.
    pub fn open(disk: &dyn Disk, folder: &Path) -> Result<(Self, Report), AuditError> {
        disk.create_folder(folder)?;
        let log = disk.open(&folder.join(LOG), Open::CreateIfMissing)?;
        let head_file = disk.open(&folder.join(HEAD), Open::CreateIfMissing)?;
        disk.sync_folder(folder)?;
        if let Some(parent) = folder.parent() {
            disk.sync_folder(parent)?;
        }
        let mut bytes = Vec::new();
        head_file.read_at(0, 2 * SLOT, &mut bytes)?;
        let is_new = bytes.is_empty() && log.size()? == 0;
        let anchor = if is_new { Some(Head::default()) } else { Head::decode(&bytes) };
        let mut opened = Self {
            log,
            head_file,
            head: Head::default(),
            len: 0,
            reserved: 0,
            ragged: false,
            broken: false,
            places: Places::default(),
            open: BTreeSet::new(),
        };
        let report = opened.take_in(anchor)?;
        // Whoever cut the end must not have his cut forgotten: numbers go on behind what was there.
        opened.head = match anchor {
            Some(anchor) if anchor.number > report.head.number => anchor,
            _ => report.head,
        };
        opened.reserve();
        if is_new {
            opened.write_head()?;
        }
        Ok((opened, report))
    }

    /// Reads all lines; what is behind the last newline goes.
    fn take_in(&mut self, anchor: Option<Head>) -> Result<Report, AuditError> {
        let mut verifier = Verifier::new(anchor);
        let (mut places, mut open) = (Places::default(), BTreeSet::new());
        let mut take = |verifier: &mut Verifier, offset: u64, line: &[u8]| {
            places.add(offset);
            if let Some(entry) = verifier.line(line) {
                note(&mut open, &entry);
            }
        };
        let mut held: Option<(u64, Vec<u8>)> = None;
        let mut end = each_line(self.log.as_ref(), 0, self.log.size()?, |offset, line| {
            if let Some((before, line)) = held.replace((offset, line.to_vec())) {
                take(&mut verifier, before, &line);
            }
            true
        })?;
        match held {
            Some((offset, line)) if is_torn(&verifier, anchor, &line) => end = offset,
            Some((offset, line)) => take(&mut verifier, offset, &line),
            None => {}
        }
        (self.len, self.places, self.open) = (end, places, open);
        if self.log.size()? > end {
            self.log.set_size(end)?;
            self.log.sync_data()?;
        }
        Ok(verifier.end())
    }

    /// Writes an entry; its number. It is durable when this returns.
    ///
    /// 1. What an earlier failure left behind the last line is cut off.
    /// 2. The line is written and synced.
    /// 3. The head is written and synced.
    ///
    /// A crash in 2 leaves a line without its newline, or a whole line that the head does not know of yet: both are fine.
    ///
    /// # Errors
    /// It is not durable, and not counted. After a failed sync nothing is written any more.
    pub fn append(&mut self, record: Record) -> Result<u64, AuditError> {
        if self.broken {
            return Err(AuditError::Broken);
        }
        let entry = Entry::new(self.head.number.saturating_add(1), &self.head.hash, record);
        // Texts, numbers and JSON always make a line.
        let line = serde_json::to_vec(&entry).unwrap_or_default();
        if line.len() >= MOST_LINE {
            return Err(AuditError::TooLong(line.len()));
        }
        if self.ragged {
            self.log.set_size(self.len)?;
            self.ragged = false;
        }
        self.ragged = true;
        self.log.write_at(self.len, &[IoSlice::new(&line), IoSlice::new(b"\n")])?;
        self.sync(true)?;
        self.ragged = false;
        self.places.add(self.len);
        self.len += line.len() as u64 + 1;
        self.head = Head { number: entry.n, hash: hash(&line) };
        note(&mut self.open, &entry);
        self.reserve();
        self.write_head()?;
        Ok(entry.n)
    }

    /// Keeps space ahead when half of what was kept is used. Without it entries are written as long as there is room.
    fn reserve(&mut self) {
        if self.reserved.saturating_sub(self.len) < RESERVE / 2 {
            let wanted = self.len.saturating_add(RESERVE);
            if self.log.allocate(wanted).is_ok() {
                self.reserved = wanted;
            }
        }
    }

    fn write_head(&mut self) -> Result<(), AuditError> {
        let slot = self.head.encode();
        // When it fails the head of an entry before still tells true, and the next entry brings it up.
        self.head_file.write_at(self.head.offset(), &[IoSlice::new(&slot)])?;
        self.sync(false)
    }

    fn sync(&mut self, log: bool) -> Result<(), AuditError> {
        let file = if log { &self.log } else { &self.head_file };
        file.sync_data().map_err(|error| {
            self.broken = true;
            error.into()
        })
    }

    /// How far the log goes.
    #[must_use]
    pub const fn head(&self) -> Head {
        self.head
    }

    /// Requests of which no outcome is known: the server ended in between.
    #[must_use]
    pub fn without_outcome(&self) -> Vec<u64> {
        self.open.iter().copied().collect()
    }

    /// The log as it is now, for who reads it while others write.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(self.log.clone(), self.head, self.len, self.places.clone())
    }
}

/// A last line that is none, and that the head does not know of: a crash wrote its end and not its beginning.
fn is_torn(verifier: &Verifier, anchor: Option<Head>, line: &[u8]) -> bool {
    anchor.is_some_and(|head| verifier.last() >= head.number) && Entry::parse(line).is_err()
}

fn note(open: &mut BTreeSet<u64>, entry: &Entry) {
    match (entry.kind, entry.of) {
        (EntryKind::Request, _) => {
            open.insert(entry.n);
        }
        (EntryKind::Outcome, Some(of)) => {
            open.remove(&of);
        }
        _ => {}
    }
}
