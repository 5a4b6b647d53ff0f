//! Whole log-ins at a small provider that is part of the test: it signs with keys that are made here, and lies when asked to.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use vtl_types::Secret;

use crate::{Back, Client, Fault, Moment, OidcError, Person, Provider, Transport};

const ISSUER: &str = "https://id.example.org";
const CLIENT: &str = "vtl-test";
const RETURN: &str = "https://vtl.example.org:8460/api/v1/session/oidc/callback";
const NOW_S: u64 = 1_800_000_000;

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Keys of the provider, made once.
struct Keys {
    ec: EcdsaKeyPair,
    other_ec: EcdsaKeyPair,
    rsa: RsaKeyPair,
    ed: Ed25519KeyPair,
}

impl Keys {
    fn new() -> Self {
        let ec = || EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let (rsa, ed) =
            (RsaKeyPair::generate(KeySize::Rsa2048).unwrap(), Ed25519KeyPair::generate().unwrap());
        Self { ec: ec(), other_ec: ec(), rsa, ed }
    }

    fn ec_row(key: &EcdsaKeyPair, id: &str) -> Value {
        let point = key.public_key().as_ref();
        let (x, y) = (encoded(&point[1..33]), encoded(&point[33..65]));
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": id, "x": x, "y": y})
    }

    /// RFC 8017, A.1.1: SEQUENCE { INTEGER n, INTEGER 65537 } of a key of 2048 bits.
    fn modulus(&self) -> Vec<u8> {
        let der = self.rsa.public_key().as_ref();
        assert_eq!((der.len(), &der[4..9]), (270, &[0x02, 0x82, 0x01, 0x01, 0x00][..]));
        der[9..265].to_vec()
    }

    fn rsa_row(&self) -> Value {
        json!({"kty": "RSA", "use": "sig", "kid": "rsa", "n": encoded(self.modulus()), "e": "AQAB"})
    }

    fn ed_row(&self) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": encoded(self.ed.public_key().as_ref())})
    }

    fn sign(&self, alg: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let rsa = |padding| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            self.rsa.sign(padding, &random, message, &mut signature).unwrap();
            signature
        };
        match alg {
            "ES256" => self.ec.sign(&random, message).unwrap().as_ref().to_vec(),
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            "PS256" => rsa(&RSA_PSS_SHA256),
            "EdDSA" => self.ed.sign(message).as_ref().to_vec(),
            "HS256" => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &self.modulus());
                hmac::sign(&key, message).as_ref().to_vec()
            }
            _ => Vec::new(),
        }
    }
}

/// What the provider does next.
struct Script {
    keys: Keys,
    published: Vec<Value>,
    methods: Value,
    up: bool,
    head: Value,
    claims: Value,
    /// How the token is signed, when it is not as its header says.
    signed_as: Option<&'static str>,
    /// What was asked, and how often.
    asked: BTreeMap<String, u32>,
    /// The last form and its header.
    posted: (String, Option<String>),
}

#[derive(Clone)]
struct Little(Arc<Mutex<Script>>);

impl Transport for Little {
    fn get(&self, address: &str) -> Result<Vec<u8>, String> {
        let mut script = self.0.lock().unwrap();
        *script.asked.entry(address.to_owned()).or_default() += 1;
        if !script.up {
            return Err("connection refused".to_owned());
        }
        let answer = match address {
            "https://id.example.org/.well-known/openid-configuration" => json!({
                "issuer": ISSUER,
                "authorization_endpoint": "https://id.example.org/auth",
                "token_endpoint": "https://id.example.org/token",
                "jwks_uri": "https://id.example.org/keys",
                "id_token_signing_alg_values_supported": ["RS256", "PS256", "ES256", "EdDSA", "HS256", "none"],
                "token_endpoint_auth_methods_supported": script.methods,
                "authorization_response_iss_parameter_supported": true,
            }),
            "https://id.example.org/keys" => json!({ "keys": script.published }),
            other => panic!("{other}"),
        };
        Ok(answer.to_string().into_bytes())
    }

