//! Log-in by a provider of identities: its settings, which roles its groups have, and the sessions that come of it.
//!
//! The protocol is in `vtl-oidc`. Here is the one provider that is configured; a reload that changes it ends the sessions that
//! the old one vouched for. A thread for each looks whether it answers, so that the status names one that does not.

mod transport;

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use serde_json::{Value, json};
use tracing::{info, warn};
use vtl_api::{ApiError, BASE, ErrorCode, OidcOffer, OidcStart, Problem};
use vtl_auth::{Kind, OidcUser, Role, Roles};
use vtl_conf::{Config, RoleGroups};
use vtl_oidc::{Arrived, Back, Client, Moment, OidcError, Person, Provider};
use zeroize::Zeroizing;

use self::transport::Web;
use super::login::UNKNOWN;
use super::{Access, LoggedIn, Who, bearer};
use crate::daemon::lock;

/// Requests to the provider at once; each takes a thread for some seconds at most.
pub(super) const ASKED_AT_ONCE: usize = 4;
/// Where browsers come back, below the API's base.
const RETURN: &str = "/session/oidc/callback";
/// What the audit log calls it.
const LOG_IN: &str = "log in by OIDC";
/// So often the thread looks whether the provider answers; what it says is asked for anew once an hour.
const LOOK_TIME: Duration = Duration::from_secs(60);

/// A browser that comes back from the provider: what is in its address, and its cookie.
#[derive(Default)]
pub(crate) struct BackHome {
    pub(crate) state: String,
    pub(crate) code: Option<Zeroizing<String>>,
    pub(crate) error: Option<String>,
    pub(crate) issuer: Option<String>,
    pub(crate) cookie: Option<Zeroizing<String>>,
}

/// The provider that is configured, if one is.
#[derive(Debug, Default)]
pub(super) struct Oidc {
    now: RwLock<Option<Arc<Configured>>>,
}

/// A provider with its settings.
#[derive(Debug)]
struct Configured {
    settings: vtl_conf::Oidc,
    public_url: String,
    provider: Provider<Web>,
}

impl Configured {
    fn new(settings: vtl_conf::Oidc, public_url: String) -> Self {
        let client = Client {
            issuer: settings.issuer.clone(),
            client_id: settings.client_id.clone(),
            client_secret: settings.client_secret.clone(),
            redirect_uri: format!("{public_url}{BASE}{RETURN}"),
            scopes: settings.scopes.clone(),
            name_claim: settings.name_claim.clone(),
            groups_claim: settings.groups_claim.clone(),
        };
        let provider = Provider::new(client, Web::new(settings.ca_file.clone()));
        Self { settings, public_url, provider }
    }

    fn is(&self, settings: &vtl_conf::Oidc, public_url: &str) -> bool {
        self.settings == *settings && self.public_url == public_url
    }

    /// Whether a browser that asked this host comes back to the same one, where its cookies are.
    fn is_at(&self, host: &str) -> bool {
        let (authority, usual_port) = match self.public_url.split_once("://") {
            Some(("https", authority)) => (authority, 443),
            Some((_, authority)) => (authority, 80),
            None => return false,
        };
        place(host, usual_port) == place(authority, usual_port)
    }
}

/// Host and port of what stands in an address or a Host header; without a port that of the scheme.
fn place(authority: &str, usual_port: u16) -> (String, u16) {
    let parts = authority.rsplit_once(':').and_then(|(host, port)| match port {
        "" => Some((host, usual_port)),
        port => Some((host, port.parse().ok()?)),
    });
    let (host, port) = parts.unwrap_or((authority, usual_port));
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    // An address of IPv6 may be written in several ways.
    let address = bare.parse::<IpAddr>().map(|address| address.to_string());
    (address.unwrap_or_else(|_| host.to_ascii_lowercase()), port)
}

/// The session that a browser has: a cookie that looks like none is not kept for ten minutes.
fn session_before(cookie: &str) -> Option<Zeroizing<String>> {
    bearer(cookie, Kind::Session).map(|session| session.expose())
}

fn now() -> Moment {
    let vtl_auth::Moment { wall_s, count_s } = super::now();
    Moment { wall_s, count_s }
}

