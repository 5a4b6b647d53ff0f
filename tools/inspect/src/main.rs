//! `vtl-inspect [--json] FILE`: what is in a file of the state folder, at which offset, and what is wrong with it.
//!
//! It only reads, and goes on behind damage. Secrets are not shown: CHAP secrets, the key of a pool's gear table, tokens.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};
use serde_json::{Map, Value, json};
use vtl_cartridge::inspect::{self as cartridge, Told};
use vtl_durable::RealDisk;
use vtl_store::inspect::{self, FileKind, Item};

const KNOWN: &str = "usage: vtl-inspect [--json] FILE\n\
    FILE is one of a pool (pool, scrub, quarantine, journal/*.log, owners/*/head, packs/*/*.pack, index/*) or inventory.db";
const SQLITE: &[u8] = b"SQLite format 3\0";

/// Shows what is in a file of the state folder, at which offset, and what is wrong with it.
///
/// It only reads, and shows no secret. The exit code is 0 when nothing is wrong, 1 when something is, 2 when the file cannot be read or is
/// none of ours.
#[derive(Parser)]
#[command(name = "vtl-inspect", version)]
struct Arguments {
    /// A file of a pool (pool, scrub, quarantine, journal/*.log, owners/*/head, packs/*/*.pack, index/*) or inventory.db.
    #[arg(required_unless_present = "write_manual")]
    file: Option<PathBuf>,
    /// As JSON, one line for each thing.
    #[arg(long)]
    json: bool,
    /// Write manual page and completions into a folder, for packages.
    #[arg(long, value_name = "DIR", hide = true)]
    write_manual: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut printer = Printer { json: arguments.json, wrong: 0, notes: Vec::new() };
    let done = match (&arguments.write_manual, &arguments.file) {
        (Some(folder), _) => vtl_manual::write(&Arguments::command(), "1", folder)
            .map_err(|error| format!("cannot write into {}: {error}", folder.display())),
        (None, Some(file)) => look(file, &mut printer),
        (None, None) => Err(KNOWN.to_owned()),
    };
    match done {
        Ok(()) if printer.wrong == 0 => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("vtl-inspect: {why}");
            ExitCode::from(2)
        }
    }
}

fn look(path: &Path, printer: &mut Printer) -> Result<(), String> {
    if starts_with(path, SQLITE).map_err(|error| format!("cannot read {}: {error}", path.display()))? {
        return inventory(path, printer);
    }
    let kind = inspect::file(&RealDisk::new(), path, &mut |item| printer.item(item));
    match kind.map_err(|error| error.to_string())? {
        Some(FileKind::Head) => printer.replay(),
        Some(_) => {}
        None => return Err(format!("{} is no file with a format of ours\n{KNOWN}", path.display())),
    }
    Ok(())
}

fn starts_with(path: &Path, wanted: &[u8]) -> std::io::Result<bool> {
    use std::io::Read;
    let mut first = Vec::new();
    std::fs::File::open(path)?.take(wanted.len() as u64).read_to_end(&mut first)?;
    Ok(first == wanted)
}

fn inventory(path: &Path, printer: &mut Printer) -> Result<(), String> {
    vtl_meta::inspect::rows(path, &mut |row| {
        let wrong = row.is_damaged.then(|| "the checksum of the row does not match".to_owned());
        let fields = row.columns.into_iter().map(|(name, value)| (name, Value::String(value)));
        printer.print(None, &row.table, fields.collect(), wrong);
    })
    .map_err(|error| error.to_string())
}

struct Printer {
    json: bool,
    wrong: u64,
    /// The snapshot of a head, and its deltas.
    notes: Vec<Vec<u8>>,
}

impl Printer {
    fn item(&mut self, item: Item) {
        let Item { at, what, fields, wrong, note } = item;
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), Value::String(value)));
        self.print(Some(at), what, fields.collect(), wrong);
        let told = match what {
            "snapshot" => cartridge::snapshot(&note),
            "delta" => cartridge::delta(&note),
            _ => return,
        };
        self.told(at, told);
        self.notes.push(note);
    }

    /// What a snapshot or a delta says of a cartridge.
    fn told(&mut self, at: u64, told: Told) {
        for (what, fields) in told.parts {
            let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), Value::String(value)));
            self.print(Some(at), what, fields.collect(), None);
        }
        if let Some(why) = told.wrong {
            self.print(Some(at), "cartridge", Vec::new(), Some(why));
        }
    }

    /// Whether the deltas of a head apply to its snapshot.
    fn replay(&mut self) {
        if let Some((snapshot, deltas)) = self.notes.split_first()
            && let Err(why) = cartridge::replay(snapshot, deltas)
        {
            self.print(None, "cartridge", Vec::new(), Some(why));
        }
    }

    fn print(&mut self, at: Option<u64>, what: &str, fields: Vec<(String, Value)>, wrong: Option<String>) {
        self.wrong += u64::from(wrong.is_some());
        let line =
            if self.json { json_line(at, what, fields, wrong) } else { text_line(at, what, &fields, wrong) };
        // A reader that has seen enough is no failure.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}

fn json_line(at: Option<u64>, what: &str, fields: Vec<(String, Value)>, wrong: Option<String>) -> String {
    let fields: Map<String, Value> = fields.into_iter().collect();
    json!({ "at": at, "what": what, "fields": fields, "wrong": wrong }).to_string()
}

fn text_line(at: Option<u64>, what: &str, fields: &[(String, Value)], wrong: Option<String>) -> String {
    let at = at.map_or_else(|| " ".repeat(10), |at| format!("{at:010x}"));
    let fields =
        fields.iter().map(|(name, value)| format!("  {name}={}", value.as_str().unwrap_or_default()));
    let wrong = wrong.map_or_else(String::new, |why| format!("  WRONG: {why}"));
    format!("{at}  {what}{}{wrong}", fields.collect::<String>())
}
