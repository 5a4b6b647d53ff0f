//! The real program: started in a folder of its own, killed or stopped by its process id.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Initiator, LIB0, Login, PATIENCE};

/// A running daemon.
pub struct Server {
    child: Child,
    folder: Folder,
    arguments: Vec<String>,
    /// Programs that it finds before those of the machine.
    programs: Option<PathBuf>,
    /// What it printed until it was ready.
    pub welcome: Vec<String>,
    pub portal: SocketAddr,
    pub api: SocketAddr,
}

/// An answer of the API with its headers.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All of a name that may come more than once.
    pub fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

/// The state folder: a temporary one, or one that the test gives.
enum Folder {
    Temporary(tempfile::TempDir),
    Given(PathBuf),
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Self::Temporary(dir) => dir.path(),
            Self::Given(path) => path,
        }
    }
}

impl Server {
    /// Starts it on an empty state.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_in(Folder::Temporary(tempfile::tempdir().unwrap()), arguments, None)
    }

    /// Starts it with its state in `folder`/state.
    pub fn start_at(folder: &Path, arguments: &[&str]) -> Self {
        Self::start_in(Folder::Given(folder.to_owned()), arguments, None)
    }

    /// Starts it on an empty state where it finds the programs of this folder before those of the machine.
    pub fn start_with_programs(programs: &Path, arguments: &[&str]) -> Self {
        let folder = Folder::Temporary(tempfile::tempdir().unwrap());
        Self::start_in(folder, arguments, Some(programs.to_owned()))
    }

    fn start_in(folder: Folder, arguments: &[&str], programs: Option<PathBuf>) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|&a| a.to_owned()).collect();
        let (child, welcome) = spawn(folder.path(), &arguments, programs.as_deref());
        let (portal, api) = addresses(&welcome);
        Self { child, folder, arguments, programs, welcome, portal, api }
    }

    /// Runs it where it must refuse to start; its exit code and what it said.
    pub fn refused(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
        let mut child = command(folder, arguments.iter().map(|&a| a.to_owned()))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let end = Instant::now() + PATIENCE;
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > end {
                child.kill().unwrap();
                panic!("it started, and should have refused");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let Output { status, stderr, .. } = child.wait_with_output().unwrap();
        (status.code(), String::from_utf8(stderr).unwrap())
    }

    /// SIGKILL: no chance to write anything.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < end, "it does not stop");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The same state once more.
    pub fn start_again(&mut self) {
        let (child, welcome) = spawn(self.folder.path(), &self.arguments, self.programs.as_deref());
        (self.portal, self.api) = addresses(&welcome);
        (self.child, self.welcome) = (child, welcome);
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Everything that it has logged, over all starts in this folder.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.path().join("log")).unwrap()).into_owned()
    }

    /// Resident memory in KiB, as the kernel counts it.
    pub fn resident_kib(&self) -> u64 {
        self.memory_kib("VmRSS:")
    }

    /// The most that it had since the last [`Server::reset_peak_kib`].
    pub fn peak_kib(&self) -> u64 {
        self.memory_kib("VmHWM:")
    }

    /// Resident memory now, which is the peak from here on (proc(5), clear_refs).
    pub fn reset_peak_kib(&self) -> u64 {
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
        self.peak_kib()
    }

    fn memory_kib(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Open file descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    pub fn token(&self) -> String {
        fs::read_to_string(self.state().join("api.token")).unwrap().trim().to_owned()
    }

    /// A session with the default library.
    pub fn session(&self, isid: u8) -> Initiator {
        self.session_with(LIB0, isid)
    }

    pub fn session_with(&self, target: &str, isid: u8) -> Initiator {
        Initiator::login(self.portal, &Login::to(target).isid(isid)).expect("the login")
    }

    /// A request to the API with the token; status and body.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let bearer = format!("Bearer {}", self.token());
        self.ask_with(method, path, body, &[("Authorization", &bearer)])
    }

    /// A request that must succeed.
    pub fn api(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask(method, path, body);
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    }

    pub fn get(&self, path: &str) -> Value {
        self.api("GET", path, &Value::Null)
    }

    /// A request whose answer nobody waits for; it is given up with the connection.
    pub fn send(&self, method: &str, path: &str, body: &Value) -> TcpStream {
        let bearer = format!("Bearer {}", self.token());
        self.send_with(method, path, body, &[("Authorization", &bearer)])
    }

    fn send_with(&self, method: &str, path: &str, body: &Value, headers: &[(&str, &str)]) -> TcpStream {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut request = format!("{method} /api/v1{path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            request += &format!("Host: {}\r\n", self.api);
        }
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        let mut socket = TcpStream::connect(self.api).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        socket
    }

    /// Sends these bytes, and reads to the end of the connection.
    pub fn raw(&self, request: &str) -> Answer {
        let mut socket = TcpStream::connect(self.api).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // The server may have answered, and closed, before it has read all.
        drop(socket.write_all(request.as_bytes()));
        let mut bytes = Vec::new();
        let ended = socket.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { panic!("no answer: {text} {ended:?}") };
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        };
        Answer { status, headers: lines.filter_map(header).collect(), body: body.to_owned() }
    }

    /// A request with these headers; `Host` is this machine unless it is among them.
    pub fn ask_with(&self, method: &str, path: &str, body: &Value, headers: &[(&str, &str)]) -> (u16, Value) {
        let (status, _, answer) = self.ask_whole(method, path, body, headers);
        (status, answer)
    }

    /// The same with the answer's head, in small letters.
    pub fn ask_whole(
        &self,
        method: &str,
        path: &str,
        body: &Value,
        headers: &[(&str, &str)],
    ) -> (u16, String, Value) {
        let mut socket = self.send_with(method, path, body, headers);
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {answer}"));
        (status, head.to_owned(), body)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- log of the daemon ---\n{}", self.log());
        }
    }
}

