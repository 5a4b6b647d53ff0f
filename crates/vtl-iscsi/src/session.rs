//! The full feature phase of one session with one connection, error recovery level 0.
//!
//! A command goes through: header accepted (its number is in the window, its tag is free) → data gathered →
//! its turn has come → handed to the device side → completed → data and status sent. Three orders meet here:
//!
//! - PDUs with a CmdSN act in CmdSN order ([`CommandWindow`]); what came early is held. ExpCmdSN moves when the
//!   *header* is in order, not when the data has come, so that an abort is never stuck behind what it aborts.
//! - Commands are handed out in CmdSN order too ([`Session::deliver`]), each with all its data.
//! - Immediate PDUs are outside both.
//!
//! Invariants, restored after each PDU, completion and abort: `occupied` = commands in the table whose number has
//! been passed; `charged` = sum of what each command in the table counts for; `busy` = the part of it that was
//! handed out; `delivery` holds every ordered command that was not handed out (and ids that are gone).

use alloc::{collections::VecDeque, string::String, sync::Arc, vec::Vec};

use bytes::Bytes;

use crate::config::{Limits, Portal};
use crate::data_in::{DataInLimits, DataInStream, Finish};
use crate::data_out::{Condition, DataFault, DataLimits, Gather};
use crate::event::{CloseReason, Counters, Event, Outcome, ScsiCommand, TaskId};
use crate::framing::{Crc32c, Frame};
use crate::login::{LoggedIn, SessionKind};
use crate::nop;
use crate::params::{Digest, Params};
use crate::pdu::{
    DataInStatus, DataOut, Header, LogoutReason, LogoutRequest, LogoutResponse, LogoutResult, Malformed,
    NopOut, Opcode, R2t, RESERVED_TAG, Reject, RejectReason, Residual, ScsiRequest, ScsiResponse, Snack,
    TaskRequest, TextRequest,
};
use crate::tasks::{Task, TaskTable};
use crate::text_exchange::TextExchange;
use crate::tmf::TaskManagement;
use crate::transmit::{Counting, Reply, Transmit};
use crate::window::{CommandWindow, sn_before};

/// Immediate commands that may run at once; the standard wants at least one (RFC 7143, 4.2.2.1).
const MAX_IMMEDIATE: usize = 16;

/// Answers that may wait to be sent before no more requests are read.
const MAX_QUEUED: usize = 512;

/// Bytes of data that PDUs other than SCSI commands may hold while they wait for their turn.
const MAX_HELD_BYTES: usize = 64 << 10;

/// Longest sense data that is passed on.
const MAX_SENSE: usize = 252;

/// SAM status values that mean something here.
const GOOD: u8 = 0x00;
const CHECK_CONDITION: u8 = 0x02;

/// What waits for its number.
#[derive(Debug)]
enum Held {
    Command(TaskId),
    Other(Frame),
    /// Never came and never will: aborted (RFC 7143, 11.6.1).
    Plugged,
}

/// How a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    LoggedOut,
    Closed(CloseReason),
}

pub(crate) struct Session {
    pub out: Transmit,
    pub events: VecDeque<Event>,
    pub counters: Counters,
    /// Set once: nothing more is taken from the peer.
    pub ending: Option<Ending>,
    pub(crate) tmf: TaskManagement,
    pub(crate) tasks: TaskTable,
    pub(crate) text: TextExchange,
    pub(crate) portal: Arc<Portal>,
    pub(crate) params: Params,
    pub(crate) login: Option<LoggedIn>,
    /// The address that the connection came to.
    pub(crate) local_address: String,
    window: CommandWindow<Held>,
    held_bytes: usize,
    delivery: VecDeque<TaskId>,
    data_limits: DataLimits,
    /// The StatSN of the next answer.
    stat_sn: u32,
    /// The highest ExpStatSN seen.
    acknowledged: u32,
    cid: u16,
    occupied: u32,
    immediate: usize,
    arrivals: u64,
    charged: u64,
    busy: u64,
    /// Bytes that may be in flight now: `Limits::max_bytes_in_flight`, or less while all sessions together hold too much.
    room: u64,
    /// An R2T was put off for lack of room.
    starved: bool,
    transfer_tag: u32,
}

