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
use vtl_auth::{OidcUser, Role, Roles};
use vtl_conf::{Config, RoleGroups};
use vtl_oidc::{Arrived, Back, Client, Moment, OidcError, Person, Provider};
use zeroize::Zeroizing;

use self::transport::Web;
use super::login::UNKNOWN;
use super::{Access, LoggedIn, Who, refusal};
use crate::daemon::lock;

/// Requests to the provider at once; each takes a thread for some seconds at most.
pub(super) const ASKED_AT_ONCE: usize = 4;
/// Where browsers come back, below the API's base.
const RETURN: &str = "/session/oidc/callback";
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
        let is = one.provider.look(now()).err();
        match (&was, &is) {
            (before, Some(error)) if before.as_ref() != Some(error) => {
                warn!(issuer = one.settings.issuer, %error, remedy = error.remedy(), "nobody can log in by OIDC");
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
    refusal(code, error.to_string(), error.remedy())
}

fn not_set_up() -> ApiError {
    let why = "nobody logs in by OIDC here";
    refusal(
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
            message: format!("nobody can log in by it: {error}"),
            remedy: error.remedy().to_owned(),
        })
    }

    /// What the log-in page offers.
    pub(crate) fn oidc_offer(&self) -> OidcOffer {
        OidcOffer { name: self.provider().ok().map(|configured| configured.settings.name.clone()) }
    }

    /// Begins a log-in: where the browser goes, and the value of its cookie. `before`: the session that it has.
    pub(crate) fn oidc_begin(
        &self,
        from: IpAddr,
        before: Option<Zeroizing<String>>,
    ) -> Result<(OidcStart, Zeroizing<String>), ApiError> {
        let configured = self.provider()?;
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
        // A reload waits until the session is there, and ends it then.
        let current = self.oidc.now.read().unwrap_or_else(PoisonError::into_inner);
        let is_current = current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &configured));
        let who = who.and_then(|who| if is_current { Ok(who) } else { Err((who.0.text(), changed())) });
        let (name, outcome) = match &who {
            Ok((who, _)) => (who.text(), Ok(())),
            Err((name, error)) => (name.clone(), Err(error)),
        };
        self.note_login("log in by OIDC", (&name, detail), from, outcome)?;
        let (who, roles) = who.map_err(|(_, error)| error)?;
        self.log_out(before.as_ref().map(|before| before.as_str()));
        Ok(self.open_session(&who, roles, None))
    }
}

fn changed() -> ApiError {
    refusal(ErrorCode::Unauthorized, "the settings have changed during this log-in", "log in once more")
}

/// Whose log-in it was, and why it comes to nothing.
type NotIn = (String, ApiError);

impl Configured {
    /// Who it is here, and what that one may do.
    fn user(&self, person: Person) -> Result<(Who, Roles), NotIn> {
        let Person { subject, name, groups } = person;
        let user = OidcUser::new(&self.settings.issuer, &subject, name).ok_or_else(|| {
            let why = "the issuer or the subject cannot be written to the audit log";
            (UNKNOWN.to_owned(), refusal(ErrorCode::Forbidden, why, "ask who runs the provider"))
        })?;
        let roles = roles(&self.settings.roles, &groups);
        let who = Who::Oidc(user);
        if roles.is_empty() {
            let why = "the provider vouches for you, and none of your groups has a role here";
            let remedy =
                "ask who runs the provider for a group, or an administrator to map one: access.oidc.roles";
            return Err((who.text(), refusal(ErrorCode::Forbidden, why, remedy)));
        }
        Ok((who, roles))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
