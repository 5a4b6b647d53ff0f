//! Answers for people (tables) and for programs (JSON).

use std::io::Write;
use std::process::ExitCode;

use serde_json::Value;
use vtl_api::ApiError;

use crate::http::Failure;

/// How an answer is shown.
pub enum View {
    /// An array of objects: one line each, these columns. A dotted name goes into an object.
    Table(&'static [&'static str]),
    /// One object: a line for each of its fields.
    Fields,
    /// One object with an array inside: its fields, then the array as a table.
    FieldsAndTable(&'static str, &'static [&'static str]),
    /// One object with another one inside: its fields, then those of the other one, named with both names.
    FieldsAndInner(&'static str),
    /// The end of a repair from exports, as a job; fails when something cannot be read still.
    Repair,
    /// A trial: a table of this array; fails when this field is false.
    Trial(&'static str, &'static str, &'static [&'static str]),
    /// One object: a line for each of its fields; fails when this one is false.
    Outcome(&'static str),
    /// One object: a line for each of its fields; fails unless this one is 0.
    NoneOf(&'static str),
    /// An array of objects: one line each, these columns; fails when `ok` of one is false.
    AllOk(&'static [&'static str]),
    /// Of one object only the array inside.
    Inner(&'static str, &'static [&'static str]),
    /// A job: its fields, its parts, its log.
    Job,
    /// A job in one line.
    JobLine,
    /// An export: its fields, who can open it, what is in it.
    Export,
    /// An array of objects, each shown so.
    Each(&'static str, &'static [&'static str]),
    /// This field as it is.
    Text(&'static str),
    /// A message.
    Message,
    /// What was approved: a job in one line, a message, or a line for each field.
    Approved,
    /// The state of the system: decides the exit code too.
    Status,
    /// A check: fails when this array is not empty.
    Findings(&'static str, &'static [&'static str]),
}

/// Prints an answer.
pub fn answer(answer: &Value, view: &View, json: bool) {
    if json {
        line(&answer.to_string());
        return;
    }
    match view {
        View::Table(columns) | View::AllOk(columns) => table(answer, columns),
        View::Fields | View::Outcome(_) | View::NoneOf(_) => fields(answer, &[]),
        View::FieldsAndTable(inner, columns) | View::Findings(inner, columns) => {
            fields(answer, &[inner]);
            table(&answer[*inner], columns);
        }
        View::FieldsAndInner(inner) => {
            fields(answer, &[inner]);
            inner_fields(answer, inner);
        }
        View::Inner(inner, columns) | View::Trial(_, inner, columns) => table(&answer[*inner], columns),
        View::JobLine => line(&crate::follow::line(answer)),
        View::Job | View::Repair => {
            fields(answer, &["tasks", "events", "request", "result"]);
            inner_fields(answer, "request");
            inner_fields(answer, "result");
            table(&answer["tasks"], &["name", "state", "done_bytes", "total_bytes"]);
            table(&answer["events"], &["at", "event", "text"]);
        }
        View::Export => {
            fields(answer, &["recipients", "inside"]);
            table(&answer["recipients"], &["key", "private", "bits", "fingerprint"]);
            let inside = &answer["inside"];
            fields(inside, &["attributes", "files"]);
            inner_fields(inside, "attributes");
            table(&inside["files"], &["number", "blocks", "bytes"]);
        }
        View::Each(inner, columns) => {
            for one in answer.as_array().into_iter().flatten() {
                fields(one, &[inner]);
                table(&one[*inner], columns);
            }
        }
        View::Status => {
            fields(answer, &["problems"]);
            table(&answer["problems"], &["subject", "message", "remedy"]);
        }
        View::Text(field) => line(cell(&answer[*field]).trim_end()),
        View::Message => line(&cell(&answer["message"])),
        View::Approved => approved(answer).iter().for_each(|text| line(text)),
    }
}

/// An approved request answers as it would have without the rule.
fn approved(answer: &Value) -> Vec<String> {
    match (answer["message"].as_str(), answer["id"].is_u64() && answer["state"].is_string()) {
        (Some(message), _) => vec![message.to_owned()],
        (None, true) => vec![crate::follow::line(answer)],
        (None, false) => lines_of_fields(answer, &[]),
    }
}

/// The exit code that an answer deserves.
#[must_use]
pub fn exit_code(answer: &Value, view: &View) -> ExitCode {
    let good = match view {
        View::Status => answer["state"] == "ok",
        View::Findings(array, _) => answer[*array].as_array().is_none_or(Vec::is_empty),
        View::Trial(field, ..) | View::Outcome(field) => answer[*field] == true,
        View::NoneOf(field) => answer[*field] == 0,
        View::AllOk(_) => answer.as_array().is_some_and(|all| all.iter().all(|one| one["ok"] == true)),
        View::Repair => answer["result"]["cartridges"]
            .as_array()
            .is_none_or(|all| all.iter().all(|one| one["remaining_bytes"] == 0 && one["damaged_bytes"] != 0)),
        View::Table(_)
        | View::Fields
        | View::FieldsAndInner(_)
        | View::FieldsAndTable(..)
        | View::Inner(..)
        | View::Job
        | View::JobLine
        | View::Export
        | View::Each(..)
        | View::Text(_)
        | View::Message
        | View::Approved => true,
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints a text as it is.
pub fn text(text: &str) {
    line(text);
}

/// The exit code of what waits for a second person. 1 is a failure, 2 a command that is not understood.
pub const WAITS: u8 = 4;

/// Prints why a command did not succeed: to standard error, or, when it waits for a second person, the answer that says so. The exit code.
#[must_use]
pub fn failure(program: &str, failure: &Failure, json: bool) -> ExitCode {
    match failure {
        Failure::Waits(answer) => {
            line(&if json { answer.to_string() } else { waiting(answer) });
            return ExitCode::from(WAITS);
        }
        Failure::Api(error) if json => eprintln!("{}", serde_json::json!(error)),
        Failure::Api(error) => eprintln!("{program}: {}", told(error)),
        Failure::NoAnswer(message) | Failure::Local(message) if json => eprintln!("{}", local(message)),
        Failure::NoAnswer(message) | Failure::Local(message) => eprintln!("{program}: {message}"),
    }
    ExitCode::FAILURE
}

/// What waits for a second person, for people.
fn waiting(answer: &Value) -> String {
    format!(
        "{}\n  nothing is done yet; it can be approved until {}, and vtl approval show {} tells what became of it",
        cell(&answer["message"]),
        cell(&answer["expires"]),
        cell(&answer["approval"])
    )
}

/// What the API has not said, in the form of what it says.
fn local(message: &str) -> Value {
    serde_json::json!({
        "type": "urn:vtl:error:client",
        "title": "The client could not do it",
        "detail": message,
        "code": "client",
        "message": message,
    })
}

/// A refusal for people: what is wrong, and what to do about it. Where in the request it is would be in words of the API.
fn told(error: &ApiError) -> String {
    let remedy = error.remedy.as_ref().map_or_else(String::new, |remedy| format!("\n  {remedy}"));
    format!("{}{remedy}", error.message)
}

/// A reader that has seen enough (`vtl … | head`) is no failure.
fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn table(rows: &Value, columns: &[&str]) {
    lines_of_table(rows, columns, true).iter().for_each(|text| line(text));
}

/// The lines of a table, none when it has no rows. The titles may stand above already; columns are as wide as with them.
#[must_use]
pub fn lines_of_table(rows: &Value, columns: &[&str], with_titles: bool) -> Vec<String> {
    let rows: Vec<Vec<String>> = rows
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| columns.iter().map(|c| cell(find(row, c))).collect())
        .collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let titles: Vec<String> =
        columns.iter().map(|c| c.rsplit('.').next().unwrap_or(c).to_uppercase()).collect();
    let width = |at: usize| {
        rows.iter().chain([&titles]).filter_map(|r| r.get(at)).map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let shown = with_titles.then_some(&titles).into_iter().chain(&rows);
    let line = |row: &Vec<String>| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(text, width)| format!("{text:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    shown.map(line).collect()
}

fn fields(object: &Value, without: &[&str]) {
    lines_of_fields(object, without).iter().for_each(|text| line(text));
}

fn lines_of_fields(object: &Value, without: &[&str]) -> Vec<String> {
    let shown =
        object.as_object().into_iter().flatten().filter(|(name, _)| !without.contains(&name.as_str()));
    shown.map(|(name, value)| format!("{name}: {}", cell(value))).collect()
}

fn inner_fields(object: &Value, inner: &str) {
    for (name, value) in object[inner].as_object().into_iter().flatten() {
        line(&format!("{inner}.{name}: {}", cell(value)));
    }
}

fn find<'a>(row: &'a Value, column: &str) -> &'a Value {
    column.split('.').fold(row, |value, key| &value[key])
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        Value::Object(fields) => {
            fields.values().filter(|v| !v.is_null()).map(cell).collect::<Vec<_>>().join(":")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_place_prints_as_people_write_it() {
        assert_eq!(cell(&json!({"kind": "slot", "number": 4})), "slot:4");
        assert_eq!(cell(&json!({"kind": "vault", "number": null})), "vault");
    }

    #[test]
    fn a_refusal_is_told_with_its_remedy_and_without_what_the_api_calls_the_option() {
        let refusal = ApiError {
            code: vtl_api::ErrorCode::Invalid,
            message: "objects of 1 bytes cannot be".to_owned(),
            remedy: Some("write a size from 1m to 1t".to_owned()),
            field: Some("chunk_size_bytes".to_owned()),
        };
        assert_eq!(told(&refusal), "objects of 1 bytes cannot be\n  write a size from 1m to 1t");
        assert_eq!(told(&ApiError { remedy: None, ..refusal }), "objects of 1 bytes cannot be");
    }

    #[test]
    fn a_finding_makes_a_check_fail() {
        let view = View::Findings("damage", &[]);
        assert_eq!(
            format!("{:?}", exit_code(&json!({"damage": []}), &view)),
            format!("{:?}", ExitCode::SUCCESS)
        );
        assert_eq!(
            format!("{:?}", exit_code(&json!({"damage": [{}]}), &view)),
            format!("{:?}", ExitCode::FAILURE)
        );
    }

    #[test]
    fn what_waits_for_a_second_person_is_told_with_what_comes_next_and_has_an_exit_code_of_its_own() {
        let waits = json!({ "message": "approve it: vtl approval approve 01", "approval": "01", "expires": "2026-11-27" });
        let told = waiting(&waits);
        assert!(told.starts_with("approve it: vtl approval approve 01\n"), "{told}");
        assert!(told.contains("until 2026-11-27") && told.contains("vtl approval show 01"), "{told}");
        let code = failure("vtl", &Failure::Waits(waits), true);
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(4)));
    }

    #[test]
    fn what_was_approved_is_told_as_the_job_or_the_message_that_it_is() {
        let job = json!({ "id": 7, "state": "queued", "done_bytes": 0, "total_bytes": 0 });
        assert_eq!(approved(&job), ["job 7: queued"]);
        assert_eq!(
            approved(&json!({ "message": "cartridge X is gone", "names": [] })),
            ["cartridge X is gone"]
        );
        assert_eq!(approved(&json!({ "readable": 1 })), ["readable: 1"]);
    }

    #[test]
    fn a_failure_of_the_client_has_the_members_of_one_of_the_api() {
        let told = local("no token");
        assert_eq!((&told["code"], &told["message"]), (&json!("client"), &json!("no token")));
        assert_eq!(told["detail"], told["message"]);
    }

    #[test]
    fn a_repair_that_left_something_fails() {
        let left = |lost: u64| {
            format!("{:?}", exit_code(&json!({ "healed": 1, "lost": lost }), &View::NoneOf("lost")))
        };
        assert_eq!(left(0), format!("{:?}", ExitCode::SUCCESS));
        assert_eq!(left(1), format!("{:?}", ExitCode::FAILURE));
    }

    #[test]
    fn a_repair_from_exports_that_left_something_fails() {
        let code = |cartridges: Value| {
            format!("{:?}", exit_code(&json!({ "result": { "cartridges": cartridges } }), &View::Repair))
        };
        let one = |damaged: u64, left: u64| json!({ "damaged_bytes": damaged, "remaining_bytes": left });
        let (good, bad) = (format!("{:?}", ExitCode::SUCCESS), format!("{:?}", ExitCode::FAILURE));
        assert_eq!((code(json!([])), code(json!([one(5, 0)]))), (good.clone(), good));
        // Of one whose head is lost nobody knows how much.
        assert_eq!((code(json!([one(5, 0), one(9, 1)])), code(json!([one(0, 0)]))), (bad.clone(), bad));
    }
}
