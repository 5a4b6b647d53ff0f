//! What each request needs: one table. A route that is not in it is refused, so that no new one is open by mistake.

use serde_json::Value;
use vtl_api::{ApiError, BASE, ErrorCode};
use vtl_auth::{Permission, Roles};

/// What a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nobody in particular: it proves by itself who asks, or tells nothing.
    Open,
    /// Somebody who may do this.
    Of(Permission),
}

/// What the door has asked for before it let a request in: who asks may do all of it, or a second person has said yes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Granted(Vec<Permission>);

impl Granted {
    pub(crate) fn new(needs: &[Permission]) -> Self {
        Self(needs.to_vec())
    }

    /// From words with a space between them, as they are kept with a request that waits.
    pub(crate) fn of_words(words: &str) -> Self {
        let is_named = |one: &Permission| words.split(' ').any(|word| word == one.word());
        Self(Roles::ALL.permissions().filter(is_named).collect())
    }

    /// For who looks again under the lock of changes: between the door and the change others may have changed what it needs.
    ///
    /// # Errors
    /// It needs now what nobody has asked for.
    pub(crate) fn covers(&self, need: Option<Permission>) -> Result<(), ApiError> {
        match need {
            Some(need) if !self.0.contains(&need) => Err(ApiError::new(
                ErrorCode::Conflict,
                format!("the settings have changed meanwhile: this needs '{}' now", need.word()),
                "look at them, and send it again",
            )),
            _ => Ok(()),
        }
    }
}

const READ: Need = Need::Of(Permission::Read);
const OPERATE: Need = Need::Of(Permission::Operate);
const CONFIGURE: Need = Need::Of(Permission::Configure);
const OWN: Need = Need::Of(Permission::Own);
const USERS: Need = Need::Of(Permission::ManageUsers);
const AUDIT: Need = Need::Of(Permission::ReadAudit);
const DESTROY: Need = Need::Of(Permission::Destroy);
const EXPORT_KEYS: Need = Need::Of(Permission::ExportKeys);
const APPROVE: Need = Need::Of(Permission::Approve);

