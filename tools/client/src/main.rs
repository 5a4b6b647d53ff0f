//! `vtl`: every command is one request to the management API, and its answer printed as a table or as JSON.

mod command;
mod http;
mod print;

use std::process::ExitCode;

use clap::Parser;

use crate::command::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(code) => code,
        Err(failure) => {
            print::failure(&failure, cli.json);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode, http::Failure> {
    let call = cli.command.call()?;
    let client = http::Client::new(cli)?;
    let mut answer = client.send(&call.request)?;
    if call.wait {
        answer = wait(&client, &answer)?;
    }
    print::answer(&answer, &call.view, cli.json);
    Ok(print::exit_code(&answer, &call.view))
}

/// How often it is asked whether a pass has ended.
const ASK: std::time::Duration = std::time::Duration::from_millis(500);

/// Until the pass that `begun` names has ended, or another one has taken its place.
fn wait(client: &http::Client, begun: &serde_json::Value) -> Result<serde_json::Value, http::Failure> {
    loop {
        let now = client.send(&command::scrub_status())?;
        let is_running = now["state"] == "running" && now["pass"] == begun["pass"];
        if !is_running && now["last_pass"] == begun["pass"] {
            return Ok(now);
        }
        if !is_running {
            let text = "another pass has begun before this one ended: see vtl store scrub --status";
            return Err(http::Failure::Local(text.to_owned()));
        }
        std::thread::sleep(ASK);
    }
}
