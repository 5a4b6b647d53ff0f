//! What an index and a start cost in a store far larger than any disk here.
//!
//! Keys of the index are hashes, cut into 4096 partitions by their first bits, so that each partition looks like any other: one is filled to the
//! density that it has in the large store, by the index's own code and as often flushed as there, and what it took is multiplied. A start is
//! measured with packs of one chunk each: what it does for a pack does not depend on the pack's length.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use vtl_durable::RealDisk;
use vtl_store::index::{Index, IndexOptions};
use vtl_store::{Options, OwnerId, Store};

use crate::meter::resident_kib;
use crate::sets::Random;

/// Partitions of the index (`docs/formats/index.md`).
const PARTITIONS: u64 = 4096;
/// What the store makes of its average of 16 KiB (`docs/formats/chunking.md`), measured on the data sets of `store`.
const CHUNK_BYTES: f64 = 20_000.0;
/// Raw bytes for each stored one.
const COMPRESSION: f64 = 2.0;
/// Chunks of a full memtable (256 MiB).
const MEMTABLE_CHUNKS: u64 = 5_600_000;
const PACK_BYTES: f64 = (32 << 20) as f64;
const LOOKUPS: u64 = 100_000;
/// The first 12 bits of every key of the partition.
const PREFIX: [u8; 2] = [0xab, 0xc0];

/// Fills one partition of the index to the density of a large store, and starts a store of many packs.
#[derive(clap::Args)]
pub struct Args {
    /// Where index and store are made and removed.
    #[arg(long, default_value = "/var/tmp")]
    folder: PathBuf,
    /// Stored bytes of the large store, in TB.
    #[arg(long, default_value_t = 100)]
    tb: u32,
    /// The index's share of the memory of the large store, in GiB.
    #[arg(long, default_value_t = 16)]
    memory_gib: usize,
    /// Packs of the store that is started.
    #[arg(long, default_value_t = 20_000)]
    packs: u32,
}

pub fn run(args: &Args) -> io::Result<()> {
    let scratch = tempfile::tempdir_in(&args.folder)?;
    let stored = f64::from(args.tb) * 1e12;
    let chunks = (stored * COMPRESSION / CHUNK_BYTES) as u64;
    println!("## {} TB stored: {:.1} thousand million chunks", args.tb, chunks as f64 / 1e9);
    partition(args, &scratch.path().join("index"), chunks)?;
    start(args, &scratch.path().join("pool"), stored / PACK_BYTES)
}

/// The key of chunk `number`: the same each time, and in the partition.
fn key(number: u64) -> [u8; 32] {
    let mut random = Random::new(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed);
    let mut bytes = [0; 32];
    for part in bytes.chunks_exact_mut(8) {
        part.copy_from_slice(&random.next().to_be_bytes());
    }
    bytes[0] = PREFIX[0];
    bytes[1] = PREFIX[1] | (bytes[1] & 0x0f);
    bytes
}

fn open(folder: &Path, memory_bytes: usize) -> io::Result<Index> {
    let options = IndexOptions { memory_bytes, ..IndexOptions::default() };
    Index::open(Arc::new(RealDisk::new()), folder, [7; 16], options).map_err(io::Error::other)
}

fn partition(args: &Args, folder: &Path, chunks: u64) -> io::Result<()> {
    let (count, at_once) = (chunks / PARTITIONS, MEMTABLE_CHUNKS / PARTITIONS);
    // Enough for the filters of all tables and not for the pages: the mode of the large store.
    let index = open(folder, 24 << 20)?;
    for number in 0..count {
        // Chunks of a pack are spread over all partitions: here a pack has one.
        index.insert(number, &[(0, key(number))]);
        index.pack_complete(number);
        if number % at_once == at_once - 1 {
            index.flush().map_err(io::Error::other)?;
            while index.compact_step().map_err(io::Error::other)? {}
        }
    }
    index.flush().map_err(io::Error::other)?;
    while index.compact_step().map_err(io::Error::other)? {}
    let per_chunk = |bytes: u64| bytes as f64 / count as f64;
    let whole = |bytes: u64| bytes as f64 * PARTITIONS as f64 / f64::from(1 << 30);
    let stats = index.stats();
    println!(
        "| one partition of {PARTITIONS} | measured | for each chunk | times {PARTITIONS} |\n|---|---|---|---|"
    );
    println!("| chunks | {count} | | {:.2e} |", count as f64 * PARTITIONS as f64);
    let row = |name: &str, bytes: u64| {
        println!(
            "| {name} | {:.2} MB | {:.3} bytes | {:.2} GiB |",
            bytes as f64 / 1e6,
            per_chunk(bytes),
            whole(bytes)
        );
    };
    row("memory of filters", stats.filter_bytes as u64);
    row("memory of samples", stats.sample_bytes as u64);
    row("files", stats.disk_bytes);
    println!("| tables, asked at most | {}, {} | | |", stats.tables, stats.runs);
    println!("| written by merges | | {:.1} times | |\n", stats.merged_records as f64 / count as f64);
    // How full a partition is differs from the mean by its square root.
    println!(
        "Error: partitions differ by {:.2} % (standard deviation), their sum by less than 0.01 %.\n",
        100.0 / (count as f64).sqrt()
    );
    lookups(&index, count);
    let [filters, samples, pages] =
        [stats.filter_bytes as u64, stats.sample_bytes as u64, stats.disk_bytes].map(per_chunk);
    ceilings(args, folder, [filters + pages, filters, samples])?;
    let begin = Instant::now();
    drop(index);
    let again = open(folder, 24 << 20)?;
    println!(
        "Opened in {:.1} ms with {} tables.\n",
        begin.elapsed().as_secs_f64() * 1e3,
        again.stats().tables
    );
    Ok(())
}

