//! When to connect, to which manager, when to say that the node lives, and when to give a connection up: a pure machine.
//!
//! It ends only when the node was removed or its owner stops it. Whatever else happens, it tries another manager: almost at
//! once when one named the leader, and while there are managers that were not tried, in an order drawn at random so that a thousand
//! agents which lost one leader do not all come to the same. When all were tried in vain it begins a new round after a delay that doubles, and
//! tries those it was begun with, too: should every manager it knows have moved, the address that an operator gave may still be good.
//! A manager that answers and knows of no leader has waited for one before it said so, hence the delay is short after a round with such an answer.

use std::collections::BTreeSet;
use std::time::Duration;

use skep_proto::model::{Era, Moment, Seed};

/// Longest delay before a leader that was named, or another manager of the same round, is tried: a thousand agents need not come in one
/// instant.
pub const HASTE_MAX: Duration = Duration::from_millis(100);

/// Delay before the second round. A leader that was killed is replaced in a second; a tenth of it is soon enough and no storm.
pub const BACKOFF_MIN: Duration = Duration::from_millis(100);

/// Longest delay between two rounds. A cluster that comes back has its agents back before it takes them for lost: a new leader waits
/// three seconds.
pub const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// How long a connection may take until the manager's welcome. A manager that knows of no leader waits three seconds for one.
pub const GREETING_MAX: Duration = Duration::from_secs(7);

/// How many hints at a leader are followed without a welcome between. Two managers that each take the other for the leader
/// are left alone for a moment then.
pub const HINTS_MAX: u32 = 3;

/// Managers that are remembered. No Raft group is larger; what a message names beyond is left out.
pub const MANAGERS_MAX: usize = 64;

/// Heartbeats to which a manager may owe its answer when the next is due. An agent that was asleep or starved counts one for all that time,
/// and so does not take its own lateness for the manager's.
const UNANSWERED_MAX: u32 = 2;

/// How long a manager may be silent at least, however quick the heartbeat is. Longer than it is busy when thousands of agents come at once;
/// an agent whose leader hangs has to be back at the next one within the three seconds that this one waits after an election. In a large
/// swarm heartbeats are rarer, and both wait longer.
const SILENCE_MIN: Duration = Duration::from_millis(2_900);

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
    /// Every manager, now.
    Managers(Vec<String>),
    /// The manager does not serve this node.
    Farewell {
        /// Nor will any other.
        removed: bool,
        /// Who might; empty when unknown.
        leader: String,
    },
    /// The agent wants a complete set anew.
    Resync,
    /// A person says that there is a manager at this address.
    Told(String),
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
    Open { next_beat: Moment, unanswered: u32, heard: Moment },
    Removed,
}

/// The session of one agent.
#[derive(Debug)]
pub struct Session {
    managers: Vec<String>,
    /// What it was begun with.
    given: Vec<String>,
    phase: Phase,
    current: String,
    /// Tried in this round.
    tried: BTreeSet<String>,
    /// A manager of this round answered, and knew of no leader.
    is_answered: bool,
    /// Rounds in vain, one after the other.
    rounds: u32,
    hints: u32,
    /// Who leads, as the last manager said.
    hinted: Option<String>,
    period: Duration,
    /// Beats come at least so often, whatever the manager asks for.
    limit: Option<Duration>,
    /// The latest era of the cluster that was heard of.
    era: Era,
    seed: Seed,
}

impl Session {
    /// Begins with the managers that are known, and tries the first of them at the first tick.
    #[must_use]
    pub fn new(managers: Vec<String>, seed: Seed, now: Moment) -> Self {
        let managers = bounded(managers);
        Self {
            given: managers.clone(),
            managers,
            phase: Phase::Waiting { until: now },
            current: String::new(),
            tried: BTreeSet::new(),
            is_answered: false,
            rounds: 0,
            hinted: None,
            hints: 0,
            period: Duration::from_secs(1),
            limit: None,
            era: Era::default(),
            seed,
        }
    }

    /// The latest era that was heard of.
    #[must_use]
    pub fn era(&self) -> Era {
        self.era
    }

