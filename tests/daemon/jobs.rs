//! Jobs as an operator meets them: seen, paused, cancelled, cleared, and there again after a crash.

use serde_json::{Value, json};

use crate::store::{remove_for_good, share, stat, two_written};
use crate::support::{Server, eventually};

const MIB: u64 = 1 << 20;
const BY_HAND: [&str; 2] = ["--set", "store.gc=manual"];

fn job(server: &Server, id: &Value) -> Value {
    server.get(&format!("/jobs/{id}"))
}

fn until(server: &Server, id: &Value, state: &str) -> Value {
    eventually(&format!("job {id} is {state}"), || {
        let now = job(server, id);
        (now["state"] == state).then_some(now)
    })
}

fn ask(server: &Server, id: &Value, verb: &str) -> Value {
    server.api("POST", &format!("/jobs/{id}/{verb}"), &json!({}))
}

fn refused(server: &Server, id: &Value, verb: &str) -> (u16, Value) {
    server.ask("POST", &format!("/jobs/{id}/{verb}"), &json!({}))
}

/// A pass at this rate; the answer names pass and job.
fn scrub(server: &Server, rate: &str) -> Value {
    server.api("POST", "/store/scrub", &json!({ "rate": rate }))
}

/// 24 MiB are stored and have been scrubbed, so that no pass is due by itself.
fn scrubbed(set: &[&str]) -> Server {
    let server = Server::start(set);
    share(&server);
    let begun = scrub(&server, "max");
    until(&server, &begun["job"], "completed");
    server
}

fn words(job: &Value) -> Vec<&str> {
    job["events"].as_array().unwrap().iter().map(|event| event["event"].as_str().unwrap()).collect()
}

#[test]
fn a_collection_is_a_job_that_stays_in_the_list_over_a_restart_until_it_is_cleared() {
    let mut server = Server::start(&BY_HAND);
    share(&server);
    remove_for_good(&server, "VTL001L8");
    assert_eq!(server.get("/jobs"), json!([]));
    let report = server.api("POST", "/store/gc", &json!({ "dead_percent": 1 }));
    let freed = report["freed_bytes"].as_u64().unwrap();
    assert!((19 * MIB..21 * MIB).contains(&freed), "{report}");
    let all = server.get("/jobs");
    let told = &all[0];
    assert_eq!(
        (&told["id"], &told["kind"], &told["label"], &told["state"], &told["attempts"], &told["error"]),
        (&report["job"], &json!("gc"), &Value::Null, &json!("completed"), &json!(1), &Value::Null)
    );
    assert!(told["total_bytes"].as_u64().unwrap() > 20 * MIB && told["done_bytes"] == told["total_bytes"]);
    let shown = job(&server, &report["job"]);
    assert_eq!(
        (&shown["request"], words(&shown)),
        (&json!({ "dead_percent": 1 }), vec!["queued", "start", "done"])
    );
    assert_eq!(
        (&shown["result"]["freed_bytes"], &shown["tasks"][0]["state"]),
        (&report["freed_bytes"], &json!("done"))
    );

    assert_eq!(server.stop(), Some(0));
    server.start_again();
    assert_eq!(job(&server, &report["job"]), shown);
    assert_eq!(server.api("DELETE", "/jobs", &Value::Null), json!({ "removed": 1 }));
    assert_eq!(server.get("/jobs"), json!([]));
    // Numbers do not come again.
    let next = server.api("POST", "/store/gc", &json!({ "background": true }));
    assert_eq!(next["id"].as_u64().unwrap(), report["job"].as_u64().unwrap() + 1);
    until(&server, &next["id"], "completed");
}

#[test]
fn a_plan_tells_bytes_and_does_nothing() {
    let server = Server::start(&BY_HAND);
    share(&server);
    remove_for_good(&server, "VTL001L8");
    let before = stat(&server, "stored_bytes");
    let plan = server.api("POST", "/store/gc", &json!({ "plan": true }));
    let bytes = |name: &str| {
        let tasks = plan["tasks"].as_array().unwrap();
        tasks.iter().find(|task| task["name"] == name).unwrap()["total_bytes"].as_u64().unwrap()
    };
    assert_eq!((plan["kind"].clone(), bytes("look at packs")), (json!("gc"), before));
    assert!((19 * MIB..21 * MIB).contains(&bytes("free at most")), "{plan}");
    let plan = server.api("POST", "/store/scrub", &json!({ "plan": true, "rate": "2m" }));
    assert_eq!(plan["tasks"][0]["total_bytes"].as_u64().unwrap(), before);
    assert!(plan["notes"][0].as_str().unwrap().contains("2097152"), "{plan}");
    assert_eq!((server.get("/jobs"), stat(&server, "stored_bytes")), (json!([]), before));
}

