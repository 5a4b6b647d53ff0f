//! What a server's refusal means. The table goes by status and the server's error code; what is not in it goes by the status alone.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use futures_util::StreamExt as _;
use http::StatusCode;
use object_store::client::HttpResponse;
use serde::Deserialize;

use crate::error::{Call, Class, Doing, Error};
use crate::status::{MAX_REFUSAL, class_of_status, retry_after};

/// Codes of an upload that the server does not know, or not its parts. Some servers say of one that it is forbidden.
const GONE: &[&str] =
    &["NoSuchUpload", "InvalidPart", "AccessDenied", "InvalidBlockList", "InvalidBlobOrBlock"];
/// Azure says its code in a header, too: an answer to HEAD has no body.
const CODE_HEADER: &str = "x-ms-error-code";

/// Error codes whose meaning differs from that of their status: S3's and Google's, then Azure's, then those of Google's
/// service for tokens.
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
    ("ContainerNotFound", Class::Misconfigured, "create the container, or correct its name"),
    ("ContainerBeingDeleted", Class::Unavailable, ""),
    ("AuthenticationFailed", Class::Denied, "the key is not the account's, or this machine's clock is wrong"),
    (
        "AuthorizationFailure",
        Class::Denied,
        "the key is not the account's, or the account refuses this machine",
    ),
    ("BlobAlreadyExists", Class::AlreadyThere, ""),
    ("BlobArchived", Class::Refused, "the object is archived: bring it back at the provider first"),
    ("BlobBeingRehydrated", Class::Unavailable, ""),
    ("BlobImmutableDueToPolicy", Class::Refused, "the container keeps what is in it"),
    ("Md5Mismatch", Class::Damaged, "it changed on the way"),
    ("ServerBusy", Class::Throttled, ""),
    ("OperationTimedOut", Class::Unavailable, ""),
    (
        "invalid_grant",
        Class::Denied,
        "the service account's key is not known there, or this machine's clock is wrong",
    ),
    ("invalid_client", Class::Denied, "the service account is not known there"),
];

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    status: u16,
    /// Empty when there is none.
    code: String,
    message: String,
    retry_after: Option<Duration>,
}

impl Failure {
    /// Reads the answer's reason.
    pub async fn read(answer: HttpResponse) -> Self {
        let (parts, body) = answer.into_parts();
        let retry_after = retry_after(&parts.headers);
        let mut text = Vec::new();
        let mut body = body.bytes_stream();
        while let Some(Ok(piece)) = body.next().await {
            text.extend_from_slice(&piece);
            if text.len() > MAX_REFUSAL {
                break;
            }
        }
        let text = String::from_utf8_lossy(&text);
        let mut failure = Self::new(parts.status, &text, retry_after);
        if failure.code.is_empty()
            && let Some(code) = parts.headers.get(CODE_HEADER)
        {
            failure.code = code.to_str().unwrap_or_default().to_owned();
        }
        failure
    }

    fn new(status: StatusCode, text: &str, retry_after: Option<Duration>) -> Self {
        let element = |name| element(text, name).unwrap_or("").to_owned();
        let (code, message) = match serde_json::from_str::<Token>(text) {
            Ok(token) => (token.error, token.error_description),
            Err(_) => (element("Code"), element("Message")),
        };
        Self { status: status.as_u16(), code, message, retry_after }
    }

    fn class(&self, doing: Doing) -> (Class, &'static str) {
        let listed = CODES.iter().find(|(code, ..)| *code == self.code);
        listed.map_or((class_of_status(self.status, doing), ""), |(_, class, remedy)| (*class, *remedy))
    }
}

/// What a service for tokens says.
#[derive(Deserialize)]
struct Token {
    error: String,
    #[serde(default)]
    error_description: String,
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

/// Whether the server does not know the upload, or not its parts.
pub(super) fn is_gone(error: &object_store::Error) -> bool {
    failure_of(error).is_some_and(|failure| GONE.contains(&failure.code.as_str()))
}

/// The server's refusal in an error of the library, when it is one.
fn failure_of(error: &object_store::Error) -> Option<&Failure> {
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
        // One of several that were asked to be removed with one request.
        object_store::Error::NotFound { .. } => Class::NotThere,
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
            // An answer to HEAD has no body. What is not there gets the same, where nobody may list.
            (403, String::new(), Doing::Head, Class::Denied),
            (403, code("RequestTimeTooSkewed"), Doing::Put, Class::Misconfigured),
            (403, code("InvalidObjectState"), Doing::Get, Class::Refused),
            (412, String::new(), Doing::Create, Class::AlreadyThere),
            (409, code("ConditionalRequestConflict"), Doing::Create, Class::Unavailable),
            (416, code("InvalidRange"), Doing::Get, Class::OutOfRange),
            (400, code("BadDigest"), Doing::Put, Class::Damaged),
            (400, code("EntityTooLarge"), Doing::Put, Class::Refused),
            (301, code("PermanentRedirect"), Doing::List, Class::Misconfigured),
            (507, String::new(), Doing::Put, Class::Full),
            (404, code("ContainerNotFound"), Doing::Head, Class::Misconfigured),
            (404, code("BlobNotFound"), Doing::Head, Class::NotThere),
            (403, code("AuthenticationFailed"), Doing::Put, Class::Denied),
            (409, code("BlobAlreadyExists"), Doing::Create, Class::AlreadyThere),
            (409, code("BlobArchived"), Doing::Get, Class::Refused),
            (503, code("ServerBusy"), Doing::Put, Class::Throttled),
            (
                400,
                r#"{"error": "invalid_grant", "error_description": "m"}"#.to_owned(),
                Doing::Put,
                Class::Denied,
            ),
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
