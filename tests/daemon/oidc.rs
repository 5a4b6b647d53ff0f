//! Log-in at a real provider of identities: the browser's part is played here, with cookies and redirects.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Answer, PATIENCE, Provider, Server, eventually};

/// Who there is at the provider, and in which groups.
fn people() -> Value {
    json!({
        "ann": ["staff", "tape-operators"], "bob": ["staff"], "sue": ["tape-officers"],
        "root": ["staff"], "sam": ["tape-officers"],
    })
}

const ROLES: &str = "roles.operator = [\"tape-operators\"]\nroles.security-officer = [\"tape-officers\"]\n";

/// A server, its provider, and the folder of both.
struct Site {
    server: Server,
    provider: Provider,
    folder: tempfile::TempDir,
}

impl Site {
    fn open(algorithm: &str, secret: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let provider = Provider::start(folder.path(), algorithm, secret, &people());
        let config = folder.path().join("vtl.toml");
        fs::write(&config, provider.settings(folder.path(), secret) + ROLES).unwrap();
        let arguments = ["--config", config.to_str().unwrap(), "--api", &provider.api];
        let server = Server::start_at(folder.path(), &arguments);
        Self { server, provider, folder }
    }

    fn set(&self, roles: &str) {
        let text = self.provider.settings(self.folder.path(), false) + roles;
        fs::write(self.folder.path().join("vtl.toml"), text).unwrap();
        self.server.api("POST", "/system/reload", &json!({}));
    }

    fn who(&self, name: &str) -> String {
        format!("oidc:{}#{name}", self.provider.issuer)
    }

    /// A whole log-in in a browser of its own.
    fn log_in(&self, person: &str) -> Visitor<'_> {
        let answer = Browser::default().whole(&self.server, person);
        assert_eq!((answer.status, answer.header("location")), (303, Some("/")), "{answer:?}");
        Visitor::new(&self.server, session(&answer).expect("a session"))
    }
}

/// Somebody who is logged in.
struct Visitor<'s> {
    server: &'s Server,
    cookie: String,
    csrf: String,
    state: Value,
}

impl<'s> Visitor<'s> {
    fn new(server: &'s Server, cookie: String) -> Self {
        let (status, state) = server.ask_with("GET", "/session", &Value::Null, &[("Cookie", &cookie)]);
        assert_eq!(status, 200, "{state}");
        let csrf = state["csrf"].as_str().unwrap().to_owned();
        Self { server, cookie, csrf, state }
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.server.ask_with(method, path, body, &[("Cookie", &self.cookie), ("X-CSRF-Token", &self.csrf)])
    }
}

/// The cookie of this beginning that an answer sets, as a browser sends it.
fn cookie_of(head: &str, begin: &str) -> Option<String> {
    let line =
        head.lines().find_map(|line| line.strip_prefix("set-cookie: ").filter(|l| l.starts_with(begin)))?;
    Some(line.split(';').next()?.to_owned())
}

fn session(answer: &Answer) -> Option<String> {
    answer
        .headers("set-cookie")
        .find_map(|line| line.strip_prefix("vtl="))
        .map(|line| format!("vtl={}", line.split(';').next().unwrap()))
}

/// A browser at the provider.
#[derive(Default)]
struct Browser {
    cookies: BTreeMap<String, String>,
    /// What our own server has given it.
    own: String,
}