    /// Somebody lives in that era. `false`: it is an earlier one than was heard of, and whoever leads in it must not be obeyed.
    pub fn meet(&mut self, era: Era) -> bool {
        self.era = self.era.max(era);
        self.era == era
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

    /// Lets beats come at least so often; `None`: as the manager asks.
    pub fn limit(&mut self, now: Moment, limit: Option<Duration>) {
        if std::mem::replace(&mut self.limit, limit) == limit {
            return;
        }
        let soon = now + self.beat();
        if let Phase::Open { next_beat, .. } = &mut self.phase {
            *next_beat = soon.min(*next_beat);
        }
    }

    /// The manager said something, whatever it was.
    pub fn hear(&mut self, now: Moment) {
        if let Phase::Open { unanswered, heard, .. } = &mut self.phase {
            (*unanswered, *heard) = (0, now);
        }
    }

    /// When a tick is wanted next.
    #[must_use]
    pub fn wake_at(&self) -> Option<Moment> {
        match self.phase {
            Phase::Waiting { until } | Phase::Greeting { until } => Some(until),
            Phase::Open { next_beat, .. } => Some(next_beat),
            Phase::Removed => None,
        }
    }

    /// Takes one input and says what to do.
    pub fn step(&mut self, now: Moment, input: Input) -> Vec<Effect> {
        match (self.phase, input) {
            (Phase::Removed, _) => Vec::new(),
            (_, Input::Tick) => self.tick(now),
            (_, Input::Told(address)) => self.told(now, address),
            (Phase::Waiting { .. }, _) | (_, Input::Connected) => Vec::new(),
            (_, Input::Lost) => self.lost(now),
            (_, Input::Welcome { heartbeat, managers }) => self.welcome(now, heartbeat, managers),
            (_, Input::Heartbeat(period)) => self.rhythm(now, period),
            (Phase::Open { .. }, Input::Managers(managers)) => self.remember(managers).into_iter().collect(),
            (_, Input::Managers(_)) => Vec::new(),
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
            Phase::Open { next_beat, unanswered, heard } if next_beat <= now => self.say_alive(now, unanswered, heard),
            _ => Vec::new(),
        }
    }

    /// Nothing comes back from a manager that hangs, though its kernel goes on acknowledging: then it is another one's turn.
    fn say_alive(&mut self, now: Moment, unanswered: u32, heard: Moment) -> Vec<Effect> {
        if unanswered >= UNANSWERED_MAX && now.since(heard) >= SILENCE_MIN {
            return self.lost(now);
        }
        self.phase = Phase::Open { next_beat: now + self.beat(), unanswered: unanswered + 1, heard };
        vec![Effect::Heartbeat]
    }

    fn connect(&mut self, now: Moment, address: Option<String>) -> Vec<Effect> {
        let Some(address) = address else {
            self.phase = Phase::Waiting { until: now + BACKOFF_MAX };
            return Vec::new();
        };
        self.current.clone_from(&address);
        self.tried.insert(address.clone());
        self.phase = Phase::Greeting { until: now + GREETING_MAX };
        vec![Effect::Connect(address)]
    }

    /// Tried next, unless a manager serves already, and in every round from now on.
    fn told(&mut self, now: Moment, address: String) -> Vec<Effect> {
        if !self.given.contains(&address) {
            self.given.insert(0, address.clone());
        }
        if self.is_open() {
            return Vec::new();
        }
        self.hinted = Some(address);
        self.phase = Phase::Waiting { until: now };
        vec![Effect::Disconnect]
    }

    /// Managers that were not tried in this round. The first round is of those that are known, the later ones of those that were
    /// given, too.
    fn untried(&self) -> Vec<&String> {
        let given = self.given.iter().filter(|m| self.rounds > 0 && !self.managers.contains(m));
        self.managers.iter().chain(given).filter(|m| !self.tried.contains(*m)).collect()
    }

    /// The leader, if a manager named it. The first of the list to begin with, since it served last; then any that was not tried in
    /// this round.
    fn choose(&mut self) -> Option<String> {
        if let Some(leader) = self.hinted.take() {
            return Some(leader);
        }
        if self.current.is_empty() {
            return self.managers.first().cloned();
        }
        let bits = self.seed.draw();
        let untried = self.untried();
        let count = u128::try_from(untried.len()).expect("two lists of at most 64");
        let drawn = bits.checked_rem(count).and_then(|i| usize::try_from(i).ok());
        drawn.and_then(|i| untried.get(i).copied()).or(self.managers.first()).cloned()
    }

    /// The delay is drawn, so that many do not come together.
    fn lost(&mut self, now: Moment) -> Vec<Effect> {
        if self.is_open() {
            // The one that served is the likeliest to be gone.
            self.tried = BTreeSet::from([self.current.clone()]);
        }
        self.hints = 0;
        let delay = if self.untried().is_empty() { self.next_round() } else { self.between(Duration::ZERO, HASTE_MAX) };
        self.phase = Phase::Waiting { until: now + delay };
        vec![Effect::Disconnect]
    }

    fn next_round(&mut self) -> Duration {
        self.rounds = if self.is_answered { 1 } else { self.rounds.saturating_add(1) };
        self.is_answered = false;
        self.tried.clear();
        let ceiling = BACKOFF_MIN.saturating_mul(1 << (self.rounds - 1).min(10)).min(BACKOFF_MAX);
        self.between(ceiling / 2, ceiling)
    }

    fn refused(&mut self, now: Moment, leader: String) -> Vec<Effect> {
        if leader.is_empty() || self.hints >= HINTS_MAX {
            self.is_answered |= !self.is_open();
            return self.lost(now);
        }
        self.hints += 1;
        self.hinted = Some(leader);
        // All agents of a manager hear it in one instant.
        self.phase = Phase::Waiting { until: now + self.between(Duration::ZERO, HASTE_MAX) };
        vec![Effect::Disconnect]
    }

    fn welcome(&mut self, now: Moment, period: Duration, managers: Vec<String>) -> Vec<Effect> {
        (self.rounds, self.hints, self.is_answered) = (0, 0, false);
        self.tried.clear();
        self.period = period.max(HEARTBEAT_MIN);
        self.phase = Phase::Open { next_beat: now + self.beat(), unanswered: 0, heard: now };
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
        let soon = now + self.beat();
        if let Phase::Open { next_beat, .. } = &mut self.phase {
            *next_beat = soon;
        }
        Vec::new()
    }

    /// Between 80 and 95 % of the period: early enough for a slow moment, and never all nodes at once.
    fn beat(&mut self) -> Duration {
        let period = self.limit.map_or(self.period, |limit| limit.min(self.period));
        self.between(period * 4 / 5, period * 19 / 20)
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
