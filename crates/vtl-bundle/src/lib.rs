//! The open export format: a cartridge as objects that any program can read.
//!
//! ```text
//! blocks, filemarks -> Writer -> frames: compress, seal -> chunk objects -> Sink, manifest last
//! Source -> verify (no key): hashes, frames           -> findings, each with object and frame
//! Source -> Image (key if sealed): frames -> blocks and filemarks, in order or from any place
//! Frames (key if sealed): which bytes of which object to fetch, and what is in them
//! ```
//!
//! No network, no clock, no store: objects go through [`Sink`] and come through [`Source`], which the caller makes. Memory is bounded by a few
//! frames (two more for each thread that compresses), the list of objects and the map. A crash of the writer leaves objects without a manifest: no bundle;
//! who has kept its [`Identity`] and which objects are done goes on with it.
//!
//! Format, and why it is so: `docs/formats/bundle.md`.

mod chunk;
mod error;
mod frame;
mod frames;
mod hashers;
mod image;
mod manifest;
mod map;
mod packers;
mod table;
mod verify;
mod version;
mod writer;

pub use chunk::{ChunkHeader, HEADER_BYTES as CHUNK_HEADER_BYTES};
pub use error::{BundleError, Fault, Finding};
pub use frame::{End, FrameHeader, HEADER_BYTES as FRAME_HEADER_BYTES, MAX_BODY_BYTES};
pub use frames::{Frames, Index};
pub use image::{Event, Image};
pub use manifest::{
    Attributes, Inside, MAX_IMAGE_BYTES, MAX_MANIFEST_BYTES, MAX_RECIPIENTS, Manifest, ManifestError,
    Recipient, Signed, Stamp, Stored, counting, manifest_name, new_manifest_name, object_name,
};
pub use map::{Entry, MAX_BLOCK_BYTES, MAX_FILEMARKS, Map, MapError};
pub use verify::{Source, verify, verify_at};
pub use version::Version;
pub use writer::{CHUNK_SIZES, Identity, Settings, Sink, WriteError, Writer};
