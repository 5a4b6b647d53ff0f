//! Task management (RFC 7143, 4.2.3, 11.5 and 11.6).
//!
//! What was not handed out yet is ended here and at once. For the rest the device side is asked, and when it says
//! that the function is complete, the commands it covered are forgotten: they get no answer, a later `complete` for
//! them finds nothing, and their data that is still on its way is swallowed. A command that the device side
//! completes between the request and its answer is answered normally, before the request is.
//!
//! A function over many tasks covers the commands numbered before it. An immediate one can overtake a gap in the
//! numbers; it waits until the gap is filled (4.2.3.3). We do not wait for data of transfer tags that are open, as
//! initiators with FastAbort never send it; being swallowed, late data does no harm.

use alloc::vec::Vec;

use crate::data_in::DataInStream;
use crate::event::{CloseReason, Event, TaskId, TmfFunction, TmfId};
use crate::pdu::{Header, RejectReason, TaskFunction, TaskRequest, TaskResponse, TmfResponse};
use crate::session::{Ending, Session};
use crate::tasks::TaskName;
use crate::transmit::Reply;
use crate::window::sn_before;

/// Task management requests that may be under way at once.
const MAX_REQUESTS: usize = 16;

/// Where a function ends commands.
#[derive(Clone, Copy, Debug)]
enum Scope {
    Nothing,
    One(TaskId),
    Unit(u64),
    All,
}

/// The commands that a function ends.
#[derive(Clone, Copy, Debug)]
struct Cover {
    scope: Scope,
    /// Commands in order with this number or a later one are not covered.
    before: Option<u32>,
    /// Immediate commands that arrived later are not covered.
    last_arrival: u64,
}

impl Cover {
    fn covers(&self, task: TaskName) -> bool {
        let in_scope = match self.scope {
            Scope::Nothing => false,
            Scope::One(only) => only == task.id,
            Scope::Unit(lun) => lun == task.lun,
            Scope::All => true,
        };
        let is_before = match (task.cmd_sn, self.before) {
            (Some(sn), Some(end)) => sn_before(sn, end),
            (Some(_), None) => true,
            (None, _) => task.arrival <= self.last_arrival,
        };
        in_scope && is_before
    }
}

#[derive(Debug)]
struct Pending {
    id: TmfId,
    task_tag: u32,
    cover: Cover,
    is_cold_reset: bool,
}

/// The requests under way.
#[derive(Debug, Default)]
pub(crate) struct TaskManagement {
    pending: Vec<Pending>,
    /// Immediate requests that wait for commands numbered before them, each with the arrivals it found.
    fenced: Vec<(TaskRequest, u64)>,
    last_id: u64,
}

impl TaskManagement {
    pub(crate) fn has_tag(&self, tag: u32) -> bool {
        self.pending.iter().any(|p| p.task_tag == tag) || self.fenced.iter().any(|(r, _)| r.task_tag == tag)
    }

    pub(crate) fn clear(&mut self) {
        self.pending.clear();
        self.fenced.clear();
    }

    fn is_full(&self) -> bool {
        self.pending.len() + self.fenced.len() >= MAX_REQUESTS
    }
}

impl Session {
    /// A request whose turn it is.
    pub(crate) fn task_request(&mut self, request: TaskRequest, header: &Header) {
        self.task_request_since(request, self.arrivals(), header);
    }

    fn task_request_since(&mut self, request: TaskRequest, last_arrival: u64, header: &Header) {
        if self.tmf.is_full() {
            return match request.immediate {
                true => self.reject(header, RejectReason::TooManyImmediate),
                false => self.answer(request.task_tag, TmfResponse::Rejected),
            };
        }
        let lun = request.lun;
        let (function, scope) = match request.function {
            TaskFunction::AbortTask => return self.abort_task(&request),
            TaskFunction::AbortTaskSet => (TmfFunction::AbortTaskSet { lun }, Scope::Unit(lun)),
            TaskFunction::ClearAca => (TmfFunction::ClearAca { lun }, Scope::Nothing),
            TaskFunction::ClearTaskSet => (TmfFunction::ClearTaskSet { lun }, Scope::Unit(lun)),
            TaskFunction::LogicalUnitReset => (TmfFunction::LogicalUnitReset { lun }, Scope::Unit(lun)),
            TaskFunction::TargetWarmReset => (TmfFunction::TargetWarmReset, Scope::All),
            TaskFunction::TargetColdReset => (TmfFunction::TargetColdReset, Scope::All),
            TaskFunction::TaskReassign => {
                return self.answer(request.task_tag, TmfResponse::ReassignNotSupported);
            }
            TaskFunction::Other(_) => return self.answer(request.task_tag, TmfResponse::NotSupported),
        };
        if request.immediate && self.overtook(request.cmd_sn) {
            self.tmf.fenced.push((request, last_arrival));
            return;
        }
        let cover = Cover { scope, before: Some(request.cmd_sn), last_arrival };
        self.drop_unseen(&cover);
        self.ask_device(request.task_tag, function, cover);
        // Later commands may be handed out after the event only, or the device side would end them, too.
        self.settle();
    }

