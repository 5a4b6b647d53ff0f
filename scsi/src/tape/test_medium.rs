//! A cartridge in memory for tests: a vector of objects, of which a prefix is durable, and faults on demand.

use alloc::collections::BTreeMap;

use bytes::Bytes;
use vtl_types::MediaKind;

use crate::command::Instant;
use crate::medium::{AttributeFault, Fault, Medium, MediumFacts, Object, Position, Spaced, Stop, Written};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Block(Vec<u8>),
    Mark,
}

/// Marks have no bytes, so that something else must bound them.
const MAX_OBJECTS: usize = 10_000;

#[derive(Debug)]
pub(crate) struct TestMedium {
    facts: MediumFacts,
    items: Vec<Item>,
    durable: Vec<Item>,
    at: usize,
    attributes: BTreeMap<u16, Vec<u8>>,
    /// Bytes of this many at the end are past early warning.
    pub(crate) warning_bytes: u64,
    /// What the next call that may fail reports.
    pub(crate) next_fault: Option<Fault>,
    /// What the next flush reports.
    pub(crate) next_flush_fault: Option<Fault>,
    /// Objects whose bytes are damaged.
    pub(crate) damaged: Vec<u64>,
    /// An object whose bytes cannot be reached.
    pub(crate) away: Option<u64>,
    pub(crate) flushes: u64,
    pub(crate) compressed_blocks: u64,
    pub(crate) long_erases: u64,
    /// How often a late write failed.
    pub(crate) losses: u64,
    /// When what is not durable is to be committed.
    pub(crate) commit_at: Option<Instant>,
}

impl TestMedium {
    pub(crate) fn blank(label: &str, capacity_bytes: u64) -> Self {
        let facts = MediumFacts {
            label: label.into(),
            serial: format!("SERIAL-{label}"),
            kind: MediaKind::from_id(&label[6..]).unwrap(),
            made_on: "20261122".into(),
            capacity_bytes,
            used_bytes: 0,
            write_protected: false,
        };
        Self {
            facts,
            items: Vec::new(),
            durable: Vec::new(),
            at: 0,
            attributes: BTreeMap::new(),
            warning_bytes: 0,
            next_fault: None,
            next_flush_fault: None,
            damaged: Vec::new(),
            away: None,
            flushes: 0,
            compressed_blocks: 0,
            long_erases: 0,
            losses: 0,
            commit_at: None,
        }
    }

    pub(crate) fn protect(&mut self, on: bool) {
        self.facts.write_protected = on;
    }

    pub(crate) fn all_is_durable(&self) -> bool {
        self.items == self.durable
    }

    /// A late write fails: what is not durable is gone.
    fn fault(&mut self) -> Result<(), Fault> {
        let Some(fault) = self.next_fault.take() else { return Ok(()) };
        if fault == Fault::LateWrite {
            self.losses += 1;
            self.items = self.durable.clone();
            self.at = self.items.len();
        }
        Err(fault)
    }

    fn used(items: &[Item]) -> u64 {
        items.iter().map(|item| if let Item::Block(bytes) = item { bytes.len() as u64 } else { 0 }).sum()
    }

    fn past_warning(&self) -> bool {
        Self::used(&self.items[..self.at]) + self.warning_bytes >= self.facts.capacity_bytes
            && self.warning_bytes > 0
    }

    fn put(&mut self, item: Item) -> Result<Written, Fault> {
        self.fault()?;
        if self.facts.write_protected {
            return Err(Fault::WriteProtected);
        }
        let length = if let Item::Block(bytes) = &item { bytes.len() as u64 } else { 0 };
        if Self::used(&self.items[..self.at]) + length > self.facts.capacity_bytes {
            return Err(Fault::EndOfPartition);
        }
        self.items.truncate(self.at);
        self.items.push(item);
        self.at += 1;
        Ok(Written { early_warning: self.past_warning() })
    }

    /// One unit forward or back; `None` at an end.
    fn step(&mut self, forward: bool) -> Option<&Item> {
        let next = if forward { self.at } else { self.at.checked_sub(1)? };
        let item = self.items.get(next)?;
        self.at = if forward { self.at + 1 } else { next };
        Some(item)
    }

    fn space(&mut self, count: i64, unit: impl Fn(&Item) -> bool, stops: impl Fn(&Item) -> bool) -> Spaced {
        let forward = count > 0;
        let mut moved = 0;
        while moved < count.unsigned_abs() {
            match self.step(forward) {
                None => {
                    return Spaced {
                        moved,
                        stop: Some(if forward { Stop::EndOfData } else { Stop::Beginning }),
                    };
                }
                Some(item) if stops(item) => return Spaced { moved, stop: Some(Stop::Filemark) },
                Some(item) if unit(item) => moved += 1,
                Some(_) => {}
            }
        }
        Spaced { moved, stop: None }
    }
}

impl Medium for TestMedium {
    fn facts(&self) -> MediumFacts {
        MediumFacts { used_bytes: Self::used(&self.items), ..self.facts.clone() }
    }

