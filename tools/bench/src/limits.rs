//! What the machine itself can do in the same minute: memory copy, loopback TCP, a file written and synced, and the compressor alone.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Instant;

use zstd::bulk::Compressor;

use crate::cell::Figure;
use crate::data::Data;
use crate::server::cpu_seconds;

const PIECE: usize = 1 << 20;
const TOTAL: usize = 1 << 30;
/// What vtld compresses at once, and with how many threads.
const CHUNK: usize = 256 << 10;
const COMPRESSOR_THREADS: usize = 2;

/// MB/s of each.
pub struct Limits {
    /// Copying in memory, one thread.
    pub memcpy: f64,
    /// Loopback TCP, one stream.
    pub loopback: f64,
    /// Writing 1 GiB to a file and syncing it.
    pub file: f64,
}

/// Measures them; the file is made in `folder` and removed.
pub fn measure(folder: &Path) -> io::Result<Limits> {
    Ok(Limits { memcpy: memcpy(), loopback: loopback()?, file: file(folder)? })
}

#[expect(clippy::cast_precision_loss, reason = "2^30 is exact")]
fn rate(start: Instant) -> f64 {
    TOTAL as f64 / 1e6 / start.elapsed().as_secs_f64()
}

fn memcpy() -> f64 {
    let from = vec![0x5a; 64 * PIECE];
    let mut to = vec![0; 64 * PIECE];
    let start = Instant::now();
    for _ in 0..TOTAL / from.len() {
        to.copy_from_slice(std::hint::black_box(&from));
        std::hint::black_box(&mut to);
    }
    rate(start)
}

/// The compressor alone, as vtld uses it and on the bytes that it is given: MB/s, and CPU seconds for each GiB.
pub fn compressor(data: &Data, level: i32) -> io::Result<Figure> {
    const PART: usize = 4;
    let (start, cpu) = (Instant::now(), cpu_seconds(std::process::id())?);
    let compress = |thread: u8| -> io::Result<()> {
        let mut compressor = Compressor::new(level)?;
        let mut out = Vec::with_capacity(CHUNK);
        for n in 0..TOTAL / PART / CHUNK / COMPRESSOR_THREADS {
            out.clear();
            compressor.compress_to_buffer(data.block(thread, n as u64, CHUNK), &mut out)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let runs: Vec<_> = (0..COMPRESSOR_THREADS).map(|t| scope.spawn(move || compress(t as u8))).collect();
        runs.into_iter()
            .try_for_each(|run| run.join().map_err(|_| io::Error::other("a compressing thread ended"))?)
    })?;
    let cpu = cpu_seconds(std::process::id())? - cpu;
    Ok(Figure { mb_per_s: rate(start) / PART as f64, cpu_per_gib: cpu * PART as f64 })
}

fn loopback() -> io::Result<f64> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    let sender = thread::spawn(move || -> io::Result<()> {
        let mut socket = TcpStream::connect(address)?;
        let piece = vec![0x5a; PIECE];
        (0..TOTAL / PIECE).try_for_each(|_| socket.write_all(&piece))
    });
    let (mut socket, _) = listener.accept()?;
    let mut piece = vec![0; PIECE];
    let start = Instant::now();
    while socket.read(&mut piece)? > 0 {}
    let rate = rate(start);
    sender.join().map_err(|_| io::Error::other("the sending thread ended"))??;
    Ok(rate)
}

fn file(folder: &Path) -> io::Result<f64> {
    let path = folder.join("limit.tmp");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    let piece = vec![0x5a; PIECE];
    let start = Instant::now();
    (0..TOTAL / PIECE).try_for_each(|_| file.write_all(&piece))?;
    file.sync_data()?;
    let rate = rate(start);
    std::fs::remove_file(path)?;
    Ok(rate)
}
