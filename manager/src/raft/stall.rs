//! When a leader hands over because its disk is slow: every change waits for it, and its heartbeats do too.

use std::time::Duration;

/// A write that takes longer than this share of the election time.
const SHARE: u32 = 4;

/// After leadership was handed over for a slow disk it is kept at least so long, should it come back: slow is better than nobody.
const STAY: Duration = Duration::from_secs(60);

/// Until when it is kept, by a clock that only counts on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stall {
    stay_until: Duration,
}

impl Stall {
    /// A leader's write took so long: whether it is to hand over.
    pub(super) fn hands_over(&mut self, took: Duration, election: Duration, now: Duration) -> bool {
        let hands_over = took > election / SHARE && now >= self.stay_until;
        if hands_over {
            self.stay_until = now + STAY;
        }
        hands_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_disk_is_a_reason_once_a_minute() {
        let (mut stall, election) = (Stall::default(), Duration::from_millis(1_000));
        let at = Duration::from_secs;
        assert!(!stall.hands_over(Duration::from_millis(250), election, at(0)));
        assert!(stall.hands_over(Duration::from_millis(251), election, at(0)));
        assert!(!stall.hands_over(at(9), election, at(59)));
        assert!(stall.hands_over(at(9), election, at(60)));
    }
}
