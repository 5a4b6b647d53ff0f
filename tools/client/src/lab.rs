//! `vtl lab`: a demonstration in one command. Two servers and, where there is one, an S3 server; a tape is written, exported, lost, and brought
//! back on the other server. All of it is in one folder, and so is the record of the processes, which outlive this program.
//!
//! States of the folder: absent; made, with servers that come and steps that are told; up, until `down` or a boot. A failed or interrupted `up`
//! leaves it as it is, for a look, and `down` takes it from there.

mod bucket;
mod folder;
mod host;
mod narrator;
mod process;
mod sample;
mod secret;
mod server;
mod story;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::command::LabVerb;
use crate::http::Failure;
use crate::print;
use folder::{Lab, PROCESSES};
use narrator::Narrator;
use server::Programs;
use story::{Told, USER};

/// Errors are words for people.
type Result<T> = std::result::Result<T, String>;

/// Lines of each log that a failure shows.
const LOG_LINES: usize = 15;

/// Does it.
///
/// # Errors
/// There is no lab, or one too many; or a step of the demonstration has failed, which is named.
pub fn run(verb: &LabVerb, as_json: bool) -> std::result::Result<ExitCode, Failure> {
    let done = match verb {
        LabVerb::Up { folder, vtld } => {
            place(folder.as_deref()).and_then(|folder| up(&folder, vtld.as_deref(), as_json))
        }
        LabVerb::Status { folder } => place(folder.as_deref()).and_then(|folder| status(&folder, as_json)),
        LabVerb::Down { folder } => place(folder.as_deref()).and_then(|folder| down(&folder, as_json)),
    };
    done.map_err(Failure::Local)
}

/// The folder of a lab that is not named: in the user's own state.
fn place(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    // A relative one counts as none (XDG Base Directory Specification).
    let xdg = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let base =
        xdg.or_else(home).ok_or("neither XDG_STATE_HOME nor HOME is set; name a folder with --folder")?;
    Ok(base.join("vtl-lab"))
}

fn up(folder: &Path, vtld: Option<&Path>, as_json: bool) -> Result<ExitCode> {
    let programs = Programs::find(vtld)?;
    let mut lab = Lab::create(folder)?;
    let mut say = Narrator::new(as_json);
    let told = story::tell(&mut lab, &mut say, &programs)
        .map_err(|why| format!("{} failed: {why}\n{}", say.where_it_is(), what_is_left(&lab)))?;
    say.put(&summary(&lab, &told));
    if as_json {
        print::text(&state(&lab)?.to_string());
    }
    Ok(ExitCode::SUCCESS)
}

fn summary(lab: &Lab, told: &Told) -> String {
    let [a, b] = &told.servers;
    let here = narrator::quoted(lab.folder().as_os_str());
    format!(
        "\nA tape of {} files and {} bytes came back as it was, {} time{}. Both servers run on:\n\n\
         \x20   {}   {}   the one that lost it\n    {}   {}   the one that has it\n\n\
         \x20   log in as {USER}; the password is in {here}/password\n\
         \x20   vtl lab status --folder {here}   tells what runs\n\
         \x20   vtl lab down --folder {here}     ends it and removes all of it",
        told.same.files,
        told.same.bytes,
        told.copies,
        if told.copies == 1 { "" } else { "s" },
        a.name,
        a.api,
        b.name,
        b.api,
    )
}

/// For whoever looks into a failure: the ends of the logs, and how to go on.
fn what_is_left(lab: &Lab) -> String {
    let mut text = String::new();
    for name in PROCESSES {
        let file = lab.path(&format!("{name}.log"));
        let lines = last_lines(&file);
        if !lines.is_empty() {
            text += &format!("the end of {}:\n", file.display());
            lines.iter().for_each(|line| text += &format!("    {line}\n"));
        }
    }
    let here = narrator::quoted(lab.folder().as_os_str());
    text + &format!("everything is left as it is in {here}; vtl lab down --folder {here} ends and removes it")
}

fn last_lines(file: &Path) -> VecDeque<String> {
    let mut last = VecDeque::new();
    for line in
        File::open(file).into_iter().flat_map(|open| BufReader::new(open).lines().map_while(|l| l.ok()))
    {
        if last.len() == LOG_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
    last
}

fn status(folder: &Path, as_json: bool) -> Result<ExitCode> {
    let lab = Lab::open(folder)?;
    let state = state(&lab)?;
    let all_run =
        state["processes"].as_array().is_some_and(|all| all.iter().all(|one| one["running"] == true));
    print::answer(
        &state,
        &print::View::FieldsAndTable("processes", &["name", "pid", "running", "address"]),
        as_json,
    );
    Ok(if all_run { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn state(lab: &Lab) -> Result<Value> {
    let row = |(process, runs): &(folder::Process, bool)| json!({ "name": process.name, "pid": process.identity.pid, "running": runs, "address": process.address });
    let processes: Vec<Value> = lab.processes()?.iter().map(row).collect();
    Ok(json!({ "folder": lab.folder(), "processes": processes }))
}

fn down(folder: &Path, as_json: bool) -> Result<ExitCode> {
    let lab = Lab::open(folder)?.for_removal()?;
    let mut rows = Vec::new();
    for (process, runs) in lab.processes()? {
        let how = if runs { process.identity.end()? } else { "had ended before" };
        rows.push(json!({ "name": process.name, "pid": process.identity.pid, "how": how }));
    }
    let gone = lab.folder().to_owned();
    lab.remove()?;
    let answer = json!({ "removed": gone, "processes": rows });
    print::answer(&answer, &print::View::FieldsAndTable("processes", &["name", "pid", "how"]), as_json);
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_the_last_lines_of_each_log_and_says_how_to_clean_up() {
        let above = tempfile::tempdir().unwrap();
        let lab = Lab::create(&above.path().join("lab")).unwrap();
        let log: String = (1..=20).map(|number| format!("line {number}\n")).collect();
        std::fs::write(lab.path("b.log"), log).unwrap();
        let told = what_is_left(&lab);
        assert!(told.contains("    line 6\n") && told.contains("    line 20\n"), "{told}");
        assert!(!told.contains("line 5\n") && !told.contains("a.log"), "{told}");
        assert!(told.contains("vtl lab down --folder"), "{told}");
    }
}
