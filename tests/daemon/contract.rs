//! What every request of the API has in common: refusals, pages, conditions, keys, the OpenAPI text.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Answer, PATIENCE, Server, eventually};

fn request(server: &Server, head: &str, body: &str) -> Answer {
    server.raw(&format!(
        "{head}\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        server.api,
        server.token(),
        body.len()
    ))
}

fn get(server: &Server, path: &str) -> Answer {
    request(server, &format!("GET /api/v1{path} HTTP/1.1"), "")
}

#[track_caller]
fn is_refused(answer: &Answer, status: u16, code: &str, field: Option<&str>) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    let body = answer.json();
    assert_eq!(
        (&body["type"], &body["status"], &body["code"], &body["detail"]),
        (&json!(format!("urn:vtl:error:{code}")), &json!(status), &json!(code), &body["message"])
    );
    assert_eq!(body.get("field").and_then(Value::as_str), field, "{body}");
    assert!(body["title"].as_str().is_some_and(|title| !title.is_empty()), "{body}");
}

#[test]
fn refusals_are_problem_details_that_name_the_field() {
    let server = Server::start(&[]);
    let post = |path: &str, body: &str| request(&server, &format!("POST /api/v1{path} HTTP/1.1"), body);
    is_refused(&get(&server, "/cartridges/NONE01L8"), 404, "not-found", None);
    is_refused(&get(&server, "/no-such-thing"), 404, "not-found", None);
    is_refused(&get(&server, "/cartridges?odd=1"), 400, "invalid", Some("odd"));
    is_refused(&get(&server, "/cartridges?sort=weight"), 400, "invalid", Some("sort"));
    is_refused(&get(&server, "/cartridges?limit=0"), 400, "invalid", Some("limit"));
    is_refused(&get(&server, "/jobs?cursor=nonsense"), 400, "invalid", Some("cursor"));
    is_refused(&get(&server, "/exports"), 400, "invalid", Some("remote"));
    is_refused(&get(&server, "/drives?limit=1"), 400, "invalid", Some("limit"));
    is_refused(
        &post("/cartridges", r#"{"label":"VTL900L8","colour":"red"}"#),
        400,
        "invalid",
        Some("colour"),
    );
    is_refused(&post("/cartridges", r#"{"label":"VTL900L8","count":"2"}"#), 400, "invalid", Some("count"));
    is_refused(&post("/cartridges", r#"{"label":"nothing"}"#), 400, "invalid", Some("label"));
    is_refused(&post("/cartridges/VTL001L8/move", r#"{"to":"moon:1"}"#), 400, "invalid", Some("to"));
    is_refused(&post("/system/reload?now=1", ""), 400, "invalid", Some("now"));
    is_refused(&post("/cartridges", "{"), 400, "invalid", None);
    is_refused(&post("/imports", &"[".repeat(60_000)), 400, "invalid", None);
    assert_eq!(server.get("/cartridges").as_array().unwrap().len(), 10, "nothing was made");
}

#[test]
fn methods_lengths_and_media_types_have_refusals_of_their_own() {
    let server = Server::start(&[]);
    let answer = request(&server, "PUT /api/v1/cartridges HTTP/1.1", "{}");
    is_refused(&answer, 405, "method-not-allowed", None);
    let allowed: BTreeSet<&str> = answer.header("allow").unwrap().split(',').map(str::trim).collect();
    assert_eq!(allowed, BTreeSet::from(["GET", "HEAD", "POST"]));
    let long = format!(r#"{{"label":"{}"}}"#, "x".repeat(65_536));
    is_refused(&request(&server, "POST /api/v1/cartridges HTTP/1.1", &long), 413, "too-large", None);
    // The same without saying so before.
    let chunked = format!(
        "POST /api/v1/cartridges HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{long}\r\n0\r\n\r\n",
        server.api,
        server.token(),
        long.len()
    );
    is_refused(&server.raw(&chunked), 413, "too-large", None);
    let form = "POST /api/v1/cartridges HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded";
    is_refused(&request(&server, form, "label=VTL900L8"), 415, "not-json", Some("Content-Type"));
    let head =
        request(&server, &format!("GET /api/v1/drives HTTP/1.1\r\nX-Long: {}", "x".repeat(20_000)), "");
    assert_eq!(head.status, 431);
    is_refused(&get(&server, "/cartridges/%ff"), 400, "invalid", None);
}

/// A request whose body of 100 bytes has begun.
fn begun(server: &Server, path: &str) -> TcpStream {
    let mut socket = TcpStream::connect(server.api).unwrap();
    let head = format!(
        "POST /api/v1{path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\
         Content-Length: 100\r\n\r\n{{",
        server.api,
        server.token()
    );
    socket.write_all(head.as_bytes()).unwrap();
    socket
}

/// Sends one byte more each second, which is less than it takes, until there is an answer; it, and when it came.
fn trickled(mut socket: TcpStream) -> (String, Duration) {
    let begun = Instant::now();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut answer = Vec::new();
    let mut came = None;
    loop {
        let mut part = [0; 4096];
        match socket.read(&mut part) {
            Ok(0) => break,
            Ok(length) => {
                came.get_or_insert_with(|| begun.elapsed());
                answer.extend_from_slice(&part[..length]);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                assert!(begun.elapsed() < 2 * PATIENCE, "nobody refuses it");
                if answer.is_empty() {
                    socket.write_all(b" ").unwrap();
                }
            }
            // It is closed with a byte of ours unread.
            Err(_) => break,
        }
    }
    (String::from_utf8(answer).unwrap(), came.expect("an answer"))
}

#[test]
fn a_body_that_trickles_is_refused_after_thirty_seconds_and_takes_nobodys_turn() {
    let server = Server::start(&[]);
    let slow = ["/session", "/cartridges"].map(|path| begun(&server, path));
    // More than there are turns for changes.
    let many: Vec<TcpStream> = (0..100).map(|_| begun(&server, "/cartridges")).collect();
    std::thread::scope(|scope| {
        let slow = slow.map(|socket| scope.spawn(move || trickled(socket)));
        let asked = Instant::now();
        server.api("POST", "/cartridges/VTL001L8/move", &json!({ "to": "slot:20" }));
        assert_eq!(server.get("/cartridges").as_array().unwrap().len(), 10);
        assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
        for answered in slow {
            let (answer, came) = answered.join().unwrap();
            assert!(
                answer.starts_with("HTTP/1.1 408 ") && answer.contains(r#""code":"timeout""#),
                "{answer}"
            );
            assert!(answer.contains("the body has not arrived within 30 s"), "{answer}");
            assert!((28..45).contains(&came.as_secs()), "{came:?}");
        }
    });
    drop(many);
    assert_eq!(server.get("/cartridges").as_array().unwrap().len(), 10, "nothing was made");
}

/// Each path of the OpenAPI text with these values in it, and its methods.
fn paths(document: &Value, value: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let parts = path.split('/').map(|part| if part.starts_with('{') { value } else { part });
        let path = parts.collect::<Vec<_>>().join("/");
        all.extend(methods.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone())));
    }
    all
}

#[test]
fn a_name_that_leads_out_of_its_folder_or_ends_a_header_is_refused_by_every_request() {
    let server = Server::start(&[]);
    let document = server.get("/openapi.json");
    let before = server.get("/system/diag");
    let mut asked = 0;
    for value in
        ["%2e%2e%2f%2e%2e%2fapi.token", "..%2Fapi.token", "x%0d%0aSet-Cookie:%20a=b", "%00", "%2e%2e"]
    {
        for (method, path) in paths(&document, value).into_iter().filter(|(_, path)| path.contains(value)) {
            let answer = request(&server, &format!("{method} /api/v1{path} HTTP/1.1"), "{}");
            assert!((400..500).contains(&answer.status), "{method} {path}: {answer:?}");
            assert_eq!(answer.header("set-cookie"), None, "{method} {path}");
            assert!(!answer.body.contains(&server.token()), "{method} {path}");
            asked += 1;
        }
    }
    assert!(asked > 5 * 30, "{asked}");
    for path in ["/exports/show?remote=..%2f..&folder=..%2f..", "/exports?remote=..%2f..%2f"] {
        assert!((400..500).contains(&get(&server, path).status), "{path}");
    }
    let after = server.get("/system/diag");
    for part in ["libraries", "drives", "trash"] {
        assert_eq!(before[part], after[part]);
    }
    assert_eq!(server.get("/pools").as_array().unwrap().len(), 1);
}

#[test]
fn the_openapi_text_that_is_served_is_the_one_that_is_checked_in() {
    let server = Server::start(&[]);
    let kept = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json")).unwrap();
    let served = server.get("/openapi.json");
    assert_eq!(served, serde_json::from_str::<Value>(&kept).unwrap());
    assert_eq!((&served["openapi"], &served["servers"][0]["url"]), (&json!("3.1.0"), &json!("/api/v1")));
    for path in ["/cartridges/{label}/move", "/iscsi/targets/{library}/chap", "/events", "/openapi.json"] {
        assert!(served["paths"][path].is_object(), "{path}");
    }
}

fn labels(rows: &Value) -> Vec<String> {
    rows.as_array().unwrap().iter().map(|row| row["label"].as_str().unwrap().to_owned()).collect()
}

/// Where the next page is, below the API's base.
fn next(answer: &Answer) -> Option<String> {
    let (address, rest) = answer.header("link")?.strip_prefix("</api/v1")?.split_once('>')?;
    assert_eq!(rest, "; rel=\"next\"");
    Some(address.to_owned())
}

#[test]
fn pages_follow_each_other_whatever_comes_and_goes_between_them() {
    let server = Server::start(&[]);
    let first = get(&server, "/cartridges?limit=4&label=VTL");
    assert_eq!(labels(&first.json()), ["VTL001L8", "VTL002L8", "VTL003L8", "VTL004L8"]);
    server.api("DELETE", "/cartridges/VTL004L8", &json!({}));
    server.api("DELETE", "/cartridges/VTL006L8", &json!({}));
    server.api("POST", "/cartridges", &json!({ "label": "VTL000L8" }));
    server.api("POST", "/cartridges", &json!({ "label": "AAA000L8" }));
    let second = get(&server, &next(&first).unwrap());
    assert_eq!(labels(&second.json()), ["VTL005L8", "VTL007L8", "VTL008L8", "VTL009L8"]);
    let third = get(&server, &next(&second).unwrap());
    assert_eq!((labels(&third.json()), next(&third)), (vec!["VTL010L8".to_owned()], None));
    let newest = get(&server, "/cartridges?sort=-label&limit=1&place=slot&library=lib0");
    assert_eq!(labels(&newest.json()), ["VTL010L8"]);
    let next = get(&server, &next(&newest).unwrap());
    assert_eq!(labels(&next.json()), ["VTL009L8"]);
    assert_eq!(labels(&server.get("/cartridges")).len(), 10);
    is_refused(&get(&server, "/cartridges?library=lib9"), 404, "not-found", None);
}

#[test]
fn lists_are_filtered_by_what_is_on_tapes_and_by_states_of_jobs() {
    let server = Server::start(&["--set", "store.gc=manual"]);
    let mut host = server.session(1);
    host.load(1, 0);
    host.write(1, &[1; 1000]).good();
    assert_eq!(labels(&server.get("/cartridges?blank=false")), ["VTL001L8"]);
    assert_eq!(labels(&server.get("/cartridges?blank=true&limit=2")), ["VTL002L8", "VTL003L8"]);
    assert_eq!(labels(&server.get("/cartridges?place=drive")), ["VTL001L8"]);
    assert_eq!(server.get("/vault?limit=5"), json!([]));
    assert_eq!(server.get("/iscsi/sessions?limit=1").as_array().unwrap().len(), 1);
    let jobs: Vec<u64> =
        (0..3).map(|_| server.api("POST", "/store/gc", &json!({}))["job"].as_u64().unwrap()).collect();
    let ids = |path: &str| -> Vec<u64> {
        server.get(path).as_array().unwrap().iter().map(|job| job["id"].as_u64().unwrap()).collect()
    };
    let [a, b, c] = jobs.as_slice() else { panic!("{jobs:?}") };
    assert_eq!(ids("/jobs?state=completed&kind=gc"), [*a, *b, *c]);
    assert_eq!((ids("/jobs?state=failed"), ids("/jobs?kind=export")), (vec![], vec![]));
    let newest = get(&server, "/jobs?sort=-id&limit=2");
    assert_eq!(newest.json()[0]["id"], *c);
    assert_eq!(get(&server, &next(&newest).unwrap()).json()[0]["id"], *a);
}

fn with_header(server: &Server, method: &str, path: &str, header: &str, body: &Value) -> Answer {
    request(server, &format!("{method} /api/v1{path} HTTP/1.1\r\n{header}"), &body.to_string())
}

#[test]
fn a_thing_that_has_not_changed_is_not_sent_again_and_one_that_has_is_not_changed_blindly() {
    let server = Server::start(&[]);
    let path = "/cartridges/VTL001L8";
    let first = get(&server, path);
    let tag = first.header("etag").unwrap().to_owned();
    let again = with_header(&server, "GET", path, &format!("If-None-Match: {tag}"), &Value::Null);
    assert_eq!((again.status, again.body.as_str(), again.header("etag")), (304, "", Some(tag.as_str())));

    let on = json!({ "write_protect": true });
    assert_eq!(with_header(&server, "PATCH", path, &format!("If-Match: {tag}"), &on).status, 200);
    let off = json!({ "write_protect": false });
    let late = with_header(&server, "PATCH", path, &format!("If-Match: {tag}"), &off);
    is_refused(&late, 412, "changed", Some("If-Match"));
    assert_eq!(server.get(path)["write_protected"], true);
    let moved = with_header(
        &server,
        "POST",
        &format!("{path}/move"),
        &format!("If-Match: {tag}"),
        &json!({ "to": "slot:20" }),
    );
    is_refused(&moved, 412, "changed", Some("If-Match"));
    let star = with_header(&server, "PATCH", path, "If-Match: *", &off);
    assert_eq!(star.status, 200, "{star:?}");
    let again = with_header(&server, "GET", path, &format!("If-None-Match: {tag}"), &Value::Null);
    assert_eq!(again.status, 304, "it is as it was at first");
}

#[test]
fn a_tape_that_is_written_to_has_another_tag_and_can_still_be_changed_with_the_old_one() {
    let server = Server::start(&[]);
    let mut host = server.session(1);
    host.load(1, 0);
    let path = "/cartridges/VTL001L8";
    let tag = get(&server, path).header("etag").unwrap().to_owned();
    host.write(1, &[1; 1000]).good();
    let known = with_header(&server, "GET", path, &format!("If-None-Match: {tag}"), &Value::Null);
    assert_eq!((known.status, &known.json()["used_bytes"]), (200, &json!(1000)));
    let held = with_header(&server, "PATCH", path, &format!("If-Match: {tag}"), &json!({ "hold": true }));
    assert_eq!(held.status, 200, "{held:?}");
}

#[test]
fn of_many_changes_with_the_same_tag_one_is_made() {
    let server = Server::start(&[]);
    let path = "/cartridges/VTL001L8";
    let tag = get(&server, path).header("etag").unwrap().to_owned();
    let mut answers: Vec<u16> = std::thread::scope(|scope| {
        let slots: Vec<_> = (15..23)
            .map(|slot| {
                let (server, tag) = (&server, &tag);
                scope.spawn(move || {
                    let to = json!({ "to": format!("slot:{slot}") });
                    with_header(server, "POST", &format!("{path}/move"), &format!("If-Match: {tag}"), &to)
                        .status
                })
            })
            .collect();
        slots.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    answers.sort_unstable();
    assert_eq!(answers, [200, 412, 412, 412, 412, 412, 412, 412]);
}

#[test]
fn a_request_with_a_key_is_done_once_also_over_a_crash() {
    let mut server = Server::start(&["--set", "store.gc=manual"]);
    let collect = |server: &Server, key: &str, body: &Value| {
        with_header(server, "POST", "/store/gc", &format!("Idempotency-Key: {key}"), body)
    };
    let background = json!({ "background": true });
    let first = collect(&server, "k-1", &background);
    assert_eq!((first.status, first.header("idempotency-replayed")), (200, None), "{first:?}");
    let id = first.json()["id"].as_u64().unwrap();
    let again = collect(&server, "k-1", &background);
    assert_eq!((&again.body, again.header("idempotency-replayed")), (&first.body, Some("true")));
    let other = collect(&server, "k-1", &json!({ "background": true, "dead_percent": 50 }));
    is_refused(&other, 409, "conflict", Some("Idempotency-Key"));
    server.kill();
    server.start_again();
    assert_eq!(collect(&server, "k-1", &background).body, first.body);
    assert_eq!(collect(&server, "k-2", &background).json()["id"].as_u64(), Some(id + 1));
    eventually("both have ended", || {
        (server.get("/jobs?state=completed").as_array().unwrap().len() == 2).then_some(())
    });
    for key in ["", "two words", &"x".repeat(129)] {
        is_refused(&collect(&server, key, &background), 400, "invalid", Some("Idempotency-Key"));
    }
}

#[test]
fn a_refused_request_frees_its_key_and_many_at_once_make_one_thing() {
    let server = Server::start(&[]);
    let make = |server: &Server, label: &str| {
        let body = json!({ "label": label, "library": "lib0" });
        with_header(server, "POST", "/cartridges", "Idempotency-Key: make", &body).status
    };
    assert_eq!(make(&server, "VTL001L8"), 409, "there is one");
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| make(&server, "NEW001L8"))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|status| [200, 409].contains(status)), "{statuses:?}");
    assert_eq!(make(&server, "NEW001L8"), 200, "the first answer again");
    assert_eq!(labels(&server.get("/cartridges?label=NEW")), ["NEW001L8"]);
}
