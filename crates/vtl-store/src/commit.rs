//! The journal: one record for all owners that wait, and its files retired when heads have what they hold.
//!
//! A commit, in this order:
//! 1. each stream writes and syncs its packs (`lane.rs`), in its own thread;
//! 2. its change joins the queue; whoever finds no leader becomes it and takes all that wait;
//! 3. the leader writes one record and syncs it: from here on the commit happened;
//! 4. the leader applies each change to its owner's state in memory, and wakes the others.
//!
//! When a journal file is long enough the leader, in this order:
//! 1. writes the head of every owner that is behind, and finishes removals;
//! 2. starts the next file with what there is: owners with the sequences of their heads, packs without a footer (`Begin`);
//! 3. tells the packs which file is the newest (`newest.rs`);
//! 4. unlinks the older files, oldest first, each unlink synced: a gap in the numbers never comes from here.
//!
//! A cut before 2 is whole leaves the older file, which says all; after it the heads have what the older file said.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};

use vtl_durable::Disk;
use vtl_durable::log::{Header, Log, LogError};
use vtl_durable::sealed::Kind;

use crate::cipher::{Domain, Seal, Use};
use crate::error::StoreError;
use crate::newest::{self, Newest};
use crate::recipe::{Begin, Entry, encode_record};
use crate::roster::PACKS;
use crate::store::Core;
use crate::sync::{Condvar, Mutex};
use crate::types::OwnerId;
use crate::workers::{lock, wait};

pub(crate) const JOURNAL_KIND: Kind = Kind { magic: *b"VTLJRNL\0", version: 0 };
/// A record takes no more entries above this; one alone may be larger (its note is bounded).
const GROUP_BYTES: usize = 64 << 20;
const SUFFIX: &str = ".log";

pub(crate) fn segment_name(number: u64) -> String {
    format!("{number:016x}{SUFFIX}")
}

pub(crate) fn parse_segment(name: &str) -> Option<u64> {
    let number = u64::from_str_radix(name.strip_suffix(SUFFIX)?, 16).ok()?;
    (segment_name(number) == name).then_some(number)
}

/// The journal's files.
pub(crate) struct Journal {
    pub(crate) folder: PathBuf,
    pub(crate) current: Log,
    /// Older files, oldest first.
    pub(crate) retired: VecDeque<u64>,
    /// The owners that the current file begins with.
    pub(crate) told: Vec<(OwnerId, u64)>,
}

impl Journal {
    /// Starts a file for a journal whose records go on with `first_sequence`.
    pub(crate) fn start(
        disk: &dyn Disk,
        folder: &Path,
        header: Header,
        segment_bytes: u64,
    ) -> Result<Log, LogError> {
        let path = folder.join(segment_name(header.number));
        Log::create(disk, &path, header, segment_bytes)
    }

    pub(crate) fn newest(&self) -> Newest {
        let header = self.current.header();
        Newest { epoch: header.log_id, number: header.number }
    }

    /// Unlinks files whose content is in the heads.
    pub(crate) fn drop_retired(&mut self, disk: &dyn Disk) -> Result<(), StoreError> {
        while let Some(number) = self.retired.front() {
            match disk.unlink(&self.folder.join(segment_name(*number))) {
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
            disk.sync_folder(&self.folder)?;
            self.retired.pop_front();
        }
        Ok(())
    }
}

/// Why a commit did not happen, for each that waited for it.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) why: String,
}

type Outcome = Result<(), Failure>;

pub(crate) struct Committer {
    queue: Mutex<Queue>,
    changed: Condvar,
    journal: Mutex<Journal>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(u64, Entry)>,
    next_ticket: u64,
    has_leader: bool,
    done: HashMap<u64, Outcome>,
}

impl Committer {
    pub(crate) fn new(journal: Journal) -> Self {
        Self { queue: Mutex::default(), changed: Condvar::new(), journal: Mutex::new(journal) }
    }

    /// Durable when it returns.
    pub(crate) fn commit(&self, core: &Core, entry: Entry) -> Outcome {
        let mut queue = lock(&self.queue);
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        queue.waiting.push_back((ticket, entry));
        loop {
            if let Some(outcome) = queue.done.remove(&ticket) {
                return outcome;
            }
            if queue.has_leader {
                queue = wait(&self.changed, queue);
                continue;
            }
            queue.has_leader = true;
            let group = queue.take_group();
            drop(queue);
            let outcomes = self.write_group(core, group);
            queue = lock(&self.queue);
            queue.has_leader = false;
            queue.done.extend(outcomes);
            self.changed.notify_all();
        }
    }

    /// The sequence number of the next record.
    pub(crate) fn next_sequence(&self) -> u64 {
        lock(&self.journal).current.next_sequence()
    }

