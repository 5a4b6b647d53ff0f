//! One order of steps for everything that stores backups: all of them, the last once more, and a restore of it.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use crate::meter::Cost;

/// Something that stores backups.
pub trait Engine {
    /// Stores a backup of the set, durably; it counts as a new one even when it was stored before.
    fn ingest(&mut self, backup: usize) -> io::Result<Cost>;
    /// Reads the backup as it was stored first and compares every byte.
    fn restore(&mut self, backup: usize) -> io::Result<Cost>;
    /// Bytes that hold content, by its own account if it has one.
    fn stored_bytes(&self) -> io::Result<u64>;
    /// All its files.
    fn files_bytes(&self) -> io::Result<u64>;
    /// The most memory it took.
    fn peak_mib(&self) -> u64;
}

/// One ingest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ingest {
    pub cost: Cost,
    /// After it, in all.
    pub stored_bytes: u64,
    pub files_bytes: u64,
}

/// All figures of one engine and set.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Each backup, and the last one again.
    pub ingests: Vec<Ingest>,
    /// Of the last backup.
    pub restore: Cost,
    pub peak_mib: u64,
}

/// All steps.
pub fn run(engine: &mut dyn Engine, backups: usize) -> io::Result<Outcome> {
    let last = backups.saturating_sub(1);
    let ingests = (0..backups).chain([last]).map(|backup| {
        let cost = engine.ingest(backup)?;
        Ok(Ingest { cost, stored_bytes: engine.stored_bytes()?, files_bytes: engine.files_bytes()? })
    });
    let ingests = ingests.collect::<io::Result<_>>()?;
    let restore = engine.restore(last)?;
    Ok(Outcome { ingests, restore, peak_mib: engine.peak_mib() })
}

/// Lengths of all files below a folder.
pub fn folder_bytes(folder: &Path) -> io::Result<u64> {
    fs::read_dir(folder)?
        .map(|entry| {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() { folder_bytes(&entry.path()) } else { Ok(entry.metadata()?.len()) }
        })
        .sum()
}

impl Outcome {
    /// A line for each ingest, one for the restore, one for the memory.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for Ingest { cost, stored_bytes, files_bytes } in &self.ingests {
            let Cost { bytes, wall_s, cpu_s } = cost;
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{bytes} {wall_s} {cpu_s} {stored_bytes} {files_bytes}");
        }
        let Cost { bytes, wall_s, cpu_s } = self.restore;
        let _ = writeln!(text, "{bytes} {wall_s} {cpu_s}\n{}", self.peak_mib);
        text
    }

    /// From its text.
    pub fn parse(text: &str) -> Option<Self> {
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
        let [ingests @ .., restore, peak] = &lines[..] else { return None };
        let cost = |words: &[&str]| {
            let [bytes, wall_s, cpu_s, ..] = words else { return None };
            Some(Cost {
                bytes: bytes.parse().ok()?,
                wall_s: wall_s.parse().ok()?,
                cpu_s: cpu_s.parse().ok()?,
            })
        };
        let ingest = |words: &Vec<&str>| {
            let [_, _, _, stored, files] = &words[..] else { return None };
            let (stored_bytes, files_bytes) = (stored.parse().ok()?, files.parse().ok()?);
            Some(Ingest { cost: cost(words)?, stored_bytes, files_bytes })
        };
        Some(Self {
            ingests: ingests.iter().map(ingest).collect::<Option<_>>()?,
            restore: cost(restore)?,
            peak_mib: peak.first()?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_survives_its_text() {
        let cost = |bytes| Cost { bytes, wall_s: 0.25, cpu_s: 1.0 / 3.0 };
        let ingest = |bytes| Ingest { cost: cost(bytes), stored_bytes: 2 * bytes, files_bytes: 3 * bytes };
        let outcome = Outcome { ingests: vec![ingest(10), ingest(11)], restore: cost(12), peak_mib: 7 };
        assert_eq!(Outcome::parse(&outcome.text()), Some(outcome));
        assert_eq!(Outcome::parse("10 0.25\n12 1 1\n7"), None);
        assert_eq!(Outcome::parse(""), None);
    }
}
