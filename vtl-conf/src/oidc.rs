//! `access.oidc.*`: log-in by a provider of identities, and the address under which browsers come back from it.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Value;
use vtl_types::Secret;

use crate::check::{Checker, Parsed, absolute_path, list, text};
use crate::config::Api;
use crate::secrets;

/// An issuer stands in the audit log before each subject.
const MOST_ISSUER: usize = 255;
const MOST_TEXT: usize = 255;
/// Groups that are mapped to one role.
const MOST_GROUPS: usize = 64;
/// The scope without which there is no ID token.
const OPENID: &str = "openid";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct OidcMirror {
    pub issuer: Option<Value>,
    pub name: Option<Value>,
    pub client_id: Option<Value>,
    pub client_secret_file: Option<Value>,
    pub ca_file: Option<Value>,
    pub scopes: Option<Value>,
    pub name_claim: Option<Value>,
    pub groups_claim: Option<Value>,
    pub roles: RolesMirror,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RolesMirror {
    pub viewer: Option<Value>,
    pub operator: Option<Value>,
    pub administrator: Option<Value>,
    #[serde(rename = "security-officer")]
    pub security_officer: Option<Value>,
}

/// `access.oidc.*`
#[derive(Clone, Debug)]
pub struct Oidc {
    /// The provider, exactly as it calls itself.
    pub issuer: String,
    /// What pages call it.
    pub name: String,
    /// Who we are there.
    pub client_id: String,
    /// What proves it; `None`: a public client.
    pub client_secret: Option<Secret>,
    /// Certificates to trust in place of the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// What is asked for; `openid` is among them.
    pub scopes: Vec<String>,
    /// The claim that is shown as somebody's name.
    pub name_claim: String,
    /// The claim with somebody's groups.
    pub groups_claim: String,
    /// Which groups have which role.
    pub roles: RoleGroups,
}

/// For the question whether a reload changes anything.
impl PartialEq for Oidc {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Oidc {
    fn parts(&self) -> impl PartialEq + '_ {
        let Self { issuer, name, client_id, client_secret, ca_file, scopes, name_claim, groups_claim, roles } =
            self;
        let secret = client_secret.as_ref().map(Secret::expose);
        (issuer, name, client_id, secret, ca_file, scopes, name_claim, groups_claim, roles)
    }
}

impl Eq for Oidc {}

/// `access.oidc.roles.*`: groups of the provider, by the role that they have here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleGroups {
    /// Who looks.
    pub viewer: Vec<String>,
    /// Who works with it.
    pub operator: Vec<String>,
    /// Who sets it up.
    pub administrator: Vec<String>,
    /// Who deletes and gives keys out.
    pub security_officer: Vec<String>,
}

impl RoleGroups {
    fn is_empty(&self) -> bool {
        let Self { viewer, operator, administrator, security_officer } = self;
        [viewer, operator, administrator, security_officer].iter().all(|groups| groups.is_empty())
    }
}

