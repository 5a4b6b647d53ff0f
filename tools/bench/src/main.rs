//! Speed of `vtld` beside Debian's `tgt` and beside the machine's own limits, in one run, every byte verified.
//!
//! Speeds on a shared machine drift: the figures to quote are the ratios of neighbouring runs, and CPU seconds.

mod cell;
mod data;
mod export;
mod hashes;
mod limits;
mod meter;
mod scale;
mod server;
mod sets;
mod store;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Parser, Subcommand};

use crate::cell::{Cell, Figure, Figures, measure};
use crate::data::Data;
use crate::server::{Kind, Make, Server};

/// Measures write and read speed and CPU cost of vtld and tgt; with a word, something else.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    drives: Args,
}

#[derive(Subcommand)]
enum What {
    Store(store::Args),
    Export(export::Args),
    Hashes(hashes::Args),
    Scale(scale::Args),
    #[command(hide = true)]
    StoreAlone(store::Alone),
    #[command(hide = true)]
    ScaleStart(scale::StartOnly),
}

#[derive(Parser)]
struct Args {
    /// The daemon to measure.
    #[arg(long, default_value = "target/release/vtld")]
    vtld: PathBuf,
    /// Folders to measure in, one after another; a tmpfs and a disk by default.
    #[arg(long, default_values = ["/dev/shm", "/var/tmp"])]
    folder: Vec<PathBuf>,
    /// MiB for each drive and cell.
    #[arg(long, default_value_t = 256)]
    mib: u64,
    /// zstd's level, in vtld and alone.
    #[arg(long, default_value_t = 3)]
    level: i32,
    /// Repetitions of the named cells; the others run once.
    #[arg(long, default_value_t = 5)]
    repeat: usize,
    /// Only the named cells.
    #[arg(long)]
    named: bool,
    /// Only this cell, as often as the named ones: KiB,depth,drives.
    #[arg(long, value_parser = parse_cell, conflicts_with = "named")]
    cell: Vec<(usize, usize, u8)>,
    /// More settings of vtld, such as store.direct_io=off.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Which targets, in the order of their turns.
    #[arg(long, value_delimiter = ',', default_values = ["tgt", "vtl", "vtl+zstd"])]
    targets: Vec<String>,
}

/// Block size in KiB, depth, drives: the cells that the README names.
const NAMED: [(usize, usize, u8); 6] =
    [(64, 8, 1), (256, 1, 1), (256, 8, 1), (256, 32, 1), (1024, 8, 1), (256, 8, 2)];

fn main() -> io::Result<()> {
    let cli = Cli::parse();
    let start = Instant::now();
    match &cli.what {
        Some(What::StoreAlone(args)) => return store::alone(args),
        Some(What::ScaleStart(args)) => return scale::start_only(args),
        Some(What::Store(args)) => store::run(args)?,
        Some(What::Export(args)) => export::run(args)?,
        Some(What::Hashes(args)) => hashes::run(args)?,
        Some(What::Scale(args)) => scale::run(args)?,
        None => drives(&cli.drives)?,
    }
    println!("{:.0} seconds in all", start.elapsed().as_secs_f64());
    Ok(())
}

fn drives(args: &Args) -> io::Result<()> {
    let (random, compressible) = (Data::new(0), Data::new(4));
    for folder in &args.folder {
        let scratch = tempfile::tempdir_in(folder)?;
        println!("## {}", folder.display());
        let limits = limits::measure(scratch.path())?;
        println!(
            "limits: memcpy {:.0} MB/s, loopback TCP {:.0} MB/s, file write with sync {:.0} MB/s",
            limits.memcpy, limits.loopback, limits.file
        );
        run_folder(args, scratch.path(), &random, &compressible)?;
    }
    Ok(())
}

fn run_folder(args: &Args, folder: &Path, random: &Data, compressible: &Data) -> io::Result<()> {
    println!(
        "| KiB | depth | drives | target | write MB/s | write CPU s/GiB | read MB/s | read CPU s/GiB | write/tgt | read/tgt | write/zstd | MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    for (cell, named) in cells(args) {
        let times = if named { args.repeat } else { 1 };
        let mut runs: Vec<(Kind, Vec<Run>)> = kinds(args).into_iter().map(|k| (k, Vec::new())).collect();
        for _ in 0..times {
            for (kind, figures) in &mut runs {
                let data = if *kind == COMPRESSING { compressible } else { random };
                figures.push(one_run(args, folder, *kind, cell, data)?);
            }
        }
        report(cell, &runs);
    }
    Ok(())
}

