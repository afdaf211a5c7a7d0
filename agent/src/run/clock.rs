//! Reads the machine's clocks and draws chance.
#![expect(clippy::disallowed_methods, reason = "driver: owns the clock")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use skep_proto::model::moment::millis;
use skep_proto::model::{Moment, Seed, SteadyTime};
use uuid::Uuid;

/// The time of the agent: see [`SteadyTime`].
#[derive(Debug)]
pub(crate) struct Clock {
    zero: Instant,
    time: SteadyTime,
}

impl Clock {
    /// Starts at the machine's time.
    pub(crate) fn new() -> Self {
        Self { zero: Instant::now(), time: SteadyTime::new(Duration::ZERO, wall()) }
    }

    /// The time now.
    pub(crate) fn now(&mut self) -> Moment {
        self.time.now(self.zero.elapsed(), wall())
    }
}

/// What the machine's clock shows, right or wrong.
pub(crate) fn wall() -> Moment {
    Moment(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis))
}

/// Random bits for one machine.
pub(crate) fn seed() -> Seed {
    Seed::new(Uuid::new_v4().as_u128())
}

/// The time since the machine's boot. It goes on while the machine sleeps and is never set.
///
/// # Panics
/// Never: every Linux since 2.6.39 has this clock.
pub(crate) fn uptime() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("the kernel has a clock of the time since boot");
    Duration::from(time)
}
