//! One measurement: write some bytes at one block size and depth, make them durable, rewind, read them back, compare every byte.

use std::io;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::data::Data;
use crate::server::Server;
use vtl_initiator::{Ended, Initiator, failure};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Bytes in a tape block.
    pub block: usize,
    /// Commands under way at once.
    pub depth: usize,
    /// Drives at once.
    pub drives: u8,
    /// Bytes for each drive.
    pub bytes: u64,
}

/// Speed and cost of one direction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figure {
    /// 10^6 bytes a second, all drives together.
    pub mb_per_s: f64,
    /// CPU seconds of the server for 2^30 bytes.
    pub cpu_per_gib: f64,
}

/// Both directions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// From the first WRITE to the end of WRITE FILEMARKS.
    pub write: Figure,
    /// From the first READ to the last byte.
    pub read: Figure,
}

/// Measures one cell on a running server.
pub fn measure(server: &Server, cell: Cell, data: &Data) -> io::Result<Figures> {
    let write = phase(
        server,
        cell,
        |session, drive| {
            session.run_good(&REWIND, 0)?;
            Ok(drive)
        },
        |session, drive| write_all(session, cell, data, drive),
    )?;
    let read = phase(
        server,
        cell,
        |session, drive| {
            session.run_good(&REWIND, 0)?;
            Ok(drive)
        },
        |session, drive| read_all(session, cell, data, drive),
    )?;
    Ok(Figures { write, read })
}

pub const REWIND: [u8; 6] = [0x01, 0, 0, 0, 0, 0];
/// One mark, and everything before it durable.
pub const WRITE_FILEMARK: [u8; 6] = [0x10, 0, 0, 0, 1, 0];

/// Runs `work` for all drives at once, after all have been prepared.
fn phase(
    server: &Server,
    cell: Cell,
    prepare: impl Fn(&mut Initiator, u8) -> io::Result<u8> + Sync,
    work: impl Fn(&mut Initiator, u8) -> io::Result<()> + Sync,
) -> io::Result<Figure> {
    let barrier = Barrier::new(usize::from(cell.drives) + 1);
    let (elapsed, cpu) = thread::scope(|scope| {
        let runs: Vec<_> = (0..cell.drives)
            .map(|drive| {
                let (barrier, prepare, work) = (&barrier, &prepare, &work);
                scope.spawn(move || {
                    let ready = server.drive(drive).and_then(|mut s| prepare(&mut s, drive).map(|_| s));
                    barrier.wait();
                    let mut session = ready?;
                    work(&mut session, drive)?;
                    session.logout()
                })
            })
            .collect();
        barrier.wait();
        let (start, cpu) = (Instant::now(), server.cpu_seconds()?);
        for run in runs {
            run.join().map_err(|_| failure("a drive's thread ended"))??;
        }
        server.settle()?;
        Ok::<_, io::Error>((start.elapsed(), server.cpu_seconds()? - cpu))
    })?;
    Ok(figure(cell, elapsed, cpu))
}

#[expect(clippy::cast_precision_loss, reason = "byte counts of a benchmark are far below 2^53")]
fn figure(cell: Cell, elapsed: Duration, cpu: f64) -> Figure {
    let bytes = cell.bytes as f64 * f64::from(cell.drives);
    Figure { mb_per_s: bytes / 1e6 / elapsed.as_secs_f64(), cpu_per_gib: cpu / (bytes / f64::from(1 << 30)) }
}

fn blocks(cell: Cell) -> u64 {
    cell.bytes / cell.block as u64
}

/// READ(6) or WRITE(6) of one block of variable length.
pub fn transfer(opcode: u8, block: usize) -> [u8; 6] {
    let [_, high, middle, low] = u32::try_from(block).unwrap_or(u32::MAX).to_be_bytes();
    [opcode, 0, high, middle, low, 0]
}

fn write_all(session: &mut Initiator, cell: Cell, data: &Data, drive: u8) -> io::Result<()> {
    let cdb = transfer(0x0a, cell.block);
    let first = FirstTag::default();
    pipeline(
        session,
        (blocks(cell), cell.depth),
        |session, n| {
            let tag = session.start_write(&cdb, data.block(drive, n, cell.block))?;
            first.note(tag, n);
            Ok(())
        },
        |session, scratch| {
            let ended =
                session.wait(|tag| data.block(drive, first.block(tag), cell.block), |_, _, _| {}, scratch)?;
            good(&ended)
        },
    )?;
    session.run_good(&WRITE_FILEMARK, 0).map(drop)
}

fn read_all(session: &mut Initiator, cell: Cell, data: &Data, drive: u8) -> io::Result<()> {
    let cdb = transfer(0x08, cell.block);
    let first = FirstTag::default();
    pipeline(
        session,
        (blocks(cell), cell.depth),
        |session, n| {
            let tag = session.start_read(&cdb, cell.block)?;
            first.note(tag, n);
            Ok(())
        },
        |session, scratch| {
            let mut wrong = None;
            let ended = session.wait(
                |_| &[],
                |tag, offset, bytes| {
                    let n = first.block(tag);
                    let expected = data.block(drive, n, cell.block).get(offset..offset + bytes.len());
                    if expected != Some(bytes) {
                        wrong = Some(n);
                    }
                },
                scratch,
            )?;
            good(&ended)?;
            match wrong {
                Some(n) => Err(failure(format!("block {n} of drive {drive} came back different"))),
                None if ended.received != cell.block => {
                    Err(failure(format!("a block came back with {} bytes", ended.received)))
                }
                None => Ok(()),
            }
        },
    )
}

/// Tags count up by one, so the first tells the block of all others.
#[derive(Default)]
pub struct FirstTag(std::cell::Cell<u32>);

impl FirstTag {
    pub fn note(&self, tag: u32, block: u64) {
        if block == 0 {
            self.0.set(tag);
        }
    }

    pub fn block(&self, tag: u32) -> u64 {
        u64::from(tag.wrapping_sub(self.0.get()))
    }
}

/// Keeps `depth` commands under way until so many blocks are done.
pub fn pipeline(
    session: &mut Initiator,
    (total, depth): (u64, usize),
    mut start: impl FnMut(&mut Initiator, u64) -> io::Result<()>,
    mut finish: impl FnMut(&mut Initiator, &mut Vec<u8>) -> io::Result<()>,
) -> io::Result<()> {
    let mut scratch = Vec::new();
    let (mut started, mut finished) = (0, 0);
    while finished < total {
        while started < total && started - finished < depth as u64 && session.window_open() {
            start(session, started)?;
            started += 1;
        }
        finish(session, &mut scratch)?;
        finished += 1;
    }
    Ok(())
}

/// Ended with status GOOD.
pub fn good(ended: &Ended) -> io::Result<()> {
    if ended.status == 0 { Ok(()) } else { Err(failure(format!("a command ended with {ended:02x?}"))) }
}