impl Checker<'_> {
    /// `Some(None)` without an issuer, `None` after an error.
    pub(crate) fn oidc(&mut self, mirror: OidcMirror) -> Option<Option<Oidc>> {
        let OidcMirror {
            issuer,
            name,
            client_id,
            client_secret_file,
            ca_file,
            scopes,
            name_claim,
            groups_claim,
            roles,
        } = mirror;
        let wanted = issuer.is_some();
        let alone = !wanted && client_id.is_some();
        let named = name.is_some();
        let issuer = self.take("access.oidc.issuer", issuer, issuer_address);
        let name = self.take("access.oidc.name", name, short_text);
        let client_id = self.take("access.oidc.client_id", client_id, short_text);
        let has_secret = client_secret_file.is_some();
        let client_secret = self.client_secret(client_secret_file);
        let has_ca = ca_file.is_some();
        let ca_file = self.take("access.oidc.ca_file", ca_file, absolute_path);
        let scopes = self.take("access.oidc.scopes", scopes, scope_list);
        let name_claim = self.take("access.oidc.name_claim", name_claim, short_text);
        let groups_claim = self.take("access.oidc.groups_claim", groups_claim, short_text);
        let roles = self.role_groups(roles);
        if alone {
            self.missing("access.oidc.issuer", "there is no provider for this client");
        }
        if !wanted {
            return Some(None);
        }
        let issuer = issuer?;
        if client_id.is_none() {
            self.missing("access.oidc.client_id", "the provider knows its clients by it");
        }
        if roles.as_ref().is_some_and(RoleGroups::is_empty) {
            self.missing("access.oidc.roles.viewer", "no group has a role, so nobody could log in");
        }
        let whole = (!named || name.is_some())
            && (!has_secret || client_secret.is_some())
            && (!has_ca || ca_file.is_some());
        let name = name.or_else(|| address_host(&issuer).map(str::to_owned))?;
        whole.then_some(())?;
        Some(Some(Oidc {
            issuer,
            name,
            client_id: client_id?,
            client_secret,
            ca_file,
            scopes: scopes?,
            name_claim: name_claim?,
            groups_claim: groups_claim?,
            roles: roles?,
        }))
    }

    fn client_secret(&mut self, raw: Option<Value>) -> Option<Secret> {
        const PATH: [&str; 3] = ["access", "oidc", "client_secret_file"];
        let raw = raw?;
        self.note(&PATH, &raw);
        self.secret(&PATH, &raw, |this, text| secrets::client_secret(&this.beside(text)))
    }

    fn role_groups(&mut self, mirror: RolesMirror) -> Option<RoleGroups> {
        let RolesMirror { viewer, operator, administrator, security_officer } = mirror;
        let viewer = self.take("access.oidc.roles.viewer", viewer, group_list);
        let operator = self.take("access.oidc.roles.operator", operator, group_list);
        let administrator = self.take("access.oidc.roles.administrator", administrator, group_list);
        let security_officer = self.take("access.oidc.roles.security-officer", security_officer, group_list);
        Some(RoleGroups {
            viewer: viewer?,
            operator: operator?,
            administrator: administrator?,
            security_officer: security_officer?,
        })
    }

    /// The provider sends browsers back to an address that this server must answer.
    pub(crate) fn way_back(&mut self, api: Option<&Api>, oidc: Option<&Oidc>) {
        if let (Some(Api { public_url: None, .. }), Some(_)) = (api, oidc) {
            self.missing("api.public_url", "log-in by OIDC needs the address that browsers come back to");
        }
    }
}

/// `https://HOST[:PORT]`, or `http://` when the API has no TLS; with a name that the API answers to.
pub(crate) fn public_address(value: &Value, has_tls: bool, hosts: &[String]) -> Parsed<String> {
    let address = text(value)?;
    let scheme = if has_tls { "https://" } else { "http://" };
    let rest = address
        .strip_prefix(scheme)
        .ok_or_else(|| format!("the API speaks {}", if has_tls { "TLS" } else { "without TLS" }))?;
    let host = web_host(address).ok_or_else(|| "this is no address of the web".to_owned())?;
    if rest.contains(['/', '?', '#']) {
        return Err("pages lie at the top of it, so it has no path".to_owned());
    }
    let known = host.parse::<IpAddr>().is_ok() || host == "localhost" || hosts.iter().any(|own| own == host);
    match known {
        true => Ok(address.to_owned()),
        false => Err("the API does not answer to this name, since it is not in api.hosts".to_owned()),
    }
}

/// What is asked of it decides who gets in, so nobody on the way may change it.
fn issuer_address(value: &Value) -> Parsed<String> {
    let address = text(value)?;
    let host = web_host(address).ok_or_else(|| "this is no address of the web".to_owned())?;
    let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if address.starts_with("http://") && !is_here {
        return Err("whoever is on the way could log in as anybody".to_owned());
    }
    match address.len() <= MOST_ISSUER && !address.contains(['?', '#']) {
        true => Ok(address.to_owned()),
        false => Err("an issuer has no query and no fragment, and 255 characters at most".to_owned()),
    }
}

