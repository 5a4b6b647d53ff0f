//! An iSCSI initiator of few words, written from RFC 7143: one connection, error recovery level 0, no digests.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;
use super::hash::{chap_response, from_hex, to_hex};

/// Largest data segment that we send and take.
const SEGMENT: usize = 256 << 10;

/// Who logs in where, and how.
#[derive(Clone)]
pub struct Login {
    pub initiator: String,
    /// `None`: discovery.
    pub target: Option<String>,
    pub isid: [u8; 6],
    pub tsih: u16,
    pub cid: u16,
    /// User and secret.
    pub chap: Option<(String, String)>,
    /// The secret that the target must know.
    pub mutual: Option<String>,
    pub immediate_data: bool,
}

impl Login {
    pub fn to(target: &str) -> Self {
        Self {
            initiator: "iqn.2026-11.test.example:host".to_owned(),
            target: Some(target.to_owned()),
            isid: [0x80, 0, 0, 0, 0, 1],
            tsih: 0,
            cid: 1,
            chap: None,
            mutual: None,
            immediate_data: true,
        }
    }

    pub fn discovery() -> Self {
        Self { target: None, ..Self::to("") }
    }

    pub fn isid(self, number: u8) -> Self {
        Self { isid: [0x80, 0, 0, 0, 0, number], ..self }
    }

    pub fn named(self, initiator: &str) -> Self {
        Self { initiator: initiator.to_owned(), ..self }
    }

    pub fn chap(self, user: &str, secret: &str) -> Self {
        Self { chap: Some((user.to_owned(), secret.to_owned())), ..self }
    }

    pub fn mutual(self, secret: &str) -> Self {
        Self { mutual: Some(secret.to_owned()), ..self }
    }
}

/// Why there is no session.
#[derive(Debug)]
pub enum LoginError {
    /// Status class and detail.
    Refused(u8, u8),
    /// The connection ended.
    Dropped(io::Error),
    /// The target does not know its own secret.
    Impostor,
}

impl From<io::Error> for LoginError {
    fn from(error: io::Error) -> Self {
        Self::Dropped(error)
    }
}

/// A PDU: its header and its data segment.
#[derive(Clone, Debug)]
pub struct Pdu {
    pub header: [u8; 48],
    pub data: Vec<u8>,
}

impl Pdu {
    pub fn new(opcode: u8, flags: u8) -> Self {
        let mut header = [0; 48];
        (header[0], header[1]) = (opcode, flags);
        Self { header, data: Vec::new() }
    }

    pub fn opcode(&self) -> u8 {
        self.header[0] & 0x3f
    }

    pub fn u32(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.header[at..at + 4].try_into().unwrap())
    }

    pub fn put(&mut self, at: usize, value: u32) {
        self.header[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }

    pub fn tag(&self) -> u32 {
        self.u32(16)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header.to_vec();
        let length = (self.data.len() as u32).to_be_bytes();
        bytes[5..8].copy_from_slice(&length[1..]);
        bytes.extend_from_slice(&self.data);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }
}

/// How a command ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub status: u8,
    pub sense: Vec<u8>,
    pub data: Vec<u8>,
    /// Positive: underflow; negative: overflow.
    pub residual: i64,
}

impl Outcome {
    /// Key, ASC and ASCQ of fixed sense; zeros when there is none.
    pub fn code(&self) -> (u8, u8, u8) {
        match self.sense.as_slice() {
            [] => (0, 0, 0),
            sense => {
                assert_eq!(sense[0] & 0x7e, 0x70, "fixed format: {sense:02x?}");
                (sense[2] & 0x0f, sense[12], sense[13])
            }
        }
    }

    #[track_caller]
    pub fn good(self) -> Vec<u8> {
        assert_eq!((self.status, self.code()), (0, (0, 0, 0)), "sense {:02x?}", self.sense);
        self.data
    }

    #[track_caller]
    pub fn check(self) -> (u8, u8, u8) {
        assert_eq!(self.status, 0x02, "CHECK CONDITION");
        self.code()
    }
}

struct Task {
    data_out: Vec<u8>,
    lun: u8,
    outcome: Outcome,
    done: bool,
}

/// One logged-in connection.
pub struct Initiator {
    pub socket: TcpStream,
    pub cmd_sn: u32,
    pub max_cmd_sn: u32,
    exp_stat_sn: u32,
    next_tag: u32,
    pub tsih: u16,
    /// What both sides said of operational keys.
    pub keys: HashMap<String, String>,
    tasks: HashMap<u32, Task>,
    /// PDUs that nobody waited for: rejects, asynchronous messages, answers of task management.
    pub other: Vec<Pdu>,
    /// Order in which commands were answered.
    pub finished: Vec<u32>,
    /// R2Ts that are not answered as long as `hold_data` is set.
    pub held: Vec<Pdu>,
    pub hold_data: bool,
}

