//! Bytes that come with what they were compressed to, so that who wants them compressed again need not do it.

use bytes::Bytes;

/// A whole that was compressed.
#[derive(Clone, Debug)]
pub struct Compressed {
    raw_len: usize,
    zstd: Bytes,
}

impl Compressed {
    /// `zstd`: Zstandard frames that give `raw_len` bytes.
    pub fn new(raw_len: usize, zstd: Bytes) -> Self {
        Self { raw_len, zstd }
    }

    /// Bytes that it gives.
    pub fn raw_len(&self) -> usize {
        self.raw_len
    }

    /// The Zstandard frames.
    pub fn zstd(&self) -> &Bytes {
        &self.zstd
    }

    /// Whether it is this very one.
    fn is(&self, other: &Self) -> bool {
        std::ptr::eq(self.zstd.as_ptr(), other.zstd.as_ptr()) && self.raw_len == other.raw_len
    }
}

/// Bytes, and what they are a part of.
#[derive(Clone, Debug)]
pub struct Portion {
    /// The bytes.
    pub bytes: Bytes,
    /// What they are a part of, and where in it they begin; none when nobody knows.
    pub of: Option<(Compressed, usize)>,
}

/// How many bytes of one source follow each other.
#[derive(Clone, Debug)]
pub struct Run {
    /// What they are a part of, and where in it they begin.
    of: Option<(Compressed, usize)>,
    /// How many.
    pub len: usize,
}

impl Run {
    /// `len` bytes from the `skip`th of a portion.
    pub fn new(portion: &Portion, skip: usize, len: usize) -> Self {
        Self { of: portion.of.as_ref().map(|(whole, at)| (whole.clone(), at + skip)), len }
    }

    /// Takes in the run behind it when both are of one source and nothing is missing between them; else gives it back.
    pub fn join(&mut self, next: Self) -> Option<Self> {
        let follows = match (&self.of, &next.of) {
            (None, None) => true,
            (Some((whole, at)), Some((other, next_at))) => whole.is(other) && at + self.len == *next_at,
            _ => false,
        };
        if !follows {
            return Some(next);
        }
        self.len += next.len;
        None
    }

    /// Puts it behind others, in one with the last of them when it follows that.
    pub fn add_to(self, runs: &mut Vec<Self>) {
        let apart = match runs.last_mut() {
            Some(last) => last.join(self),
            None => Some(self),
        };
        runs.extend(apart);
    }

    /// The same bytes, with nothing known of those that are no whole: what they are a part of would stay in memory for nothing.
    pub fn only_wholes(runs: Vec<Self>) -> Vec<Self> {
        let mut kept = Vec::new();
        for run in runs {
            let run = if run.whole().is_some() { run } else { Self { of: None, len: run.len } };
            run.add_to(&mut kept);
        }
        kept
    }

    /// What gives exactly these bytes.
    pub fn whole(&self) -> Option<&Bytes> {
        let (whole, at) = self.of.as_ref()?;
        (*at == 0 && self.len == whole.raw_len).then_some(&whole.zstd)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn portion(whole: &Compressed, at: usize, len: usize) -> Portion {
        Portion { bytes: Bytes::from(vec![0; len]), of: Some((whole.clone(), at)) }
    }

    fn run(whole: &Compressed, at: usize, len: usize) -> Run {
        Run::new(&portion(whole, at, len), 0, len)
    }

    #[test]
    fn only_all_bytes_of_a_whole_in_order_are_what_it_gives() {
        let whole = Compressed::new(10, Bytes::from(vec![1, 2, 3]));
        let mut first = run(&whole, 0, 4);
        assert_eq!(first.whole(), None);
        assert!(first.join(run(&whole, 4, 6)).is_none());
        assert_eq!(first.whole().map(|bytes| bytes.as_ref()), Some(&[1, 2, 3][..]));
        let mut rest = run(&whole, 4, 6);
        assert!(rest.join(run(&whole, 0, 4)).is_some(), "the other way round is another content");
        let mut gap = run(&whole, 0, 4);
        assert!(gap.join(run(&whole, 5, 5)).is_some());
        assert_eq!(Run::new(&portion(&whole, 0, 10), 1, 9).whole(), None);
    }

    /// Bytes that say when nobody has them any more.
    struct Told(Arc<AtomicBool>);

    impl AsRef<[u8]> for Told {
        fn as_ref(&self) -> &[u8] {
            &[1, 2, 3]
        }
    }

    impl Drop for Told {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn of_runs_that_are_no_whole_their_length_stays_and_their_bytes_go() {
        let (in_part_gone, whole_gone) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let told = |gone: &Arc<AtomicBool>| Compressed::new(10, Bytes::from_owner(Told(Arc::clone(gone))));
        let (in_part, whole) = (told(&in_part_gone), told(&whole_gone));
        let unknown = Portion { bytes: Bytes::from(vec![0; 5]), of: None };
        let runs =
            vec![run(&in_part, 0, 4), Run::new(&unknown, 0, 5), run(&whole, 0, 10), run(&in_part, 7, 3)];
        drop((in_part, whole));
        let kept = Run::only_wholes(runs);
        let lengths: Vec<_> = kept.iter().map(|run| (run.len, run.whole().is_some())).collect();
        assert_eq!(lengths, [(9, false), (10, true), (3, false)]);
        assert!(in_part_gone.load(Ordering::SeqCst) && !whole_gone.load(Ordering::SeqCst));
    }

    #[test]
    fn bytes_of_another_whole_or_of_none_are_not_joined_to_one() {
        let (one, other) =
            (Compressed::new(8, Bytes::from(vec![1])), Compressed::new(8, Bytes::from(vec![1])));
        let unknown = Portion { bytes: Bytes::from(vec![0; 4]), of: None };
        let mut first = run(&one, 0, 4);
        assert!(first.join(run(&other, 4, 4)).is_some(), "equal bytes are not the same ones");
        assert!(first.join(Run::new(&unknown, 0, 4)).is_some());
        let mut none = Run::new(&unknown, 0, 4);
        assert!(none.join(Run::new(&unknown, 0, 4)).is_none());
        assert_eq!((none.len, none.whole()), (8, None));
    }
}
