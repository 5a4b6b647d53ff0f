//! Who gets in: CHAP, lists, wide listeners, the state folder, secrets.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::Signal;
use serde_json::json;

use crate::support::initiator::LoginError;
use crate::support::scsi::{CHANGER, TEST_UNIT_READY};
use crate::support::{Initiator, LIB0, Login, Server, eventually};

const USER: &str = "backup-host";
const SECRET: &str = "made-up-secret-one";
const MUTUAL_USER: &str = "the-library";
const MUTUAL_SECRET: &str = "made-up-secret-two";

/// Authentication failure.
const NOT_PROVED: (u8, u8) = (0x02, 0x01);
/// Not allowed: authorization failure.
const NOT_ALLOWED: (u8, u8) = (0x02, 0x02);

fn refusal(server: &Server, login: &Login) -> (u8, u8) {
    match Initiator::login(server.portal, login) {
        Err(LoginError::Refused(class, detail)) => (class, detail),
        Err(LoginError::Dropped(error)) => panic!("dropped: {error}"),
        Err(LoginError::Impostor) => panic!("the target does not know its secret"),
        Ok(_) => panic!("let in"),
    }
}

fn write_secret(folder: &Path, name: &str, secret: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, format!("{secret}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

fn write_config(folder: &Path, text: &str) -> String {
    let path = folder.join("vtl.toml");
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn chap_set_while_running_is_asked_of_the_next_login_and_leaves_no_trace_in_the_log() {
    let server = Server::start(&["--set", "log.level=trace"]);
    let mut before = server.session(1);
    let body = json!({ "user": USER, "secret": SECRET });
    server.api("PUT", "/iscsi/targets/lib0/chap", &body);
    before.attentions(CHANGER);
    before.run(CHANGER, &TEST_UNIT_READY, 0, &[]).good();
    let login = Login::to(LIB0).isid(2);
    assert_eq!(refusal(&server, &login), NOT_PROVED);
    assert_eq!(refusal(&server, &login.clone().chap(USER, "some-other-secret")), NOT_PROVED);
    assert_eq!(refusal(&server, &login.clone().chap("somebody", SECRET)), NOT_PROVED);
    let mut host = Initiator::login(server.portal, &login.chap(USER, SECRET)).unwrap();
    host.attentions(CHANGER);
    let targets = server.get("/iscsi/targets");
    assert_eq!(targets[0]["chap_user"], USER);
    assert!(!targets.to_string().contains(SECRET));
    let hexadecimal: String = SECRET.bytes().map(|b| format!("{b:02x}")).collect();
    assert_eq!(
        server.log().matches("log-in refused").count(),
        3,
        "an operator sees why a host does not come"
    );
    let log = server.log().to_lowercase();
    assert!(!log.contains(SECRET) && !log.contains(&hexadecimal), "the log holds the secret");
    assert!(!server.get("/system/diag").to_string().contains(SECRET));
    assert!(!log.contains(&server.token()), "the log holds the API's token");
}

#[test]
fn mutual_chap_proves_the_target_and_an_impostor_would_be_seen() {
    let server = Server::start(&[]);
    let body = json!({
        "user": USER, "secret": SECRET, "mutual_user": MUTUAL_USER, "mutual_secret": MUTUAL_SECRET
    });
    server.api("PUT", "/iscsi/targets/lib0/chap", &body);
    let login = Login::to(LIB0).chap(USER, SECRET);
    drop(Initiator::login(server.portal, &login.clone().mutual(MUTUAL_SECRET)).unwrap());
    let wrong = Initiator::login(server.portal, &login.clone().isid(2).mutual("not-what-it-knows"));
    assert!(matches!(wrong, Err(LoginError::Impostor)));
    drop(Initiator::login(server.portal, &login.isid(3)).unwrap());
}

#[test]
fn one_secret_for_both_directions_is_refused() {
    let server = Server::start(&[]);
    let body = json!({
        "user": USER, "secret": SECRET, "mutual_user": MUTUAL_USER, "mutual_secret": SECRET
    });
    let (status, answer) = server.ask("PUT", "/iscsi/targets/lib0/chap", &body);
    assert_eq!((status, &answer["code"]), (400, &json!("invalid")));
    assert!(!answer.to_string().contains(SECRET));
    let short = json!({ "user": USER, "secret": "elevenbytes" });
    assert_eq!(server.ask("PUT", "/iscsi/targets/lib0/chap", &short).0, 400);
    let half = json!({ "user": USER, "secret": SECRET, "mutual_user": MUTUAL_USER });
    assert_eq!(server.ask("PUT", "/iscsi/targets/lib0/chap", &half).0, 400);
}

#[test]
fn discovery_has_a_chap_of_its_own_from_file_and_environment_style_keys() {
    let folder = tempfile::tempdir().unwrap();
    let secret = write_secret(folder.path(), "discovery", SECRET);
    let mutual = write_secret(folder.path(), "mutual", MUTUAL_SECRET);
    let config = write_config(
        folder.path(),
        &format!(
            "[iscsi.discovery_chap]\nuser = \"{USER}\"\nsecret_file = \"{secret}\"\n\
             mutual_user = \"{MUTUAL_USER}\"\nmutual_secret_file = \"{mutual}\"\n"
        ),
    );
    let server = Server::start(&["--config", &config]);
    assert_eq!(refusal(&server, &Login::discovery()), NOT_PROVED);
    let login = Login::discovery().chap(USER, SECRET).mutual(MUTUAL_SECRET);
    let mut discovery = Initiator::login(server.portal, &login).unwrap();
    assert_eq!(discovery.send_targets("All")[0].1, LIB0);
    drop(server.session(1));
    assert!(!server.log().contains(SECRET));
    assert!(!server.get("/config/effective").to_string().contains(SECRET));
}

#[test]
fn only_initiators_on_the_list_get_in_and_the_list_is_kept() {
    let mut server = Server::start(&[]);
    let friend = "iqn.2026-11.test.example:friend";
    server.api("POST", "/iscsi/targets/lib0/initiators", &json!({ "initiator": friend }));
    assert_eq!(refusal(&server, &Login::to(LIB0)), NOT_ALLOWED);
    drop(Initiator::login(server.portal, &Login::to(LIB0).named(friend)).unwrap());
    drop(
        Initiator::login(server.portal, &Login::to(LIB0).named(&friend.to_uppercase().replace("IQN", "iqn")))
            .unwrap(),
    );
    assert_eq!(server.stop(), Some(0));
    server.start_again();
    assert_eq!(refusal(&server, &Login::to(LIB0)), NOT_ALLOWED);
    let bad = json!({ "initiator": "not a name" });
    assert_eq!(server.ask("POST", "/iscsi/targets/lib0/initiators", &bad).0, 400);
}

#[test]
fn an_initiator_that_is_taken_off_the_list_keeps_its_session_and_gets_no_other_one() {
    let server = Server::start(&[]);
    let list = "/iscsi/targets/lib0/initiators";
    let (friend, other) = ("iqn.2026-11.test.example:friend", "iqn.2026-11.test.example:other");
    for name in [friend, other] {
        server.api("POST", list, &json!({ "initiator": name }));
    }
    let login = Login::to(LIB0).named(friend);
    let mut host = Initiator::login(server.portal, &login).unwrap();
    host.attentions(CHANGER);
    let answer = server.api("DELETE", &format!("{list}/{friend}"), &json!(null));
    assert!(answer["message"].as_str().unwrap().contains("sessions that exist stay"), "{answer}");
    host.run(CHANGER, &TEST_UNIT_READY, 0, &[]).good();
    // A log-in that is refused takes no session's place.
    for isid in [1, 2] {
        assert_eq!(refusal(&server, &login.clone().isid(isid)), NOT_ALLOWED);
    }
    host.run(CHANGER, &TEST_UNIT_READY, 0, &[]).good();
    assert_eq!(host.logout(), 0);
    assert_eq!(refusal(&server, &login), NOT_ALLOWED);
    drop(Initiator::login(server.portal, &login.named(other)).unwrap());
}

#[test]
fn who_may_not_log_in_does_not_learn_the_name_by_discovery() {
    let server = Server::start(&[]);
    let friend = "iqn.2026-11.test.example:friend";
    server.api("POST", "/iscsi/targets/lib0/initiators", &json!({ "initiator": friend }));
    let mut stranger = Initiator::login(server.portal, &Login::discovery()).unwrap();
    assert_eq!(stranger.send_targets("All"), []);
    let mut known = Initiator::login(server.portal, &Login::discovery().named(friend).isid(2)).unwrap();
    assert_eq!(known.send_targets("All").len(), 2);
}

#[test]
fn a_listener_wider_than_loopback_needs_a_decision() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = Server::refused(folder.path(), &["--listen", "0.0.0.0:0"]);
    assert_eq!(code, Some(1));
    for word in ["iscsi.listen", "0.0.0.0:0", LIB0, "CHAP", "iscsi.allow_any_initiator"] {
        assert!(said.contains(word), "{word} in: {said}");
    }
    let (code, said) = Server::refused(folder.path(), &["--api", "0.0.0.0:0"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("api.listen"), "{said}");
}

/// Adds a listener; the address that it got.
fn add_portal(server: &Server, address: &str) -> SocketAddr {
    let answer = server.api("POST", "/iscsi/portals", &json!({ "address": address }));
    answer["names"][0].as_str().unwrap().parse().unwrap()
}

#[test]
fn a_listener_that_is_added_opens_at_once_and_is_remembered_and_its_removal_leaves_sessions_alone() {
    let mut server = Server::start(&[]);
    let added = add_portal(&server, "127.0.0.1:0");
    let mut host = Initiator::login(added, &Login::to(LIB0)).unwrap();
    host.attentions(CHANGER);
    let row = |server: &Server| {
        let rows = server.get("/iscsi/portals").as_array().unwrap().clone();
        rows.into_iter().find(|row| row["address"] == added.to_string())
    };
    assert_eq!(row(&server).unwrap()["origin"], "added");
    assert!(server.get("/system/status")["portals"].to_string().contains(&added.to_string()));
    assert_eq!(server.stop(), Some(0));
    server.start_again();
    assert!(row(&server).is_some(), "remembered");

    let mut host = Initiator::login(added, &Login::to(LIB0)).unwrap();
    host.attentions(CHANGER);
    let path = format!("/iscsi/portals/{added}");
    let answer = server.api("DELETE", &path, &json!(null));
    assert!(answer["message"].as_str().unwrap().contains("sessions that exist stay"), "{answer}");
    assert!(TcpStream::connect(added).is_err(), "nobody listens any more when the answer is there");
    host.run(CHANGER, &TEST_UNIT_READY, 0, &[]).good();
    assert_eq!(row(&server), None);
    assert_eq!(
        add_portal(&server, &added.to_string()),
        added,
        "while a session is there that came through it"
    );
    server.api("DELETE", &path, &json!(null));
    server.kill();
    server.start_again();
    assert_eq!(row(&server), None, "forgotten");
    drop(server.session(1));
}

#[test]
fn requests_about_listeners_that_make_no_sense_say_what_would() {
    let server = Server::start(&[]);
    let configured = server.portal.to_string();
    let (status, answer) = server.ask("DELETE", &format!("/iscsi/portals/{configured}"), &json!(null));
    assert_eq!((status, &answer["code"]), (409, &json!("conflict")));
    assert!(answer["remedy"].as_str().unwrap().contains("iscsi.listen"), "{answer}");
    let ask = |address: &str| server.ask("POST", "/iscsi/portals", &json!({ "address": address }));
    let (status, answer) = ask(&configured);
    assert_eq!((status, &answer["code"]), (409, &json!("exists")));
    let (status, answer) = ask("localhost");
    assert_eq!((status, &answer["code"]), (400, &json!("invalid")));
    assert!(answer["remedy"].as_str().unwrap().contains("ADDR:PORT"), "{answer}");
    let taken = server.api.to_string();
    let (status, answer) = ask(&taken);
    assert_eq!(status, 400);
    assert!(answer["message"].as_str().unwrap().contains(&taken), "{answer}");
    let (status, answer) = server.ask("DELETE", "/iscsi/portals/127.0.0.1:9", &json!(null));
    assert_eq!((status, &answer["code"]), (404, &json!("not-found")));
}

#[test]
fn a_wide_listener_is_added_only_before_guarded_targets_and_then_one_guard_stays() {
    let server = Server::start(&[]);
    let wide = json!({ "address": "0.0.0.0:0" });
    let (status, answer) = server.ask("POST", "/iscsi/portals", &wide);
    assert_eq!((status, &answer["code"]), (409, &json!("conflict")));
    for word in ["vtl iscsi chap set", "iscsi.allow_any_initiator"] {
        assert!(answer["remedy"].as_str().unwrap().contains(word), "{answer}");
    }
    let (chap, list) = ("/iscsi/targets/lib0/chap", "/iscsi/targets/lib0/initiators");
    assert_eq!(server.ask("DELETE", chap, &json!(null)).0, 404, "there is none");
    server.api("PUT", chap, &json!({ "user": USER, "secret": SECRET }));
    let added = add_portal(&server, "0.0.0.0:0");
    let login = Login::to(LIB0);
    assert_eq!(refusal(&server, &login), NOT_PROVED);

    let is_refused = |path: &str| {
        let (status, answer) = server.ask("DELETE", path, &json!(null));
        assert_eq!((status, &answer["code"]), (409, &json!("conflict")), "{answer}");
        assert!(answer["message"].as_str().unwrap().contains("open to all who reach it"), "{answer}");
    };
    is_refused(chap);
    assert_eq!(refusal(&server, &login), NOT_PROVED, "nothing has changed");
    let new = json!({ "name": "lib1", "profile": "ibm-03584l32", "drives": 1, "slots": 2, "mailslots": 1 });
    let (status, answer) = server.ask("POST", "/libraries", &new);
    assert_eq!((status, &answer["code"]), (409, &json!("conflict")), "its target would be open: {answer}");
    assert!(answer["remedy"].as_str().unwrap().contains("close that listener"), "{answer}");
    assert_eq!(server.get("/libraries").as_array().unwrap().len(), 1);
    server.api("POST", list, &json!({ "initiator": login.initiator }));
    server.api("DELETE", chap, &json!(null));
    drop(Initiator::login(server.portal, &login).unwrap());
    let friend = format!("{list}/{}", login.initiator);
    is_refused(&friend);
    server.api("DELETE", &format!("/iscsi/portals/{added}"), &json!(null));
    let stranger = login.named("iqn.2026-11.test.example:stranger");
    assert_eq!(refusal(&server, &stranger), NOT_ALLOWED);
    server.api("DELETE", &friend, &json!(null));
    assert_eq!(server.ask("DELETE", &friend, &json!(null)).0, 404, "it is not on the list any more");
    drop(Initiator::login(server.portal, &stranger).unwrap());
}

#[test]
fn a_remembered_listener_that_may_not_open_any_more_is_told_and_keeps_nothing_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start_at(folder.path(), &["--set", "iscsi.allow_any_initiator=true"]);
    let added = add_portal(&server, "0.0.0.0:0");
    assert_eq!(server.stop(), Some(0));
    let server = Server::start_at(folder.path(), &[]);
    let told = |server: &Server| {
        let problems = server.get("/system/status")["problems"].as_array().unwrap().clone();
        problems.into_iter().find(|problem| problem["subject"] == format!("portal {added}"))
    };
    let remedy = told(&server).unwrap()["remedy"].to_string();
    assert!(remedy.contains("CHAP") && remedy.contains(&format!("vtl iscsi portal rm {added}")), "{remedy}");
    assert!(TcpStream::connect(("127.0.0.1", added.port())).is_err());
    server.api("DELETE", &format!("/iscsi/portals/{added}"), &json!(null));
    assert_eq!(told(&server), None);
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused_and_the_first_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_at(folder.path(), &[]);
    let (code, said) = Server::refused(folder.path(), &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("in use by another vtld"), "{said}");
    server.session(1).attentions(CHANGER);
}

#[test]
fn an_address_in_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&[]);
    let taken = server.portal.to_string();
    let (code, said) = Server::refused(folder.path(), &["--listen", &taken]);
    assert_eq!(code, Some(1));
    assert!(said.contains(&taken) && said.contains("iscsi.listen"), "{said}");
}

