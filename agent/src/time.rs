//! Time that never goes back, made of the two clocks that a machine has.

use std::time::Duration;

use skep_proto::model::Moment;

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

#[cfg(test)]
mod tests {
    use super::*;

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
