//! A model of the store that is too simple to be wrong, and a script runner that keeps both in step.
#![allow(dead_code, reason = "each test program uses its part")]

pub mod record;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use vtl_durable::{Disk, SimDisk};
use vtl_store::{
    Encryption, GcRule, Health, Options, OwnerId, PassphraseCost, PoolKey, Randomness, Store, StoreError,
    Stream,
};
use vtl_types::Secret;

pub const ROOT: &str = "/pool";

/// How many times the usual work a test does.
pub fn cases(usual: u64) -> u64 {
    let factor = std::env::var("VTL_TEST_CASES").ok().and_then(|text| text.parse::<u64>().ok());
    usual * factor.unwrap_or(1).max(1)
}

/// SplitMix64, so that a seed names a run for ever.
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// Content that comes again and again: a part of one of a few long texts, some of it changed.
    pub fn familiar(&mut self, len: usize) -> Vec<u8> {
        let mut text = Random(1000 + self.below(3));
        let whole: Vec<u8> = (0..20_000).map(|_| text.next() as u8).collect();
        let from = self.below(8) as usize * 1500;
        let mut part = whole[from..(from + len).min(whole.len())].to_vec();
        if self.below(2) == 0 && !part.is_empty() {
            let at = self.below(part.len() as u64) as usize;
            part[at] ^= 0x55;
        }
        part
    }

    /// Bytes that do not compress.
    pub fn bytes_of_noise(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    /// Bytes that compress or do not, by chance.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        if self.below(2) == 0 {
            let word = self.next().to_le_bytes();
            (0..len).map(|at| word[at % 8] ^ (at / 512) as u8).collect()
        } else {
            (0..len).map(|_| self.next() as u8).collect()
        }
    }
}

/// A disk with the folders that the options name, each a file system of its own.
pub fn disk_for(seed: u64, options: &Options) -> SimDisk {
    let disk = SimDisk::new(seed);
    if !options.folders.is_empty() {
        disk.set_capacity(1 << 40);
    }
    for folder in &options.folders {
        disk.create_folder(folder).unwrap();
        disk.mount(folder, 1 << 40);
    }
    disk.sync_folder(Path::new("/")).unwrap();
    disk
}

pub fn owner(number: u8) -> OwnerId {
    OwnerId([number; 16])
}

/// What an owner holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    pub bytes: Vec<u8>,
    pub snapshot: Vec<u8>,
    pub deltas: Vec<Vec<u8>>,
    pub guarded: bool,
}

/// One owner in the model. `None`: it does not exist.
#[derive(Clone, Debug, Default)]
pub struct Owner {
    pub committed: Option<Content>,
    /// A second state that is right as well, because the call that makes it has not returned.
    pub in_flight: Option<Option<Content>>,
    /// Appended and cut, not committed.
    pub bytes: Vec<u8>,
    /// The guard as the next commit makes it.
    pub guard: Option<bool>,
}

#[derive(Clone, Debug)]
pub enum Op {
    Create(u8, Vec<u8>),
    Remove(u8),
    Append(u8, Vec<u8>, bool),
    Truncate(u8, u64),
    Commit(u8, Vec<u8>),
    /// Puts the guard on or takes it off with the next commit. While it is on, removals and cuts must be refused.
    Guard(u8, bool),
    Snapshot(u8, Vec<u8>),
    Read(u8, u64, u64),
    Close(u8),
    Reopen,
    /// Frees what nobody needs; rewrites packs of which so many percent are dead.
    Collect(u8),
    /// Empties a folder of the pool.
    Drain(&'static str),
}

/// A script that has something of everything.
pub fn script(seed: u64, owners: u64, ops: usize, longest: u64) -> Vec<Op> {
    let mut random = Random(seed);
    let mut script = Vec::new();
    for number in 0..owners {
        script.push(Op::Create(number as u8, random.bytes(20)));
    }
    while script.len() < ops {
        let who = random.below(owners) as u8;
        let op = match random.below(100) {
            0..38 => {
                let len = random.below(longest) as usize;
                let data = if random.below(3) == 0 { random.bytes(len) } else { random.familiar(len) };
                Op::Append(who, data, random.below(2) == 0)
            }
            38..62 => {
                let len = random.below(40) as usize;
                Op::Commit(who, random.bytes(len))
            }
            62..67 => {
                let len = random.below(300) as usize;
                Op::Snapshot(who, random.bytes(len))
            }
            67..75 => Op::Truncate(who, random.next()),
            75..87 => Op::Read(who, random.next(), random.next()),
            87..90 => Op::Close(who),
            90..93 => Op::Remove(who),
            93..96 => Op::Create(who, random.bytes(8)),
            96..98 => Op::Collect([1, 25, 100][random.below(3) as usize]),
            _ => Op::Reopen,
        };
        script.push(op);
    }
    script
}

/// The store and the model beside it.
pub struct Run {
    pub disk: SimDisk,
    pub options: Options,
    /// Hears of every write.
    pub recorder: Option<record::Recorder>,
    pub store: Option<Store>,
    streams: BTreeMap<u8, Stream>,
    pub model: BTreeMap<u8, Owner>,
}

impl Run {
    pub fn new(disk: SimDisk, options: Options) -> Self {
        Self { disk, options, recorder: None, store: None, streams: BTreeMap::new(), model: BTreeMap::new() }
    }

