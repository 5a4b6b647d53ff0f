//! `vtl`: every command is one request to the management API, and its answer printed as a table or as JSON.

use std::process::ExitCode;

use clap::Parser;
use vtl_client::command::{Cli, Then, scrub_status};
use vtl_client::follow::to_the_end;
use vtl_client::http::{Client, Failure};
use vtl_client::print;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(code) => code,
        Err(failure) => {
            print::failure("vtl", &failure, cli.json);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode, Failure> {
    let call = cli.command.call()?;
    let client = Client::new(&cli.connection)?;
    let answer = client.send(&call.request)?;
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
