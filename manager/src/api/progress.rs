//! How far a service is from what its spec says.

use std::collections::BTreeMap;

use skep_proto::model::{DesiredState, Freshness, Mode, Node, NodeState, Service, ServiceId, Slot, Task, TaskState};
use skep_proto::pb;

use super::held::held_back;
use crate::store::{Soft, State};

/// Slots shown one by one. A terminal has no more lines; the counts are of all.
pub const SLOTS_SHOWN_MAX: usize = 64;

/// How many tasks run and how many should.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Slots that should have a running task.
    pub desired: u32,
    /// Slots of which one runs that is meant to, on a node that is not Down.
    pub running: u32,
}

/// One service with what is worth knowing once for all of its tasks.
struct View<'a> {
    state: &'a State,
    soft: &'a Soft,
    service: &'a Service,
    /// By spec version: how its revision compares with the current one.
    fresh: BTreeMap<u64, Freshness>,
}

/// The counts of `service ls`: of any spec version, because an update does not mean that fewer run.
#[must_use]
pub fn count(state: &State, service: &Service) -> Count {
    let runs = |task: &&Task| task.desired.is_live() && task.status.state == TaskState::Running && !lost(state, task);
    let running = state.slots(service.id).filter(|(_, tasks)| tasks.iter().any(runs)).count();
    Count { desired: desired(state, service), running: small(running) }
}

/// The progress of a service; a service that is gone is `removed`.
#[must_use]
pub fn progress(state: &State, soft: &Soft, id: ServiceId) -> pb::ServiceProgress {
    let Some(service) = state.service(id) else {
        return pb::ServiceProgress { removed: true, converged: true, ..Default::default() };
    };
    let view = View::new(state, soft, service);
    let mut progress = pb::ServiceProgress { spec_version: service.spec_version, ..Default::default() };
    for (slot, tasks) in state.slots(id) {
        view.add(slot, &tasks, &mut progress);
    }
    if !service.removing {
        progress.desired = desired(state, service);
        let settled = service.ports_allocated() && service.update_status.as_ref().is_none_or(|update| update.completed);
        let served = progress.running + progress.done;
        progress.converged = settled && served == progress.desired && progress.leftover == 0;
    }
    progress
}

/// Slots that should have a running task.
fn desired(state: &State, service: &Service) -> u32 {
    match (service.removing, service.spec.mode) {
        (true, _) => 0,
        (false, Mode::Replicated { replicas }) => replicas,
        (false, Mode::Global) => {
            let placement = &service.spec.task.placement;
            small(state.nodes().filter(|node| node.takes_tasks() && placement.allows(node)).count())
        }
    }
}

impl<'a> View<'a> {
    fn new(state: &'a State, soft: &'a Soft, service: &'a Service) -> Self {
        Self { state, soft, service, fresh: service.freshness() }
    }

    fn add(&self, slot: Slot, tasks: &[&Task], progress: &mut pb::ServiceProgress) {
        let here = || tasks.iter().filter(|task| !lost(self.state, task));
        let runs = here().any(|task| self.runs(task)) && self.counts(slot);
        progress.running += u32::from(runs);
        progress.leftover += small(here().filter(|task| self.is_leftover(slot, task)).count());
        let live = tasks.iter().rev().find(|task| task.desired.is_live());
        let ended = tasks.last().filter(|last| self.counts(slot) && self.has_ended(last, live));
        progress.ended += u32::from(ended.is_some());
        progress.done += u32::from(ended.is_some_and(|last| last.status.state == TaskState::Complete));
        // A slot that was given up, by scaling down or by draining its node, is no part of the service any more.
        let last = tasks.last().filter(|task| task.desired != DesiredState::Remove && self.counts(slot));
        if let (Some(task), true) = (live.or(last), progress.slots.len() < SLOTS_SHOWN_MAX) {
            progress.slots.push(self.show(slot, task, tasks));
        }
    }

