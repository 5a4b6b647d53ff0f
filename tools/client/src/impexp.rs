//! `impexp`: the job list under the name and with the options that scripts of an older product use.
//!
//! `-l` and `-L` list, `-j ID` shows, `-r -j ID` cancels, `--clear` removes what has ended. A job that failed is an `error` here.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgGroup, CommandFactory as _, Parser};
use serde_json::{Value, json};
use vtl_client::command::Connection;
use vtl_client::follow::percent;
use vtl_client::http::{Client, Failure, Method, Request, segment};
use vtl_client::print::{self, View};

/// Lists and cancels jobs.
#[derive(Parser)]
#[command(name = "impexp", version, group(ArgGroup::new("what").required(true).args(["list", "long", "job", "clear", "write_manual"])))]
struct Cli {
    #[command(flatten)]
    connection: Connection,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// List jobs, one line each.
    #[arg(short = 'l')]
    list: bool,
    /// List jobs with all that is known of them.
    #[arg(short = 'L')]
    long: bool,
    /// One job, by its number.
    #[arg(short = 'j', value_name = "ID")]
    job: Option<String>,
    /// Cancel it.
    #[arg(short = 'r', requires = "job")]
    cancel: bool,
    /// Remove jobs that have ended from the list.
    #[arg(long)]
    clear: bool,
    /// Write manual page and completions into a folder, for packages.
    #[arg(long, value_name = "DIR", hide = true)]
    write_manual: Option<PathBuf>,
}

const SHORT: &[&str] = &["id", "type", "label", "state", "percent"];
const LONG: &[&str] = &[
    "id",
    "type",
    "label",
    "state",
    "percent",
    "remote",
    "folder",
    "objects",
    "done_bytes",
    "total_bytes",
    "attempts",
    "created",
    "started",
    "finished",
    "error",
];

impl Cli {
    fn call(&self) -> (Request, View) {
        let request = |method, path: String| Request { method, path, body: None };
        match &self.job {
            Some(id) if self.cancel => {
                (request(Method::Post, format!("/jobs/{}/cancel", segment(id))), View::JobLine)
            }
            Some(id) => (request(Method::Get, format!("/jobs/{}", segment(id))), View::Job),
            None if self.clear => (request(Method::Delete, "/jobs".to_owned()), View::Fields),
            None => {
                (request(Method::Get, "/jobs".to_owned()), View::Table(if self.long { LONG } else { SHORT }))
            }
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => print::failure("impexp", &failure, cli.json),
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    if let Some(folder) = &cli.write_manual {
        return vtl_manual::write(&Cli::command(), "1", folder)
            .map_err(|error| Failure::Local(format!("cannot write into {}: {error}", folder.display())));
    }
    let (request, view) = cli.call();
    let answer = Client::new(&cli.connection)?.send(&request)?;
    print::answer(&in_its_words(answer), &view, cli.json);
    Ok(())
}

/// Its own words for a job, or for each of a list.
fn in_its_words(mut answer: Value) -> Value {
    match &mut answer {
        Value::Array(jobs) => jobs.iter_mut().for_each(reword),
        job => reword(job),
    }
    answer
}

fn reword(job: &mut Value) {
    if job.get("kind").is_none() {
        return;
    }
    let percent = percent(job).map_or(Value::Null, |percent| json!(format!("{percent}%")));
    job["type"] = job["kind"].clone();
    job["percent"] = percent;
    if job["state"] == "failed" {
        job["state"] = json!("error");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> Option<(Method, String)> {
        let cli = Cli::try_parse_from(line.split_whitespace()).ok()?;
        let (request, _) = cli.call();
        Some((request.method, request.path))
    }

    #[test]
    fn the_options_that_scripts_use_are_understood() {
        for (line, method, path) in [
            ("impexp -l", Method::Get, "/jobs"),
            ("impexp -L", Method::Get, "/jobs"),
            ("impexp -j 7", Method::Get, "/jobs/7"),
            ("impexp -r -j 7", Method::Post, "/jobs/7/cancel"),
            ("impexp --clear", Method::Delete, "/jobs"),
            ("impexp --json -l --api http://127.0.0.1:1", Method::Get, "/jobs"),
        ] {
            assert_eq!(call(line), Some((method, path.to_owned())), "{line}");
        }
        for wrong in ["impexp", "impexp -r", "impexp -l -L", "impexp -l -j 7", "impexp --clear -j 7"] {
            assert_eq!(call(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_failed_job_is_an_error_and_what_is_no_job_stays_as_it_is() {
        let job = json!({ "id": 1, "kind": "gc", "state": "failed", "done_bytes": 1, "total_bytes": 2 });
        let told = in_its_words(json!([job]));
        assert_eq!(
            (&told[0]["state"], &told[0]["type"], &told[0]["percent"]),
            (&json!("error"), &json!("gc"), &json!("50%"))
        );
        assert_eq!(in_its_words(json!({ "removed": 3 })), json!({ "removed": 3 }));
    }
}
