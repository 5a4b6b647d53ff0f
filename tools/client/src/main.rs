//! `vtl`: every command is one request to the management API, and its answer printed as a table or as JSON.

use std::fs::File;
use std::io::{Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{CommandFactory as _, Parser};
use vtl_client::command::{Cli, Then, scrub_status};
use vtl_client::follow::to_the_end;
use vtl_client::http::{Client, Failure, Method, Request};
use vtl_client::print::View;
use vtl_client::{confirm, lab, login, logout, objects, print, quadstor};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(code) => code,
        Err(failure) => print::failure("vtl", &failure, cli.json),
    }
}

fn run(cli: &Cli) -> Result<ExitCode, Failure> {
    if let Some(files) = cli.command.files_to_import() {
        return import(files, cli.json);
    }
    if let Some(arguments) = cli.command.login() {
        let file = login::log_in(&cli.connection, arguments)?;
        let message = format!("logged in; the token is in {}", file.display());
        print::answer(
            &serde_json::json!({ "message": message, "file": file.display().to_string() }),
            &View::Message,
            cli.json,
        );
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(arguments) = cli.command.logout() {
        let done = logout::log_out(&cli.connection, arguments)?;
        print::answer(&serde_json::json!(done), &View::Message, cli.json);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(verb) = cli.command.lab() {
        return lab::run(verb, cli.json);
    }
    if cli.command.exports_audit() {
        return export_audit(&Client::new(&cli.connection)?);
    }
    if let Some(folder) = cli.command.manual() {
        return vtl_manual::write(&Cli::command(), "1", folder)
            .map(|()| ExitCode::SUCCESS)
            .map_err(|error| Failure::Local(format!("cannot write into {}: {error}", folder.display())));
    }
    let call = cli.command.call()?;
    let client = Client::new(&cli.connection)?;
    if let Some(output) = cli.command.bundle().filter(|_| !cli.json) {
        return bundle(&client, output);
    }
    if let Some(of) = cli.command.objects() {
        objects::list(&client, &of, cli.json, &mut std::io::stdout().lock())?;
        return Ok(ExitCode::SUCCESS);
    }
    let answer = confirm::send(&client, &call.request, cli.json)?;
    let answer = match call.then {
        Then::Print => answer,
        Then::Job => to_the_end(&client, &answer["id"], cli.json)?,
        Then::Scrub => {
            to_the_end(&client, &answer["job"], cli.json)?;
            client.send(&scrub_status())?
        }
    };
    print::answer(&answer, &call.view, cli.json);
    Ok(print::exit_code(&answer, &call.view))
}

/// All lines of the audit log, as they are in its file.
fn export_audit(client: &Client) -> Result<ExitCode, Failure> {
    let mut after = 0;
    loop {
        let request =
            Request { method: Method::Get, path: format!("/audit/export?after={after}"), body: None };
        let answer = client.send(&request)?;
        let lines = answer["lines"].as_array().map(Vec::as_slice).unwrap_or_default();
        lines.iter().filter_map(|line| line.as_str()).for_each(print::text);
        match answer["next"].as_u64() {
            Some(next) if next > after => after = next,
            _ => return Ok(ExitCode::SUCCESS),
        }
    }
}

/// Writes a diagnostic bundle, for the eyes of its owner first.
fn bundle(client: &Client, output: Option<&Path>) -> Result<ExitCode, Failure> {
    let bytes = client.fetch("/system/diag/bundle")?;
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let file = output.map_or_else(|| PathBuf::from(format!("vtl-diag-{seconds}.tar.gz")), Path::to_owned);
    let made = File::options().write(true).create_new(true).mode(0o600).open(&file);
    made.and_then(|mut open| open.write_all(&bytes))
        .map_err(|error| Failure::Local(format!("cannot write {}: {error}", file.display())))?;
    print::text(&file.display().to_string());
    Ok(ExitCode::SUCCESS)
}

/// Longer files are no configuration.
const MAX_FILE: u64 = 1 << 20;

fn import(files: &[PathBuf], json: bool) -> Result<ExitCode, Failure> {
    let texts = files.iter().map(|file| Ok((file.display().to_string(), text_of(file)?)));
    let imported = quadstor::import(&texts.collect::<Result<Vec<_>, Failure>>()?);
    print::text(&if json {
        serde_json::json!(imported).to_string()
    } else {
        imported.text().trim_end().to_owned()
    });
    Ok(if imported.not_taken_over.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn text_of(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = File::open(file).and_then(|open| open.take(MAX_FILE + 1).read_to_string(&mut text));
    let failed = |why: &str| Failure::Local(format!("cannot read {}: {why}", file.display()));
    match read {
        Ok(bytes) if bytes as u64 > MAX_FILE => Err(failed("it is longer than 1 MiB")),
        Ok(_) => Ok(text),
        Err(error) => Err(failed(&error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_too_long_or_no_text_is_named_with_the_reason() {
        for (file, why) in [
            ("/there/is/none", "No such file"),
            ("/dev/zero", "longer than 1 MiB"),
            ("/proc/self/exe", "UTF-8"),
            ("/", "directory"),
        ] {
            let Err(Failure::Local(told)) = text_of(Path::new(file)) else { panic!("{file} was read") };
            assert!(told.contains(file) && told.contains(why), "{told}");
        }
    }
}
