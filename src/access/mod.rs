//! The door of the API: who is asking, whether that one may, and the line in the audit log that says so.
//!
//! Adapters between HTTP (`src/api/admit.rs`), the rows and values of `vtl-auth`, and the log of `vtl-audit`. What is in
//! memory only (sessions, failed log-ins, the one-time link) has one owner each, behind a lock that is held for a look-up.

mod approvals;
mod caller;
mod later;
mod login;
mod oidc;
pub(crate) mod rules;
mod sessions;
mod trail;
mod users;

use std::sync::{Arc, Mutex};

use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use vtl_api::{ApiError, ErrorCode, Problem};
use vtl_audit::AuditLog;
use vtl_auth::{AuthError, Bearer, Kind, Moment, Sessions, Setup, Throttle, UserName};
use vtl_durable::RealDisk;
use zeroize::Zeroizing;

use self::later::Later;
use crate::daemon::lock;
use crate::meta::SharedMeta;
use crate::state::StateFolder;

pub(crate) use caller::{Caller, Presence, Shown, Who};
pub(crate) use login::LoggedIn;
pub(crate) use oidc::BackHome;
pub(crate) use trail::redacted;

/// Passwords that are hashed at once: each takes 19 MiB and a core.
const HASHES_AT_ONCE: usize = 2;

/// Everything that decides who may do what.
pub(crate) struct Access {
    meta: SharedMeta,
    root: Zeroizing<String>,
    sessions: Mutex<Sessions>,
    throttle: Mutex<Throttle>,
    setup: Mutex<Option<Setup>>,
    audit: Arc<Mutex<AuditLog>>,
    later: Later,
    knocks: Mutex<trail::Knocks>,
    oidc: oidc::Oidc,
    /// A turn for who hashes a password.
    pub(crate) hashing: Arc<Semaphore>,
    /// A turn for who waits for the provider.
    pub(crate) asking: Arc<Semaphore>,
}

impl Access {
    /// Opens the audit log and looks at every entry in it. What is wrong with it is a problem for the status.
    pub(crate) fn open(meta: SharedMeta, state: &StateFolder) -> Result<(Self, Vec<Problem>), String> {
        let root = Zeroizing::new(state.token().map_err(|e| e.to_string())?);
        let folder = state.path().join("audit");
        let opened = AuditLog::open(&RealDisk::new(), &folder);
        let (audit, report) = opened.map_err(|e| format!("the audit log cannot be opened: {e}"))?;
        let audit = Arc::new(Mutex::new(audit));
        let later = trail::later(audit.clone())
            .map_err(|e| format!("no thread can be had to write the audit log: {e}"))?;
        let access = Self {
            meta,
            root,
            sessions: Mutex::default(),
            throttle: Mutex::default(),
            setup: Mutex::default(),
            audit,
            later,
            knocks: Mutex::default(),
            oidc: oidc::Oidc::default(),
            hashing: Arc::new(Semaphore::new(HASHES_AT_ONCE)),
            asking: Arc::new(Semaphore::new(oidc::ASKED_AT_ONCE)),
        };
        access.note_start(&report);
        let problems = report.faults.iter().map(|fault| Problem {
            subject: "audit log".to_owned(),
            message: fault.to_string(),
            remedy: "find out who changed the files of the folder audit; see docs/access.md, \"Audit log\""
                .to_owned(),
        });
        Ok((access, problems.collect()))
    }

    /// Writes the events that wait for it.
    pub(crate) fn stop(&self) {
        self.later.stop();
    }

    /// The text of a one-time link, when no user is there. The one before opens nothing any more.
    pub(crate) fn new_setup(&self) -> Result<Option<Zeroizing<String>>, AuthError> {
        if self.meta.with(|meta| meta.read(vtl_auth::any_user))? {
            return Ok(None);
        }
        let (setup, bearer) = Setup::new(now(), &crate::random::fill);
        *lock(&self.setup) = Some(setup);
        Ok(Some(bearer.expose()))
    }

    fn is_root(&self, text: &str) -> bool {
        !self.root.is_empty() && bool::from(text.as_bytes().ct_eq(self.root.as_bytes()))
    }

