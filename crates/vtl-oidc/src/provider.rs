//! One provider: what it says of itself and how long that counts, log-ins that are on their way to it, and how one ends.
//!
//! Requests to the provider are few by design, however often somebody asks here: its configuration and keys are kept for an
//! hour; keys are asked for again when a token names another, but not more often than once a minute; after a failure nothing is
//! asked for some seconds. A code is exchanged once for each log-in that was begun here.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value};
use vtl_types::Secret;
use zeroize::Zeroizing;

use crate::error::{Fault, OidcError, shown};
use crate::flow::{Flow, Flows, Random, Started};
use crate::jws::Keys;
use crate::metadata::{Metadata, SecretIn, address};
use crate::token::{Believed, Expected, verify};

/// So long what the provider says of itself counts.
const KEPT_S: u64 = 60 * 60;
/// Keys are asked for again at most so often.
const KEYS_AGAIN_S: u64 = 60;
/// After a failure nothing is asked for so long.
const FAILED_AGAIN_S: u64 = 5;
/// Of a longer code or token nothing is believed.
const MOST_CODE: usize = 4096;
const MOST_TOKEN: usize = 128 << 10;
/// Of a name and of a group.
const MOST_NAME: usize = 64;
const MOST_GROUP: usize = 255;
/// Of one person.
const MOST_GROUPS: usize = 2000;
/// A claim that counts only when the provider has verified it (Core, 5.1).
const EMAIL: &str = "email";
const EMAIL_VERIFIED: &str = "email_verified";

/// Requests to the provider: bounded in time and length, without following redirects.
pub trait Transport: Send + Sync {
    /// The body of a good answer.
    ///
    /// # Errors
    /// Why there is none.
    fn get(&self, address: &str) -> Result<Vec<u8>, String>;

    /// Posts a form; status and body, whatever the status is.
    ///
    /// # Errors
    /// Why there is no answer.
    fn post(&self, address: &str, form: &str, authorization: Option<&str>) -> Result<(u16, Vec<u8>), String>;
}

/// A time by two clocks: one that people read, and one that nobody sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Seconds since 1970 UTC.
    pub wall_s: u64,
    /// Seconds that only count up.
    pub count_s: u64,
}

/// Who we are at the provider, and what is read from its tokens.
#[derive(Clone, Debug)]
pub struct Client {
    /// The provider's name for itself.
    pub issuer: String,
    /// Ours.
    pub client_id: String,
    /// None: a public client.
    pub client_secret: Option<Secret>,
    /// Where browsers come back.
    pub redirect_uri: String,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// The claim with a name to show.
    pub name_claim: String,
    /// The claim with groups.
    pub groups_claim: String,
}

/// Whom the provider vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// With the issuer: who it is, for ever.
    pub subject: String,
    /// What to show, if there is something that can be shown.
    pub name: Option<String>,
    /// Groups, as the provider names them.
    pub groups: Vec<String>,
}

/// A browser that comes back.
#[derive(Clone, Copy, Default)]
pub struct Back<'a> {
    /// Which log-in it is.
    pub state: &'a str,
    /// What the provider gives a token for.
    pub code: Option<&'a str>,
    /// Why there is no code.
    pub error: Option<&'a str>,
    /// Who says so (RFC 9207).
    pub issuer: Option<&'a str>,
    /// The cookie of the browser.
    pub cookie: Option<&'a str>,
}

/// Somebody has proved who he is.
pub struct Arrived {
    /// Who.
    pub person: Person,
    /// The session that his browser had before.
    pub before: Option<Zeroizing<String>>,
}

impl fmt::Debug for Arrived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrived").field("person", &self.person).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Known {
    metadata: Option<(Arc<Metadata>, u64)>,
    keys: Arc<Keys>,
    keys_asked_count_s: u64,
    failed: Option<(OidcError, u64)>,
}

/// A provider as it is configured.
pub struct Provider<T> {
    client: Client,
    transport: T,
    flows: Mutex<Flows>,
    /// Held while the provider is asked: who wants the same waits, and asks nothing himself.
    known: Mutex<Known>,
    trouble: Mutex<Option<OidcError>>,
}

impl<T> fmt::Debug for Provider<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("client", &self.client).finish_non_exhaustive()
    }
}

