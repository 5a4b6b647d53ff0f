//! The store beside restic, borg, exact deduplication in memory and the machine's limits, on the same bytes in the same run.
//!
//! The store runs in a process of its own, so that its memory and CPU are told apart from the rest. It is used by nothing but its
//! public interface. The daemon gets the same bytes by iSCSI. Everything that is read back is compared.

pub mod engine;
mod exact;
pub mod iscsi;
mod limits;
mod peers;
mod report;
mod vtl;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Parser;

use crate::server::Direct;
use crate::sets::{self, Set};
use engine::Outcome;
use iscsi::Drive;
use peers::{Peer, Tool};
use report::Round;
use vtl::Pool;
use vtl_initiator::failure;

/// Measures ingest and restore with deduplication: the store alone, and the daemon by iSCSI.
#[derive(Parser)]
pub struct Args {
    /// The daemon to measure.
    #[arg(long, default_value = "target/release/vtld")]
    vtld: PathBuf,
    /// Where stores and data sets are made and removed.
    #[arg(long, default_value = "/var/tmp")]
    folder: PathBuf,
    /// MiB of unique and mixed; weekly and tree go with it (5 x 0.40 GB and 200,000 files at 1024).
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..))]
    mib: u64,
    /// Average length of a chunk in KiB: 8, 16, 32 or 64.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(8..=64))]
    chunk: u32,
    /// Rounds; tables show medians.
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// Which data sets.
    #[arg(long, value_delimiter = ',', default_values = ["unique", "mixed", "weekly", "tree"])]
    sets: Vec<Set>,
    /// How packs are written and read: `auto` as the daemon does, `on` past the page cache, `off` through it.
    #[arg(long, default_value = "auto")]
    direct_io: Direct,
    /// Measures the plain store only, without an encrypted pool and without the daemon.
    #[arg(long)]
    alone: bool,
    /// Leaves restic, borg and rustic out.
    #[arg(long)]
    no_peers: bool,
}

/// One measurement of the store alone: what the process of its own does.
#[derive(Parser)]
pub struct Alone {
    /// An empty folder for the store.
    #[arg(long)]
    root: PathBuf,
    /// Average length of a chunk in KiB.
    #[arg(long)]
    chunk: u32,
    /// The pool is encrypted.
    #[arg(long)]
    encrypted: bool,
    /// How packs are written and read.
    #[arg(long, default_value = "auto")]
    direct_io: Direct,
    /// The backups, oldest first.
    backups: Vec<PathBuf>,
}

/// Measures all sets and prints the tables.
pub fn run(args: &Args) -> io::Result<()> {
    let tools = if args.no_peers { Vec::new() } else { peers::installed() };
    for set in &args.sets {
        let scratch = tempfile::tempdir_in(&args.folder)?;
        let backups = sets::write(*set, args.mib, scratch.path())?;
        let exact = exact::measure(args.chunk, &backups)?;
        let rounds: Vec<Round> = (0..args.repeat.max(1))
            .map(|_| one_round(args, scratch.path(), &backups, &tools))
            .collect::<io::Result<_>>()?;
        report::print(set.name(), &exact, &rounds);
    }
    Ok(())
}

/// The store alone; prints what [`Outcome::parse`] reads.
pub fn alone(args: &Alone) -> io::Result<()> {
    let pool = Pool { chunk_kib: args.chunk, encrypted: args.encrypted, direct_io: args.direct_io };
    let mut store = vtl::Vtl::open(&args.root, pool, &args.backups)?;
    print!("{}", engine::run(&mut store, args.backups.len())?.text());
    Ok(())
}

fn one_round(args: &Args, scratch: &Path, backups: &[PathBuf], tools: &[Tool]) -> io::Result<Round> {
    let (folder, chunk) = (&args.folder, args.chunk);
    let limits = limits::measure(chunk, scratch, &backups[0])?;
    let direct_io = args.direct_io;
    let by_iscsi = |root: &Path| {
        engine::run(&mut Drive::start(&args.vtld, chunk, direct_io, root, backups)?, backups.len())
    };
    let pool = |encrypted| Pool { chunk_kib: chunk, encrypted, direct_io };
    let mut outcomes = vec![("vtl", fresh(folder, |root| store_process(pool(false), root, backups))?)];
    if !args.alone {
        let encrypted = fresh(folder, |root| store_process(pool(true), root, backups))?;
        outcomes.push(("vtl, encrypted", encrypted));
        outcomes.push(("vtl, iSCSI", fresh(folder, by_iscsi)?));
    }
    for tool in tools {
        let outcome =
            fresh(folder, |root| engine::run(&mut Peer::start(*tool, root, backups)?, backups.len()));
        outcomes.push((tool.name(), outcome?));
    }
    Ok(Round { limits, outcomes })
}

/// Runs in a folder of its own, on a disk that has nothing left to write.
fn fresh(folder: &Path, measure: impl FnOnce(&Path) -> io::Result<Outcome>) -> io::Result<Outcome> {
    let root = tempfile::tempdir_in(folder)?;
    rustix::fs::syncfs(File::open(root.path())?)?;
    measure(root.path())
}

fn store_process(pool: Pool, root: &Path, backups: &[PathBuf]) -> io::Result<Outcome> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["store-alone", "--chunk", &pool.chunk_kib.to_string()]);
    if pool.encrypted {
        command.arg("--encrypted");
    }
    command.args(["--direct-io", pool.direct_io.word()]);
    command.arg("--root").arg(root).args(backups);
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(failure(format!("the measurement of the store ended with {}", output.status)));
    }
    Outcome::parse(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| failure("no figures of the store"))
}