impl Browser {
    /// One request to the provider; the head and the body.
    fn ask(&mut self, method: &str, address: &str, form: &str) -> (String, String) {
        let (host, path) = address.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = format!(
            "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nCookie: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            cookies.join("; "),
            form.len()
        );
        let mut socket = TcpStream::connect(host).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let small = |line: &str| line.split_once(": ").map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned()));
        for (name, value) in head.lines().filter_map(small) {
            if name == "set-cookie" {
                let (name, value) = value.split(';').next().unwrap().split_once('=').unwrap();
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        (head.to_owned(), body.to_owned())
    }

    /// Begins a log-in at our server: where it sends the browser.
    fn begin(&mut self, server: &Server, headers: &[(&str, &str)]) -> String {
        let (status, head, answer) = server.ask_whole("POST", "/session/oidc", &json!({}), headers);
        assert_eq!(status, 200, "{answer}");
        self.own = cookie_of(&head, "vtl-oidc=").expect("a cookie");
        answer["address"].as_str().unwrap().to_owned()
    }

    /// Says who he is and agrees, until the provider sends him back: the address to which.
    fn through(&mut self, begin: &str, person: &str, home: &str) -> String {
        let (origin, _) = begin.split_once("/auth").unwrap();
        let mut address = begin.to_owned();
        for _ in 0..12 {
            let (mut head, body) = self.ask("GET", &address, "");
            if body.contains("name=\"prompt\" value=\"login\"") {
                head = self.ask("POST", &address, &format!("prompt=login&login={person}&password=any")).0;
            } else if body.contains("name=\"prompt\" value=\"consent\"") {
                head = self.ask("POST", &address, "prompt=consent").0;
            }
            let line = head.lines().find_map(|line| line.strip_prefix("Location: "));
            let to = line.unwrap_or_else(|| panic!("{address} leads nowhere: {head}\n{body}"));
            if to.starts_with(home) {
                return to.to_owned();
            }
            address = if to.starts_with('/') { format!("{origin}{to}") } else { to.to_owned() };
        }
        panic!("the provider does not come to an end")
    }

    /// Comes back to our server.
    fn come_back(&self, server: &Server, address: &str) -> Answer {
        let path = address.strip_prefix(&format!("http://{}", server.api)).unwrap();
        let (host, cookie) = (server.api, &self.own);
        server.raw(&format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nCookie: {cookie}\r\n\r\n"
        ))
    }

    fn whole(&mut self, server: &Server, person: &str) -> Answer {
        let begin = self.begin(server, &[]);
        let home = format!("http://{}", server.api);
        let back = self.through(&begin, person, &home);
        self.come_back(server, &back)
    }
}

#[test]
fn who_has_a_group_with_a_role_gets_a_session_and_no_more_than_that_role() {
    for (algorithm, secret) in [("ES256", true), ("PS256", false)] {
        let site = Site::open(algorithm, secret);
        assert_eq!(
            site.server.ask_with("GET", "/session/oidc", &Value::Null, &[]),
            (200, json!({ "name": "Example Corp" }))
        );
        let ann = site.log_in("ann");
        assert_eq!(
            (&ann.state["user"], &ann.state["name"], &ann.state["roles"]),
            (&json!(site.who("ann")), &json!("ann"), &json!(["operator"]))
        );
        assert_eq!(ann.ask("DELETE", "/jobs", &json!({})).0, 200, "an operator clears the list of jobs");
        let change = &site.server.get("/audit?kind=outcome&limit=1")[0];
        assert_eq!((&change["who"], &change["what"]), (&json!(site.who("ann")), &json!("DELETE /jobs")));
        assert_eq!(ann.ask("GET", "/users", &Value::Null).0, 403);
        let (status, refused) = ann.ask("POST", "/tokens", &json!({ "name": "t" }));
        assert_eq!(status, 403, "{refused}");
        assert_eq!(ann.ask("GET", "/tokens", &Value::Null), (200, json!([])));
        assert_eq!(site.server.get("/users"), json!([]), "nobody has become a user of this server");
        let entry = &site.server.get("/audit?kind=login&limit=1")[0];
        assert_eq!(
            (&entry["who"], &entry["what"], &entry["result"], &entry["detail"]),
            (
                &json!(site.who("ann")),
                &json!("log in by OIDC"),
                &json!("ok"),
                &json!({"name": "ann", "groups": 2})
            )
        );
        assert_eq!(ann.ask("DELETE", "/session", &json!({})).0, 200);
        assert_eq!(ann.ask("GET", "/session", &Value::Null).0, 401);
    }
}

