//! Time that never goes back, made of the two clocks that a machine has.

use std::time::Duration;

use super::moment::Moment;

/// A machine that learns the right time after its boot jumps by years; smaller steps than this are not worth following.
const STEP_MIN: Duration = Duration::from_secs(1);

/// Wall-clock time, except that when the machine's clock is set back, this one goes on: timers then stay true, and states stay
/// in order. When it is set forward, this one follows.
#[derive(Clone, Copy, Debug)]
pub struct SteadyTime {
    zero: Duration,
    base: Moment,
}

impl SteadyTime {
    /// Starts at `wall`, when the clock that only counts on stands at `count`.
    #[must_use]
    pub fn new(count: Duration, wall: Moment) -> Self {
        Self { zero: count, base: wall }
    }

    /// The time when the machine's clocks show this.
    pub fn now(&mut self, count: Duration, wall: Moment) -> Moment {
        let steady = self.base + count.saturating_sub(self.zero);
        if wall.since(steady) > STEP_MIN {
            *self = Self::new(count, wall);
            return wall;
        }
        steady
    }
}

/// What a greeting between two machines tells of their clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// How far our clock is ahead, in milliseconds; behind, when negative.
    pub ahead_ms: i64,
    /// How long a message takes: half the round trip.
    pub delay: Duration,
}

/// Compares clocks. We said hello at `sent`, and the welcome was there after `round`; by their clock the hello came at `came` and
/// the welcome left at `left`. `None`: they do not know the time.
///
/// *Source*: RFC 5905, section 8.
#[must_use]
pub fn compare(sent: Moment, round: Duration, came: Moment, left: Moment) -> Option<Comparison> {
    if came.0 == 0 || left.0 == 0 {
        return None;
    }
    let delay = round.saturating_sub(left.since(came)) / 2;
    let (ours, theirs) = (sent + delay, came);
    let size = i64::try_from(ours.0.abs_diff(theirs.0)).unwrap_or(i64::MAX);
    Some(Comparison { ahead_ms: if ours >= theirs { size } else { -size }, delay })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_the_network_nor_a_busy_manager_makes_a_difference() {
        let ms = Duration::from_millis;
        let at = |ms: u64| Moment(1_700_000_000_000 + ms);
        let right = compare(at(0), ms(5_100), at(50), at(5_050)).unwrap();
        assert_eq!(right, Comparison { ahead_ms: 0, delay: ms(50) });
        let ahead = compare(at(600_000), ms(100), at(50), at(50)).unwrap();
        assert_eq!(ahead, Comparison { ahead_ms: 600_000, delay: ms(50) });
        let behind = compare(at(0), ms(100), at(600_050), at(600_050)).unwrap();
        assert_eq!(behind.ahead_ms, -600_000);
        assert_eq!(compare(at(0), ms(100), Moment(0), Moment(0)), None, "it does not know the time");
    }

    #[test]
    fn a_clock_set_back_is_not_followed_and_one_set_forward_is() {
        let second = Duration::from_secs(1);
        let mut time = SteadyTime::new(second, Moment(10_000));
        assert_eq!(time.now(second * 2, Moment(11_000)), Moment(11_000));
        assert_eq!(time.now(second * 3, Moment(5_000)), Moment(12_000));
        assert_eq!(time.now(second * 4, Moment(90_000)), Moment(90_000));
        assert_eq!(time.now(second * 5, Moment(14_000)), Moment(91_000));
    }
}
