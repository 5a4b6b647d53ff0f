//! Servers that others wrote, on loopback, each in a folder below `target/tools` where `cargo xtask servers` puts it.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use tempfile::TempDir;

/// Looks for the server's port, 100 ms apart: two minutes for a busy machine.
const MAX_LOOKS: u32 = 1_200;

/// A server that runs. It ends when its input does, that is with this process.
pub struct Server {
    pub port: u16,
    /// Its working folder.
    pub folder: TempDir,
    _process: Mutex<Child>,
}

impl Server {
    /// Starts a program with what `args` says for a port and its folder.
    pub fn start(program: &Path, args: impl FnOnce(u16, &Path) -> Vec<String>) -> Self {
        assert!(
            program.exists(),
            "a server of the tests is not installed at {}; `cargo xtask servers` installs it",
            program.display()
        );
        let folder = TempDir::new().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script = r#""$0" "$@" >log 2>&1 & server=$!; cat >/dev/null; kill $server; wait $server"#;
        let process = Command::new("sh")
            .args(["-c", script])
            .arg(program)
            .args(args(port, folder.path()))
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { port, folder, _process: Mutex::new(process) };
        for _ in 0..MAX_LOOKS {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return server;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{} did not come up: {}", program.display(), server.log());
    }

    /// What it has said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// A file below `target/tools`.
pub fn tool(path: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(target).join("tools").join(path)
}