/// Roles of somebody in these groups.
fn roles(map: &RoleGroups, groups: &[String]) -> Roles {
    let RoleGroups { viewer, operator, administrator, security_officer } = map;
    let rows = [
        (viewer, Role::Viewer),
        (operator, Role::Operator),
        (administrator, Role::Administrator),
        (security_officer, Role::SecurityOfficer),
    ];
    let has = |wanted: &[String]| wanted.iter().any(|group| groups.contains(group));
    rows.into_iter().filter(|(wanted, _)| has(wanted)).map(|(_, role)| role).collect()
}

/// Looks after a provider until another takes its place.
fn look_after(configured: &Weak<Configured>) {
    let mut was = None;
    while let Some(one) = configured.upgrade() {
        let is = one.provider.look(now()).err().or_else(|| one.provider.trouble());
        match (&was, &is) {
            (before, Some(error)) if before.as_ref() != Some(error) => {
                warn!(issuer = one.settings.issuer, %error, remedy = error.remedy(), "log-ins by OIDC fail, or will soon");
            }
            (Some(_), None) => info!(issuer = one.settings.issuer, "log-in by OIDC works again"),
            _ => {}
        }
        was = is;
        drop(one);
        std::thread::sleep(LOOK_TIME);
    }
}

fn told(error: &OidcError) -> ApiError {
    let code = if error.is_of_provider() { ErrorCode::Busy } else { ErrorCode::Unauthorized };
    ApiError::new(code, error.to_string(), error.remedy())
}

fn not_set_up() -> ApiError {
    let why = "nobody logs in by OIDC here";
    ApiError::new(
        ErrorCode::NotFound,
        why,
        "log in with a user of this server; docs/access.md says how to set it up",
    )
}

impl Access {
    /// Goes by these settings from now on.
    pub(crate) fn heed(&self, config: &Config) {
        let wanted = config.access.oidc.as_ref().zip(config.api.public_url.as_ref());
        let mut now = self.oidc.now.write().unwrap_or_else(PoisonError::into_inner);
        let same = match (now.as_deref(), wanted) {
            (None, None) => true,
            (Some(is), Some((settings, public_url))) => is.is(settings, public_url),
            _ => false,
        };
        if same {
            return;
        }
        *now = wanted
            .map(|(settings, public_url)| Arc::new(Configured::new(settings.clone(), public_url.clone())));
        // While nobody can be let in by the old one.
        lock(&self.sessions).close_of_providers();
        if let Some(configured) = now.as_ref() {
            let weak = Arc::downgrade(configured);
            let started =
                std::thread::Builder::new().name("oidc".to_owned()).spawn(move || look_after(&weak));
            if let Err(error) = started {
                warn!(%error, "no thread can be had that looks whether the provider answers");
            }
        }
    }

    fn provider(&self) -> Result<Arc<Configured>, ApiError> {
        let now = self.oidc.now.read().unwrap_or_else(PoisonError::into_inner);
        now.clone().ok_or_else(not_set_up)
    }

    /// A provider that does not answer, for the status.
    pub(crate) fn oidc_problem(&self) -> Option<Problem> {
        let configured = self.provider().ok()?;
        let error = configured.provider.trouble()?;
        Some(Problem {
            subject: format!("OIDC provider {}", configured.settings.issuer),
            message: format!("log-ins by it fail, or will soon: {error}"),
            remedy: error.remedy().to_owned(),
        })
    }

    /// What the log-in page offers.
    pub(crate) fn oidc_offer(&self) -> OidcOffer {
        OidcOffer { name: self.provider().ok().map(|configured| configured.settings.name.clone()) }
    }

    /// Begins a log-in: where the browser goes, and the value of its cookie. `host`: what it called this server; `before`: the
    /// cookie of a session that it has.
    pub(crate) fn oidc_begin(
        &self,
        from: IpAddr,
        host: &str,
        before: Option<&str>,
    ) -> Result<(OidcStart, Zeroizing<String>), ApiError> {
        let configured = self.provider()?;
        if !configured.is_at(host) {
            return Err(elsewhere(&configured.public_url));
        }
        let before = before.and_then(session_before);
        let begun = configured.provider.begin((from, before), now(), &crate::random::fill);
        let (address, cookie) = begun.map_err(|error| told(&error))?;
        Ok((OidcStart { address }, cookie))
    }

