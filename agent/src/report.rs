//! Which statuses the managers have not been told yet. Only the newest of a task counts, so a set of ids is all there is to
//! keep; the statuses are read when a batch is made.

use std::collections::BTreeMap;

use skep_proto::model::TaskId;

/// Tasks in one message. At a hundred bytes each it stays far below any limit on messages; more go into the next one.
pub const BATCH_MAX: usize = 1_000;

/// Batches sent and not acknowledged. While so many are under way, changes gather, and only the newest status of each task is
/// sent: a busy manager is asked less, not more.
pub const UNDER_WAY_MAX: u64 = 4;

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// What the acknowledgement will name.
    pub seq: u64,
    /// Whose newest statuses to send.
    pub tasks: Vec<TaskId>,
}

/// What is still to be told.
#[derive(Debug, Default)]
pub struct Reporter {
    /// With the number of the write that must be on disk before the task is told of.
    pending: BTreeMap<TaskId, u64>,
    seq: u64,
    acked: u64,
}

impl Reporter {
    /// A task's status changed; it may be told after that write.
    pub fn note(&mut self, task: TaskId, write: u64) {
        let after = self.pending.entry(task).or_default();
        *after = write.max(*after);
    }

    /// Nobody wants to know of the task any more.
    pub fn forget(&mut self, task: TaskId) {
        self.pending.remove(&task);
    }

    /// A new session knows nothing: everything is told again. What waits for the disk goes on waiting.
    pub fn begin_session(&mut self, tasks: impl Iterator<Item = TaskId>) {
        for task in tasks {
            self.pending.entry(task).or_default();
        }
        (self.seq, self.acked) = (0, 0);
    }

    /// The next message, when there is something to tell and room for it. `written` is the last write that is on disk.
    pub fn next_batch(&mut self, written: u64) -> Option<Batch> {
        if self.seq - self.acked >= UNDER_WAY_MAX {
            return None;
        }
        let free = self.pending.iter().filter(|(_, after)| **after <= written);
        let tasks: Vec<TaskId> = free.map(|(task, _)| *task).take(BATCH_MAX).collect();
        if tasks.is_empty() {
            return None;
        }
        for task in &tasks {
            self.pending.remove(task);
        }
        self.seq += 1;
        Some(Batch { seq: self.seq, tasks })
    }

    /// Everything was told, and the manager has stored it.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.pending.is_empty() && self.acked == self.seq
    }

    /// The manager has stored everything up to `seq`. A number that was never sent is cut to the last that was.
    pub fn ack(&mut self, seq: u64) {
        self.acked = self.acked.max(seq.min(self.seq));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(bits: u32) -> TaskId {
        TaskId::new(bits.into())
    }

    #[test]
    fn a_task_that_changed_twice_is_told_of_once() {
        let mut reporter = Reporter::default();
        reporter.note(id(1), 0);
        reporter.note(id(1), 0);
        assert_eq!(reporter.next_batch(0), Some(Batch { seq: 1, tasks: vec![id(1)] }));
        assert_eq!(reporter.next_batch(0), None);
    }

    #[test]
    fn nothing_is_told_before_it_is_on_disk() {
        let mut reporter = Reporter::default();
        reporter.note(id(1), 7);
        reporter.note(id(1), 0);
        reporter.note(id(2), 0);
        assert_eq!(reporter.next_batch(6).unwrap().tasks, [id(2)]);
        assert_eq!(reporter.next_batch(6), None);
        assert_eq!(reporter.next_batch(7).unwrap().tasks, [id(1)]);
    }

    #[test]
    fn a_new_session_is_told_everything_that_is_on_disk() {
        let mut reporter = Reporter::default();
        reporter.note(id(1), 0);
        reporter.note(id(2), 9);
        reporter.next_batch(0).unwrap();
        reporter.begin_session([id(1), id(2), id(3)].into_iter());
        assert_eq!(reporter.next_batch(0), Some(Batch { seq: 1, tasks: vec![id(1), id(3)] }));
    }

    #[test]
    fn batches_and_their_number_are_bounded_until_acknowledged() {
        let mut reporter = Reporter::default();
        for n in 0..10_000 {
            reporter.note(id(n), 0);
        }
        for seq in 1..=UNDER_WAY_MAX {
            let batch = reporter.next_batch(0).unwrap();
            assert_eq!((batch.seq, batch.tasks.len()), (seq, BATCH_MAX));
        }
        assert_eq!(reporter.next_batch(0), None);
        reporter.ack(2);
        assert!(reporter.next_batch(0).is_some());
        assert!(reporter.next_batch(0).is_some());
        assert_eq!(reporter.next_batch(0), None);
    }

    #[test]
    fn an_ack_from_nowhere_opens_no_window() {
        let mut reporter = Reporter::default();
        reporter.ack(1_000_000);
        for n in 0..10 {
            reporter.note(id(n), 0);
            assert_eq!(reporter.next_batch(0).is_some(), n < 4);
        }
    }
}