/// The host of an address that begins with `http://` or `https://`, in small letters, without user and password.
fn web_host(address: &str) -> Option<&str> {
    let host = address_host(address)?;
    let usable = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-:".contains(c);
    let is_right =
        !host.is_empty() && host.chars().all(usable) && address.bytes().all(|b| b.is_ascii_graphic());
    is_right.then_some(host)
}

fn address_host(address: &str) -> Option<&str> {
    let rest = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"))?;
    let authority = rest.split(['/', '?', '#']).next()?;
    if let Some(bare) = authority.strip_prefix('[') {
        let (host, port) = bare.split_once(']')?;
        return (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)).then_some(host);
    }
    match authority.split_once(':') {
        None => Some(authority),
        Some((host, port)) => is_port(port).then_some(host),
    }
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port > 0) && text.bytes().all(|b| b.is_ascii_digit())
}

fn short_text(value: &Value) -> Parsed<String> {
    let text = text(value)?;
    match (1..=MOST_TEXT).contains(&text.len()) && !text.contains(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err("this is empty or too long".to_owned()),
    }
}

/// RFC 6749, 3.3.
fn scope_list(value: &Value) -> Parsed<Vec<String>> {
    let usual = |b: u8| b.is_ascii_graphic() && !b"\"\\".contains(&b);
    let one = |value: &Value| {
        let scope = short_text(value)?;
        if scope.bytes().all(usual) { Ok(scope) } else { Err("this is no scope".to_owned()) }
    };
    let scopes = list(value, one)?;
    match scopes.len() <= MOST_GROUPS && scopes.iter().any(|scope| scope == OPENID) {
        true => Ok(scopes),
        false => Err("without openid there is no ID token".to_owned()),
    }
}

