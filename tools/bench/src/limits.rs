//! What the machine itself can do in the same minute: memory copy, loopback TCP, a file written and synced.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Instant;

const PIECE: usize = 1 << 20;
const TOTAL: usize = 1 << 30;

/// MB/s of the three.
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
