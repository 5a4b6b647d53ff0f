//! `vtl-decode`: lists, verifies and decodes an exported folder. It is built from the bundle format and its codec alone, so that whoever has the
//! folder and a key needs no server. Format: `docs/formats/bundle.md`.

mod folder;
mod output;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::{Value, json};
use vtl_bundle::{Image, Signed, verify};

use crate::folder::{Bundle, read_private, read_signer};
use crate::output::Output;

/// Lists, verifies and decodes exported folders.
#[derive(Parser)]
#[command(name = "vtl-decode", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write manual pages and completions into a folder, for packages.
    #[command(hide = true)]
    WriteManual {
        /// The folder.
        folder: PathBuf,
    },
    /// What the folder holds; with the key also what is in it.
    List {
        /// Folder with a manifest and its objects.
        folder: PathBuf,
        /// Private key, PEM, mode 0600.
        #[arg(long)]
        key: Option<PathBuf>,
        /// Public key of who must have signed it, PEM.
        #[arg(long)]
        signer: Option<PathBuf>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Compares every object with the manifest. No key is needed.
    Verify {
        /// Folder with a manifest and its objects.
        folder: PathBuf,
        /// Public key of who must have signed it, PEM.
        #[arg(long)]
        signer: Option<PathBuf>,
    },
    /// Writes the tape image, or one file of it.
    Decode {
        /// Folder with a manifest and its objects.
        folder: PathBuf,
        /// Where it goes: a file that is not there yet, or `-`.
        #[arg(long)]
        out: PathBuf,
        /// Private key, PEM, mode 0600.
        #[arg(long)]
        key: Option<PathBuf>,
        /// Only this file: 0 is what comes before the first filemark.
        #[arg(long)]
        file: Option<u64>,
        /// Public key of who must have signed it, PEM.
        #[arg(long)]
        signer: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::List { folder, key, signer, json } => list(folder, key, signer, json),
        Command::Verify { folder, signer } => check(folder, signer),
        Command::Decode { folder, out, key, file, signer } => decode(folder, &out, key, file, signer),
        Command::WriteManual { folder } => {
            let command = <Arguments as clap::CommandFactory>::command();
            vtl_manual::write(&command, "1", &folder).map_err(|error| error.to_string())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("vtl-decode: {why}");
            ExitCode::FAILURE
        }
    }
}

fn open(folder: PathBuf, signer: Option<PathBuf>) -> Result<Bundle, String> {
    let signer = signer.map(|path| read_signer(&path)).transpose()?;
    Bundle::open(folder, signer.as_ref())
}

fn list(folder: PathBuf, key: Option<PathBuf>, signer: Option<PathBuf>, as_json: bool) -> Result<(), String> {
    let bundle = open(folder, signer)?;
    let key = key.map(|path| read_private(&path)).transpose()?;
    let inside = match (bundle.manifest.sealed, &key) {
        (true, None) => None,
        _ => {
            let image = Image::open(&bundle.manifest, key.as_ref(), bundle.source());
            Some(image.map_err(|error| error.to_string())?.inside().clone())
        }
    };
    let manifest = &bundle.manifest;
    let told = json!({
        "label": manifest.label.to_string(),
        "created": manifest.created.to_string(),
        "generation": manifest.generation,
        "codec": manifest.codec_name(),
        "encrypted": manifest.sealed,
        "signed": bundle.signed != Signed::No,
        "signer": match bundle.signed {
            Signed::No => None,
            Signed::By(key) => Some(key.fingerprint().iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        },
        "image_bytes": manifest.image_bytes,
        "recipients": manifest.recipients,
        "objects": manifest.objects,
        "blocks": inside.as_ref().map(|inside| inside.map.blocks()),
        "filemarks": inside.as_ref().map(|inside| inside.map.marks()),
        "attributes": inside.as_ref().map(|inside| &inside.attributes),
    });
    if as_json {
        println!("{told}");
    } else {
        print_fields(&told);
    }
    Ok(())
}

/// One line for each fact, one for each thing of a list.
fn print_fields(told: &Value) {
    for (name, value) in told.as_object().into_iter().flatten() {
        match value {
            Value::Null if name == "signer" => println!("{name}: nobody"),
            Value::Null => println!("{name}: (give a key to see it)"),
            Value::Array(rows) => {
                println!("{name}: {}", rows.len());
                rows.iter().for_each(|row| println!("  {row}"));
            }
            Value::String(text) => println!("{name}: {text}"),
            other => println!("{name}: {other}"),
        }
    }
}

fn check(folder: PathBuf, signer: Option<PathBuf>) -> Result<(), String> {
    let bundle = open(folder, signer)?;
    let strangers = bundle.strangers()?;
    strangers.iter().for_each(|name| println!("{name}: the manifest does not know it"));
    let findings = verify(&bundle.manifest, &mut bundle.source(), |object, finding| match finding {
        None => println!("{}: {} bytes, as in the manifest", object.name, object.bytes),
        Some(finding) => println!("{finding}"),
    });
    match findings.len() + strangers.len() {
        0 => Ok(()),
        wrong => Err(format!(
            "{wrong} of {} objects are not what was exported",
            bundle.manifest.objects.len() + strangers.len()
        )),
    }
}

fn decode(
    folder: PathBuf,
    out: &std::path::Path,
    key: Option<PathBuf>,
    file: Option<u64>,
    signer: Option<PathBuf>,
) -> Result<(), String> {
    let bundle = open(folder, signer)?;
    let key = key.map(|path| read_private(&path)).transpose()?;
    let image = Image::open(&bundle.manifest, key.as_ref(), bundle.source());
    let mut image = image.map_err(|error| error.to_string())?;
    let range = file.map(|number| image.file(number)).transpose().map_err(|error| error.to_string())?;
    let mut output = Output::create(out)?;
    let done = match range {
        None => image.copy(|bytes| output.write(&bytes)),
        // Frames are checked one by one as they are read; that the objects are those of the manifest is seen before.
        Some(range) => {
            image.check(range.clone()).and_then(|()| image.read(range, |bytes| output.write(bytes)))
        }
    };
    done.map_err(|error| error.to_string())?;
    output.finish()
}
