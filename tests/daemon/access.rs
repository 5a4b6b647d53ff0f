//! Who may do what: log-in, sessions, tokens, roles, the two-person rule, and every refusal of the door.

use std::fs;

use serde_json::{Value, json};

use crate::support::Server;

const PASSWORD: &str = "made-up password one";
const OTHER: &str = "made-up password two";

/// Somebody who asks with a cookie, as a page does.
struct Page<'s> {
    server: &'s Server,
    cookie: String,
    csrf: String,
}

impl Page<'_> {
    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let headers = [("Cookie", self.cookie.as_str()), ("X-CSRF-Token", self.csrf.as_str())];
        self.server.ask_with(method, path, body, &headers)
    }

    fn get(&self, path: &str) -> (u16, Value) {
        self.server.ask_with("GET", path, &Value::Null, &[("Cookie", &self.cookie)])
    }
}

/// The cookie that an answer sets, as a browser would send it.
fn cookie(head: &str) -> Option<String> {
    let line = head.lines().find_map(|line| line.strip_prefix("set-cookie: "))?;
    Some(line.split(';').next()?.to_owned())
}

fn page<'s>(server: &'s Server, path: &str, body: &Value) -> Page<'s> {
    let (status, head, answer) = server.ask_whole("POST", path, body, &[]);
    assert_eq!(status, 200, "{answer}");
    let csrf = answer["csrf"].as_str().unwrap().to_owned();
    Page { server, cookie: cookie(&head).unwrap(), csrf }
}

fn log_in<'s>(server: &'s Server, user: &str) -> Page<'s> {
    page(server, "/session", &json!({ "user": user, "password": PASSWORD }))
}

fn add_user(server: &Server, name: &str, roles: &[&str]) {
    server.api("POST", "/users", &json!({ "name": name, "password": PASSWORD, "roles": roles }));
}

/// A token with which a user asks.
fn token_of(server: &Server, user: &str, body: &Value) -> (String, Value) {
    let (status, answer) = log_in(server, user).ask("POST", "/tokens", body);
    assert_eq!(status, 200, "{answer}");
    (answer["token"].as_str().unwrap().to_owned(), answer)
}

fn with_token(server: &Server, token: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
    server.ask_with(method, path, body, &[("Authorization", &format!("Bearer {token}"))])
}

fn setup_token(server: &Server) -> Option<String> {
    let line = server.welcome.iter().find(|line| line.starts_with("first user: "))?;
    Some(line.split_once("#setup=").unwrap().1.split(' ').next().unwrap().to_owned())
}

#[test]
fn the_link_of_the_first_start_makes_one_user_once_and_is_printed_until_there_is_one() {
    let mut server = Server::start(&[]);
    let old = setup_token(&server).expect("a link");
    assert_eq!(server.stop(), Some(0));
    server.start_again();
    let link = setup_token(&server).expect("another link");
    let first = |token: &str| json!({ "token": token, "user": "Ann", "password": PASSWORD });
    let (status, answer) = server.ask_with("POST", "/setup", &first(&old), &[]);
    assert_eq!((status, &answer["code"]), (401, &json!("unauthorized")), "of the start before");
    let as_bearer = with_token(&server, &link, "GET", "/libraries", &Value::Null).0;
    assert_eq!(as_bearer, 401, "it opens nothing else");
    let short = json!({ "token": link, "user": "ann", "password": "too short" });
    assert_eq!(server.ask_with("POST", "/setup", &short, &[]).0, 400, "and the link stays");
    let ann = page(&server, "/setup", &first(&link));
    let (status, state) = ann.get("/session");
    assert_eq!((status, &state["user"]), (200, &json!("ann")));
    assert_eq!(state["roles"], json!(["administrator", "security-officer"]));
    assert_eq!(server.ask_with("POST", "/setup", &first(&link), &[]).0, 401, "used");
    assert_eq!(server.stop(), Some(0));
    server.start_again();
    assert_eq!(setup_token(&server), None);
    drop(log_in(&server, "ANN"));
}