#[test]
fn who_has_no_group_with_a_role_is_told_so_and_gets_no_session() {
    let site = Site::open("RS256", false);
    // The name of somebody else here makes nobody that one.
    for person in ["bob", "root"] {
        let answer = Browser::default().whole(&site.server, person);
        assert_eq!(answer.status, 403, "{answer:?}");
        assert!(answer.body.contains("none of your groups has a role here"), "{answer:?}");
        assert_eq!(session(&answer), None);
        let entry = &site.server.get("/audit?kind=login&limit=1")[0];
        assert_eq!(entry["who"], site.who(person));
        assert!(entry["result"].as_str().unwrap().starts_with("refused: "), "{entry}");
    }
}

#[test]
fn a_log_in_counts_once_in_the_browser_that_began_it() {
    let site = Site::open("ES256", false);
    let (server, home) = (&site.server, format!("http://{}", site.server.api));
    let mut ann = Browser::default();
    let begin = ann.begin(server, &[]);
    let back = ann.through(&begin, "ann", &home);
    let stranger = Browser { own: "vtl-oidc=of-another-browser".to_owned(), ..Browser::default() };
    let refused = stranger.come_back(server, &back);
    assert_eq!((refused.status, session(&refused)), (401, None));
    assert!(refused.body.contains("begun in another browser"), "{refused:?}");
    assert!(ann.come_back(server, &back).body.contains("was used"), "nobody tries twice");

    let begin = ann.begin(server, &[]);
    let back = ann.through(&begin, "ann", &home);
    assert!(session(&ann.come_back(server, &back)).is_some());
    let again = ann.come_back(server, &back);
    assert_eq!((again.status, session(&again)), (401, None));

    let begin = ann.begin(server, &[]);
    let back = ann.through(&begin, "ann", &home);
    let (before, after) = back.split_once("code=").unwrap();
    let (_, rest) = after.split_once('&').unwrap();
    let refused = ann.come_back(server, &format!("{before}code=made-up&{rest}"));
    assert_eq!(refused.status, 401);
    assert!(refused.body.contains("invalid_grant"), "{refused:?}");
    let odd = ann.come_back(server, &format!("{home}/api/v1/session/oidc/callback?state=%3Cb%3E&code=x"));
    assert_eq!(odd.status, 401);
    let failed = server.get("/audit?kind=login&limit=4");
    assert!(failed.as_array().unwrap().iter().any(|entry| entry["who"] == "unknown"), "{failed}");
    assert!(!failed.to_string().contains("made-up"), "no code is written down: {failed}");
}

#[test]
fn the_session_before_ends_with_the_log_in_and_all_end_when_the_settings_change() {
    let site = Site::open("ES256", false);
    let (server, home) = (&site.server, format!("http://{}", site.server.api));
    let (_, head, _) = server.ask_whole("POST", "/session", &json!({ "token": server.token() }), &[]);
    let before = cookie_of(&head, "vtl=").unwrap();
    let alive = |cookie: &str| server.ask_with("GET", "/session", &Value::Null, &[("Cookie", cookie)]).0;
    assert_eq!(alive(&before), 200);
    let mut ann = Browser::default();
    let begin = ann.begin(server, &[("Cookie", &before)]);
    let back = ann.through(&begin, "ann", &home);
    let now = session(&ann.come_back(server, &back)).unwrap();
    assert_eq!((alive(&before), alive(&now)), (401, 200));
    site.set(ROLES);
    assert_eq!(alive(&now), 200, "nothing has changed");
    site.set("roles.viewer = [\"tape-operators\"]\n");
    assert_eq!(alive(&now), 401);
    assert_eq!(site.log_in("ann").state["roles"], json!(["viewer"]));
    fs::write(site.folder.path().join("vtl.toml"), "").unwrap();
    server.api("POST", "/system/reload", &json!({}));
    let (status, refused) = server.ask_with("POST", "/session/oidc", &json!({}), &[]);
    assert_eq!(status, 404, "{refused}");
}