impl Session {
    /// A session before its login.
    pub(crate) fn new(portal: Arc<Portal>, local_address: String, crc32c: Crc32c) -> Self {
        let params = Params::default();
        Self {
            out: Transmit::new(crc32c),
            events: VecDeque::new(),
            counters: Counters::default(),
            ending: None,
            tmf: TaskManagement::default(),
            tasks: TaskTable::default(),
            text: TextExchange::default(),
            window: CommandWindow::new(0, portal.limits.command_window),
            room: portal.limits.max_bytes_in_flight,
            data_limits: data_limits(&params),
            portal,
            params,
            login: None,
            local_address,
            held_bytes: 0,
            delivery: VecDeque::new(),
            stat_sn: 0,
            acknowledged: 0,
            cid: 0,
            occupied: 0,
            immediate: 0,
            arrivals: 0,
            charged: 0,
            busy: 0,
            starved: false,
            transfer_tag: 0,
        }
    }

    /// The first login request has come: it says where the command numbers start.
    pub(crate) fn start_numbering(&mut self, cmd_sn: u32, cid: u16) {
        self.window = CommandWindow::new(cmd_sn, self.portal.limits.command_window);
        self.cid = cid;
    }

    /// The last login response has been cut. What was agreed upon holds from the next PDU on.
    pub(crate) fn agree(&mut self, login: LoggedIn) {
        let crc32c = |digest| digest == Digest::Crc32c;
        self.params = login.params.clone();
        self.out.agree(crc32c(self.params.header_digest), crc32c(self.params.data_digest));
        self.login = Some(login);
        self.apply_params();
    }

    /// What of the parameters is used again and again.
    pub(crate) fn apply_params(&mut self) {
        self.data_limits = data_limits(&self.params);
        self.out.cut_by(DataInLimits {
            max_segment: self.params.max_recv_theirs,
            max_burst: self.params.max_burst_length,
        });
    }

    /// True for a session that can only ask for targets; also before the login.
    pub(crate) fn is_discovery(&self) -> bool {
        self.login.as_ref().is_none_or(|login| login.kind == SessionKind::Discovery)
    }

    /// False while the peer has given us enough to do: see the table of limits in docs/iscsi.md.
    pub(crate) fn wants_input(&self) -> bool {
        self.ending.is_none()
            && self.out.queued() < MAX_QUEUED
            && self.busy.saturating_add(self.out.pending_bytes()) < self.room.max(1)
    }

    /// See `Connection::set_room`.
    pub(crate) fn set_room(&mut self, bytes: u64) -> bool {
        let room = bytes.min(self.limits().max_bytes_in_flight);
        let grew = room > core::mem::replace(&mut self.room, room);
        if grew {
            self.settle();
        }
        grew
    }

    /// Appends what can be sent.
    pub(crate) fn poll_transmit(&mut self, out: &mut Vec<Bytes>) -> bool {
        if self.ending.is_none() && self.out.queued() == 0 && self.window.must_tell() {
            self.out.reply(nop::window_opened());
        }
        let (exp_cmd, max_cmd) = (self.window.exp(), self.window.max());
        let any = self.out.poll(Counting { stat: &mut self.stat_sn, exp_cmd, max_cmd }, out);
        if any {
            self.window.told();
        }
        any
    }

    /// What was given out has been written; true if there was data in it.
    pub(crate) fn transmitted(&mut self) -> bool {
        let written = self.out.confirmed();
        self.open_window();
        written > 0
    }