#[test]
fn a_log_in_gives_a_cookie_that_scripts_cannot_read_and_says_what_its_user_may() {
    let server = Server::start(&[]);
    add_user(&server, "oli", &["operator"]);
    let ask = json!({ "user": "oli", "password": PASSWORD });
    let (status, head, answer) = server.ask_whole("POST", "/session", &ask, &[]);
    assert_eq!(status, 200);
    let line = head.lines().find(|line| line.starts_with("set-cookie: ")).unwrap();
    assert!(line.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{line}");
    assert_eq!(answer["user"], "oli");
    assert_eq!(answer["roles"], json!(["operator"]));
    assert_eq!(answer["permissions"], json!(["own", "read", "operate"]));
    assert!(answer["expires"].as_str().unwrap().ends_with('Z'));
    assert_eq!(answer["csrf"].as_str().unwrap().len(), 64);
    let oli = log_in(&server, "oli");
    assert_eq!(oli.get("/libraries").0, 200);
    let (status, _) = oli.ask("DELETE", "/session", &Value::Null);
    assert_eq!(status, 200);
    assert_eq!(oli.get("/libraries").0, 401, "logged out");
}

#[test]
fn unknown_users_and_wrong_passwords_hear_the_same_and_who_guesses_waits() {
    let server = Server::start(&[]);
    add_user(&server, "ann", &["administrator"]);
    let attempt = |user: &str, password: &str| {
        server.ask_with("POST", "/session", &json!({ "user": user, "password": password }), &[])
    };
    let known = attempt("ann", OTHER);
    assert_eq!(known.0, 401);
    assert_eq!(known, attempt("nobody", OTHER));
    assert_eq!(known, attempt("no name at all!", OTHER));
    (0..3).for_each(|_| assert_eq!(attempt("ann", OTHER).0, 401));
    let (status, answer) = [(); 3].map(|()| attempt("ann", OTHER))[2].clone();
    assert_eq!((status, &answer["code"]), (429, &json!("too-many-requests")));
    assert!(answer["remedy"].as_str().unwrap().contains("wait"), "{answer}");
    let (status, _) = attempt("ann", PASSWORD);
    assert_eq!(status, 429, "the right one is not looked at before its time");
    server.get("/libraries");
    let log = server.log();
    assert!(!log.contains(OTHER) && !log.contains(PASSWORD));
}

#[test]
fn many_names_from_one_address_end_in_a_wait_that_holds_up_no_token() {
    let server = Server::start(&[]);
    let attempt = |n: u32| {
        let ask = json!({ "user": format!("user{n}"), "password": OTHER });
        server.ask_with("POST", "/session", &ask, &[]).0
    };
    let answers: Vec<u16> = (0..30).map(attempt).collect();
    assert!(answers.iter().take(20).all(|status| *status == 401), "{answers:?}");
    assert!(answers.contains(&429), "{answers:?}");
    let with_token = server.ask_with("POST", "/session", &json!({ "token": server.token() }), &[]);
    assert_eq!(with_token.0, 200, "{with_token:?}");
}

#[test]
fn a_change_by_cookie_without_the_text_of_its_page_is_refused() {
    let server = Server::start(&[]);
    add_user(&server, "ann", &["administrator"]);
    let (ann, other) = (log_in(&server, "ann"), log_in(&server, "ann"));
    let body = json!({ "name": "made-by-another-page" });
    let with = |csrf: Option<&str>| {
        let mut headers = vec![("Cookie", ann.cookie.as_str())];
        headers.extend(csrf.map(|csrf| ("X-CSRF-Token", csrf)));
        server.ask_with("POST", "/tokens", &body, &headers)
    };
    for csrf in [None, Some(""), Some("0000"), Some(other.csrf.as_str())] {
        let (status, answer) = with(csrf);
        assert_eq!((status, &answer["code"]), (403, &json!("forbidden")), "{csrf:?}");
        assert!(answer["message"].as_str().unwrap().contains("X-CSRF-Token"));
    }
    assert_eq!(server.get("/tokens"), json!([]));
    assert_eq!(with(Some(&ann.csrf)).0, 200);
}

#[test]
fn a_session_that_somebody_else_chose_is_not_gone_on_with() {
    let server = Server::start(&[]);
    add_user(&server, "ann", &["administrator"]);
    let planted = log_in(&server, "ann");
    let ask = json!({ "user": "ann", "password": PASSWORD });
    let (_, head, _) = server.ask_whole("POST", "/session", &ask, &[("Cookie", &planted.cookie)]);
    assert_ne!(cookie(&head).unwrap(), planted.cookie);
    assert_eq!(planted.get("/session").0, 401, "the session before has ended");
    let made_up =
        "vtl=vtls_0000000000000000_0000000000000000000000000000000000000000000000000000000000000000";
    let (_, head, _) = server.ask_whole("POST", "/session", &ask, &[("Cookie", made_up)]);
    assert_ne!(cookie(&head).unwrap(), made_up);
}

#[test]
fn every_answer_forbids_frames_and_foreign_scripts() {
    let server = Server::start(&[]);
    for (method, path) in [("GET", "/libraries"), ("GET", "/nothing"), ("POST", "/session")] {
        let (_, head, _) = server.ask_whole(method, path, &json!({}), &[]);
        for line in [
            "x-frame-options: DENY",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cross-origin-opener-policy: same-origin",
            "cache-control: no-store",
        ] {
            assert!(head.lines().any(|found| found == line), "{method} {path}: {line} in\n{head}");
        }
        let policy = head.lines().find_map(|line| line.strip_prefix("content-security-policy: ")).unwrap();
        assert!(
            policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!head.contains("strict-transport-security"), "without TLS it would lock browsers out");
    }
}

#[test]
fn a_rebound_name_and_a_page_of_another_port_are_refused_even_with_the_cookie() {
    let server = Server::start(&["--set", "api.hosts=[\"vtl.example\"]"]);
    add_user(&server, "ann", &["viewer"]);
    let ann = log_in(&server, "ann");
    let ask = |headers: &[(&str, &str)]| {
        let all = [&[("Cookie", ann.cookie.as_str())], headers].concat();
        server.ask_with("GET", "/libraries", &Value::Null, &all).0
    };
    assert_eq!(ask(&[]), 200);
    assert_eq!(ask(&[("Host", "vtl.example")]), 200, "the configuration knows it");
    assert_eq!(ask(&[("Host", "evil.example")]), 403);
    assert_eq!(ask(&[("Host", "192.0.2.10:8460")]), 403);
    let own = format!("http://{}", server.api);
    assert_eq!(ask(&[("Origin", &own)]), 200);
    assert_eq!(ask(&[("Origin", "http://127.0.0.1:9")]), 403);
    assert_eq!(ask(&[("Origin", "null")]), 403);
    let (status, _) = server.ask_with(
        "POST",
        "/session",
        &json!({ "user": "ann", "password": PASSWORD }),
        &[("Origin", "http://evil.example")],
    );
    assert_eq!(status, 403, "nobody is logged in by a foreign page");
}

#[test]
fn a_token_opens_what_its_roles_and_its_user_may_until_it_is_revoked_or_over() {
    let server = Server::start(&[]);
    add_user(&server, "oli", &["operator"]);
    let (token, row) = token_of(&server, "oli", &json!({ "name": "nightly", "role": "viewer" }));
    assert_eq!((&row["user"], &row["roles"]), (&json!("oli"), &json!(["viewer"])));
    let get = |token: &str| with_token(&server, token, "GET", "/libraries", &Value::Null).0;
    assert_eq!(get(&token), 200);
    let moved = json!({ "to": "slot:11" });
    let path = "/cartridges/VTL001L8/move";
    assert_eq!(with_token(&server, &token, "POST", path, &moved).0, 403, "less than its user");
    assert!(!server.get("/tokens").to_string().contains(&token), "it is shown once");
    for stolen in [
        token.replace("vtlt_", "vtls_"),
        format!("{}0", &token[..token.len() - 1]),
        token[..token.len() - 1].to_owned(),
        String::new(),
    ] {
        assert!(stolen == token || get(&stolen) == 401, "{stolen}");
    }
    let as_cookie =
        server.ask_with("GET", "/libraries", &Value::Null, &[("Cookie", &format!("vtl={token}"))]);
    assert_eq!(as_cookie.0, 401, "a token is no session");
    let sitting = page(&server, "/session", &json!({ "token": token }));
    assert_eq!(sitting.get("/session").1["roles"], json!(["viewer"]));

    server.api("PATCH", "/users/oli", &json!({ "locked": true }));
    assert_eq!(get(&token), 401, "its user is locked");
    server.api("PATCH", "/users/oli", &json!({ "locked": false, "roles": [] }));
    assert_eq!(get(&token), 403, "its user may nothing");
    server.api("PATCH", "/users/oli", &json!({ "roles": ["operator"] }));
    assert_eq!(get(&token), 200);
    let sitting = page(&server, "/session", &json!({ "token": token }));
    server.api("DELETE", &format!("/tokens/{}", row["id"].as_str().unwrap()), &Value::Null);
    assert_eq!(get(&token), 401, "revoked");
    assert_eq!(sitting.get("/session").0, 401, "and the session that it opened");

    let soon = json!({ "name": "past", "expires": "2020-01-01" });
    let (status, _) = log_in(&server, "oli").ask("POST", "/tokens", &soon);
    assert_eq!(status, 400, "an end in the past");
    let more = json!({ "name": "more", "role": "administrator" });
    assert_eq!(log_in(&server, "oli").ask("POST", "/tokens", &more).0, 403, "more than its maker");
}

#[test]
fn a_token_of_another_user_is_neither_seen_nor_revoked_by_who_manages_nobody() {
    let server = Server::start(&[]);
    add_user(&server, "oli", &["operator"]);
    add_user(&server, "vic", &["viewer"]);
    let (_, row) = token_of(&server, "oli", &json!({ "name": "his" }));
    let vic = log_in(&server, "vic");
    assert_eq!(vic.get("/tokens").1, json!([]));
    let path = format!("/tokens/{}", row["id"].as_str().unwrap());
    assert_eq!(vic.ask("DELETE", &path, &Value::Null).0, 404);
    assert_eq!(log_in(&server, "oli").ask("DELETE", &path, &Value::Null).0, 200);
}

#[test]
fn a_token_of_a_viewer_finds_and_ends_itself_as_a_log_out_has_it_do() {
    let server = Server::start(&[]);
    add_user(&server, "vic", &["viewer"]);
    let (token, row) = token_of(&server, "vic", &json!({ "name": "vtl login 1.000000002" }));
    let ask = |method: &str, path: &str| with_token(&server, &token, method, path, &Value::Null);
    let (status, list) = ask("GET", "/tokens");
    assert_eq!((status, &list[0]["id"], &list[0]["name"]), (200, &row["id"], &row["name"]));
    assert_eq!(ask("DELETE", &format!("/tokens/{}", row["id"].as_str().unwrap())).0, 200);
    assert_eq!(ask("GET", "/tokens").0, 401);
}

#[test]
fn tokens_and_users_are_there_after_a_restart_and_sessions_are_not() {
    let mut server = Server::start(&[]);
    add_user(&server, "ann", &["administrator"]);
    let cookie = log_in(&server, "ann").cookie;
    let (token, _) = token_of(&server, "ann", &json!({ "name": "kept" }));
    assert_eq!(server.stop(), Some(0));
    server.start_again();
    assert_eq!(with_token(&server, &token, "GET", "/libraries", &Value::Null).0, 200);
    assert_eq!(server.ask_with("GET", "/session", &Value::Null, &[("Cookie", &cookie)]).0, 401);
    drop(log_in(&server, "ann"));
}

#[test]
fn another_password_ends_all_sessions_and_wants_the_present_one() {
    let server = Server::start(&[]);
    add_user(&server, "vic", &["viewer"]);
    let vic = log_in(&server, "vic");
    let set = |body: &Value| vic.ask("PUT", "/users/vic/password", body).0;
    assert_eq!(set(&json!({ "password": OTHER })), 403);
    assert_eq!(set(&json!({ "current": OTHER, "password": OTHER })), 403);
    assert_eq!(vic.ask("PUT", "/users/ann/password", &json!({ "password": OTHER })).0, 403, "another's");
    assert_eq!(set(&json!({ "current": PASSWORD, "password": "short" })), 400);
    assert_eq!(set(&json!({ "current": PASSWORD, "password": OTHER })), 200);
    assert_eq!(vic.get("/session").0, 401);
    let (status, _) = server.ask_with("POST", "/session", &json!({ "user": "vic", "password": OTHER }), &[]);
    assert_eq!(status, 200);
}

#[test]
fn sessions_are_listed_and_ended_by_who_governs_their_user() {
    let server = Server::start(&[]);
    add_user(&server, "ann", &["administrator"]);
    add_user(&server, "sam", &["security-officer"]);
    add_user(&server, "vic", &["viewer"]);
    let (ann, sam) = (log_in(&server, "ann"), log_in(&server, "sam"));
    let (token, _) = token_of(&server, "vic", &json!({ "name": "kept" }));
    let vics = [log_in(&server, "vic"), page(&server, "/session", &json!({ "token": token }))];
    let users = |path: &str| -> Vec<String> {
        let (status, rows) = ann.get(path);
        assert_eq!(status, 200, "{rows}");
        rows.as_array().unwrap().iter().map(|row| row["user"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(users("/sessions"), ["ann", "sam", "vic", "vic", "vic"]);
    let rows = ann.get("/sessions?user=Vic").1;
    for row in rows.as_array().unwrap() {
        assert_eq!((&row["roles"], &row["from"]), (&json!(["viewer"]), &json!("127.0.0.1")));
        let [since, last_used, expires] =
            ["since", "last_used", "expires"].map(|at| row[at].as_str().unwrap());
        assert!(since <= last_used && last_used < expires, "{row}");
    }
    let by_token = rows.as_array().unwrap().iter().filter(|row| row["by_token"] == true).count();
    assert_eq!((rows.as_array().unwrap().len(), by_token), (3, 1));
    let text = ann.get("/sessions").1.to_string();
    for page in [&ann, &sam, &vics[0], &vics[1]] {
        let cookie = page.cookie.strip_prefix("vtl=").unwrap();
        assert!(!text.contains(cookie) && !text.contains(&page.csrf), "{text}");
    }

    let end = |page: &Page<'_>, user: &str| page.ask("DELETE", "/sessions", &json!({ "user": user }));
    assert_eq!(vics[0].get("/sessions").0, 403);
    assert_eq!(end(&vics[0], "vic").0, 403, "who manages nobody logs out");
    assert_eq!(end(&ann, "sam").0, 403, "an administrator governs no security officer");
    assert_eq!(end(&sam, "ann").0, 403, "nor the other way round");
    assert_eq!((sam.get("/session").0, ann.get("/session").0), (200, 200));
    for (user, status) in [("nobody", 404), ("oidc:https://id.example.org#x", 404), ("root", 404), ("", 400)]
    {
        assert_eq!(end(&ann, user).0, status, "{user}");
    }
    assert_eq!(ann.ask("DELETE", "/sessions", &json!({})).0, 400, "whose is not said");

    let (status, done) = end(&ann, "vic");
    assert_eq!((status, &done["message"]), (200, &json!("vic is logged out everywhere (sessions: 3)")));
    assert!(vics.iter().all(|page| page.get("/session").0 == 401));
    assert_eq!(users("/sessions"), ["ann", "sam"]);
    let entries = server.get("/audit?limit=2&what=sessions&who=ann");
    assert_eq!((&entries[0]["kind"], &entries[0]["result"]), (&json!("outcome"), &json!("ok")));
    assert_eq!(
        (&entries[1]["kind"], &entries[1]["what"], &entries[1]["detail"]["body"]),
        (&json!("request"), &json!("DELETE /sessions"), &json!({ "user": "vic" }))
    );
    assert_eq!(with_token(&server, &token, "GET", "/libraries", &Value::Null).0, 200, "the token stays");
    assert_eq!(end(&ann, "vic").1["message"], "vic is logged out everywhere (sessions: 0)");
    drop(log_in(&server, "vic"));

    assert_eq!(end(&ann, "ann").0, 200, "one's own");
    assert_eq!(ann.get("/session").0, 401);
    let root = page(&server, "/session", &json!({ "token": server.token() }));
    assert_eq!(end(&log_in(&server, "ann"), "root").0, 403, "it may more than an administrator governs");
    server.api("DELETE", "/sessions", &json!({ "user": "root" }));
    assert_eq!(root.get("/session").0, 401);
}

/// Role, and how many of the requests below it may do.
const ROLES: [&str; 4] = ["viewer", "operator", "administrator", "security-officer"];

/// Method, path, which roles get past the door. The server then answers what it likes, but not 403.
const REACH: &[(&str, &str, [bool; 4])] = &[
    ("GET", "/libraries", [true, true, true, true]),
    ("GET", "/cartridges", [true, true, true, true]),
    ("GET", "/jobs", [true, true, true, true]),
    ("GET", "/keys", [true, true, true, true]),
    ("GET", "/system/status", [true, true, true, true]),
    ("POST", "/cartridges/NONE01L8/move", [false, true, true, false]),
    ("POST", "/cartridges/NONE01L8/export", [false, true, true, false]),
    ("POST", "/imports", [false, true, true, false]),
    ("POST", "/store/gc", [false, true, true, false]),
    ("POST", "/jobs/999/cancel", [false, true, true, false]),
    ("PATCH", "/cartridges/NONE01L8", [false, true, true, false]),
    ("POST", "/libraries", [false, false, true, false]),
    ("PATCH", "/libraries/none", [false, false, true, false]),
    ("POST", "/remotes", [false, false, true, false]),
    ("POST", "/keys", [false, false, true, false]),
    ("PUT", "/iscsi/targets/none/chap", [false, false, true, false]),
    ("POST", "/pools", [false, false, true, false]),
    ("POST", "/system/backup", [false, false, true, false]),
    ("GET", "/users", [false, false, true, true]),
    ("GET", "/sessions", [false, false, true, true]),
    ("DELETE", "/sessions", [false, false, true, true]),
    ("GET", "/audit", [false, false, true, true]),
    ("DELETE", "/cartridges/NONE01L8", [false, false, false, true]),
    ("DELETE", "/unlisted/0a0000000000000000000000000000ff", [false, false, false, true]),
    ("POST", "/unlisted/0a0000000000000000000000000000ff/restore", [false, true, true, false]),
    ("DELETE", "/vault/NONE01L8", [false, false, false, true]),
    ("DELETE", "/pools/none", [false, false, false, true]),
    ("DELETE", "/keys/none", [false, false, false, true]),
    ("POST", "/exports/prune", [false, false, false, true]),
    ("POST", "/exports/rewrap", [false, false, false, true]),
    ("POST", "/store/key/export", [false, false, false, true]),
    ("POST", "/store/key/rotate", [false, false, false, true]),
    ("POST", "/system/restore", [false, false, false, true]),
    ("POST", "/approvals/none/approve", [false, false, false, true]),
];

#[test]
fn each_role_gets_past_the_door_where_the_table_says_and_nowhere_else() {
    let server = Server::start(&[]);
    for (at, role) in ROLES.iter().enumerate() {
        let name = format!("user-{role}");
        add_user(&server, &name, &[role]);
        let (token, _) = token_of(&server, &name, &json!({ "name": "all" }));
        for (method, path, may) in REACH {
            let (status, answer) = with_token(&server, &token, method, path, &Value::Null);
            assert_eq!(status != 403, may[at], "{role}: {method} {path}: {status} {answer}");
            assert_ne!(status, 401, "{role}: {method} {path}");
        }
    }
    for (method, path, _) in REACH {
        assert_eq!(server.ask_with(method, path, &Value::Null, &[]).0, 401, "nobody: {method} {path}");
    }
}

#[test]
fn retention_and_holds_are_the_security_officers_and_the_write_protect_switch_is_not() {
    let server = Server::start(&[]);
    add_user(&server, "oli", &["operator", "administrator"]);
    add_user(&server, "sam", &["security-officer", "operator"]);
    let path = "/cartridges/VTL001L8";
    let oli = log_in(&server, "oli");
    assert_eq!(oli.ask("PATCH", path, &json!({ "write_protect": true })).0, 200);
    for body in [json!({ "hold": true }), json!({ "retain_until": "2099-01-01", "write_protect": false })] {
        let (status, answer) = oli.ask("PATCH", path, &body);
        assert_eq!(status, 403);
        assert!(answer["message"].as_str().unwrap().contains("'retain'"), "{answer}");
    }
    assert_eq!(log_in(&server, "sam").ask("PATCH", path, &json!({ "hold": true })).0, 200);
}

#[test]
fn a_token_makes_no_successor_and_ends_with_the_password() {
    let server = Server::start(&[]);
    add_user(&server, "ann", &["administrator"]);
    let (token, _) = token_of(&server, "ann", &json!({ "name": "stolen" }));
    let more = json!({ "name": "successor" });
    assert_eq!(with_token(&server, &token, "POST", "/tokens", &more).0, 403);
    let by_token = page(&server, "/session", &json!({ "token": token }));
    assert_eq!(by_token.ask("POST", "/tokens", &more).0, 403, "a session that it opened");
    assert_eq!(by_token.get("/tokens").1.as_array().unwrap().len(), 1);
    let own = json!({ "current": PASSWORD, "password": OTHER });
    assert_eq!(log_in(&server, "ann").ask("PUT", "/users/ann/password", &own).0, 200);
    assert_eq!(with_token(&server, &token, "GET", "/libraries", &Value::Null).0, 401);
    assert_eq!(server.get("/tokens"), json!([]));
    assert_eq!(server.ask("POST", "/tokens", &more).0, 200, "the token of the state folder makes others");
}

#[test]
fn no_administrator_or_operator_has_cartridges_deleted_by_settings_of_a_library() {
    let server = Server::start(&[]);
    let place = tempfile::tempdir().unwrap();
    for name in ["safe", "other"] {
        fs::create_dir(place.path().join(name)).unwrap();
        let remote = json!({ "name": name, "type": "folder", "path": place.path().join(name) });
        server.api("POST", "/remotes", &remote);
    }
    add_user(&server, "ann", &["administrator"]);
    add_user(&server, "both", &["administrator", "security-officer"]);
    let (ann, both) = (log_in(&server, "ann"), log_in(&server, "both"));
    let set = |page: &Page<'_>, key: &str, value: &str| {
        page.ask("PATCH", "/libraries/lib0", &json!({ "settings": { key: value } }))
    };
    assert_eq!(set(&ann, "migrate.remote", "safe").0, 200, "nothing is deleted");
    for key in ["migrate.delete_after_export", "migrate.delete_clean_import"] {
        let (status, answer) = set(&ann, key, "true");
        assert_eq!(status, 403);
        assert!(answer["message"].as_str().unwrap().contains("'destroy'"), "{answer}");
    }
    let escaped = ann.ask(
        "PATCH",
        "/libraries/lib%30",
        &json!({ "settings": { "migrate.delete_after_export": "true" } }),
    );
    assert_eq!(escaped.0, 403, "the same library");
    assert_eq!(set(&both, "migrate.delete_after_export", "true").0, 200);
    assert_eq!(set(&ann, "migrate.remote", "other").0, 403, "another place for the only copy");
    assert_eq!(set(&ann, "migrate.compress", "lz4").0, 200);
    let label = server.get("/cartridges")[0]["label"].as_str().unwrap().to_owned();
    let export = |body: Value| ann.ask("POST", &format!("/cartridges/{label}/export"), &body);
    assert_eq!(export(json!({ "remote": "other" })).0, 403);
    assert_eq!(export(json!({ "remote": "other", "plan": true })).0, 200, "a plan deletes nothing");
    assert_eq!(set(&ann, "migrate.delete_after_export", "false").0, 200, "switching it off");
    assert_eq!(set(&ann, "migrate.remote", "other").0, 200);
    assert_eq!(server.get(&format!("/cartridges/{label}"))["label"], json!(label));
}

#[test]
fn an_administrator_makes_himself_no_security_officer_by_any_request() {
    let server = Server::start(&[]);
    add_user(&server, "ann", &["administrator"]);
    add_user(&server, "sam", &["security-officer"]);
    let ann = log_in(&server, "ann");
    let officer = json!(["administrator", "security-officer"]);
    let ways = [
        ("PATCH", "/users/ann", json!({ "roles": officer })),
        ("POST", "/users", json!({ "name": "hal", "password": PASSWORD, "roles": ["security-officer"] })),
        ("PUT", "/users/sam/password", json!({ "password": OTHER })),
        ("PATCH", "/users/sam", json!({ "locked": true })),
        ("DELETE", "/users/sam", Value::Null),
        ("POST", "/tokens", json!({ "name": "more", "role": "security-officer" })),
        ("POST", "/system/restore", json!({ "file": "/tmp/none" })),
    ];
    for (method, path, body) in ways {
        let (status, answer) = ann.ask(method, path, &body);
        assert_eq!((status, &answer["code"]), (403, &json!("forbidden")), "{method} {path}: {answer}");
    }
    assert_eq!(ann.get("/users/ann").1["roles"], json!(["administrator"]));
    assert_eq!(
        ann.ask("POST", "/users", &json!({ "name": "vic", "password": PASSWORD, "roles": ["viewer"] })).0,
        200
    );
}

#[test]
fn with_the_two_person_rule_a_deletion_waits_for_another_security_officer() {
    let server = Server::start(&["--set", "access.two_person=true"]);
    add_user(&server, "sam", &["security-officer"]);
    add_user(&server, "sue", &["security-officer"]);
    let (sam, sue) = (log_in(&server, "sam"), log_in(&server, "sue"));
    let path = "/cartridges/VTL001L8";
    let for_good = json!({ "now": true, "confirm": "VTL001L8" });
    let (status, answer) = sam.ask("DELETE", path, &for_good);
    assert_eq!(status, 202, "{answer}");
    let id = answer["approval"].as_str().unwrap().to_owned();
    assert_eq!(server.get(path)["label"], "VTL001L8", "still there");
    let row = sue.get("/approvals").1[0].clone();
    assert_eq!(
        (&row["state"], &row["method"], &row["path"], &row["asked_by"]),
        (&json!("pending"), &json!("DELETE"), &json!(path), &json!("sam"))
    );
    let approve = format!("/approvals/{id}/approve");
    assert_eq!(sam.ask("POST", &approve, &Value::Null).0, 403, "not his own");
    assert_eq!(server.ask("POST", &approve, &Value::Null).0, 403, "not by somebody without a name");
    assert_eq!(server.get(path)["label"], "VTL001L8");
    let (status, answer) = sue.ask("POST", &approve, &Value::Null);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(server.ask("GET", path, &Value::Null).0, 404, "done");
    assert_eq!(sue.ask("POST", &approve, &Value::Null).0, 409, "once");
    let row = sue.get(&format!("/approvals/{id}")).1;
    assert_eq!((&row["state"], &row["decided_by"]), (&json!("approved"), &json!("sue")));

    let (status, answer) = server.ask("DELETE", "/cartridges/VTL002L8", &json!({}));
    assert_eq!(status, 202, "the token of the state folder is one person, too");
    let refuse = format!("/approvals/{}/refuse", answer["approval"].as_str().unwrap());
    assert_eq!(sue.ask("POST", &refuse, &Value::Null).0, 200);
    assert_eq!(server.get("/cartridges/VTL002L8")["label"], "VTL002L8");
    assert_eq!(sam.ask("PATCH", "/cartridges/VTL002L8", &json!({ "hold": true })).0, 403, "no operator");
}

#[test]
fn under_the_two_person_rule_a_security_officer_makes_himself_no_second_person() {
    let server = Server::start(&["--set", "access.two_person=true"]);
    add_user(&server, "sam", &["security-officer", "operator"]);
    add_user(&server, "sue", &["security-officer"]);
    add_user(&server, "both", &["administrator", "security-officer"]);
    let sam = log_in(&server, "sam");
    let puppet = |name: &str| json!({ "name": name, "password": PASSWORD, "roles": ["security-officer"] });
    let ways = [
        ("POST", "/users", puppet("pup")),
        ("PUT", "/users/sue/password", json!({ "password": OTHER })),
        ("PATCH", "/users/sue", json!({ "locked": false })),
        ("PATCH", "/users/sue", json!({ "roles": ["security-officer"] })),
    ];
    for (method, path, body) in ways {
        let (status, answer) = sam.ask(method, path, &body);
        assert_eq!((status, &answer["code"]), (403, &json!("forbidden")), "{method} {path}: {answer}");
    }
    assert_eq!(sam.ask("PATCH", "/users/sue", &json!({ "locked": true })).0, 200, "he may lock her out");
    let both = log_in(&server, "both");
    assert_eq!(both.ask("PATCH", "/users/sue", &json!({ "locked": false })).0, 200);
    assert_eq!(both.ask("POST", "/users", &puppet("new")).0, 200, "who is administrator, too");
    let own = json!({ "current": PASSWORD, "password": OTHER });
    assert_eq!(sam.ask("PUT", "/users/sam/password", &own).0, 200, "one's own password stays one's own");
}

#[test]
fn without_the_rule_one_security_officer_deletes_alone() {
    let server = Server::start(&[]);
    add_user(&server, "sam", &["security-officer"]);
    assert_eq!(log_in(&server, "sam").ask("DELETE", "/cartridges/VTL001L8", &json!({})).0, 200);
}

#[test]
fn no_secret_of_a_user_is_in_the_log_the_answers_or_the_files_of_the_state_folder() {
    let server = Server::start(&["--set", "log.level=trace"]);
    add_user(&server, "ann", &["administrator"]);
    let ann = log_in(&server, "ann");
    let (token, _) = token_of(&server, "ann", &json!({ "name": "secret" }));
    let cookie = ann.cookie.strip_prefix("vtl=").unwrap();
    assert_eq!(with_token(&server, &token, "GET", "/users", &Value::Null).0, 200);
    let mut texts = vec![server.log(), server.get("/users").to_string(), server.get("/tokens").to_string()];
    texts.push(server.get("/audit").to_string());
    for file in ["inventory.db", "inventory.db-wal", "audit/audit.log"] {
        texts.push(String::from_utf8_lossy(&fs::read(server.state().join(file)).unwrap()).into_owned());
    }
    for secret in [PASSWORD, &token, cookie, &ann.csrf] {
        assert!(!texts.iter().any(|text| text.contains(secret)), "{secret}");
    }
}
