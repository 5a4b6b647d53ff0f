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
    let answer = client.send(&call.request)?;
    print::answer(&answer, &call.view, cli.json);
    Ok(print::exit_code(&answer, &call.view))
}