    /// One PDU from the initiator.
    pub(crate) fn handle(&mut self, frame: Frame) {
        let Some(opcode) = Opcode::from_code(frame.header.opcode()) else {
            return self.reject(&frame.header, RejectReason::CommandNotSupported);
        };
        if !frame.intact {
            self.counters.digest_errors += 1;
            if opcode != Opcode::DataOut {
                // 7.8: the PDU is discarded, and with it its CmdSN.
                return self.reject(&frame.header, RejectReason::DataDigestError);
            }
        }
        self.acknowledge(frame.header.exp_stat_sn());
        match opcode {
            Opcode::ScsiRequest => self.scsi_request(&frame),
            Opcode::DataOut => self.data_out(frame),
            Opcode::TaskRequest | Opcode::TextRequest | Opcode::NopOut | Opcode::LogoutRequest => {
                self.in_turn(frame, opcode);
            }
            Opcode::Snack => self.snack(&frame.header),
            Opcode::LoginRequest => self.protocol_error(&frame.header),
            _ => self.reject(&frame.header, RejectReason::CommandNotSupported),
        }
    }

    /// ExpStatSN: the initiator has every answer before this one. Nothing is kept for sending again at error
    /// recovery level 0, so this only shows how far the initiator is behind; a number never sent is ignored.
    fn acknowledge(&mut self, exp_stat_sn: u32) {
        if sn_before(self.acknowledged, exp_stat_sn) && !sn_before(self.stat_sn, exp_stat_sn) {
            self.acknowledged = exp_stat_sn;
        }
    }

    /// Answers that the initiator has not acknowledged.
    pub(crate) const fn unacknowledged(&self) -> u32 {
        self.stat_sn.wrapping_sub(self.acknowledged)
    }

    /// A PDU with a CmdSN that is no SCSI command: acts at once if immediate, else in its turn.
    fn in_turn(&mut self, frame: Frame, opcode: Opcode) {
        // A NOP-Out that answers a question of ours has no place in the order (11.18).
        let is_answer = opcode == Opcode::NopOut && frame.header.task_tag() == RESERVED_TAG;
        let is_immediate = frame.header.immediate() || is_answer;
        let cmd_sn = TextRequest::decode(&frame.header).cmd_sn;
        if !is_immediate && !self.window.welcomes(cmd_sn) {
            return; // 4.2.2.1: silently
        }
        if let Some(reason) = self.fault(&frame, opcode) {
            return self.reject(&frame.header, reason);
        }
        if is_immediate {
            return self.act(&frame);
        }
        self.held_bytes = self.held_bytes.saturating_add(frame.data.len());
        if cmd_sn != self.window.exp() && self.held_bytes > MAX_HELD_BYTES {
            return self.protocol_error(&frame.header);
        }
        self.window.hold(cmd_sn, Held::Other(frame));
        self.advance();
    }

    /// Why a PDU is refused before its number counts (7.3: the number of a rejected PDU is not used up).
    fn fault(&self, frame: &Frame, opcode: Opcode) -> Option<RejectReason> {
        let header = &frame.header;
        let malformed = match opcode {
            Opcode::LogoutRequest => LogoutRequest::decode(header).err().map(|Malformed(reason)| reason),
            _ => None,
        };
        let needs_tag = opcode != Opcode::NopOut;
        let in_use = self.tasks.by_tag(header.task_tag()).is_some() || self.tmf.has_tag(header.task_tag());
        if malformed.is_some() {
            malformed
        } else if !frame.ahs.is_empty() || needs_tag && header.task_tag() == RESERVED_TAG {
            Some(RejectReason::InvalidPduField)
        } else if self.is_discovery() && opcode == Opcode::TaskRequest {
            Some(RejectReason::CommandNotSupported)
        } else {
            in_use.then_some(RejectReason::TaskInProgress)
        }
    }

