//! Where the tasks lie: one dense table, so that an index holds four bytes for a task and reaches it in one step.
//!
//! A million tasks are the largest thing a manager keeps. Each lies once, in a record of a growing vector; ids lead to records
//! through one ordered map, every other index holds a [`Handle`]. Records of one slot are chained, oldest first, because a slot has
//! a handful of tasks and a list for each would cost more than the tasks' ids.

use std::collections::BTreeMap;

use skep_proto::model::{Task, TaskId};

/// A record's number. Of use to one state only: another replica may have the same task elsewhere, so no decision may depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Handle(u32);

impl Handle {
    /// No record: the end of a chain.
    pub(super) const NONE: Self = Self(u32::MAX);

    /// The record's place.
    pub(super) fn place(self) -> usize {
        usize::try_from(self.0).expect("32 bits fit an address")
    }

    /// The record in that place.
    pub(super) fn at(place: usize) -> Self {
        Self(u32::try_from(place).expect("four thousand million tasks do not fit into memory"))
    }
}

#[derive(Clone, Debug)]
struct Record {
    task: Task,
    /// The next younger task of the same slot.
    younger: Handle,
}

/// All tasks.
#[derive(Clone, Debug, Default)]
pub(super) struct TaskTable {
    records: Vec<Option<Record>>,
    /// Records that may be used again.
    free: Vec<Handle>,
    ids: BTreeMap<TaskId, Handle>,
}

impl TaskTable {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Records, free ones too: every handle's place is below it.
    pub(super) fn places(&self) -> usize {
        self.records.len()
    }

    /// The task in a place, if it is in use.
    pub(super) fn at_place(&self, place: usize) -> Option<&Task> {
        self.records.get(place)?.as_ref().map(|record| &record.task)
    }

    /// Where a task lies.
    pub(super) fn find(&self, id: TaskId) -> Option<Handle> {
        self.ids.get(&id).copied()
    }

    /// By id.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Task> {
        self.ids.values().map(|&handle| self.get(handle))
    }

    /// The task of a handle that an index holds.
    pub(super) fn get(&self, handle: Handle) -> &Task {
        &self.record(handle).task
    }

    /// The same, to change it.
    pub(super) fn get_mut(&mut self, handle: Handle) -> &mut Task {
        &mut self.record_mut(handle).task
    }

    /// The next younger task of the same slot.
    pub(super) fn younger(&self, handle: Handle) -> Handle {
        self.record(handle).younger
    }

    /// Chains a record to a younger one.
    pub(super) fn set_younger(&mut self, handle: Handle, younger: Handle) {
        self.record_mut(handle).younger = younger;
    }

    /// Where the next task will lie.
    pub(super) fn next_handle(&self) -> Handle {
        self.free.last().copied().unwrap_or_else(|| Handle::at(self.records.len()))
    }

    /// Stores a task whose id is new.
    pub(super) fn insert(&mut self, task: Task) -> Handle {
        let handle = self.next_handle();
        self.ids.insert(task.id, handle);
        let record = Some(Record { task, younger: Handle::NONE });
        match self.free.pop() {
            Some(_) => self.records[handle.place()] = record,
            None => self.records.push(record),
        }
        handle
    }

    /// Forgets a task; its record may be used again.
    pub(super) fn remove(&mut self, handle: Handle) -> Task {
        let record = self.records[handle.place()].take().expect("a handle in an index leads to a task");
        self.ids.remove(&record.task.id);
        self.free.push(handle);
        record.task
    }

    fn record(&self, handle: Handle) -> &Record {
        self.records[handle.place()].as_ref().expect("a handle in an index leads to a task")
    }

    fn record_mut(&mut self, handle: Handle) -> &mut Record {
        self.records[handle.place()].as_mut().expect("a handle in an index leads to a task")
    }
}
