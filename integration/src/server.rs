//! The target under test: started, killed, stopped, started again on the same state.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::guest::Answer;
use crate::net::{Network, SERVER_ADDRESS};
use crate::process::{Running, output};
use crate::store_kind::StoreKind;
use crate::{Result, Trouble, bin_dir};

/// A start may replay a journal; longer than this is a finding.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(60);
/// A clean stop makes everything durable first.
pub(crate) const STOP_LIMIT: Duration = Duration::from_secs(60);

/// What a case may do with its target.
pub trait Server {
    /// Starts it and returns when it serves.
    fn start(&mut self) -> Result<()>;
    /// SIGKILL, or the power cut: nothing is said to the process.
    fn kill(&mut self);
    /// SIGTERM, then the end is awaited; any exit status but 0 is an error.
    fn stop(&mut self) -> Result<()>;
    /// An error when it ended by itself.
    fn check_alive(&mut self) -> Result<()>;
    /// Runs the management client with these words.
    fn client(&self, words: &[String]) -> Answer;
    /// Runs the client of the job list with these words.
    fn job_list(&self, _words: &[String]) -> Answer {
        Answer { status: 1, text: "its API is not reachable from the host".to_owned() }
    }
    /// The name of the library's iSCSI target.
    fn target(&self) -> &'static str;
    /// The address of its portal.
    fn portal(&self) -> String;
    /// How many drives its library has.
    fn drives(&self) -> u32;
}

/// Our daemon, from the release folder, on a state folder of its own.
pub struct Vtld {
    net: Rc<Network>,
    state: PathBuf,
    args: Vec<String>,
    doors: &'static Doors,
    running: Option<Running>,
}

/// Where a daemon listens in the namespace.
struct Doors {
    name: &'static str,
    iscsi_port: u16,
    /// Loopback.
    api: &'static str,
}

const FIRST: Doors = Doors { name: "vtld", iscsi_port: 3260, api: "127.0.0.1:8460" };
const SECOND: Doors = Doors { name: "vtld2", iscsi_port: 3261, api: "127.0.0.1:8461" };

/// The library that an empty state begins with.
pub(crate) const VTLD_TARGET: &str = "iqn.2026-11.internal.vtl:lib0";
/// How many drives it has.
pub(crate) const VTLD_DRIVES: u32 = 2;
impl Vtld {
    /// Not started yet; `dir` holds the state.
    pub fn new(net: &Rc<Network>, dir: &Path, args: &[String]) -> Self {
        let state = dir.join("state");
        Self { net: Rc::clone(net), state, args: args.to_vec(), doors: &FIRST, running: None }
    }

    /// Another one beside the first, for what goes from one server to another.
    pub fn second(net: &Rc<Network>, dir: &Path, args: &[String]) -> Self {
        Self { doors: &SECOND, ..Self::new(net, dir, args) }
    }

    /// A client of its API with these words.
    pub fn program(&self, name: &str, words: &[String]) -> Answer {
        let binary = match binary(name) {
            Ok(binary) => binary,
            Err(trouble) => return Answer { status: 127, text: trouble.0 },
        };
        let mut command = self.net.command(binary);
        command.env("VTL_API", format!("http://{}", self.doors.api));
        command.env("VTL_TOKEN_FILE", self.state.join("api.token")).args(words);
        answer_of(&mut command)
    }
}

impl Server for Vtld {
    fn start(&mut self) -> Result<()> {
        let binary = binary("vtld")?;
        let mut command = self.net.command(binary);
        command.arg("--state").arg(&self.state);
        let Doors { name, iscsi_port, api } = self.doors;
        command.args(["--listen", &format!("{SERVER_ADDRESS}:{iscsi_port}"), "--api", api]);
        // Wider than loopback is refused without a rule; the namespace is closed, and CHAP has a case of its own.
        if !self.args.iter().any(|arg| arg.starts_with("iscsi.allow_any_initiator")) {
            command.args(["--set", "iscsi.allow_any_initiator=true"]);
        }
        let (variable, value) = StoreKind::env();
        command.args(&self.args).env(variable, value);
        let mut running = Running::start(name, &mut command)?;
        running.wait_for_line("ready", START_LIMIT)?;
        self.running = Some(running);
        Ok(())
    }

    fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.kill();
        }
    }

    fn stop(&mut self) -> Result<()> {
        stop(&mut self.running)
    }

    fn check_alive(&mut self) -> Result<()> {
        check_alive(self.running.as_mut(), self.doors.name)
    }

    fn client(&self, words: &[String]) -> Answer {
        self.program("vtl", &[&["--json".to_owned()], words].concat())
    }

    fn job_list(&self, words: &[String]) -> Answer {
        self.program("impexp", words)
    }

    fn target(&self) -> &'static str {
        VTLD_TARGET
    }

    fn portal(&self) -> String {
        SERVER_ADDRESS.to_owned()
    }

    fn drives(&self) -> u32 {
        VTLD_DRIVES
    }
}

/// Debian's tgtd with one tape drive and a changer of eight slots, two of them with cartridges.
pub struct Tgt {
    net: Rc<Network>,
    media: PathBuf,
    control: u32,
    running: Option<Running>,
}

static NEXT_TGT: AtomicU32 = AtomicU32::new(0);
const TGT_TARGET: &str = "iqn.2026-11.internal.vtl:tgt";
/// Label and MiB; the first is large enough for btape.
const TGT_CARTRIDGES: [(&str, &str); 2] = [("TGT001L8", "1600"), ("TGT002L8", "300")];

impl Tgt {
    /// Not started yet; `dir` holds the images.
    pub fn new(net: &Rc<Network>, dir: &Path) -> Self {
        // tgt finds its daemon by the number of its control socket; ours must not be another daemon's.
        let control = 1 + (std::process::id() + (NEXT_TGT.fetch_add(1, Ordering::Relaxed) << 10)) % 30_000;
        Self { net: Rc::clone(net), media: dir.join("media"), control, running: None }
    }

    fn control(&self) -> String {
        self.control.to_string()
    }

    fn make_media(&self) -> Result<()> {
        if self.media.exists() {
            return Ok(());
        }
        std::fs::create_dir_all(&self.media).map_err(Trouble::with("media of tgt"))?;
        // The drive's own file must be an image too; the changer puts another in its place.
        for (label, size) in TGT_CARTRIDGES.into_iter().chain([("empty", "1")]) {
            let mut command = Command::new("tgtimg");
            command.args(["--op", "new", "--device-type", "tape", "--size", size, "--type", "data"]);
            command.args(["--barcode", label, "--file"]).arg(self.media.join(label));
            output(&mut command)?;
        }
        std::fs::write(self.media.join("changer"), "").map_err(Trouble::with("changer's file of tgt"))
    }

    fn admin(&self, words: &str) -> Result<()> {
        let mut command = Command::new("tgtadm");
        command.args(["-C", &self.control(), "--lld", "iscsi"]).args(words.split_whitespace());
        output(&mut command).map(drop)
    }

    fn configure(&self) -> Result<()> {
        let media = self.media.display();
        self.admin(&format!("--mode target --op new --tid 1 -T {TGT_TARGET}"))?;
        self.admin("--mode target --op bind --tid 1 -I ALL")?;
        let unit = "--mode logicalunit --tid 1";
        self.admin(&format!("{unit} --op new --lun 1 --device-type tape -b {media}/empty"))?;
        self.admin(&format!("{unit} --op new --lun 2 --device-type changer -b {media}/changer"))?;
        self.admin(&format!("{unit} --op update --lun 2 --params media_home={media}"))?;
        let mut elements = vec![
            "element_type=4,start_address=1,quantity=1".to_owned(),
            "element_type=4,address=1,tid=1,lun=1".to_owned(),
            "element_type=1,start_address=16,quantity=1".to_owned(),
            "element_type=2,start_address=1024,quantity=8".to_owned(),
        ];
        for (slot, (label, _)) in TGT_CARTRIDGES.iter().enumerate() {
            elements.push(format!("element_type=2,address={},barcode={label},sides=1", 1024 + slot));
        }
        for element in elements {
            self.admin(&format!("{unit} --op update --lun 2 --params {element}"))?;
        }
        Ok(())
    }
}

