//! A cartridge in memory.

use std::collections::BTreeMap;

use bytes::Bytes;
use scsi::{AttributeFault, Fault, Medium, MediumFacts, Object, Position, Spaced, Stop, Written};
use vtl_types::{Generation, MediaForm, MediaKind};

/// Small, so that a fuzzer meets its end.
const CAPACITY: u64 = 1 << 20;
const WARNING: u64 = CAPACITY / 8 * 7;
/// Filemarks are free on a real tape; here they must end somewhere.
const OBJECTS: usize = 1 << 14;

/// Blocks and marks (`None`), and where we are.
#[derive(Default)]
pub struct Tape {
    objects: Vec<Option<Bytes>>,
    at: usize,
    attributes: BTreeMap<u16, Vec<u8>>,
}

impl Tape {
    fn bytes(&self, objects: &[Option<Bytes>]) -> u64 {
        objects.iter().flatten().map(|block| block.len() as u64).sum()
    }

    fn room(&self, bytes: usize, objects: usize) -> Result<(), Fault> {
        let full = self.bytes(&self.objects[..self.at]) + bytes as u64 > CAPACITY;
        if full || self.at + objects > OBJECTS { Err(Fault::EndOfPartition) } else { Ok(()) }
    }

    fn written(&self) -> Written {
        Written { early_warning: self.position().early_warning }
    }

    fn step(&mut self, forward: bool) -> Result<bool, Stop> {
        match forward {
            true if self.at == self.objects.len() => Err(Stop::EndOfData),
            false if self.at == 0 => Err(Stop::Beginning),
            true => {
                self.at += 1;
                Ok(self.objects[self.at - 1].is_none())
            }
            false => {
                self.at -= 1;
                Ok(self.objects[self.at].is_none())
            }
        }
    }
}

impl Medium for Tape {
    fn facts(&self) -> MediumFacts {
        MediumFacts {
            label: "FUZ001L8".into(),
            serial: "0123456789".into(),
            kind: MediaKind { generation: Generation::Lto8, form: MediaForm::Data },
            made_on: "20261122".into(),
            capacity_bytes: CAPACITY,
            used_bytes: self.bytes(&self.objects),
            write_protected: false,
        }
    }

    fn position(&self) -> Position {
        let before = &self.objects[..self.at];
        Position {
            object: self.at as u64,
            file: before.iter().filter(|object| object.is_none()).count() as u64,
            end_of_data: self.at == self.objects.len(),
            early_warning: self.bytes(before) >= WARNING,
        }
    }

    fn read(&mut self, limit: u32) -> Result<Object, Fault> {
        let Some(object) = self.objects.get(self.at) else { return Ok(Object::EndOfData) };
        self.at += 1;
        Ok(match object {
            None => Object::Filemark,
            Some(block) => Object::Block {
                length: block.len() as u32,
                data: vec![block.slice(..block.len().min(limit as usize))],
            },
        })
    }

    fn write(&mut self, block: &[Bytes], _compress: bool) -> Result<Written, Fault> {
        let block = Bytes::from(block.concat());
        self.room(block.len(), 1)?;
        self.objects.truncate(self.at);
        self.objects.push(Some(block));
        self.at += 1;
        Ok(self.written())
    }

    fn write_filemarks(&mut self, count: u32) -> Result<Written, Fault> {
        if count > 0 {
            self.room(0, count as usize)?;
            self.objects.truncate(self.at);
            self.objects.extend((0..count).map(|_| None));
            self.at += count as usize;
        }
        Ok(self.written())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn space_blocks(&mut self, count: i64) -> Result<Spaced, Fault> {
        let mut moved = 0;
        while moved < count.unsigned_abs() {
            match self.step(count > 0) {
                Ok(false) => moved += 1,
                Ok(true) => return Ok(Spaced { moved, stop: Some(Stop::Filemark) }),
                Err(stop) => return Ok(Spaced { moved, stop: Some(stop) }),
            }
        }
        Ok(Spaced { moved, stop: None })
    }

    fn space_filemarks(&mut self, count: i64) -> Result<Spaced, Fault> {
        let mut moved = 0;
        while moved < count.unsigned_abs() {
            match self.step(count > 0) {
                Ok(mark) => moved += u64::from(mark),
                Err(stop) => return Ok(Spaced { moved, stop: Some(stop) }),
            }
        }
        Ok(Spaced { moved, stop: None })
    }

    fn space_sequential_filemarks(&mut self, count: i64) -> Result<Spaced, Fault> {
        let mut run = 0;
        while run < count.unsigned_abs() {
            match self.step(count > 0) {
                Ok(true) => run += 1,
                Ok(false) => run = 0,
                Err(stop) => return Ok(Spaced { moved: 0, stop: Some(stop) }),
            }
        }
        Ok(Spaced { moved: run, stop: None })
    }

    fn space_to_end(&mut self) -> Result<(), Fault> {
        self.at = self.objects.len();
        Ok(())
    }

    fn locate_object(&mut self, object: u64) -> Result<Option<Stop>, Fault> {
        let end = self.objects.len();
        self.at = usize::try_from(object).unwrap_or(usize::MAX).min(end);
        Ok((object > end as u64).then_some(Stop::EndOfData))
    }

    fn locate_file(&mut self, file: u64) -> Result<Option<Stop>, Fault> {
        self.at = 0;
        let found = self.space_filemarks(i64::try_from(file).unwrap_or(i64::MAX))?;
        Ok(found.stop)
    }

    fn erase(&mut self, _long: bool) -> Result<(), Fault> {
        self.objects.truncate(self.at);
        Ok(())
    }

    fn format(&mut self) -> Result<(), Fault> {
        (self.objects.clear(), self.at = 0);
        Ok(())
    }

    fn host_attribute(&self, id: u16) -> Option<Vec<u8>> {
        self.attributes.get(&id).cloned()
    }

    fn host_attributes(&self) -> Vec<u16> {
        self.attributes.keys().copied().collect()
    }

    fn set_host_attribute(&mut self, id: u16, value: &[u8]) -> Result<(), AttributeFault> {
        if value.is_empty() {
            self.attributes.remove(&id);
        } else if self.attributes.len() < 64 {
            self.attributes.insert(id, value.to_vec());
        } else {
            return Err(AttributeFault::NoRoom);
        }
        Ok(())
    }

    fn load_count(&self) -> u64 {
        1
    }
}
