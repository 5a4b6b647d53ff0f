//! The PDUs of RFC 7143, section 11: what travels as bytes, and what was meant.
//!
//! Every PDU opens with a [`Header`] (the basic header segment, 48 bytes). Each kind has a struct of its meaning
//! in which reserved bits, counts in odd widths and impossible mixes no longer exist. `decode` takes a header,
//! `encode` makes one; both directions exist for both peers, because our tests and the benchmark are initiators.
//!
//! Two things are left to the framing: the lengths in bytes 4 to 7, and, for what a target sends, the three
//! numbers in [`Numbers`], which are only known when the PDU takes its place in the stream.

mod async_message;
mod command;
mod data;
mod header;
mod login;
mod logout;
mod nop;
mod reject;
mod task;
mod text;

pub use async_message::{AsyncEvent, AsyncMessage};
pub use command::{Attribute, Residual, ScsiRequest, ScsiResponse};
pub use data::{DataIn, DataInStatus, DataOut, R2t, Snack};
pub use header::{Header, Numbers, Opcode, RESERVED_TAG};
pub use login::{LoginRequest, LoginResponse, Stage};
pub use logout::{LogoutReason, LogoutRequest, LogoutResponse, LogoutResult};
pub use nop::{NopIn, NopOut};
pub use reject::{Reject, RejectReason};
pub use task::{TaskFunction, TaskRequest, TaskResponse, TmfResponse};
pub use text::{TextRequest, TextResponse};

/// A header whose fields contradict the standard, and the reason a Reject gives for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub RejectReason);
