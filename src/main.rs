//! `vtld`: starts, runs until a signal, stops cleanly.

use std::process::ExitCode;

use clap::Parser;
use vtld::args::Args;

fn main() -> ExitCode {
    // Whatever is made from here on is for its owner only.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    match vtld::run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vtld: {error}");
            ExitCode::FAILURE
        }
    }
}