fn group_list(value: &Value) -> Parsed<Vec<String>> {
    let groups = match value {
        Value::Array(values) if values.is_empty() => return Ok(Vec::new()),
        value => list(value, short_text)?,
    };
    if groups.len() <= MOST_GROUPS { Ok(groups) } else { Err(format!("these are {} groups", groups.len())) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use crate::{Assignment, ConfErrors, Config, Surroundings, load};

    const BACK: &str = "api.public_url=\"http://127.0.0.1:8460\"";
    const ISSUER: &str = "access.oidc.issuer=\"https://id.example.org/realms/vtl\"";
    const CLIENT: &str = "access.oidc.client_id=vtl";
    const VIEWERS: &str = "access.oidc.roles.viewer=[\"tape-readers\"]";

    fn with(set: &[&str]) -> Result<Config, ConfErrors> {
        let set: Vec<Assignment> = set.iter().map(|text| Assignment::parse(text).unwrap()).collect();
        load(None, &set, &Surroundings { root: true, ..Surroundings::default() })
    }

    #[track_caller]
    fn refused(set: &[&str], key: &str, problem: &str) {
        let errors = with(set).unwrap_err();
        let found = errors.0.iter().find(|error| error.key == key);
        assert!(found.is_some_and(|error| error.problem.contains(problem)), "{errors}");
    }

    #[test]
    fn without_an_issuer_nobody_logs_in_elsewhere() {
        assert_eq!(with(&[]).unwrap().access.oidc, None);
        refused(&[CLIENT], "access.oidc.issuer", "no provider");
    }

    #[test]
    fn a_provider_a_client_a_role_and_an_address_to_come_back_to_are_enough() {
        let config = with(&[BACK, ISSUER, CLIENT, VIEWERS]).unwrap();
        assert_eq!(config.api.public_url.as_deref(), Some("http://127.0.0.1:8460"));
        let oidc = config.access.oidc.unwrap();
        assert_eq!(oidc.issuer, "https://id.example.org/realms/vtl");
        assert_eq!((oidc.name.as_str(), oidc.client_id.as_str()), ("id.example.org", "vtl"));
        assert_eq!(oidc.scopes, ["openid", "profile"]);
        assert_eq!((oidc.name_claim.as_str(), oidc.groups_claim.as_str()), ("preferred_username", "groups"));
        assert_eq!(oidc.roles.viewer, ["tape-readers"]);
        assert!(oidc.client_secret.is_none() && oidc.roles.security_officer.is_empty());
    }

    #[test]
    fn what_is_missing_is_named() {
        refused(&[ISSUER, CLIENT, VIEWERS], "api.public_url", "come back to");
        refused(&[BACK, ISSUER, VIEWERS], "access.oidc.client_id", "knows its clients");
        refused(&[BACK, ISSUER, CLIENT], "access.oidc.roles.viewer", "nobody could log in");
    }

    #[test]
    fn an_issuer_without_tls_is_on_this_machine() {
        for here in ["http://127.0.0.1:9000", "http://localhost:9000/realm", "http://[::1]:9000"] {
            let issuer = format!("access.oidc.issuer=\"{here}\"");
            assert_eq!(with(&[BACK, &issuer, CLIENT, VIEWERS]).unwrap().access.oidc.unwrap().issuer, here);
        }
        for (wrong, why) in [
            ("http://id.example.org", "on the way"),
            ("https://user:word@id.example.org", "no address"),
            ("https://id.example.org/?realm=vtl", "no query"),
            ("https://id.example.org:port", "no address"),
            ("ftp://id.example.org", "no address"),
            ("https://", "no address"),
        ] {
            refused(
                &[BACK, &format!("access.oidc.issuer=\"{wrong}\""), CLIENT, VIEWERS],
                "access.oidc.issuer",
                why,
            );
        }
    }

    #[test]
    fn browsers_come_back_to_a_name_that_the_api_answers_to() {
        let hosts = "api.hosts=[\"vtl.example.org\"]";
        let tls = "api.tls.self_signed=true";
        let back = "api.public_url=\"https://vtl.example.org:8460\"";
        assert!(with(&[hosts, tls, back]).is_ok());
        refused(&[tls, back], "api.public_url", "api.hosts");
        refused(&[hosts, back], "api.public_url", "without TLS");
        refused(&[tls, BACK], "api.public_url", "speaks TLS");
        refused(&["api.public_url=\"http://localhost/vtl\""], "api.public_url", "no path");
    }

    #[test]
    fn the_secret_of_the_client_is_a_file_for_its_owner_and_is_never_printed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        fs::write(&file, "made-up-client-secret\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let secret = format!("access.oidc.client_secret_file=\"{}\"", file.display());
        let set = [BACK, ISSUER, CLIENT, VIEWERS, &secret];
        let config = with(&set).unwrap();
        let oidc = config.access.oidc.as_ref().unwrap();
        assert_eq!(oidc.client_secret.as_ref().unwrap().expose(), b"made-up-client-secret");
        assert!(!format!("{config:?}").contains("made-up-client-secret"));
        fs::write(&file, "made-up-other-secret\n").unwrap();
        assert_ne!(with(&set).unwrap().access.oidc.as_ref(), Some(oidc), "a reload takes the new one");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        refused(&set, "access.oidc.client_secret_file", "others can use");
    }

    #[test]
    fn scopes_are_words_and_openid_is_among_them() {
        let scopes = |list: &str| format!("access.oidc.scopes={list}");
        let asked = with(&[BACK, ISSUER, CLIENT, VIEWERS, &scopes("[\"openid\", \"groups\"]")]);
        assert_eq!(asked.unwrap().access.oidc.unwrap().scopes, ["openid", "groups"]);
        for (wrong, why) in [("[\"profile\"]", "without openid"), ("[\"openid profile\"]", "no scope")] {
            refused(&[BACK, ISSUER, CLIENT, VIEWERS, &scopes(wrong)], "access.oidc.scopes", why);
        }
    }
}