fn lock<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Transport> Provider<T> {
    /// One of which nothing is known yet.
    pub fn new(client: Client, transport: T) -> Self {
        let (flows, known, trouble) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { client, transport, flows, known, trouble }
    }

    /// Its issuer.
    pub fn issuer(&self) -> &str {
        &self.client.issuer
    }

    /// What was wrong with it when it was asked last.
    pub fn trouble(&self) -> Option<OidcError> {
        lock(&self.trouble).clone()
    }

    /// Asks it what it says of itself, when that is not known or was wrong.
    ///
    /// # Errors
    /// It does not answer, or with something that cannot be used.
    pub fn look(&self, now: Moment) -> Result<(), OidcError> {
        if self.trouble().is_some() {
            lock(&self.known).metadata = None;
        }
        self.metadata(now).map(drop)
    }

    /// Begins a log-in: the address to send the browser to, and what binds it to the browser. `before`: the session that the
    /// browser has.
    ///
    /// # Errors
    /// Nothing is known of the provider.
    pub fn begin(
        &self,
        (from, before): (IpAddr, Option<Zeroizing<String>>),
        now: Moment,
        random: Random<'_>,
    ) -> Result<(String, Zeroizing<String>), OidcError> {
        let metadata = self.metadata(now)?;
        let started = lock(&self.flows).begin(from, before, now.count_s, random);
        let address = self.authorization(&metadata, &started);
        Ok((address, started.cookie))
    }

    /// Core, 3.1.2.1, and RFC 7636, 4.3.
    fn authorization(&self, metadata: &Metadata, started: &Started) -> String {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client.client_id)
            .append_pair("redirect_uri", &self.client.redirect_uri)
            .append_pair("scope", &self.client.scopes.join(" "))
            .append_pair("state", &started.state)
            .append_pair("nonce", &started.nonce)
            .append_pair("code_challenge", &started.challenge)
            .append_pair("code_challenge_method", "S256")
            .finish();
        let joint = if metadata.authorization.contains('?') { '&' } else { '?' };
        format!("{}{joint}{query}", metadata.authorization)
    }

    /// Ends a log-in, whatever comes of it.
    ///
    /// # Errors
    /// Why nobody is logged in.
    pub fn finish(&self, back: Back<'_>, now: Moment) -> Result<Arrived, OidcError> {
        let flow = lock(&self.flows).take(back.state, back.cookie, now.count_s)?;
        let metadata = self.metadata(now)?;
        let is_from_it = back.issuer.map_or(!metadata.names_issuer, |issuer| issuer == self.client.issuer);
        if !is_from_it {
            return Err(OidcError::AnotherIssuer);
        }
        if let Some(error) = back.error {
            return Err(OidcError::Denied(code_word(error)));
        }
        let code = back.code.filter(|code| (1..=MOST_CODE).contains(&code.len())).ok_or(OidcError::NoCode)?;
        let token = self.exchange(&metadata, code, &flow)?;
        *lock(&self.trouble) = None;
        let believed = self.believe(&token, &metadata, &flow, now)?;
        Ok(Arrived { person: self.person(believed), before: flow.before })
    }

    /// The ID token for a code (Core, 3.1.3).
    fn exchange(&self, metadata: &Metadata, code: &str, flow: &Flow) -> Result<Zeroizing<String>, OidcError> {
        #[derive(Deserialize)]
        struct Answer {
            id_token: Option<String>,
            error: Option<String>,
        }
        let (form, authorization) = self.request(metadata, code, flow)?;
        let answered =
            self.transport.post(&metadata.token, &form, authorization.as_ref().map(|text| text.as_str()));
        let (status, body) = answered.map_err(|why| self.unreachable(&metadata.token, why))?;
        let answer: Option<Answer> = serde_json::from_slice(&body).ok();
        let said = match answer {
            Some(Answer { id_token: Some(token), error: None }) if status == 200 => {
                return match token.len() <= MOST_TOKEN {
                    true => Ok(Zeroizing::new(token)),
                    false => Err(OidcError::NotExchanged("its ID token is too long".to_owned())),
                };
            }
            Some(Answer { error: Some(error), .. }) => code_word(&error),
            _ => "there is no ID token in its answer".to_owned(),
        };
        Err(OidcError::NotExchanged(format!("status {status}, {said}")))
    }

    /// The form, and the header when the secret goes there (RFC 6749, 2.3.1).
    fn request(
        &self,
        metadata: &Metadata,
        code: &str,
        flow: &Flow,
    ) -> Result<(Zeroizing<String>, Option<Zeroizing<String>>), OidcError> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", &self.client.redirect_uri)
            .append_pair("code_verifier", &flow.verifier);
        let id = &self.client.client_id;
        let Some(secret) = &self.client.client_secret else {
            return Ok((Zeroizing::new(form.append_pair("client_id", id).finish()), None));
        };
        let escaped = |bytes: &[u8]| form_urlencoded::byte_serialize(bytes).collect::<String>();
        let secret = Zeroizing::new(escaped(secret.expose()));
        match metadata.secret_in {
            Some(SecretIn::Header) => {
                let pair = Zeroizing::new(format!("{}:{}", escaped(id.as_bytes()), secret.as_str()));
                let header = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
                Ok((Zeroizing::new(form.finish()), Some(header)))
            }
            Some(SecretIn::Form) => {
                let form = Zeroizing::new(form.append_pair("client_id", id).finish());
                Ok((Zeroizing::new(format!("{}&client_secret={}", form.as_str(), secret.as_str())), None))
            }
            None => Err(OidcError::Unusable(
                "configuration",
                "it takes a client's secret neither in a header nor in a form".to_owned(),
            )),
        }
    }

    /// With the keys that are known, or those that the provider has now.
    fn believe(
        &self,
        token: &str,
        metadata: &Metadata,
        flow: &Flow,
        now: Moment,
    ) -> Result<Believed, OidcError> {
        let expected = Expected {
            issuer: &self.client.issuer,
            client_id: &self.client.client_id,
            nonce: &flow.nonce,
            now_s: now.wall_s,
            algorithms: &metadata.algorithms,
        };
        let keys = lock(&self.known).keys.clone();
        match verify(token, &keys, &expected) {
            Err(Fault::UnknownKey(id)) => {
                let keys = self.newer_keys(metadata, now)?.ok_or(Fault::UnknownKey(id))?;
                Ok(verify(token, &keys, &expected)?)
            }
            known => Ok(known?),
        }
    }

    /// None: they were asked for a moment ago.
    fn newer_keys(&self, metadata: &Metadata, now: Moment) -> Result<Option<Arc<Keys>>, OidcError> {
        let mut known = lock(&self.known);
        if now.count_s < known.keys_asked_count_s.saturating_add(KEYS_AGAIN_S) {
            return Ok(None);
        }
        known.keys_asked_count_s = now.count_s;
        known.keys = Arc::new(self.keys(metadata)?);
        Ok(Some(known.keys.clone()))
    }

    fn keys(&self, metadata: &Metadata) -> Result<Keys, OidcError> {
        let text = self.transport.get(&metadata.keys).map_err(|why| self.unreachable(&metadata.keys, why))?;
        Keys::parse(&text)
    }

    fn metadata(&self, now: Moment) -> Result<Arc<Metadata>, OidcError> {
        let mut known = lock(&self.known);
        if let Some((metadata, at_s)) = &known.metadata
            && now.count_s < at_s.saturating_add(KEPT_S)
        {
            return Ok(metadata.clone());
        }
        if let Some((error, at_s)) = &known.failed
            && now.count_s < at_s.saturating_add(FAILED_AGAIN_S)
        {
            return Err(error.clone());
        }
        let asked = self.ask();
        *lock(&self.trouble) = asked.as_ref().err().cloned();
        match asked {
            Ok((metadata, keys)) => {
                let metadata = Arc::new(metadata);
                *known = Known {
                    metadata: Some((metadata.clone(), now.count_s)),
                    keys: Arc::new(keys),
                    keys_asked_count_s: now.count_s,
                    failed: None,
                };
                Ok(metadata)
            }
            Err(error) => {
                known.failed = Some((error.clone(), now.count_s));
                Err(error)
            }
        }
    }

    fn ask(&self) -> Result<(Metadata, Keys), OidcError> {
        let address = address(&self.client.issuer);
        let text = self.transport.get(&address).map_err(|why| self.unreachable(&address, why))?;
        let metadata = Metadata::parse(&text, &self.client.issuer)?;
        let keys = self.keys(&metadata)?;
        Ok((metadata, keys))
    }

    fn unreachable(&self, address: &str, why: String) -> OidcError {
        let error = OidcError::Unreachable(address.to_owned(), why);
        *lock(&self.trouble) = Some(error.clone());
        error
    }

    fn person(&self, believed: Believed) -> Person {
        let Believed { subject, claims } = believed;
        let name = name(&claims, &self.client.name_claim);
        let groups = groups(claims.get(&self.client.groups_claim));
        Person { subject, name, groups }
    }
}

/// An error code of RFC 6749 or OpenID Connect; whatever else stands there is not shown.
fn code_word(error: &str) -> String {
    let is_usual = error.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if is_usual && !error.is_empty() { shown(error) } else { "an error without a usual name".to_owned() }
}

/// A name that can stand in a page and a log without looking like something else.
fn name(claims: &Map<String, Value>, claim: &str) -> Option<String> {
    if claim == EMAIL && claims.get(EMAIL_VERIFIED) != Some(&Value::Bool(true)) {
        return None;
    }
    let text = claims.get(claim)?.as_str()?.trim();
    let usual = |c: char| c.is_alphanumeric() || "._-@+' ".contains(c);
    let is_short = (1..=MOST_NAME).contains(&text.chars().count());
    (is_short && text.chars().all(usual)).then(|| text.to_owned())
}

/// A text, or texts of a list.
fn groups(claim: Option<&Value>) -> Vec<String> {
    let all = match claim {
        Some(Value::Array(all)) => all.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    let texts = all.iter().filter_map(Value::as_str).filter(|text| text.len() <= MOST_GROUP);
    texts.take(MOST_GROUPS).map(str::to_owned).collect()
}
