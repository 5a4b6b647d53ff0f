//! The four data sets of the store's benchmark, made from fixed seeds: the same bytes on every machine, and nothing copied from it.
//!
//! | set | content |
//! |---|---|
//! | unique | a keystream: nothing repeats, nothing compresses |
//! | mixed | half: a tar of files; half: slices of it of 8 to 128 MiB, with one insert, delete or overwrite of 1 to 2,000 bytes in each 4 MiB |
//! | weekly | a tar, and four more of the same files after 1 to 3 % of them were edited, added or removed |
//! | tree | a tar of 200,000 small files |
//! | multiplexed64, multiplexed256 | weekly, but a quarter of the files each in four tars, whose blocks of 64 or 256 KiB follow each other in another order each week |
//!
//! Four files of ten are text, four binary records, two are packed already; zstd -1 halves them. Sizes are
//! log-normal, heavy-tailed as on real disks. One file in 25 is a copy of another.

mod content;
mod files;
mod random;
mod tar;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use files::{Sizes, Tree};
pub use random::Random;

const MIB: u64 = 1 << 20;
/// The sizes that the sets are named for go with this `--mib`.
const FULL_MIB: u64 = 1024;
const WEEKS: usize = 5;
/// Jobs that one tape gets at a time.
const JOBS: usize = 4;
/// 0.40 GB at full size.
const WEEKLY_BYTES: u64 = 400_000_000;
const TREE_FILES: u64 = 200_000;

/// Which data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Set {
    /// Incompressible, without a repeat.
    Unique,
    /// Compressible, half of it repeats with small changes.
    Mixed,
    /// Five fulls of files that change a little.
    Weekly,
    /// Many small files.
    Tree,
    /// Four jobs of a weekly full on one tape, 64 KiB of one after 64 KiB of another.
    Multiplexed64,
    /// The same with 256 KiB.
    Multiplexed256,
}

impl Set {
    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unique => "unique",
            Self::Mixed => "mixed",
            Self::Weekly => "weekly",
            Self::Tree => "tree",
            Self::Multiplexed64 => "multiplexed64",
            Self::Multiplexed256 => "multiplexed256",
        }
    }
}

/// Makes the set: a file for each backup in it, oldest first, synced so that no later writer waits for it.
pub fn write(set: Set, mib: u64, folder: &Path) -> io::Result<Vec<PathBuf>> {
    let bytes = mib * MIB;
    match set {
        Set::Unique => one(folder, |out| unique(bytes, out)),
        Set::Mixed => one(folder, |out| mixed(bytes, out)),
        Set::Weekly => weekly(mib, folder, |_, files, out| tar::write(files, out)),
        Set::Tree => one(folder, |out| tree(TREE_FILES * mib / FULL_MIB, out)),
        Set::Multiplexed64 => weekly(mib, folder, |week, files, out| multiplexed(64 << 10, week, files, out)),
        Set::Multiplexed256 => {
            weekly(mib, folder, |week, files, out| multiplexed(256 << 10, week, files, out))
        }
    }
}