    /// Everything that is next in order.
    pub(crate) fn advance(&mut self) {
        while self.ending.is_none()
            && let Some(held) = self.window.next_in_order()
        {
            match held {
                Held::Command(id) => self.take_turn(id),
                Held::Other(frame) => {
                    self.held_bytes = self.held_bytes.saturating_sub(frame.data.len());
                    self.act(&frame);
                }
                Held::Plugged => {}
            }
            self.open_window();
            self.retry_fenced();
        }
    }

    /// A PDU whose turn it is.
    fn act(&mut self, frame: &Frame) {
        let header = &frame.header;
        match Opcode::from_code(header.opcode()) {
            Some(Opcode::TaskRequest) => self.task_request(TaskRequest::decode(header), header),
            Some(Opcode::TextRequest) => self.text_request(&TextRequest::decode(header), frame),
            Some(Opcode::NopOut) => {
                let echo = nop::echo(&NopOut::decode(header), &frame.data, self.params.max_recv_theirs);
                if let Some(echo) = echo {
                    self.out.reply(echo);
                }
            }
            Some(Opcode::LogoutRequest) => match LogoutRequest::decode(header) {
                Ok(request) => self.logout(&request),
                Err(Malformed(reason)) => self.reject(header, reason),
            },
            _ => {}
        }
    }

    // ---- SCSI commands -------------------------------------------------------------------------------------

    fn scsi_request(&mut self, frame: &Frame) {
        let header = &frame.header;
        let request = match ScsiRequest::decode(header) {
            // 4.2.2.1: silently. It may be a retry of a command that is with us.
            Ok(request) if !request.immediate && !self.window.welcomes(request.cmd_sn) => return,
            Ok(request) => request,
            Err(Malformed(reason)) => return self.reject(header, reason),
        };
        if let Some(reason) = self.inadmissible(&request, &frame.ahs) {
            return self.reject(header, reason);
        }
        let id = self.start(request, frame);
        if request.immediate {
            self.immediate += 1;
            return self.progress(id);
        }
        self.window.hold(request.cmd_sn, Held::Command(id));
        self.progress(id);
        self.advance();
    }

    /// Why a command is refused before its number counts.
    fn inadmissible(&self, request: &ScsiRequest, ahs: &[u8]) -> Option<RejectReason> {
        let tag = request.task_tag;
        let in_use = || self.tasks.by_tag(tag).is_some() || self.tmf.has_tag(tag) || self.out.has_stream(tag);
        if self.is_discovery() {
            Some(RejectReason::CommandNotSupported)
        } else if tag == RESERVED_TAG || !are_segments(ahs) {
            Some(RejectReason::InvalidPduField)
        } else if in_use() {
            Some(RejectReason::TaskInProgress)
        } else {
            (request.immediate && self.immediate >= MAX_IMMEDIATE).then_some(RejectReason::TooManyImmediate)
        }
    }

    fn start(&mut self, request: ScsiRequest, frame: &Frame) -> TaskId {
        let is_bidirectional = request.read && request.write;
        let write_len = if request.write { request.expected_len } else { 0 };
        let read_len = if request.read && !is_bidirectional { request.expected_len } else { 0 };
        let (mut gather, mut doom) =
            Gather::start(write_len, frame.data.clone(), !request.last, self.data_limits);
        if is_bidirectional || !frame.ahs.is_empty() {
            doom = Some(Condition::UnsupportedCommand);
        } else if u64::from(write_len) > self.limits().max_bytes_in_flight {
            doom = Some(Condition::TooMuchData);
        }
        let mut charged = frame.data.len() as u64;
        self.counters.bytes_in += charged;
        if doom.is_some() {
            gather.give_up();
            charged = 0;
        }
        self.charged += charged;
        self.arrivals += 1;
        self.tasks.insert(Task {
            request,
            gather,
            doom,
            delivered: false,
            ordered: false,
            charged,
            arrival: self.arrivals,
            read_len,
            write_len,
        })
    }

