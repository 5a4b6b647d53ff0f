//! Who may do what: sessions, users, tokens, approvals, the audit log.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `POST /session`: a user with a password, or a token; one of the two.
#[derive(Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LogIn {
    /// Name of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The user's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// An API token, or the text of `api.token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// Answer of `POST /session`, `GET /session` and `POST /setup`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SessionState {
    /// Who is logged in; `root` with the token of the state folder.
    pub user: String,
    /// What a provider calls somebody for whom it vouches; `user` is `oidc:ISSUER#SUBJECT` then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Roles, such as `operator`.
    pub roles: Vec<String>,
    /// What these may do, such as `read`.
    pub permissions: Vec<String>,
    /// When the session or token ends at the latest, RFC 3339; none: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// A page sends it as `X-CSRF-Token` with each change; none without a cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csrf: Option<String>,
}

/// Answer of `GET /session/oidc`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OidcOffer {
    /// What the provider is called here; none: nobody logs in elsewhere.
    pub name: Option<String>,
}

/// Answer of `POST /session/oidc`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OidcStart {
    /// Where the browser has to go.
    pub address: String,
}

/// `POST /setup`: the first user.
#[derive(Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FirstUser {
    /// What the one-time link has behind `#setup=`.
    pub token: String,
    /// Name of the user.
    pub user: String,
    /// At least 12 characters.
    pub password: String,
}

/// Parameters of `GET /sessions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ListWebSessions {
    /// Only those of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// `GET /sessions`, one row: a browser that somebody is logged in with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WebSessionInfo {
    /// Whose it is, as in `GET /session`: a user, `oidc:ISSUER#SUBJECT`, or `root`.
    pub user: String,
    /// What a provider calls somebody for whom it vouches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The most that it may do; a user's roles bound it, too.
    pub roles: Vec<String>,
    /// A token opened it, with which it ends.
    pub by_token: bool,
    /// Address that it was opened from.
    pub from: String,
    /// When that was, RFC 3339.
    pub since: String,
    /// When it was last used, RFC 3339.
    pub last_used: String,
    /// When it ends at the latest, RFC 3339.
    pub expires: String,
}

/// `DELETE /sessions`: all of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EndSessions {
    /// Whose, as in `GET /sessions`.
    pub user: String,
}

/// `GET /users`, one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UserInfo {
    /// The name.
    pub name: String,
    /// Roles.
    pub roles: Vec<String>,
    /// Cannot log in.
    pub locked: bool,
    /// `local`, or `oidc`: logs in elsewhere.
    pub origin: String,
    /// When the user was made, RFC 3339.
    pub created: String,
}

/// `POST /users`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AddUser {
    /// The name: letters, digits, `.`, `_`, `-`, `@`.
    pub name: String,
    /// At least 12 characters.
    pub password: String,
    /// Roles.
    pub roles: Vec<String>,
}

/// `PATCH /users/{name}`: what changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SetUser {
    /// All roles from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// Whether the user is locked out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<bool>,
}

/// `PUT /users/{name}/password`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SetPassword {
    /// The present one; needed for one's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// The new one, at least 12 characters.
    pub password: String,
}

/// `GET /tokens`, one row: one's own, or all for who manages users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TokenInfo {
    /// What revokes it.
    pub id: String,
    /// What its maker calls it.
    pub name: String,
    /// Whose it is; `root`: the server's.
    pub user: String,
    /// The most that it may do; its user's roles bound it, too.
    pub roles: Vec<String>,
    /// RFC 3339.
    pub created: String,
    /// RFC 3339.
    pub expires: String,
}

/// `POST /tokens`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// What it is for.
    pub name: String,
    /// One role; the maker's own when neither this nor `roles` is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Several roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// When it ends, RFC 3339; in 90 days when left out, in ten years at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// Answer of `POST /tokens`: the only one that shows the secret.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NewTokenInfo {
    /// The row of the list.
    #[serde(flatten)]
    pub info: TokenInfo,
    /// The token. It is not kept, and shown here once.
    pub token: String,
}

/// `GET /approvals`, one row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ApprovalInfo {
    /// What approves or refuses it.
    pub id: String,
    /// `pending`, `approved`, `refused`, `expired`.
    pub state: String,
    /// HTTP method of the request.
    pub method: String,
    /// Its path below `/api/v1`.
    pub path: String,
    /// Its body.
    pub body: Value,
    /// What it needs, such as `destroy`.
    pub permission: String,
    /// Who asked.
    pub asked_by: String,
    /// When, RFC 3339.
    pub asked: String,
    /// When nobody can approve it any more, RFC 3339.
    pub expires: String,
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<String>,
}

/// Status 202: a request that waits for a second person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Waits {
    /// For people.
    pub message: String,
    /// See `GET /approvals/{id}`.
    pub approval: String,
    /// When nobody can approve it any more, RFC 3339.
    pub expires: String,
}

/// Parameters of `GET /audit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// At most so many, 1 to 1000; 100 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Where the page before ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// `request`, `outcome`, `login` or `event`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Only by this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// Only those whose `what` has this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// Only those whose result or detail has this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Not those before this time, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Not those from this time on, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// `GET /audit`, one row; the newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AuditEntry {
    /// Its number, from 1.
    pub number: u64,
    /// When, RFC 3339.
    pub at: String,
    /// `request`, `outcome`, `login` or `event`.
    pub kind: String,
    /// Of an outcome: the number of its request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// Who.
    pub who: String,
    /// From which address.
    pub from: String,
    /// Method and route, or the event's name.
    pub what: String,
    /// Names and values; no secrets.
    pub detail: Value,
    /// What came of it.
    pub result: String,
}

/// Answer of `GET /audit/verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AuditReport {
    /// No fault was found.
    pub whole: bool,
    /// Lines in the log.
    pub entries: u64,
    /// Number of the last entry.
    pub number: u64,
    /// SHA-256 of the last entry: note it elsewhere, and ask against it later.
    pub head: String,
    /// What is wrong.
    pub faults: Vec<String>,
}

/// Answer of `GET /audit/export`: lines as they are in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AuditLines {
    /// Each is one entry, JSON; the SHA-256 of one is in the next.
    pub lines: Vec<String>,
    /// How many lines are before the next page; none: this was the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}
