//! The targets under measurement: `vtld` and Debian's `tgtd`, both on loopback, stopped by their process ids.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use vtl_initiator::{Initiator, failure};

/// The daemon's state folder in the server's.
const STATE: &str = "state";
const START_LIMIT: Duration = Duration::from_secs(20);

/// `store.direct_io`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Direct {
    Auto,
    On,
    Off,
}

impl Direct {
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

/// Which target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ours, without deduplication; with the drives' compression on or off.
    Vtld {
        /// Data compression enabled in the drive.
        compress: bool,
    },
    /// Ours with deduplication and compression.
    Dedupe {
        /// Average length of a chunk.
        chunk_kib: u32,
        /// Packs are written past the page cache.
        direct_io: Direct,
    },
    /// Debian's tgt with emulated tape drives.
    Tgt,
}

impl Kind {
    /// A short name for the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vtld { compress: false } => "vtl",
            Self::Vtld { compress: true } => "vtl+zstd",
            Self::Dedupe { .. } => "vtl+dedupe",
            Self::Tgt => "tgt",
        }
    }
}

/// A running target.
pub struct Server {
    kind: Kind,
    child: Child,
    folder: PathBuf,
    port: u16,
    api: u16,
    client: PathBuf,
}

/// What vtld is started with.
#[derive(Clone, Copy)]
pub struct Make<'a> {
    /// The program.
    pub vtld: &'a Path,
    /// zstd's level, where there is compression.
    pub level: i32,
    /// More settings, KEY=VALUE; the last one of a key counts.
    pub set: &'a [String],
}

impl Server {
    /// Starts `kind` with its files below `folder`; each drive gets a blank cartridge of at least `capacity` bytes.
    pub fn start(kind: Kind, folder: &Path, make: Make<'_>, drives: u8, capacity: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let port = free_port()?;
        let api = free_port()?;
        let child = match kind {
            // The blocks come from a pool that is read again and again: with deduplication most of them would be known.
            Kind::Vtld { .. } => {
                let level = format!("store.compression_level={}", make.level);
                start_vtld(make, folder, [port, api], &[&level, "store.dedupe=false"])?
            }
            Kind::Dedupe { chunk_kib, direct_io } => {
                let direct_io = format!("store.direct_io={}", direct_io.word());
                start_vtld(
                    make,
                    folder,
                    [port, api],
                    &[&format!("store.chunk_size={chunk_kib}k"), &direct_io],
                )?
            }
            Kind::Tgt => start_tgt(folder, port)?,
        };
        let client = make.vtld.with_file_name("vtl");
        let server = Self { kind, child, folder: folder.to_owned(), port, api, client };
        match kind {
            Kind::Vtld { .. } | Kind::Dedupe { .. } => {
                (0..drives).try_for_each(|n| server.move_medium(slot(n), drive(n)))?
            }
            Kind::Tgt => server.set_up_tgt(drives, capacity)?,
        }
        Ok(server)
    }

    /// A session with drive `number`, from 0, ready for use.
    pub fn drive(&self, number: u8) -> io::Result<Initiator> {
        let mut session = Initiator::login(self.address(), self.target(), number + 1, number + 1)?;
        session.run_good(&[0; 6], 0)?;
        if let Kind::Vtld { compress } = self.kind {
            set_compression(&mut session, compress)?;
        }
        Ok(session)
    }

    /// The client, set to the daemon's API.
    pub fn client_command(&self) -> Command {
        let mut command = Command::new(&self.client);
        command.env("VTL_API", format!("http://127.0.0.1:{}", self.api));
        command.env("VTL_TOKEN_FILE", self.folder.join(STATE).join("api.token"));
        command
    }

    /// CPU seconds that the server has used, user and system.
    pub fn cpu_seconds(&self) -> io::Result<f64> {
        cpu_seconds(self.child.id())
    }