    pub fn open(&mut self) -> Result<(), StoreError> {
        let disk: Arc<dyn Disk> = match &self.recorder {
            Some(recorder) => Arc::new(recorder.over(self.disk.clone())),
            None => Arc::new(self.disk.clone()),
        };
        self.store = Some(Store::open(disk, Path::new(ROOT), self.options.clone())?);
        Ok(())
    }

    /// Runs a script up to the first error.
    pub fn run(&mut self, script: &[Op]) -> Result<(), StoreError> {
        self.open()?;
        script.iter().try_for_each(|op| self.step(op))
    }

    /// Everything closed, as at a stop of the process.
    pub fn close(&mut self) {
        for owner in self.model.values_mut() {
            owner.bytes = owner.committed.clone().unwrap_or_default().bytes;
            owner.guard = None;
        }
        self.streams.clear();
        self.store = None;
    }

    fn stream(&mut self, who: u8) -> Result<&mut Stream, StoreError> {
        if !self.streams.contains_key(&who) {
            let stream = self.store.as_ref().unwrap().open_stream(owner(who))?;
            self.streams.insert(who, stream);
        }
        Ok(self.streams.get_mut(&who).unwrap())
    }

    fn exists(&self, who: u8) -> bool {
        self.model.get(&who).is_some_and(|owner| owner.committed.is_some())
    }