impl Initiator {
    pub fn login(portal: SocketAddr, login: &Login) -> Result<Self, LoginError> {
        let socket = TcpStream::connect(portal)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let mut initiator = Self {
            socket,
            cmd_sn: 1,
            max_cmd_sn: 1,
            exp_stat_sn: 0,
            next_tag: 1,
            tsih: 0,
            keys: HashMap::new(),
            tasks: HashMap::new(),
            other: Vec::new(),
            finished: Vec::new(),
            held: Vec::new(),
            hold_data: false,
        };
        initiator.security(login)?;
        initiator.operational(login)?;
        Ok(initiator)
    }

    fn security(&mut self, login: &Login) -> Result<(), LoginError> {
        let mut keys = vec![("InitiatorName", login.initiator.clone())];
        match &login.target {
            Some(target) => keys.extend([("SessionType", "Normal".into()), ("TargetName", target.clone())]),
            None => keys.push(("SessionType", "Discovery".into())),
        }
        let Some((user, secret)) = &login.chap else {
            keys.push(("AuthMethod", "None".into()));
            return self.login_step(login, 0, Some(1), &keys).map(drop);
        };
        keys.push(("AuthMethod", "CHAP,None".into()));
        let chosen = self.login_step(login, 0, None, &keys)?;
        assert_eq!(chosen.get("AuthMethod").map(String::as_str), Some("CHAP"));
        let asked = self.login_step(login, 0, None, &[("CHAP_A", "5".into())])?;
        assert_eq!(asked["CHAP_A"], "5");
        let response = chap_response(asked["CHAP_I"].parse().unwrap(), secret, &from_hex(&asked["CHAP_C"]));
        let mut answer = vec![("CHAP_N", user.clone()), ("CHAP_R", to_hex(&response))];
        let challenge = super::noise(u64::from(login.isid[5]) + 7, 16);
        if login.mutual.is_some() {
            answer.extend([("CHAP_I", "77".into()), ("CHAP_C", to_hex(&challenge))]);
        }
        let proof = self.login_step(login, 0, Some(1), &answer)?;
        if let Some(theirs) = &login.mutual {
            let expected = to_hex(&chap_response(77, theirs, &challenge));
            if proof.get("CHAP_R").map(|r| r.to_ascii_lowercase()) != Some(expected) {
                return Err(LoginError::Impostor);
            }
        }
        Ok(())
    }

    fn operational(&mut self, login: &Login) -> Result<(), LoginError> {
        let mut keys = vec![
            ("HeaderDigest", "None".to_owned()),
            ("DataDigest", "None".to_owned()),
            ("MaxRecvDataSegmentLength", SEGMENT.to_string()),
        ];
        if login.target.is_some() {
            let immediate = if login.immediate_data { "Yes" } else { "No" };
            keys.extend([
                ("InitialR2T", "Yes".to_owned()),
                ("ImmediateData", immediate.to_owned()),
                ("FirstBurstLength", SEGMENT.to_string()),
                ("MaxBurstLength", (1 << 20).to_string()),
                ("MaxOutstandingR2T", "1".to_owned()),
                ("MaxConnections", "1".to_owned()),
                ("ErrorRecoveryLevel", "0".to_owned()),
            ]);
        }
        self.keys = self.login_step(login, 1, Some(3), &keys)?;
        Ok(())
    }

    /// One login request and its answer; `next`: the stage to go to.
    fn login_step(
        &mut self,
        login: &Login,
        stage: u8,
        next: Option<u8>,
        keys: &[(&str, String)],
    ) -> Result<HashMap<String, String>, LoginError> {
        let flags = next.map_or(0, |next| 0x80 | next) | stage << 2;
        let mut pdu = Pdu::new(0x43, flags);
        pdu.header[8..14].copy_from_slice(&login.isid);
        pdu.header[14..16].copy_from_slice(&login.tsih.to_be_bytes());
        pdu.header[20..22].copy_from_slice(&login.cid.to_be_bytes());
        pdu.put(24, self.cmd_sn);
        pdu.put(28, self.exp_stat_sn);
        for (key, value) in keys {
            pdu.data.extend_from_slice(format!("{key}={value}\0").as_bytes());
        }
        self.send(&pdu)?;
        let answer = self.receive()?;
        assert_eq!(answer.opcode(), 0x23, "a login response");
        match (answer.header[36], answer.header[37]) {
            (0, 0) => {}
            (class, detail) => return Err(LoginError::Refused(class, detail)),
        }
        self.exp_stat_sn = answer.u32(24).wrapping_add(1);
        self.cmd_sn = answer.u32(28);
        self.max_cmd_sn = answer.u32(32);
        self.tsih = u16::from_be_bytes([answer.header[14], answer.header[15]]);
        Ok(pairs(&answer.data).into_iter().collect())
    }

