//! Parameters and bodies as values: what is not understood is refused, with its name.

use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use vtl_api::{ApiError, ErrorCode};

use crate::daemon::invalid;

/// What serde says before the name of a field that it has no place for, or none of.
const NAMED: [&str; 3] = ["unknown field `", "missing field `", "duplicate field `"];

/// The parameters of an address.
pub(super) fn query<T: DeserializeOwned>(text: &str) -> Result<T, ApiError> {
    let parts = form_urlencoded::parse(text.as_bytes());
    serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(parts)).map_err(|why| {
        let (path, told) = (why.path().to_string(), why.inner().to_string());
        not_read("a parameter cannot be read", &path, &told)
    })
}

/// A body that must be JSON of this form. Nothing means no members.
pub(super) fn body<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, ApiError> {
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { bytes };
    // serde would take an array for the members in their order, which nobody has promised.
    if text.trim_ascii_start().first() != Some(&b'{') {
        let remedy = "see docs/openapi.json for what there is";
        return Err(invalid("the body is no JSON object".to_owned(), remedy));
    }
    let mut json = serde_json::Deserializer::from_slice(text);
    let read = serde_path_to_error::deserialize(&mut json).map_err(|why| {
        let (path, told) = (why.path().to_string(), why.inner().to_string());
        not_read("the request cannot be read", &path, &told)
    })?;
    json.end().map_err(|why| not_read("the request cannot be read", ".", &why.to_string()))?;
    Ok(read)
}

fn not_read(what: &str, path: &str, told: &str) -> ApiError {
    let refusal = invalid(format!("{what}: {told}"), "see docs/openapi.json for what there is");
    ApiError { field: field_of(path, told), ..refusal }
}

/// Where it is, as far as serde tells.
fn field_of(path: &str, told: &str) -> Option<String> {
    let named = NAMED.iter().find_map(|lead| told.strip_prefix(lead)?.split_once('`')).map(|(name, _)| name);
    // It writes a question mark where it was in the middle of a name.
    let path = whole(path.trim_end_matches('?').trim_end_matches('.'));
    match (path, named) {
        ("", name) => name.map(str::to_owned),
        (path, Some(name)) if path != name && !path.ends_with(&format!(".{name}")) => {
            Some(format!("{path}.{name}"))
        }
        (path, _) => Some(path.to_owned()),
    }
}

/// Of a list the list: `roles` for `roles[0]`.
fn whole(path: &str) -> &str {
    match path.strip_suffix(']').and_then(|path| path.rsplit_once('[')) {
        Some((list, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => list,
        _ => path,
    }
}

/// A body that says of itself that it is something else than JSON.
pub(super) fn is_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let kind = kind.to_str().unwrap_or_default();
    let media = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if media == "application/json" || (media.starts_with("application/") && media.ends_with("+json")) {
        return Ok(());
    }
    let message = format!("the body is '{kind}'");
    let error = ApiError::new(ErrorCode::NotJson, message, "send JSON, with Content-Type: application/json");
    Err(error.about("Content-Type"))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        inner: Inner,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        number: u8,
        #[serde(default)]
        words: Vec<String>,
    }

    fn named(text: &'static str) -> Option<String> {
        body::<Outer>(&Bytes::from_static(text.as_bytes())).unwrap_err().field
    }

    #[test]
    fn what_is_wrong_in_a_body_is_named() {
        assert_eq!(named(r#"{"inner":{"number":300}}"#).as_deref(), Some("inner.number"));
        assert_eq!(named(r#"{"inner":{"number":1,"odd":2}}"#).as_deref(), Some("inner.odd"));
        assert_eq!(named(r#"{"inner":{"number":1,"words":["a",2]}}"#).as_deref(), Some("inner.words"));
        assert_eq!(named(r#"{"inner":{}}"#).as_deref(), Some("inner.number"));
        assert_eq!(named(r#"{"odd":1}"#).as_deref(), Some("odd"));
        assert_eq!(named("").as_deref(), Some("inner"));
        assert_eq!(named(r#"{"inner":{"number":1}} {}"#), None);
        assert_eq!((named(r#"[{"number":1}]"#), named("null")), (None, None));
        assert_eq!((named("nonsense"), named("{"), named(r#"{"inner"#)), (None, None, None));
        assert_eq!(named(r#"{"inner":{"nu"#).as_deref(), Some("inner"));
    }

    #[test]
    fn what_is_wrong_in_parameters_is_named() {
        let named = |text| query::<Inner>(text).unwrap_err().field;
        assert_eq!(query::<Inner>("number=7").ok(), Some(Inner { number: 7, words: Vec::new() }));
        assert_eq!(named("number=x").as_deref(), Some("number"));
        assert_eq!(named("number=1&odd=2").as_deref(), Some("odd"));
        assert_eq!(named("number=1&number=2").as_deref(), Some("number"));
        assert_eq!(named("").as_deref(), Some("number"));
    }

    #[test]
    fn a_body_that_says_that_it_is_no_json_is_refused() {
        let with = |kind: &'static str| {
            let kind = axum::http::HeaderValue::from_static(kind);
            is_json(&HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]))
        };
        for kind in ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"] {
            assert_eq!(with(kind), Ok(()), "{kind}");
        }
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
        {
            let refused = with(kind).unwrap_err();
            assert_eq!((refused.code, refused.code.http_status()), (ErrorCode::NotJson, 415), "{kind}");
        }
    }
}