    fn cover_now(&self, scope: Scope) -> Cover {
        Cover { scope, before: None, last_arrival: self.arrivals() }
    }

    /// True when commands numbered before `cmd_sn` can still come.
    fn overtook(&self, cmd_sn: u32) -> bool {
        let past_window = self.max_cmd_sn().wrapping_add(1);
        sn_before(self.exp_cmd_sn(), cmd_sn) && !sn_before(past_window, cmd_sn)
    }

    /// Requests that waited for ExpCmdSN to come to them.
    pub(crate) fn retry_fenced(&mut self) {
        let ready = self.tmf.fenced.iter().position(|(r, _)| !self.overtook(r.cmd_sn));
        if let Some(ready) = ready {
            let (request, last_arrival) = self.tmf.fenced.remove(ready);
            self.task_request_since(request, last_arrival, &request.encode());
            self.retry_fenced();
        }
    }

    fn abort_task(&mut self, request: &TaskRequest) {
        let tag = request.referenced_tag;
        let known = self.tasks.by_tag(tag).and_then(|id| Some((id, self.tasks.get(id)?)));
        let known = known.map(|(id, task)| (id, task.request.lun, task.delivered));
        let response = match known {
            Some((_, lun, _)) if lun != request.lun => TmfResponse::TaskDoesNotExist,
            Some((task, _, true)) => {
                let cover = self.cover_now(Scope::One(task));
                return self.ask_device(request.task_tag, TmfFunction::AbortTask { task }, cover);
            }
            Some((id, _, false)) => {
                self.drop_task(id);
                self.settle();
                TmfResponse::Complete
            }
            None if self.drop_sending(|stream| stream.name.tag == tag) => TmfResponse::Complete,
            // 11.6.1 (b): a command that has not come counts as come and ended.
            None if self.is_missing(request.ref_cmd_sn) && sn_before(request.ref_cmd_sn, request.cmd_sn) => {
                self.plug(request.ref_cmd_sn);
                TmfResponse::Complete
            }
            None => TmfResponse::TaskDoesNotExist,
        };
        self.answer(request.task_tag, response);
    }

    fn ask_device(&mut self, task_tag: u32, function: TmfFunction, cover: Cover) {
        self.tmf.last_id += 1;
        let id = TmfId(self.tmf.last_id);
        self.tmf.pending.push(Pending {
            id,
            task_tag,
            cover,
            is_cold_reset: function == TmfFunction::TargetColdReset,
        });
        self.events.push_back(Event::TaskManagement { id, function });
    }

    /// The device side has done, or refused, what was asked.
    pub(crate) fn task_management_done(&mut self, id: TmfId, response: TmfResponse) {
        let Some(at) = self.tmf.pending.iter().position(|p| p.id == id) else { return };
        let done = self.tmf.pending.remove(at);
        if response == TmfResponse::Complete {
            self.drop_covered(&done.cover);
        }
        self.answer(done.task_tag, response);
        if done.is_cold_reset && response == TmfResponse::Complete {
            self.end(Ending::Closed(CloseReason::ColdReset));
        }
    }

    /// Another session's task management ended this session's commands on a unit, or on all.
    pub(crate) fn abort_tasks(&mut self, lun: Option<u64>) {
        let cover = self.cover_now(lun.map_or(Scope::All, Scope::Unit));
        self.drop_covered(&cover);
    }

    /// Ends what the device side knows nothing of, so that it is not handed out after the function.
    fn drop_unseen(&mut self, cover: &Cover) {
        let unseen = self.tasks.pick(|id, task| !task.delivered && cover.covers(task.name(id)));
        unseen.into_iter().for_each(|id| self.drop_task(id));
    }

    /// Ends everything covered, answers under way included.
    fn drop_covered(&mut self, cover: &Cover) {
        let tasks = self.tasks.pick(|id, task| cover.covers(task.name(id)));
        tasks.into_iter().for_each(|id| self.drop_task(id));
        self.drop_sending(|stream| cover.covers(stream.name));
        self.settle();
    }

    fn drop_sending(&mut self, unwanted: impl FnMut(&DataInStream) -> bool) -> bool {
        let dropped = self.out.drop_streams(unwanted);
        self.counters.aborted += dropped as u64;
        dropped > 0
    }

    fn answer(&mut self, task_tag: u32, response: TmfResponse) {
        self.out.reply(Reply::Task(TaskResponse { task_tag, response }));
    }
}
