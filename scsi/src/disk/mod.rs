//! The diagnostic disk (SBC-3): a sparse RAM disk on the same engine as the drive and the changer.
//!
//! It exists for tests alone: initiator test suites begin with READ CAPACITY and cannot be pointed at a tape. Its medium is removable, so
//! that prevention of removal, ejecting and loading can be tried too. Pages of memory appear when they are first written; a restart
//! begins with zeros.

mod commands;
mod memory;

use alloc::vec::Vec;

use bytes::Bytes;
use commands::{COMMANDS, Op};
use memory::SparseMemory;

use crate::{
    command::{Cdb, Command, InitiatorPort, NexusId, Reply, Status},
    persist::Persist,
    personality::Personality,
    sense::Check,
    spc::{self, Common, Device, Identity, ModeHeader, ModePage, Row},
    unit::{LogicalUnit, Reset, UnitAttention},
};

/// Bytes of a logical block.
pub const BLOCK_LEN: u32 = 512;
/// Blocks of one READ, WRITE or VERIFY: 8 MiB, as VPD page B0h in the personality says (a test holds them together).
const MAX_TRANSFER_BLOCKS: u32 = 16384;

/// A RAM disk.
#[derive(Debug)]
pub struct RamDisk<P> {
    common: Common<P>,
    memory: SparseMemory,
    blocks: u64,
    /// The medium is in; START STOP UNIT ejects and loads it.
    loaded: bool,
}

/// What READ, WRITE and VERIFY are about.
#[derive(Clone, Copy, Debug)]
struct Extent {
    lba: u64,
    blocks: u32,
    /// Where NUMBER OF BLOCKS stands in the CDB, for a field pointer.
    length_at: u16,
}

impl Extent {
    fn len(self) -> usize {
        usize::try_from(self.blocks).unwrap_or(0) * BLOCK_LEN as usize
    }

    /// LBA and number of blocks by the length of the CDB, which its operation code tells.
    fn of(cdb: &Cdb) -> Self {
        match cdb.opcode() >> 5 {
            0 => {
                let blocks = if cdb.byte(4) == 0 { 256 } else { u32::from(cdb.byte(4)) };
                Self { lba: u64::from(cdb.be24(1) & 0x001f_ffff), blocks, length_at: 4 }
            }
            1 => Self { lba: u64::from(cdb.be32(2)), blocks: u32::from(cdb.be16(7)), length_at: 7 },
            5 => Self { lba: u64::from(cdb.be32(2)), blocks: cdb.be32(6), length_at: 6 },
            _ => Self { lba: cdb.be64(2), blocks: cdb.be32(10), length_at: 10 },
        }
    }
}

impl<P: Persist> RamDisk<P> {
    /// A disk of `bytes` (rounded down to blocks), all zero.
    #[must_use]
    pub fn new(identity: Identity, bytes: u64, persist: P) -> Self {
        let common = Common::new(identity, as_manufactured(), persist);
        Self { common, memory: SparseMemory::default(), blocks: bytes / u64::from(BLOCK_LEN), loaded: true }
    }

    /// The looks of a diagnostic disk.
    #[must_use]
    pub fn personality() -> Option<Personality> {
        Personality::named("vtl-disk")
    }

    /// Logical units of the target, for REPORT LUNS.
    pub fn set_luns(&mut self, luns: Vec<u16>) {
        self.common.set_luns(luns);
    }

    /// The blocks that a command names, all of which exist.
    fn extent(&self, cdb: &Cdb) -> Result<Extent, Check> {
        let extent = Extent::of(cdb);
        let end = extent.lba.checked_add(u64::from(extent.blocks));
        if end.is_none_or(|end| end > self.blocks) {
            return Err(Check::LbaOutOfRange);
        }
        Ok(extent)
    }

    fn transfer(&self, cdb: &Cdb) -> Result<Extent, Check> {
        refuse_protection(cdb)?;
        let extent = self.extent(cdb)?;
        if extent.blocks > MAX_TRANSFER_BLOCKS {
            return Err(Check::cdb(extent.length_at));
        }
        Ok(extent)
    }

    fn read(&self, cdb: &Cdb) -> Result<Reply, Check> {
        let extent = self.transfer(cdb)?;
        let bytes = self.memory.read(extent.lba * u64::from(BLOCK_LEN), extent.len());
        Ok(Reply::data(alloc::vec![Bytes::from(bytes)]))
    }

