//! Places where exported objects lie: one trait, and its drivers.
//!
//! A [`Remote`] holds objects: bytes under a name, put whole, read in ranges, never changed. Drivers are a folder, S3
//! and what speaks like it, Azure, Google, WebDAV, and whatever rclone reaches; [`FaultyRemote`] wraps any of them and fails by plan. What each can do,
//! what its errors mean and what a crash leaves stands in `docs/remotes.md`. The crate knows neither tapes nor bundles.
//!
//! Async, on tokio: networks are waited for here, and disks are left to threads of their own.

mod body;
#[cfg(feature = "http")]
mod cloud;
mod content;
pub mod credential;
mod direct;
mod error;
mod faulty;
mod folder;
#[cfg(feature = "http")]
mod http_setup;
mod limit;
mod listing;
mod name;
mod probe;
mod random;
mod rclone;
mod remote;
#[cfg(feature = "http")]
mod status;
mod verify;
#[cfg(feature = "http")]
mod webdav;

pub use body::{Body, ByteStream, BytesBody, FileBody, PIECE, collect, verified};
#[cfg(feature = "http")]
pub use cloud::{AzureConfig, CloudRemote, DEFAULT_PART_SIZE, GcsConfig, MAX_PART_SIZE, S3Config, Style};
pub use content::{
    Comparison, Content, Digester, Md5Bytes, Receipt, Sha256Bytes, StoredHash, compare, from_hex, hex,
};
pub use error::{Class, Doing, Error};
pub use faulty::{Fault, FaultyRemote, Plan, SharedPlan};
pub use folder::FolderRemote;
pub use limit::{Limiter, MinuteOfDay, Rate, Schedule, ScheduleError};
pub use name::{Folder, MAX_NAME, MAX_SEGMENT, NameError, ObjectName, PART_MARK, key, rclone_path};
pub use probe::{Finding, Report, probe};
pub use rclone::{DEFAULT_RETRY_EXIT_CODES, RcloneConfig, RcloneRemote};
pub use remote::{
    Abilities, Checkpoint, CreateOnly, Entry, Flow, HalfSent, Hashes, Head, Held, Page, Put, Remote, Span,
    Streams, Unwatched, Watch, create_or_same,
};
pub use verify::{Mode, Proof, verify, verify_or_read_back};
#[cfg(feature = "http")]
pub use webdav::{WebDavConfig, WebDavRemote};
