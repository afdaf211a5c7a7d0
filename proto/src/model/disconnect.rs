//! What becomes of a task whose node is cut off from the managers, and how long they wait before they run another in its place.
//!
//! With [`OnDisconnect::Keep`] the task runs on, and its replacement starts as soon as the node counts as down: while the cut
//! lasts there may be two. With [`OnDisconnect::StopAfter`] there are never two: the node stops the task by itself, and the
//! managers wait until it must have.
//!
//! # Why there are never two
//! A node that has such tasks numbers its heartbeats. The leader acknowledges one only after it has heard it, has made sure of a
//! majority of the managers that it still leads, and has sent every order that was decided until then; the node remembers when it
//! *said* the heartbeat that was acknowledged last. Call that moment `a`, and the moment at which the leader heard it `h`, so that
//! `a <= h`.
//!
//! *The node's side.* It starts such a task only within `T` after `a`, asks it to stop `T` after `a` and kills it when the stop
//! grace is over. A shim that finds no daemon, or one that hangs, does the same [`BACKSTOP_LAG`] later. Both read
//! `CLOCK_BOOTTIME`, which goes on while the machine sleeps; `a` is in a file, so a restart of the daemon forgets nothing, and a
//! restart of the machine, after which no container runs, makes the file worthless. So the program is gone at the latest
//! `S = T + BACKSTOP_LAG + grace + KILL_TIME` after `a` by the node's clock.
//!
//! *The managers' side.* They start the replacement no sooner than `W = S * 41/40` after `h` by the leader's monotonic clock
//! ([`OnDisconnect::fence`]). When the node's clock is slow and the leader's quick by at most one part in a hundred each
//! ([`CLOCK_ERROR_PERCENT_MAX`]; a quartz is a hundred times better, and the kernel slews by a twentieth of it at most), `S` takes
//! at most `S / 0.99` and `W` at least `W / 1.01`, which is more, because `1.025 / 1.01 > 1 / 0.99`.
//!
//! *Another leader.* It counts from the beginning of its term, `e`. The acknowledgement of `a` was confirmed by a majority after
//! `a`; one of those managers voted for the new leader later still, so `a < e`. And what an earlier leader decided is in the log
//! that the new one has applied before it acknowledges anything.
//!
//! *What the managers decided in the meantime.* The verdict that a task has stopped is in the log before the node counts as ready
//! again, and nothing is acknowledged to a node that does not. So a task that had not been started when the verdict fell is never
//! started: the order that withdraws it comes before the acknowledgement that it would need.
//!
//! # What no timer can promise
//! A process that hangs in the kernel dies when it returns from there. A machine that is stopped as a whole (a virtual machine
//! that is paused) goes on for an instant after it wakes, until the timer fires. A store that must refuse even that needs a token
//! of its own.

use std::time::Duration;

use super::moment::millis;

/// Shortest time after which a cut-off node stops its tasks: below it a slow second would stop healthy ones.
pub const STOP_AFTER_MIN: Duration = Duration::from_secs(5);

/// Longest: a day. A node that may run on for longer may as well keep its tasks.
pub const STOP_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// How much later than the daemon the shim acts, so that the daemon, which can tell why, comes first when it lives.
pub const BACKSTOP_LAG: Duration = Duration::from_secs(1);

/// What a timer, the scheduling of a busy machine and the end of killed processes may take together.
pub const KILL_TIME: Duration = Duration::from_secs(5);

/// By how much a clock may run wrong, in percent, for two tasks never to overlap.
pub const CLOCK_ERROR_PERCENT_MAX: u32 = 1;

/// What a task does when its node is cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDisconnect {
    /// It runs on.
    #[default]
    Keep,
    /// It is stopped after that time without a word from a leader, and no other runs in its place before it has.
    StopAfter(Duration),
}

impl OnDisconnect {
    /// The time after which it stops.
    #[must_use]
    pub fn stops_after(self) -> Option<Duration> {
        match self {
            Self::Keep => None,
            Self::StopAfter(after) => Some(after),
        }
    }

    /// How long after its node was last heard such a task has certainly stopped, for one with that stop grace; `None` when that is
    /// never certain.
    #[must_use]
    pub fn fence(self, stop_grace: Duration) -> Option<Duration> {
        let gone = self.stops_after()? + BACKSTOP_LAG + stop_grace + KILL_TIME;
        Some(Duration::from_millis(millis(gone).saturating_mul(41).div_ceil(40)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_managers_wait_longer_than_the_slowest_clock_takes_to_stop() {
        for (after, grace) in [(5_000, 0), (30_000, 10_000), (86_400_000, 3_600_000)] {
            let policy = OnDisconnect::StopAfter(Duration::from_millis(after));
            let waited = policy.fence(Duration::from_millis(grace)).unwrap();
            let gone = after + grace + millis(BACKSTOP_LAG) + millis(KILL_TIME);
            // Both in real time, in hundredths of a percent to stay with whole numbers.
            let slowest_stop = u128::from(gone) * 10_000 / 99;
            let quickest_wait = u128::from(millis(waited)) * 10_000 / 101;
            assert!(quickest_wait > slowest_stop, "{after} {grace}");
        }
    }

    #[test]
    fn a_task_that_runs_on_is_never_certain_to_have_stopped() {
        assert_eq!(OnDisconnect::Keep.fence(Duration::ZERO), None);
    }
}