    pub fn step(&mut self, op: &Op) -> Result<(), StoreError> {
        match op {
            Op::Create(who, snapshot) => self.create(*who, snapshot),
            Op::Reopen => {
                self.close();
                self.open()?;
                let unsure = self.model.iter().filter(|(_, model)| model.in_flight.is_some());
                let unsure: Vec<u8> = unsure.map(|(who, _)| *who).collect();
                unsure.into_iter().for_each(|who| self.pin(who, "opened anew"));
                Ok(())
            }
            Op::Collect(dead_percent) => {
                let rule = GcRule { dead_percent: *dead_percent, ..GcRule::default() };
                self.store.as_ref().unwrap().gc(rule).map(drop)
            }
            Op::Drain(folder) => self.store.as_ref().unwrap().drain(Path::new(folder)).map(drop),
            Op::Remove(who) if self.exists(*who) => self.remove(*who),
            Op::Append(who, data, compress) if self.exists(*who) => {
                let pieces = pieces(data);
                let result = self.stream(*who)?.append(&pieces, *compress);
                self.settle_append(*who, data, result)
            }
            Op::Truncate(who, random) if self.exists(*who) => {
                let len = self.stream(*who)?.len();
                let to = random % (len + 1);
                let result = self.stream(*who)?.truncate(to);
                let model = self.model.get_mut(who).unwrap();
                if model.committed.as_ref().is_some_and(|kept| kept.guarded && to < kept.bytes.len() as u64) {
                    return refused(result, *who);
                }
                match &result {
                    Ok(()) => model.bytes.truncate(to as usize),
                    Err(error) => fall_back(model, error),
                }
                result
            }
            Op::Guard(who, on) if self.exists(*who) => {
                self.stream(*who)?.guard(*on);
                self.model.get_mut(who).unwrap().guard = Some(*on);
                Ok(())
            }
            Op::Commit(who, delta) if self.exists(*who) => {
                let mut next = self.next_content(*who);
                next.deltas.push(delta.clone());
                self.commit(*who, next, |stream| stream.commit(delta))
            }
            Op::Snapshot(who, snapshot) if self.exists(*who) => {
                let mut next = self.next_content(*who);
                next.deltas.clear();
                next.snapshot.clone_from(snapshot);
                self.commit(*who, next, |stream| stream.commit_snapshot(snapshot))
            }
            Op::Read(who, from, len) if self.exists(*who) => self.read(*who, *from, *len),
            Op::Close(who) if self.exists(*who) => {
                self.streams.remove(who);
                let model = self.model.get_mut(who).unwrap();
                model.bytes = model.committed.clone().unwrap_or_default().bytes;
                model.guard = None;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn create(&mut self, who: u8, snapshot: &[u8]) -> Result<(), StoreError> {
        let store = self.store.as_ref().unwrap();
        let model = self.model.entry(who).or_default();
        if model.committed.is_some() {
            return match store.create(owner(who), snapshot) {
                Ok(()) => panic!("owner {who} was made twice"),
                Err(StoreError::Exists { .. }) => Ok(()),
                Err(error) => Err(error),
            };
        }
        let made = Content { snapshot: snapshot.to_vec(), ..Content::default() };
        let before = model.in_flight.replace(Some(made.clone()));
        let result = store.create(owner(who), snapshot);
        if matches!(result, Err(StoreError::ReadOnly { .. })) {
            model.in_flight = before;
        }
        result?;
        *model = Owner { committed: Some(made), ..Owner::default() };
        Ok(())
    }

    fn remove(&mut self, who: u8) -> Result<(), StoreError> {
        self.streams.remove(&who);
        let model = self.model.get_mut(&who).unwrap();
        model.bytes = model.committed.clone().unwrap_or_default().bytes;
        model.guard = None;
        if model.committed.as_ref().is_some_and(|kept| kept.guarded) {
            return refused(self.store.as_ref().unwrap().remove(owner(who)), who);
        }
        let before = model.in_flight.replace(None);
        let result = self.store.as_ref().unwrap().remove(owner(who));
        if matches!(result, Err(StoreError::ReadOnly { .. })) {
            model.in_flight = before;
        }
        result?;
        *model = Owner::default();
        Ok(())
    }

    fn settle_append(
        &mut self,
        who: u8,
        data: &[u8],
        result: Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let model = self.model.get_mut(&who).unwrap();
        match &result {
            Ok(()) => model.bytes.extend_from_slice(data),
            Err(error) => fall_back(model, error),
        }
        let expected = model.bytes.len() as u64;
        if !self.disk.has_crashed() {
            assert_eq!(self.streams[&who].len(), expected);
        }
        result
    }

    fn next_content(&self, who: u8) -> Content {
        let model = &self.model[&who];
        let committed = model.committed.clone().unwrap();
        let guarded = model.guard.unwrap_or(committed.guarded);
        Content { bytes: model.bytes.clone(), guarded, ..committed }
    }

    fn commit(
        &mut self,
        who: u8,
        next: Content,
        commit: impl FnOnce(&mut Stream) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.stream(who)?;
        let before = self.model.get_mut(&who).unwrap().in_flight.replace(Some(next.clone()));
        let result = commit(self.streams.get_mut(&who).unwrap());
        let healthy = self.store.as_ref().unwrap().health() == Health::Ok;
        let model = self.model.get_mut(&who).unwrap();
        match &result {
            Ok(()) => {
                model.committed = Some(next);
                model.in_flight = None;
                model.guard = None;
            }
            Err(error) => {
                fall_back(model, error);
                if matches!(error, StoreError::ReadOnly { .. }) {
                    model.in_flight = before;
                } else if healthy && !self.disk.has_crashed() {
                    // The store says that it knows what is on the disk: the commit did not happen.
                    model.in_flight = None;
                }
            }
        }
        result
    }

    /// After a call that failed on a living disk: in which of its right states an owner without a stream is.
    pub fn pin(&mut self, who: u8, what: &str) {
        if self.streams.contains_key(&who) || self.store.is_none() {
            return;
        }
        let store = self.store.clone().unwrap();
        let Some(model) = self.model.get_mut(&who) else { return };
        let found = observe(&store, who);
        assert!(
            found == model.committed || model.in_flight.as_ref() == Some(&found),
            "{what}: owner {who} holds {}, should hold {} or {:?}",
            brief(&found),
            brief(&model.committed),
            model.in_flight.as_ref().map(brief)
        );
        if store.health() == Health::Ok {
            model.bytes = found.clone().unwrap_or_default().bytes;
            model.committed = found;
            model.in_flight = None;
            model.guard = None;
        }
    }

    fn read(&mut self, who: u8, from: u64, len: u64) -> Result<(), StoreError> {
        let stream = self.stream(who)?;
        let from = from % (stream.len() + 1);
        let len = len % (stream.len() - from + 1);
        match stream.read(from, len) {
            Ok(pieces) => {
                let expected = &self.model[&who].bytes[from as usize..(from + len) as usize];
                assert_eq!(pieces.concat(), expected, "owner {who}, {len} bytes from {from}");
                Ok(())
            }
            Err(vtl_store::ReadError::Io(error)) => {
                fall_back(self.model.get_mut(&who).unwrap(), &error);
                Err(error)
            }
            // An injected fault of the disk shows as damage of the chunk that was being read.
            Err(vtl_store::ReadError::Damaged { .. })
                if self.disk.has_crashed() || self.disk.has_failed() =>
            {
                Ok(())
            }
            Err(error) => panic!("owner {who}, {len} bytes from {from}: {error}"),
        }
    }

    /// Every owner is in one of its right states; that one is the only one from now on.
    pub fn verify(&mut self, what: &str) {
        let store = self.store.clone().unwrap();
        for (who, model) in &mut self.model {
            let found = observe(&store, *who);
            let right = found == model.committed || model.in_flight.as_ref() == Some(&found);
            assert!(
                right,
                "{what}: owner {who} holds {}, should hold {} or {:?}",
                brief(&found),
                brief(&model.committed),
                model.in_flight.as_ref().map(brief)
            );
            model.bytes = found.clone().unwrap_or_default().bytes;
            model.committed = found;
            model.in_flight = None;
            model.guard = None;
        }
        let exist = self.model.values().filter(|model| model.committed.is_some()).count();
        assert_eq!(store.owners().len(), exist, "{what}");
        assert_eq!(store.check().findings, [], "{what}");
    }
}

/// What the guard must refuse.
fn refused(result: Result<(), StoreError>, who: u8) -> Result<(), StoreError> {
    match result {
        Ok(()) => panic!("owner {who} was cut or removed in spite of its guard"),
        Err(StoreError::Guarded { owner: named }) if named == owner(who) => Ok(()),
        Err(error) => Err(error),
    }
}

/// After a late write the stream is at its last commit; any other error has changed nothing.
fn fall_back(model: &mut Owner, error: &StoreError) {
    if matches!(error, StoreError::LateWrite { .. }) {
        model.bytes = model.committed.clone().unwrap_or_default().bytes;
        model.guard = None;
    }
}

/// Small and large pieces, so that both ways through the tail are taken.
fn pieces(data: &[u8]) -> Vec<Bytes> {
    let (small, large) = data.split_at(data.len() / 3);
    small.chunks(700).map(Bytes::copy_from_slice).chain([Bytes::copy_from_slice(large)]).collect()
}

/// The same options for an encrypted pool. Keys and nonces are the same in each run, and come from one row for all clones.
pub fn encrypted(options: &Options) -> Options {
    let row = Mutex::new(Random(options.start_random));
    let random = Randomness::from_fn(move |bytes| {
        let mut row = row.lock().unwrap();
        bytes.iter_mut().for_each(|byte| *byte = row.next() as u8);
        Ok(())
    });
    let encryption = Encryption { key: key_file(1), cost: PassphraseCost::default(), random };
    Options { encryption: Some(encryption), ..options.clone() }
}

/// A made-up key file.
pub fn key_file(number: u8) -> PoolKey {
    PoolKey::File(Secret::new(vec![number; 32]))
}

/// What the store says an owner holds.
pub fn observe(store: &Store, who: u8) -> Option<Content> {
    let head = match store.head(owner(who)) {
        Ok(head) => head,
        Err(StoreError::UnknownOwner { .. }) => return None,
        Err(error) => panic!("owner {who}: {error}"),
    };
    let mut stream = store.open_stream(owner(who)).unwrap();
    assert_eq!(stream.len(), head.length);
    let bytes = stream.read(0, head.length).unwrap_or_else(|error| panic!("owner {who}: {error}")).concat();
    Some(Content { bytes, snapshot: head.snapshot, deltas: head.deltas, guarded: stream.is_guarded() })
}

fn brief(content: &Option<Content>) -> String {
    match content {
        None => "nothing".to_string(),
        Some(content) => {
            let guard = if content.guarded { ", guarded" } else { "" };
            format!("{} bytes and {} deltas{guard}", content.bytes.len(), content.deltas.len())
        }
    }
}
