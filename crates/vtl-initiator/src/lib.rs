//! A small iSCSI initiator (RFC 7143): one connection, one logical unit, blocking, pipelined, error recovery level 0, no digests, no retries.
//!
//! It shares no code with the target that it talks to, and takes nothing that a target says for granted: what does not fit ends the session with
//! an error. Benchmarks measure with it, and `vtl lab` is a host with it. CDBs are opaque bytes.

mod header;

use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::header::{Header, at};

const LOGIN_REQUEST: u8 = 0x43;
const NOP_OUT: u8 = 0x00;
const SCSI_COMMAND: u8 = 0x01;
const DATA_OUT: u8 = 0x05;
const LOGOUT_REQUEST: u8 = 0x46;
const NOP_IN: u8 = 0x20;
const SCSI_RESPONSE: u8 = 0x21;
const LOGIN_RESPONSE: u8 = 0x23;
const DATA_IN: u8 = 0x25;
const LOGOUT_RESPONSE: u8 = 0x26;
const R2T: u8 = 0x31;
/// The opcode without the bit of immediate delivery.
const OPCODE: u8 = 0x3f;
/// The bit F of most PDUs, T of a login.
const FINAL: u8 = 0x80;
/// The response "command completed at target"; with any other the status says nothing (RFC 7143, 11.4.3).
const COMMAND_COMPLETED: u8 = 0;
/// A tag that means none.
const NO_TAG: u32 = 0xffff_ffff;
/// What we offer for bursts and segments: the figure that tgt is raised to as well. No data segment that comes is longer.
const SEGMENT: usize = 262_144;
/// The longest CDB that fits into a header.
const LONGEST_CDB: usize = 16;
/// A target that says nothing for so long will not say more. Rewinds and whole libraries fit into it.
const PATIENCE: Duration = Duration::from_secs(300);
/// Unit attentions that one command may meet: one for each thing that can happen to a unit, and some more.
const MOST_ATTENTIONS: usize = 20;
/// PDUs that may come before some command ends: more than those of all that can be on their way.
const MOST_PDUS: usize = 1 << 20;
/// PDUs that may come after a request to log out.
const MOST_STRAGGLERS: usize = 10_000;

/// One session with a target.
pub struct Initiator {
    socket: TcpStream,
    lun: u8,
    cmd_sn: u32,
    exp_stat_sn: u32,
    max_cmd_sn: u32,
    next_tag: u32,
    target_segment: usize,
    first_burst: usize,
    immediate: bool,
    initial_r2t: bool,
}

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// The command's tag, as `start_write` and `start_read` gave it.
    pub tag: u32,
    /// SCSI status.
    pub status: u8,
    /// Sense data.
    pub sense: Vec<u8>,
    /// Bytes of Data-In that came.
    pub received: usize,
}

impl Ended {
    /// The sense key of fixed sense data; 0 when there is none.
    #[must_use]
    pub fn sense_key(&self) -> u8 {
        self.sense.get(2).map_or(0, |byte| byte & 0x0f)
    }

    /// Whether a filemark ended it: the bit FILEMARK of fixed sense data.
    #[must_use]
    pub fn filemark(&self) -> bool {
        self.sense.get(2).is_some_and(|byte| byte & 0x80 != 0)
    }
}

/// A failure with words.
pub fn failure(message: impl Into<String>) -> io::Error {
    io::Error::other(message.into())
}