/// Method, route below the base, need. GET stands for HEAD, too.
pub(crate) const ROUTES: &[(&str, &str, Need)] = &[
    ("GET", "/libraries", READ),
    ("POST", "/libraries", CONFIGURE),
    ("GET", "/libraries/{name}", READ),
    ("PATCH", "/libraries/{name}", CONFIGURE),
    ("DELETE", "/libraries/{name}", CONFIGURE),
    ("GET", "/libraries/{name}/drives/{number}", READ),
    ("GET", "/drives", READ),
    ("GET", "/cartridges", READ),
    ("POST", "/cartridges", OPERATE),
    ("GET", "/cartridges/{label}", READ),
    ("PATCH", "/cartridges/{label}", OPERATE),
    ("DELETE", "/cartridges/{label}", DESTROY),
    ("GET", "/cartridges/{label}/map", READ),
    ("POST", "/cartridges/{label}/move", OPERATE),
    ("GET", "/trash", READ),
    ("POST", "/cartridges/{label}/restore", OPERATE),
    ("POST", "/cartridges/{label}/release", CONFIGURE),
    ("DELETE", "/unlisted/{id}", DESTROY),
    ("POST", "/unlisted/{id}/restore", OPERATE),
    ("GET", "/vault", READ),
    ("POST", "/vault/{label}/load", OPERATE),
    ("DELETE", "/vault/{label}", DESTROY),
    ("POST", "/cartridges/{label}/export", OPERATE),
    ("POST", "/imports", OPERATE),
    ("POST", "/ingests", OPERATE),
    ("GET", "/exports", READ),
    ("GET", "/exports/show", READ),
    ("POST", "/exports/fetch", OPERATE),
    ("POST", "/exports/rewrap", EXPORT_KEYS),
    ("POST", "/exports/verify", OPERATE),
    ("POST", "/exports/prune", DESTROY),
    ("GET", "/store/stats", READ),
    ("GET", "/store/history", READ),
    ("POST", "/store/account", OPERATE),
    ("GET", "/store/key", READ),
    ("POST", "/store/key/rotate", EXPORT_KEYS),
    ("POST", "/store/key/export", EXPORT_KEYS),
    ("POST", "/store/check", OPERATE),
    ("GET", "/store/scrub", READ),
    ("POST", "/store/scrub", OPERATE),
    ("POST", "/store/repair", OPERATE),
    ("POST", "/store/rebuild-index", CONFIGURE),
    ("POST", "/store/gc", OPERATE),
    ("GET", "/pools", READ),
    ("POST", "/pools", CONFIGURE),
    ("GET", "/pools/{name}", READ),
    ("DELETE", "/pools/{name}", DESTROY),
    ("POST", "/pools/{name}/folders", CONFIGURE),
    ("POST", "/pools/{name}/open", CONFIGURE),
    ("POST", "/pools/{name}/drain", CONFIGURE),
    ("GET", "/remotes", READ),
    ("POST", "/remotes", CONFIGURE),
    ("GET", "/remotes/{name}", READ),
    ("DELETE", "/remotes/{name}", CONFIGURE),
    ("GET", "/remotes/{name}/objects", READ),
    ("POST", "/remotes/{name}/test", OPERATE),
    ("GET", "/keys", READ),
    ("POST", "/keys", CONFIGURE),
    ("POST", "/keys/{name}", CONFIGURE),
    ("DELETE", "/keys/{name}", DESTROY),
    ("GET", "/keys/{name}/public", READ),
    ("GET", "/hooks", READ),
    ("POST", "/hooks/{name}/test", OPERATE),
    ("GET", "/jobs", READ),
    ("DELETE", "/jobs", OPERATE),
    ("GET", "/jobs/{id}", READ),
    ("POST", "/jobs/{id}/cancel", OPERATE),
    ("POST", "/jobs/{id}/pause", OPERATE),
    ("POST", "/jobs/{id}/resume", OPERATE),
    ("POST", "/jobs/{id}/retry", OPERATE),
    ("GET", "/iscsi/portals", READ),
    ("POST", "/iscsi/portals", CONFIGURE),
    ("DELETE", "/iscsi/portals/{address}", CONFIGURE),
    ("GET", "/iscsi/targets", READ),
    ("GET", "/iscsi/sessions", READ),
    ("PUT", "/iscsi/targets/{library}/chap", CONFIGURE),
    ("DELETE", "/iscsi/targets/{library}/chap", CONFIGURE),
    ("POST", "/iscsi/targets/{library}/initiators", CONFIGURE),
    ("DELETE", "/iscsi/targets/{library}/initiators/{initiator}", CONFIGURE),
    ("GET", "/config/effective", READ),
    // It names what is in a file of the server's machine.
    ("POST", "/config/check", CONFIGURE),
    ("GET", "/system/status", READ),
    ("GET", "/system/diag", CONFIGURE),
    ("GET", "/system/diag/bundle", CONFIGURE),
    ("POST", "/system/reload", CONFIGURE),
    ("POST", "/system/backup", CONFIGURE),
    // Users come back with it: who could restore alone could make himself anybody.
    ("POST", "/system/restore", DESTROY),
    ("POST", "/system/rebuild", CONFIGURE),
    ("POST", "/system/upgrade", CONFIGURE),
    ("GET", "/events", READ),
    ("GET", "/openapi.json", READ),
    ("GET", "/alerts", READ),
    ("POST", "/alerts/{id}/ack", OPERATE),
    ("POST", "/alerts/test", CONFIGURE),
    ("GET", "/metrics", READ),
    ("GET", "/session", OWN),
    ("POST", "/session", Need::Open),
    ("GET", "/session/oidc", Need::Open),
    ("POST", "/session/oidc", Need::Open),
    // Where browsers come back from the provider; no request of a program.
    ("GET", "/session/oidc/callback", Need::Open),
    ("DELETE", "/session", OWN),
    ("GET", "/sessions", USERS),
    ("DELETE", "/sessions", USERS),
    ("POST", "/setup", Need::Open),
    ("GET", "/users", USERS),
    ("POST", "/users", USERS),
    ("GET", "/users/{name}", USERS),
    ("PATCH", "/users/{name}", USERS),
    ("DELETE", "/users/{name}", USERS),
    // One's own, or another's for who manages users: asked there.
    ("PUT", "/users/{name}/password", OWN),
    ("GET", "/tokens", OWN),
    ("POST", "/tokens", OWN),
    ("DELETE", "/tokens/{id}", OWN),
    ("GET", "/approvals", AUDIT),
    ("GET", "/approvals/{id}", AUDIT),
    ("POST", "/approvals/{id}/approve", APPROVE),
    ("POST", "/approvals/{id}/refuse", APPROVE),
    ("GET", "/audit", AUDIT),
    ("GET", "/audit/verify", AUDIT),
    ("GET", "/audit/export", AUDIT),
];

/// Routes on which a field of the body needs something else.
const FIELDS: &[(&str, &str, &str, Permission)] = &[
    ("PATCH", "/cartridges/{label}", "retain_until", Permission::Retain),
    ("PATCH", "/cartridges/{label}", "hold", Permission::Retain),
];

