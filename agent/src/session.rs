//! When to connect, to which manager, when to say that the node lives, and when to give a connection up: a pure machine.
//!
//! It ends only when the node was removed or its owner stops it. Whatever else happens, it tries another manager: at once when
//! one named the leader, otherwise after a delay that doubles and is drawn at random, so that a thousand agents which lost
//! one leader do not come back in one instant.

use std::time::Duration;

use skep_proto::model::{Moment, Seed};

/// Delay before the second try. A leader that was killed is replaced in a second; a tenth of it is soon enough and no storm.
pub const BACKOFF_MIN: Duration = Duration::from_millis(100);

/// Longest delay between two tries. A cluster that comes back has all its agents within so many seconds.
pub const BACKOFF_MAX: Duration = Duration::from_secs(8);

/// How long a connection may take until the manager's welcome.
pub const GREETING_MAX: Duration = Duration::from_secs(5);

/// How many hints at a leader are followed at once without a welcome between. Two managers that each take the other for the leader
/// are left alone for a moment then.
pub const HINTS_MAX: u32 = 3;

/// Managers that are remembered. No Raft group is larger; what a message names beyond is left out.
pub const MANAGERS_MAX: usize = 64;

/// Shortest time between two heartbeats, whatever a manager asks for.
const HEARTBEAT_MIN: Duration = Duration::from_millis(50);

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// The stream is open and the hello is on its way.
    Connected,
    /// The connection could not be made, or it broke.
    Lost,
    /// The manager serves this node.
    Welcome {
        /// A heartbeat is wanted at least this often.
        heartbeat: Duration,
        /// Every manager.
        managers: Vec<String>,
    },
    /// Another rhythm.
    Heartbeat(Duration),
    /// The manager does not serve this node.
    Farewell {
        /// Nor will any other.
        removed: bool,
        /// Who might; empty when unknown.
        leader: String,
    },
    /// The agent wants a complete set anew.
    Resync,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Connect to that address and say hello.
    Connect(String),
    /// Say that the node lives.
    Heartbeat,
    /// A session began: tell everything.
    Began,
    /// Remember the managers.
    Remember(Vec<String>),
    /// Let the connection go.
    Disconnect,
    /// The node is no more part of the cluster. Nothing follows.
    Removed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting { until: Moment },
    Greeting { until: Moment },
    Open { next_beat: Moment },
    Removed,
}

/// The session of one agent.
#[derive(Debug)]
pub struct Session {
    managers: Vec<String>,
    phase: Phase,
    current: String,
    failures: u32,
    hints: u32,
    period: Duration,
    seed: Seed,
}

impl Session {
    /// Begins with the managers that are known, and tries the first of them at the first tick.
    #[must_use]
    pub fn new(managers: Vec<String>, seed: Seed, now: Moment) -> Self {
        Self {
            managers: bounded(managers),
            phase: Phase::Waiting { until: now },
            current: String::new(),
            failures: 0,
            hints: 0,
            period: Duration::from_secs(1),
            seed,
        }
    }

    /// A session is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    /// The manager that was tried last.
    #[must_use]
    pub fn manager(&self) -> &str {
        &self.current
    }

    /// The managers that are known.
    #[must_use]
    pub fn managers(&self) -> &[String] {
        &self.managers
    }

    /// When a tick is wanted next.
    #[must_use]
    pub fn wake_at(&self) -> Option<Moment> {
        match self.phase {
            Phase::Waiting { until } | Phase::Greeting { until } => Some(until),
            Phase::Open { next_beat } => Some(next_beat),
            Phase::Removed => None,
        }
    }

    /// Takes one input and says what to do.
    pub fn step(&mut self, now: Moment, input: Input) -> Vec<Effect> {
        match (self.phase, input) {
            (Phase::Removed, _) => Vec::new(),
            (_, Input::Tick) => self.tick(now),
            (Phase::Waiting { .. }, _) | (_, Input::Connected) => Vec::new(),
            (_, Input::Lost) => self.lost(now),
            (_, Input::Welcome { heartbeat, managers }) => self.welcome(now, heartbeat, managers),
            (_, Input::Heartbeat(period)) => self.rhythm(now, period),
            (_, Input::Farewell { removed: true, .. }) => {
                self.phase = Phase::Removed;
                vec![Effect::Disconnect, Effect::Removed]
            }
            (_, Input::Farewell { leader, .. }) => self.refused(now, leader),
            (_, Input::Resync) => self.lost(now),
        }
    }

