//! ID tokens (OpenID Connect Core 1.0, 3.1.3.7): read, and believed only when everything about them is right.

use serde::Deserialize;
use serde_json::{Map, Value};
use subtle::ConstantTimeEq;

use crate::error::{Fault, shown};
use crate::flow::FLOW_S;
use crate::jws::{Algorithm, Key, Keys, bytes};

/// Clocks may differ by so much.
const LEEWAY_S: u64 = 2 * 60;
/// Core, 2.
const MOST_SUBJECT: usize = 255;

/// What a token is held against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) nonce: &'a str,
    /// Seconds since 1970 UTC.
    pub(crate) now_s: u64,
    /// Those that the provider announces and that are accepted here.
    pub(crate) algorithms: &'a [&'static Algorithm],
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    azp: Option<String>,
    exp: f64,
    iat: f64,
    nbf: Option<f64>,
    nonce: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn all(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(all) => all,
        }
    }
}

/// Whom a token names, and all that it says of him.
#[derive(Debug)]
pub(crate) struct Believed {
    pub(crate) subject: String,
    pub(crate) claims: Map<String, Value>,
}

/// Checks a token.
pub(crate) fn verify(token: &str, keys: &Keys, expected: &Expected<'_>) -> Result<Believed, Fault> {
    let (message, signature) = token.rsplit_once('.').ok_or(Fault::Malformed("form"))?;
    let (header, payload) = message.split_once('.').ok_or(Fault::Malformed("form"))?;
    let head: Header = part(header, "header")?;
    let (algorithm, key) = key_of(&head, keys, expected)?;
    let signature = bytes(signature).ok_or(Fault::Malformed("signature"))?;
    if !key.verifies(algorithm, message.as_bytes(), &signature) {
        return Err(Fault::Signature);
    }
    let claims: Claims = part(payload, "claims")?;
    meant(&claims, expected)?;
    in_time(&claims, expected.now_s)?;
    Ok(Believed { subject: claims.sub, claims: part(payload, "claims")? })
}

fn part<T: for<'de> Deserialize<'de>>(text: &str, name: &'static str) -> Result<T, Fault> {
    let json = bytes(text).ok_or(Fault::Malformed(name))?;
    serde_json::from_slice(&json).map_err(|_| Fault::Malformed(name))
}

fn key_of<'k>(
    head: &Header,
    keys: &'k Keys,
    expected: &Expected<'_>,
) -> Result<(&'static Algorithm, &'k Key), Fault> {
    let known = expected.algorithms.iter().find(|known| known.name == head.alg);
    let algorithm = *known.ok_or_else(|| Fault::Algorithm(shown(&head.alg)))?;
    if head.crit.is_some() {
        return Err(Fault::Critical);
    }
    let id = head.kid.as_deref();
    let key = keys.find(id, algorithm).ok_or_else(|| Fault::UnknownKey(shown(id.unwrap_or_default())))?;
    Ok((algorithm, key))
}

/// From this provider, for this client, of this log-in, about somebody.
fn meant(claims: &Claims, expected: &Expected<'_>) -> Result<(), Fault> {
    if claims.iss != expected.issuer {
        return Err(Fault::Issuer(shown(&claims.iss)));
    }
    let audience = claims.aud.all();
    if !audience.iter().any(|one| one == expected.client_id) {
        return Err(Fault::Audience);
    }
    let is_ours = |party: &String| party == expected.client_id;
    if !claims.azp.as_ref().map_or(audience.len() == 1, is_ours) {
        return Err(Fault::Party);
    }
    let nonce = claims.nonce.as_deref().unwrap_or_default();
    if !bool::from(nonce.as_bytes().ct_eq(expected.nonce.as_bytes())) {
        return Err(Fault::Nonce);
    }
    let visible = claims.sub.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if visible && (1..=MOST_SUBJECT).contains(&claims.sub.len()) { Ok(()) } else { Err(Fault::Subject) }
}

#[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^53")]
fn in_time(claims: &Claims, now_s: u64) -> Result<(), Fault> {
    let (now, leeway) = (now_s as f64, LEEWAY_S as f64);
    if claims.exp + leeway <= now {
        return Err(Fault::Expired);
    }
    if claims.iat > now + leeway || claims.nbf.is_some_and(|from| from > now + leeway) {
        return Err(Fault::NotYet);
    }
    if claims.iat + FLOW_S as f64 + leeway < now { Err(Fault::Old) } else { Ok(()) }
}
