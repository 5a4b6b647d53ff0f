//! `impexp`: the job list under the name and with the options that scripts of an older product use.
//!
//! `-l` and `-L` list, `-j ID` shows, `-r -j ID` cancels, `--clear` removes what has ended. A job that failed is an `error` here. A list has a line of
//! titles, then a line for each job; a new column comes at the end, where it is in the way of no script that counts them.

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

const SHORT: &[&str] = &["id", "type", "label", "state", "percent", "skipped"];
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
    "skipped",
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

    /// As the API tells them: one that sends something, one that had nothing to send, one that cannot do it.
    fn jobs() -> Value {
        let [mut sends, mut blank, mut fails] = [1, 2, 10].map(|id| {
            json!({
                "id": id, "kind": "export", "label": null, "state": "running", "done_bytes": 0, "total_bytes": 0,
                "attempts": 1, "error": null, "remedy": null, "priority": "normal", "created": "2026-11-26T03:15:01Z",
                "started": "2026-11-26T03:15:02Z", "finished": "2026-11-26T03:15:03Z", "next_attempt": null,
                "bytes_per_s": null, "left_s": null
            })
        });
        for (job, changes) in [
            (
                &mut sends,
                json!({
                    "label": "VTL001L8", "done_bytes": 256, "total_bytes": 1024, "attempts": 2, "finished": null,
                    "remote": "off-site", "folder": "VTL001L8-20261126_031500", "objects": 3
                }),
            ),
            (
                &mut blank,
                json!({
                    "label": "VTL002L8", "state": "completed", "remote": "off-site", "objects": 0, "skipped": "blank"
                }),
            ),
            (&mut fails, json!({ "kind": "gc", "state": "failed", "error": "a pack is damaged" })),
        ] {
            for (name, value) in changes.as_object().unwrap() {
                job[name.as_str()] = value.clone();
            }
        }
        json!([sends, blank, fails])
    }

    fn lines(option: &str) -> Vec<String> {
        let (_, view) = Cli::try_parse_from(["impexp", option]).unwrap().call();
        let View::Table(columns) = view else { panic!("{option} is a list") };
        print::lines_of_table(&in_its_words(jobs()), columns, true)
    }

    #[test]
    fn a_short_list_has_a_line_for_each_job_with_its_number_kind_label_state_and_percent() {
        let wanted = [
            "ID  TYPE    LABEL     STATE      PERCENT  SKIPPED",
            "1   export  VTL001L8  running    25%      -",
            "2   export  VTL002L8  completed  100%     blank",
            "10  gc      -         error      -        -",
        ];
        assert_eq!(lines("-l"), wanted);
    }

    #[test]
    fn a_long_list_tells_remote_folder_objects_bytes_attempts_times_and_what_went_wrong_too() {
        let cells = |line: &String| {
            let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
            cells.collect::<Vec<_>>().join("|")
        };
        let (created, started) = ("2026-11-26T03:15:01Z", "2026-11-26T03:15:02Z");
        let (begun, finished) = (format!("{created}|{started}"), "2026-11-26T03:15:03Z");
        let wanted = [
            "ID|TYPE|LABEL|STATE|PERCENT|REMOTE|FOLDER|OBJECTS|DONE_BYTES|TOTAL_BYTES|ATTEMPTS|CREATED|STARTED|FINISHED|ERROR|SKIPPED"
                .to_owned(),
            format!("1|export|VTL001L8|running|25%|off-site|VTL001L8-20261126_031500|3|256|1024|2|{begun}|-|-|-"),
            format!("2|export|VTL002L8|completed|100%|off-site|-|0|0|0|1|{begun}|{finished}|-|blank"),
            format!("10|gc|-|error|-|-|-|-|0|0|1|{begun}|{finished}|a pack is damaged|-"),
        ];
        assert_eq!(lines("-L").iter().map(cells).collect::<Vec<_>>(), wanted);
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
