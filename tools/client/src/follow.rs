//! Waiting for the end of a job, and saying meanwhile how far it is.

use std::io::{IsTerminal, Write};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use vtl_api::{ApiError, ErrorCode};

use crate::http::{Client, Failure, Method, Request};

/// How long it is waited until it is asked again: a part of what the job has taken so far, within these bounds.
const ASK: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(500)];
const PART: u32 = 50;

/// Waits until the job with this number has ended; it must have been done.
///
/// # Errors
/// None is named, it was cancelled, it failed, or the API does not answer.
pub fn to_the_end(client: &Client, id: &Value, quiet: bool) -> Result<Value, Failure> {
    if !id.is_u64() {
        return Err(Failure::Local(
            "the answer names no job to wait for; vtl job ls tells what runs".to_owned(),
        ));
    }
    let request = Request { method: Method::Get, path: format!("/jobs/{id}"), body: None };
    let (mut teller, begun) = (Teller::new(quiet), Instant::now());
    let [least, most] = ASK;
    loop {
        let job = client.send(&request)?;
        teller.tell(&job);
        match job["state"].as_str().unwrap_or_default() {
            "completed" => return Ok(job),
            "cancelled" | "failed" => return Err(Failure::Api(not_done(&job))),
            _ => sleep((begun.elapsed() / PART).clamp(least, most)),
        }
    }
}

fn not_done(job: &Value) -> ApiError {
    let text = |name: &str| job[name].as_str().map(str::to_owned);
    let (id, state) = (&job["id"], text("state").unwrap_or_default());
    let why = text("error").map_or_else(String::new, |why| format!(": {why}"));
    ApiError {
        code: ErrorCode::Conflict,
        message: format!("job {id} is {state}{why}"),
        remedy: text("remedy").or_else(|| Some(format!("vtl job show {id} tells more"))),
        field: None,
    }
}

/// A line of its own on a terminal, and a line for each new state elsewhere.
struct Teller {
    quiet: bool,
    terminal: bool,
    state: String,
}

impl Teller {
    fn new(quiet: bool) -> Self {
        Self { quiet, terminal: std::io::stderr().is_terminal(), state: String::new() }
    }

    fn tell(&mut self, job: &Value) {
        let state = job["state"].as_str().unwrap_or_default();
        if self.quiet || (!self.terminal && state == self.state) {
            return;
        }
        state.clone_into(&mut self.state);
        let (line, ended) = (line(job), ["completed", "cancelled", "failed"].contains(&state));
        let text = match (self.terminal, ended) {
            (true, false) => format!("\r{line}\x1b[K"),
            (true, true) => format!("\r{line}\x1b[K\n"),
            (false, _) => format!("{line}\n"),
        };
        // Who does not read it does not miss it.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

/// A job in one line: what is known of it, and no more.
#[must_use]
pub fn line(job: &Value) -> String {
    let mut parts = vec![format!("job {}: {}", job["id"], job["state"].as_str().unwrap_or_default())];
    parts.extend(percent(job).map(|percent| format!("{percent} %")));
    parts.extend(job["bytes_per_s"].as_u64().map(|rate| format!("{rate} bytes/s")));
    parts.extend(job["left_s"].as_u64().map(|left| format!("{left} s left")));
    parts.join(", ")
}

/// How much of a job is done; none when that is not known.
#[must_use]
pub fn percent(job: &Value) -> Option<u64> {
    let (done, total) = (job["done_bytes"].as_u64()?, job["total_bytes"].as_u64()?);
    if job["state"] == "completed" {
        return Some(100);
    }
    let percent = u128::from(done.min(total)) * 100;
    percent.checked_div(total.into()).and_then(|percent| u64::try_from(percent).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_job_that_an_answer_does_not_name_is_not_asked_for() {
        let (client, asked) = crate::http::tests::server(Vec::new());
        let Err(Failure::Local(told)) = to_the_end(&client, &Value::Null, true) else {
            panic!("of which job?")
        };
        assert!(told.contains("names no job"), "{told}");
        assert!(asked.join().unwrap().is_empty());
    }

    #[test]
    fn a_percentage_is_told_when_the_whole_is_known() {
        let job = |state: &str, done: u64, total: u64| json!({ "state": state, "done_bytes": done, "total_bytes": total });
        assert_eq!(percent(&job("running", 5, 20)), Some(25));
        assert_eq!(percent(&job("running", 30, 20)), Some(100));
        assert_eq!(percent(&job("running", u64::MAX, u64::MAX)), Some(100));
        assert_eq!((percent(&job("queued", 0, 0)), percent(&job("completed", 0, 0))), (None, Some(100)));
    }

    #[test]
    fn the_line_of_a_job_says_what_is_known_and_no_more() {
        let running = json!({ "id": 7, "state": "running", "done_bytes": 1, "total_bytes": 4, "bytes_per_s": 3, "left_s": 1 });
        assert_eq!(line(&running), "job 7: running, 25 %, 3 bytes/s, 1 s left");
        let queued = json!({ "id": 8, "state": "queued", "done_bytes": 0, "total_bytes": 0 });
        assert_eq!(line(&queued), "job 8: queued");
    }
}
