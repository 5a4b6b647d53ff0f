//! An iSCSI target (RFC 7143) without I/O, clock or randomness.
//!
//! One TCP connection is one [`Connection`] value: bytes and times go in, events and bytes come out. Whoever
//! drives it owns the socket, the clock and the SCSI devices; a CDB is sixteen opaque bytes here. That makes a
//! login, a lost PDU or a time-out an ordinary unit test, and keeps a hostile peer inside one value with limits.
//!
//! Two halves meet in [`Connection`]: `login` (keys, CHAP, SendTargets) decides who gets in and under which
//! parameters, the rest serves commands under them. `docs/iscsi.md` has the states, the limits and what is
//! refused; `docs/iscsi-keys.md` has every text key.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod chap;
pub mod config;
mod connection;
mod data_in;
mod data_out;
pub mod discovery;
pub mod event;
mod framing;
pub mod keys;
pub mod login;
mod nop;
pub mod params;
pub mod pdu;
pub mod secret;
mod session;
mod tasks;
pub mod text;
mod text_exchange;
mod time;
mod tmf;
mod transmit;
mod window;

pub use connection::{Connection, Random};
pub use time::Instant;