    fn write(&mut self, command: &Command) -> Result<Reply, Check> {
        let extent = self.transfer(&command.cdb)?;
        let wanted = u64::try_from(extent.len()).unwrap_or(0);
        if self.write_protected() {
            return Ok(Reply::check(Check::WriteProtected).wanting(wanted));
        }
        // FCP-4 and iSCSI: with less data announced than the CDB asks, whole blocks are written as far as data came and the transport
        // reports the rest as residual overflow; a part of a block is refused and nothing is written.
        let came = command.data_out_len().min(extent.len());
        if came % BLOCK_LEN as usize != 0 {
            return Ok(Reply::check(Check::InvalidFieldInInformationUnit).wanting(wanted));
        }
        let mut at = extent.lba * u64::from(BLOCK_LEN);
        let mut left = came;
        for piece in &command.data_out {
            let part = piece.get(..left.min(piece.len())).unwrap_or_default();
            self.memory.write(at, part);
            at += part.len() as u64;
            left -= part.len();
        }
        Ok(Reply::good().wanting(wanted))
    }

    /// WRITE AND VERIFY: BYTCHK 01b reads back what was written and compares it; 00b has nothing more to do in memory.
    fn write_and_verify(&mut self, command: &Command) -> Result<Reply, Check> {
        let compare = compares(&command.cdb)?;
        let written = self.write(command)?;
        if compare && written.status == Status::Good {
            let extent = self.transfer(&command.cdb)?;
            let compared = self.compare(extent, &command.parameter_list(extent.len()));
            return Ok(compared.wanting(written.data_out_wanted));
        }
        Ok(written)
    }

    /// VERIFY: BYTCHK 00b only looks whether the blocks can be read, 01b compares them.
    fn verify(&self, command: &Command) -> Result<Reply, Check> {
        let extent = self.transfer(&command.cdb)?;
        if !compares(&command.cdb)? {
            return Ok(Reply::good());
        }
        let sent = command.parameter_list(extent.len());
        let reply = if sent.len() < extent.len() {
            Reply::check(Check::InvalidFieldInInformationUnit)
        } else {
            self.compare(extent, &sent)
        };
        Ok(reply.wanting(extent.len() as u64))
    }

    /// Whether the blocks from the extent's first on hold `bytes`; INFORMATION is where they differ.
    fn compare(&self, extent: Extent, bytes: &[u8]) -> Reply {
        let stored = self.memory.read(extent.lba * u64::from(BLOCK_LEN), bytes.len());
        match stored.iter().zip(bytes).position(|(stored, sent)| stored != sent) {
            Some(at) => Check::Miscompare { at: i64::try_from(at).ok() }.into(),
            None => Reply::good(),
        }
    }

    fn last_lba(&self) -> u64 {
        self.blocks.saturating_sub(1)
    }

    /// READ CAPACITY(10): PMI and an address are obsolete and must be zero.
    fn read_capacity(&self, cdb: &Cdb) -> Result<Reply, Check> {
        if cdb.be32(2) != 0 && !cdb.bit(8, 0) {
            return Err(Check::cdb(2));
        }
        let last = u32::try_from(self.last_lba()).unwrap_or(u32::MAX);
        let mut bytes = last.to_be_bytes().to_vec();
        bytes.extend(BLOCK_LEN.to_be_bytes());
        Ok(Reply::allocated(bytes, 8))
    }

    fn read_capacity_16(&self, cdb: &Cdb) -> Reply {
        let mut bytes = self.last_lba().to_be_bytes().to_vec();
        bytes.extend(BLOCK_LEN.to_be_bytes());
        bytes.resize(32, 0);
        Reply::allocated(bytes, usize::try_from(cdb.be32(10)).unwrap_or(usize::MAX))
    }

    /// There is no cache: what was written is in memory. The range must exist.
    fn synchronize(&self, cdb: &Cdb) -> Result<Reply, Check> {
        self.extent(cdb).map(|_| Reply::good())
    }

    /// START STOP UNIT. Nothing spins and there are no power conditions, so only LOEJ does something.
    fn start_stop(&mut self, cdb: &Cdb, nexus: NexusId) -> Result<Reply, Check> {
        let (power_condition, eject_bit, start) = (cdb.byte(4) >> 4, cdb.bit(4, 1), cdb.bit(4, 0));
        if power_condition != 0 || !eject_bit {
            return Ok(Reply::good());
        }
        if self.common.removal_prevented() {
            return Err(Check::RemovalPrevented);
        }
        if start && !self.loaded {
            self.common.attention(UnitAttention::MediumChanged, Some(nexus));
        }
        self.loaded = start;
        Ok(Reply::good())
    }