fn one(folder: &Path, make: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<Vec<PathBuf>> {
    Ok(vec![backup(folder, 1, make)?])
}

fn backup(
    folder: &Path,
    number: usize,
    make: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<PathBuf> {
    let path = folder.join(format!("backup{number}"));
    let mut out = BufWriter::with_capacity(MIB as usize, File::create(&path)?);
    make(&mut out)?;
    out.into_inner()?.sync_all()?;
    Ok(path)
}

fn unique(bytes: u64, out: &mut impl Write) -> io::Result<()> {
    let mut keystream = blake3::Hasher::new_derive_key("vtl bench unique").finalize_xof();
    let mut piece = vec![0; MIB as usize];
    for _ in 0..bytes / MIB {
        keystream.fill(&mut piece);
        out.write_all(&piece)?;
    }
    Ok(())
}

fn mixed(bytes: u64, out: &mut impl Write) -> io::Result<()> {
    let mut tree = Tree::new(0x6d69_7865_6400);
    tree.grow(Sizes::SYSTEM, bytes / 2);
    let mut first = Vec::new();
    tar::write(&tree.files, &mut first)?;
    out.write_all(&first)?;
    replay(&first, bytes.saturating_sub(first.len() as u64), out)
}

/// `bytes` of slices of `first`, each 4 MiB of them with an edit.
fn replay(first: &[u8], bytes: u64, out: &mut impl Write) -> io::Result<()> {
    let mut random = Random::new(0x7265_706c_6179);
    let mut left = bytes;
    while left > 0 {
        let len = random.within(8 * MIB..=128 * MIB).min(first.len() as u64).min(left) as usize;
        let start = random.below((first.len() - len) as u64 + 1) as usize;
        for part in first[start..start + len].chunks(4 * MIB as usize) {
            let mut part = part.to_vec();
            files::edit(&mut part, 2000, &mut random);
            part.truncate(left.try_into().unwrap_or(usize::MAX));
            out.write_all(&part)?;
            left -= part.len() as u64;
        }
    }
    Ok(())
}

fn weekly(
    mib: u64,
    folder: &Path,
    full: impl Fn(usize, &[files::File], &mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<Vec<PathBuf>> {
    let mut tree = Tree::new(0x7765_656b_6c79);
    tree.grow(Sizes::SYSTEM, WEEKLY_BYTES * mib / FULL_MIB);
    (1..=WEEKS)
        .map(|week| {
            if week > 1 {
                tree.next_week(Sizes::SYSTEM);
            }
            backup(folder, week, |out| full(week, &tree.files, out))
        })
        .collect()
}

/// Each quarter of the files in a tar of its own, and of these a block at a time, whichever job is ready.
fn multiplexed(block: usize, week: usize, files: &[files::File], out: &mut impl Write) -> io::Result<()> {
    let quarters = files.chunks(files.len().div_ceil(JOBS).max(1));
    let jobs: Vec<Vec<u8>> = quarters
        .map(|files| {
            let mut job = Vec::new();
            tar::write(files, &mut job).map(|()| job)
        })
        .collect::<io::Result<_>>()?;
    let mut left: Vec<_> = jobs.iter().map(|job| job.chunks(block)).collect();
    let mut random = Random::new(week as u64);
    while !left.is_empty() {
        let job = random.below(left.len() as u64) as usize;
        match left[job].next() {
            Some(block) => out.write_all(block)?,
            None => drop(left.remove(job)),
        }
    }
    Ok(())
}

fn tree(files: u64, out: &mut impl Write) -> io::Result<()> {
    let mut tree = Tree::new(0x7472_6565);
    (0..files).for_each(|_| tree.add(Sizes::SMALL));
    tar::write(&tree.files, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use zstd::bulk::Compressor;

    fn made(set: Set, mib: u64) -> Vec<Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        let paths = write(set, mib, folder.path()).unwrap();
        paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
    }

    fn digest(backups: &[Vec<u8>]) -> String {
        let mut hasher = blake3::Hasher::new();
        for bytes in backups {
            hasher.update(bytes);
        }
        hasher.finalize().to_hex()[..16].to_string()
    }

    fn zstd_ratio(bytes: &[u8]) -> f64 {
        let mut compressor = Compressor::new(1).unwrap();
        let small: usize =
            bytes.chunks(128 << 10).map(|region| compressor.compress(region).unwrap().len()).sum();
        bytes.len() as f64 / small as f64
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_for_ever() {
        let digests = [(Set::Unique, 8), (Set::Mixed, 8), (Set::Weekly, 16), (Set::Tree, 8)]
            .map(|(set, mib)| digest(&made(set, mib)));
        assert_eq!(digests, ["86351eacf755db49", "4ddfd173b5afd986", "50277b0a0878e377", "f0a7530b1ecde4d7"]);
    }

    #[test]
    fn jobs_on_one_tape_bring_the_bytes_of_the_files_in_another_order_each_week() {
        let mut tree = Tree::new(1);
        tree.grow(Sizes::SYSTEM, 4 << 20);
        let week = |week| {
            let mut out = Vec::new();
            multiplexed(64 << 10, week, &tree.files, &mut out).unwrap();
            out
        };
        let records = |backup: &[u8]| {
            let mut records: Vec<_> = backup.chunks(512).map(<[u8]>::to_vec).collect();
            records.sort();
            records
        };
        let (first, second) = (week(1), week(2));
        assert_ne!(first, second);
        assert_eq!(records(&first), records(&second));
    }

    #[test]
    fn unique_does_not_compress_and_the_others_about_two_to_one() {
        let [unique, mixed, weekly, tree] =
            [Set::Unique, Set::Mixed, Set::Weekly, Set::Tree].map(|set| zstd_ratio(&made(set, 32)[0]));
        assert!((0.99..1.01).contains(&unique), "{unique}");
        for ratio in [mixed, weekly, tree] {
            assert!((1.7..2.4).contains(&ratio), "{mixed} {weekly} {tree}");
        }
    }

    #[test]
    fn sets_have_the_size_that_was_asked_for() {
        assert_eq!(made(Set::Unique, 4)[0].len(), 4 << 20);
        assert_eq!(made(Set::Mixed, 32)[0].len(), 32 << 20);
        let weekly = made(Set::Weekly, 64);
        assert_eq!(weekly.len(), 5);
        let full = 25_000_000.0;
        for week in &weekly {
            assert!((0.95..1.2).contains(&(week.len() as f64 / full)), "{}", week.len());
        }
    }

    #[test]
    fn the_second_half_of_mixed_repeats_the_first_with_shifts() {
        let mixed = &made(Set::Mixed, 16)[0];
        // The last file of the tar makes the first half a little longer.
        let (first, second) = mixed.split_at(mixed.len() * 9 / 16);
        // Wherever they moved: windows picked by their own first bytes.
        let picked = |bytes: &'_ [u8]| -> Vec<Vec<u8>> {
            bytes.windows(64).filter(|w| w[0] ^ w[1] == 0x5a).map(<[u8]>::to_vec).collect()
        };
        let known: HashSet<_> = picked(first).into_iter().collect();
        let windows = picked(second);
        let found = windows.iter().filter(|window| known.contains(*window)).count();
        assert!(found < windows.len() && found * 100 > windows.len() * 98, "{found} of {}", windows.len());
        // Fixed blocks find next to nothing.
        let blocks: HashSet<&[u8]> = first.chunks(65_536).collect();
        let repeated = second.chunks(65_536).filter(|block| blocks.contains(block)).count();
        assert!(repeated < 8, "{repeated}");
    }
}
