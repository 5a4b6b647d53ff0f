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
        View::Fields | View::Outcome(_) => fields(answer, &[]),
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
    }
}

/// The exit code that an answer deserves.
#[must_use]
pub fn exit_code(answer: &Value, view: &View) -> ExitCode {
    let good = match view {
        View::Status => answer["state"] == "ok",
        View::Findings(array, _) => answer[*array].as_array().is_none_or(Vec::is_empty),
        View::Trial(field, ..) | View::Outcome(field) => answer[*field] == true,
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
        | View::Message => true,
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints a text as it is.
pub fn text(text: &str) {
    line(text);
}

/// Prints a failure to standard error.
pub fn failure(program: &str, failure: &Failure, json: bool) {
    match failure {
        Failure::Api(error) if json => eprintln!("{}", serde_json::json!(error)),
        Failure::Api(error) => {
            eprintln!("{program}: {}", told(error));
        }
        Failure::Local(message) => eprintln!("{program}: {message}"),
    }
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
    let rows: Vec<Vec<String>> = rows
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| columns.iter().map(|c| cell(find(row, c))).collect())
        .collect();
    if rows.is_empty() {
        return;
    }
    let titles: Vec<String> =
        columns.iter().map(|c| c.rsplit('.').next().unwrap_or(c).to_uppercase()).collect();
    let width = |at: usize| {
        rows.iter().chain([&titles]).filter_map(|r| r.get(at)).map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    for row in [&titles].into_iter().chain(&rows) {
        let line: Vec<String> =
            row.iter().zip(&widths).map(|(text, width)| format!("{text:<width$}")).collect();
        self::line(line.join("  ").trim_end());
    }
}

fn fields(object: &Value, without: &[&str]) {
    for (name, value) in object.as_object().into_iter().flatten() {
        if !without.contains(&name.as_str()) {
            line(&format!("{name}: {}", cell(value)));
        }
    }
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
    fn a_repair_that_left_something_fails() {
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