    /// Ends a log-in: a session, or why there is none.
    pub(crate) fn oidc_finish(&self, back: &BackHome, from: IpAddr) -> Result<LoggedIn, ApiError> {
        let configured = self.provider()?;
        let arrived = configured.provider.finish(
            Back {
                state: &back.state,
                code: back.code.as_ref().map(|code| code.as_str()),
                error: back.error.as_deref(),
                issuer: back.issuer.as_deref(),
                cookie: back.cookie.as_ref().map(|cookie| cookie.as_str()),
            },
            now(),
        );
        let (who, detail, before) = match arrived {
            Ok(Arrived { person, before }) => {
                let detail = json!({ "name": person.name, "groups": person.groups.len() });
                (configured.user(person), detail, before)
            }
            Err(error) => (Err((UNKNOWN.to_owned(), told(&error))), Value::Null, None),
        };
        let (name, outcome) = match &who {
            Ok((who, _)) => (who.text(), Ok(())),
            Err((name, error)) => (name.clone(), Err(error)),
        };
        // On disk before the session is there, and with no lock: a reload and whoever asks for the log-in page wait for none.
        self.note_login(LOG_IN, (&name, detail.clone()), from, outcome)?;
        let (who, roles) = who.map_err(|(_, error)| error)?;
        let before = before.as_ref().map(|before| before.as_str());
        self.open_if_current(&configured, (&who, roles), (from, before)).ok_or_else(|| {
            let error = changed();
            self.note_login_undone(LOG_IN, (&name, detail), from, &error);
            error
        })
    }

    /// A session by a provider that is still the one; in memory only. A reload waits until it is there, and ends it then.
    fn open_if_current(
        &self,
        configured: &Arc<Configured>,
        (who, roles): (&Who, Roles),
        (from, before): (IpAddr, Option<&str>),
    ) -> Option<LoggedIn> {
        let current = self.oidc.now.read().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().filter(|current| Arc::ptr_eq(current, configured))?;
        self.log_out(before);
        Some(self.open_session((who, roles), None, from))
    }
}

/// The provider would send the browser to another name of this server, where it has no cookie of this log-in.
fn elsewhere(public_url: &str) -> ApiError {
    let why = "people log in by OIDC at another name of this server";
    ApiError::new(ErrorCode::Forbidden, why, format!("open {public_url} and log in there"))
}

fn changed() -> ApiError {
    ApiError::new(ErrorCode::Unauthorized, "the settings have changed during this log-in", "log in once more")
}

/// Whose log-in it was, and why it comes to nothing.
type NotIn = (String, ApiError);

