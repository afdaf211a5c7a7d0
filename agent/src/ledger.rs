//! When the task list is written. One write carries everything that changed since the last one began, so fifty tasks that come
//! at once cost one sync of the disk, and while one write is under way the next one gathers.

use std::time::Duration;

use skep_proto::model::Moment;

/// How long a change that no report waits for may stay unwritten. A daemon that dies in this time finds the same in the
/// containers themselves; only a power cut could make it begin a task again that had just come to run.
pub const LAZY_DELAY: Duration = Duration::from_millis(500);

/// Counts writes. They are numbered from 1, and end in order. A number is never used again: whoever waits for a write that failed is
/// served by any later one.
#[derive(Debug, Default)]
pub struct Ledger {
    begun: u64,
    written: u64,
    is_under_way: bool,
    due: Option<Moment>,
}

impl Ledger {
    /// The list changed. With `soon` a report waits for it.
    pub fn change(&mut self, now: Moment, soon: bool) {
        let due = if soon { now } else { now + LAZY_DELAY };
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }

    /// The number of the write after which the list as it is now is on disk.
    #[must_use]
    pub fn covering(&self) -> u64 {
        if self.due.is_some() { self.begun + 1 } else { self.begun }
    }

    /// Begins a write if one is due and none is under way.
    pub fn begin(&mut self, now: Moment) -> bool {
        let ready = !self.is_under_way && self.due.is_some_and(|due| due <= now);
        if ready {
            self.begun += 1;
            self.is_under_way = true;
            self.due = None;
        }
        ready
    }

    /// The write that was under way is on disk.
    pub fn end(&mut self) {
        self.written = self.begun;
        self.is_under_way = false;
    }

    /// The write that was under way failed: it is tried again.
    pub fn fail(&mut self, retry_at: Moment) {
        self.is_under_way = false;
        self.due = Some(retry_at);
    }

    /// The last write that is on disk.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Nothing is unwritten.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.due.is_none() && !self.is_under_way
    }

    /// When [`Ledger::begin`] is wanted next.
    #[must_use]
    pub fn wake_at(&self) -> Option<Moment> {
        self.due.filter(|_| !self.is_under_way)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_write_carries_all_that_came_before_it_began() {
        let mut ledger = Ledger::default();
        ledger.change(Moment(1), true);
        ledger.change(Moment(1), true);
        assert_eq!(ledger.covering(), 1);
        assert!(ledger.begin(Moment(1)));
        assert_eq!(ledger.covering(), 1);
        ledger.change(Moment(1), true);
        assert_eq!(ledger.covering(), 2);
        assert!(!ledger.begin(Moment(1)), "one at a time");
        ledger.end();
        assert_eq!(ledger.written(), 1);
        assert!(ledger.begin(Moment(1)));
        ledger.end();
        assert!(ledger.is_clean());
    }

    #[test]
    fn a_lazy_change_waits_unless_an_urgent_one_comes() {
        let mut ledger = Ledger::default();
        ledger.change(Moment(0), false);
        assert!(!ledger.begin(Moment(1)));
        assert_eq!(ledger.wake_at(), Some(Moment(0) + LAZY_DELAY));
        ledger.change(Moment(2), true);
        assert!(ledger.begin(Moment(2)));
    }

    #[test]
    fn the_write_after_a_failed_one_serves_all_that_waited() {
        let mut ledger = Ledger::default();
        ledger.change(Moment(0), true);
        let before = ledger.covering();
        assert!(ledger.begin(Moment(0)));
        ledger.change(Moment(0), true);
        let meanwhile = ledger.covering();
        ledger.fail(Moment(10));
        assert!(!ledger.begin(Moment(9)));
        assert!(ledger.begin(Moment(10)));
        ledger.end();
        assert!(ledger.written() >= before && ledger.written() >= meanwhile);
        assert!(ledger.is_clean());
    }

    #[test]
    fn what_is_clean_is_covered_already() {
        assert_eq!(Ledger::default().covering(), Ledger::default().written());
    }
}
