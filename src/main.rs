//! `vtld`: starts, runs until a signal, stops cleanly.

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use vtld::args::Args;

fn main() -> ExitCode {
    // Whatever is made from here on is for its owner only.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let args = Args::parse();
    let done = match &args.write_manual {
        Some(folder) => vtl_manual::write(&Args::command(), "8", folder).map_err(|error| error.to_string()),
        None if args.upgrade_plan => vtld::upgrade_plan(&args).map(|table| println!("{table}")),
        None if args.check => vtld::check(&args).map(|told| println!("{told}")),
        None if args.unseal_secrets => vtld::unseal(&args).map(|told| println!("{told}")),
        None => vtld::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vtld: {error}");
            ExitCode::FAILURE
        }
    }
}