    fn position(&self) -> Position {
        Position {
            object: self.at as u64,
            file: self.items[..self.at].iter().filter(|item| **item == Item::Mark).count() as u64,
            end_of_data: self.at == self.items.len(),
            early_warning: self.past_warning(),
        }
    }

    fn read(&mut self, limit: u32) -> Result<Object, Fault> {
        self.fault()?;
        let object = self.at as u64;
        if self.away == Some(object) {
            return Err(Fault::Away);
        }
        let found = match self.step(true) {
            None => Object::EndOfData,
            Some(Item::Mark) => Object::Filemark,
            Some(Item::Block(bytes)) => {
                let wanted = bytes.len().min(limit as usize);
                // Two pieces, as a store may give them.
                let (one, two) = bytes[..wanted].split_at(wanted / 2);
                let data = vec![Bytes::copy_from_slice(one), Bytes::copy_from_slice(two)];
                Object::Block { length: bytes.len() as u32, data }
            }
        };
        if self.damaged.contains(&object) {
            return Err(Fault::Unreadable { object });
        }
        Ok(found)
    }

    fn write(&mut self, block: &[Bytes], compress: bool) -> Result<Written, Fault> {
        self.compressed_blocks += u64::from(compress);
        self.put(Item::Block(block.concat()))
    }

    fn write_filemarks(&mut self, count: u32) -> Result<Written, Fault> {
        self.fault()?;
        if self.at + count as usize > MAX_OBJECTS {
            return Err(Fault::EndOfPartition);
        }
        let mut written = Written { early_warning: self.past_warning() };
        for _ in 0..count {
            written = self.put(Item::Mark)?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.next_fault = self.next_fault.take().or(self.next_flush_fault.take());
        self.fault()?;
        self.flushes += 1;
        self.durable = self.items.clone();
        Ok(())
    }

    fn due_at(&self) -> Option<Instant> {
        self.commit_at.filter(|_| !self.all_is_durable())
    }

    fn commit_due(&mut self, now: Instant) -> Result<bool, Fault> {
        let due = self.due_at().is_some_and(|at| at <= now);
        if due { self.flush().map(|()| true) } else { Ok(false) }
    }

    fn space_blocks(&mut self, count: i64) -> Result<Spaced, Fault> {
        self.fault()?;
        Ok(self.space(count, |item| *item != Item::Mark, |item| *item == Item::Mark))
    }

    fn space_filemarks(&mut self, count: i64) -> Result<Spaced, Fault> {
        self.fault()?;
        Ok(self.space(count, |item| *item == Item::Mark, |_| false))
    }

    fn space_sequential_filemarks(&mut self, count: i64) -> Result<Spaced, Fault> {
        self.fault()?;
        let forward = count > 0;
        let mut run = 0;
        while run < count.unsigned_abs() {
            match self.step(forward) {
                None => {
                    let stop = if forward { Stop::EndOfData } else { Stop::Beginning };
                    return Ok(Spaced { moved: 0, stop: Some(stop) });
                }
                Some(Item::Mark) => run += 1,
                Some(Item::Block(_)) => run = 0,
            }
        }
        Ok(Spaced { moved: run, stop: None })
    }

    fn space_to_end(&mut self) -> Result<(), Fault> {
        self.fault()?;
        self.at = self.items.len();
        Ok(())
    }

    fn locate_object(&mut self, object: u64) -> Result<Option<Stop>, Fault> {
        self.fault()?;
        self.at = (object as usize).min(self.items.len());
        Ok((self.at as u64 != object).then_some(Stop::EndOfData))
    }

    fn locate_file(&mut self, file: u64) -> Result<Option<Stop>, Fault> {
        self.fault()?;
        self.at = 0;
        let marks = i64::try_from(file).unwrap_or(i64::MAX);
        if marks == 0 {
            return Ok(None);
        }
        Ok(self.space_filemarks(marks)?.stop)
    }

    fn erase(&mut self, long: bool) -> Result<(), Fault> {
        self.fault()?;
        if self.facts.write_protected {
            return Err(Fault::WriteProtected);
        }
        self.items.truncate(self.at);
        self.long_erases += u64::from(long);
        self.flush()
    }

    fn format(&mut self) -> Result<(), Fault> {
        self.at = 0;
        self.erase(false)
    }

    fn host_attribute(&self, id: u16) -> Option<Vec<u8>> {
        self.attributes.get(&id).cloned()
    }

    fn host_attributes(&self) -> Vec<u16> {
        self.attributes.keys().copied().collect()
    }

    fn set_host_attribute(&mut self, id: u16, value: &[u8]) -> Result<(), AttributeFault> {
        match self.fault() {
            Ok(()) => {}
            Err(Fault::PoolFull) => return Err(AttributeFault::NoRoom),
            Err(Fault::WriteProtected) => return Err(AttributeFault::Protected),
            Err(_) => return Err(AttributeFault::NotStored),
        }
        if value.is_empty() {
            self.attributes.remove(&id);
        } else {
            self.attributes.insert(id, value.to_vec());
        }
        Ok(())
    }

    fn load_count(&self) -> u64 {
        3
    }
}
