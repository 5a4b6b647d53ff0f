//! The whole daemon, from outside: the real program on loopback, a small initiator, plain HTTP, signals.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "tests, also where a helper is not itself a #[test]"
)]

#[path = "../support/mod.rs"]
mod support;

mod access;
mod alerts;
mod audit;
mod contract;
mod crashes;
mod doors;
mod durability;
mod exports;
mod formats;
mod full;
mod healing;
mod history;
mod hooks;
mod ingest;
mod jobs;
mod kept;
mod keys;
mod kill;
mod lazy;
mod limits;
mod listeners;
mod live;
mod management;
mod oidc;
mod parts;
mod policies;
mod pool_work;
mod pools;
mod rclone;
mod remotes;
mod sealing;
mod sessions;
mod store;
mod targets;
mod tasks;
mod tls;
mod vault;
mod watch;