    fn write_group(&self, core: &Core, group: Vec<(u64, Entry)>) -> Vec<(u64, Outcome)> {
        let mut journal = lock(&self.journal);
        let mut outcomes = Vec::with_capacity(group.len());
        let (good, bad): (Vec<_>, Vec<_>) = group.into_iter().partition(|(_, entry)| core.fits(entry));
        for (ticket, _) in bad {
            let why =
                "the change does not fit the stream: a fault of this program, please report it".to_string();
            outcomes.push((ticket, Err(Failure { why })));
        }
        if good.is_empty() {
            return outcomes;
        }
        let written = core.writable().map_err(|error| error.to_string()).and_then(|()| {
            let entries: Vec<&Entry> = good.iter().map(|(_, entry)| entry).collect();
            append(&mut journal.current, &core.domain, &entries).map_err(|error| core.distrust_log(&error))
        });
        match written {
            Err(why) => outcomes
                .extend(good.into_iter().map(|(ticket, _)| (ticket, Err(Failure { why: why.clone() })))),
            Ok(sequence) => {
                for (ticket, entry) in good {
                    core.apply(sequence, entry);
                    outcomes.push((ticket, Ok(())));
                }
                self.roll_over(core, &mut journal);
            }
        }
        outcomes
    }

    fn roll_over(&self, core: &Core, journal: &mut Journal) {
        if journal.current.len_bytes() < core.options.segment_bytes {
            return;
        }
        // A long journal is no harm: it goes on, and this is tried again at the next commit.
        if let Err(why) = start_anew(core, journal) {
            tracing::warn!(%why, "old journal files are kept for now");
        }
    }

    /// At a clean stop: heads have everything, the journal says what there is and no more, and damage to it can harm nothing.
    pub(crate) fn tidy(&self, core: &Core) -> Result<(), String> {
        let mut journal = lock(&self.journal);
        let header = journal.current.header();
        let is_fresh = journal.current.next_sequence() <= header.first_sequence + BEGIN_RECORDS;
        if is_fresh && journal.retired.is_empty() && journal.told == core.told_owners() {
            return Ok(());
        }
        start_anew(core, &mut journal)
    }
}

/// Brings all heads up to date, starts the next file, and drops the files before it. Nothing is committed meanwhile: that needs the journal.
fn start_anew(core: &Core, journal: &mut Journal) -> Result<(), String> {
    core.save_all().map_err(|error| error.to_string())?;
    let header = journal.current.header();
    let header =
        Header { number: header.number + 1, first_sequence: journal.current.next_sequence(), ..*header };
    let started = Journal::start(&*core.disk, &journal.folder, header, core.options.segment_bytes);
    let log = started.map_err(|error| core.distrust_log(&error))?;
    let old = std::mem::replace(&mut journal.current, log);
    journal.retired.push_back(old.header().number);
    let begin = core.begin();
    let owners = begin.owners.clone();
    tell(&mut journal.current, &core.domain, begin).map_err(|error| core.distrust_log(&error))?;
    journal.told = owners;
    newest::remember(&*core.disk, &core.root.join(PACKS), core.domain.store_id, journal.newest());
    journal.drop_retired(&*core.disk).map_err(|error| error.to_string())
}

/// A file begins with so many records that say the same, because a damaged last record of a journal looks as if it had never been whole.
const BEGIN_RECORDS: u64 = 2;

/// The first records of a journal file: what older ones said goes with them.
pub(crate) fn tell(log: &mut Log, domain: &Domain, begin: Begin) -> Result<(), LogError> {
    let entry = Entry::Begin(begin);
    (0..BEGIN_RECORDS).try_for_each(|_| append(log, domain, &[&entry]).map(drop))
}

/// Appends a record, sealed for its place; its sequence number.
fn append(log: &mut Log, domain: &Domain, entries: &[&Entry]) -> Result<u64, LogError> {
    let mut payload = encode_record(entries.iter().copied());
    let place = log.next_sequence().to_le_bytes();
    journal_seal(domain, log.header()).seal(&place, &mut payload)?;
    log.append(&payload)
}

/// What the records of a journal file are sealed with.
pub(crate) fn journal_seal(domain: &Domain, header: &Header) -> Seal {
    let name = [header.log_id.to_le_bytes(), header.number.to_le_bytes()].concat();
    domain.seal(Use::Journal, &name)
}

impl Queue {
    fn take_group(&mut self) -> Vec<(u64, Entry)> {
        let mut group = Vec::new();
        let mut bytes = 0;
        while let Some((_, entry)) = self.waiting.front() {
            bytes += entry.weight();
            if !group.is_empty() && bytes > GROUP_BYTES {
                break;
            }
            group.extend(self.waiting.pop_front());
        }
        group
    }
}
