//! What the store costs: MB/s and CPU seconds for each GiB, beside the floor that hashing and one write set.
//!
//! `cargo run --release -p vtl-store --example throughput -- FOLDER [MIB] [STREAMS]`
//!
//! The folder is made and removed. Other load disturbs the wall clock; CPU seconds are what to compare.
#![allow(clippy::expect_used, reason = "a benchmark that cannot go on has nothing to say")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use vtl_durable::RealDisk;
use vtl_store::{Options, OwnerId, Store};

const MIB: u64 = 1 << 20;
/// A tape block, and what one `append` gets.
const BLOCK: usize = 256 << 10;
/// The cartridge commits about so often while it writes.
const COMMIT_BYTES: u64 = 32 * MIB;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().expect("a folder to work in"));
    let mut number = |default: u64| arguments.next().map_or(default, |text| text.parse().expect("a number"));
    let (mib, streams) = (number(1024), number(1));
    std::fs::create_dir(&folder).expect("a folder that is not there yet");
    println!("{mib} MiB in each of {streams} stream(s), blocks of 256 KiB, a commit each 32 MiB");
    floor(&folder, mib);
    for (name, data) in [("noise", noise()), ("text", text())] {
        for compress in [false, true] {
            measure(&folder, name, &data, compress, mib, streams);
        }
    }
    small_commits(&folder);
    std::fs::remove_dir_all(&folder).expect("removing the folder");
}

/// User and system time of this process so far, from `/proc/self/stat` (proc(5): fields 14 and 15, in ticks of 10 ms).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc");
    let after_name = stat.rsplit_once(") ").expect("a name").1;
    let ticks = after_name.split(' ').skip(11).take(2).map(|field| field.parse::<f64>().expect("ticks"));
    ticks.sum::<f64>() / 100.0
}

struct Meter {
    name: String,
    start: Instant,
    cpu: f64,
}

impl Meter {
    fn start(name: String) -> Self {
        Self { name, start: Instant::now(), cpu: cpu_seconds() }
    }

    fn stop(self, bytes: u64) {
        let (wall, cpu) = (self.start.elapsed().as_secs_f64(), cpu_seconds() - self.cpu);
        let (mb, gib) = (bytes as f64 / 1e6, bytes as f64 / (1024 * MIB) as f64);
        println!("{:32} {:8.0} MB/s   {:6.3} CPU s/GiB", self.name, mb / wall, cpu / gib);
    }
}

/// What no store can beat: BLAKE3 over the bytes, and writing and syncing them in pieces of 1 MiB.
fn floor(folder: &Path, mib: u64) {
    let block = vec![0x5a; MIB as usize];
    let meter = Meter::start("floor: BLAKE3, 256 KiB".to_string());
    let mut sum = 0_u8;
    for _ in 0..mib {
        block.chunks(BLOCK).for_each(|chunk| sum ^= blake3::hash(chunk).as_bytes()[0]);
    }
    std::hint::black_box(sum);
    meter.stop(mib * MIB);
    let path = folder.join("floor");
    let meter = Meter::start("floor: write, sync each 32 MiB".to_string());
    let mut file = std::fs::File::create(&path).expect("a file");
    for at in 0..mib {
        file.write_all(&block).expect("a write");
        if at % 32 == 31 {
            file.sync_data().expect("a sync");
        }
    }
    meter.stop(mib * MIB);
    std::fs::remove_file(&path).expect("removing");
}

fn noise() -> Bytes {
    let mut bytes = vec![0; 64 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    Bytes::from(bytes)
}

/// Words in a pseudo-random order: about 3 to 1 with zstd.
fn text() -> Bytes {
    const WORDS: [&str; 16] = [
        "cartridge",
        "drive",
        "changer",
        "slot",
        "mark",
        "block",
        "the",
        "of",
        "and",
        "backup",
        "restore",
        "full",
        "\n",
        "1024",
        "0x5a",
        "library",
    ];
    let mut state = 1_u64;
    let mut bytes = Vec::with_capacity(65 << 20);
    while bytes.len() < 64 << 20 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        bytes.extend_from_slice(WORDS[(state >> 60) as usize].as_bytes());
        bytes.push(b'a' + (state >> 40) as u8 % 26);
    }
    bytes.truncate(64 << 20);
    Bytes::from(bytes)
}

fn measure(folder: &Path, name: &str, data: &Bytes, compress: bool, mib: u64, streams: u64) {
    let root = folder.join("pool");
    let store = Store::open(Arc::new(RealDisk::new()), &root, Options::default()).expect("a store");
    let label = |what: &str| format!("{what} {name}{}", if compress { ", compressed" } else { "" });
    let total = mib * MIB * streams;
    let meter = Meter::start(label("append+commit"));
    std::thread::scope(|scope| {
        for number in 0..streams {
            let store = &store;
            scope.spawn(move || fill(store, number, data, compress, mib * MIB));
        }
    });
    meter.stop(total);
    let meter = Meter::start(label("read"));
    std::thread::scope(|scope| {
        for number in 0..streams {
            let store = &store;
            scope.spawn(move || drain(store, number, data, mib * MIB));
        }
    });
    meter.stop(total);
    println!("{:32} {:8.3} of the raw bytes stored", "", store.stats().stored_bytes as f64 / total as f64);
    drop(store);
    std::fs::remove_dir_all(&root).expect("removing the pool");
}

fn owner(number: u64) -> OwnerId {
    OwnerId(u128::from(number).to_be_bytes())
}

fn fill(store: &Store, number: u64, data: &Bytes, compress: bool, len: u64) {
    store.create(owner(number), b"").expect("an owner");
    let mut stream = store.open_stream(owner(number)).expect("a stream");
    while stream.len() < len {
        let at = stream.len() as usize % data.len();
        let block = data.slice(at..at + BLOCK);
        stream.append(&[block], compress).expect("an append");
        if stream.len().is_multiple_of(COMMIT_BYTES) {
            stream.commit(b"delta").expect("a commit");
        }
    }
    stream.commit_snapshot(b"snapshot").expect("a commit");
}

fn drain(store: &Store, number: u64, data: &Bytes, len: u64) {
    let mut stream = store.open_stream(owner(number)).expect("a stream");
    let mut at = 0;
    while at < len {
        let pieces = stream.read(at, BLOCK as u64).expect("a read");
        let first = pieces.first().expect("a piece");
        assert_eq!(first.first(), data.get(at as usize % data.len()));
        at += BLOCK as u64;
    }
}

/// A filemark after each small file.
fn small_commits(folder: &Path) {
    const COUNT: u64 = 500;
    let root = folder.join("pool");
    let store = Store::open(Arc::new(RealDisk::new()), &root, Options::default()).expect("a store");
    store.create(owner(1), b"").expect("an owner");
    let mut stream = store.open_stream(owner(1)).expect("a stream");
    let block = Bytes::from(vec![0x5a; 10 << 10]);
    let mut times: Vec<_> = (0..COUNT)
        .map(|_| {
            let start = Instant::now();
            stream.append(std::slice::from_ref(&block), false).expect("an append");
            stream.commit(b"a mark").expect("a commit");
            start.elapsed()
        })
        .collect();
    times.sort();
    let at = |share: usize| times[times.len() * share / 100].as_secs_f64() * 1e3;
    println!("commit of 10 KiB: median {:.2} ms, 99th percentile {:.2} ms", at(50), at(99));
    drop((stream, store));
    std::fs::remove_dir_all(&root).expect("removing the pool");
}
