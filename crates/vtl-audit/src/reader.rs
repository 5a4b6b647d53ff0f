//! Reading: from what the log was at one moment, so that nobody who writes waits for who reads.

use std::sync::Arc;

use vtl_durable::DiskFile;

use crate::entry::{Entry, EntryKind};
use crate::head::Head;
use crate::log::{AuditError, MOST_LINE};
use crate::verify::{Report, Verifier};

/// Every so many entries the place of one is kept in memory.
const STEP: u64 = 64;
/// Bytes that are read at once.
const BLOCK: usize = 64 << 10;
/// Entries that one page looks at, at most: a filter that fits nothing must not read a whole log.
const MOST_LOOKED_AT: usize = 20_000;

/// Where in the file every 64th line begins. Lines are counted as they stand, whatever their numbers say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    lines: u64,
    every: Vec<u64>,
}

impl Places {
    pub(crate) fn add(&mut self, offset: u64) {
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

/// The log as it was at one moment. Lines are never changed, so what others write meanwhile does not matter.
#[derive(Clone, Debug)]
pub struct Reader {
    log: Arc<dyn DiskFile>,
    head: Head,
    /// Bytes of whole lines.
    len: u64,
    places: Places,
}

impl Reader {
    pub(crate) const fn new(log: Arc<dyn DiskFile>, head: Head, len: u64, places: Places) -> Self {
        Self { log, head, len, places }
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

/// Each whole line between two places, without its newline, until the answer is no; where the last one ends. A line beyond the
/// longest is handed over in pieces, which are none of ours.
pub(crate) fn each_line(
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
