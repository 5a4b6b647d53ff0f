//! Request and response types of the management API, version 1.
//!
//! Programs outside the project read these: fields are added, never renamed or removed. Bytes are integers, times RFC 3339.
//! Every response is JSON; an error is an [`ApiError`] with an HTTP status of the 4xx or 5xx class.

mod access;
mod alert;
mod cartridge;
mod error;
mod export;
mod format;
mod history;
mod iscsi;
mod job;
mod key;
mod library;
mod lists;
mod pool;
mod remote;
mod store;
mod system;
mod tape_map;

pub use access::*;
pub use alert::*;
pub use cartridge::*;
pub use error::*;
pub use export::*;
pub use format::*;
pub use history::*;
pub use iscsi::*;
pub use job::*;
pub use key::*;
pub use library::*;
pub use lists::*;
pub use pool::*;
pub use remote::*;
pub use store::*;
pub use system::*;
pub use tape_map::*;

/// Where the version 1 API begins.
pub const BASE: &str = "/api/v1";
