//! What stands between filemarks, for a picture of a tape: a list that is short however many filemarks there are.

use crate::map::Run;

/// Files of a tape in a row. A file is what stands before a filemark, and what follows the last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Number of the first one, from 0.
    pub number: u64,
    /// How many: one, unless there are too many to tell each.
    pub files: u64,
    /// Their blocks.
    pub blocks: u64,
    /// Bytes of these.
    pub bytes: u64,
}

/// The files of a tape with `filemarks` marks, in at most `most` rows of equally many files (the last may have fewer).
pub fn files(runs: impl Iterator<Item = Run>, filemarks: u64, most: usize) -> Vec<Files> {
    let each = filemarks / (most.max(1) as u64) + 1;
    let mut rows: Vec<Files> = (0..=filemarks / each)
        .map(|row| Files {
            number: row * each,
            files: each.min(filemarks - row * each + 1),
            ..Files::default()
        })
        .collect();
    let mut file = 0_u64;
    for run in runs {
        if run.length == 0 {
            file = file.saturating_add(run.count);
        } else if let Some(row) = usize::try_from(file / each).ok().and_then(|at| rows.get_mut(at)) {
            row.blocks = row.blocks.saturating_add(run.count);
            row.bytes = row.bytes.saturating_add(run.count.saturating_mul(run.length.into()));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tape(runs: &[(u32, u64)], filemarks: u64, most: usize) -> Vec<(u64, u64, u64, u64)> {
        let runs = runs.iter().map(|&(length, count)| Run { length, count });
        files(runs, filemarks, most)
            .iter()
            .map(|row| (row.number, row.files, row.blocks, row.bytes))
            .collect()
    }

    #[test]
    fn a_file_is_what_stands_before_a_filemark_and_behind_the_last_one() {
        // 2 blocks of 10, a mark, 3 of 20 and 1 of 5, two marks, 1 of 7.
        let runs = [(10, 2), (0, 1), (20, 3), (5, 1), (0, 2), (7, 1)];
        assert_eq!(tape(&runs, 3, 100), [(0, 1, 2, 20), (1, 1, 4, 65), (2, 1, 0, 0), (3, 1, 1, 7)]);
    }

    #[test]
    fn a_blank_tape_is_one_empty_file() {
        assert_eq!(tape(&[], 0, 100), [(0, 1, 0, 0)]);
    }

    #[test]
    fn files_that_are_too_many_are_told_in_rows_and_none_is_lost() {
        // Five files of one block each, in at most two rows.
        let runs = [(1, 1), (0, 1), (2, 1), (0, 1), (3, 1), (0, 1), (4, 1), (0, 1), (5, 1)];
        assert_eq!(tape(&runs, 4, 2), [(0, 3, 3, 6), (3, 2, 2, 9)]);
        assert_eq!(tape(&runs, 4, 1), [(0, 5, 5, 15)]);
    }

    #[test]
    fn as_many_filemarks_as_can_be_counted_take_no_longer_list() {
        let marks = i64::MAX as u64 - 1;
        let rows = tape(&[(9, 1), (0, marks), (8, 1)], marks, 500);
        assert!(rows.len() <= 500, "{}", rows.len());
        assert_eq!((rows[0].2, rows[0].3), (1, 9));
        let last = rows[rows.len() - 1];
        assert_eq!((last.0 + last.1, last.2, last.3), (marks + 1, 1, 8));
    }
}
