//! What cannot be undone wants its name once more. A command that was typed without `--confirm` asks for it, where somebody is there to answer.

use std::io::{IsTerminal, Write as _};

use serde_json::Value;
use vtl_api::ApiError;

use crate::http::{Client, Failure, Request};

/// The member of a body that has the name once more.
const MEMBER: &str = "confirm";

/// Sends a request. When it is refused for want of a confirmation, and there is a terminal, the name is asked for and sent with it.
///
/// # Errors
/// As [`Client::send`].
pub fn send(client: &Client, request: &Request, json: bool) -> Result<Value, Failure> {
    match client.send(request) {
        Err(Failure::Api(refused)) if !json && is_wanted(request, &refused) && somebody_is_there() => {
            client.send(&confirmed(request, &typed(&refused)?))
        }
        answer => answer,
    }
}

/// Whether a confirmation is all that is wrong: one that was given and is another name is not asked for again.
fn is_wanted(request: &Request, refused: &ApiError) -> bool {
    let given = request.body.as_ref().and_then(|body| body.get(MEMBER));
    refused.field.as_deref() == Some(MEMBER) && given.is_none_or(Value::is_null)
}

fn somebody_is_there() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

fn typed(refused: &ApiError) -> Result<String, Failure> {
    let mut stderr = std::io::stderr();
    let asked =
        write!(stderr, "{}\ntype its name once more: ", refused.message).and_then(|()| stderr.flush());
    let mut line = String::new();
    asked
        .and_then(|()| std::io::stdin().read_line(&mut line))
        .map_err(|error| Failure::Local(format!("nothing can be asked at the terminal: {error}")))?;
    Ok(line.trim().to_owned())
}

fn confirmed(request: &Request, name: &str) -> Request {
    let mut body = request.body.clone().unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    if let Value::Object(members) = &mut body {
        members.insert(MEMBER.to_owned(), Value::from(name));
    }
    Request { method: request.method, path: request.path.clone(), body: Some(body) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Method;
    use serde_json::json;
    use vtl_api::ErrorCode;

    fn request(body: Value) -> Request {
        Request { method: Method::Delete, path: "/keys/k".to_owned(), body: Some(body) }
    }

    #[test]
    fn only_a_confirmation_that_was_not_given_is_asked_for() {
        let refused = |field: &str| ApiError::new(ErrorCode::Invalid, "no", "").about(field);
        assert!(is_wanted(&request(json!({})), &refused("confirm")));
        assert!(!is_wanted(&request(json!({ "confirm": "l" })), &refused("confirm")));
        assert!(!is_wanted(&request(json!({})), &refused("name")));
    }

    #[test]
    fn what_was_typed_goes_with_all_else_that_was_asked() {
        let sent = confirmed(&request(json!({ "now": true })), "k");
        assert_eq!((sent.method, sent.path.as_str()), (Method::Delete, "/keys/k"));
        assert_eq!(sent.body, Some(json!({ "now": true, "confirm": "k" })));
    }
}