    pub fn send(&mut self, pdu: &Pdu) -> io::Result<()> {
        self.socket.write_all(&pdu.bytes())
    }

    /// The next PDU, whatever it is.
    pub fn receive(&mut self) -> io::Result<Pdu> {
        let mut header = [0; 48];
        self.socket.read_exact(&mut header)?;
        assert_eq!(header[4], 0, "no additional headers from a target");
        let length = u32::from_be_bytes([0, header[5], header[6], header[7]]) as usize;
        let mut data = vec![0; length.next_multiple_of(4)];
        self.socket.read_exact(&mut data)?;
        data.truncate(length);
        Ok(Pdu { header, data })
    }

    pub fn tag(&mut self) -> u32 {
        self.next_tag += 1;
        self.next_tag
    }

    /// Fills in the numbers of a request that is not immediate, and sends it.
    pub fn send_numbered(&mut self, pdu: &mut Pdu) {
        pdu.put(24, self.cmd_sn);
        pdu.put(28, self.exp_stat_sn);
        if pdu.header[0] & 0x40 == 0 {
            self.cmd_sn = self.cmd_sn.wrapping_add(1);
        }
        self.send(pdu).unwrap();
    }

    /// Sends a command and does not wait.
    pub fn start(&mut self, lun: u8, cdb: &[u8], read: usize, write: &[u8]) -> u32 {
        let flags = 0x80 | u8::from(read > 0) << 6 | u8::from(!write.is_empty()) << 5 | 1;
        let mut pdu = Pdu::new(0x01, flags);
        pdu.header[9] = lun;
        let tag = self.tag();
        pdu.put(16, tag);
        pdu.put(20, read.max(write.len()) as u32);
        pdu.header[32..32 + cdb.len()].copy_from_slice(cdb);
        if self.keys.get("ImmediateData").map(String::as_str) == Some("Yes") {
            pdu.data = write[..write.len().min(SEGMENT)].to_vec();
        }
        let task = Task { data_out: write.to_vec(), lun, outcome: Outcome::default(), done: false };
        self.tasks.insert(tag, task);
        self.send_numbered(&mut pdu);
        tag
    }

    /// Waits for the answer to a command.
    #[track_caller]
    pub fn wait(&mut self, tag: u32) -> Outcome {
        self.try_wait(tag).unwrap_or_else(|error| panic!("no answer to {tag}: {error}"))
    }

    pub fn try_wait(&mut self, tag: u32) -> io::Result<Outcome> {
        while !self.tasks[&tag].done {
            self.step()?;
        }
        Ok(self.tasks.remove(&tag).unwrap().outcome)
    }

    /// Whether the answer has been read already.
    pub fn is_done(&self, tag: u32) -> bool {
        self.tasks.get(&tag).is_none_or(|task| task.done)
    }

    #[track_caller]
    pub fn run(&mut self, lun: u8, cdb: &[u8], read: usize, write: &[u8]) -> Outcome {
        let tag = self.start(lun, cdb, read, write);
        self.wait(tag)
    }

    /// Takes one PDU and does what it asks.
    pub fn step(&mut self) -> io::Result<()> {
        let pdu = self.receive()?;
        self.take_numbers(&pdu);
        match pdu.opcode() {
            0x20 if pdu.u32(20) != u32::MAX => self.answer_ping(&pdu)?,
            0x21 => self.response(&pdu),
            0x25 => self.data_in(&pdu),
            0x31 if self.hold_data => self.held.push(pdu),
            0x31 => self.data_out(&pdu)?,
            _ => self.other.push(pdu),
        }
        Ok(())
    }

    fn take_numbers(&mut self, pdu: &Pdu) {
        let has_status = match pdu.opcode() {
            0x25 => pdu.header[1] & 1 != 0,
            0x31 => false,
            0x20 => pdu.u32(16) != u32::MAX,
            _ => true,
        };
        if has_status {
            self.exp_stat_sn = pdu.u32(24).wrapping_add(1);
        }
        let max = pdu.u32(32);
        if max.wrapping_sub(self.max_cmd_sn) < 1 << 31 {
            self.max_cmd_sn = max;
        }
    }

    fn answer_ping(&mut self, ping: &Pdu) -> io::Result<()> {
        let mut pong = Pdu::new(0x40, 0x80);
        pong.header[8..16].copy_from_slice(&ping.header[8..16]);
        pong.put(16, u32::MAX);
        pong.put(20, ping.u32(20));
        pong.put(24, self.cmd_sn);
        pong.put(28, self.exp_stat_sn);
        self.send(&pong)
    }

