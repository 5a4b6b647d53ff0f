//! What a case may have beside its server: a second daemon, an S3 server, and a folder on the host for commands there.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::guest::Answer;
use crate::net::Network;
use crate::process::Running;
use crate::server::{Server, Vtld, answer_of};
use crate::{Result, Trouble, bin_dir, here};

/// Its place on loopback of the namespace.
const S3_PORT: u16 = 9000;
/// Python takes its time under load.
const S3_LIMIT: Duration = Duration::from_secs(60);

/// All of it; nothing runs before a case asks for it.
pub struct Company {
    net: Rc<Network>,
    folder: PathBuf,
    second: Vtld,
    s3: Option<Running>,
}

impl Company {
    /// `dir` is the run's, `args` are more words for vtld's command line: those of the first.
    pub fn new(net: &Rc<Network>, dir: &Path, args: &[String]) -> Result<Self> {
        let folder = dir.join("work");
        std::fs::create_dir_all(&folder).map_err(Trouble::with(folder.display().to_string()))?;
        let none = ["--set", "library.default=none"].map(str::to_owned);
        let args = [&none, args].concat();
        let second = Vtld::second(net, &dir.join("second"), &args);
        Ok(Self { net: Rc::clone(net), folder, second, s3: None })
    }

    /// The folder for a case's files on the host.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Does what a script asks, when it is for somebody here.
    pub fn reply(&mut self, words: &[String]) -> Option<Answer> {
        let (first, rest) = words.split_first()?;
        let answer = match (first.as_str(), rest) {
            ("second", [verb]) => answer(match verb.as_str() {
                "start" => self.second.start(),
                "stop" => self.second.stop(),
                "kill" => {
                    self.second.kill();
                    Ok(())
                }
                _ => return None,
            }),
            ("vtl2", words) => self.second.client(words),
            ("s3", [verb]) if verb == "start" => answer(self.start_s3()),
            ("sh", [script]) => self.shell(script),
            _ => return None,
        };
        Some(answer)
    }

    /// An error when the second daemon ended by itself; else it is stopped, and everything is over.
    pub fn end(&mut self) -> Result<()> {
        self.second.check_alive()?;
        self.second.stop()
    }

    fn shell(&self, script: &str) -> Answer {
        let mut command = self.net.command("bash");
        command.args(["-euc", script]).current_dir(&self.folder).env("BIN", bin_dir());
        answer_of(&mut command)
    }

    fn start_s3(&mut self) -> Result<()> {
        let program = here().join("../target/tools/moto/bin/moto_server");
        if !program.exists() {
            return Err(Trouble(format!(
                "{} is missing: cargo xtask servers installs it",
                program.display()
            )));
        }
        let mut command = self.net.command(program);
        command.args(["-H", "127.0.0.1", "-p", &S3_PORT.to_string()]);
        self.s3 = Some(Running::start("s3", &mut command)?);
        let end = Instant::now() + S3_LIMIT;
        let asks = format!("exec 3<>/dev/tcp/127.0.0.1/{S3_PORT}");
        while self.shell(&asks).status != 0 {
            if Instant::now() > end {
                return Err(Trouble("the S3 server takes no connection".to_owned()));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}

fn answer(result: Result<()>) -> Answer {
    match result {
        Ok(()) => Answer { status: 0, text: String::new() },
        Err(trouble) => Answer { status: 1, text: trouble.0 },
    }
}
