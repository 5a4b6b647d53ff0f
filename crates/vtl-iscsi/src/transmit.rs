//! What waits to be sent, and its way into bytes.
//!
//! Answers go before data: a NOP-In does not wait behind sixteen megabytes. StatSN, ExpCmdSN and MaxCmdSN are put
//! in when a PDU is cut, so that they are true when it leaves.
//!
//! Headers, pads and digests are cut from one arena; payload is passed on as it came.

use alloc::{collections::VecDeque, vec::Vec};

use bytes::{BufMut, Bytes, BytesMut};

use crate::data_in::{DataInLimits, DataInStream, Finish};
use crate::framing::{Crc32c, DIGEST_LEN, digest_bytes, pad_len};
use crate::pdu::{
    AsyncMessage, Header, LoginResponse, LogoutResponse, NopIn, Numbers, R2t, Reject, ScsiResponse,
    TaskResponse, TextResponse,
};

/// Payload bytes of one `poll`, roughly: what one vectored write can be expected to take.
const MAX_POLL_BYTES: usize = 1 << 20;

/// Pieces of one `poll`, roughly. Below what any system takes in one vectored write (1024 on Linux).
const MAX_POLL_PIECES: usize = 512;

/// Bytes of headers allocated at once.
const ARENA_LEN: usize = 4096;

/// The longest pad.
const PAD: [u8; 3] = [0; 3];

/// Anything but data.
#[derive(Debug)]
pub(crate) enum Reply {
    Login(LoginResponse, Bytes),
    Scsi(ScsiResponse, Vec<u8>),
    Task(TaskResponse),
    Text(TextResponse, Bytes),
    R2t(R2t),
    NopIn(NopIn, Bytes),
    Logout(LogoutResponse),
    Async(AsyncMessage),
    Reject(Reject, Header),
}

impl Reply {
    /// True when the PDU uses up its StatSN. An R2T and a question of ours carry the next one without using it.
    const fn is_answer(&self) -> bool {
        !matches!(self, Self::R2t(_) | Self::NopIn(NopIn::Ping { .. }, _))
    }

    const fn data_len(&self) -> usize {
        match self {
            Self::Login(_, data) | Self::Text(_, data) | Self::NopIn(_, data) => data.len(),
            Self::Scsi(_, sense) => sense.len(),
            _ => 0,
        }
    }

    fn into_parts(self, numbers: Numbers) -> (Header, Bytes) {
        match self {
            Self::Login(pdu, data) => (pdu.encode(numbers), data),
            Self::Scsi(pdu, sense) => (pdu.encode(numbers), sense_segment(sense)),
            Self::Task(pdu) => (pdu.encode(numbers), Bytes::new()),
            Self::Text(pdu, data) => (pdu.encode(numbers), data),
            Self::R2t(pdu) => (pdu.encode(numbers), Bytes::new()),
            Self::NopIn(pdu, data) => (pdu.encode(numbers), data),
            Self::Logout(pdu) => (pdu.encode(numbers), Bytes::new()),
            Self::Async(pdu) => (pdu.encode(numbers), Bytes::new()),
            Self::Reject(pdu, bad) => (pdu.encode(numbers), Bytes::copy_from_slice(bad.as_bytes())),
        }
    }
}

/// SenseLength in two bytes, then the sense data (RFC 7143, 11.4.7.2).
fn sense_segment(sense: Vec<u8>) -> Bytes {
    match u16::try_from(sense.len()) {
        Ok(len) if len > 0 => {
            let mut segment = Vec::with_capacity(2 + sense.len());
            segment.extend(len.to_be_bytes());
            segment.extend(sense);
            segment.into()
        }
        _ => Bytes::new(),
    }
}

/// The numbers that go into what is cut now.
pub(crate) struct Counting<'a> {
    /// The StatSN of the next answer.
    pub stat: &'a mut u32,
    pub exp_cmd: u32,
    pub max_cmd: u32,
}

impl Counting<'_> {
    const fn numbers(&mut self, is_answer: bool) -> Numbers {
        let stat = *self.stat;
        if is_answer {
            *self.stat = stat.wrapping_add(1);
        }
        Numbers { stat, exp_cmd: self.exp_cmd, max_cmd: self.max_cmd }
    }
}

pub(crate) struct Transmit {
    crc32c: Crc32c,
    /// Of headers, of data.
    digests: (bool, bool),
    limits: DataInLimits,
    replies: VecDeque<Reply>,
    streams: VecDeque<DataInStream>,
    arena: BytesMut,
    /// Data bytes that wait or were given out and not yet confirmed.
    pending_bytes: u64,
    /// Of these, what was given out.
    given_bytes: u64,
    /// Something was given out and not yet confirmed.
    given: bool,
}

impl Transmit {
    pub(crate) fn new(crc32c: Crc32c) -> Self {
        Self {
            crc32c,
            digests: (false, false),
            limits: DataInLimits { max_segment: 8192, max_burst: 262_144 },
            replies: VecDeque::new(),
            streams: VecDeque::new(),
            arena: BytesMut::new(),
            pending_bytes: 0,
            given_bytes: 0,
            given: false,
        }
    }

    /// The digests that the login agreed upon, from the PDU after its last response on.
    pub(crate) const fn agree(&mut self, header_digest: bool, data_digest: bool) {
        self.digests = (header_digest, data_digest);
    }

    /// How data is cut from now on.
    pub(crate) const fn cut_by(&mut self, limits: DataInLimits) {
        self.limits = limits;
    }