    fn read<T>(&self, work: impl FnOnce(&vtl_meta::Tx<'_>) -> Result<T, AuthError>) -> Result<T, ApiError> {
        self.meta.with(|meta| meta.read(work)).map_err(|error| refused(&error))
    }

    fn change<T>(
        &self,
        work: impl FnOnce(&mut vtl_meta::Tx<'_>) -> Result<T, AuthError>,
    ) -> Result<T, ApiError> {
        self.meta.with(|meta| meta.transaction(work)).map_err(|error| refused(&error))
    }

    /// A change after which a user is logged out everywhere. The inventory is held over both: whoever opens a session or makes a
    /// token has looked at the user and done it before, and that ends here, or looks after it, and finds another user.
    fn change_and_log_out(
        &self,
        name: &UserName,
        work: impl FnOnce(&mut vtl_meta::Tx<'_>) -> Result<(), AuthError>,
    ) -> Result<(), ApiError> {
        let changed = self.meta.with(|meta| {
            meta.transaction(work)?;
            lock(&self.sessions).close_of(name);
            Ok::<(), AuthError>(())
        });
        changed.map_err(|error| refused(&error))
    }
}

/// By both clocks.
pub(crate) fn now() -> Moment {
    Moment { wall_s: crate::clock::unix_seconds(), count_s: crate::clock::now_ns() / 1_000_000_000 }
}

/// What a caller sent as a secret, if it looks like one that was made for this.
fn bearer(text: &str, kind: Kind) -> Option<Bearer> {
    Bearer::parse(text).filter(|bearer| bearer.kind == kind)
}

/// The member of a request that a refusal of `vtl-auth` is about; it is called the same in all that meet it.
const fn member(error: &AuthError) -> Option<&'static str> {
    match error {
        AuthError::UserExists(_) | AuthError::TokenExists(_) => Some("name"),
        AuthError::BadToken { what, .. } => Some(*what),
        AuthError::WeakPassword(_) => Some("password"),
        AuthError::NotToGive(roles) if roles.is_empty() => None,
        AuthError::NotToGive(_) | AuthError::MoreThanMaker(_) => Some("roles"),
        AuthError::KeyUsed => Some("Idempotency-Key"),
        _ => None,
    }
}

/// What would be right for a token.
fn of_token(what: &str) -> &'static str {
    match what {
        "name" => "write what it is for, such as backup",
        "expires" => "leave it out, and it ends in 90 days",
        _ => "name one of your roles, or leave it out, and it has yours",
    }
}

/// The one place where refusals of `vtl-auth` become the API's.
fn refused(error: &AuthError) -> ApiError {
    let (code, remedy) = match error {
        AuthError::Meta(error) => {
            return ApiError::new(ErrorCode::Internal, error.to_string(), error.remedy());
        }
        AuthError::UnknownUser(_) => (ErrorCode::NotFound, "see vtl user ls"),
        AuthError::UnknownToken(_) => (ErrorCode::NotFound, "see vtl token ls"),
        AuthError::UnknownApproval(_) => (ErrorCode::NotFound, "see vtl approval ls"),
        AuthError::UserExists(_) => (ErrorCode::Exists, "choose another name, or see vtl user ls"),
        AuthError::TokenExists(_) => (ErrorCode::Exists, "choose another name, or see vtl token ls"),
        AuthError::BadToken { what, .. } => (ErrorCode::Invalid, of_token(what)),
        AuthError::WeakPassword(_) => (ErrorCode::Invalid, "take a longer one; length is what counts"),
        AuthError::OtherPassword(_) => (ErrorCode::Unauthorized, "log in with the present password"),
        AuthError::NotGoverned(_) | AuthError::NotToGive(_) => {
            (ErrorCode::Forbidden, "see docs/access.md for who gives which role")
        }
        AuthError::OwnRoles => (ErrorCode::Forbidden, "ask another administrator or security officer"),
        AuthError::ServersToken => (ErrorCode::Forbidden, "use the token of the state folder"),
        AuthError::MoreThanMaker(_) => (ErrorCode::Forbidden, "ask for no more than your own roles"),
        AuthError::Decided(_) => (ErrorCode::Conflict, "ask for it again"),
        AuthError::OwnRequest => (ErrorCode::Forbidden, "let another security officer approve it"),
        AuthError::AskerMayNot(_) => (
            ErrorCode::Forbidden,
            "refuse it, and let somebody ask who may; who came by OIDC has to be logged in",
        ),
        AuthError::KeyUsed => (ErrorCode::Conflict, "make up another key for each thing that is wanted"),
        AuthError::TooMany(..) => (ErrorCode::Full, "remove what nobody needs"),
    };
    ApiError { field: member(error).map(str::to_owned), ..ApiError::new(code, error.to_string(), remedy) }
}
