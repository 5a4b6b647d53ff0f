//! Ids and units that every part of vtl shares. No I/O, no clock.
//!
//! A value that came from outside is parsed here once; afterwards its type says that it is right.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod iscsi;
mod label;
mod media;
mod name;
mod place;
mod secret;
mod size;
mod template;

pub use iscsi::{ChapAccount, ChapError, ChapLogin, IscsiName, IscsiNameError};
pub use label::{Label, LabelError};
pub use media::{Generation, MediaForm, MediaKind};
pub use name::{CartridgeId, CartridgeIdError, LibraryName, LibraryNameError, PoolName, PoolNameError};
pub use place::Place;
pub use secret::{Secret, SecretAddress};
pub use size::{ByteCount, SizeError};
pub use template::{LabelTemplate, TemplateError};