    /// SWP of the control mode page.
    fn write_protected(&self) -> bool {
        self.common.modes().byte(CONTROL, 0, 4) & SWP != 0
    }
}

/// RDPROTECT, WRPROTECT, VRPROTECT: there is no protection information. CDBs of 6 bytes have no such field.
fn refuse_protection(cdb: &Cdb) -> Result<(), Check> {
    let protected = cdb.opcode() >> 5 != 0 && cdb.byte(1) >> 5 != 0;
    if protected { Err(Check::cdb_bit(1, 7)) } else { Ok(()) }
}

/// BYTCHK of VERIFY and WRITE AND VERIFY: 00b no comparison, 01b with the data sent, others are not offered.
fn compares(cdb: &Cdb) -> Result<bool, Check> {
    match cdb.byte(1) & 0x06 {
        0x00 => Ok(false),
        0x02 => Ok(true),
        _ => Err(Check::cdb_bit(1, 2)),
    }
}

const CACHING: u8 = 0x08;
const CONTROL: u8 = 0x0a;
/// SWP: software write protect.
const SWP: u8 = 0x08;
const D_SENSE: u8 = 0x04;
/// DPO and FUA are understood, and without a cache mean nothing.
const DPOFUA: u8 = 0x10;
const WP: u8 = 0x80;

/// Caching (no write cache, read cache) and control.
fn as_manufactured() -> Vec<ModePage> {
    let control = ModePage::new(CONTROL, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    alloc::vec![ModePage::new(CACHING, &[0; 18]), control.changeable(2, D_SENSE).changeable(4, SWP),]
}

impl<P: Persist> Device for RamDisk<P> {
    type Op = Op;
    type Store = P;

    fn commands(&self) -> &'static [Row<Op>] {
        COMMANDS
    }

    fn common(&self) -> &Common<P> {
        &self.common
    }

    fn common_mut(&mut self) -> &mut Common<P> {
        &mut self.common
    }

    fn ready(&mut self) -> Result<(), Check> {
        if self.loaded { Ok(()) } else { Err(Check::MediumNotPresent) }
    }

    fn run(&mut self, op: Op, command: &Command) -> Reply {
        let cdb = &command.cdb;
        let done = match op {
            Op::Read => self.read(cdb),
            Op::Write => self.write(command),
            Op::WriteAndVerify => self.write_and_verify(command),
            Op::Verify => self.verify(command),
            Op::ReadCapacity10 => self.read_capacity(cdb),
            Op::ReadCapacity16 => Ok(self.read_capacity_16(cdb)),
            Op::SynchronizeCache => self.synchronize(cdb),
            Op::StartStop => self.start_stop(cdb, command.nexus),
        };
        done.unwrap_or_else(Reply::check)
    }

    fn mode_header(&self) -> ModeHeader {
        let protected = if self.write_protected() { WP } else { 0 };
        let blocks = u32::try_from(self.blocks).unwrap_or(u32::MAX).to_be_bytes();
        let length = BLOCK_LEN.to_be_bytes();
        let mut descriptor = [0; 8];
        for (to, from) in descriptor.iter_mut().zip(blocks.into_iter().chain(length)) {
            *to = from;
        }
        ModeHeader { medium_type: 0, device_specific: protected | DPOFUA, block_descriptor: Some(descriptor) }
    }

    /// The block descriptor cannot be changed: zeros mean "as it is".
    fn check_mode_select(&self, select: &spc::ModeSelect) -> Result<(), Check> {
        let now = self.mode_header().block_descriptor;
        let wrong = select.block_descriptor.is_some_and(|new| {
            let [_, _, _, _, _, length @ ..] = new;
            Some(new) != now && length != [0, 0x02, 0x00] && new != [0; 8]
        });
        if wrong { Err(Check::parameter(select.block_descriptor_at)) } else { Ok(()) }
    }
}

impl<P: Persist> LogicalUnit for RamDisk<P> {
    fn execute(&mut self, command: &Command) -> Reply {
        spc::execute(self, command)
    }

    fn nexus_opened(&mut self, nexus: NexusId, port: &InitiatorPort) {
        self.common.nexus_opened(nexus, port);
    }

    fn nexus_closed(&mut self, nexus: NexusId) {
        self.common.nexus_closed(nexus);
    }

    fn reset(&mut self, reset: Reset) {
        self.common.reset(reset);
    }

    fn take_aborted(&mut self) -> Vec<NexusId> {
        self.common.take_aborted()
    }

    fn attention(&mut self, what: UnitAttention, except: Option<NexusId>) {
        self.common.attention(what, except);
    }
}

#[cfg(test)]
mod tests;
