//! The commands that a session has in our hands.
//!
//! A slot is found by [`TaskId`] (from the device side; a stale id finds nothing, because each use of a slot has
//! its own generation) and by initiator task tag (from the wire). The tags stand close together, so that finding
//! one among a few hundred is one pass over a kilobyte, without hashing what a peer chose.

use alloc::vec::Vec;

use crate::data_out::{Condition, Gather};
use crate::pdu::{RESERVED_TAG, ScsiRequest};

/// Names one command towards the device side, never twice in a connection's life. The default names none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId {
    generation: u64,
    slot: u32,
}

/// What task management knows a command by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TaskName {
    pub id: TaskId,
    pub tag: u32,
    pub lun: u64,
    /// Place in the command order; nothing for an immediate command.
    pub cmd_sn: Option<u32>,
    /// Grows with each arrival.
    pub arrival: u64,
}

/// One command.
#[derive(Debug)]
pub(crate) struct Task {
    pub request: ScsiRequest,
    pub gather: Gather,
    /// Set: the command is not handed on but ends with this, once its data has come.
    pub doom: Option<Condition>,
    /// Handed to the device side.
    pub delivered: bool,
    /// Its number has been reached in the command order, so that it counts against the window.
    pub ordered: bool,
    /// Bytes it counts for against the session's limit.
    pub charged: u64,
    /// Grows with each arrival.
    pub arrival: u64,
    /// Data-In bytes the initiator takes: expected length of a read.
    pub read_len: u32,
    /// Data-Out bytes the initiator gives: expected length of a write.
    pub write_len: u32,
}

impl Task {
    pub(crate) fn name(&self, id: TaskId) -> TaskName {
        let ScsiRequest { task_tag: tag, lun, immediate, cmd_sn, .. } = self.request;
        TaskName { id, tag, lun, cmd_sn: (!immediate).then_some(cmd_sn), arrival: self.arrival }
    }
}

#[derive(Default)]
pub(crate) struct TaskTable {
    /// The tag of each slot; [`RESERVED_TAG`]: free.
    tags: Vec<u32>,
    slots: Vec<Option<(TaskId, Task)>>,
    free: Vec<u32>,
    generation: u64,
    len: usize,
}

impl TaskTable {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Adds a command. Its tag must not be in use and not reserved: the caller asked [`TaskTable::by_tag`].
    pub(crate) fn insert(&mut self, task: Task) -> TaskId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.tags.push(RESERVED_TAG);
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        self.generation += 1;
        let id = TaskId { generation: self.generation, slot };
        if let (Some(tag), Some(place)) =
            (self.tags.get_mut(slot as usize), self.slots.get_mut(slot as usize))
        {
            *tag = task.request.task_tag;
            *place = Some((id, task));
            self.len += 1;
        }
        id
    }

    pub(crate) fn by_tag(&self, tag: u32) -> Option<TaskId> {
        if tag == RESERVED_TAG {
            return None;
        }
        let slot = self.tags.iter().position(|t| *t == tag)?;
        self.slots.get(slot)?.as_ref().map(|(id, _)| *id)
    }

    pub(crate) fn get_mut(&mut self, id: TaskId) -> Option<&mut Task> {
        match self.slots.get_mut(id.slot as usize) {
            Some(Some((held, task))) if *held == id => Some(task),
            _ => None,
        }
    }

    pub(crate) fn get(&self, id: TaskId) -> Option<&Task> {
        match self.slots.get(id.slot as usize) {
            Some(Some((held, task))) if *held == id => Some(task),
            _ => None,
        }
    }

    pub(crate) fn remove(&mut self, id: TaskId) -> Option<Task> {
        self.get(id)?;
        let (_, task) = self.slots.get_mut(id.slot as usize)?.take()?;
        if let Some(tag) = self.tags.get_mut(id.slot as usize) {
            *tag = RESERVED_TAG;
        }
        self.free.push(id.slot);
        self.len -= 1;
        Some(task)
    }

    /// The ids of the commands that `wanted` picks.
    pub(crate) fn pick(&self, wanted: impl Fn(TaskId, &Task) -> bool) -> Vec<TaskId> {
        self.slots.iter().flatten().filter(|(id, task)| wanted(*id, task)).map(|(id, _)| *id).collect()
    }

    /// Forgets everything. Ids stay unique.
    pub(crate) fn clear(&mut self) {
        self.tags.clear();
        self.slots.clear();
        self.free.clear();
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pdu::{Header, ScsiRequest};

    fn task(tag: u32) -> Task {
        let mut bytes = [0; 48];
        bytes[0] = 0x01;
        bytes[1] = 0x80;
        bytes[16..20].copy_from_slice(&tag.to_be_bytes());
        Task {
            request: ScsiRequest::decode(&Header::from_bytes(bytes)).unwrap(),
            gather: Gather::default(),
            doom: None,
            delivered: false,
            ordered: false,
            charged: 0,
            arrival: 0,
            read_len: 0,
            write_len: 0,
        }
    }

    #[test]
    fn a_stale_id_finds_nothing_even_when_its_slot_is_used_again() {
        let mut table = TaskTable::default();
        let old = table.insert(task(7));
        assert_eq!(table.by_tag(7), Some(old));
        table.remove(old).unwrap();
        let new = table.insert(task(7));
        assert_ne!(old, new);
        assert!(table.get(old).is_none() && table.remove(old).is_none());
        assert_eq!((table.by_tag(7), table.len()), (Some(new), 1));
        table.clear();
        let later = table.insert(task(7));
        assert_ne!(new, later);
    }

    #[test]
    fn the_reserved_tag_is_never_found() {
        let mut table = TaskTable::default();
        let id = table.insert(task(1));
        table.remove(id);
        assert_eq!(table.by_tag(0xffff_ffff), None);
    }
}