    fn tick(&mut self, now: Moment) -> Vec<Effect> {
        match self.phase {
            Phase::Waiting { until } if until <= now => {
                let address = self.choose();
                self.connect(now, address)
            }
            Phase::Greeting { until } if until <= now => self.lost(now),
            Phase::Open { next_beat } if next_beat <= now => {
                self.phase = Phase::Open { next_beat: now + self.beat() };
                vec![Effect::Heartbeat]
            }
            _ => Vec::new(),
        }
    }

    fn connect(&mut self, now: Moment, address: Option<String>) -> Vec<Effect> {
        let Some(address) = address else {
            self.phase = Phase::Waiting { until: now + BACKOFF_MAX };
            return Vec::new();
        };
        self.current.clone_from(&address);
        self.phase = Phase::Greeting { until: now + GREETING_MAX };
        vec![Effect::Connect(address)]
    }

    /// Another manager than the last, unless there is only one; the first of the list to begin with, since it served last.
    fn choose(&mut self) -> Option<String> {
        if self.current.is_empty() {
            return self.managers.first().cloned();
        }
        let others: Vec<&String> = self.managers.iter().filter(|m| **m != self.current).collect();
        let count = u128::try_from(others.len()).expect("a list of at most 64");
        let drawn = self.seed.draw().checked_rem(count).and_then(|i| usize::try_from(i).ok());
        let chosen = drawn.and_then(|i| others.get(i).copied()).or(self.managers.first());
        chosen.cloned()
    }

    fn lost(&mut self, now: Moment) -> Vec<Effect> {
        let ceiling = BACKOFF_MIN.saturating_mul(1 << self.failures.min(10)).min(BACKOFF_MAX);
        self.failures = self.failures.saturating_add(1);
        self.hints = 0;
        self.phase = Phase::Waiting { until: now + self.between(ceiling / 2, ceiling) };
        vec![Effect::Disconnect]
    }

    fn refused(&mut self, now: Moment, leader: String) -> Vec<Effect> {
        if leader.is_empty() || self.hints >= HINTS_MAX {
            return self.lost(now);
        }
        self.hints += 1;
        let mut effects = vec![Effect::Disconnect];
        effects.extend(self.connect(now, Some(leader)));
        effects
    }

    fn welcome(&mut self, now: Moment, period: Duration, managers: Vec<String>) -> Vec<Effect> {
        (self.failures, self.hints) = (0, 0);
        self.period = period.max(HEARTBEAT_MIN);
        self.phase = Phase::Open { next_beat: now + self.beat() };
        let mut effects = vec![Effect::Began];
        effects.extend(self.remember(managers));
        effects
    }

    /// Keeps the list with the manager that serves in front, where the next daemon looks first.
    fn remember(&mut self, mut managers: Vec<String>) -> Option<Effect> {
        if managers.is_empty() {
            managers.clone_from(&self.managers);
        }
        managers.retain(|m| *m != self.current);
        managers.sort_unstable();
        managers.insert(0, self.current.clone());
        let managers = bounded(managers);
        if managers == self.managers {
            return None;
        }
        self.managers.clone_from(&managers);
        Some(Effect::Remember(managers))
    }

    fn rhythm(&mut self, now: Moment, period: Duration) -> Vec<Effect> {
        self.period = period.max(HEARTBEAT_MIN);
        if self.is_open() {
            self.phase = Phase::Open { next_beat: now + self.beat() };
        }
        Vec::new()
    }

    /// Between 80 and 95 % of the period: early enough for a slow moment, and never all nodes at once.
    fn beat(&mut self) -> Duration {
        self.between(self.period * 4 / 5, self.period * 19 / 20)
    }

    fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let span = high.saturating_sub(low).as_millis() + 1;
        let extra = u64::try_from(self.seed.draw() % span).unwrap_or(0);
        low + Duration::from_millis(extra)
    }
}

fn bounded(mut managers: Vec<String>) -> Vec<String> {
    managers.truncate(MANAGERS_MAX);
    managers
}

#[cfg(test)]
mod tests;
