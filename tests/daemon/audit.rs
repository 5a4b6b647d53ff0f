//! The audit log, from outside: what is in it, that it is whole, and what becomes of changes when it cannot be written.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::scsi::CHANGER;
use crate::support::{Initiator, LIB0, Login, Server};

fn entries(server: &Server, query: &str) -> Vec<Value> {
    server.get(&format!("/audit{query}")).as_array().unwrap().clone()
}

#[test]
fn a_change_is_written_with_who_where_what_and_its_outcome_before_the_answer_comes() {
    let server = Server::start(&[]);
    server.api("POST", "/cartridges/VTL001L8/move", &json!({ "to": "slot:11" }));
    let (status, _) = server.ask("POST", "/cartridges/NONE01L8/move", &json!({ "to": "slot:12" }));
    assert_eq!(status, 404);
    let rows = entries(&server, "?what=move&kind=outcome");
    assert_eq!(rows.len(), 2, "{rows:?}");
    let (failed, done) = (&rows[0], &rows[1]);
    assert_eq!(
        (&done["who"], &done["from"], &done["result"]),
        (&json!("root"), &json!("127.0.0.1"), &json!("ok"))
    );
    assert_eq!(done["what"], "POST /cartridges/{label}/move");
    assert_eq!(done["detail"], json!({ "path": "/cartridges/VTL001L8/move", "body": { "to": "slot:11" } }));
    assert!(failed["result"].as_str().unwrap().contains("404"), "{failed}");
    let of = done["of"].as_u64().unwrap();
    let requests = entries(&server, "?what=move&kind=request");
    assert!(requests.iter().any(|row| row["number"] == of && row["result"] == ""), "{requests:?}");
    let before = entries(&server, "").len();
    server.get("/cartridges");
    assert_eq!(entries(&server, "").len(), before, "who reads changes nothing");
}

#[test]
fn log_ins_refusals_and_passwords_are_written_without_the_passwords() {
    let server = Server::start(&[]);
    let password = "made-up password one";
    server.api("POST", "/users", &json!({ "name": "vic", "password": password, "roles": ["viewer"] }));
    server.ask_with("POST", "/session", &json!({ "user": "vic", "password": "wrong wrong wrong" }), &[]);
    let (_, head, state) =
        server.ask_whole("POST", "/session", &json!({ "user": "vic", "password": password }), &[]);
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    let headers =
        [("Cookie", cookie.split(';').next().unwrap()), ("X-CSRF-Token", state["csrf"].as_str().unwrap())];
    assert_eq!(server.ask_with("DELETE", "/cartridges/VTL001L8", &json!({}), &headers).0, 403);
    let logins = entries(&server, "?kind=login");
    assert_eq!((&logins[0]["who"], &logins[0]["result"]), (&json!("vic"), &json!("ok")));
    assert!(logins[1]["result"].as_str().unwrap().starts_with("refused: "), "{logins:?}");
    let refused = entries(&server, "?who=vic&what=DELETE");
    assert!(refused[0]["result"].as_str().unwrap().contains("may not do this"), "{refused:?}");
    let all = fs::read_to_string(server.state().join("audit/audit.log")).unwrap();
    assert!(!all.contains(password) && !all.contains("wrong wrong"));
    let added = entries(&server, "?what=POST%20/users&kind=outcome");
    assert_eq!(added[0]["detail"]["body"]["password"], "***");
}

#[test]
fn a_move_by_a_host_is_written_with_its_initiator_and_address_and_one_by_the_api_with_neither() {
    let server = Server::start(&[]);
    let login = |name: &str| Initiator::login(server.portal, &Login::to(LIB0).named(name)).unwrap();
    let mut one = login("iqn.2026-11.test.example:one");
    let mut two = login("iqn.2026-11.test.example:two");
    one.load(1, 0);
    two.attentions(CHANGER);
    let elements = two.elements();
    // EXCHANGE MEDIUM: slot 2 to drive 0, what is there to slot 20.
    let addresses = [elements.storage + 1, elements.drive, elements.storage + 19].map(u16::to_be_bytes);
    let [[a, b], [c, d], [e, f]] = addresses;
    two.run(CHANGER, &[0xa6, 0, 0, 0, a, b, c, d, e, f, 0, 0], 0, &[]).good();
    // Refused: the slot is empty.
    assert_eq!(two.move_medium(elements.storage, elements.drive + 1).check(), (0x05, 0x3b, 0x0e));
    server.api("POST", "/cartridges/VTL003L8/move", &json!({ "to": "slot:21" }));
    let moves: Vec<Value> = entries(&server, "?kind=event&what=move")
        .iter()
        .rev()
        .map(|row| {
            let detail = &row["detail"];
            json!([row["who"], row["from"], detail["label"], detail["from"], detail["to"], row["result"]])
        })
        .collect();
    let (one, two) = ("iqn.2026-11.test.example:one", "iqn.2026-11.test.example:two");
    assert_eq!(
        json!(moves),
        json!([
            [one, "127.0.0.1", "VTL001L8", "slot:1", "drive:0", "ok"],
            [two, "127.0.0.1", "VTL002L8", "slot:2", "drive:0", "ok"],
            [two, "127.0.0.1", "VTL001L8", "drive:0", "slot:20", "ok"],
            ["vtld", "", "VTL003L8", "slot:3", "slot:21", "ok"],
        ])
    );
    assert_eq!(entries(&server, &format!("?who={two}")).len(), 2, "they are found by the name");
}