    /// The number of this command has been reached.
    fn take_turn(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.get_mut(id) {
            task.ordered = true;
            self.occupied += 1;
            self.delivery.push_back(id);
            self.progress(id);
            self.deliver();
        }
    }

    /// Asks for more data of a command, or hands it out, as it is due.
    fn progress(&mut self, id: TaskId) {
        self.ask_for_data(id);
        let Some(task) = self.tasks.get(id) else { return };
        if !task.gather.is_complete() {
            return;
        }
        match (task.request.immediate, task.ordered) {
            (true, _) => self.hand_out(id),
            (false, true) => self.deliver(),
            (false, false) => {}
        }
    }

    /// Sends R2Ts, as many as the standard and the room for bytes allow. The command that blocks the others is
    /// served in any case, or nothing would ever move again.
    fn ask_for_data(&mut self, id: TaskId) {
        let is_first = self.delivery.front().is_none_or(|front| *front == id);
        let mut in_flight = self.bytes_in_flight();
        while let Some(task) = self.tasks.get_mut(id)
            && let Some(len) = task.gather.due(self.data_limits)
        {
            in_flight = in_flight.saturating_add(u64::from(len));
            let has_turn = task.request.immediate || task.ordered && is_first;
            if in_flight > self.room && !has_turn {
                self.starved = true;
                return;
            }
            self.transfer_tag = match self.transfer_tag.wrapping_add(1) {
                RESERVED_TAG => 0,
                tag => tag,
            };
            let wanted = task.gather.ask(len, self.transfer_tag);
            task.charged += u64::from(len);
            self.charged += u64::from(len);
            self.out.reply(Reply::R2t(R2t {
                lun: task.request.lun,
                task_tag: task.request.task_tag,
                transfer_tag: self.transfer_tag,
                r2t_sn: wanted.r2t_sn,
                offset: wanted.offset,
                len: wanted.len,
            }));
        }
    }

    /// Hands out what is complete, in order.
    fn deliver(&mut self) {
        while let Some(&id) = self.delivery.front() {
            if self.tasks.get(id).is_some_and(|task| !task.gather.is_complete()) {
                // Whatever was put off while others were before it has its turn now.
                return if self.starved {
                    self.ask_for_data(id)
                };
            }
            self.delivery.pop_front();
            self.hand_out(id);
        }
    }

    fn hand_out(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        if let Some(condition) = task.doom {
            return self.refuse(id, condition);
        }
        task.delivered = true;
        self.busy += task.charged;
        self.counters.commands += 1;
        let request = &task.request;
        let command = ScsiCommand {
            task: id,
            lun: request.lun,
            cdb: request.cdb,
            attribute: request.attribute,
            immediate: request.immediate,
            read: request.read,
            write: request.write,
            expected_len: request.expected_len,
            data_out: core::mem::take(&mut task.gather).into_pieces(),
        };
        self.events.push_back(Event::Command(command));
    }

    /// Ends a command that was never handed out.
    fn refuse(&mut self, id: TaskId, condition: Condition) {
        let Some(task) = self.forget(id) else { return };
        let expected = task.request.expected_len;
        let response = ScsiResponse {
            task_tag: task.request.task_tag,
            response: 0,
            status: CHECK_CONDITION,
            exp_data_sn: 0,
            residual: if task.request.read || task.request.write {
                Residual::new(expected, 0)
            } else {
                Residual::None
            },
        };
        self.out.reply(Reply::Scsi(response, condition.sense().to_vec()));
        self.open_window();
    }