    /// The most memory that the server has held, in MiB.
    pub fn peak_memory_mib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("0");
        line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
    }

    /// The folder of the daemon's pool.
    pub fn pool(&self) -> PathBuf {
        self.folder.join(STATE).join("store")
    }

    /// What makes the other's WRITE FILEMARKS as good as ours: tgt leaves its image in the page cache.
    pub fn settle(&self) -> io::Result<()> {
        if self.kind == Kind::Tgt {
            for entry in fs::read_dir(&self.folder)? {
                let path = entry?.path();
                if path.extension().is_some_and(|e| e == "img") {
                    File::open(path)?.sync_data()?;
                }
            }
        }
        Ok(())
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    fn target(&self) -> &'static str {
        match self.kind {
            Kind::Vtld { .. } | Kind::Dedupe { .. } => "iqn.2026-11.internal.vtl:lib0",
            Kind::Tgt => TGT_TARGET,
        }
    }

    /// Takes the cartridge out of drive 0, back to slot `to`, from 0.
    pub fn unload(&self, to: u8) -> io::Result<()> {
        self.move_medium(drive(0), slot(to))
    }

    /// Takes the cartridge of slot `from` out of drive 0 and puts that of slot `to` there; slots from 0.
    pub fn change_cartridge(&self, from: u8, to: u8) -> io::Result<()> {
        if from == to {
            return Ok(());
        }
        self.move_medium(drive(0), slot(from))?;
        self.move_medium(slot(to), drive(0))
    }

    fn move_medium(&self, from: u16, to: u16) -> io::Result<()> {
        let mut changer = Initiator::login(self.address(), self.target(), 0, 0x77)?;
        let [from_high, from_low] = from.to_be_bytes();
        let [to_high, to_low] = to.to_be_bytes();
        changer.run_good(&[0xa5, 0, 0, 0, from_high, from_low, to_high, to_low, 0, 0, 0, 0], 0)?;
        changer.logout()
    }

    fn set_up_tgt(&self, drives: u8, capacity: u64) -> io::Result<()> {
        let end = Instant::now() + START_LIMIT;
        while let Err(error) = self.tgtadm("--mode sys --op show") {
            if Instant::now() > end {
                return Err(error);
            }
            thread::sleep(Duration::from_millis(100));
        }
        self.tgtadm(&format!("--mode target --op new --tid 1 -T {TGT_TARGET}"))?;
        for key in ["MaxRecvDataSegmentLength", "FirstBurstLength", "MaxBurstLength"] {
            self.tgtadm(&format!("--mode target --op update --tid 1 -n {key} -v 262144"))?;
        }
        self.tgtadm("--mode target --op update --tid 1 -n InitialR2T -v No")?;
        self.tgtadm("--mode target --op bind --tid 1 -I ALL")?;
        for number in 0..drives {
            let image = self.folder.join(format!("{number}.img"));
            let size = capacity.div_ceil(1 << 20).to_string();
            let mut make = Command::new("tgtimg");
            make.args(["--op", "new", "--device-type", "tape", "--type", "data", "--size", &size]);
            run(make.args(["--barcode", &format!("TGT00{number}L8"), "--file"]).arg(&image))?;
            let lun = number + 1;
            self.tgtadm(&format!(
                "--mode logicalunit --op new --tid 1 --lun {lun} --device-type tape -b {}",
                image.display()
            ))?;
            self.tgtadm(&format!("--mode logicalunit --op update --tid 1 --lun {lun} --params online=1"))?;
        }
        Ok(())
    }

    fn tgtadm(&self, words: &str) -> io::Result<()> {
        run(Command::new("tgtadm")
            .args(["-C", &control(self.port), "--lld", "iscsi"])
            .args(words.split_whitespace()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        if let Err(error) = killed {
            eprintln!("could not stop process {}: {error}", self.child.id());
        }
    }
}

/// Element addresses of a new library.
fn slot(number: u8) -> u16 {
    0x0400 + u16::from(number)
}

fn drive(number: u8) -> u16 {
    0x0101 + u16::from(number)
}

const TGT_TARGET: &str = "iqn.2026-11.internal.vtl:tgt";

fn start_vtld(make: Make<'_>, folder: &Path, [port, api]: [u16; 2], settings: &[&str]) -> io::Result<Child> {
    let mut command = Command::new(make.vtld);
    command.arg("--state").arg(folder.join(STATE)).args(["--listen", &format!("127.0.0.1:{port}")]);
    command.args(["--api", &format!("127.0.0.1:{api}"), "--set", "log.level=warn"]);
    for setting in settings.iter().copied().chain(make.set.iter().map(String::as_str)) {
        command.args(["--set", setting]);
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
    let output = child.stdout.take().ok_or_else(|| failure("no output of vtld"))?;
    let mut lines = BufReader::new(output).lines();
    if !lines.by_ref().map_while(Result::ok).any(|line| line.starts_with("ready")) {
        return Err(failure("vtld ended before it was ready"));
    }
    thread::spawn(move || lines.for_each(drop));
    Ok(child)
}

fn start_tgt(folder: &Path, port: u16) -> io::Result<Child> {
    fs::create_dir_all("/run/tgtd")?;
    let log = File::create(folder.join("tgtd.log"))?;
    let mut command = Command::new("tgtd");
    command.args(["-f", "-C", &control(port), "--iscsi", &format!("portal=127.0.0.1:{port}")]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(failure(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

/// A port below those that the system gives to outgoing connections: one of those may be taken before the server listens.
fn free_port() -> io::Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    let mut ports = (0..2000).map(|_| first + NEXT.fetch_add(1, Ordering::Relaxed) % 2000);
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.find(is_free).ok_or_else(|| failure("no port is free"))
}

/// Turns the DCE bit of the data compression page (0Fh) on or off.
fn set_compression(session: &mut Initiator, on: bool) -> io::Result<()> {
    let page = session.run_good(&[0x1a, 0x08, 0x0f, 0, 64, 0], 64)?;
    let mut list = page.get(..20).ok_or_else(|| failure("mode page 0Fh is too short"))?.to_vec();
    list[0] = 0;
    list[4] &= 0x7f;
    list[6] = if on { list[6] | 0x80 } else { list[6] & 0x7f };
    session.start_write(&[0x15, 0x10, 0, 0, 20, 0], &list)?;
    let ended = session.wait(|_| &list, |_, _, _| {}, &mut Vec::new())?;
    if ended.status == 0 { Ok(()) } else { Err(failure(format!("MODE SELECT ended with {ended:02x?}"))) }
}

/// In which the kernel shows times to programs (USER_HZ).
pub const TICKS_PER_SECOND: f64 = 100.0;

/// CPU seconds that a process has used, user and system.
pub fn cpu_seconds(pid: u32) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = |field: usize| {
        after_name.split_whitespace().nth(field).and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0)
    };
    Ok((ticks(11) + ticks(12)) / TICKS_PER_SECOND)
}

/// tgt's control socket has a number up to 32767; the port makes it our own.
fn control(port: u16) -> String {
    (port / 2).to_string()
}