#[test]
fn the_end_of_a_job_is_written_with_what_came_of_it() {
    let server = Server::start(&[]);
    server.api("POST", "/store/gc", &json!({}));
    let ends = entries(&server, "?kind=event&what=job");
    assert_eq!(
        (&ends[0]["detail"]["kind"], &ends[0]["result"]),
        (&json!("gc"), &json!("completed")),
        "{ends:?}"
    );
}

#[test]
fn pages_follow_each_other_by_their_links_to_the_first_entry() {
    let server = Server::start(&[]);
    (0..7).for_each(|n| {
        server.api("POST", "/cartridges/VTL001L8/move", &json!({ "to": format!("slot:{}", 11 + n) }));
    });
    let bearer = format!("Bearer {}", server.token());
    let (mut path, mut seen) = ("/audit?limit=4".to_owned(), Vec::new());
    for _ in 0..20 {
        let (status, head, rows) =
            server.ask_whole("GET", &path, &Value::Null, &[("Authorization", &bearer)]);
        assert_eq!(status, 200);
        assert!(rows.as_array().unwrap().len() <= 4);
        seen.extend(rows.as_array().unwrap().iter().map(|row| row["number"].as_u64().unwrap()));
        let Some(link) = head.lines().find_map(|line| line.strip_prefix("link: </api/v1")) else { break };
        link.split('>').next().unwrap().clone_into(&mut path);
    }
    let all: Vec<u64> = (1..=seen.len() as u64).rev().collect();
    assert!(seen.len() > 14);
    assert_eq!(seen, all);
    assert_eq!(server.ask("GET", "/audit?limit=0", &Value::Null).0, 400);
    assert_eq!(server.ask("GET", "/audit?kind=other", &Value::Null).0, 400);
}

#[test]
fn a_log_that_somebody_changed_is_told_at_the_next_start_and_names_the_entry() {
    let mut server = Server::start(&[]);
    (0..4).for_each(|n| {
        server.api("POST", "/cartridges/VTL001L8/move", &json!({ "to": format!("slot:{}", 11 + n) }));
    });
    let report = server.get("/audit/verify");
    assert_eq!((&report["whole"], &report["faults"]), (&json!(true), &json!([])));
    assert_eq!(server.stop(), Some(0));
    let file = server.state().join("audit/audit.log");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("slot:12", "slot:21", 1)).unwrap();
    let number = text.lines().position(|line| line.contains("slot:12")).unwrap() + 1;
    server.start_again();
    let report = server.get("/audit/verify");
    assert_eq!(report["whole"], false);
    assert_eq!(
        report["faults"],
        json!([format!("entry {number} has been changed since the next one was written")])
    );
    let problems = server.get("/system/status")["problems"].to_string();
    assert!(problems.contains("audit log") && problems.contains(&format!("entry {number} ")), "{problems}");
}

#[test]
fn a_cut_end_is_seen_against_the_head_and_against_one_that_was_noted_elsewhere() {
    let mut server = Server::start(&[]);
    server.api("POST", "/cartridges/VTL001L8/move", &json!({ "to": "slot:11" }));
    let noted = server.get("/audit/verify");
    let against = format!("{}:{}", noted["number"], noted["head"].as_str().unwrap());
    assert_eq!(server.get(&format!("/audit/verify?against={against}"))["whole"], true);
    assert_eq!(server.stop(), Some(0));
    let file = server.state().join("audit/audit.log");
    let text = fs::read_to_string(&file).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    let last = lines.len();
    lines.pop();
    fs::write(&file, format!("{}\n", lines.join("\n"))).unwrap();
    server.start_again();
    assert_eq!(server.get("/audit/verify")["faults"], json!([format!("entry {last} is missing")]));
    assert_eq!(server.stop(), Some(0));
    // Whoever takes the head away as well is found out by the noted one.
    fs::write(&file, lines[..lines.len() - 1].join("\n") + "\n").unwrap();
    fs::remove_file(server.state().join("audit/audit.head")).unwrap();
    server.start_again();
    assert_eq!(server.get(&format!("/audit/verify?against={against}"))["whole"], false);
}

#[test]
fn the_lines_of_an_export_are_those_of_the_file() {
    let server = Server::start(&[]);
    server.api("POST", "/cartridges/VTL001L8/move", &json!({ "to": "slot:11" }));
    let text = fs::read_to_string(server.state().join("audit/audit.log")).unwrap();
    let lines = server.get("/audit/export")["lines"].clone();
    assert_eq!(lines, json!(text.lines().collect::<Vec<_>>()));
    let (first, rest) = (server.get("/audit/export?limit=2"), server.get("/audit/export?after=2"));
    assert_eq!((first["lines"].as_array().unwrap().len(), &first["next"]), (2, &json!(2)));
    assert_eq!(rest["lines"][0], lines[2]);
}

#[test]
fn the_log_survives_a_kill_and_the_files_are_for_their_owner_only() {
    let mut server = Server::start(&[]);
    server.api("POST", "/cartridges/VTL001L8/move", &json!({ "to": "slot:11" }));
    server.kill();
    server.start_again();
    assert_eq!(server.get("/audit/verify")["whole"], true);
    assert!(entries(&server, "?what=move&kind=outcome").iter().any(|row| row["result"] == "ok"));
    for file in ["audit/audit.log", "audit/audit.head"] {
        let mode = fs::metadata(server.state().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}
