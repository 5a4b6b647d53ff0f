//! An S3 server, when one is on this machine: its bucket is the lab's second place for exports.

use std::path::PathBuf;
use std::process::Command;

use super::Result;
use super::folder::Lab;
use super::narrator::Narrator;
use super::secret;
use super::server::{in_path, output, wait_for};

/// The one that tests of remotes use, too; it keeps objects in memory, and takes any credentials.
const PROGRAM: &str = "moto_server";
const NAME: &str = "s3";
const BUCKET: &str = "vtl-lab";
/// What it prints before its address.
const RUNNING: &str = "Running on ";

/// A bucket that is there.
pub struct Bucket {
    pub endpoint: String,
    pub name: &'static str,
    pub access_key: PathBuf,
    pub secret_key: PathBuf,
}

impl Bucket {
    /// Starts the server and makes the bucket; none when the machine has no such server.
    pub fn start(lab: &mut Lab, say: &mut Narrator) -> Result<Option<Self>> {
        let (Some(program), Some(curl)) = (in_path(PROGRAM), in_path("curl")) else {
            say.line(&format!("no {PROGRAM} and curl in PATH: the lab goes on without S3"));
            return Ok(None);
        };
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", "0"]);
        say.command(PROGRAM, command.get_args());
        let mut child = lab.start(NAME, &mut command)?;
        let said = wait_for(&mut child, &lab.log(NAME), |line| line.contains(RUNNING))?;
        let endpoint = endpoint(&said).ok_or_else(|| format!("{PROGRAM} does not tell its address"))?;
        lab.note_address(NAME, &endpoint)?;

        let mut make = Command::new(curl);
        make.args(["--fail", "--silent", "--show-error", "-X", "PUT", &format!("{endpoint}/{BUCKET}")]);
        say.command("curl", make.get_args());
        output(&mut make)?;
        let [access_key, secret_key] = ["access-key", "secret-key"].map(|name| lab.path(name));
        secret::make(&access_key)?;
        secret::make(&secret_key)?;
        Ok(Some(Self { endpoint, name: BUCKET, access_key, secret_key }))
    }
}

fn endpoint(said: &str) -> Option<String> {
    let (_, rest) = said.split_once(RUNNING)?;
    let address = rest.split_whitespace().next()?;
    address.starts_with("http://127.0.0.1:").then(|| address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_the_one_that_the_server_prints() {
        let said =
            "WARNING: a development server.\n * Running on http://127.0.0.1:42379\nPress CTRL+C to quit\n";
        assert_eq!(endpoint(said), Some("http://127.0.0.1:42379".to_owned()));
        assert_eq!(endpoint(" * Running on http://192.0.2.1:1\n"), None, "on loopback or not at all");
    }
}
