//! Whether a log is whole: from its bytes and a head alone.

use std::fmt;

use crate::entry::{Entry, Hash, hash, hexadecimal};
use crate::head::Head;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The line where this entry should stand is none.
    Damaged(u64, String),
    /// This entry is not the one that the next entry, or the head, was bound to.
    Changed(u64),
    /// These are not there.
    Missing(u64, u64),
    /// The first of these entries stands behind the second, where it does not belong.
    OutOfOrder(u64, u64),
    /// The head is not there or is damaged: whether entries are missing at the end cannot be said.
    NoHead,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(n, why) => write!(f, "entry {n} cannot be read: {why}"),
            Self::Changed(n) => write!(f, "entry {n} has been changed since the next one was written"),
            Self::Missing(from, to) if from == to => write!(f, "entry {from} is missing"),
            Self::Missing(from, to) => write!(f, "entries {from} to {to} are missing"),
            Self::OutOfOrder(n, behind) => {
                write!(f, "entry {n} stands behind entry {behind}: the wrong place")
            }
            Self::NoHead => {
                f.write_str("the head of the log is missing or damaged: a cut at the end cannot be seen")
            }
        }
    }
}

/// What a look at the whole log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Number and hash of the last entry.
    pub head: Head,
    /// Lines in all.
    pub lines: u64,
    /// What is wrong, in the order of the file.
    pub faults: Vec<Fault>,
}

/// More are not listed: a log that is wrong in a hundred places is wrong.
const MOST_FAULTS: usize = 100;

/// Reads a log line by line.
#[derive(Debug)]
pub(crate) struct Verifier {
    expected: u64,
    prev: Hash,
    /// The link from the entry before cannot be held against anything.
    broken: bool,
    anchor: Option<Head>,
    report: Report,
}

impl Verifier {
    pub(crate) fn new(anchor: Option<Head>) -> Self {
        Self { expected: 1, prev: Hash::default(), broken: false, anchor, report: Report::default() }
    }

    /// The next line, without its newline; the entry in it, if it is one.
    pub(crate) fn line(&mut self, line: &[u8]) -> Option<Entry> {
        self.report.lines += 1;
        let parsed = Entry::parse(line);
        match &parsed {
            Err(why) => {
                self.fault(Fault::Damaged(self.expected, why.clone()));
                self.expected += 1;
                self.broken = true;
            }
            Ok(entry) => {
                self.place(entry);
                self.expected = entry.n.saturating_add(1);
                self.broken = false;
            }
        }
        self.prev = hash(line);
        let number = self.expected - 1;
        if self.anchor.is_some_and(|head| head.number == number && head.hash != self.prev) {
            self.fault(Fault::Changed(number));
        }
        if number >= self.report.head.number {
            self.report.head = Head { number, hash: self.prev };
        }
        parsed.ok()
    }

    fn place(&mut self, entry: &Entry) {
        match entry.n.cmp(&self.expected) {
            std::cmp::Ordering::Greater => self.fault(Fault::Missing(self.expected, entry.n - 1)),
            std::cmp::Ordering::Less => self.fault(Fault::OutOfOrder(entry.n, self.expected - 1)),
            std::cmp::Ordering::Equal if self.broken || entry.prev == hexadecimal(&self.prev) => {}
            std::cmp::Ordering::Equal => self.fault(Fault::Changed(entry.n.saturating_sub(1).max(1))),
        }
    }

    /// Number of the last entry so far.
    pub(crate) const fn last(&self) -> u64 {
        self.expected - 1
    }

    fn fault(&mut self, fault: Fault) {
        if self.report.faults.len() < MOST_FAULTS && self.report.faults.last() != Some(&fault) {
            self.report.faults.push(fault);
        }
    }

    pub(crate) fn end(mut self) -> Report {
        let last = self.report.head.number;
        match self.anchor {
            None => self.fault(Fault::NoHead),
            Some(head) if head.number > last => self.fault(Fault::Missing(last + 1, head.number)),
            Some(_) => {}
        }
        self.report
    }
}

/// Looks at a whole log in memory; `anchor`: the head that it must come to, or one that was noted earlier.
#[must_use]
pub fn verify(bytes: &[u8], anchor: Option<Head>) -> Report {
    let mut verifier = Verifier::new(anchor);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        verifier.line(line.strip_suffix(b"\n").unwrap_or(line));
    }
    verifier.end()
}
