//! What a manager has while it leads: all of it begins with the term and ends with it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use skep_manager::dispatcher::batch::{Batch, Input};
use skep_manager::dispatcher::keeper::{Keeper, Settings};
use skep_manager::dispatcher::registry::Registry;
use skep_manager::store::{Store, Subscription};
use skep_manager::{allocator, dispatcher, orchestrator, scheduler};
use skep_proto::model::{Moment, NodeId};

use super::super::queue::{ConnId, Event, Loop};
use super::super::stage::Stage;
use super::super::time::{MS, SECOND, Us};
use super::dispatch::Visit;

/// Who leads, and in which term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lead {
    pub(crate) manager: usize,
    pub(crate) term: u64,
    /// How often this manager has begun to lead: loops may end and begin again in one term, and hear nothing of what those before proposed.
    pub(crate) begun: u64,
}

/// The orchestrator's loop.
#[derive(Debug)]
pub(super) struct Orchestrating {
    pub(super) planner: orchestrator::Planner,
    pub(super) subscription: Subscription,
    /// Proposals of this turn that are still to be made.
    pub(super) next: VecDeque<orchestrator::Proposal>,
    pub(super) proposed: Option<orchestrator::Proposal>,
}

/// The scheduler's loop.
#[derive(Debug)]
pub(super) struct Placing {
    pub(super) placer: scheduler::Placer,
    pub(super) subscription: Subscription,
    pub(super) due: Us,
    /// A proposal is under way; how long the next turn may wait then.
    pub(super) proposed: Option<Us>,
}

/// The allocator's loop.
#[derive(Debug)]
pub(super) struct Allocating {
    pub(super) subscription: Subscription,
    pub(super) due: Us,
    pub(super) turn: Option<allocator::Turn>,
}

/// The dispatcher's two loops and its sessions.
#[derive(Debug)]
pub(super) struct Dispatching {
    pub(super) keeper: Keeper,
    pub(super) subscription: Subscription,
    pub(super) registry: Registry,
    pub(super) visits: BTreeMap<ConnId, Visit>,
    pub(super) settings: Settings,
    /// How often they have changed.
    pub(super) version: u64,
    pub(super) inputs: VecDeque<Input>,
    pub(super) batch: Batch,
    pub(super) is_carrying: bool,
    /// Heartbeats that want to know whether this manager leads, and those for which that is being made sure.
    pub(super) asking: Vec<(ConnId, u64)>,
    pub(super) asked: Vec<(ConnId, u64)>,
}

/// One term.
#[derive(Debug)]
pub(crate) struct Term {
    pub(crate) lead: Lead,
    pub(super) orchestrating: Orchestrating,
    pub(super) placing: Placing,
    pub(super) allocating: Allocating,
    pub(super) dispatching: Dispatching,
    /// A step of the membership loop is under way.
    pub(super) is_stepping: bool,
    armed: BTreeMap<Loop, Us>,
}

impl Term {
    /// Begins: subscriptions first, so that nothing is missed.
    pub(crate) fn new(lead: Lead, store: &Store, steady: Moment) -> Self {
        let subscription = store.subscribe_to(dispatcher::run::TOPICS);
        let keeper = Keeper::new(&store.read(), steady, None);
        let settings = keeper.settings().clone();
        Self {
            lead,
            orchestrating: Orchestrating {
                planner: orchestrator::Planner::default(),
                subscription: store.subscribe_to(orchestrator::TOPICS),
                next: VecDeque::new(),
                proposed: None,
            },
            placing: Placing {
                placer: scheduler::Placer::default(),
                subscription: store.subscribe_to(scheduler::TOPICS),
                due: 0,
                proposed: None,
            },
            allocating: Allocating { subscription: store.subscribe_to(allocator::TOPICS), due: 0, turn: None },
            dispatching: Dispatching {
                keeper,
                subscription,
                registry: Registry::default(),
                visits: BTreeMap::new(),
                settings,
                version: 0,
                inputs: VecDeque::new(),
                batch: Batch::default(),
                is_carrying: false,
                asking: Vec::new(),
                asked: Vec::new(),
            },
            is_stepping: false,
            armed: BTreeMap::new(),
        }
    }

    /// Wakes every loop for its first turn.
    pub(crate) fn begin(&mut self, stage: &mut Stage) {
        for which in [Loop::Orchestrator, Loop::Scheduler, Loop::Allocator, Loop::Keeper, Loop::Membership] {
            self.arm_soon(stage, which);
        }
    }

    /// Lets a loop take a turn, at that time at the latest.
    pub(super) fn arm(&mut self, stage: &mut Stage, which: Loop, at: Us) {
        let at = at.max(stage.now);
        if self.armed.get(&which).is_none_or(|armed| at < *armed) {
            self.armed.insert(which, at);
            stage.at(at, Event::Turn(self.lead.manager, self.lead.term, which));
        }
    }

    /// Lets a loop take a turn as soon as the machine's other work allows.
    pub(super) fn arm_soon(&mut self, stage: &mut Stage, which: Loop) {
        let at = stage.now + stage.chance.delay(MS, SECOND / 2);
        self.arm(stage, which, at);
    }

    /// Whether this turn is the one that was armed for.
    pub(super) fn disarm(&mut self, stage: &Stage, which: Loop) -> bool {
        self.armed.remove_entry(&which).is_some_and(|(which, at)| {
            let due = at <= stage.now;
            if !due {
                self.armed.insert(which, at);
            }
            due
        })
    }

    /// Lets the sessions of these nodes look at what changed.
    pub(super) fn arm_sessions(&mut self, stage: &mut Stage, nodes: &BTreeSet<NodeId>) {
        let concerned = self.dispatching.visits.iter_mut().filter(|(_, visit)| nodes.contains(&visit.node));
        concerned.for_each(|(id, visit)| visit.arm(stage, *id));
    }
}