impl Configured {
    /// Who it is here, and what that one may do.
    fn user(&self, person: Person) -> Result<(Who, Roles), NotIn> {
        let Person { subject, name, groups } = person;
        let user = OidcUser::new(&self.settings.issuer, &subject, name).ok_or_else(|| {
            let why = "the issuer or the subject cannot be written to the audit log";
            (UNKNOWN.to_owned(), ApiError::new(ErrorCode::Forbidden, why, "ask who runs the provider"))
        })?;
        let roles = roles(&self.settings.roles, &groups);
        let who = Who::Oidc(user);
        if roles.is_empty() {
            let why = "the provider vouches for you, and none of your groups has a role here";
            let remedy =
                "ask who runs the provider for a group, or an administrator to map one: access.oidc.roles";
            return Err((who.text(), ApiError::new(ErrorCode::Forbidden, why, remedy)));
        }
        Ok((who, roles))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::tests::open;

    /// Nobody listens there.
    const SETTINGS: [&str; 4] = [
        "api.public_url=\"http://localhost:8460\"",
        "access.oidc.issuer=\"http://127.0.0.1:9\"",
        "access.oidc.client_id=vtl",
        "access.oidc.roles.viewer=[\"staff\"]",
    ];

    #[test]
    fn who_comes_back_after_the_settings_have_changed_gets_no_session() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &SETTINGS);
        let access = &daemon.access;
        let person = Person { subject: "7f3a".to_owned(), name: None, groups: vec!["staff".to_owned()] };
        let old = access.provider().unwrap();
        let (who, roles) = old.user(person).unwrap();
        let here = (IpAddr::from([127, 0, 0, 1]), None);
        assert!(access.open_if_current(&old, (&who, roles), here).is_some());
        assert_eq!(lock(&access.sessions).len(), 1);
        let mut config = (*daemon.config()).clone();
        config.access.oidc.as_mut().unwrap().name = "another".to_owned();
        access.heed(&config);
        assert_eq!(lock(&access.sessions).len(), 0);
        assert!(access.open_if_current(&old, (&who, roles), here).is_none());
        assert_eq!(lock(&access.sessions).len(), 0);
        let new = access.provider().unwrap();
        assert!(access.open_if_current(&new, (&who, roles), here).is_some());
        daemon.stop();
    }

    #[test]
    fn a_cookie_is_kept_for_the_log_in_when_it_is_that_of_a_session() {
        let of = |kind| vtl_auth::Bearer::new(kind, &|bytes: &mut [u8]| bytes.fill(5)).expose();
        assert_eq!(session_before(&of(Kind::Session)), Some(of(Kind::Session)));
        assert_eq!(session_before(&of(Kind::Token)), None);
        assert_eq!(session_before(&format!("{}0", *of(Kind::Session))), None);
        assert_eq!(session_before(&"x".repeat(16 << 10)), None);
    }

    /// What the server is called, what a browser called it, whether that is the same.
    const NAMES: [(&str, &str, bool); 16] = [
        ("https://vtl.example.org:8460", "vtl.example.org:8460", true),
        ("https://vtl.example.org:8460", "VTL.example.org:8460", true),
        ("https://vtl.example.org:8460", "vtl.example.org", false),
        ("https://vtl.example.org:8460", "vtl.example.org:8461", false),
        ("https://vtl.example.org:8460", "localhost:8460", false),
        ("https://vtl.example.org:8460", "127.0.0.1:8460", false),
        ("https://vtl.example.org", "vtl.example.org", true),
        ("https://vtl.example.org", "vtl.example.org:443", true),
        ("https://vtl.example.org:443", "vtl.example.org", true),
        ("https://vtl.example.org", "vtl.example.org:80", false),
        ("http://localhost", "localhost:80", true),
        ("http://localhost", "localhost:443", false),
        ("http://[::1]:8460", "[0:0:0:0:0:0:0:1]:8460", true),
        ("http://[::1]", "[::1]:80", true),
        ("http://[::1]", "[::1]", true),
        ("http://127.0.0.1:8460", "", false),
    ];

    #[test]
    fn a_log_in_begins_at_the_name_to_which_it_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &SETTINGS);
        let settings = daemon.config().access.oidc.clone().unwrap();
        for (public_url, host, is_it) in NAMES {
            let configured = Configured::new(settings.clone(), public_url.to_owned());
            assert_eq!(configured.is_at(host), is_it, "{host} at {public_url}");
        }
        let begin = |host| daemon.access.oidc_begin(IpAddr::from([127, 0, 0, 1]), host, None).unwrap_err();
        let refused = begin("127.0.0.1:8460");
        assert_eq!(refused.code, ErrorCode::Forbidden);
        assert_eq!(refused.remedy.as_deref(), Some("open http://localhost:8460 and log in there"));
        assert_eq!(begin("localhost:8460").code, ErrorCode::Busy, "the provider does not answer");
        daemon.stop();
    }

    #[test]
    fn roles_come_from_groups_that_are_named_to_the_letter() {
        let texts = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        let map = RoleGroups {
            viewer: texts(&["staff", "tape-readers"]),
            operator: texts(&["tape-operators"]),
            administrator: Vec::new(),
            security_officer: texts(&["officers"]),
        };
        let of = |groups: &[&str]| roles(&map, &texts(groups)).to_string();
        assert_eq!(of(&["tape-operators", "staff"]), "viewer operator");
        assert_eq!(of(&["officers"]), "security-officer");
        for nobody in [&[][..], &["Staff"], &["staff "], &["tape"], &["administrator"], &["viewer"], &[""]] {
            assert_eq!(of(nobody), "", "{nobody:?}");
        }
    }
}
