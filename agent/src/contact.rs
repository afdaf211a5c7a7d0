//! When a leader was last heard of for certain: what decides whether tasks that stop on a cut-off node may start and run on. Why
//! that is enough is argued in [`skep_proto::model::disconnect`].
//!
//! Time here is the time since the machine's boot, which goes on while it sleeps and is never set. A contact is as old as the
//! heartbeat that was answered, not as the answer: the answer may have been on its way for any time.

use std::collections::VecDeque;
use std::time::Duration;

/// Heartbeats whose answers are waited for. Older ones would say less than the newer ones that follow them.
const SAID_MAX: usize = 16;

/// The contact of one node with whoever leads.
#[derive(Clone, Debug, Default)]
pub struct Contact {
    now: Duration,
    last: Option<Duration>,
    /// The last one was made by this process, and not found on the machine.
    is_own: bool,
    seq: u64,
    said: VecDeque<(u64, Duration)>,
}

impl Contact {
    /// A process that begins at `now`, and what one before it had left; none is left by a machine that was booted since.
    #[must_use]
    pub fn found(last: Option<Duration>, now: Duration) -> Self {
        Self { now, last: last.filter(|last| *last <= now), ..Self::default() }
    }

    /// Time goes on; never back.
    pub fn pass(&mut self, now: Duration) {
        self.now = self.now.max(now);
    }

    /// A new stream: answers to what was said on the old one come no more.
    pub fn begin_session(&mut self) {
        self.seq = 0;
        self.said.clear();
    }

    /// A heartbeat is said now; its number.
    pub fn beat(&mut self) -> u64 {
        self.seq += 1;
        self.said.push_back((self.seq, self.now));
        if self.said.len() > SAID_MAX {
            self.said.pop_front();
        }
        self.seq
    }

    /// The heartbeat of that number was answered. The contact, when that is news.
    pub fn answered(&mut self, seq: u64) -> Option<Duration> {
        let at = self.said.iter().find(|(number, _)| *number == seq).map(|(_, at)| *at)?;
        self.said.retain(|(number, _)| *number > seq);
        self.is_own = true;
        self.last = self.last.max(Some(at));
        self.last
    }

    /// A task that stops after so long may run on.
    #[must_use]
    pub fn holds(&self, after: Duration) -> bool {
        self.last.is_some_and(|last| self.now < last + after)
    }

    /// Such a task may be started: what this process has heard since its begin includes everything that was decided before the
    /// contact.
    #[must_use]
    pub fn may_start(&self, after: Duration) -> bool {
        self.is_own && self.holds(after)
    }

    /// For how long such a task may run on yet.
    #[must_use]
    pub fn left(&self, after: Duration) -> Duration {
        self.last.map_or(Duration::ZERO, |last| (last + after).saturating_sub(self.now))
    }

    /// For how long such a task should not run any more.
    #[must_use]
    pub fn overdue(&self, after: Duration) -> Duration {
        self.last.map_or(Duration::MAX, |last| self.now.saturating_sub(last + after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const AFTER: Duration = Duration::from_secs(30);

    #[test]
    fn a_contact_is_as_old_as_the_heartbeat_that_was_answered() {
        let mut contact = Contact::found(None, SECOND * 100);
        let seq = contact.beat();
        contact.pass(SECOND * 120);
        assert!(!contact.holds(AFTER));
        assert_eq!(contact.answered(seq), Some(SECOND * 100));
        assert_eq!((contact.may_start(AFTER), contact.left(AFTER)), (true, SECOND * 10));
        contact.pass(SECOND * 130);
        assert_eq!((contact.holds(AFTER), contact.overdue(AFTER)), (false, Duration::ZERO));
        contact.pass(SECOND * 125);
        assert!(!contact.holds(AFTER), "time does not go back");
    }

    #[test]
    fn what_was_found_lets_tasks_run_on_and_starts_none() {
        let mut contact = Contact::found(Some(SECOND * 90), SECOND * 100);
        assert!(contact.holds(AFTER) && !contact.may_start(AFTER));
        let seq = contact.beat();
        contact.answered(seq);
        assert!(contact.may_start(AFTER));
        let booted = Contact::found(Some(SECOND * 1_000), SECOND * 100);
        assert!(!booted.holds(AFTER), "a time that is still to come is of another boot");
        assert_eq!(booted.overdue(AFTER), Duration::MAX);
    }

    #[test]
    fn an_answer_from_an_earlier_session_or_from_nowhere_counts_for_nothing() {
        let mut contact = Contact::found(None, SECOND);
        let old = contact.beat();
        contact.begin_session();
        assert_eq!((contact.answered(old), contact.answered(99)), (None, None));
        assert!(!contact.holds(AFTER));
    }

    #[test]
    fn answers_out_of_order_never_make_a_contact_older() {
        let mut contact = Contact::found(None, SECOND);
        let first = contact.beat();
        contact.pass(SECOND * 2);
        let second = contact.beat();
        assert_eq!(contact.answered(second), Some(SECOND * 2));
        assert_eq!(contact.answered(first), None);
        for _ in 0..100 {
            contact.beat();
        }
        assert_eq!(contact.said.len(), SAID_MAX);
    }
}