impl Server for Tgt {
    fn start(&mut self) -> Result<()> {
        self.make_media()?;
        std::fs::create_dir_all("/run/tgtd").map_err(Trouble::with("/run/tgtd"))?;
        let mut command = self.net.command("tgtd");
        command.args(["-f", "-C", &self.control(), "--iscsi", &format!("portal={SERVER_ADDRESS}:3260")]);
        let mut running = Running::start("tgtd", &mut command)?;
        let end = std::time::Instant::now() + START_LIMIT;
        while let Err(trouble) = self.admin("--mode sys --op show") {
            check_alive(Some(&mut running), "tgtd")?;
            if std::time::Instant::now() > end {
                return Err(trouble);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        self.running = Some(running);
        self.configure()
    }

    fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.kill();
        }
    }

    fn stop(&mut self) -> Result<()> {
        // Without a shutdown order tgtd ignores the signal while sessions exist.
        self.kill();
        Ok(())
    }

    fn check_alive(&mut self) -> Result<()> {
        check_alive(self.running.as_mut(), "tgtd")
    }

    fn client(&self, _: &[String]) -> Answer {
        Answer { status: 1, text: "tgt has no vtl".to_owned() }
    }

    fn target(&self) -> &'static str {
        TGT_TARGET
    }

    fn portal(&self) -> String {
        SERVER_ADDRESS.to_owned()
    }

    fn drives(&self) -> u32 {
        1
    }
}

/// Nothing on the host: the case's guest is the server's machine, too.
pub struct NoServer;

impl Server for NoServer {
    fn start(&mut self) -> Result<()> {
        Ok(())
    }

    fn kill(&mut self) {}

    fn stop(&mut self) -> Result<()> {
        Ok(())
    }

    fn check_alive(&mut self) -> Result<()> {
        Ok(())
    }

    fn client(&self, _: &[String]) -> Answer {
        Answer { status: 1, text: "the guest asks its own server".to_owned() }
    }

    fn target(&self) -> &'static str {
        VTLD_TARGET
    }

    fn portal(&self) -> String {
        "127.0.0.1".to_owned()
    }

    fn drives(&self) -> u32 {
        VTLD_DRIVES
    }
}

/// Runs a command to its end and makes an answer of it; standard error goes along when it fails.
pub fn answer_of(command: &mut Command) -> Answer {
    match command.stdin(std::process::Stdio::null()).output() {
        Err(cause) => Answer { status: 126, text: format!("{command:?}: {cause}") },
        Ok(output) => {
            let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
            if !output.status.success() {
                text.push_str(&String::from_utf8_lossy(&output.stderr));
            }
            let status = output.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(125);
            Answer { status, text }
        }
    }
}

/// The path of a program of ours; not built is an error that says how.
pub fn binary(name: &str) -> Result<PathBuf> {
    let path = bin_dir().join(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(Trouble(format!("{} is missing: cargo build --release --workspace makes it", path.display())))
}

fn stop(running: &mut Option<Running>) -> Result<()> {
    let Some(mut running) = running.take() else { return Ok(()) };
    running.signal("TERM")?;
    let status = running.wait(STOP_LIMIT)?;
    if status.success() {
        Ok(())
    } else {
        Err(Trouble(format!("stopped by SIGTERM, it ended with {status}")))
    }
}

fn check_alive(running: Option<&mut Running>, name: &str) -> Result<()> {
    match running.map(Running::ended) {
        None | Some(Ok(None)) => Ok(()),
        Some(Ok(Some(status))) => Err(Trouble(format!("{name} ended by itself: {status}"))),
        Some(Err(trouble)) => Err(trouble),
    }
}