#[test]
fn everything_in_the_state_folder_is_for_its_owner_only() {
    let server = Server::start(&[]);
    let mut host = server.session(1);
    host.load(1, 0);
    host.write(1, b"something").good();
    let mut waiting = vec![server.state()];
    while let Some(path) = waiting.pop() {
        let meta = fs::metadata(&path).unwrap();
        assert_eq!(meta.permissions().mode() & 0o077, 0, "{}", path.display());
        if meta.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
}

#[test]
fn a_state_folder_that_others_can_read_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).unwrap();
    let (code, said) = Server::refused(folder.path(), &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("chmod 700"), "{said}");
}

#[test]
fn a_secret_file_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let secret = write_secret(folder.path(), "secret", SECRET);
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let text = format!("[iscsi.target.\"{LIB0}\"]\nuser = \"{USER}\"\nsecret_file = \"{secret}\"\n");
    let config = write_config(folder.path(), &text);
    let (code, said) = Server::refused(folder.path(), &["--config", &config]);
    assert_eq!(code, Some(1));
    assert!(said.contains("secret_file") && said.contains(&secret) && !said.contains(SECRET), "{said}");
}

#[test]
fn a_wrong_configuration_is_refused_with_file_line_key_value_and_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path(), "# a comment\n[iscsi]\nmax_sessions = 0\n");
    let (code, said) = Server::refused(folder.path(), &["--config", &config]);
    assert_eq!(code, Some(1));
    for word in ["vtl.toml", "3", "iscsi.max_sessions", "0", "1 to 4096"] {
        assert!(said.contains(word), "{word} in: {said}");
    }
}

