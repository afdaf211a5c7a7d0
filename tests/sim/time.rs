//! Fake time: one true time for the world, and each machine's own idea of it.

use std::time::Duration;

use skep_proto::model::Moment;

/// Microseconds since the world began.
pub(crate) type Us = u64;

/// A millisecond.
pub(crate) const MS: Us = 1_000;

/// A second.
pub(crate) const SECOND: Us = 1_000_000;

/// A tick of Raft: a fifth of its heartbeat. Half as often as on a real manager, which saves time and loses nothing.
pub(crate) const TICK: Us = 40 * MS;

/// What a right clock shows when the world begins.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// A machine's clock for people: it may be wrong, and it may jump.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WallClock {
    /// How far it is off.
    pub(crate) offset_ms: i64,
}

impl WallClock {
    pub(crate) fn wall(self, now: Us) -> Moment {
        Moment((EPOCH_MS + now / MS).saturating_add_signed(self.offset_ms))
    }
}

/// What a clock that only counts on shows.
pub(crate) fn count(now: Us) -> Duration {
    Duration::from_micros(now)
}

/// When a machine whose time is `here` is to be woken for the moment `at` of that time. A timer never comes early.
pub(crate) fn alarm(now: Us, here: Moment, at: Moment) -> Us {
    now + us(at.since(here)) + MS
}

/// A span in microseconds; a longer one than the world lasts is cut.
pub(crate) fn us(span: Duration) -> Us {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX >> 8).min(u64::MAX >> 8)
}

/// A machine's clock that counts from its boot, goes on whatever happens, and is a little quick or slow.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BootClock {
    pub(crate) booted: Us,
    /// Millionths that it is quick; slow, when negative.
    pub(crate) error: i64,
}

impl BootClock {
    pub(crate) fn uptime(self, now: Us) -> Duration {
        let span = i128::from(now - self.booted);
        let shown = span * i128::from(1_000_000 + self.error) / 1_000_000;
        Duration::from_micros(u64::try_from(shown).unwrap_or(0))
    }

    /// When a timer of that clock goes off. It never comes early.
    pub(crate) fn alarm(self, now: Us, at: Duration) -> Us {
        let left = i128::from(us(at.saturating_sub(self.uptime(now))));
        let real = left * 1_000_000 / i128::from(1_000_000 + self.error);
        now + u64::try_from(real).unwrap_or(0) + MS
    }
}
