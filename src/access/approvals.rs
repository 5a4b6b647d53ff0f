//! The two-person rule, and the audit log, as the API asks for them.

use serde_json::Value;
use vtl_api::{ApiError, ApprovalInfo, AuditEntry, AuditLines, AuditQuery, AuditReport, ErrorCode, Waits};
use vtl_audit::{Entry, EntryKind, Filter};
use vtl_auth::{Approval, Asked, OidcUser, Principal};

use super::caller::asker;
use super::trail::without_secrets;
use super::{Access, Caller, Who, now};
use crate::api::field;
use crate::clock::rfc3339;
use crate::daemon::lock;

type Answer<T> = Result<T, ApiError>;

/// Entries of a page that nobody gave a length.
const PAGE: u32 = 100;
const MOST_PAGE: u32 = 1000;

fn shown(one: &Approval) -> ApprovalInfo {
    let body = serde_json::from_slice(&one.asked.body).unwrap_or(Value::Null);
    ApprovalInfo {
        id: one.id.clone(),
        state: one.state.word().to_owned(),
        method: one.asked.method.clone(),
        path: one.asked.path.clone(),
        body: without_secrets(&body),
        permission: one.asked.permission.clone(),
        asked_by: one.asked.by.clone(),
        asked: rfc3339(one.asked_s),
        expires: rfc3339(one.expires_s()),
        decided_by: one.decided_by.clone(),
        decided: one.decided_s.map(rfc3339),
    }
}

impl Access {
    /// Keeps a request until a second person decides.
    pub(crate) fn hold(&self, asked: Asked) -> Answer<Waits> {
        let kept =
            self.change(|tx| vtl_auth::keep_approval(tx, asked, now().wall_s, &crate::random::fill))?;
        Ok(Waits {
            message: format!(
                "another security officer has to approve this: vtl approval approve {}",
                kept.id
            ),
            expires: rfc3339(kept.expires_s()),
            approval: kept.id,
        })
    }

    /// Says yes; the request and who asked for it, for who does it. Who asked must still be one who may.
    pub(crate) fn approve(&self, caller: &Caller, id: &str) -> Answer<(Approval, Caller)> {
        if !matches!(caller.who, Who::User(_) | Who::Oidc(_)) {
            let why = "a second person is a user who is known by name";
            return Err(ApiError::new(ErrorCode::Forbidden, why, "log in as a security officer: vtl login"));
        }
        self.change(|tx| {
            let approval = vtl_auth::decide(tx, id, true, &caller.who.text(), now().wall_s)?;
            let by_provider =
                |user: &OidcUser| lock(&self.sessions).roles_of(&Principal::Oidc(user.clone()), now());
            let asker = asker(tx, &approval.asked, by_provider)?;
            Ok((approval, Caller::approved(asker, caller.from)))
        })
    }

    /// Says no.
    pub(crate) fn refuse(&self, caller: &Caller, id: &str) -> Answer<()> {
        self.change(|tx| vtl_auth::decide(tx, id, false, &caller.who.text(), now().wall_s)).map(drop)
    }

    pub(crate) fn approval_list(&self) -> Answer<Vec<ApprovalInfo>> {
        Ok(self.read(|tx| vtl_auth::approvals(tx, now().wall_s))?.iter().map(shown).collect())
    }

    pub(crate) fn approval_show(&self, id: &str) -> Answer<ApprovalInfo> {
        self.read(|tx| vtl_auth::find_approval(tx, id, now().wall_s)).map(|one| shown(&one))
    }

    /// Entries, the newest first, and the cursor of the next page.
    pub(crate) fn audit_page(&self, ask: &AuditQuery) -> Answer<(Vec<AuditEntry>, Option<u64>)> {
        let limit = ask.limit.unwrap_or(PAGE);
        if !(1..=MOST_PAGE).contains(&limit) {
            let why = format!("limit cannot be {limit}");
            return Err(
                ApiError::new(ErrorCode::Invalid, why, "write a number from 1 to 1000").about("limit")
            );
        }
        let before = field("cursor", ask.cursor.as_deref().map(cursor).transpose())?;
        let filter = Filter {
            kind: field("kind", ask.kind.as_deref().map(kind).transpose())?,
            who: ask.who.clone(),
            what: ask.what.clone(),
            text: ask.text.clone(),
            since: field("since", ask.since.as_deref().map(time).transpose())?,
            until: field("until", ask.until.as_deref().map(time).transpose())?,
        };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let page = self.reader().page(before, limit, &filter).map_err(|error| unreadable(&error))?;
        Ok((page.entries.into_iter().map(entry).collect(), page.before))
    }

    /// Looks at the whole log; `against`: `NUMBER:HASH`, a head that was noted elsewhere.
    pub(crate) fn audit_verify(&self, against: Option<&str>) -> Answer<AuditReport> {
        let anchor = field("against", against.map(head).transpose())?;
        let report = self.reader().verify(anchor).map_err(|error| unreadable(&error))?;
        Ok(AuditReport {
            whole: report.faults.is_empty(),
            entries: report.lines,
            number: report.head.number,
            head: report.head.hash_text(),
            faults: report.faults.iter().map(ToString::to_string).collect(),
        })
    }

    /// Lines as they are in the file, after so many.
    pub(crate) fn audit_export(&self, after: u64, limit: usize) -> Answer<AuditLines> {
        let limit = limit.clamp(1, 1000);
        let lines = self.reader().lines(after, limit).map_err(|error| unreadable(&error))?;
        let next = (lines.len() == limit).then(|| after.saturating_add(lines.len() as u64));
        Ok(AuditLines { lines, next })
    }
}

fn unreadable(error: &vtl_audit::AuditError) -> ApiError {
    let why = format!("the audit log cannot be read: {error}");
    ApiError::new(ErrorCode::Internal, why, "check the disk of the state folder")
}

fn entry(entry: Entry) -> AuditEntry {
    AuditEntry {
        number: entry.n,
        at: entry.at,
        kind: entry.kind.word().to_owned(),
        of: entry.of,
        who: entry.who,
        from: entry.from,
        what: entry.what,
        detail: entry.detail,
        result: entry.result,
    }
}

fn cursor(text: &str) -> Answer<u64> {
    let remedy = "send the cursor of an answer as it is, or none";
    text.parse().map_err(|_| ApiError::new(ErrorCode::Invalid, format!("'{text}' is no cursor"), remedy))
}

fn kind(text: &str) -> Answer<EntryKind> {
    let known = EntryKind::ALL.into_iter().find(|kind| kind.word() == text);
    let remedy = "write request, outcome, login or event";
    known.ok_or_else(|| ApiError::new(ErrorCode::Invalid, format!("kind cannot be '{text}'"), remedy))
}

fn time(text: &str) -> Answer<String> {
    crate::kept::parse_time(text).map(rfc3339).map_err(|_| {
        let remedy = "write a time such as 2030-01-31T00:00:00Z, or a date such as 2030-01-31";
        ApiError::new(ErrorCode::Invalid, format!("'{text}' is no time"), remedy)
    })
}

fn head(text: &str) -> Answer<vtl_audit::Head> {
    let parsed = text.split_once(':').and_then(|(number, hash)| vtl_audit::Head::parse(number, hash));
    let remedy = "write NUMBER:HASH, as vtl audit verify printed them";
    parsed.ok_or_else(|| ApiError::new(ErrorCode::Invalid, format!("'{text}' is no head"), remedy))
}
