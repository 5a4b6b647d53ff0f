//! Who may ask: the token, and the names that mean this machine.
//!
//! A browser page of another origin cannot use the API, and a name that does not mean this machine is refused (DNS rebinding).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use subtle::ConstantTimeEq;
use vtl_api::{ApiError, ErrorCode};

use super::{error_response, refusal};

/// What a caller has to show.
pub(super) struct Guard {
    token: String,
}

/// Lets a request pass, or answers in its place.
pub(super) async fn admit(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refused) => error_response(&refused),
    }
}

impl Guard {
    pub(super) fn new(token: String) -> Self {
        Self { token }
    }

    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        if !text(header::HOST).is_some_and(is_this_machine) {
            return Err(refusal(
                ErrorCode::Forbidden,
                "the Host header does not name this machine",
                "use 127.0.0.1 or localhost",
            ));
        }
        if let Some(origin) = text(header::ORIGIN)
            && !origin.strip_prefix("http://").is_some_and(is_this_machine)
        {
            return Err(refusal(
                ErrorCode::Forbidden,
                "pages of other origins may not use the API",
                "use vtl, or a page of this daemon",
            ));
        }
        let given =
            text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        if bool::from(given.as_bytes().ct_eq(self.token.as_bytes())) {
            return Ok(());
        }
        Err(refusal(
            ErrorCode::Unauthorized,
            "the token is missing or wrong",
            "send the text of api.token: vtl --token-file FILE",
        ))
    }
}

/// `localhost`, or a loopback address, with or without a port.
pub(crate) fn is_this_machine(host: &str) -> bool {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return address.is_loopback();
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_hosts() {
        for host in ["127.0.0.1:8460", "localhost", "LOCALHOST:8460", "[::1]:8460", "127.0.0.2"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in ["vtl.example", "10.0.0.1:8460", "localhost.example:80", "127.0.0.1.example", ""] {
            assert!(!is_this_machine(host), "{host}");
        }
    }

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), header::HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn without_the_token_nothing_is_answered() {
        let guard = Guard { token: "0123456789abcdef".to_owned() };
        let host = (header::HOST, "127.0.0.1:8460");
        assert_eq!(
            guard.check(&headers(std::slice::from_ref(&host))).map_err(|e| e.code),
            Err(ErrorCode::Unauthorized)
        );
        let wrong = (header::AUTHORIZATION, "Bearer 0123456789abcdee");
        assert_eq!(
            guard.check(&headers(&[host.clone(), wrong])).map_err(|e| e.code),
            Err(ErrorCode::Unauthorized)
        );
        let right = (header::AUTHORIZATION, "Bearer 0123456789abcdef");
        assert_eq!(guard.check(&headers(&[host, right])), Ok(()));
    }

    #[test]
    fn a_page_of_another_origin_and_a_rebound_name_are_refused_even_with_the_token() {
        let guard = Guard { token: "0123456789abcdef".to_owned() };
        let token = (header::AUTHORIZATION, "Bearer 0123456789abcdef");
        let foreign =
            [(header::HOST, "localhost:8460"), (header::ORIGIN, "http://evil.example"), token.clone()];
        assert_eq!(guard.check(&headers(&foreign)).map_err(|e| e.code), Err(ErrorCode::Forbidden));
        let rebound = [(header::HOST, "evil.example:8460"), token];
        assert_eq!(guard.check(&headers(&rebound)).map_err(|e| e.code), Err(ErrorCode::Forbidden));
    }
}