    fn response(&mut self, pdu: &Pdu) {
        let task = self.tasks.get_mut(&pdu.tag()).expect("a status for a command of ours");
        assert_eq!(pdu.header[2], 0, "completed at the target");
        if let [high, low, sense @ ..] = pdu.data.as_slice() {
            task.outcome.sense = sense[..usize::from(u16::from_be_bytes([*high, *low]))].to_vec();
        }
        finish(task, pdu);
        self.finished.push(pdu.tag());
    }

    fn data_in(&mut self, pdu: &Pdu) {
        let task = self.tasks.get_mut(&pdu.tag()).expect("data for a command of ours");
        assert_eq!(pdu.u32(40) as usize, task.outcome.data.len(), "in order");
        task.outcome.data.extend_from_slice(&pdu.data);
        if pdu.header[1] & 1 != 0 {
            finish(task, pdu);
            self.finished.push(pdu.tag());
        }
    }

    pub fn data_out(&mut self, r2t: &Pdu) -> io::Result<()> {
        let task = &self.tasks[&r2t.tag()];
        let (offset, length) = (r2t.u32(40) as usize, r2t.u32(44) as usize);
        let wanted = task.data_out[offset..offset + length].to_vec();
        let lun = task.lun;
        let pieces: Vec<&[u8]> = wanted.chunks(SEGMENT).collect();
        for (number, piece) in pieces.iter().enumerate() {
            let last = number + 1 == pieces.len();
            let mut pdu = Pdu::new(0x05, if last { 0x80 } else { 0 });
            pdu.header[9] = lun;
            pdu.put(16, r2t.tag());
            pdu.put(20, r2t.u32(20));
            pdu.put(28, self.exp_stat_sn);
            pdu.put(36, number as u32);
            pdu.put(40, (offset + number * SEGMENT) as u32);
            pdu.data = piece.to_vec();
            self.send(&pdu)?;
        }
        Ok(())
    }

    /// Sends what R2Ts asked for while `hold_data` was set.
    pub fn release_data(&mut self) {
        self.hold_data = false;
        for r2t in std::mem::take(&mut self.held) {
            self.data_out(&r2t).unwrap();
        }
    }

    /// A request whose answer has `opcode`.
    fn exchange(&mut self, mut pdu: Pdu, opcode: u8) -> io::Result<Pdu> {
        let tag = self.tag();
        pdu.put(16, tag);
        self.send_numbered(&mut pdu);
        loop {
            let found = self.other.iter().position(|p| p.opcode() == opcode && p.tag() == tag);
            if let Some(at) = found {
                return Ok(self.other.remove(at));
            }
            if let Some(reject) = self.other.iter().find(|p| p.opcode() == 0x3f) {
                return Ok(reject.clone());
            }
            self.step()?;
        }
    }

    /// Task management, immediate; the response code.
    pub fn manage(&mut self, function: u8, lun: u8, referenced: u32) -> u8 {
        let mut pdu = Pdu::new(0x42, 0x80 | function);
        pdu.header[9] = lun;
        pdu.put(20, if referenced == 0 { u32::MAX } else { referenced });
        pdu.put(32, self.cmd_sn);
        self.exchange(pdu, 0x22).unwrap().header[2]
    }

    /// SendTargets; the answer's pairs.
    pub fn send_targets(&mut self, of: &str) -> Vec<(String, String)> {
        let mut pdu = Pdu::new(0x04, 0x80);
        pdu.put(20, u32::MAX);
        pdu.data = format!("SendTargets={of}\0").into_bytes();
        let answer = self.exchange(pdu, 0x24).unwrap();
        assert_eq!(answer.opcode(), 0x24, "a text response");
        pairs(&answer.data)
    }

    /// Logs out; the response code. The target closes the connection.
    pub fn logout(&mut self) -> u8 {
        let mut pdu = Pdu::new(0x46, 0x80);
        pdu.header[20..22].copy_from_slice(&1_u16.to_be_bytes());
        self.exchange(pdu, 0x26).unwrap().header[2]
    }

    /// Whether the target closes this connection; what came before is taken.
    pub fn is_closed_by_peer(&mut self) -> bool {
        loop {
            match self.step() {
                Ok(()) => {}
                Err(error) => {
                    return !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                }
            }
        }
    }
}

fn finish(task: &mut Task, pdu: &Pdu) {
    task.done = true;
    task.outcome.status = pdu.header[3];
    let residual = i64::from(pdu.u32(44));
    task.outcome.residual = match pdu.header[1] & 0x06 {
        0x02 => residual,
        0x04 => -residual,
        _ => 0,
    };
}

fn pairs(text: &[u8]) -> Vec<(String, String)> {
    text.split(|b| *b == 0)
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let pair = String::from_utf8(pair.to_vec()).unwrap();
            let (key, value) = pair.split_once('=').unwrap();
            (key.to_owned(), value.to_owned())
        })
        .collect()
}
