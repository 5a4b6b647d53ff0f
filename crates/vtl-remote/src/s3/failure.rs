//! What a server's refusal means. The table goes by status and S3's error code; what is not in it goes by the status alone.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use futures_util::StreamExt as _;
use http::StatusCode;
use http::header::RETRY_AFTER;
use object_store::client::HttpResponse;

use crate::error::{Call, Class, Doing, Error};

/// So much of an answer is looked at for a reason.
const MAX_ANSWER: usize = 16 << 10;
/// The longest wait that a server may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// The code of an upload that the server does not know, or no longer.
pub(super) const NO_SUCH_UPLOAD: &str = "NoSuchUpload";
/// The code of a list of parts that the server does not have so.
pub(super) const INVALID_PART: &str = "InvalidPart";

/// S3's error codes whose meaning differs from that of their status.
const CODES: &[(&str, Class, &str)] = &[
    ("NoSuchBucket", Class::Misconfigured, "create the bucket, or correct its name"),
    ("PermanentRedirect", Class::Misconfigured, "the bucket is elsewhere: correct endpoint and region"),
    ("AuthorizationHeaderMalformed", Class::Misconfigured, "correct the region"),
    ("RequestTimeTooSkewed", Class::Misconfigured, "set this machine's clock"),
    ("InvalidAccessKeyId", Class::Denied, "the access key is not known there"),
    ("SignatureDoesNotMatch", Class::Denied, "the secret key is not the access key's"),
    ("ExpiredToken", Class::Denied, "the credentials are too old"),
    ("InvalidObjectState", Class::Refused, "the object is archived: restore it at the provider first"),
    ("QuotaExceeded", Class::Full, "the account is full"),
    ("SlowDown", Class::Throttled, ""),
    ("RequestTimeout", Class::Unavailable, ""),
    ("BadDigest", Class::Damaged, "it changed on the way"),
    ("InvalidDigest", Class::Damaged, "it changed on the way"),
    ("XAmzContentSHA256Mismatch", Class::Damaged, "it changed on the way"),
    ("XAmzContentChecksumMismatch", Class::Damaged, "it changed on the way"),
    ("IncompleteBody", Class::Interrupted, ""),
];

/// The class of a status.
const fn class_of_status(status: u16, doing: Doing) -> Class {
    match status {
        401 | 403 => Class::Denied,
        404 => Class::NotThere,
        408 => Class::Unavailable,
        // Somebody else is writing this very object.
        409 => Class::Unavailable,
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

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    status: u16,
    /// S3's code, empty when there is none: an answer to HEAD has no body.
    pub code: String,
    message: String,
    retry_after: Option<Duration>,
}

impl Failure {
    /// Reads the answer's reason.
    pub async fn read(answer: HttpResponse) -> Self {
        let (parts, body) = answer.into_parts();
        let seconds =
            parts.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let retry_after = seconds.map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
        let mut text = Vec::new();
        let mut body = body.bytes_stream();
        while let Some(Ok(piece)) = body.next().await {
            text.extend_from_slice(&piece);
            if text.len() > MAX_ANSWER {
                break;
            }
        }
        let text = String::from_utf8_lossy(&text);
        Self::new(parts.status, &text, retry_after)
    }

    fn new(status: StatusCode, text: &str, retry_after: Option<Duration>) -> Self {
        let element = |name| element(text, name).unwrap_or("").to_owned();
        Self { status: status.as_u16(), code: element("Code"), message: element("Message"), retry_after }
    }

    fn class(&self, doing: Doing) -> (Class, &'static str) {
        let listed = CODES.iter().find(|(code, ..)| *code == self.code);
        listed.map_or((class_of_status(self.status, doing), ""), |(_, class, remedy)| (*class, *remedy))
    }
}

/// The text of the first element of a name. The answers are short and flat; nothing depends on them but words.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(inside, _)| inside)
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status)?;
        for text in [&self.code, &self.message] {
            if !text.is_empty() {
                write!(f, " {text}")?;
            }
        }
        Ok(())
    }
}

impl StdError for Failure {}

/// The server's refusal in an error of the library, when it is one.
pub(super) fn failure_of(error: &object_store::Error) -> Option<&Failure> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// Our error for one of the library's.
pub(super) fn error_of(error: &object_store::Error, call: &Call) -> Error {
    if let Some(failure) = failure_of(error) {
        let (class, remedy) = failure.class(call.doing);
        let text = if remedy.is_empty() { failure.to_string() } else { format!("{failure}; {remedy}") };
        return call.fail(class, text).with_retry_after(failure.retry_after);
    }
    let class = match error {
        object_store::Error::NotSupported { .. } | object_store::Error::NotImplemented { .. } => {
            Class::Unsupported
        }
        // No answer, or one that nobody understands: it may pass, and attempts are counted.
        _ => Class::Unavailable,
    };
    call.fail(class, innermost(error))
}

/// Our error for a body that broke off.
pub(super) fn interrupted(error: &object_store::Error, call: &Call) -> Error {
    call.fail(Class::Interrupted, innermost(error))
}

/// The innermost cause says most: "connection refused", "invalid peer certificate".
fn innermost(error: &object_store::Error) -> String {
    let texts: Vec<String> = causes(error).map(ToString::to_string).collect();
    match (texts.first(), texts.last()) {
        (Some(first), Some(last)) if !first.contains(last.as_str()) => format!("{first}: {last}"),
        (Some(first), _) => first.clone(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(status: u16, text: &str, doing: Doing) -> Class {
        Failure::new(StatusCode::from_u16(status).unwrap(), text, None).class(doing).0
    }

    #[test]
    fn statuses_and_codes_have_the_class_that_tells_what_to_do() {
        let code = |code: &str| {
            format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>m</Message></Error>")
        };
        for (status, text, doing, expected) in [
            (503, code("SlowDown"), Doing::Put, Class::Throttled),
            (503, String::new(), Doing::Put, Class::Unavailable),
            (500, code("InternalError"), Doing::Get, Class::Unavailable),
            (429, String::new(), Doing::Get, Class::Throttled),
            (404, code("NoSuchKey"), Doing::Get, Class::NotThere),
            (404, String::new(), Doing::Head, Class::NotThere),
            (404, code("NoSuchBucket"), Doing::Put, Class::Misconfigured),
            (403, code("AccessDenied"), Doing::Put, Class::Denied),
            (403, code("RequestTimeTooSkewed"), Doing::Put, Class::Misconfigured),
            (403, code("InvalidObjectState"), Doing::Get, Class::Refused),
            (412, String::new(), Doing::Create, Class::AlreadyThere),
            (409, code("ConditionalRequestConflict"), Doing::Create, Class::Unavailable),
            (416, code("InvalidRange"), Doing::Get, Class::OutOfRange),
            (400, code("BadDigest"), Doing::Put, Class::Damaged),
            (400, code("EntityTooLarge"), Doing::Put, Class::Refused),
            (301, code("PermanentRedirect"), Doing::List, Class::Misconfigured),
            (507, String::new(), Doing::Put, Class::Full),
        ] {
            assert_eq!(class(status, &text, doing), expected, "{status} {text}");
        }
    }

    #[test]
    fn words_of_a_broken_answer_are_no_trouble() {
        for text in ["<Code>", "</Code><Code>", "<Code>x", "no xml"] {
            assert_eq!(Failure::new(StatusCode::BAD_GATEWAY, text, None).to_string(), "status 502");
        }
    }
}
