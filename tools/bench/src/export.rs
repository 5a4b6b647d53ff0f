//! Export of a cartridge to a folder, and import from it on another server, beside programs in a pipe on the same bytes in the same run.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use clap::Parser;
use serde_json::Value;

use crate::meter::{self, Cost};
use crate::server::{Direct, Kind, Make, Server};
use crate::sets::{self, Set};
use crate::store::engine::Engine as _;
use crate::store::iscsi::Drive;
use vtl_initiator::failure;

/// Measures export and import beside a pipe of programs.
#[derive(Parser)]
pub struct Args {
    /// The daemon to measure; its client lies beside it.
    #[arg(long, default_value = "target/release/vtld")]
    vtld: PathBuf,
    /// Where servers, remotes and data are made.
    #[arg(long, default_value = "/var/tmp")]
    folder: PathBuf,
    /// MiB of a tar of small files, half of which compresses away.
    #[arg(long, default_value_t = 1024)]
    mib: u64,
    /// The most that an object may have, in MiB.
    #[arg(long, default_value_t = 256)]
    chunk: u64,
    /// Rounds; tables show medians.
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// Only ways with this in their name.
    #[arg(long, default_value = "")]
    way: String,
}

/// How the cartridge goes out, and what does the same in its place.
struct Way {
    name: &'static str,
    sealed: bool,
    compress: &'static str,
    peers: &'static [Peer],
}

/// Programs in a shell.
struct Peer {
    name: &'static str,
    /// From the file `$FROM` to the folder `$OUT`, objects of `$CHUNK` bytes.
    out: &'static str,
    /// From the folder `$OUT` to the file `$BACK`.
    back: &'static str,
}

const WAYS: [Way; 2] = [
    Way {
        name: "compressed and sealed",
        sealed: true,
        compress: "zstd",
        peers: &[Peer {
            name: "pipe",
            out: "zstd -q -T2 -1 -c \"$FROM\" | openssl enc -aes-256-ctr -pbkdf2 -pass pass:made-up | split -b \"$CHUNK\" - \"$OUT/\"",
            back: "cat \"$OUT\"/* | openssl enc -d -aes-256-ctr -pbkdf2 -pass pass:made-up | zstd -q -d -c > \"$BACK\"",
        }],
    },
    Way {
        name: "as it is",
        sealed: false,
        compress: "none",
        peers: &[
            Peer { name: "cp", out: "cp \"$FROM\" \"$OUT/\"", back: "cp \"$OUT\"/* \"$BACK\"" },
            // What the format wants of each object beside its bytes, at once on two cores.
            Peer {
                name: "cp, hashes",
                out: "cp \"$FROM\" \"$OUT/\"; md5sum \"$OUT\"/* & sha256sum \"$OUT\"/*; wait",
                back: "cp \"$OUT\"/* \"$BACK\"; sha256sum \"$BACK\"",
            },
        ],
    },
];

const LABEL: &str = "VTL001L8";

/// Export and import.
struct Round {
    out: Cost,
    back: Cost,
    /// Of the exporting and of the importing server.
    peak_mib: [u64; 2],
}

pub fn run(args: &Args) -> io::Result<()> {
    let scratch = tempfile::tempdir_in(&args.folder)?;
    let backups = sets::write(Set::Tree, args.mib, scratch.path())?;
    println!("| way | who | export MB/s | CPU s/GiB | import MB/s | CPU s/GiB | MiB, export | import |");
    println!("|---|---|---|---|---|---|---|---|");
    for way in WAYS.iter().filter(|way| way.name.contains(&args.way)) {
        let mut ours = Vec::new();
        let mut theirs: Vec<Vec<Round>> = way.peers.iter().map(|_| Vec::new()).collect();
        for _ in 0..args.repeat.max(1) {
            for (peer, rounds) in way.peers.iter().zip(&mut theirs) {
                rounds.push(pipe(peer, args, scratch.path(), &backups[0])?);
            }
            ours.push(server(way, args, scratch.path(), &backups)?);
        }
        for (peer, rounds) in way.peers.iter().zip(&theirs) {
            report(way.name, peer.name, rounds);
        }
        report(way.name, "vtl", &ours);
    }
    Ok(())
}