    fn post(&self, address: &str, form: &str, authorization: Option<&str>) -> Result<(u16, Vec<u8>), String> {
        assert_eq!(address, "https://id.example.org/token");
        let mut script = self.0.lock().unwrap();
        script.posted = (form.to_owned(), authorization.map(str::to_owned));
        if !form.contains("&code=good&") {
            return Ok((400, br#"{"error": "invalid_grant", "error_description": "made-up"}"#.to_vec()));
        }
        let message = format!("{}.{}", encoded(script.head.to_string()), encoded(script.claims.to_string()));
        let alg = script.signed_as.unwrap_or_else(|| match script.head["alg"].as_str().unwrap() {
            "ES256" => "ES256",
            "RS256" => "RS256",
            "PS256" => "PS256",
            "EdDSA" => "EdDSA",
            "HS256" => "HS256",
            _ => "none",
        });
        let token = format!("{message}.{}", encoded(script.keys.sign(alg, message.as_bytes())));
        Ok((
            200,
            json!({"id_token": token, "access_token": "made-up", "token_type": "Bearer"}).to_string().into(),
        ))
    }
}

struct Stage {
    little: Little,
    provider: Provider<Little>,
    next: Cell<u32>,
    count_s: Cell<u64>,
}

fn client(secret: Option<&str>) -> Client {
    Client {
        issuer: ISSUER.to_owned(),
        client_id: CLIENT.to_owned(),
        client_secret: secret.map(|text| Secret::new(text.as_bytes().to_vec())),
        redirect_uri: RETURN.to_owned(),
        scopes: vec!["openid".to_owned(), "profile".to_owned()],
        name_claim: "preferred_username".to_owned(),
        groups_claim: "groups".to_owned(),
    }
}

fn parameters(query: &str) -> BTreeMap<String, String> {
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

impl Stage {
    fn new() -> Self {
        Self::with(client(None))
    }

    fn with(client: Client) -> Self {
        let keys = Keys::new();
        let published = vec![Keys::ec_row(&keys.ec, "ec"), keys.rsa_row(), keys.ed_row()];
        let script = Script {
            keys,
            published,
            methods: json!(["client_secret_basic", "none"]),
            up: true,
            head: json!({"alg": "ES256", "kid": "ec"}),
            claims: Value::Null,
            signed_as: None,
            asked: BTreeMap::new(),
            posted: Default::default(),
        };
        let little = Little(Arc::new(Mutex::new(script)));
        let provider = Provider::new(client, little.clone());
        Self { little, provider, next: Cell::new(0), count_s: Cell::new(1000) }
    }

    fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.little.0.lock().unwrap());
    }

    fn asked(&self, path: &str) -> u32 {
        self.little.0.lock().unwrap().asked.get(&format!("{ISSUER}{path}")).copied().unwrap_or_default()
    }

    fn now(&self) -> Moment {
        Moment { wall_s: NOW_S, count_s: self.count_s.get() }
    }

    fn later(&self, seconds: u64) {
        self.count_s.set(self.count_s.get() + seconds);
    }

    /// Parameters of the address that the browser is sent to, and the cookie.
    fn begin(&self) -> (BTreeMap<String, String>, String) {
        let from = IpAddr::from([192, 0, 2, 1]);
        let random = |bytes: &mut [u8]| {
            self.next.set(self.next.get() + 1);
            bytes.iter_mut().zip(self.next.get().to_be_bytes().iter().cycle()).for_each(|(b, n)| *b = *n);
        };
        let (address, cookie) = self.provider.begin((from, None), self.now(), &random).unwrap();
        let (place, query) = address.split_once('?').unwrap();
        assert_eq!(place, "https://id.example.org/auth");
        (parameters(query), cookie.to_string())
    }

    /// A token as a provider that is right gives it for this log-in.
    fn claims(nonce: &str) -> Value {
        json!({
            "iss": ISSUER, "sub": "7f3a", "aud": CLIENT, "exp": NOW_S + 300, "iat": NOW_S, "nonce": nonce,
            "preferred_username": "ann", "groups": ["tape-readers", "staff"],
        })
    }

    /// A log-in whose token is changed on the way.
    fn log_in(&self, change: impl FnOnce(&mut Script)) -> Result<Person, OidcError> {
        let (sent, cookie) = self.begin();
        self.script(|script| {
            script.claims = Self::claims(&sent["nonce"]);
            change(script);
        });
        let back = Back {
            state: &sent["state"],
            code: Some("good"),
            issuer: Some(ISSUER),
            cookie: Some(&cookie),
            error: None,
        };
        self.provider.finish(back, self.now()).map(|arrived| arrived.person)
    }

    #[track_caller]
    fn refused(&self, fault: Fault, change: impl FnOnce(&mut Script)) {
        assert_eq!(self.log_in(change).unwrap_err(), OidcError::Token(fault));
    }
}

#[test]
fn somebody_whom_the_provider_vouches_for_arrives_with_name_and_groups() {
    let stage = Stage::new();
    let (sent, _) = stage.begin();
    assert_eq!(
        (sent["response_type"].as_str(), sent["scope"].as_str(), sent["code_challenge_method"].as_str()),
        ("code", "openid profile", "S256")
    );
    assert_eq!((sent["client_id"].as_str(), sent["redirect_uri"].as_str()), (CLIENT, RETURN));
    let person = stage.log_in(|_| ()).unwrap();
    let groups = vec!["tape-readers".to_owned(), "staff".to_owned()];
    assert_eq!(person, Person { subject: "7f3a".to_owned(), name: Some("ann".to_owned()), groups });
    let form = parameters(&stage.little.0.lock().unwrap().posted.0);
    assert_eq!((form["grant_type"].as_str(), form["redirect_uri"].as_str()), ("authorization_code", RETURN));
    assert_eq!((form["client_id"].as_str(), form["code_verifier"].len()), (CLIENT, 43));
}

#[test]
fn every_algorithm_that_the_provider_announces_is_verified_with_its_own_kind_of_key() {
    let stage = Stage::new();
    for (alg, kid) in [("ES256", "ec"), ("RS256", "rsa"), ("PS256", "rsa"), ("EdDSA", "ed")] {
        let signed = stage.log_in(|script| script.head = json!({"alg": alg, "kid": kid}));
        assert_eq!(signed.unwrap().subject, "7f3a", "{alg}");
        let changed = stage.log_in(|script| {
            script.signed_as = Some("none");
            script.head = json!({"alg": alg, "kid": kid});
        });
        assert_eq!(changed.unwrap_err(), OidcError::Token(Fault::Signature), "{alg}");
        stage.script(|script| script.signed_as = None);
    }
    stage.refused(Fault::Signature, |script| {
        script.head = json!({"alg": "RS256", "kid": "rsa"});
        script.signed_as = Some("PS256");
    });
}

#[test]
fn a_token_that_is_not_signed_or_signed_with_what_everybody_knows_is_refused() {
    let stage = Stage::new();
    let named = |name: &str| Fault::Algorithm(name.to_owned());
    stage.refused(named("none"), |script| script.head = json!({"alg": "none"}));
    stage.refused(named("NONE"), |script| script.head = json!({"alg": "NONE"}));
    // The public key as the key of an HMAC.
    stage.refused(named("HS256"), |script| script.head = json!({"alg": "HS256", "kid": "rsa"}));
    // Good, and not announced by this provider.
    stage.refused(named("ES384"), |script| script.head = json!({"alg": "ES384", "kid": "ec"}));
    stage.refused(Fault::Critical, |script| {
        script.head = json!({"alg": "ES256", "kid": "ec", "crit": ["exp"]});
    });
}

#[test]
fn a_token_of_another_provider_client_log_in_or_time_is_refused() {
    let stage = Stage::new();
    let claim = |name: &'static str, value: Value| move |script: &mut Script| script.claims[name] = value;
    let other = "https://id.example.com".to_owned();
    stage.refused(Fault::Issuer(other.clone()), claim("iss", json!(other)));
    stage.refused(Fault::Audience, claim("aud", json!("another")));
    stage.refused(Fault::Audience, claim("aud", json!([])));
    stage.refused(Fault::Party, claim("aud", json!(["another", CLIENT])));
    stage.refused(Fault::Party, claim("azp", json!("another")));
    stage.refused(Fault::Nonce, claim("nonce", json!("of another log-in")));
    stage.refused(Fault::Nonce, claim("nonce", Value::Null));
    stage.refused(Fault::Expired, claim("exp", json!(NOW_S - 120)));
    stage.refused(Fault::NotYet, claim("iat", json!(NOW_S + 121)));
    stage.refused(Fault::NotYet, claim("nbf", json!(NOW_S + 121)));
    stage.refused(Fault::Old, claim("iat", json!(NOW_S - 721)));
    stage.refused(Fault::Subject, claim("sub", json!("")));
    stage.refused(Fault::Subject, claim("sub", json!("7f3a\nroot")));
    for (name, value) in
        [("sub", Value::Null), ("exp", json!("2100")), ("exp", Value::Null), ("iat", Value::Null)]
    {
        stage.refused(Fault::Malformed("claims"), claim(name, value));
    }
    assert!(stage.log_in(claim("aud", json!([CLIENT]))).is_ok());
    let both = |script: &mut Script| {
        script.claims["aud"] = json!(["another", CLIENT]);
        script.claims["azp"] = json!(CLIENT);
    };
    assert!(stage.log_in(both).is_ok());
    assert!(stage.log_in(claim("exp", json!(NOW_S - 119))).is_ok(), "clocks may differ by two minutes");
}

#[test]
fn a_state_is_used_once_in_its_own_browser_and_an_answer_names_its_provider() {
    let stage = Stage::new();
    let (sent, cookie) = stage.begin();
    stage.script(|script| script.claims = Stage::claims(&sent["nonce"]));
    let back = Back { state: &sent["state"], code: Some("good"), issuer: Some(ISSUER), ..Back::default() };
    let finish =
        |back: Back<'_>| stage.provider.finish(back, stage.now()).map(|arrived| arrived.person.subject);
    assert_eq!(finish(Back { cookie: Some("another"), ..back }), Err(OidcError::OtherBrowser));
    assert_eq!(finish(Back { cookie: Some(&cookie), ..back }), Err(OidcError::UnknownState), "used up");
    let answered = |change: fn(&mut Back<'_>)| {
        let (sent, cookie) = stage.begin();
        stage.script(|script| script.claims = Stage::claims(&sent["nonce"]));
        let mut back = Back { state: &sent["state"], cookie: Some(&cookie), ..back };
        change(&mut back);
        let first = finish(back);
        assert_eq!(finish(back), Err(OidcError::UnknownState));
        first
    };
    assert_eq!(answered(|_| ()), Ok("7f3a".to_owned()));
    assert_eq!(answered(|back| back.issuer = None), Err(OidcError::AnotherIssuer));
    assert_eq!(answered(|back| back.issuer = Some("https://id.example.com")), Err(OidcError::AnotherIssuer));
    assert_eq!(answered(|back| back.code = None), Err(OidcError::NoCode));
    assert_eq!(
        answered(|back| back.error = Some("access_denied")),
        Err(OidcError::Denied("access_denied".to_owned()))
    );
    let told = answered(|back| back.error = Some("<b>call 555</b>")).unwrap_err().to_string();
    assert_eq!(told, "the provider refused the log-in: an error without a usual name");
    let told = answered(|back| back.code = Some("bad")).unwrap_err().to_string();
    assert_eq!(told, "the provider gives no token for the code: status 400, invalid_grant");
}

#[test]
fn keys_are_asked_for_again_at_one_that_is_not_known_and_not_more_often_than_once_a_minute() {
    let stage = Stage::new();
    let unknown = || Fault::UnknownKey("new".to_owned());
    let new = |script: &mut Script| {
        script.head["kid"] = json!("new");
        std::mem::swap(&mut script.keys.ec, &mut script.keys.other_ec);
    };
    stage.refused(unknown(), new);
    assert_eq!(stage.asked("/keys"), 1, "they were asked for a moment ago");
    stage.later(60);
    stage.refused(unknown(), |_| ());
    stage.refused(unknown(), |_| ());
    assert_eq!(stage.asked("/keys"), 2);
    stage.script(|script| {
        let row = Keys::ec_row(&script.keys.ec, "new");
        script.published.push(row);
    });
    stage.refused(unknown(), |_| ());
    stage.later(60);
    assert_eq!(stage.log_in(|_| ()).unwrap().subject, "7f3a");
    assert_eq!(stage.asked("/keys"), 3);
}

#[test]
fn without_an_id_of_a_key_there_must_be_one_that_fits() {
    let stage = Stage::new();
    assert!(stage.log_in(|script| script.head = json!({"alg": "ES256"})).is_ok());
    stage.later(60);
    stage.script(|script| {
        let row = Keys::ec_row(&script.keys.other_ec, "second");
        script.published.push(row);
    });
    stage.later(3600);
    stage.refused(Fault::UnknownKey(String::new()), |_| ());
}

#[test]
fn a_key_for_something_else_verifies_nothing() {
    let stage = Stage::new();
    for (name, value) in
        [("use", json!("enc")), ("crv", json!("P-384")), ("alg", json!("ES384")), ("kty", json!("OKP"))]
    {
        stage.later(3600);
        stage.script(|script| {
            script.published = vec![Keys::ec_row(&script.keys.ec, "ec")];
            script.published[0][name] = value;
        });
        stage.refused(Fault::UnknownKey("ec".to_owned()), |_| ());
    }
}

#[test]
fn what_the_provider_says_of_itself_is_kept_for_an_hour_and_a_failure_for_seconds() {
    let stage = Stage::new();
    const CONFIGURATION: &str = "/.well-known/openid-configuration";
    stage.script(|script| script.up = false);
    for _ in 0..10 {
        assert!(matches!(stage.provider.look(stage.now()), Err(OidcError::Unreachable(..))));
    }
    assert_eq!(stage.asked(CONFIGURATION), 1);
    let trouble = stage.provider.trouble().unwrap().to_string();
    assert_eq!(
        trouble,
        "https://id.example.org/.well-known/openid-configuration does not answer: connection refused"
    );
    stage.script(|script| script.up = true);
    stage.later(5);
    stage.provider.look(stage.now()).unwrap();
    assert_eq!(stage.provider.trouble(), None);
    stage.later(3599);
    stage.provider.look(stage.now()).unwrap();
    assert_eq!(stage.asked(CONFIGURATION), 2);
    stage.later(1);
    stage.provider.look(stage.now()).unwrap();
    assert_eq!(stage.asked(CONFIGURATION), 3);
}

#[test]
fn the_secret_goes_where_the_provider_takes_it_and_is_escaped() {
    let stage = Stage::with(client(Some("made up: secret/1")));
    stage.log_in(|_| ()).unwrap();
    let (form, header) = stage.little.0.lock().unwrap().posted.clone();
    // RFC 6749, 2.3.1: both are escaped as in a form before they are joined.
    let header = header.unwrap();
    let pair = STANDARD.decode(header.strip_prefix("Basic ").unwrap()).unwrap();
    assert_eq!(pair, b"vtl-test:made+up%3A+secret%2F1");
    assert!(!form.contains("secret") && !form.contains("client_id"), "{form}");
    stage.later(3600);
    stage.script(|script| script.methods = json!(["client_secret_post"]));
    stage.log_in(|_| ()).unwrap();
    let (form, header) = stage.little.0.lock().unwrap().posted.clone();
    assert_eq!(header, None);
    assert_eq!(parameters(&form)["client_secret"], "made up: secret/1");
    stage.later(3600);
    stage.script(|script| script.methods = json!(["private_key_jwt"]));
    assert!(matches!(stage.log_in(|_| ()), Err(OidcError::Unusable("configuration", _))));
    assert!(!format!("{:?}", stage.provider).contains("made up"));
}

#[test]
fn a_name_that_could_be_taken_for_something_else_is_not_shown() {
    let stage = Stage::new();
    let shown = |name: Value| stage.log_in(|script| script.claims["preferred_username"] = name).unwrap().name;
    assert_eq!(shown(json!("Ann Müller")), Some("Ann Müller".to_owned()));
    assert_eq!(shown(json!("ann@example.org")), Some("ann@example.org".to_owned()));
    for odd in [json!("ann\nroot"), json!("<b>ann</b>"), json!(""), json!(5), Value::Null, json!("oidc:x#y")]
    {
        assert_eq!(shown(odd), None);
    }
    assert_eq!(shown(json!("a".repeat(65))), None);
}

#[test]
fn an_address_of_mail_counts_as_a_name_when_the_provider_has_verified_it() {
    let stage = Stage::with(Client { name_claim: "email".to_owned(), ..client(None) });
    let shown = |verified: Value| {
        let claims = |script: &mut Script| {
            script.claims["email"] = json!("ann@example.org");
            script.claims["email_verified"] = verified;
        };
        stage.log_in(claims).unwrap().name
    };
    assert_eq!(shown(json!(true)), Some("ann@example.org".to_owned()));
    for unproved in [json!(false), Value::Null, json!("true")] {
        assert_eq!(shown(unproved), None);
    }
}

#[test]
fn groups_are_a_text_or_the_texts_of_a_list() {
    let stage = Stage::new();
    let groups = |value: Value| stage.log_in(|script| script.claims["groups"] = value).unwrap().groups;
    assert_eq!(groups(json!("one")), ["one"]);
    assert_eq!(groups(json!(["one", 2, {"three": 3}, "four"])), ["one", "four"]);
    assert!(groups(Value::Null).is_empty());
}

#[test]
fn what_is_no_token_is_refused_whatever_it_is() {
    let expected = crate::token::Expected {
        issuer: ISSUER,
        client_id: CLIENT,
        nonce: "n",
        now_s: NOW_S,
        algorithms: &[],
    };
    let long = "a.".repeat(10_000);
    let head = encoded(r#"{"alg": 5}"#);
    let [only_head, list] = [format!("{head}.e30."), format!("{}.e30.", encoded("[]"))];
    for text in ["", ".", "..", "...", "a.b", "a.b.c", "ä.ö.ü", "e30.e30.e30", &long, &only_head, &list] {
        let refused = crate::token::verify(text, &Default::default(), &expected).unwrap_err();
        assert!(matches!(refused, Fault::Malformed(_)), "{text}: {refused:?}");
    }
}