#[test]
fn a_hangup_reads_the_configuration_again_and_a_wrong_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path(), "");
    let server = Server::start(&["--config", &config]);
    let mut host = server.session(1);
    let secret = write_secret(folder.path(), "secret", SECRET);
    write_config(
        folder.path(),
        &format!("[iscsi.target.\"{LIB0}\"]\nuser = \"{USER}\"\nsecret_file = \"{secret}\"\n"),
    );
    server.signal(Signal::HUP);
    eventually("CHAP is asked for", || {
        Initiator::login(server.portal, &Login::to(LIB0).isid(2)).is_err().then_some(())
    });
    host.attentions(CHANGER);
    host.run(CHANGER, &TEST_UNIT_READY, 0, &[]).good();

    write_config(folder.path(), "[iscsi]\nmax_sessions = \"many\"\n");
    server.signal(Signal::HUP);
    eventually("the log says so", || server.log().contains("iscsi.max_sessions").then_some(()));
    drop(Initiator::login(server.portal, &Login::to(LIB0).isid(3).chap(USER, SECRET)).unwrap());
    let (status, answer) = server.ask("POST", "/system/reload", &json!(null));
    assert_eq!((status, &answer["code"]), (400, &json!("invalid")));
    let (status, answer) = server.ask("POST", "/config/check", &json!({}));
    assert_eq!(status, 400);
    let message = answer["message"].as_str().unwrap();
    assert!(message.contains("iscsi.max_sessions") && message.contains("many"), "{message}");
}

