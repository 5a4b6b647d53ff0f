//! The two-person rule: a request that waits for another security officer.
//!
//! ```text
//! pending --approve--> approved      another than who asked, within a day
//!    |  \--refuse---> refused       anybody with the permission, who asked included
//!    \--a day-------> expired       by the clock; the row still says pending
//! ```
//!
//! Approved is written before the request is done, so that it is never done twice; a crash between the two leaves
//! it approved and not done, which the audit log shows as a request without an outcome.

use vtl_meta::{MetaError, Row, Tx, Value};

use crate::bearer::{Random, hexadecimal};
use crate::error::AuthError;
use crate::schema::{APPROVALS, count, number, text};

/// So long a request waits.
pub const KEEP_S: u64 = 24 * 60 * 60;
/// So many wait at most.
pub const MOST_PENDING: u64 = 256;
/// What was decided or expired is listed for so long.
const HISTORY_S: u64 = 30 * 24 * 60 * 60;

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApprovalState {
    /// It waits.
    Pending,
    /// Another has said yes.
    Approved,
    /// Somebody has said no.
    Refused,
    /// Nobody said anything in time.
    Expired,
}

impl ApprovalState {
    /// As texts have it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Refused => "refused",
            Self::Expired => "expired",
        }
    }
}

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// HTTP method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Body; never of a route that takes secrets.
    pub body: Vec<u8>,
    /// What it needs.
    pub permission: String,
    /// Who asked.
    pub by: String,
}

/// A request that waits or waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// Its number, by chance.
    pub id: String,
    /// The request.
    pub asked: Asked,
    /// When, in seconds since 1970 UTC.
    pub asked_s: u64,
    /// How far it is.
    pub state: ApprovalState,
    /// Who decided.
    pub decided_by: Option<String>,
    /// When.
    pub decided_s: Option<u64>,
}

impl Approval {
    /// When nobody can approve it any more.
    #[must_use]
    pub const fn expires_s(&self) -> u64 {
        self.asked_s.saturating_add(KEEP_S)
    }
}

/// Keeps a request until another decides.
///
/// # Errors
/// Too many wait.
pub fn keep(tx: &mut Tx<'_>, asked: Asked, now_s: u64, random: Random<'_>) -> Result<Approval, AuthError> {
    let known = approvals(tx, now_s)?;
    for old in known.iter().filter(|one| now_s > one.asked_s.saturating_add(HISTORY_S)) {
        tx.delete(&APPROVALS, &[text(&old.id)])?;
    }
    let pending = known.iter().filter(|one| one.state == ApprovalState::Pending).count();
    if u64::try_from(pending).unwrap_or(u64::MAX) >= MOST_PENDING {
        return Err(AuthError::TooMany("requests that wait for approval", MOST_PENDING));
    }
    let mut id = [0; 8];
    random(&mut id);
    let approval = Approval {
        id: hexadecimal(&id),
        asked,
        asked_s: now_s,
        state: ApprovalState::Pending,
        decided_by: None,
        decided_s: None,
    };
    tx.insert(&APPROVALS, &values(&approval))?;
    Ok(approval)
}

/// All that are kept.
///
/// # Errors
/// The inventory cannot be read.
pub fn approvals(tx: &Tx<'_>, now_s: u64) -> Result<Vec<Approval>, AuthError> {
    Ok(tx.all(&APPROVALS)?.iter().map(|row| read(row, now_s)).collect::<Result<_, _>>()?)
}

/// The one with this id.
///
/// # Errors
/// The inventory cannot be read, or there is none.
pub fn find(tx: &Tx<'_>, id: &str, now_s: u64) -> Result<Approval, AuthError> {
    let row = tx.get(&APPROVALS, &[text(id)])?.ok_or_else(|| AuthError::UnknownApproval(id.to_owned()))?;
    Ok(read(&row, now_s)?)
}

/// Says yes or no.
///
/// # Errors
/// It is decided or expired already, or the yes comes from who asked.
pub fn decide(tx: &mut Tx<'_>, id: &str, yes: bool, by: &str, now_s: u64) -> Result<Approval, AuthError> {
    let mut approval = find(tx, id, now_s)?;
    if approval.state != ApprovalState::Pending {
        return Err(AuthError::Decided(approval.state.word()));
    }
    if yes && approval.asked.by == by {
        return Err(AuthError::OwnRequest);
    }
    approval.state = if yes { ApprovalState::Approved } else { ApprovalState::Refused };
    approval.decided_by = Some(by.to_owned());
    approval.decided_s = Some(now_s);
    tx.update(&APPROVALS, &values(&approval))?;
    Ok(approval)
}

fn values(one: &Approval) -> [Value; 10] {
    [
        text(&one.id),
        text(&one.asked.method),
        text(&one.asked.path),
        Value::Blob(one.asked.body.clone()),
        text(&one.asked.permission),
        text(&one.asked.by),
        number(one.asked_s),
        text(one.state.word()),
        one.decided_by.as_deref().map_or(Value::Null, text),
        one.decided_s.map_or(Value::Null, number),
    ]
}

fn read(row: &Row, now_s: u64) -> Result<Approval, MetaError> {
    let asked_s = count(row, "asked_s")?;
    let state = match row.get::<String>("state")?.as_str() {
        "pending" if now_s >= asked_s.saturating_add(KEEP_S) => ApprovalState::Expired,
        "pending" => ApprovalState::Pending,
        "approved" => ApprovalState::Approved,
        "refused" => ApprovalState::Refused,
        _ => return Err(row.damaged()),
    };
    Ok(Approval {
        id: row.get("id")?,
        asked: Asked {
            method: row.get("method")?,
            path: row.get("path")?,
            body: row.get("body")?,
            permission: row.get("permission")?,
            by: row.get("asked_by")?,
        },
        asked_s,
        state,
        decided_by: row.get("decided_by")?,
        decided_s: row.get::<Option<i64>>("decided_s")?.and_then(|s| u64::try_from(s).ok()),
    })
}
