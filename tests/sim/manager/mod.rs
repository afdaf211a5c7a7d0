//! A manager: its store, which follows the log, and while it leads the product's loops and sessions over it.

mod dispatch;
mod loops;
mod term;

use std::collections::BTreeMap;

use skep_manager::store::{Outcome, Refusal, Store, Subscription, Touched, Transaction, codec};
use skep_proto::model::{Moment, NodeId, SteadyTime};
use skep_proto::pb;

use super::queue::{ConnId, Event, Loop, Owner, Result};
use super::stage::Stage;
use super::time::{BootClock, MS, SECOND, Us, WallClock, count};
pub(crate) use term::Term;

/// A manager.
#[derive(Debug)]
pub(crate) struct Manager {
    pub(crate) place: usize,
    pub(crate) clock: WallClock,
    /// Millionths that its steady clock is quick.
    pub(crate) error: i64,
    /// `None` while it is down.
    pub(crate) daemon: Option<Daemon>,
    /// Nothing moves before then.
    pub(crate) frozen_until: Us,
}

/// A manager that is up.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) store: Store,
    /// For the world: what was touched since it last looked.
    pub(crate) watch: Subscription,
    pub(crate) applied: usize,
    pub(crate) term: Option<Term>,
    /// Who leads as far as it knows, and since which term.
    leader: (u64, Option<usize>),
    /// Streams that wait for somebody to lead.
    held: BTreeMap<ConnId, (NodeId, pb::Hello)>,
    started: (Us, Moment),
    error: i64,
    time: SteadyTime,
}

impl Manager {
    pub(crate) fn new(place: usize) -> Self {
        Self { place, clock: WallClock::default(), error: 0, daemon: None, frozen_until: 0 }
    }

    /// Starts with an empty store, which the log fills.
    pub(crate) fn start(&mut self, stage: &mut Stage) {
        if self.daemon.is_some() {
            return;
        }
        stage.note(format_args!("manager {} starts", self.place));
        let (store, _) = Store::new();
        let watch = store.subscribe();
        let started = (stage.now, self.clock.wall(stage.now));
        let time = SteadyTime::new(count(stage.now), started.1);
        let (leader, held) = ((0, None), BTreeMap::new());
        self.daemon =
            Some(Daemon { store, watch, applied: 0, term: None, leader, held, started, error: self.error, time });
    }

    /// Dies. Its streams break.
    pub(crate) fn crash(&mut self, stage: &mut Stage) {
        if self.daemon.take().is_some() {
            stage.note(format_args!("manager {} is killed", self.place));
            stage.hang_up(super::queue::Side::Manager, self.place, true);
        }
    }

    /// A proposal's outcome reaches its owner.
    pub(crate) fn replied(&mut self, stage: &mut Stage, owner: Owner, result: Result) {
        match owner {
            Owner::Orchestrator => self.orchestrated(stage, result),
            Owner::Scheduler => self.placed(stage, &result),
            Owner::Allocator => self.allocated(stage, result),
            Owner::Carrier => self.carried(stage, &result),
            Owner::User(_) => {}
        }
    }

    /// Applies what is committed and not applied yet, up to that entry; gives the last one's outcomes.
    pub(crate) fn catch_up(&mut self, stage: &Stage, upto: usize) -> Vec<Outcome> {
        let Some(daemon) = &mut self.daemon else { return Vec::new() };
        let mut outcomes = Vec::new();
        while daemon.applied < upto {
            daemon.applied += 1;
            outcomes = apply(&daemon.store, daemon.applied, &stage.log.entry(daemon.applied).data);
        }
        outcomes
    }

    /// Wakes whoever in this manager is concerned by what was applied; gives what was touched.
    pub(crate) fn wake(&mut self, stage: &mut Stage) -> Touched {
        let Some(daemon) = &mut self.daemon else { return Touched::default() };
        let touched = daemon.watch.take();
        if let Some(term) = daemon.term.as_mut().filter(|_| !touched.is_empty()) {
            for which in [Loop::Orchestrator, Loop::Scheduler, Loop::Allocator, Loop::Keeper] {
                term.arm_soon(stage, which);
            }
            term.arm_sessions(stage, &touched.assignments);
        }
        touched
    }

    /// The time by which this manager plans.
    pub(super) fn time(&mut self, stage: &Stage) -> Moment {
        let wall = self.wall(stage);
        self.daemon.as_mut().map_or(wall, |daemon| daemon.time.now(count(stage.now), wall))
    }

    /// The wall clock of this machine.
    pub(crate) fn wall(&self, stage: &Stage) -> Moment {
        self.clock.wall(stage.now)
    }
}

/// As the product applies an entry: what cannot be read is refused and leaves the others.
fn apply(store: &Store, index: usize, data: &[u8]) -> Vec<Outcome> {
    let read = codec::decode(data).expect("what was written is read back");
    let known: Vec<Transaction> = read.iter().filter_map(|one| one.as_ref().ok().cloned()).collect();
    let index = u64::try_from(index).expect("64 bits fit an index");
    let mut outcomes = store.apply(index, &known).into_iter();
    let outcome = |one: std::result::Result<_, Refusal>| match one {
        Ok(_) => outcomes.next().expect("each transaction has an outcome"),
        Err(refusal) => Err(refusal),
    };
    read.into_iter().map(|one| one.map(|_| ())).map(outcome).collect()
}

impl Daemon {
    /// The clock that never jumps, on which deadlines hang.
    pub(crate) fn steady(&self, now: Us) -> Moment {
        let (booted, wall) = self.started;
        wall + BootClock { booted, error: self.error }.uptime(now)
    }
}

/// Lets a proposal's outcome reach its owner.
pub(crate) fn reply(stage: &mut Stage, manager: usize, term: u64, owner: Owner, result: Result) {
    let delay = stage.chance.delay(MS, SECOND);
    stage.after(delay, Event::Reply(manager, term, owner, result));
}
