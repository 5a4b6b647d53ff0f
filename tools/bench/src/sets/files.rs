//! Files in a seeded order, and what happens to them within a week.

use super::content::Contents;
use super::random::Random;
use super::tar;

/// 2023-11-14; a later week's files are younger.
const FIRST_MTIME: u64 = 1_700_000_000;
const WEEK_SECONDS: u64 = 7 * 86_400;
/// One file in so many is a copy of another.
const COPY_EVERY: u64 = 25;
/// An edit of a file that a person or a program keeps.
const EDIT_BYTES: u64 = 300;

/// A plain file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub path: String,
    pub mtime: u64,
    pub body: Vec<u8>,
}

/// How long files are.
#[derive(Clone, Copy)]
pub struct Sizes {
    median: f64,
    sigma: f64,
    max: u64,
}

impl Sizes {
    /// As installed on a server: mean about 40 KB.
    pub const SYSTEM: Self = Self { median: 6000.0, sigma: 1.95, max: 16 << 20 };
    /// A home folder of small ones: mean 7 KB.
    pub const SMALL: Self = Self { median: 3000.0, sigma: 1.302, max: 16 << 20 };
}

/// The files of one machine.
pub struct Tree {
    pub files: Vec<File>,
    contents: Contents,
    random: Random,
    mtime: u64,
    made: u64,
}

impl Tree {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let contents = Contents::new(&mut random);
        Self { files: Vec::new(), contents, random, mtime: FIRST_MTIME, made: 0 }
    }

    /// Adds files until their archive has so many bytes. None is longer than a sixteenth of it: one file shall not make the set.
    pub fn grow(&mut self, sizes: Sizes, archive_bytes: u64) {
        let sizes = Sizes { max: sizes.max.min(archive_bytes / 16), ..sizes };
        let mut room = 0;
        while room < archive_bytes {
            self.add(sizes);
            room += self.files.last().map_or(0, |file| tar::room(file.body.len()));
        }
    }

    /// Adds a file at the end.
    pub fn add(&mut self, sizes: Sizes) {
        let file = self.make(sizes);
        self.files.push(file);
    }

    /// Touches 1 to 3 % of the files: eight of ten are edited, one is removed, one is new.
    pub fn next_week(&mut self, sizes: Sizes) {
        self.mtime += WEEK_SECONDS;
        let count = self.files.len() as u64;
        let touched = self.random.within(count / 100..=count * 3 / 100).max(1);
        for _ in 0..touched {
            let at = self.random.below(self.files.len() as u64) as usize;
            match self.random.below(10) {
                0 if self.files.len() > 1 => drop(self.files.remove(at)),
                1 => {
                    let file = self.make(sizes);
                    self.files.insert(at, file);
                }
                _ => self.edit_file(at),
            }
        }
    }

    fn edit_file(&mut self, at: usize) {
        let file = &mut self.files[at];
        file.mtime = self.mtime;
        for _ in 0..self.random.within(1..=4) {
            edit(&mut file.body, EDIT_BYTES, &mut self.random);
        }
    }

    fn make(&mut self, sizes: Sizes) -> File {
        self.made += 1;
        let name = self.contents.name(&mut self.random);
        let [a, b] = [64, 16].map(|n| self.random.below(n));
        let path = format!("srv/data{a:02}/{b:x}/{name}-{:06}", self.made);
        let known = self.files.len() as u64;
        let body = if known > 0 && self.random.below(COPY_EVERY) == 0 {
            self.files[self.random.below(known) as usize].body.clone()
        } else {
            let len = self.random.log_normal(sizes.median, sizes.sigma).min(sizes.max);
            self.contents.body(len as usize, &mut self.random)
        };
        File { path, mtime: self.mtime - self.random.below(WEEK_SECONDS), body }
    }
}

/// Inserts, deletes or overwrites 1 to `most` bytes somewhere.
pub fn edit(bytes: &mut Vec<u8>, most: u64, random: &mut Random) {
    let len = random.within(1..=most) as usize;
    let at = random.below(bytes.len() as u64 + 1) as usize;
    let end = (at + len).min(bytes.len());
    let mut fresh = vec![0; len];
    random.fill(&mut fresh);
    match random.below(3) {
        0 => drop(bytes.splice(at..at, fresh)),
        1 => drop(bytes.drain(at..end)),
        _ => drop(bytes.splice(at..end, fresh)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn a_week_touches_one_to_three_per_cent_of_the_files_by_a_few_bytes() {
        let mut tree = Tree::new(3);
        (0..4000).for_each(|_| tree.add(Sizes::SMALL));
        for _ in 0..4 {
            let old: HashMap<_, _> =
                tree.files.iter().map(|file| (file.path.clone(), file.clone())).collect();
            tree.next_week(Sizes::SMALL);
            let (mut added, mut edited) = (0, 0);
            for file in &tree.files {
                match old.get(&file.path) {
                    None => added += 1,
                    Some(before) if before != file => {
                        edited += 1;
                        // 1 to 4 edits of up to 300 bytes; the same file may have been met twice.
                        assert!(before.body.len().abs_diff(file.body.len()) <= 2 * 4 * 300);
                        assert!(file.mtime > before.mtime);
                    }
                    Some(_) => {}
                }
            }
            let removed = old.len() + added - tree.files.len();
            // A file that was touched twice counts once.
            assert!((35..=120).contains(&(added + edited + removed)), "{added} {edited} {removed}");
            assert!(added > 0 && removed > 0 && edited > added + removed);
        }
    }

    #[test]
    fn small_files_have_a_median_of_3_and_a_mean_of_7_kb() {
        let mut tree = Tree::new(4);
        (0..10_000).for_each(|_| tree.add(Sizes::SMALL));
        let mut sizes: Vec<usize> = tree.files.iter().map(|file| file.body.len()).collect();
        sizes.sort_unstable();
        let mean = sizes.iter().sum::<usize>() / sizes.len();
        assert!((2800..3200).contains(&sizes[5000]), "{}", sizes[5000]);
        assert!((6300..7500).contains(&mean), "{mean}");
        assert!(tree.files.iter().all(|file| file.path.len() < 100));
    }

    #[test]
    fn an_edit_changes_no_more_than_it_may() {
        let mut random = Random::new(9);
        for _ in 0..200 {
            let before = vec![7; 5000];
            let mut after = before.clone();
            edit(&mut after, 2000, &mut random);
            assert!(before.len().abs_diff(after.len()) <= 2000);
            assert!(after.iter().filter(|byte| **byte != 7).count() <= 2000);
        }
        let mut empty = Vec::new();
        edit(&mut empty, 10, &mut random);
        assert!(empty.len() <= 10);
    }
}
