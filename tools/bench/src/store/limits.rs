//! What each part of an ingest costs alone, on the bytes of the set and in the same minute.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use vtl_store::chunker::Chunker;
use zstd::bulk::Compressor;

use crate::meter::{self, Cost};
use crate::store::exact::{self, LEVEL, REGION_BYTES};
use vtl_initiator::failure;

/// So much of the first backup is enough.
const SAMPLE_BYTES: u64 = 256 << 20;
const PIECE: usize = 256 << 10;
const HASHED_BYTES: usize = 16 << 10;

/// One figure for each part.
pub struct Limits {
    pub blake3: Cost,
    /// All of them, named.
    pub rows: Vec<(&'static str, Cost)>,
}

/// Measures them; the file is made in `folder` and removed.
pub fn measure(chunk_kib: u32, folder: &Path, backup: &Path) -> io::Result<Limits> {
    let mut sample = Vec::new();
    File::open(backup)?.take(SAMPLE_BYTES).read_to_end(&mut sample)?;
    // Pages that were never touched would be measured otherwise.
    let mut copy = vec![0x5a; sample.len()];
    let alone =
        |work: &mut dyn FnMut() -> io::Result<()>| meter::own(|| work().map(|()| sample.len() as u64));
    let memcpy = alone(&mut || {
        copy.copy_from_slice(black_box(&sample));
        black_box(&mut copy);
        Ok(())
    })?;
    let blake3 = alone(&mut || hash(&sample))?;
    let mut rows = vec![
        ("memcpy", memcpy),
        ("BLAKE3, 16 KiB pieces", blake3),
        ("chunker", alone(&mut || cut(chunk_kib, &sample))?),
        ("zstd -1, 128 KiB regions", alone(&mut || compress(&sample))?),
        ("file write with sync", alone(&mut || write(folder, &sample))?),
    ];
    rows.extend(program(folder, backup)?.map(|cost| ("program zstd -1 -T2 of the whole backup", cost)));
    Ok(Limits { blake3, rows })
}

fn hash(sample: &[u8]) -> io::Result<()> {
    for piece in sample.chunks(HASHED_BYTES) {
        black_box(blake3::hash(piece));
    }
    Ok(())
}

fn cut(chunk_kib: u32, sample: &[u8]) -> io::Result<()> {
    let mut chunker = Chunker::new(exact::gear(chunk_kib)?);
    for mut piece in sample.chunks(PIECE) {
        while let Some(n) = black_box(chunker.next_cut(piece)) {
            piece = &piece[n..];
        }
    }
    Ok(())
}

fn compress(sample: &[u8]) -> io::Result<()> {
    let mut compressor = Compressor::new(LEVEL)?;
    let mut out = Vec::with_capacity(zstd::zstd_safe::compress_bound(REGION_BYTES));
    for region in sample.chunks(REGION_BYTES) {
        out.clear();
        compressor.compress_to_buffer(region, &mut out)?;
    }
    Ok(())
}

/// What people do with a tar when nothing deduplicates it; nothing where the program is not installed.
fn program(folder: &Path, backup: &Path) -> io::Result<Option<Cost>> {
    let path = folder.join("limit.zst");
    let mut command = Command::new("zstd");
    command.args(["-q", "-f", "-1", "-T2"]).arg(backup).arg("-o").arg(&path);
    let cost = meter::children(|| {
        let status = command.stdin(Stdio::null()).status()?;
        if !status.success() {
            return Err(failure(format!("zstd ended with {status}")));
        }
        File::open(&path)?.sync_data()?;
        Ok(backup.metadata()?.len())
    });
    match cost {
        Ok(cost) => fs::remove_file(path).map(|()| Some(cost)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write(folder: &Path, sample: &[u8]) -> io::Result<()> {
    let path = folder.join("limit");
    let mut file = File::create(&path)?;
    sample.chunks(4 * PIECE).try_for_each(|piece| file.write_all(piece))?;
    file.sync_data()?;
    fs::remove_file(path)
}
