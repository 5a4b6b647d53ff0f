//! What a status of HTTP means, and how much of a refusal is read.

use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;

use crate::error::{Class, Doing};

/// So much of a refusal is looked at for a reason, in bytes.
pub(crate) const MAX_REFUSAL: usize = 16 << 10;
/// The longest wait that a server may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// The class of a status.
pub(crate) const fn class_of_status(status: u16, doing: Doing) -> Class {
    match status {
        401 | 403 => Class::Denied,
        404 => Class::NotThere,
        408 => Class::Unavailable,
        // Somebody else is at this very object.
        409 | 423 => Class::Unavailable,
        412 if matches!(doing, Doing::Create) => Class::AlreadyThere,
        416 => Class::OutOfRange,
        429 => Class::Throttled,
        501 => Class::Unsupported,
        507 => Class::Full,
        300..=399 => Class::Misconfigured,
        500..=599 => Class::Unavailable,
        _ => Class::Refused,
    }
}

/// How long the server asks us to wait, when it says so in seconds.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}
