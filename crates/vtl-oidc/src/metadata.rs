//! What a provider says of itself (OpenID Connect Discovery 1.0, 3).

use http::Uri;
use serde::Deserialize;

use crate::error::{OidcError, shown};
use crate::jws::{Algorithm, algorithm};

const WELL_KNOWN: &str = "/.well-known/openid-configuration";
/// Longer addresses are not used.
const MOST_ADDRESS: usize = 2048;
/// What the document is called in refusals.
const DOCUMENT: &str = "configuration";

/// How a client with a secret shows it (OpenID Connect Core, 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecretIn {
    /// The header `Authorization`.
    Header,
    /// The form.
    Form,
}

/// What is used of it.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    pub(crate) authorization: String,
    pub(crate) token: String,
    pub(crate) keys: String,
    pub(crate) algorithms: Vec<&'static Algorithm>,
    pub(crate) secret_in: Option<SecretIn>,
    /// Answers name their issuer (RFC 9207).
    pub(crate) names_issuer: bool,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    id_token_signing_alg_values_supported: Vec<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// Where an issuer says it.
pub(crate) fn address(issuer: &str) -> String {
    format!("{}{WELL_KNOWN}", issuer.trim_end_matches('/'))
}

fn unusable<T>(why: String) -> Result<T, OidcError> {
    Err(OidcError::Unusable(DOCUMENT, why))
}

impl Metadata {
    /// Reads what was found at [`address`].
    pub(crate) fn parse(text: &[u8], issuer: &str) -> Result<Self, OidcError> {
        let document: Document =
            serde_json::from_slice(text).map_err(|why| OidcError::Unusable(DOCUMENT, why.to_string()))?;
        if document.issuer != issuer {
            return unusable(format!(
                "it is that of the issuer '{}', and not of '{issuer}'",
                shown(&document.issuer)
            ));
        }
        let algorithms: Vec<_> = document
            .id_token_signing_alg_values_supported
            .iter()
            .filter_map(|name| algorithm(name))
            .collect();
        if algorithms.is_empty() {
            return unusable("it signs ID tokens in no way that is accepted here".to_owned());
        }
        Ok(Self {
            authorization: endpoint(document.authorization_endpoint)?,
            token: endpoint(document.token_endpoint)?,
            keys: endpoint(document.jwks_uri)?,
            algorithms,
            secret_in: secret_in(document.token_endpoint_auth_methods_supported.as_deref()),
            names_issuer: document.authorization_response_iss_parameter_supported,
        })
    }
}

/// None: in no way that is known here. Who says nothing takes the header (Discovery, 3).
fn secret_in(methods: Option<&[String]>) -> Option<SecretIn> {
    let Some(methods) = methods else { return Some(SecretIn::Header) };
    let known = [("client_secret_basic", SecretIn::Header), ("client_secret_post", SecretIn::Form)];
    known.into_iter().find(|(name, _)| methods.iter().any(|method| method == name)).map(|(_, way)| way)
}

/// An address with TLS, or on this machine.
fn endpoint(address: String) -> Result<String, OidcError> {
    let is_right = address.len() <= MOST_ADDRESS
        && !address.contains('#')
        && address.parse::<Uri>().is_ok_and(|uri| is_protected(&uri));
    match is_right {
        true => Ok(address),
        false => unusable(format!("'{}' is no address with https", shown(&address))),
    }
}

fn is_protected(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_here =
        bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    !host.is_empty()
        && !has_user
        && match uri.scheme_str() {
            Some("https") => true,
            Some("http") => is_here,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ISSUER: &str = "https://id.example.org/realms/vtl";

    fn document() -> Value {
        json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://id.example.org/auth?realm=vtl",
            "token_endpoint": "https://id.example.org/token",
            "jwks_uri": "https://id.example.org/keys",
            "id_token_signing_alg_values_supported": ["HS256", "none", "RS256", "ES256"],
            "more": {"that": "nobody asked for"},
        })
    }

    fn parse(change: impl FnOnce(&mut Value)) -> Result<Metadata, String> {
        let mut document = document();
        change(&mut document);
        Metadata::parse(document.to_string().as_bytes(), ISSUER).map_err(|error| error.to_string())
    }

    #[test]
    fn algorithms_are_those_that_the_provider_announces_and_that_need_no_shared_secret() {
        let names: Vec<_> = parse(|_| ()).unwrap().algorithms.iter().map(|one| one.name).collect();
        assert_eq!(names, ["RS256", "ES256"]);
        let weak = parse(|d| d["id_token_signing_alg_values_supported"] = json!(["none", "HS256"]));
        assert!(weak.unwrap_err().contains("in no way that is accepted"));
    }

    #[test]
    fn the_document_is_that_of_the_issuer_to_the_letter() {
        for other in ["https://id.example.org/realms/vtl/", "https://id.example.com/realms/vtl", ""] {
            let refused = parse(|d| d["issuer"] = json!(other)).unwrap_err();
            assert!(refused.contains("and not of 'https://id.example.org/realms/vtl'"), "{refused}");
        }
        assert_eq!(address("https://a.example/"), "https://a.example/.well-known/openid-configuration");
    }

    #[test]
    fn nothing_is_sent_in_clear_to_another_machine() {
        for name in ["authorization_endpoint", "token_endpoint", "jwks_uri"] {
            for wrong in
                ["http://id.example.org/x", "ftp://id.example.org/x", "/x", "https://a:b@id.example.org/"]
            {
                let refused = parse(|d| d[name] = json!(wrong)).unwrap_err();
                assert!(refused.contains("no address with https"), "{name} {wrong}: {refused}");
            }
            for right in
                ["http://127.0.0.1:9/x", "http://[::1]:9/x", "http://localhost/x", "https://a.example/x"]
            {
                assert!(parse(|d| d[name] = json!(right)).is_ok(), "{name} {right}");
            }
        }
    }

    #[test]
    fn the_secret_goes_into_the_header_where_the_provider_takes_it_there() {
        let way = |methods: Value| {
            parse(|d| d["token_endpoint_auth_methods_supported"] = methods).unwrap().secret_in
        };
        assert_eq!(parse(|_| ()).unwrap().secret_in, Some(SecretIn::Header));
        assert_eq!(way(json!(["client_secret_post", "client_secret_basic"])), Some(SecretIn::Header));
        assert_eq!(way(json!(["client_secret_post"])), Some(SecretIn::Form));
        assert_eq!(way(json!(["private_key_jwt"])), None);
    }
}