    pub(crate) fn reply(&mut self, reply: Reply) {
        self.pending_bytes += reply.data_len() as u64;
        self.replies.push_back(reply);
    }

    pub(crate) fn send_data(&mut self, stream: DataInStream) {
        self.pending_bytes += u64::from(stream.left());
        self.streams.push_back(stream);
    }

    /// Answers and streams that wait.
    pub(crate) fn queued(&self) -> usize {
        self.replies.len() + self.streams.len()
    }

    /// Data bytes that wait or are being written.
    pub(crate) const fn pending_bytes(&self) -> u64 {
        self.pending_bytes
    }

    /// True while anything waits or is being written.
    pub(crate) fn is_busy(&self) -> bool {
        self.given || self.queued() > 0
    }

    /// Drops the data streams that `unwanted` picks; how many there were.
    pub(crate) fn drop_streams(&mut self, mut unwanted: impl FnMut(&DataInStream) -> bool) -> usize {
        let before = self.streams.len();
        let mut dropped = 0;
        self.streams.retain(|stream| {
            let gone = unwanted(stream);
            if gone {
                dropped += u64::from(stream.left());
            }
            !gone
        });
        self.pending_bytes = self.pending_bytes.saturating_sub(dropped);
        before - self.streams.len()
    }

    /// True while data of a command with this initiator task tag waits.
    pub(crate) fn has_stream(&self, tag: u32) -> bool {
        self.streams.iter().any(|stream| stream.name.tag == tag)
    }

    /// Drops the R2Ts of a task that wait to be sent.
    pub(crate) fn drop_r2ts(&mut self, task_tag: u32) {
        self.replies.retain(|r| !matches!(r, Reply::R2t(r2t) if r2t.task_tag == task_tag));
    }

    /// Everything that was given out has been written: this many bytes of data.
    pub(crate) const fn confirmed(&mut self) -> u64 {
        let written = self.given_bytes;
        self.pending_bytes = self.pending_bytes.saturating_sub(written);
        self.given_bytes = 0;
        self.given = false;
        written
    }

    /// Appends what can be sent now; true if that was anything.
    pub(crate) fn poll(&mut self, mut counting: Counting<'_>, out: &mut Vec<Bytes>) -> bool {
        let (start, mut bytes) = (out.len(), 0);
        while bytes < MAX_POLL_BYTES && out.len() - start < MAX_POLL_PIECES {
            if let Some(reply) = self.replies.pop_front() {
                let accounted = reply.data_len();
                let in_login = matches!(reply, Reply::Login(..));
                let numbers = counting.numbers(reply.is_answer());
                let (header, data) = reply.into_parts(numbers);
                bytes += data.len();
                self.given_bytes += accounted as u64;
                // Digests hold for what follows the login (13.1), even if it was agreed upon before this was cut.
                let digests = if in_login { (false, false) } else { self.digests };
                self.cut(header, data.len(), digests, out, |out| {
                    if !data.is_empty() {
                        out.push(data);
                    }
                });
            } else if let Some(mut stream) = self.streams.pop_front() {
                bytes += self.cut_data_in(&mut stream, &mut counting, out);
                match stream.left() {
                    0 => self.finish(stream),
                    _ => self.streams.push_front(stream),
                }
            } else {
                break;
            }
        }
        self.given |= out.len() > start;
        out.len() > start
    }

    fn cut_data_in(
        &mut self,
        stream: &mut DataInStream,
        counting: &mut Counting<'_>,
        out: &mut Vec<Bytes>,
    ) -> usize {
        let Some((pdu, len)) = stream.next_pdu(self.limits) else { return 0 };
        let header = pdu.encode(counting.numbers(pdu.status.is_some()));
        self.given_bytes += u64::from(len);
        self.cut(header, len as usize, self.digests, out, |out| stream.take_data(len as usize, out));
        len as usize
    }

    /// After the last data: a SCSI Response, unless the status went with the data.
    fn finish(&mut self, stream: DataInStream) {
        let exp_data_sn = stream.data_sn();
        if let Finish::Response(response, sense) = stream.finish {
            self.reply(Reply::Scsi(ScsiResponse { exp_data_sn, ..response }, sense));
        }
    }

    /// One PDU: header, its digest, payload, pad, payload's digest.
    fn cut(
        &mut self,
        mut header: Header,
        len: usize,
        (header_digest, data_digest): (bool, bool),
        out: &mut Vec<Bytes>,
        payload: impl FnOnce(&mut Vec<Bytes>),
    ) {
        // Payload is bounded by the initiator's MaxRecvDataSegmentLength, a 24-bit number.
        let fits = header.set_data_len(len);
        debug_assert!(fits, "a data segment of {len} bytes");
        if self.arena.capacity() < Header::LEN + 2 * DIGEST_LEN + PAD.len() {
            self.arena.reserve(ARENA_LEN);
        }
        self.arena.put_slice(header.as_bytes());
        if header_digest {
            self.arena.put_slice(&digest_bytes((self.crc32c)(0, header.as_bytes())));
        }
        out.push(self.arena.split().freeze());
        if len == 0 {
            return;
        }
        let first = out.len();
        payload(out);
        let pad = PAD.get(..pad_len(len)).unwrap_or_default();
        self.arena.put_slice(pad);
        if data_digest {
            let data = out.iter().skip(first).fold(0, |crc, piece| (self.crc32c)(crc, piece));
            self.arena.put_slice(&digest_bytes((self.crc32c)(data, pad)));
        }
        if !self.arena.is_empty() {
            out.push(self.arena.split().freeze());
        }
    }
}
