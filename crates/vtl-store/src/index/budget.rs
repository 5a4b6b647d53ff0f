//! Bytes of memory taken and given back, under one ceiling.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The ceiling, and what is taken of it. Whatever is as large as the index grows is charged here by its capacity.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
    peak: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0), peak: AtomicUsize::new(0) })
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// Takes bytes, or nothing when they would break the ceiling.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        let grow = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        let before = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow).ok()?;
        self.peak.fetch_max(before + bytes, Ordering::Relaxed);
        Some(Charge { budget: Arc::clone(self), bytes })
    }
}

/// Bytes that are taken for as long as this lives.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
