//! What the fingerprint index costs at 9.3e9 chunks (1 PB of backups), measured on the real code with 1 of its 4096
//! partitions, and how fast it is when its filters are far larger than the processor's caches.
//!
//! `cargo run --release -p vtl-store --example index_scale -- FOLDER [MILLIONS]`
//!
//! Keys are uniform, so a partition of the large index is an index of its own with 1/4096 of the records. What does
//! not scale with records (memtables, buffers, caches) is left out of the partition's sum and named apart.
#![allow(clippy::expect_used, reason = "a benchmark that cannot go on has nothing to say")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use vtl_durable::RealDisk;
use vtl_store::index::{Index, IndexMode, IndexOptions, IndexStats};

/// 1 PB of backups: 5 to 1 by deduplication, 2 to 1 by compression, chunks of 21 KiB on average.
const CHUNKS: f64 = 9.3e9;
const PARTITIONS: f64 = 4096.0;
const PER_PACK: u64 = 3000;
const MIB: usize = 1 << 20;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().expect("a folder to work in"));
    let millions: u64 = arguments.next().map_or(30, |text| text.parse().expect("a number"));
    std::fs::create_dir(&folder).expect("a folder that is not there yet");
    let partition = (CHUNKS / PARTITIONS) as u64;
    for (name, memory) in [("filters", 48 * MIB), ("all in memory", 128 * MIB), ("samples", 4 * MIB)] {
        one_partition(&folder.join("partition"), name, partition, memory);
    }
    large(&folder.join("large"), millions * 1_000_000);
    std::fs::remove_dir_all(&folder).expect("removing the folder");
}

/// SplitMix64 (Steele, Lea, Flood 2014): a fingerprint's first 16 bytes, all that the index looks at.
fn fingerprint(n: u64) -> [u8; 32] {
    let mix = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let high = mix(n.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1));
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&high.to_be_bytes());
    bytes[8..16].copy_from_slice(&mix(high ^ n).to_be_bytes());
    bytes
}

fn open(folder: &Path, memory_bytes: usize, step_records: u64) -> Index {
    let options = IndexOptions { memory_bytes, step_records, ..IndexOptions::default() };
    Index::open(Arc::new(RealDisk::new()), folder, [1; 16], options).expect("opening the index")
}

/// Inserts chunks; nanoseconds of processor time for each, in the inserting thread and in the background.
fn fill(index: &Index, chunks: u64) -> (f64, f64) {
    let (mut inserting, mut merging) = (0.0, 0.0);
    for (pack, first) in (0..).zip((0..chunks).step_by(PER_PACK as usize)) {
        let last = (first + PER_PACK).min(chunks);
        let table: Vec<_> = (0..).zip(first..last).map(|(chunk, n)| (chunk, fingerprint(n))).collect();
        let start = cpu_ns();
        index.insert(pack, &table);
        index.pack_complete(pack);
        inserting += cpu_ns() - start;
        if pack % 64 == 63 {
            let start = cpu_ns();
            while index.compact_step().expect("merging") {}
            merging += cpu_ns() - start;
        }
    }
    let start = cpu_ns();
    index.flush().expect("flushing");
    while index.compact_step().expect("merging") {}
    merging += cpu_ns() - start;
    (inserting / chunks as f64, merging / chunks as f64)
}

/// Nanoseconds that this thread has run. Other load disturbs the wall clock.
fn cpu_ns() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("/proc");
    stat.split(' ').next().and_then(|field| field.parse().ok()).expect("nanoseconds")
}

fn rss_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").trim().parse::<f64>().expect("a number") * 1024.0
}

/// Nanoseconds of processor time for each lookup, the share that found something, pages read for each.
fn look(index: &Index, count: u64, key: impl Fn(u64) -> u64) -> (f64, f64, f64) {
    let keys: Vec<[u8; 32]> = (0..count).map(|n| fingerprint(key(n))).collect();
    let before = index.stats().pages_read;
    let start = cpu_ns();
    let found = keys.iter().filter(|key| index.lookup(key).is_some()).count();
    let spent = cpu_ns() - start;
    let pages = index.stats().pages_read - before;
    (spent / count as f64, found as f64 / count as f64, pages as f64 / count as f64)
}