    /// A global task on a paused node runs on, but the node is none of those that must have one.
    fn counts(&self, slot: Slot) -> bool {
        match slot {
            Slot::Replica(_) => true,
            Slot::Node(node) => self.state.node(node).is_some_and(|node| node.takes_tasks()),
        }
    }

    fn runs(&self, task: &Task) -> bool {
        task.desired == DesiredState::Running && task.status.state == TaskState::Running && self.is_current(task)
    }

    /// It has not ended, and it will have to. On a paused node a global task stays what it is until the node takes tasks again.
    fn is_leftover(&self, slot: Slot, task: &Task) -> bool {
        let state = task.status.state;
        let exists = task.node.is_some() && state >= TaskState::Assigned && !state.is_terminal();
        exists && (!task.desired.is_live() || (!self.is_current(task) && self.counts(slot)))
    }

    /// The end of a task and its successor are one transaction: where there is none, the service's restart policy wants none.
    fn has_ended(&self, last: &Task, live: Option<&&Task>) -> bool {
        let by_itself = matches!(last.status.state, TaskState::Complete | TaskState::Failed | TaskState::Rejected);
        live.is_none() && by_itself && last.desired == DesiredState::Shutdown && self.is_current(last)
    }

    fn is_current(&self, task: &Task) -> bool {
        match self.fresh.get(&task.spec_version) {
            Some(Freshness::Same) => true,
            Some(Freshness::Placement) => {
                node_of(self.state, task).is_some_and(|n| self.service.spec.task.placement.allows(n))
            }
            Some(Freshness::Outdated) | None => false,
        }
    }

    /// Why it does not run: what it says itself, else what it waits for, else what its predecessor died of. Without the last,
    /// a task that fails again and again would mostly be seen on its way up, with nothing to say.
    fn error<'b>(&'b self, task: &'b Task, slot_tasks: &[&'b Task]) -> &'b str {
        let status = self.soft.status(task);
        if !status.error.is_empty() || status.state >= TaskState::Running {
            return &status.error;
        }
        let waiting = || self.soft.waiting(task.service, task.spec_version);
        let died = || slot_tasks.iter().rev().find(|t| t.status.state.is_terminal() && self.is_current(t));
        let waiting = if task.node.is_none() { waiting() } else { trouble_of(self.state, task) };
        waiting.or_else(|| died().map(|t| &*t.status.error)).unwrap_or_default()
    }

    fn show(&self, slot: Slot, task: &Task, slot_tasks: &[&Task]) -> pb::SlotProgress {
        let status = self.soft.status(task);
        let held = held_back(self.state, task);
        let error = held.as_deref().unwrap_or_else(|| self.error(task, slot_tasks));
        let slot = match slot {
            Slot::Replica(number) => number,
            Slot::Node(_) => 0,
        };
        pb::SlotProgress {
            slot,
            node: task.node.map(skep_proto::model::NodeId::to_bytes).unwrap_or_default(),
            state: pb::TaskState::from(status.state).into(),
            error: error.to_owned(),
            task: task.id.to_bytes(),
            node_name: node_of(self.state, task).map(|node| node.description.hostname.clone()).unwrap_or_default(),
        }
    }
}

fn node_of<'a>(state: &'a State, task: &Task) -> Option<&'a Node> {
    task.node.and_then(|node| state.node(node)).map(AsRef::as_ref)
}

/// What keeps its node from taking it on.
fn trouble_of<'a>(state: &'a State, task: &Task) -> Option<&'a str> {
    let trouble = task.node.and_then(|node| state.node(node)).map(|node| node.description.trouble.as_str());
    trouble.filter(|trouble| !trouble.is_empty())
}

/// Its node is Down or gone: whether it runs is not known, and nothing can be done about it.
fn lost(state: &State, task: &Task) -> bool {
    let down = |node| state.node(node).is_none_or(|node| node.status.state == NodeState::Down);
    task.node.is_some_and(down)
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
