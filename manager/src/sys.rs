//! Clock, chance and the group of managers, for the drivers of this crate. Whatever decides gets the results as values.
#![expect(clippy::disallowed_methods, reason = "driver: owns the clock")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use skep_proto::model::moment::millis;
use skep_proto::model::{Moment, Seed, SteadyTime};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::group::{ChangeError, Group, MemberChange};

/// The wall clock: for what people read and other machines compare. It may jump.
#[must_use]
pub fn now() -> Moment {
    Moment(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis))
}

/// 128 random bits from the operating system, fit for ids and for secrets.
///
/// # Panics
/// When the operating system has no randomness: nothing here may go on without.
#[must_use]
pub fn random_bits() -> u128 {
    let mut bytes = [0u8; 16];
    let drawn = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes);
    drawn.expect("the operating system gives random bytes");
    u128::from_be_bytes(bytes)
}

/// 256 random bits from the operating system.
///
/// # Panics
/// As [`random_bits`].
#[must_use]
pub fn random_key() -> [u8; 32] {
    let mut bytes = [0u8; 32];
    let drawn = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes);
    drawn.expect("the operating system gives random bytes");
    bytes
}

/// Random bits for one plan.
#[must_use]
pub fn seed() -> Seed {
    Seed::new(uuid::Uuid::new_v4().as_u128())
}

/// The clock of a loop that plans: the wall clock, but it never goes back. With one that does, everything that was due in an hour
/// would be due in two, the look at everything included.
#[derive(Debug)]
pub struct SteadyClock {
    started: Instant,
    time: SteadyTime,
}

impl SteadyClock {
    /// Starts at the wall clock.
    #[must_use]
    pub fn start() -> Self {
        Self { started: Instant::now(), time: SteadyTime::new(Duration::ZERO, now()) }
    }

    /// Now.
    pub fn now(&mut self) -> Moment {
        self.time.now(self.started.elapsed(), now())
    }
}

/// A clock that never jumps: the wall clock when it was started plus the time since. Deadlines hang on it, so that a
/// corrected wall clock does not declare every node dead.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    at: Moment,
}

impl Clock {
    /// Starts at the wall clock.
    #[must_use]
    pub fn start() -> Self {
        Self { started: Instant::now(), at: now() }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.at + self.started.elapsed()
    }

    /// The instant to sleep until for a moment of this clock.
    #[must_use]
    pub fn instant(&self, at: Moment) -> Instant {
        self.started + at.since(self.at)
    }
}

/// What can be asked of the group of managers.
#[async_trait]
pub trait Consensus: Send + Sync + std::fmt::Debug {
    /// This member's Raft id.
    fn own_id(&self) -> u64;

    /// The group as this member sees it. How far the others are is brought up to date with every tick.
    fn group(&self) -> watch::Receiver<Group>;

    /// Changes the group and waits until the change is in force.
    ///
    /// # Errors
    /// When this member does not lead, or another change is under way.
    async fn change(&self, change: MemberChange) -> Result<(), ChangeError>;

    /// Hands leadership to this member, or to whichever is best. Whether it comes to that is seen in the group.
    async fn transfer(&self, to: Option<u64>);

    /// A member is (also) reached at this address.
    fn learn(&self, id: u64, address: &str);
}