#[test]
fn a_scrub_that_is_paused_stands_also_over_a_crash_and_goes_on_with_its_pass_until_it_is_cancelled() {
    let mut server = scrubbed(&BY_HAND);
    let begun = scrub(&server, "64k");
    let id = &begun["job"];
    until(&server, id, "running");
    ask(&server, id, "pause");
    until(&server, id, "paused");
    let stands = server.get("/store/scrub");
    assert_eq!((&stands["state"], &stands["pass"]), (&json!("paused"), &begun["pass"]));
    server.kill();
    server.start_again();
    assert_eq!(job(&server, id)["state"], "paused");
    eventually("the pass stands again", || (server.get("/store/scrub")["state"] == "paused").then_some(()));
    assert_eq!(server.get("/store/scrub")["pass"], begun["pass"]);

    ask(&server, id, "resume");
    until(&server, id, "running");
    eventually("the pass goes on", || (server.get("/store/scrub")["state"] == "running").then_some(()));
    assert_eq!(server.get("/store/scrub")["pass"], begun["pass"]);
    ask(&server, id, "cancel");
    let cancelled = until(&server, id, "cancelled");
    assert_eq!(cancelled["attempts"], 1);
    let after = server.get("/store/scrub");
    assert_eq!((&after["state"], &after["pass"]), (&json!("idle"), &Value::Null), "{after}");
    assert!(after["last_pass"].as_u64() < begun["pass"].as_u64(), "it has no result");
}

#[test]
fn a_crash_while_jobs_run_and_wait_loses_none_and_makes_none_twice() {
    let mut server = scrubbed(&[&BY_HAND[..], &["--set", "jobs.max_running=1"]].concat());
    let begun = scrub(&server, "8m");
    let waits = server.api("POST", "/store/gc", &json!({ "background": true }));
    assert_eq!(
        (&job(&server, &begun["job"])["state"], &waits["state"]),
        (&json!("running"), &json!("queued"))
    );
    server.kill();
    server.start_again();
    let done = until(&server, &begun["job"], "completed");
    assert_eq!((&done["result"]["pass"], &done["attempts"]), (&begun["pass"], &json!(1)), "{done}");
    assert_eq!(server.get("/store/scrub")["last_pass"], begun["pass"]);
    assert_eq!(words(&done), ["queued", "start", "lost", "start", "done"]);
    let collected = until(&server, &waits["id"], "completed");
    assert!(collected["started"].as_str() >= done["finished"].as_str(), "one at a time, in order");
    assert_eq!(server.get("/jobs").as_array().unwrap().len(), 3);
}

#[test]
fn no_more_jobs_run_than_the_configuration_says_and_what_cannot_be_is_refused_with_what_can() {
    let server = scrubbed(&[&BY_HAND[..], &["--set", "jobs.max_running=1"]].concat());
    let slow = scrub(&server, "64k")["job"].clone();
    let [first, second] =
        [(); 2].map(|()| server.api("POST", "/store/gc", &json!({ "background": true }))["id"].clone());
    for id in [&first, &second] {
        assert_eq!(job(&server, id)["state"], "queued");
    }
    assert_eq!(
        ask(&server, &second, "cancel")["state"],
        "cancelled",
        "what has not begun is cancelled at once"
    );
    let (status, told) = refused(&server, &slow, "resume");
    assert_eq!((status, &told["code"]), (409, &json!("conflict")));
    assert!(told["message"].as_str().unwrap().contains("running"), "{told}");
    assert!(told["remedy"].as_str().unwrap().contains(&format!("vtl job pause {slow}")), "{told}");

    ask(&server, &slow, "cancel");
    until(&server, &slow, "cancelled");
    until(&server, &first, "completed");
    let again = ask(&server, &second, "retry");
    assert_ne!(again["id"], second);
    until(&server, &again["id"], "completed");
    assert_eq!(ask(&server, &second, "retry")["id"], again["id"], "asked twice it is one");

    for (id, verb, code) in
        [("1", "pause", 409), ("999", "cancel", 404), ("first", "cancel", 400), ("0", "retry", 400)]
    {
        let (status, told) = server.ask("POST", &format!("/jobs/{id}/{verb}"), &json!({}));
        assert_eq!(status, code, "{id} {verb}: {told}");
        assert!(told["remedy"].is_string(), "{told}");
    }
}

#[test]
fn a_collection_that_is_forbidden_is_a_failed_job_with_its_reason_and_can_be_tried_again() {
    let (mut server, folder) = two_written(&BY_HAND);
    let aside = server.state().join("aside");
    std::fs::rename(&folder, &aside).unwrap();
    server.start_again();
    let (status, told) = server.ask("POST", "/store/gc", &json!({}));
    assert_eq!(status, 500, "{told}");
    let failed = server.get("/jobs")[0].clone();
    assert_eq!(
        (&failed["state"], &failed["error"], &failed["remedy"]),
        (&json!("failed"), &told["message"], &told["remedy"])
    );
    let (status, _) = server.ask("POST", "/store/gc", &json!({ "plan": true }));
    assert_eq!(status, 500, "a plan is refused for the same reason");
    assert_eq!(server.stop(), Some(0));
    std::fs::rename(&aside, &folder).unwrap();
    server.start_again();
    let again = ask(&server, &failed["id"], "retry");
    until(&server, &again["id"], "completed");
}

#[test]
fn a_stop_of_the_server_lets_a_scrub_come_to_a_safe_point_and_it_goes_on_where_it_was() {
    let mut server = scrubbed(&BY_HAND);
    let begun = scrub(&server, "4m");
    eventually("some is read", || (server.get("/store/scrub")["bytes"].as_u64() > Some(MIB)).then_some(()));
    assert_eq!(server.stop(), Some(0));
    server.start_again();
    let done = until(&server, &begun["job"], "completed");
    assert_eq!(
        (&done["result"]["pass"], words(&done)),
        (&begun["pass"], vec!["queued", "start", "stopped", "start", "done"])
    );
}
