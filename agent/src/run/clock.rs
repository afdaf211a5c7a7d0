//! Time that never goes back.
#![expect(clippy::disallowed_methods, reason = "driver: owns the clock")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use skep_proto::model::moment::millis;
use skep_proto::model::{Moment, Seed};
use uuid::Uuid;

/// A machine that learns the right time after its boot jumps by years; smaller steps than this are not worth following.
const STEP_MIN: Duration = Duration::from_secs(1);

/// Wall-clock time, except that when the machine's clock is set back, this one goes on: timers then stay true, and states stay
/// in order. When it is set forward, this one follows.
#[derive(Debug)]
pub(crate) struct Clock {
    zero: Instant,
    base: Moment,
}

impl Clock {
    /// Starts at the machine's time.
    pub(crate) fn new() -> Self {
        Self { zero: Instant::now(), base: wall() }
    }

    /// The time now.
    pub(crate) fn now(&mut self) -> Moment {
        let steady = self.base + self.zero.elapsed();
        let wall = wall();
        if wall.since(steady) > STEP_MIN {
            *self = Self { zero: Instant::now(), base: wall };
            return wall;
        }
        steady
    }
}

fn wall() -> Moment {
    Moment(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis))
}

/// Random bits for one machine.
pub(crate) fn seed() -> Seed {
    Seed::new(Uuid::new_v4().as_u128())
}