fn report(way: &str, who: &str, rounds: &[Round]) {
    let median = |figure: &dyn Fn(&Round) -> f64| {
        let mut all: Vec<f64> = rounds.iter().map(figure).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let rates = [
        median(&|round| round.out.mb_per_s()),
        median(&|round| round.back.mb_per_s()),
        median(&|round| round.out.cpu_s_per_gib()),
        median(&|round| round.back.cpu_s_per_gib()),
    ];
    let [out, back, out_cpu, back_cpu] = rates;
    let peak =
        rounds.iter().map(|round| round.peak_mib).fold([0, 0], |a, b| [a[0].max(b[0]), a[1].max(b[1])]);
    println!(
        "| {way} | {who} | {out:.0} | {out_cpu:.2} | {back:.0} | {back_cpu:.2} | {} | {} |",
        peak[0], peak[1]
    );
}

/// The programs; what they wrote is on the disk when they are done, as ours is.
fn pipe(peer: &Peer, args: &Args, scratch: &Path, from: &Path) -> io::Result<Round> {
    let folder = tempfile::tempdir_in(scratch)?;
    let (out, back) = (folder.path().join("out"), folder.path().join("back"));
    fs::create_dir(&out)?;
    let bytes = from.metadata()?.len();
    let shell = |script: &str| {
        meter::children(|| {
            let mut command = Command::new("bash");
            command.args(["-c", &format!("set -euo pipefail; {script}")]);
            command.env("FROM", from).env("OUT", &out).env("BACK", &back);
            command.env("CHUNK", (args.chunk << 20).to_string());
            let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
            if !status.success() {
                return Err(failure(format!("{script}: {status}")));
            }
            rustix::fs::syncfs(File::open(folder.path())?)?;
            Ok(bytes)
        })
    };
    Ok(Round { out: shell(peer.out)?, back: shell(peer.back)?, peak_mib: [0, 0] })
}

fn server(way: &Way, args: &Args, scratch: &Path, backups: &[PathBuf]) -> io::Result<Round> {
    let folder = tempfile::tempdir_in(scratch)?;
    let remote = folder.path().join("remote");
    fs::create_dir(&remote)?;
    let key = folder.path().join("key.pem");
    make_key(&key)?;
    let bytes = backups[0].metadata()?.len();
    let mut drive = Drive::start(&args.vtld, 16, Direct::Auto, &folder.path().join("one"), backups)?;
    drive.ingest(0)?;
    let one = drive.put_away()?;
    prepare(one, &remote, &key)?;
    let chunk = format!("{}m", args.chunk);
    let mut words = vec![
        "cartridge",
        "export",
        LABEL,
        "--remote",
        "far",
        "--chunk-size",
        &chunk,
        "--compress",
        way.compress,
    ];
    if way.sealed {
        words.extend(["--key", "made-up"]);
    }
    words.push("--wait");
    let out = timed(one, bytes, &words)?;
    let first_peak = one.peak_memory_mib();
    let exported = the_only_folder(&remote)?;
    let none = ["library.default=none".to_owned()];
    let make = Make { vtld: &args.vtld, level: 0, set: &none };
    let kind = Kind::Dedupe { chunk_kib: 16, direct_io: Direct::Auto };
    let two = Server::start(kind, &folder.path().join("two"), make, 0, 0)?;
    prepare(&two, &remote, &key)?;
    let words = ["cartridge", "import", "--remote", "far", "--folder", &exported, "--wait"];
    let back = timed(&two, bytes, &words)?;
    let vault = two.client(&["vault", "ls"])?;
    if !vault.to_string().contains(LABEL) {
        return Err(failure(format!("the imported cartridge is not in the vault: {vault}")));
    }
    Ok(Round { out, back, peak_mib: [first_peak, two.peak_memory_mib()] })
}

fn make_key(path: &Path) -> io::Result<()> {
    let made = Command::new("openssl").args(["genrsa", "-out"]).arg(path).arg("2048").output()?;
    if !made.status.success() {
        return Err(failure(format!("openssl genrsa: {}", made.status)));
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}

fn prepare(server: &Server, remote: &Path, key: &Path) -> io::Result<()> {
    let text = |path: &Path| path.display().to_string();
    server.client(&["remote", "create", "far", "--type", "folder", "--path", &text(remote)])?;
    server.client(&["key", "import", &text(key), "--name", "made-up"]).map(drop)
}

fn timed(server: &Server, bytes: u64, words: &[&str]) -> io::Result<Cost> {
    let (start, cpu) = (Instant::now(), server.cpu_seconds()?);
    server.client(words)?;
    let (wall_s, cpu_s) = (start.elapsed().as_secs_f64(), server.cpu_seconds()? - cpu);
    Ok(Cost { bytes, wall_s, cpu_s })
}

fn the_only_folder(remote: &Path) -> io::Result<String> {
    let names: Vec<_> = fs::read_dir(remote)?.collect::<io::Result<_>>()?;
    match names.as_slice() {
        [one] => Ok(one.file_name().to_string_lossy().into_owned()),
        _ => Err(failure(format!("{} folders at the remote, one was wanted", names.len()))),
    }
}

impl Server {
    /// What `vtl --json` says to these words.
    fn client(&self, words: &[&str]) -> io::Result<Value> {
        let output = self.client_command().arg("--json").args(words).stdin(Stdio::null()).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(failure(format!("vtl {}: {}", words.join(" "), said.trim())));
        }
        serde_json::from_slice(&output.stdout).map_err(io::Error::other)
    }
}
