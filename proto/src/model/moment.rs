//! Time and chance as values. Only drivers read a clock or draw random bits; decisions get the result.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// Unix milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// How long ago `earlier` was; zero when it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

/// A span in whole milliseconds; more than 584 million years is cut to that.
#[must_use]
pub fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// 128 random bits from which one plan mints its ids and breaks its ties. The same seed gives the same plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(u128);

impl Seed {
    /// Wraps random bits that a driver drew.
    #[must_use]
    pub const fn new(bits: u128) -> Self {
        Self(bits)
    }

    /// The next 128 bits. Two rounds of the SplitMix64 finalizer over each half of a Weyl sequence: not secret, but as
    /// spread out as an id needs.
    ///
    /// *Source*: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, section 4.
    pub fn draw(&mut self) -> u128 {
        const STEP: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
        self.0 = self.0.wrapping_add(STEP);
        let high = mix(lower_half(self.0 >> 64) ^ mix(lower_half(self.0)));
        let low = mix(lower_half(self.0).wrapping_add(high));
        (u128::from(high) << 64) | u128::from(low)
    }
}

fn lower_half(bits: u128) -> u64 {
    u64::try_from(bits & u128::from(u64::MAX)).expect("masked to 64 bits")
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_replays_and_does_not_repeat() {
        let (mut a, mut b) = (Seed::new(7), Seed::new(7));
        let drawn: BTreeSet<u128> = (0..10_000).map(|_| a.draw()).collect();
        assert_eq!(drawn.len(), 10_000);
        assert!((0..10_000).all(|_| drawn.contains(&b.draw())));
    }

    #[test]
    fn time_does_not_wrap() {
        assert_eq!(Moment(5).since(Moment(9)), Duration::ZERO);
        assert_eq!(Moment(5) - Duration::from_secs(1), Moment(0));
        assert_eq!(Moment(u64::MAX) + Duration::from_secs(1), Moment(u64::MAX));
    }
}
