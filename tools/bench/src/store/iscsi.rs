//! The whole daemon with deduplication, by way of iSCSI: a cartridge for each backup.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bytes::Bytes;

use crate::cell::{FirstTag, REWIND, WRITE_FILEMARK, good, pipeline, transfer};
use crate::meter::Cost;
use crate::server::{Direct, Kind, Make, Server};
use crate::store::engine::{Engine, folder_bytes};
use crate::store::vtl::{PIECE, load};
use vtl_initiator::{Initiator, failure};

/// Commands under way at once.
const DEPTH: usize = 8;

/// A daemon, and the backups that go onto its tapes, in memory before anything is timed.
pub struct Drive {
    server: Server,
    backups: Vec<Vec<Bytes>>,
    /// How many cartridges are written.
    made: u8,
    /// The slot that the loaded cartridge came from.
    loaded: u8,
}

impl Drive {
    pub fn start(
        vtld: &Path,
        chunk_kib: u32,
        direct_io: Direct,
        root: &Path,
        backups: &[PathBuf],
    ) -> io::Result<Self> {
        let backups = backups.iter().map(|path| load(path)).collect::<io::Result<_>>()?;
        let server = Server::start(
            Kind::Dedupe { chunk_kib, direct_io },
            root,
            Make { vtld, level: 0, set: &[] },
            1,
            0,
        )?;
        Ok(Self { server, backups, made: 0, loaded: 0 })
    }

    /// The loaded cartridge goes back to its slot; the server, to be asked for other things.
    pub fn put_away(&self) -> io::Result<&Server> {
        self.server.unload(self.loaded).map(|()| &self.server)
    }

    /// With the cartridge of a slot at its beginning.
    fn measure(
        &mut self,
        slot: u8,
        backup: usize,
        work: impl FnOnce(&mut Initiator, &[Bytes]) -> io::Result<()>,
    ) -> io::Result<Cost> {
        self.server.change_cartridge(self.loaded, slot)?;
        self.loaded = slot;
        let mut session = self.server.drive(0)?;
        session.run_good(&REWIND, 0)?;
        let blocks = &self.backups[backup];
        let (start, cpu) = (Instant::now(), self.server.cpu_seconds()?);
        work(&mut session, blocks)?;
        let (wall_s, cpu_s) = (start.elapsed().as_secs_f64(), self.server.cpu_seconds()? - cpu);
        session.logout()?;
        Ok(Cost { bytes: blocks.iter().map(|block| block.len() as u64).sum(), wall_s, cpu_s })
    }
}

impl Engine for Drive {
    fn ingest(&mut self, backup: usize) -> io::Result<Cost> {
        let slot = self.made;
        self.made += 1;
        self.measure(slot, backup, write)
    }

    fn restore(&mut self, backup: usize) -> io::Result<Cost> {
        let slot = u8::try_from(backup).map_err(io::Error::other)?;
        self.measure(slot, backup, read)
    }

    fn stored_bytes(&self) -> io::Result<u64> {
        folder_bytes(&self.server.pool().join("packs"))
    }

    fn files_bytes(&self) -> io::Result<u64> {
        folder_bytes(&self.server.pool())
    }

    fn peak_mib(&self) -> u64 {
        self.server.peak_memory_mib()
    }
}

fn write(session: &mut Initiator, blocks: &[Bytes]) -> io::Result<()> {
    let first = FirstTag::default();
    pipeline(
        session,
        (blocks.len() as u64, DEPTH),
        |session, n| {
            let block = &blocks[n as usize];
            let tag = session.start_write(&transfer(0x0a, block.len()), block)?;
            first.note(tag, n);
            Ok(())
        },
        |session, scratch| {
            good(&session.wait(|tag| &blocks[first.block(tag) as usize], |_, _, _| {}, scratch)?)
        },
    )?;
    session.run_good(&WRITE_FILEMARK, 0).map(drop)
}

fn read(session: &mut Initiator, blocks: &[Bytes]) -> io::Result<()> {
    let first = FirstTag::default();
    pipeline(
        session,
        (blocks.len() as u64, DEPTH),
        |session, n| {
            let tag = session.start_read(&transfer(0x08, blocks[n as usize].len()), PIECE)?;
            first.note(tag, n);
            Ok(())
        },
        |session, scratch| {
            let (mut wrong, mut wanted) = (None, 0);
            let ended = session.wait(
                |_| &[],
                |tag, offset, bytes| {
                    let n = first.block(tag);
                    let block = &blocks[n as usize];
                    wanted = block.len();
                    if block.get(offset..offset + bytes.len()) != Some(bytes) {
                        wrong = Some(n);
                    }
                },
                scratch,
            )?;
            good(&ended)?;
            match wrong {
                Some(n) => Err(failure(format!("block {n} came back different"))),
                None if ended.received != wanted => {
                    Err(failure(format!("a block came back with {} bytes", ended.received)))
                }
                None => Ok(()),
            }
        },
    )
}