/// How much may be stored under several ceilings until something is not in memory: everything, filters, samples.
fn ceilings(args: &Args, folder: &Path, bytes_per_chunk: [f64; 3]) -> io::Result<()> {
    println!(
        "| the index's ceiling | does not grow | TB with all in memory | with filters | with samples |\n|---|---|---|---|---|"
    );
    for mib in [384, 3 << 10, args.memory_gib << 10] {
        let ceiling = (mib << 20) as f64;
        // Memtables, cache, readers and writers.
        let fixed = open(&folder.with_file_name(format!("fixed-{mib}")), mib << 20)?.memory_bytes() as f64;
        // A sixteenth is for lists of tables and what is read at the moment.
        let room = ceiling / 16.0 * 15.0 - fixed;
        let tb = bytes_per_chunk.map(|bytes| room / bytes * CHUNK_BYTES / COMPRESSION / 1e12);
        println!(
            "| {mib} MiB | {:.0} MiB | {:.1} | {:.0} | {:.0} |",
            fixed / f64::from(1 << 20),
            tb[0],
            tb[1],
            tb[2]
        );
    }
    println!();
    Ok(())
}

fn lookups(index: &Index, count: u64) {
    println!(
        "| {LOOKUPS} lookups, mode {:?} | found | pages read for each | microseconds |\n|---|---|---|---|",
        index.stats().mode
    );
    let mut random = Random::new(1);
    let known: Vec<[u8; 32]> = (0..LOOKUPS).map(|_| key(random.next() % count)).collect();
    let unknown: Vec<[u8; 32]> = (0..LOOKUPS).map(|number| key(count + number)).collect();
    for (name, keys) in [("of chunks that are there", known), ("of others", unknown)] {
        let (before, begin) = (index.stats().pages_read, Instant::now());
        let found = keys.iter().filter(|key| index.lookup(key).is_some()).count();
        let (reads, time) = (index.stats().pages_read - before, begin.elapsed());
        let each = |sum: f64| sum / LOOKUPS as f64;
        println!("| {name} | {found} | {:.4} | {:.2} |", each(reads as f64), each(time.as_secs_f64() * 1e6));
    }
    println!();
}

fn start(args: &Args, root: &Path, large: f64) -> io::Result<()> {
    let few = Started::with(root, args.packs / 4)?;
    let many = Started::with(root, args.packs)?;
    let more = many.packs - few.packs;
    println!(
        "| start | {:.0} packs | {:.0} packs | each pack more | {large:.1e} packs |\n|---|---|---|---|---|",
        few.packs, many.packs
    );
    let row = |name: &str, get: fn(&Started) -> f64, unit: f64, of: &str| {
        let (few, many) = (get(&few), get(&many));
        let each = (many - few) / more;
        println!(
            "| {name} | {few:.2} | {many:.2} | {:.0} {of} | {:.1} |",
            each * unit,
            many + each * (large - more)
        );
    };
    row("seconds, files in the page cache", |s| s.warm_s, 1e6, "us");
    row("seconds, from the disk", |s| s.cold_s, 1e6, "us");
    row("memory, MB", |s| s.memory_mb, 1e6, "bytes");
    println!();
    Ok(())
}

/// What starts of a store with so many packs took.
struct Started {
    packs: f64,
    warm_s: f64,
    cold_s: f64,
    memory_mb: f64,
}

impl Started {
    /// Fills the store until it has so many packs, and starts it.
    fn with(root: &Path, packs: u32) -> io::Result<Self> {
        let store = open_store(root)?;
        let owner = OwnerId([packs.to_be_bytes()[3] | 1; 16]);
        store.create(owner, b"").map_err(io::Error::other)?;
        let mut stream = store.open_stream(owner).map_err(io::Error::other)?;
        let mut random = Random::new(packs.into());
        while store.stats().packs < u64::from(packs) {
            let mut bytes = vec![0; 1 << 20];
            random.fill(&mut bytes);
            stream.append(&[Bytes::from(bytes)], false).map_err(io::Error::other)?;
            stream.commit(b"").map_err(io::Error::other)?;
        }
        drop(stream);
        let packs = store.stats().packs as f64;
        drop(store);
        // The first start after the ingest tells the index of all packs.
        drop(open_store(root)?);
        let (warm_s, memory_mb) = timed_start(root)?;
        forget_pages()?;
        let (cold_s, _) = timed_start(root)?;
        Ok(Self { packs, warm_s, cold_s, memory_mb })
    }
}

/// Starts the store of [`timed_start`], in a process of its own.
#[derive(clap::Args)]
pub struct StartOnly {
    root: PathBuf,
}

pub fn start_only(args: &StartOnly) -> io::Result<()> {
    let (before, begin) = (resident_kib(), Instant::now());
    let store = open_store(&args.root)?;
    let time = begin.elapsed().as_secs_f64();
    let memory = resident_kib().saturating_sub(before) as f64 * 1024.0 / 1e6;
    println!("{time} {memory}");
    drop(store);
    Ok(())
}

/// Seconds, and MB of memory, in a process that has held nothing before.
fn timed_start(root: &Path) -> io::Result<(f64, f64)> {
    let output = Command::new(std::env::current_exe()?).arg("scale-start").arg(root).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text.split_whitespace().map_while(|word| word.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(time), Some(memory)) if output.status.success() => Ok((time, memory)),
        _ => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned())),
    }
}

fn open_store(root: &Path) -> io::Result<Store> {
    let options = Options { pack_bytes: 1, ..Options::default() };
    Store::open(Arc::new(RealDisk::new()), root, options).map_err(io::Error::other)
}

/// Makes the system forget what it has of files (root only).
fn forget_pages() -> io::Result<()> {
    rustix::fs::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "3")
}
