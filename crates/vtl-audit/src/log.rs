//! The open log: entries are appended and read, never changed.

use std::collections::BTreeSet;
use std::fmt;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use vtl_durable::{Disk, DiskError, DiskFile, Open};

use crate::entry::{Entry, EntryKind, Record, hash};
use crate::head::{Head, SLOT};
use crate::verify::{Report, Verifier};

const LOG: &str = "audit.log";
const HEAD: &str = "audit.head";
/// The longest line; what is longer is refused before anything is done.
pub const MOST_LINE: usize = 16 << 10;
/// Every so many entries the place of one is kept in memory.
const STEP: u64 = 64;
/// Space that is kept for entries ahead, where the file system can: so that a full disk can still be emptied over the API.
const RESERVE: u64 = 256 << 10;
/// Bytes that are read at once.
const BLOCK: usize = 64 << 10;
/// Entries that one page looks at, at most: a filter that fits nothing must not read a whole log.
const MOST_LOOKED_AT: usize = 20_000;

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

/// Where in the file every 64th line begins. Lines are counted as they stand, whatever their numbers say.
#[derive(Debug, Default)]
struct Places {
    lines: u64,
    every: Vec<u64>,
}

impl Places {
    fn add(&mut self, offset: u64) {
        if self.lines.is_multiple_of(STEP) {
            self.every.push(offset);
        }
        self.lines += 1;
    }
}

/// Which entries are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only of this kind.
    pub kind: Option<EntryKind>,
    /// Only by this one.
    pub who: Option<String>,
    /// Only those whose `what` has this text.
    pub what: Option<String>,
    /// Only those whose result or detail has this text.
    pub text: Option<String>,
    /// Not those before this time; RFC 3339, as the entries have it.
    pub since: Option<String>,
    /// Not those from this time on.
    pub until: Option<String>,
}

impl Filter {
    fn fits(&self, entry: &Entry) -> bool {
        let has =
            |wanted: &Option<String>, text: &str| wanted.as_ref().is_none_or(|w| text.contains(w.as_str()));
        self.kind.is_none_or(|kind| kind == entry.kind)
            && self.who.as_ref().is_none_or(|who| *who == entry.who)
            && has(&self.what, &entry.what)
            && (has(&self.text, &entry.result) || has(&self.text, &entry.detail.to_string()))
            && self.since.as_ref().is_none_or(|since| entry.at >= *since)
            && self.until.as_ref().is_none_or(|until| entry.at < *until)
    }
}

/// A part of the log, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Entries that fit.
    pub entries: Vec<Entry>,
    /// Where the next page begins: lines before this one. None: this was the last page.
    pub before: Option<u64>,
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

    /// Entries that fit, the newest first: at most `limit`, from lines before the one with this count, which an earlier page has given.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn page(&self, before: Option<u64>, limit: usize, filter: &Filter) -> Result<Page, AuditError> {
        let mut end = before.unwrap_or(u64::MAX).min(self.places.lines);
        let mut page = Page::default();
        let mut looked_at = 0;
        while end > 0 {
            let step = (end - 1) / STEP;
            let lines = self.lines_of(step)?;
            let begin = step * STEP;
            let wanted = usize::try_from(end - begin).unwrap_or(usize::MAX);
            for (index, line) in lines.iter().enumerate().take(wanted).rev() {
                let at = begin + index as u64;
                if page.entries.len() >= limit || looked_at >= MOST_LOOKED_AT {
                    page.before = Some(at + 1);
                    return Ok(page);
                }
                looked_at += 1;
                page.entries.extend(Entry::parse(line).ok().filter(|entry| filter.fits(entry)));
            }
            end = begin;
        }
        Ok(page)
    }

    /// Lines as they stand, from this one on (counted from 0), for who keeps a copy.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn lines(&self, from: u64, limit: usize) -> Result<Vec<String>, AuditError> {
        let (mut out, mut at) = (Vec::new(), from);
        while out.len() < limit && at < self.places.lines {
            let skip = usize::try_from(at % STEP).unwrap_or(0);
            let lines = self.lines_of(at / STEP)?;
            let wanted = lines.get(skip..).unwrap_or_default();
            if wanted.is_empty() {
                break;
            }
            let take = wanted.iter().take(limit - out.len());
            out.extend(take.map(|line| String::from_utf8_lossy(line).into_owned()));
            at = from + out.len() as u64;
        }
        Ok(out)
    }

    /// The lines of one step.
    fn lines_of(&self, step: u64) -> Result<Vec<Vec<u8>>, AuditError> {
        let step = usize::try_from(step).unwrap_or(usize::MAX);
        let Some(&begin) = self.places.every.get(step) else { return Ok(Vec::new()) };
        let end = self.places.every.get(step.saturating_add(1)).copied().unwrap_or(self.len);
        let mut lines = Vec::new();
        each_line(self.log.as_ref(), begin, end, |_, line| {
            lines.push(line.to_vec());
            true
        })?;
        Ok(lines)
    }

    /// Looks at every entry again, as it is on the disk now. `anchor`: a head that was noted elsewhere, instead of the one here.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn verify(&self, anchor: Option<Head>) -> Result<Report, AuditError> {
        let mut verifier = Verifier::new(Some(anchor.unwrap_or(self.head)));
        each_line(self.log.as_ref(), 0, self.log.size()?.min(self.len), |_, line| {
            verifier.line(line);
            true
        })?;
        Ok(verifier.end())
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

/// Each whole line between two places, without its newline, until the answer is no; where the last one ends. A line beyond the
/// longest is handed over in pieces, which are none of ours.
fn each_line(
    file: &dyn DiskFile,
    begin: u64,
    end: u64,
    mut visit: impl FnMut(u64, &[u8]) -> bool,
) -> Result<u64, AuditError> {
    let (mut at, mut buffer) = (begin, Vec::new());
    let mut line_begin = begin;
    while at < end {
        let want = usize::try_from(end - at).unwrap_or(BLOCK).min(BLOCK);
        let got = file.read_at(at, want, &mut buffer)?;
        if got == 0 {
            break;
        }
        at += got as u64;
        let mut rest = buffer.as_slice();
        while let Some(len) = rest.iter().position(|byte| *byte == b'\n').or_else(|| too_long(rest)) {
            let (line, behind) = rest.split_at(len);
            if !visit(line_begin, line) {
                return Ok(line_begin);
            }
            let taken = if behind.first() == Some(&b'\n') { 1 } else { 0 };
            rest = behind.get(taken..).unwrap_or_default();
            line_begin += (len + taken) as u64;
        }
        buffer = rest.to_vec();
    }
    Ok(line_begin)
}

fn too_long(rest: &[u8]) -> Option<usize> {
    (rest.len() > MOST_LINE).then_some(MOST_LINE)
}