#[test]
fn a_secret_from_the_environment_works_and_is_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    // The test's own environment is what the daemon inherits; this variable is there in every run of cargo.
    let text = format!("[iscsi.target.\"{LIB0}\"]\nuser = \"{USER}\"\nsecret_env = \"CARGO_MANIFEST_DIR\"\n");
    let config = write_config(folder.path(), &text);
    let secret = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    if secret.len() < 12 {
        return assert_eq!(Server::refused(folder.path(), &["--config", &config]).0, Some(1), "too short");
    }
    let server = Server::start(&["--config", &config]);
    assert_eq!(refusal(&server, &Login::to(LIB0)), NOT_PROVED);
    drop(Initiator::login(server.portal, &Login::to(LIB0).chap(USER, &secret)).unwrap());
    assert!(!server.get("/config/effective").to_string().contains(&format!("\"{secret}\"")));
}

#[test]
fn the_welcome_says_how_to_log_in_and_that_loopback_is_open() {
    let server = Server::start(&[]);
    let welcome = server.welcome.join("\n");
    let portal = server.portal.to_string();
    for word in [LIB0, "iscsiadm", "every local account", portal.as_str()] {
        assert!(welcome.contains(word), "{word} in {welcome}");
    }
    assert!(!welcome.contains(&server.token()));
}