fn scattered(chunks: u64) -> impl Fn(u64) -> u64 {
    move |n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % chunks
}

fn report(name: &str, (nanoseconds, found, pages): (f64, f64, f64)) {
    println!(
        "  {name:<12} {nanoseconds:>8.0} ns each, {:>9.0}/s, found {:.4}, pages read for each {pages:.4}",
        1e9 / nanoseconds,
        found
    );
}

fn mode(stats: &IndexStats) -> &'static str {
    match stats.mode {
        IndexMode::Memory => "everything in memory",
        IndexMode::Filters => "filters in memory",
        IndexMode::Samples => "samples in memory",
    }
}

fn one_partition(folder: &Path, name: &str, chunks: u64, memory: usize) {
    println!("{name}: one partition of 4096, {chunks} chunks, ceiling {} MiB", memory / MIB);
    let empty = open(folder, memory, 4_000_000).memory_bytes();
    let index = open(folder, memory, 4_000_000);
    let (insert, merging) = fill(&index, chunks);
    println!("  insert {insert:.0} ns each, background {merging:.0} ns each");
    // Everything is loaded by the first lookups.
    look(&index, 400_000, scattered(chunks));
    let stats = index.stats();
    let grown = (index.memory_bytes() - empty) as f64;
    println!("  {}, {} tables, deepest stack {}", mode(&stats), stats.tables, stats.runs);
    println!("  memory fixed {empty} bytes, peak {} of {memory}", stats.memory_peak);
    for (what, bytes) in
        [("in use", grown), ("filters", stats.filter_bytes as f64), ("samples", stats.sample_bytes as f64)]
    {
        let (bits, all) = (bytes * 8.0 / chunks as f64, bytes * PARTITIONS / 1e9);
        println!(
            "  memory of the partition, {what}: {bytes} bytes, {bits:.3} bits a chunk; x 4096 = {all:.2} GB"
        );
    }
    let disk = stats.disk_bytes as f64;
    println!(
        "  disk {disk} bytes, {:.2} bytes a chunk; x 4096 = {:.1} GB",
        disk / chunks as f64,
        disk * PARTITIONS / 1e9
    );
    println!("  written by merges: {:.1} times each record", stats.merged_records as f64 / chunks as f64);
    report("hits", look(&index, 400_000, scattered(chunks)));
    let misses = 4_000_000;
    let before = index.stats();
    let measured = look(&index, misses, |n| n + (1 << 40));
    report("misses", measured);
    let passed = (index.stats().read_misses - before.read_misses) as f64;
    println!(
        "  filters let through {:.3} % +- {:.3} %",
        passed * 100.0 / misses as f64,
        passed.sqrt() * 200.0 / misses as f64
    );
    drop(index);
    std::fs::remove_dir_all(folder).expect("removing the index");
}

/// Filters that no processor cache holds.
fn large(folder: &Path, chunks: u64) {
    println!("large: {chunks} chunks, ceiling 512 MiB, default steps");
    let rss = rss_bytes();
    let index = open(folder, 512 * MIB, IndexOptions::default().step_records);
    let (insert, merging) = fill(&index, chunks);
    println!("  insert {insert:.0} ns each, background {merging:.0} ns each");
    look(&index, 400_000, scattered(chunks));
    let stats = index.stats();
    println!("  {}, {} tables, deepest stack {}", mode(&stats), stats.tables, stats.runs);
    println!("  memory {} counted, {:.0} as the system sees it", index.memory_bytes(), rss_bytes() - rss);
    println!(
        "  disk {:.2} bytes a chunk, merged {:.1} times each",
        stats.disk_bytes as f64 / chunks as f64,
        stats.merged_records as f64 / chunks as f64
    );
    report("hits", look(&index, 400_000, scattered(chunks)));
    report("misses", look(&index, 4_000_000, |n| n + (1 << 40)));
    let start = Instant::now();
    drop(index);
    let index = open(folder, 512 * MIB, IndexOptions::default().step_records);
    println!("  stop and start {:.3} s, {} records", start.elapsed().as_secs_f64(), index.stats().entries);
    report("first misses", look(&index, 100_000, |n| n + (1 << 41)));
}
