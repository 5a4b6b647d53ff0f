//! A small iSCSI initiator for one tape drive: blocking, pipelined, no retries. It shares no code with the target that it measures.

use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};

const LOGIN_REQUEST: u8 = 0x43;
const SCSI_COMMAND: u8 = 0x01;
const DATA_OUT: u8 = 0x05;
const LOGOUT_REQUEST: u8 = 0x46;
const SCSI_RESPONSE: u8 = 0x21;
const LOGIN_RESPONSE: u8 = 0x23;
const DATA_IN: u8 = 0x25;
const LOGOUT_RESPONSE: u8 = 0x26;
const R2T: u8 = 0x31;
const HEADER: usize = 48;
/// What we offer for bursts and segments: the figure that tgt is raised to as well.
const SEGMENT: usize = 262_144;

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
#[derive(Debug)]
pub struct Ended {
    /// SCSI status.
    pub status: u8,
    /// Sense data.
    pub sense: Vec<u8>,
    /// Bytes of Data-In that came.
    pub received: usize,
}

/// A failure with words.
pub fn failure(message: impl Into<String>) -> io::Error {
    io::Error::other(message.into())
}

impl Initiator {
    /// Logs in.
    pub fn login(address: SocketAddr, target: &str, lun: u8, isid: u8) -> io::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
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
            "InitiatorName=iqn.2026-11.internal.vtl:bench".to_owned(),
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
        let mut header = [0; HEADER];
        header[0] = LOGIN_REQUEST;
        header[1] = 0x80 | stage << 2 | next;
        header[8] = 0x80; // random format of ISID
        header[13] = isid;
        header[24..28].copy_from_slice(&self.cmd_sn.to_be_bytes());
        header[28..32].copy_from_slice(&self.exp_stat_sn.to_be_bytes());
        self.send(&mut header, &text)?;
        let mut data = Vec::new();
        let answer = self.receive(&mut data)?;
        if answer[0] & 0x3f != LOGIN_RESPONSE || answer[36] != 0 {
            return Err(failure(format!("login refused: class {:#x} detail {:#x}", answer[36], answer[37])));
        }
        for pair in data.split(|b| *b == 0) {
            self.learn(&String::from_utf8_lossy(pair));
        }
        Ok(answer[1] & 0x80 != 0)
    }

    fn learn(&mut self, pair: &str) {
        let Some((key, value)) = pair.split_once('=') else { return };
        match key {
            "MaxRecvDataSegmentLength" => self.target_segment = value.parse().unwrap_or(8192),
            "FirstBurstLength" => self.first_burst = value.parse().unwrap_or(65536),
            "ImmediateData" => self.immediate = value == "Yes",
            "InitialR2T" => self.initial_r2t = value == "Yes",
            _ => {}
        }
    }

    /// Logs out.
    pub fn logout(mut self) -> io::Result<()> {
        let mut header = [0; HEADER];
        header[0] = LOGOUT_REQUEST;
        header[1] = 0x80;
        header[24..28].copy_from_slice(&self.cmd_sn.to_be_bytes());
        header[28..32].copy_from_slice(&self.exp_stat_sn.to_be_bytes());
        self.send(&mut header, &[])?;
        let mut data = Vec::new();
        while self.receive(&mut data)?[0] & 0x3f != LOGOUT_RESPONSE {}
        Ok(())
    }

    /// Whether the target's command window has room for one more.
    pub fn window_open(&self) -> bool {
        self.max_cmd_sn.wrapping_sub(self.cmd_sn) as i32 >= 0
    }

    /// Sends a command that writes `data`; it may be answered much later.
    pub fn start_write(&mut self, cdb: &[u8], data: &[u8]) -> io::Result<u32> {
        let immediate =
            if self.immediate { data.len().min(self.first_burst).min(self.target_segment) } else { 0 };
        let unsolicited = if self.initial_r2t { immediate } else { data.len().min(self.first_burst) };
        let tag = self.start(cdb, 0x20, data.len(), unsolicited <= immediate, &data[..immediate])?;
        let mut offset = immediate;
        let mut data_sn = 0;
        while offset < unsolicited {
            let end = (offset + self.target_segment).min(unsolicited);
            self.data_out(tag, 0xffff_ffff, data_sn, offset, &data[offset..end], end == unsolicited)?;
            (offset, data_sn) = (end, data_sn + 1);
        }
        Ok(tag)
    }

    /// Sends a command that reads up to `length` bytes.
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
        let tag = self.next_tag;
        self.next_tag += 1;
        let mut header = [0; HEADER];
        header[0] = SCSI_COMMAND;
        header[1] = u8::from(last) << 7 | if length > 0 { direction } else { 0 } | 0x01;
        header[9] = self.lun;
        header[16..20].copy_from_slice(&tag.to_be_bytes());
        header[20..24].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        header[24..28].copy_from_slice(&self.cmd_sn.to_be_bytes());
        header[28..32].copy_from_slice(&self.exp_stat_sn.to_be_bytes());
        header[32..32 + cdb.len()].copy_from_slice(cdb);
        self.cmd_sn = self.cmd_sn.wrapping_add(1);
        self.send(&mut header, immediate)?;
        Ok(tag)
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
        let mut header = [0; HEADER];
        header[0] = DATA_OUT;
        header[1] = u8::from(last) << 7;
        header[9] = self.lun;
        header[16..20].copy_from_slice(&tag.to_be_bytes());
        header[20..24].copy_from_slice(&ttt.to_be_bytes());
        header[28..32].copy_from_slice(&self.exp_stat_sn.to_be_bytes());
        header[36..40].copy_from_slice(&data_sn.to_be_bytes());
        header[40..44].copy_from_slice(&u32::try_from(offset).unwrap_or(u32::MAX).to_be_bytes());
        self.send(&mut header, data)
    }

    /// Waits until some command ends. `writes(tag)` gives the data of a write that the target asks for; `reads(tag, offset, bytes)` takes what comes.
    pub fn wait<'a>(
        &mut self,
        writes: impl Fn(u32) -> &'a [u8],
        mut reads: impl FnMut(u32, usize, &[u8]),
        scratch: &mut Vec<u8>,
    ) -> io::Result<Ended> {
        let mut received = 0;
        loop {
            let header = self.receive(scratch)?;
            let word =
                |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
            let tag = word(16);
            match header[0] & 0x3f {
                R2T => self.answer_r2t(&header, writes(tag))?,
                DATA_IN => {
                    reads(tag, word(40) as usize, scratch);
                    received += scratch.len();
                    if header[1] & 1 != 0 {
                        return Ok(Ended { status: header[3], sense: Vec::new(), received });
                    }
                }
                SCSI_RESPONSE => {
                    return Ok(Ended {
                        status: header[3],
                        sense: scratch.get(2..).unwrap_or_default().to_vec(),
                        received,
                    });
                }
                0x20 => {} // NOP-In
                other => return Err(failure(format!("unexpected PDU {other:#x}"))),
            }
        }
    }

    fn answer_r2t(&mut self, r2t: &[u8; HEADER], data: &[u8]) -> io::Result<()> {
        let word = |at: usize| u32::from_be_bytes([r2t[at], r2t[at + 1], r2t[at + 2], r2t[at + 3]]);
        let (tag, ttt, mut offset) = (word(16), word(20), word(40) as usize);
        let end = offset + word(44) as usize;
        let mut data_sn = 0;
        while offset < end {
            let next = (offset + self.target_segment).min(end);
            let piece = data
                .get(offset..next)
                .ok_or_else(|| failure("the target asks for data beyond the command"))?;
            self.data_out(tag, ttt, data_sn, offset, piece, next == end)?;
            (offset, data_sn) = (next, data_sn + 1);
        }
        Ok(())
    }

    /// Runs one command to its end.
    pub fn run(&mut self, cdb: &[u8], read: usize) -> io::Result<(Ended, Vec<u8>)> {
        self.start_read(cdb, read)?;
        let mut data = vec![0; read];
        let mut scratch = Vec::new();
        let ended = self.wait(
            |_| &[],
            |_, offset, bytes| {
                if let Some(to) = data.get_mut(offset..offset + bytes.len()) {
                    to.copy_from_slice(bytes);
                }
            },
            &mut scratch,
        )?;
        data.truncate(ended.received);
        Ok((ended, data))
    }

    /// Runs one command that must end with GOOD; unit attentions are passed over.
    pub fn run_good(&mut self, cdb: &[u8], read: usize) -> io::Result<Vec<u8>> {
        for _ in 0..20 {
            let (ended, data) = self.run(cdb, read)?;
            match (ended.status, ended.sense.get(2).map(|key| key & 0xf)) {
                (0, _) => return Ok(data),
                (2, Some(6)) => {}
                _ => return Err(failure(format!("command {cdb:02x?} ended with {ended:02x?}"))),
            }
        }
        Err(failure(format!("command {cdb:02x?} meets unit attentions without end")))
    }

    fn send(&mut self, header: &mut [u8; HEADER], data: &[u8]) -> io::Result<()> {
        let length = u32::try_from(data.len()).map_err(io::Error::other)?.to_be_bytes();
        header[5..8].copy_from_slice(&length[1..]);
        let pad = [0; 3];
        let pad = &pad[..data.len().wrapping_neg() % 4];
        let mut slices = [IoSlice::new(header), IoSlice::new(data), IoSlice::new(pad)];
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
    fn receive(&mut self, data: &mut Vec<u8>) -> io::Result<[u8; HEADER]> {
        let mut header = [0; HEADER];
        self.socket.read_exact(&mut header)?;
        let length = u32::from_be_bytes([0, header[5], header[6], header[7]]) as usize;
        let padded = length.next_multiple_of(4);
        if data.len() < padded {
            data.resize(padded, 0);
        }
        data.truncate(padded);
        self.socket.read_exact(data)?;
        data.truncate(length);
        let word =
            |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let op = header[0] & 0x3f;
        if op != R2T && (op != DATA_IN || header[1] & 1 != 0) {
            self.exp_stat_sn = word(24).wrapping_add(1);
        }
        self.max_cmd_sn = word(32);
        Ok(header)
    }
}