const COMPRESSING: Kind = Kind::Vtld { compress: true };

fn kinds(args: &Args) -> Vec<Kind> {
    let all = [Kind::Tgt, Kind::Vtld { compress: false }, COMPRESSING];
    args.targets.iter().filter_map(|name| all.into_iter().find(|k| k.name() == name)).collect()
}

fn parse_cell(text: &str) -> Result<(usize, usize, u8), String> {
    let numbers: Vec<u16> = text.split(',').map_while(|word| word.parse().ok()).collect();
    match numbers[..] {
        [kib @ 1..=8192, depth @ 1..=128, 1] => Ok((kib.into(), depth.into(), 1)),
        [kib @ 1..=8192, depth @ 1..=128, 2] => Ok((kib.into(), depth.into(), 2)),
        _ => Err("three numbers are wanted: KiB of a block, commands at once, one or two drives".to_owned()),
    }
}

fn cells(args: &Args) -> Vec<(Cell, bool)> {
    let all = [1, 2].into_iter().flat_map(|drives| {
        [64, 256, 1024].into_iter().flat_map(move |kib| [1, 8, 32].map(|depth| (kib, depth, drives)))
    });
    let wanted: Vec<_> = match args.cell.is_empty() {
        true => all.filter(|cell| !args.named || NAMED.contains(cell)).collect(),
        false => args.cell.clone(),
    };
    let measured = |(kib, depth, drives)| {
        let repeated = !args.cell.is_empty() || NAMED.contains(&(kib, depth, drives));
        (Cell { block: kib << 10, depth, drives, bytes: args.mib << 20 }, repeated)
    };
    wanted.into_iter().map(measured).collect()
}

/// What one server did.
struct Run {
    figures: Figures,
    peak_mib: u64,
    /// The compressor alone, a moment before; where there is compression.
    compressor: Option<Figure>,
}

fn one_run(args: &Args, folder: &Path, kind: Kind, cell: Cell, data: &Data) -> io::Result<Run> {
    let alone = (kind == COMPRESSING).then(|| limits::compressor(data, args.level));
    let compressor = alone.transpose()?;
    let state = tempfile::tempdir_in(folder)?;
    let make = Make { vtld: &args.vtld, level: args.level, set: &args.set };
    let server = Server::start(kind, state.path(), make, cell.drives, cell.bytes * 5 / 4)?;
    let figures = measure(&server, cell, data)?;
    Ok(Run { figures, peak_mib: server.peak_memory_mib(), compressor })
}

fn report(cell: Cell, runs: &[(Kind, Vec<Run>)]) {
    let tgt: Option<&Vec<Run>> = runs.iter().find(|(k, _)| *k == Kind::Tgt).map(|(_, runs)| runs);
    for (kind, runs) in runs {
        let column = |get: fn(&Figures) -> f64| median(runs.iter().map(|run| get(&run.figures)).collect());
        let beside_tgt = |get: fn(&Figures) -> f64| {
            let tgt = tgt.filter(|_| *kind != Kind::Tgt)?;
            Some(runs.iter().zip(tgt).map(|(a, b)| get(&a.figures) / get(&b.figures)).collect())
        };
        let beside_compressor =
            runs.iter().map(|run| Some(run.figures.write.mb_per_s / run.compressor?.mb_per_s)).collect();
        println!(
            "| {} | {} | {} | {} | {:.0} | {:.2} | {:.0} | {:.2} | {} | {} | {} | {} |",
            cell.block >> 10,
            cell.depth,
            cell.drives,
            kind.name(),
            column(|f| f.write.mb_per_s),
            column(|f| f.write.cpu_per_gib),
            column(|f| f.read.mb_per_s),
            column(|f| f.read.cpu_per_gib),
            ratio(beside_tgt(|f| f.write.mb_per_s)),
            ratio(beside_tgt(|f| f.read.mb_per_s)),
            ratio(beside_compressor),
            runs.iter().map(|run| run.peak_mib).max().unwrap_or(0),
        );
    }
}

fn ratio(pairs: Option<Vec<f64>>) -> String {
    pairs.map_or_else(|| "-".to_owned(), |pairs| format!("{:.2}", median(pairs)))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
