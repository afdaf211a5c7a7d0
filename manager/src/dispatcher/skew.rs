//! How far a node's clock is from the leader's. Each heartbeat says what time it was when it left, and how long it takes to get here;
//! it can only arrive later than that, because it waited somewhere, so of the last few the one that came quickest is right.

use std::collections::VecDeque;

use skep_proto::model::Moment;

/// Heartbeats looked at together: some seconds, in which a clock that was set is found again.
const SAMPLES: usize = 8;
/// What is shown to people changes in such steps. Quicker clocks drift by less in an hour.
const STEP_MS: u64 = 100;
/// From here on it is worth telling: logs of two nodes cannot be compared any more.
const OFF_MS: u64 = 1_000;
/// A clock that was off is right again below this: what stands at the edge is not told each second.
const BACK_MS: u64 = 500;

/// One node's clock, as its session sees it.
#[derive(Debug, Default)]
pub struct Skew {
    samples: VecDeque<i64>,
    noted: Option<i64>,
    is_off: bool,
}

/// What a heartbeat tells of its node's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How far it is ahead, in milliseconds; behind, when negative.
    pub ahead_ms: i64,
    /// It has just gone wrong (`true`) or right again (`false`).
    pub turned: Option<bool>,
}

impl Skew {
    /// A message came in at `ours` that was sent at `theirs` and takes `delay_ms` to get here. Something is to be shown or told only
    /// when it has changed. An agent that does not know the time says 0.
    pub fn hear(&mut self, theirs: u64, delay_ms: u64, ours: Moment) -> Option<Finding> {
        if theirs == 0 {
            return None;
        }
        self.samples.truncate(SAMPLES - 1);
        self.samples.push_front(difference(theirs.saturating_add(delay_ms), ours.0));
        let ahead_ms = self.samples.iter().copied().max()?;
        let turned = self.turn(ahead_ms.unsigned_abs());
        let is_new = self.noted.is_none_or(|noted| noted.abs_diff(ahead_ms) >= STEP_MS);
        if turned.is_none() && !is_new {
            return None;
        }
        self.noted = Some(ahead_ms);
        Some(Finding { ahead_ms, turned })
    }

    fn turn(&mut self, off_ms: u64) -> Option<bool> {
        let is_off = off_ms >= if self.is_off { BACK_MS } else { OFF_MS };
        (std::mem::replace(&mut self.is_off, is_off) != is_off).then_some(is_off)
    }
}

fn difference(a: u64, b: u64) -> i64 {
    let size = i64::try_from(a.abs_diff(b)).unwrap_or(i64::MAX);
    if a >= b { size } else { -size }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(1_700_000_000_000);

    fn finding(ahead_ms: i64, turned: Option<bool>) -> Option<Finding> {
        Some(Finding { ahead_ms, turned })
    }

    #[test]
    fn the_way_here_is_no_difference() {
        let mut skew = Skew::default();
        assert_eq!(skew.hear(NOW.0 - 30, 30, NOW), finding(0, None));
        assert_eq!(skew.hear(NOW.0 - 30, 30, NOW), None, "nothing new");
        assert_eq!(skew.hear(0, 30, NOW), None, "it does not know the time");
    }

    #[test]
    fn heartbeats_that_waited_for_us_do_not_put_a_clock_back() {
        let mut skew = Skew::default();
        skew.hear(NOW.0, 0, NOW);
        for waited in 1..u64::try_from(SAMPLES).unwrap() {
            assert_eq!(skew.hear(NOW.0, 0, Moment(NOW.0 + waited * 1_000)), None);
        }
    }

    #[test]
    fn a_clock_that_was_set_is_found_within_some_heartbeats_and_told_once() {
        let mut skew = Skew::default();
        skew.hear(NOW.0, 0, NOW);
        assert_eq!(skew.hear(NOW.0 + 600_000, 0, NOW), finding(600_000, Some(true)));
        assert_eq!(skew.hear(NOW.0 + 600_010, 0, NOW), None);
        let back: Vec<_> = (0..SAMPLES).filter_map(|_| skew.hear(NOW.0 - 600_000, 0, NOW)).collect();
        assert_eq!(back.len(), 1, "{back:?}");
        assert_eq!((back[0].ahead_ms, back[0].turned), (-600_000, None), "it is as wrong as before, the other way");
        let right = (0..SAMPLES).filter_map(|_| skew.hear(NOW.0 - 100, 0, NOW)).last();
        assert_eq!(right, finding(-100, Some(false)));
    }
}
