//! The lab's servers: each is `vtld` with a state folder of its own, asked by the program `vtl` as a person would.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Result;
use super::folder::{Lab, about};
use super::narrator::Narrator;
use super::process::without_proxies;

/// A start on an empty state takes a second.
const READY: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);
/// Variables that would open another server than the lab's.
const NOT_OURS: [&str; 3] = ["VTL_TOKEN", "VTL_CA_FILE", "VTL_PIN"];
/// Any free port.
const ANY_PORT: &str = "127.0.0.1:0";

/// The programs that the lab runs.
pub struct Programs {
    pub vtl: PathBuf,
    pub vtld: PathBuf,
    pub openssl: PathBuf,
}

impl Programs {
    /// `vtld` beside this program, else in PATH, unless it is named.
    pub fn find(vtld: Option<&Path>) -> Result<Self> {
        let vtl =
            std::env::current_exe().map_err(|error| format!("this program cannot be found: {error}"))?;
        let beside = vtl.with_file_name("vtld");
        let vtld = match vtld {
            Some(named) => named.exists().then(|| named.to_owned()),
            None => Some(beside).filter(|file| file.exists()).or_else(|| in_path("vtld")),
        };
        Ok(Self {
            vtl,
            vtld: vtld.ok_or("there is no vtld beside vtl or in PATH; name it with --vtld FILE")?,
            openssl: in_path("openssl").ok_or("openssl is needed to make a key, and is not in PATH")?,
        })
    }
}

/// The first file of this name in the folders of PATH.
pub fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// A server that answers.
pub struct Server {
    pub name: &'static str,
    /// Address of web pages and API.
    pub api: String,
    pub portal: SocketAddr,
    vtl: PathBuf,
    token: PathBuf,
}

impl Server {
    /// Starts one on an empty state and waits until it is ready.
    pub fn start(lab: &mut Lab, say: &mut Narrator, programs: &Programs, name: &'static str) -> Result<Self> {
        let state = lab.path(name);
        let mut command = Command::new(&programs.vtld);
        command.arg("--state").arg(&state).args(["--listen", ANY_PORT, "--api", ANY_PORT]);
        say.command("vtld", command.get_args());
        let mut child = lab.start(name, &mut command)?;
        let welcome = wait_for(&mut child, &lab.output(name), |line| line.starts_with("ready"))?;
        let (api, portal) = addresses(&welcome).ok_or("vtld does not tell its addresses")?;
        lab.note_address(name, &api)?;
        Ok(Self { name, api, portal, vtl: programs.vtl.clone(), token: state.join("api.token") })
    }

    /// What a person would type before commands for this server.
    pub fn choose(&self, say: &mut Narrator) {
        say.line(&format!(
            "$ export VTL_API={} VTL_TOKEN_FILE={}",
            self.api,
            super::narrator::quoted(self.token.as_os_str())
        ));
    }

    /// Runs one command of `vtl`, and says so; its answer as JSON.
    pub fn vtl(&self, say: &mut Narrator, words: &[&str]) -> Result<Value> {
        say.command("vtl", words.iter().map(OsStr::new));
        let mut command = Command::new(&self.vtl);
        command.arg("--json").args(words).env("VTL_API", &self.api).env("VTL_TOKEN_FILE", &self.token);
        for name in NOT_OURS {
            command.env_remove(name);
        }
        let told = output(&mut command)?;
        serde_json::from_str(&told)
            .map_err(|error| format!("vtl {} answers no JSON: {error}", words.join(" ")))
    }
}

/// Runs it to its end; what it printed. Its own words are in the error.
pub fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let done = without_proxies(command)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let words: Vec<OsString> = command.get_args().map(OsStr::to_owned).collect();
    let said = String::from_utf8_lossy(&done.stderr);
    Err(format!(
        "{program} {}: {}\n{}",
        words.join(OsStr::new(" ")).to_string_lossy(),
        done.status,
        said.trim_end()
    ))
}

/// Waits until the file has a line for which `found` holds; the text up to then.
pub fn wait_for(child: &mut Child, file: &Path, found: impl Fn(&str) -> bool) -> Result<String> {
    let end = Instant::now() + READY;
    loop {
        let ended = child.try_wait().map_err(|error| error.to_string())?;
        let text = fs::read_to_string(file).map_err(|error| about(file, &error))?;
        // Without its end a line is not there yet.
        let whole = text.rfind('\n').and_then(|end| text.get(..end)).unwrap_or_default();
        if whole.lines().any(&found) {
            return Ok(text);
        }
        if let Some(status) = ended {
            return Err(format!("it ended before it was ready: {status}"));
        }
        if Instant::now() > end {
            return Err(format!("it is not ready after {} s", READY.as_secs()));
        }
        sleep(LOOK);
    }
}

/// API and portal in what vtld prints when it starts.
fn addresses(welcome: &str) -> Option<(String, SocketAddr)> {
    let after = |begin: &str| welcome.lines().find_map(|line| line.strip_prefix(begin));
    let api = after("API and web address: ")?.split(' ').next()?;
    let portal = after("ready: iSCSI on ")?.split(", ").next()?.trim().parse().ok()?;
    Some((api.to_owned(), portal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_that_vtld_prints() {
        let welcome = "vtld 0.1.0: state in /s\n\
                       API and web address: http://127.0.0.1:8461 (token in /s/api.token)\n\
                       first user: http://127.0.0.1:8461/#setup=x (counts for an hour, once)\n\
                       ready: iSCSI on 127.0.0.1:3261, [::1]:3261\n";
        let wanted = ("http://127.0.0.1:8461".to_owned(), "127.0.0.1:3261".parse().unwrap());
        assert_eq!(addresses(welcome), Some(wanted));
        assert_eq!(addresses("ready: iSCSI on 127.0.0.1:3261\n"), None);
    }

    #[test]
    fn a_program_that_ends_before_it_is_ready_is_told_and_half_a_line_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("out");
        fs::write(&file, "begin\nready").unwrap();
        let mut child = Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap();
        let told = wait_for(&mut child, &file, |line| line.starts_with("ready")).unwrap_err();
        assert_eq!(told, "it ended before it was ready: exit status: 3");
        fs::write(&file, "begin\nready: all\n").unwrap();
        let text = wait_for(&mut child, &file, |line| line.starts_with("ready")).unwrap();
        assert_eq!(text, "begin\nready: all\n");
    }

    #[test]
    fn a_command_that_fails_is_told_with_its_own_words() {
        let told = output(Command::new("sh").args(["-c", "echo no such tape >&2; exit 4"])).unwrap_err();
        assert!(told.ends_with("exit status: 4\nno such tape"), "{told}");
    }
}
