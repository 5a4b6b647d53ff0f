//! Jobs that have ended lie on disk: they take no memory of the daemon, and clearing them leaves what runs.

use serde_json::{Value, json};

use crate::store::share;
use crate::support::{Server, eventually, rounds};

/// An older product took 32 KiB for each.
const BYTES_OF_A_JOB: u64 = 4096;
/// What the allocator and threads may keep whatever happens.
const SLACK_BYTES: u64 = 4 << 20;

fn finish(server: &Server, jobs: u32) {
    let mut last = Value::Null;
    for _ in 0..jobs {
        last = server.api("POST", "/store/gc", &json!({ "background": true }))["id"].clone();
    }
    eventually("the last one ends", || {
        (server.get(&format!("/jobs/{last}"))["state"] == "completed").then_some(())
    });
}

#[test]
fn finished_jobs_take_no_memory_of_the_daemon_and_a_clear_leaves_the_one_that_runs() {
    let server = Server::start(&["--set", "store.gc=manual"]);
    share(&server);
    let runs = server.api("POST", "/store/scrub", &json!({ "rate": "64k" }))["job"].clone();
    finish(&server, 50);
    let before = server.resident_kib() * 1024;
    let jobs = rounds(100, 1000);
    (0..jobs / 50).for_each(|_| finish(&server, 50));
    let grown = (server.resident_kib() * 1024).saturating_sub(before);
    println!("{jobs} jobs: {grown} bytes more");
    assert!(grown < SLACK_BYTES + u64::from(jobs) * BYTES_OF_A_JOB, "{grown} bytes");
    assert_eq!(server.get("/jobs").as_array().unwrap().len() as u32, jobs + 51);
    assert_eq!(server.api("DELETE", "/jobs", &Value::Null), json!({ "removed": jobs + 50 }));
    let left = server.get("/jobs");
    assert_eq!(
        (left.as_array().unwrap().len(), &left[0]["id"], &left[0]["state"]),
        (1, &runs, &json!("running"))
    );
}
