//! Errors: a word for programs, a text for people, a remedy; on the wire as problem details (RFC 9457).

use serde::{Deserialize, Serialize};

/// The media type of an answer that is an error.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// An answer that is not the one asked for. On the wire it is [`ProblemDetails`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "ProblemDetails", from = "ProblemDetails")]
pub struct ApiError {
    /// A stable word that programs can test.
    pub code: ErrorCode,
    /// The thing, the value and what is wrong, for people.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<String>,
    /// What has to change: a member of the body, a parameter or a header, as the request spells it; none where no other value would help.
    pub field: Option<String>,
}

/// An error as it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProblemDetails {
    /// `urn:vtl:error:CODE`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// What the code means, the same each time.
    #[serde(default)]
    pub title: String,
    /// The HTTP status once more.
    #[serde(default)]
    pub status: u16,
    /// As `message`.
    #[serde(default)]
    pub detail: String,
    /// A stable word that programs can test.
    pub code: ErrorCode,
    /// The thing, the value and what is wrong, for people.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// What has to change: a member of the body, a parameter or a header, as the request spells it; none where no other value would help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

impl ApiError {
    /// About no field; an empty remedy is none.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into()).filter(|remedy| !remedy.is_empty());
        Self { code, message: message.into(), remedy, field: None }
    }

    /// Message and remedy in one text, for a log or a start that fails.
    #[must_use]
    pub fn advised(self) -> String {
        match self.remedy {
            Some(remedy) => format!("{}: {remedy}", self.message),
            None => self.message,
        }
    }

    /// The same about one field of the request.
    #[must_use]
    pub fn about(self, field: impl Into<String>) -> Self {
        Self { field: Some(field.into()), ..self }
    }
}

impl From<ApiError> for ProblemDetails {
    fn from(refusal: ApiError) -> Self {
        let ApiError { code, message, remedy, field } = refusal;
        Self {
            kind: format!("urn:vtl:error:{}", code.word()),
            title: code.title().to_owned(),
            status: code.http_status(),
            detail: message.clone(),
            code,
            message,
            remedy,
            field,
        }
    }
}

impl From<ProblemDetails> for ApiError {
    fn from(details: ProblemDetails) -> Self {
        let ProblemDetails { code, message, remedy, field, .. } = details;
        Self { code, message, remedy, field }
    }
}

/// Classes of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// The token is missing or wrong: 401.
    Unauthorized,
    /// The request came from a page or host that may not ask: 403.
    Forbidden,
    /// The named thing does not exist: 404.
    NotFound,
    /// The path has other methods: 405.
    MethodNotAllowed,
    /// The request did not come to its end in time: 408.
    Timeout,
    /// The request cannot be understood or a value is out of range: 400.
    Invalid,
    /// Something of that name exists: 409.
    Exists,
    /// The state of things forbids it (loaded, full, prevented, not empty): 409.
    Conflict,
    /// The thing is not any more what `If-Match` says: 412.
    Changed,
    /// The body is too long: 413.
    TooLarge,
    /// The body is not JSON: 415.
    NotJson,
    /// Too many attempts have failed; the remedy says how long to wait: 429.
    TooManyRequests,
    /// No room: 507.
    Full,
    /// This version cannot do it: 501.
    Unsupported,
    /// As many as there may be are busy: 503.
    Busy,
    /// Our fault or the disk's: 500.
    Internal,
}

impl ErrorCode {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Timeout,
        Self::Invalid,
        Self::Exists,
        Self::Conflict,
        Self::Changed,
        Self::TooLarge,
        Self::NotJson,
        Self::TooManyRequests,
        Self::Full,
        Self::Unsupported,
        Self::Busy,
        Self::Internal,
    ];

    /// The word on the wire, the HTTP status that goes with it, and what it means: the one place of all three.
    const fn row(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::Unauthorized => ("unauthorized", 401, "The caller is not known"),
            Self::Forbidden => ("forbidden", 403, "The caller may not do this"),
            Self::NotFound => ("not-found", 404, "There is no such thing"),
            Self::MethodNotAllowed => ("method-not-allowed", 405, "The path has other methods"),
            Self::Timeout => ("timeout", 408, "The request took too long to arrive"),
            Self::Invalid => ("invalid", 400, "The request is not right"),
            Self::Exists => ("exists", 409, "There is such a thing already"),
            Self::Conflict => ("conflict", 409, "The state of things forbids it"),
            Self::Changed => ("changed", 412, "The thing has changed"),
            Self::TooLarge => ("too-large", 413, "The body is too long"),
            Self::NotJson => ("not-json", 415, "The body is not JSON"),
            Self::TooManyRequests => ("too-many-requests", 429, "The caller has to wait"),
            Self::Full => ("full", 507, "There is no room"),
            Self::Unsupported => ("unsupported", 501, "This version cannot do it"),
            Self::Busy => ("busy", 503, "Too many ask at once"),
            Self::Internal => ("internal", 500, "The server failed"),
        }
    }

    /// The word on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status that goes with it.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        self.row().1
    }

    /// What it means, the same each time.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.row().2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_of_each_code_is_the_one_that_is_sent() {
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_string(&code).ok(), Some(format!("\"{}\"", code.word())));
        }
    }

    #[test]
    fn the_page_of_the_manual_has_every_code_with_its_status() {
        let page = include_str!("../../../docs/api.md");
        let row = |line: &str| {
            let (statuses, words) = line.strip_prefix("| ")?.split_once(" | ")?;
            Some((statuses.to_owned(), words.to_owned()))
        };
        let rows: Vec<(String, String)> = page.lines().filter_map(row).collect();
        for code in ErrorCode::ALL {
            let (status, word) = (code.http_status().to_string(), format!("`{}`", code.word()));
            let has = |(statuses, words): &(String, String)| {
                statuses.split(", ").any(|one| one == status) && words.contains(&word)
            };
            assert!(rows.iter().any(has), "docs/api.md lacks {status} {word}");
        }
    }

    #[test]
    fn an_error_has_the_members_of_rfc_9457_and_those_of_before() {
        let error = ApiError {
            code: ErrorCode::NotFound,
            message: "there is no library 'x'".to_owned(),
            remedy: Some("see vtl library ls".to_owned()),
            field: Some("name".to_owned()),
        };
        let sent = serde_json::to_value(&error);
        let expected = serde_json::json!({
            "type": "urn:vtl:error:not-found",
            "title": "There is no such thing",
            "status": 404,
            "detail": "there is no library 'x'",
            "code": "not-found",
            "message": "there is no library 'x'",
            "remedy": "see vtl library ls",
            "field": "name"
        });
        assert_eq!(sent.ok(), Some(expected.clone()));
        assert_eq!(serde_json::from_value::<ApiError>(expected).ok(), Some(error));
    }
}
