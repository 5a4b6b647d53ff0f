//! What the store's threads meet at: locks, atomics, channels and the threads themselves.
//!
//! They are those of `std`. With the feature `shuttle` they are those of that library, and at each of them it decides which thread goes
//! on: `tests/schedules.rs` runs the whole store so, and a schedule that fails can be run again. Nothing else has the feature on.
//!
//! `Arc`, `Weak` and `OnceLock` are always `std`'s, since nobody waits for one. So are the index's counts and its budget: no decision
//! about content hangs on them.

#[cfg(feature = "shuttle")]
use shuttle as chosen;
#[cfg(not(feature = "shuttle"))]
use std as chosen;

pub(crate) use std::sync::{Arc, PoisonError, Weak};

pub(crate) use chosen::sync::{
    Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic, mpsc,
};
pub(crate) use chosen::thread;

#[cfg(all(feature = "shuttle", not(debug_assertions)))]
compile_error!(
    "the feature \"shuttle\" of vtl-store is for its tests: a store built with it cannot run by itself"
);