/// What a matched route needs; none: it is not in the table.
pub(crate) fn need(method: &str, route: &str) -> Option<Need> {
    let method = if method == "HEAD" { "GET" } else { method };
    let route = route.strip_prefix(BASE).unwrap_or(route);
    ROUTES.iter().find(|(m, r, _)| *m == method && *r == route).map(|(.., need)| *need)
}

/// What the fields of a body need beside that. Asked with a value or with null: a field that is named is meant.
pub(crate) fn need_of_fields(method: &str, route: &str, body: &Value) -> Vec<Permission> {
    let route = route.strip_prefix(BASE).unwrap_or(route);
    let rows =
        FIELDS.iter().filter(|(m, r, field, _)| *m == method && *r == route && body.get(field).is_some());
    rows.map(|(.., permission)| *permission).collect()
}

/// Nothing changes.
pub(crate) fn only_reads(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS")
}

#[cfg(test)]
mod tests {
    use vtl_auth::Role;

    use super::*;

    #[test]
    fn what_was_granted_is_what_was_asked_for_and_what_it_needs_beside_is_a_conflict() {
        let granted = Granted::of_words("configure destroy");
        assert_eq!(granted, Granted::new(&[Permission::Configure, Permission::Destroy]));
        assert_eq!(granted.covers(Some(Permission::Destroy)), Ok(()));
        assert_eq!(Granted::default().covers(None), Ok(()));
        for granted in [granted, Granted::default()] {
            let refused = granted.covers(Some(Permission::ExportKeys)).unwrap_err();
            assert_eq!(refused.code, ErrorCode::Conflict);
            assert!(refused.message.contains("'export-keys'"), "{refused:?}");
        }
    }

    #[test]
    fn no_route_stands_twice_and_what_only_reads_needs_no_right_to_change() {
        for (at, (method, route, need)) in ROUTES.iter().enumerate() {
            let again = ROUTES.iter().skip(at + 1).any(|(m, r, _)| (m, r) == (method, route));
            assert!(!again, "{method} {route}");
            assert!(*need != READ || *method == "GET", "{method} {route} changes something");
        }
    }

    #[test]
    fn every_route_of_the_api_has_a_row() {
        let routes = crate::api::table();
        assert!(routes.len() > 80, "{}", routes.len());
        for route in routes {
            let found = need(route.method.as_str(), route.path);
            assert!(found.is_some(), "{} {} has no permission", route.method, route.path);
        }
    }

    #[test]
    fn an_unknown_route_or_method_has_no_row() {
        assert_eq!(need("GET", "/api/v1/libraries"), Some(READ));
        assert_eq!(need("HEAD", "/libraries"), Some(READ));
        assert_eq!(need("PUT", "/libraries"), None);
        assert_eq!(need("GET", "/new-thing"), None);
    }

    #[test]
    fn retention_and_hold_want_the_security_officer_and_the_write_protect_switch_does_not() {
        let fields = |text: &str| {
            let body = serde_json::from_str(text).unwrap();
            need_of_fields("PATCH", "/api/v1/cartridges/{label}", &body)
        };
        assert_eq!(fields(r#"{"hold": false}"#), [Permission::Retain]);
        assert_eq!(fields(r#"{"retain_until": null, "write_protect": true}"#), [Permission::Retain]);
        assert_eq!(fields(r#"{"write_protect": true}"#), []);
        assert_eq!(fields("[]"), []);
    }

    #[test]
    fn only_the_security_officer_deletes_gives_keys_out_and_approves() {
        let may = |role: Role| -> Vec<String> {
            let roles = vtl_auth::Roles::NONE.with(role);
            let all = ROUTES.iter().filter_map(|(method, route, need)| match need {
                Need::Of(permission) if roles.may(*permission) => Some(format!("{method} {route}")),
                _ => None,
            });
            all.collect()
        };
        let (administrator, officer) = (may(Role::Administrator), may(Role::SecurityOfficer));
        let only: Vec<_> = officer.iter().filter(|route| !administrator.contains(route)).collect();
        assert_eq!(
            only,
            [
                "DELETE /cartridges/{label}",
                "DELETE /unlisted/{id}",
                "DELETE /vault/{label}",
                "POST /exports/rewrap",
                "POST /exports/prune",
                "POST /store/key/rotate",
                "POST /store/key/export",
                "DELETE /pools/{name}",
                "DELETE /keys/{name}",
                "POST /system/restore",
                "POST /approvals/{id}/approve",
                "POST /approvals/{id}/refuse",
            ]
        );
    }
}