fn command(folder: &Path, arguments: impl Iterator<Item = String>) -> Command {
    let arguments: Vec<String> = arguments.collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_vtld"));
    command.arg("--state").arg(folder.join("state")).stdin(Stdio::null());
    for (option, loopback) in [("--listen", "127.0.0.1:0"), ("--api", "127.0.0.1:0")] {
        if !arguments.iter().any(|a| a == option) {
            command.args([option, loopback]);
        }
    }
    command.args(arguments);
    command
}

fn spawn(folder: &Path, arguments: &[String], programs: Option<&Path>) -> (Child, Vec<String>) {
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let mut command = command(folder, arguments.iter().cloned());
    if let Some(programs) = programs {
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", programs.display()));
    }
    let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (lines_to, lines) = mpsc::channel();
    // Also after it is ready: a full pipe must not stop it.
    std::thread::spawn(move || output.lines().map_while(Result::ok).all(|line| lines_to.send(line).is_ok()));
    let mut welcome = Vec::new();
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) => welcome.push(line),
            Err(_) => {
                drop(child.kill());
                drop(child.wait());
                let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
                panic!("it is not ready; it printed {welcome:?} and logged\n{log}");
            }
        }
        if welcome.last().is_some_and(|line| line.starts_with("ready")) {
            return (child, welcome);
        }
    }
}

/// `ready: iSCSI on A:P, ..` and `.. http://A:P (token ..`.
fn addresses(welcome: &[String]) -> (SocketAddr, SocketAddr) {
    let ready = welcome.last().unwrap();
    let portal = ready.rsplit_once(" on ").unwrap().1.split(", ").next().unwrap().parse().unwrap();
    let is_api = |line: &&String| line.starts_with("API and web address: ");
    let api = welcome.iter().find(is_api).unwrap().split_once("://").unwrap().1;
    (portal, api.split(' ').next().unwrap().parse().unwrap())
}
