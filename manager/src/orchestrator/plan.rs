//! What one look at the state comes to, and how it is put together.

use std::time::Duration;

use skep_proto::model::{DesiredState, Moment, Seed, Service, ServiceId, Slot, Task, TaskId, TaskState, TaskStatus};

use super::view::View;
use super::{global, reaper, replicated};
use crate::store::{Change, State, Transaction};

/// Most changes of one proposal. At about a microsecond each, applying them keeps readers out for a few milliseconds.
pub const PROPOSED_MAX: usize = 4_096;

/// Most changes of one plan: several proposals, one after the other, because looking at a service of a million tasks costs
/// more than making a few thousand. What did not fit is planned again, from the state that the first part led to.
pub const CHANGES_MAX: usize = 8 * PROPOSED_MAX;

/// Most reasons kept of one plan; they are for people, who read no more.
pub const REASONS_MAX: usize = 64;

/// What to propose, when to look again though nothing happened, and why.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Each is applied whole or not at all, and refused when the versions it names are stale.
    pub transactions: Vec<Transaction>,
    /// The next moment at which time alone changes the answer; `now` when the plan was cut short.
    pub wake_at: Option<Moment>,
    /// A sentence for each decision.
    pub reasons: Vec<String>,
}

/// Plans one service: what tasks to make, to stop and to forget. A service that is gone needs nothing.
#[must_use]
pub fn plan(state: &State, service: ServiceId, now: Moment, seed: Seed) -> Plan {
    let Some(service) = state.service(service) else { return Plan::default() };
    let view = View::new(state, service, now);
    let mut draft = Draft::new(now, seed);
    if service.removing {
        reaper::dismantle(&view, &mut draft);
    } else if replicated::plan(&view, &mut draft).is_none() {
        global::plan(&view, &mut draft);
    }
    draft.finish()
}

/// A plan in the making.
#[derive(Debug)]
pub(super) struct Draft {
    now: Moment,
    seed: Seed,
    room: usize,
    /// How many running tasks may still be stopped on purpose.
    spare: usize,
    plan: Plan,
}

/// What a new task takes over from the one that it follows.
#[derive(Debug, Default)]
pub(super) struct Succession {
    pub(super) replaces: Option<TaskId>,
    pub(super) start_after: Option<Moment>,
    pub(super) restarts: Vec<Moment>,
    /// When the slot's last task was made.
    pub(super) last_made: Moment,
}

impl Draft {
    pub(super) fn new(now: Moment, seed: Seed) -> Self {
        Self { now, seed, room: CHANGES_MAX, spare: usize::MAX, plan: Plan::default() }
    }

    /// Lets the plan stop so many running tasks on purpose.
    pub(super) fn allow(&mut self, spare: usize) {
        self.spare = spare;
    }

    /// Whether a running task may be stopped on purpose.
    pub(super) fn may_stop(&self) -> bool {
        self.spare > 0
    }

    /// Notes that one is.
    pub(super) fn spend(&mut self) {
        self.spare = self.spare.saturating_sub(1);
    }

    /// How many more changes this plan takes.
    pub(super) fn room(&self) -> usize {
        self.room
    }

    /// Adds changes that belong together. When there is no room they are left for the next plan, which is due at once;
    /// a plan that is still empty takes them whatever their number, so that no plan is stuck.
    pub(super) fn together(&mut self, changes: Vec<Change>, reason: impl FnOnce() -> String) {
        if changes.is_empty() {
            return;
        }
        if changes.len() > self.room && self.room < CHANGES_MAX {
            self.room = 0;
            self.wake(self.now);
            return;
        }
        self.room = self.room.saturating_sub(changes.len());
        if self.plan.reasons.len() < REASONS_MAX {
            self.plan.reasons.push(reason());
        }
        let at = changes.iter().filter_map(made_at).fold(self.now, Moment::max);
        self.plan.transactions.push(Transaction { changes, at });
    }

    /// Adds changes that have nothing to do with one another, in as few transactions as proposals allow.
    pub(super) fn apart(&mut self, changes: Vec<Change>, reason: impl Fn() -> String) {
        let mut left = changes.into_iter().peekable();
        while left.peek().is_some() {
            self.together(left.by_ref().take(PROPOSED_MAX).collect(), &reason);
        }
    }

    /// Notes that the plan must be made again at that moment at the latest.
    pub(super) fn wake(&mut self, at: Moment) {
        self.plan.wake_at = Some(self.plan.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// A new task of the service's current spec. It begins as PENDING: nothing is allocated for a single task.
    pub(super) fn task(&mut self, service: &Service, slot: Slot, desired: DesiredState, from: Succession) -> Change {
        let made_at = self.now.max(from.last_made + Duration::from_millis(1));
        Change::CreateTask(Box::new(Task {
            id: TaskId::new(self.seed.draw()),
            meta: skep_proto::model::Meta { version: 0, created_at: made_at, updated_at: made_at },
            service: service.id,
            slot,
            spec_version: service.spec_version,
            node: match slot {
                Slot::Replica(_) => None,
                Slot::Node(node) => Some(node),
            },
            desired,
            status: TaskStatus::new(TaskState::Pending, self.now, "pending task scheduling"),
            start_after: from.start_after,
            replaces: from.replaces,
            restarts: from.restarts,
        }))
    }

    pub(super) fn finish(self) -> Plan {
        self.plan
    }
}

fn made_at(change: &Change) -> Option<Moment> {
    if let Change::CreateTask(task) = change { Some(task.meta.created_at) } else { None }
}

/// Asks for a task to stop. One that no agent has heard of, and one that has ended and leaves no history, is forgotten at once.
pub(super) fn retire(task: &Task, desired: DesiredState) -> Option<Change> {
    let ended = desired == DesiredState::Remove && task.status.state.is_terminal();
    if ended || task.status.state < TaskState::Assigned {
        return Some(Change::RemoveTask { task: task.id, if_version: task.meta.version });
    }
    (task.desired < desired).then_some(Change::SetDesired { task: task.id, if_version: task.meta.version, desired })
}
