//! Waiting for the end of a job, and saying meanwhile how far it is.

use std::io::{IsTerminal, Write};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::termios::tcgetwinsize;
use serde_json::Value;
use vtl_api::{ApiError, ErrorCode};

use crate::http::{Client, Failure, Method, Request};

/// How long it is waited until it is asked again: a part of what the job has taken so far, within these bounds.
const ASK: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(500)];
const PART: u32 = 50;

/// Where there is no terminal something is said so often at least: the log of a job of a day stays short, and shows that it goes on.
const LINE_EACH: Duration = Duration::from_secs(60);

/// Characters of a bar between its ends.
const BAR: usize = 20;

/// Characters in a line of a terminal that does not say how many it has.
const COLUMNS: usize = 80;

/// States that a job does not leave.
const ENDED: [&str; 3] = ["completed", "cancelled", "failed"];

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
        teller.tell(&job, begun.elapsed());
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

/// A line with a bar on a terminal, which is written over each time; elsewhere a line for each new state, and one a minute meanwhile.
struct Teller {
    quiet: bool,
    terminal: bool,
    state: String,
    /// When the last line was said.
    said: Duration,
}

impl Teller {
    fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { quiet, terminal, state: String::new(), said: Duration::ZERO }
    }

    /// `now`: how long it is waited already.
    fn tell(&mut self, job: &Value, now: Duration) {
        if self.quiet {
            return;
        }
        if let Some(text) = self.text(job, now, self.terminal.then(columns)) {
            // Who does not read it does not miss it.
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
    }

    /// What is to be said now, if anything. `columns`: of the terminal, when there is one.
    fn text(&mut self, job: &Value, now: Duration, columns: Option<usize>) -> Option<String> {
        let state = job["state"].as_str().unwrap_or_default();
        let is_due = state != self.state || now.saturating_sub(self.said) >= LINE_EACH;
        if columns.is_none() && !is_due {
            return None;
        }
        state.clone_into(&mut self.state);
        self.said = now;
        Some(match columns {
            Some(columns) if ENDED.contains(&state) => {
                format!("\r{}\x1b[K\n", line_with_bar(job, columns))
            }
            Some(columns) => format!("\r{}\x1b[K", line_with_bar(job, columns)),
            None => format!("{}\n", line(job)),
        })
    }
}

/// Of the terminal as it is now.
fn columns() -> usize {
    let size = tcgetwinsize(std::io::stderr());
    size.ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(COLUMNS)
}

/// A job in one line, with a bar in front when it is known how much there is to do. A line that does not fit could not be written over.
fn line_with_bar(job: &Value, columns: usize) -> String {
    let bar = percent(job).map_or_else(String::new, |percent| format!("{} ", bar(percent)));
    format!("{bar}{}", line(job)).chars().take(columns.saturating_sub(1)).collect()
}

fn bar(percent: u64) -> String {
    let full = usize::try_from(percent).map_or(BAR, |percent| BAR * percent.min(100) / 100);
    format!("[{}{}]", "#".repeat(full), "-".repeat(BAR - full))
}

/// A job in one line: what is known of it, and no more.
#[must_use]
pub fn line(job: &Value) -> String {
    let mut parts = vec![format!("job {}: {}", job["id"], state_of(job))];
    parts.extend(percent(job).map(|percent| format!("{percent} %")));
    parts.extend(job["bytes_per_s"].as_u64().map(|rate| format!("{rate} bytes/s")));
    parts.extend(job["left_s"].as_u64().map(|left| format!("{left} s left")));
    parts.join(", ")
}

/// Its state, and why there was nothing to do.
fn state_of(job: &Value) -> String {
    let state = job["state"].as_str().unwrap_or_default();
    job["skipped"].as_str().map_or_else(|| state.to_owned(), |why| format!("{state} ({why})"))
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
        let blank =
            json!({ "id": 9, "state": "completed", "done_bytes": 0, "total_bytes": 0, "skipped": "blank" });
        assert_eq!(line(&blank), "job 9: completed (blank), 100 %");
    }

    fn job(state: &str, done: u64) -> Value {
        json!({ "id": 7, "state": state, "done_bytes": done, "total_bytes": 100 })
    }

    fn teller() -> Teller {
        Teller { quiet: false, terminal: false, state: String::new(), said: Duration::ZERO }
    }

    #[test]
    fn a_terminal_has_a_bar_in_one_line_that_is_written_over_until_the_job_has_ended() {
        let mut teller = teller();
        let mut text = |job: &Value| teller.text(job, Duration::ZERO, Some(80)).unwrap();
        let unknown = json!({ "id": 7, "state": "queued", "done_bytes": 0, "total_bytes": 0 });
        assert_eq!(text(&unknown), "\rjob 7: queued\x1b[K");
        assert_eq!(text(&job("running", 0)), "\r[--------------------] job 7: running, 0 %\x1b[K");
        assert_eq!(text(&job("running", 49)), "\r[#########-----------] job 7: running, 49 %\x1b[K");
        assert_eq!(text(&job("running", 49)), "\r[#########-----------] job 7: running, 49 %\x1b[K");
        assert_eq!(text(&job("completed", 100)), "\r[####################] job 7: completed, 100 %\x1b[K\n");
    }

    #[test]
    fn a_line_with_a_bar_is_shorter_than_a_terminal_is_wide() {
        assert_eq!(line_with_bar(&job("running", 50), 30), "[##########----------] job 7:");
        assert_eq!(line_with_bar(&job("running", 50), 0), "");
    }

    #[test]
    fn where_there_is_no_terminal_a_line_tells_each_new_state_and_one_a_minute_how_far_it_is() {
        let mut teller = teller();
        let mut text =
            |state: &str, done, at_s| teller.text(&job(state, done), Duration::from_secs(at_s), None);
        let told = |text: &str| Some(format!("job 7: {text}\n"));
        assert_eq!(text("queued", 0, 0), told("queued, 0 %"));
        assert_eq!(text("running", 0, 5), told("running, 0 %"));
        assert_eq!(text("running", 10, 64), None);
        assert_eq!(text("running", 11, 65), told("running, 11 %"));
        assert_eq!(text("running", 12, 66), None);
        assert_eq!(text("running", 20, 125), told("running, 20 %"));
        assert_eq!(text("completed", 100, 126), told("completed, 100 %"));
    }
}