#[test]
fn who_came_by_the_provider_is_listed_and_logged_out_at_once() {
    let site = Site::open("ES256", false);
    let (ann, sue) = (site.log_in("ann"), site.log_in("sue"));
    let who = site.who("ann");
    let rows = site.server.get(&format!("/sessions?user={}", who.replace('#', "%23")));
    assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
    assert_eq!(
        (&rows[0]["user"], &rows[0]["name"], &rows[0]["roles"]),
        (&json!(who), &json!("ann"), &json!(["operator"]))
    );
    let end = json!({ "user": who });
    assert_eq!(sue.ask("DELETE", "/sessions", &end).0, 403, "a security officer governs no operator");
    let done = site.server.api("DELETE", "/sessions", &end);
    assert_eq!(done["message"], format!("{who} is logged out everywhere (sessions: 1)"));
    assert_eq!(ann.ask("GET", "/session", &Value::Null).0, 401);
    assert_eq!(sue.ask("GET", "/session", &Value::Null).0, 200);
    let (status, refused) = site.server.ask("DELETE", "/sessions", &end);
    assert_eq!(status, 404, "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("nobody is logged in as"), "{refused}");
    assert_eq!(site.log_in("ann").state["user"], who, "the provider still vouches for her");
}

#[test]
fn of_two_persons_each_is_an_issuer_with_a_subject_and_who_asked_has_to_be_there() {
    let site = Site::open("ES256", false);
    let settings = site.provider.settings(site.folder.path(), false);
    let two = settings.replace("[access.oidc]", "access.two_person = true\n[access.oidc]") + ROLES;
    fs::write(site.folder.path().join("vtl.toml"), two).unwrap();
    site.server.api("POST", "/system/reload", &json!({}));
    let (sue, sam) = (site.log_in("sue"), site.log_in("sam"));
    let (status, waits) = sue.ask("DELETE", "/cartridges/VTL010L8", &json!({}));
    assert_eq!(status, 202, "{waits}");
    let yes = format!("/approvals/{}/approve", waits["approval"].as_str().unwrap());
    assert_eq!(sue.ask("POST", &yes, &json!({})).0, 403, "nobody approves what he asked for himself");
    let sue_again = site.log_in("sue");
    assert_eq!(sue_again.ask("POST", &yes, &json!({})).0, 403, "not in another session either");
    for session in [&sue, &sue_again] {
        session.ask("DELETE", "/session", &json!({}));
    }
    let (status, refused) = sam.ask("POST", &yes, &json!({}));
    assert_eq!(status, 403, "nobody knows whether she still may: {refused}");
    let _sue = site.log_in("sue");
    let (status, done) = sam.ask("POST", &yes, &json!({}));
    assert_eq!(status, 200, "{done}");
    let approval = &site.server.get("/approvals")[0];
    assert_eq!(
        (&approval["asked_by"], &approval["decided_by"]),
        (&json!(site.who("sue")), &json!(site.who("sam")))
    );
}

#[test]
fn a_server_starts_without_its_provider_and_says_that_it_does_not_answer() {
    let folder = tempfile::tempdir().unwrap();
    let config = |folder: &Path| {
        let text = format!(
            "api.public_url = \"http://127.0.0.1:1\"\n[access.oidc]\nissuer = \"http://127.0.0.1:9\"\nclient_id = \"vtl\"\n{ROLES}"
        );
        fs::write(folder.join("vtl.toml"), text).unwrap();
        folder.join("vtl.toml").display().to_string()
    };
    let server = Server::start_at(folder.path(), &["--config", &config(folder.path())]);
    let problem = eventually("the status names the provider", || {
        let status = server.get("/system/status");
        status["problems"]
            .as_array()?
            .iter()
            .find(|one| one["subject"] == "OIDC provider http://127.0.0.1:9")
            .cloned()
    });
    let message = problem["message"].as_str().unwrap();
    assert!(message.contains("http://127.0.0.1:9/.well-known/openid-configuration"), "{message}");
    let begin = |headers: &[(&str, &str)]| server.ask_with("POST", "/session/oidc", &json!({}), headers);
    let (status, refused) = begin(&[("Host", "127.0.0.1:1")]);
    assert_eq!(status, 503, "{refused}");
    let (status, refused) = begin(&[]);
    assert_eq!(status, 403, "the browser would come back to another name: {refused}");
    assert!(refused.to_string().contains("open http://127.0.0.1:1 and log in there"), "{refused}");
    let log_in = json!({ "token": server.token() });
    assert_eq!(server.ask_with("POST", "/session", &log_in, &[]).0, 200, "others log in as ever");
}
