//! Which tasks of an object were changed lately, for watchers that each look when they can.

use std::collections::VecDeque;

use skep_proto::model::TaskId;

/// Changes that are remembered, some two kilobytes a node. One plan changes a handful of a node's tasks; a watcher that is further
/// behind looks at all of them.
const RECENT_MAX: usize = 128;

/// What a watcher is to look at. A hint: the state says what is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Everything: it is not known what was changed.
    Anything,
    /// These tasks, in the order in which they were changed.
    Tasks(Vec<TaskId>),
}

/// The last changes.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// How many there were, ever.
    count: u64,
    last: VecDeque<TaskId>,
}

impl Recent {
    /// These were changed.
    pub(super) fn add(&mut self, tasks: &[TaskId]) {
        self.count += long(tasks.len());
        self.last.extend(&tasks[tasks.len().saturating_sub(RECENT_MAX)..]);
        self.last.drain(..self.last.len().saturating_sub(RECENT_MAX));
    }

    /// Anything may have been changed.
    pub(super) fn forget(&mut self) {
        self.count += 1;
        self.last.clear();
    }

    /// How many changes there were.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// What came after so many.
    pub(super) fn since(&self, seen: Option<u64>) -> News {
        let missed = seen.and_then(|seen| usize::try_from(self.count - seen).ok());
        match missed.filter(|missed| *missed <= self.last.len()) {
            Some(missed) => News::Tasks(self.last.range(self.last.len() - missed..).copied().collect()),
            None => News::Anything,
        }
    }
}

fn long(count: usize) -> u64 {
    u64::try_from(count).expect("a length fits 64 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(from: u128, to: u128) -> Vec<TaskId> {
        (from..to).map(TaskId::new).collect()
    }

    #[test]
    fn a_watcher_hears_of_each_change_once_and_of_anything_when_it_missed_some() {
        let mut recent = Recent::default();
        assert_eq!(recent.since(None), News::Anything);
        let begun = Some(recent.count());
        assert_eq!(recent.since(begun), News::Tasks(Vec::new()));
        recent.add(&ids(0, 3));
        let before = Some(recent.count());
        recent.add(&ids(3, 5));
        assert_eq!((recent.since(begun), recent.since(before)), (News::Tasks(ids(0, 5)), News::Tasks(ids(3, 5))));
        recent.add(&ids(5, 5 + 128));
        assert_eq!(recent.since(Some(5)), News::Tasks(ids(5, 5 + 128)), "as many as are remembered");
        assert_eq!(recent.since(before), News::Anything);
        recent.add(&ids(200, 900));
        assert_eq!(recent.since(Some(5 + 128)), News::Anything, "more at once than are remembered");
        let full = Some(recent.count());
        recent.forget();
        assert_eq!(recent.since(full), News::Anything);
    }
}
