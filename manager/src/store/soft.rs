//! What the leader knows without Raft: the states between ASSIGNED and RUNNING, and why a task waits. Lost with the leader;
//! agents send theirs again, and the next scheduling pass explains anew.

use std::collections::{BTreeMap, BTreeSet};

use skep_proto::model::{NodeId, ServiceId, Task, TaskId, TaskStatus};

use super::rotation::Presented;
use super::state::State;

/// The leader's soft state. At most one status for each task that is on its way to RUNNING.
#[derive(Debug, Default)]
pub struct Soft {
    statuses: BTreeMap<TaskId, TaskStatus>,
    waiting: BTreeMap<(ServiceId, u64), Box<str>>,
    clocks: BTreeMap<NodeId, i64>,
    presented: BTreeMap<NodeId, Presented>,
    renewals: BTreeSet<NodeId>,
}

impl Soft {
    /// The status to show for a task: the soft one when it is further than the stored one.
    #[must_use]
    pub fn status<'a>(&'a self, task: &'a Task) -> &'a TaskStatus {
        self.statuses.get(&task.id).filter(|soft| soft.state > task.status.state).unwrap_or(&task.status)
    }

    /// Why tasks of this service and spec version have no node.
    #[must_use]
    pub fn waiting(&self, service: ServiceId, spec_version: u64) -> Option<&str> {
        self.waiting.get(&(service, spec_version)).map(AsRef::as_ref)
    }

    /// How far the node's clock is ahead of this manager's, in milliseconds; behind, when negative.
    #[must_use]
    pub fn clock_ahead_ms(&self, node: NodeId) -> Option<i64> {
        self.clocks.get(&node).copied()
    }

    /// What the node said it proves itself with; `None` before it has said so.
    #[must_use]
    pub fn presented(&self, node: NodeId) -> Option<&Presented> {
        self.presented.get(&node)
    }

    /// Whether the node is to get another certificate now.
    #[must_use]
    pub fn is_to_renew(&self, node: NodeId) -> bool {
        self.renewals.contains(&node)
    }

    /// Takes note of what a node proves itself with. Hardly more are kept than there are nodes. `true`: it is something else.
    pub(super) fn note_presented(&mut self, state: &State, node: NodeId, presented: Presented) -> bool {
        let is_new = self.presented.get(&node) != Some(&presented);
        self.presented.insert(node, presented);
        if self.presented.len() > state.nodes_max() {
            self.presented.retain(|id, _| state.node(*id).is_some());
        }
        is_new
    }

    /// These are to renew, and no others; gives those for whom that is new.
    pub(super) fn ask_renewals(&mut self, nodes: BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        let before = std::mem::replace(&mut self.renewals, nodes);
        before.symmetric_difference(&self.renewals).copied().collect()
    }

    /// Takes note of a node's clock. Hardly more are kept than there are nodes.
    pub(super) fn note_clock(&mut self, state: &State, node: NodeId, ahead_ms: i64) {
        self.clocks.insert(node, ahead_ms);
        if self.clocks.len() > state.nodes_max() {
            self.clocks.retain(|id, _| state.node(*id).is_some());
        }
    }

    /// How many statuses are kept.
    #[cfg(test)]
    pub(super) fn statuses(&self) -> usize {
        self.statuses.len()
    }

    /// Takes a status that is further than what is known of the task; tells whose it is if it was taken.
    pub(super) fn note(&mut self, state: &State, id: TaskId, status: TaskStatus) -> Option<ServiceId> {
        let task = state.task(id)?;
        let known = self.status(task).state;
        let further = status.state > known && task.holds_resources();
        further.then(|| self.statuses.insert(id, status))?;
        Some(task.service)
    }

    /// Drops what the stored state has overtaken.
    pub(super) fn settle(&mut self, state: &State, settled: &[TaskId]) {
        let overtaken = |id: &TaskId, soft: &TaskStatus| state.task(*id).is_none_or(|t| t.status.state >= soft.state);
        for id in settled {
            if self.statuses.get(id).is_some_and(|soft| overtaken(id, soft)) {
                self.statuses.remove(id);
            }
        }
    }

    /// Replaces the reasons; tells whose changed.
    pub(crate) fn explain(&mut self, waiting: Vec<((ServiceId, u64), String)>) -> BTreeSet<ServiceId> {
        let now: BTreeMap<_, Box<str>> = waiting.into_iter().map(|(group, why)| (group, why.into())).collect();
        let before = std::mem::replace(&mut self.waiting, now);
        let came = self.waiting.iter().filter(|(group, why)| before.get(group) != Some(*why));
        let went = before.keys().filter(|group| !self.waiting.contains_key(group));
        came.map(|(group, _)| group).chain(went).map(|(service, _)| *service).collect()
    }
}