    /// The device side is done with a command.
    pub(crate) fn complete(&mut self, id: TaskId, outcome: Outcome) {
        if !self.tasks.get(id).is_some_and(|task| task.delivered) {
            return;
        }
        let Some(task) = self.forget(id) else { return };
        let yielded: u64 = outcome.data_in.iter().map(|piece| piece.len() as u64).sum();
        let len = u32::try_from(yielded).map_or(task.read_len, |n| n.min(task.read_len));
        let residual = match (task.request.write, yielded) {
            (true, _) => Residual::new(task.write_len, outcome.data_out_wanted),
            (false, 0) if !task.request.read => Residual::new(0, outcome.data_out_wanted),
            (false, _) => Residual::new(task.read_len, yielded),
        };
        self.counters.bytes_out += u64::from(len);
        let (task_tag, status) = (task.request.task_tag, outcome.status);
        let response = ScsiResponse { task_tag, response: 0, status, exp_data_sn: 0, residual };
        let mut sense = outcome.sense;
        sense.truncate(MAX_SENSE);
        if len == 0 {
            self.out.reply(Reply::Scsi(response, sense));
        } else {
            let finish = match (status, sense.is_empty()) {
                (GOOD, true) => Finish::Collapsed(DataInStatus { status, residual }),
                _ => Finish::Response(response, sense),
            };
            self.out.send_data(DataInStream::new(task.name(id), outcome.data_in, len, finish));
        }
        self.settle();
    }

    /// Takes a command out of the table and of every count.
    fn forget(&mut self, id: TaskId) -> Option<Task> {
        let task = self.tasks.remove(id)?;
        self.charged = self.charged.saturating_sub(task.charged);
        if task.delivered {
            self.busy = self.busy.saturating_sub(task.charged);
        }
        if task.request.immediate {
            self.immediate = self.immediate.saturating_sub(1);
        } else if task.ordered {
            self.occupied = self.occupied.saturating_sub(1);
        }
        Some(task)
    }

    /// Ends a command without an answer.
    pub(crate) fn drop_task(&mut self, id: TaskId) {
        if let Some(task) = self.forget(id) {
            self.counters.aborted += 1;
            self.out.drop_r2ts(task.request.task_tag);
        }
    }

    /// After commands went: lets the next ones have their turn and the room.
    pub(crate) fn settle(&mut self) {
        self.open_window();
        self.deliver();
        if core::mem::take(&mut self.starved) {
            let waiting: Vec<TaskId> = self.tasks.pick(|_, task| !task.delivered);
            waiting.into_iter().for_each(|id| self.ask_for_data(id));
        }
    }

    fn open_window(&mut self) {
        if self.bytes_in_flight() < self.room.max(1) {
            self.window.open(self.occupied);
        }
    }

    // ---- Data-Out ------------------------------------------------------------------------------------------

    fn data_out(&mut self, frame: Frame) {
        let pdu = DataOut::decode(&frame.header);
        let Some(id) = self.tasks.by_tag(pdu.task_tag) else {
            // Data of a command that was aborted, or ignored for its number, is on its way still.
            return if !frame.intact {
                self.reject(&frame.header, RejectReason::DataDigestError)
            };
        };
        let Some(task) = self.tasks.get_mut(id) else { return };
        let len = frame.data.len() as u64;
        self.counters.bytes_in += len;
        if pdu.transfer_tag == RESERVED_TAG && task.doom.is_none() {
            task.charged += len;
            self.charged += len;
        }
        let taken = task.gather.take(&pdu, frame.data, frame.intact, self.data_limits);
        if let Err(DataFault::Command(condition)) = taken {
            task.doom.get_or_insert(condition);
        }
        match taken {
            Err(DataFault::Protocol) => return self.protocol_error(&frame.header),
            _ if !frame.intact => self.reject(&frame.header, RejectReason::DataDigestError),
            _ => {}
        }
        self.progress(id);
    }

    // ---- the rest ------------------------------------------------------------------------------------------

    fn logout(&mut self, request: &LogoutRequest) {
        let result = match request.reason {
            LogoutReason::CloseSession => LogoutResult::Success,
            LogoutReason::CloseConnection if request.cid == self.cid => LogoutResult::Success,
            LogoutReason::CloseConnection => LogoutResult::CidNotFound,
            LogoutReason::RemoveForRecovery => LogoutResult::RecoveryNotSupported,
        };
        if result == LogoutResult::Success {
            self.end(Ending::LoggedOut);
        }
        self.out.reply(Reply::Logout(LogoutResponse {
            task_tag: request.task_tag,
            result,
            time2wait_s: seconds(self.params.default_time2wait),
            time2retain_s: seconds(self.params.default_time2retain),
        }));
    }

