//! kill -9 while two drives write content that they partly share, overwrite, and a collection runs.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::scsi::{DRIVE, ONE_FILEMARK, REWIND};
use crate::support::{Initiator, Server, noise, rounds};

const LUNS: [u8; 2] = [DRIVE, DRIVE + 1];
const LARGEST: usize = 1 << 18;

/// A block by its hash, or a filemark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Block(u64),
    Mark,
}

impl Item {
    fn of(bytes: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        Self::Block(hasher.finish())
    }
}

/// What a tape must hold.
#[derive(Default)]
struct Tape {
    /// Acknowledged by a filemark.
    durable: Vec<Item>,
    /// Sent in the place of the durable items from the first number on, without an answer.
    pending: (usize, Vec<Item>),
}

impl Tape {
    /// All that was durable, or what was before the place of the last write and then a prefix of what was written.
    fn allows(&self, found: &[Item]) -> bool {
        let (from, pending) = (&self.pending.0, &self.pending.1);
        let kept = self.durable.get(..*from).unwrap_or(&self.durable);
        let written = found.strip_prefix(kept).is_some_and(|rest| pending.starts_with(rest));
        found == self.durable || written
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    /// Half of all blocks come again, on either drive.
    fn block(&mut self) -> Vec<u8> {
        let seed = if self.below(2) == 0 { self.below(24) } else { 1000 + self.below(1 << 40) };
        noise(seed, [512, 10_240, 65_536, LARGEST][seed as usize % 4])
    }
}

fn read_all(host: &mut Initiator, lun: u8) -> Vec<Item> {
    host.attentions(lun);
    host.run(lun, &REWIND, 0, &[]).good();
    let mut items = Vec::new();
    loop {
        // Any length is right.
        let outcome = host.run(lun, &[0x08, 0x02, 4, 0, 0, 0], LARGEST, &[]);
        match (outcome.status, outcome.code()) {
            (0, _) => items.push(Item::of(&outcome.good())),
            (_, (0x00, 0x00, 0x01)) => items.push(Item::Mark),
            (_, (0x08, 0x00, 0x05)) => return items,
            other => panic!("object {}: {other:02x?}", items.len()),
        }
    }
}

fn locate(host: &mut Initiator, lun: u8, object: usize) {
    let [a, b, c, d] = (object as u32).to_be_bytes();
    host.run(lun, &[0x2b, 0, 0, a, b, c, d, 0, 0, 0], 0, &[]).good();
}

/// Goes to where the next write begins: mostly the end, sometimes in the middle. Its number.
fn choose_place(host: &mut Initiator, lun: u8, tape: &Tape, random: &mut Random) -> usize {
    let end = tape.durable.len();
    let at = if random.below(4) == 0 { random.below(end as u64 + 1) as usize } else { end };
    if at < end {
        locate(host, lun, at);
    }
    at
}

/// Sends so many blocks; their tags and what they are.
fn send(host: &mut Initiator, lun: u8, blocks: u64, random: &mut Random) -> (Vec<u32>, Vec<Item>) {
    (0..blocks)
        .map(|_| {
            let block = random.block();
            (host.start_write(lun, &block), Item::of(&block))
        })
        .unzip()
}

fn write_durably(host: &mut Initiator, tapes: &mut [Tape; 2], random: &mut Random) {
    let mut waiting = Vec::new();
    for (lun, tape) in LUNS.into_iter().zip(tapes.iter_mut()) {
        let at = choose_place(host, lun, tape, random);
        let (mut tags, items) = send(host, lun, 6, random);
        tags.push(host.start(lun, &ONE_FILEMARK, 0, &[]));
        tape.durable.truncate(at);
        tape.durable.extend(items);
        tape.durable.push(Item::Mark);
        waiting.extend(tags);
    }
    for tag in waiting {
        host.wait(tag).good();
    }
}

#[test]
fn two_drives_that_share_content_keep_what_was_acknowledged_when_killed_while_a_collection_runs() {
    let mut server = Server::start(&["--set", "cartridge.size=8g", "--set", "store.gc=manual"]);
    let mut host = server.session(1);
    (0..2).for_each(|drive| host.load(drive + 1, drive));
    let mut tapes: [Tape; 2] = Default::default();
    let mut random = Random(1);
    for round in 0..rounds(6, 200) {
        for (lun, tape) in LUNS.into_iter().zip(&mut tapes) {
            let found = read_all(&mut host, lun);
            let (kept, new) = (tape.durable.len(), &tape.pending);
            assert!(
                tape.allows(&found),
                "round {round}, LUN {lun}: {} of {kept} objects, {new:?}",
                found.len()
            );
            *tape = Tape { pending: (found.len(), Vec::new()), durable: found };
        }
        for _ in 0..3 {
            write_durably(&mut host, &mut tapes, &mut random);
        }
        let collection =
            (round % 2 == 0).then(|| server.send("POST", "/store/gc", &json!({ "dead_percent": 1 })));
        write_durably(&mut host, &mut tapes, &mut random);
        for (lun, tape) in LUNS.into_iter().zip(&mut tapes) {
            let at = choose_place(&mut host, lun, tape, &mut random);
            let blocks = 3 + random.below(9);
            let (_, mut items) = send(&mut host, lun, blocks, &mut random);
            host.start(lun, &ONE_FILEMARK, 0, &[]);
            items.push(Item::Mark);
            tape.pending = (at, items);
        }
        std::thread::sleep(Duration::from_millis(random.below(40)));
        server.kill();
        drop(collection);
        server.start_again();
        host = server.session(1);
        if round % 5 == 4 {
            let check = server.api("POST", "/store/check", &Value::Null);
            assert_eq!(check["damage"], json!([]), "round {round}");
        }
    }
}