impl Initiator {
    /// Logs in. `isid`: sessions of one initiator have one each.
    ///
    /// # Errors
    /// The target does not answer, or refuses.
    pub fn login(address: SocketAddr, target: &str, lun: u8, isid: u8) -> io::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let mut session = Self {
            socket,
            lun,
            cmd_sn: 1,
            exp_stat_sn: 0,
            max_cmd_sn: 1,
            next_tag: 1,
            target_segment: 8192,
            first_burst: 65536,
            immediate: true,
            initial_r2t: true,
        };
        let keys = [
            "InitiatorName=iqn.2026-11.internal.vtl:initiator".to_owned(),
            format!("TargetName={target}"),
            "SessionType=Normal".to_owned(),
            "HeaderDigest=None".to_owned(),
            "DataDigest=None".to_owned(),
            "InitialR2T=No".to_owned(),
            "ImmediateData=Yes".to_owned(),
            "MaxOutstandingR2T=1".to_owned(),
            "ErrorRecoveryLevel=0".to_owned(),
            "MaxConnections=1".to_owned(),
            format!("MaxRecvDataSegmentLength={SEGMENT}"),
            format!("MaxBurstLength={SEGMENT}"),
            format!("FirstBurstLength={SEGMENT}"),
            "DefaultTime2Wait=2".to_owned(),
            "DefaultTime2Retain=0".to_owned(),
        ];
        if !session.login_exchange(&keys, isid, 1, 3)? && !session.login_exchange(&[], isid, 1, 3)? {
            return Err(failure("the target does not follow into full feature phase"));
        }
        Ok(session)
    }

    fn login_exchange(&mut self, keys: &[String], isid: u8, stage: u8, next: u8) -> io::Result<bool> {
        let text: Vec<u8> = keys.iter().flat_map(|k| k.bytes().chain([0])).collect();
        let mut header = Header::new(LOGIN_REQUEST, FINAL | stage << 2 | next);
        header.put_byte(at::ISID, 0x80); // random format of ISID
        header.put_byte(at::ISID_LAST, isid);
        self.number(&mut header);
        self.send(header, &text)?;
        let mut data = Vec::new();
        let answer = self.receive(&mut data)?;
        let (class, detail) = (answer.byte(at::LOGIN_CLASS), answer.byte(at::LOGIN_DETAIL));
        if answer.opcode() != LOGIN_RESPONSE || class != 0 {
            return Err(failure(format!("login refused: class {class:#x} detail {detail:#x}")));
        }
        for pair in data.split(|b| *b == 0) {
            self.learn(&String::from_utf8_lossy(pair));
        }
        Ok(answer.flags() & FINAL != 0)
    }

    fn learn(&mut self, pair: &str) {
        let Some((key, value)) = pair.split_once('=') else { return };
        match key {
            // A segment of nothing would never get anywhere; RFC 7143, 13.12 has 512 as the least.
            "MaxRecvDataSegmentLength" => self.target_segment = value.parse().unwrap_or(8192).max(512),
            "FirstBurstLength" => self.first_burst = value.parse().unwrap_or(65536),
            "ImmediateData" => self.immediate = value == "Yes",
            "InitialR2T" => self.initial_r2t = value == "Yes",
            _ => {}
        }
    }

    /// Logs out.
    ///
    /// # Errors
    /// The connection ends before the target has answered.
    pub fn logout(mut self) -> io::Result<()> {
        let mut header = Header::new(LOGOUT_REQUEST, FINAL);
        self.number(&mut header);
        self.send(header, &[])?;
        let mut data = Vec::new();
        for _ in 0..MOST_STRAGGLERS {
            if self.receive(&mut data)?.opcode() == LOGOUT_RESPONSE {
                return Ok(());
            }
        }
        Err(failure("the target does not answer a logout"))
    }

    /// Whether the target's command window has room for one more.
    #[must_use]
    pub fn window_open(&self) -> bool {
        self.max_cmd_sn.wrapping_sub(self.cmd_sn) as i32 >= 0
    }

    /// Sends a command that writes `data`; it may be answered much later.
    ///
    /// # Errors
    /// The connection is lost, or the CDB fits into no header.
    pub fn start_write(&mut self, cdb: &[u8], data: &[u8]) -> io::Result<u32> {
        let immediate =
            if self.immediate { data.len().min(self.first_burst).min(self.target_segment) } else { 0 };
        let unsolicited = if self.initial_r2t { immediate } else { data.len().min(self.first_burst) };
        let (first, rest) = data.split_at(immediate);
        let tag = self.start(cdb, 0x20, data.len(), unsolicited <= immediate, first)?;
        let mut offset = immediate;
        let unsolicited = rest.get(..unsolicited.saturating_sub(immediate)).unwrap_or_default();
        let pieces = unsolicited.chunks(self.target_segment);
        let last = pieces.len();
        for (number, piece) in (0..).zip(pieces) {
            self.data_out(tag, NO_TAG, number, offset, piece, number as usize + 1 == last)?;
            offset += piece.len();
        }
        Ok(tag)
    }

    /// Sends a command that reads up to `length` bytes.
    ///
    /// # Errors
    /// As [`Initiator::start_write`].
    pub fn start_read(&mut self, cdb: &[u8], length: usize) -> io::Result<u32> {
        self.start(cdb, 0x40, length, true, &[])
    }

    fn start(
        &mut self,
        cdb: &[u8],
        direction: u8,
        length: usize,
        last: bool,
        immediate: &[u8],
    ) -> io::Result<u32> {
        if cdb.len() > LONGEST_CDB {
            return Err(failure(format!("a CDB of {} bytes fits into no header", cdb.len())));
        }
        let tag = self.next_tag;
        self.next_tag = self.next_tag.wrapping_add(1);
        let flags = u8::from(last) << 7 | if length > 0 { direction } else { 0 } | 0x01;
        let mut header = Header::new(SCSI_COMMAND, flags);
        header.put_byte(at::LUN, self.lun);
        header.put(at::TAG, tag);
        header.put(at::EXPECTED_LENGTH, u32::try_from(length).unwrap_or(u32::MAX));
        self.number(&mut header);
        header.put_bytes(at::CDB, cdb);
        self.cmd_sn = self.cmd_sn.wrapping_add(1);
        self.send(header, immediate)?;
        Ok(tag)
    }

    /// CmdSN and ExpStatSN.
    fn number(&self, header: &mut Header) {
        header.put(at::CMD_SN, self.cmd_sn);
        header.put(at::EXP_STAT_SN, self.exp_stat_sn);
    }

    fn data_out(
        &mut self,
        tag: u32,
        ttt: u32,
        data_sn: u32,
        offset: usize,
        data: &[u8],
        last: bool,
    ) -> io::Result<()> {
        let mut header = Header::new(DATA_OUT, u8::from(last) << 7);
        header.put_byte(at::LUN, self.lun);
        header.put(at::TAG, tag);
        header.put(at::TRANSFER_TAG, ttt);
        header.put(at::EXP_STAT_SN, self.exp_stat_sn);
        header.put(at::DATA_SN, data_sn);
        header.put(at::BUFFER_OFFSET, u32::try_from(offset).unwrap_or(u32::MAX));
        self.send(header, data)
    }

    /// Waits until some command ends. `writes(tag)` gives the data of a write that the target asks for; `reads(tag, offset, bytes)` takes what comes.
    ///
    /// # Errors
    /// The connection is lost, or the target sends what no target may.
    pub fn wait<'a>(
        &mut self,
        writes: impl Fn(u32) -> &'a [u8],
        mut reads: impl FnMut(u32, usize, &[u8]),
        scratch: &mut Vec<u8>,
    ) -> io::Result<Ended> {
        let mut received = 0;
        for _ in 0..MOST_PDUS {
            let header = self.receive(scratch)?;
            let (tag, status) = (header.word(at::TAG), header.byte(at::STATUS));
            match header.opcode() {
                R2T => self.answer_r2t(&header, writes(tag))?,
                DATA_IN => {
                    reads(tag, header.word(at::BUFFER_OFFSET) as usize, scratch);
                    received += scratch.len();
                    if header.flags() & 1 != 0 {
                        return Ok(Ended { tag, status, sense: Vec::new(), received });
                    }
                }
                SCSI_RESPONSE if header.byte(at::RESPONSE) != COMMAND_COMPLETED => {
                    return Err(failure("the target could not complete a command"));
                }
                SCSI_RESPONSE => {
                    let sense = scratch.get(2..).unwrap_or_default().to_vec();
                    return Ok(Ended { tag, status, sense, received });
                }
                NOP_IN => self.answer_ping(&header)?,
                other => return Err(failure(format!("unexpected PDU {other:#x}"))),
            }
        }
        Err(failure("the target sends without end, and no command ends"))
    }

    /// A target that asks whether we are there wants its tag back.
    fn answer_ping(&mut self, ping: &Header) -> io::Result<()> {
        let ttt = ping.word(at::TRANSFER_TAG);
        if ttt == NO_TAG {
            return Ok(());
        }
        let mut pong = Header::new(NOP_OUT | 0x40, FINAL);
        pong.put_byte(at::LUN, self.lun);
        pong.put(at::TAG, NO_TAG);
        pong.put(at::TRANSFER_TAG, ttt);
        self.number(&mut pong);
        self.send(pong, &[])
    }

    fn answer_r2t(&mut self, r2t: &Header, data: &[u8]) -> io::Result<()> {
        let (tag, ttt) = (r2t.word(at::TAG), r2t.word(at::TRANSFER_TAG));
        let offset = r2t.word(at::BUFFER_OFFSET) as usize;
        let end = offset.saturating_add(r2t.word(at::DESIRED_LENGTH) as usize);
        let wanted =
            data.get(offset..end).ok_or_else(|| failure("the target asks for data beyond the command"))?;
        let pieces = wanted.chunks(self.target_segment);
        let last = pieces.len();
        let mut offset = offset;
        for (number, piece) in (0..).zip(pieces) {
            self.data_out(tag, ttt, number, offset, piece, number as usize + 1 == last)?;
            offset += piece.len();
        }
        Ok(())
    }

    /// Runs one command to its end, with `read` bytes at most that come.
    ///
    /// # Errors
    /// As [`Initiator::wait`].
    pub fn run(&mut self, cdb: &[u8], read: usize) -> io::Result<(Ended, Vec<u8>)> {
        let mine = self.start_read(cdb, read)?;
        let mut data = vec![0; read];
        let (mut filled, mut fits) = (0, true);
        let ended = self.wait(
            |_| &[],
            // In order and without a gap: DataSequenceInOrder and DataPDUInOrder are not negotiated away.
            |_, offset, bytes| match data.get_mut(filled..filled + bytes.len()) {
                Some(to) if offset == filled => {
                    to.copy_from_slice(bytes);
                    filled += bytes.len();
                }
                _ => fits = false,
            },
            &mut Vec::new(),
        )?;
        if !fits || ended.tag != mine {
            return Err(failure(
                "the target sends data that is not the command's next, or answers another one",
            ));
        }
        data.truncate(filled);
        Ok((ended, data))
    }

    /// Runs one command that must end with GOOD; unit attentions are passed over.
    ///
    /// # Errors
    /// It does not.
    pub fn run_good(&mut self, cdb: &[u8], read: usize) -> io::Result<Vec<u8>> {
        let mut came = Vec::new();
        self.good(cdb, |session| {
            let (ended, data) = session.run(cdb, read)?;
            came = data;
            Ok(ended)
        })?;
        Ok(came)
    }

    /// Runs one command that takes `data` and must end with GOOD; unit attentions are passed over.
    ///
    /// # Errors
    /// It does not.
    pub fn write_good(&mut self, cdb: &[u8], data: &[u8]) -> io::Result<()> {
        self.good(cdb, |session| {
            let mine = session.start_write(cdb, data)?;
            let ended = session.wait(|_| data, |_, _, _| {}, &mut Vec::new())?;
            if ended.tag == mine { Ok(ended) } else { Err(failure("the target answers another command")) }
        })
    }

    fn good(
        &mut self,
        cdb: &[u8],
        mut command: impl FnMut(&mut Self) -> io::Result<Ended>,
    ) -> io::Result<()> {
        for _ in 0..MOST_ATTENTIONS {
            let ended = command(self)?;
            match (ended.status, ended.sense_key()) {
                (0, _) => return Ok(()),
                (2, 6) => {}
                _ => return Err(failure(format!("command {cdb:02x?} ended with {ended:02x?}"))),
            }
        }
        Err(failure(format!("command {cdb:02x?} meets unit attentions without end")))
    }

    fn send(&mut self, mut header: Header, data: &[u8]) -> io::Result<()> {
        header.put_length(data.len())?;
        let padding = [0; 3];
        let padding = padding.get(..data.len().wrapping_neg() % 4).unwrap_or_default();
        let mut slices = [IoSlice::new(header.bytes()), IoSlice::new(data), IoSlice::new(padding)];
        let mut left = &mut slices[..];
        while left.iter().any(|s| !s.is_empty()) {
            let written = self.socket.write_vectored(left)?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut left, written);
        }
        Ok(())
    }

    /// The next PDU; its data segment goes to `data`.
    fn receive(&mut self, data: &mut Vec<u8>) -> io::Result<Header> {
        let header = Header::read(&mut self.socket)?;
        let length = header.length();
        if length > SEGMENT || header.byte(at::AHS_LENGTH) != 0 {
            return Err(failure(format!(
                "the target sends {length} bytes at once, or headers behind the first"
            )));
        }
        data.resize(length.next_multiple_of(4), 0);
        self.socket.read_exact(data)?;
        data.truncate(length);
        let status_comes = match header.opcode() {
            R2T => false,
            DATA_IN => header.flags() & 1 != 0,
            // One that asks for an answer does not count.
            NOP_IN => header.word(at::TAG) != NO_TAG,
            _ => true,
        };
        if status_comes {
            self.exp_stat_sn = header.word(at::STAT_SN).wrapping_add(1);
        }
        self.max_cmd_sn = header.word(at::MAX_CMD_SN);
        Ok(header)
    }
}

#[cfg(test)]
mod tests;