    fn snack(&mut self, header: &Header) {
        let reason = match Snack::decode(header) {
            Ok(_) => RejectReason::SnackReject,
            Err(Malformed(reason)) => reason,
        };
        self.reject(header, reason);
    }

    /// Sends a PDU back.
    pub(crate) fn reject(&mut self, header: &Header, reason: RejectReason) {
        self.counters.rejects += 1;
        self.out.reply(Reply::Reject(Reject { reason }, *header));
    }

    /// Sends a PDU back and ends the connection: what follows cannot be trusted.
    pub(crate) fn protocol_error(&mut self, header: &Header) {
        self.end(Ending::Closed(CloseReason::ProtocolError));
        self.reject(header, RejectReason::ProtocolError);
    }

    /// Ends the session; the first reason counts. Answers that wait are sent still, data is not.
    pub(crate) fn end(&mut self, ending: Ending) {
        if self.ending.is_some() {
            return;
        }
        self.ending = Some(ending);
        self.out.drop_streams(|_| true);
        self.tasks.clear();
        self.delivery.clear();
        self.window.clear();
        self.tmf.clear();
        self.text = TextExchange::default();
        (self.occupied, self.immediate, self.charged, self.busy, self.held_bytes) = (0, 0, 0, 0, 0);
        self.events.retain(|event| !matches!(event, Event::Command(_) | Event::TaskManagement { .. }));
    }

    /// True for a command number that the initiator may have sent and that has not come.
    pub(crate) fn is_missing(&self, cmd_sn: u32) -> bool {
        self.window.contains(cmd_sn)
    }

    /// Counts a command that never came as come.
    pub(crate) fn plug(&mut self, cmd_sn: u32) {
        self.window.hold(cmd_sn, Held::Plugged);
        self.advance();
    }

    /// ExpCmdSN.
    pub(crate) const fn exp_cmd_sn(&self) -> u32 {
        self.window.exp()
    }

    /// MaxCmdSN.
    pub(crate) const fn max_cmd_sn(&self) -> u32 {
        self.window.max()
    }

    /// Bytes that count against the limit: gathered, asked for, with the device side, or on their way out.
    pub(crate) const fn bytes_in_flight(&self) -> u64 {
        self.charged.saturating_add(self.out.pending_bytes())
    }

    /// The number of commands that have arrived.
    pub(crate) const fn arrivals(&self) -> u64 {
        self.arrivals
    }

    fn limits(&self) -> &Limits {
        &self.portal.limits
    }
}

fn data_limits(params: &Params) -> DataLimits {
    DataLimits {
        first_burst: params.first_burst_length,
        max_burst: params.max_burst_length,
        max_outstanding_r2t: u16::try_from(params.max_outstanding_r2t).unwrap_or(u16::MAX),
        initial_r2t: params.initial_r2t,
        immediate_data: params.immediate_data,
    }
}

/// True when the additional header segments fill their room: each a length in two bytes, a type, and as many
/// bytes as the length says, padded to four (RFC 7143, 11.2.2). Types 1 (long CDB) and 2 (bidirectional read) exist.
fn are_segments(mut ahs: &[u8]) -> bool {
    while let [a, b, kind, rest @ ..] = ahs {
        let len = usize::from(u16::from_be_bytes([*a, *b]));
        let padded = (len + 3).next_multiple_of(4) - 3;
        match (kind & 0x3f, rest.get(padded..)) {
            (1 | 2, Some(next)) if len > 0 => ahs = next,
            _ => return false,
        }
    }
    ahs.is_empty()
}

fn seconds(value: u32) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}
