//! Chores of the project, as `cargo xtask COMMAND`.
//!
//! ```text
//! cargo xtask test [--long]          everything that CI checks; --long runs every count that an issue states
//! cargo xtask packages               only the Debian packages that the tests need
//! cargo xtask servers                only the servers that tests of remotes talk to, into the target folder
//! cargo xtask web                    only the web pages in a real browser
//! cargo xtask deps                   only the rules about which crate may use which
//! cargo xtask fuzz [--long]          only the fuzz targets
//! cargo xtask integration [NAME..]   only the cases with foreign clients (builds the daemon first)
//! cargo xtask deb [--as-built]       a Debian package; --as-built of the programs in target/release as they are
//! cargo xtask tarball                the programs linked statically, in a tarball
//! cargo xtask guest FILE             one script in a guest by hand, with everything it says
//! ```
//!
//! Plain `std` and a JSON reader, so that this compiles in a moment.

mod deps;
mod package;
mod packages;
mod servers;
mod steps;
mod tools;

use std::process::ExitCode;

use crate::package::Deb;

const USAGE: &str = "usage: cargo xtask test [--long] | packages | servers | web | deps | fuzz [--long] | integration [NAME..] | deb [--as-built] | tarball | guest FILE";

/// What a chore says when it fails; empty when it has said everything.
type Outcome<T> = Result<T, String>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["test"] => steps::test(false),
        ["test", "--long"] => steps::test(true),
        ["packages"] => packages::install_missing().map(|text| println!("{text}")),
        ["servers"] => servers::install().map(|text| println!("{text}")),
        ["web"] => steps::web(),
        ["deps"] => deps::check().map(|text| println!("{text}")),
        ["fuzz"] => tools::fuzz(false).map(|text| println!("{text}")),
        ["fuzz", "--long"] => tools::fuzz(true).map(|text| println!("{text}")),
        ["integration", names @ ..] => steps::integration(names),
        ["deb"] => package::deb(Deb::Release).map(|text| println!("{text}")),
        ["deb", "--as-built"] => package::deb(Deb::AsBuilt).map(|text| println!("{text}")),
        ["tarball"] => package::tarball().map(|text| println!("{text}")),
        ["guest", file] => steps::guest(file),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            if !trouble.is_empty() {
                eprintln!("{trouble}");
            }
            ExitCode::FAILURE
        }
    }
}
