//! One service as the planners see it: the state, and what is worth computing once for all of its tasks.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_proto::model::{
    Availability, DesiredState, Freshness, Moment, Node, NodeState, Revision, Service, Slot, Task, TaskState,
};

use crate::store::State;

/// What a task stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Footing {
    /// Its node may keep it, or it has none yet.
    Firm,
    /// Its node is drained, or cannot begin it, or may not have it any more and it is a single writer, which is stopped before it is
    /// replaced.
    Drained,
    /// Its node is down or gone: whether it still runs is not known.
    Lost,
}

/// One service, its revisions compared.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) state: &'a State,
    pub(super) service: &'a Service,
    pub(super) now: Moment,
    /// Whether any constraint stands between tasks and nodes.
    pub(super) is_constrained: bool,
    freshness: BTreeMap<u64, Freshness>,
}

/// One slot: its tasks, oldest first.
#[derive(Debug)]
pub(super) struct Tasks<'a> {
    pub(super) slot: Slot,
    pub(super) all: Vec<&'a Task>,
}

impl<'a> Tasks<'a> {
    /// When the last of them was made; the next one is made after that, whatever the clock of this leader says, so that the
    /// order of age is the order of succession.
    pub(super) fn last_made(&self) -> Moment {
        self.all.iter().map(|task| task.meta.created_at).max().unwrap_or_default()
    }

    /// Those meant to run, ended ones too.
    pub(super) fn wanted(&self) -> impl DoubleEndedIterator<Item = &'a Task> + '_ {
        self.all.iter().copied().filter(|task| task.desired.is_live())
    }

    /// The newest of those meant to run.
    pub(super) fn head(&self) -> Option<&'a Task> {
        self.wanted().next_back()
    }

    /// The newest, but for those on their way out of the store.
    pub(super) fn newest(&self) -> Option<&'a Task> {
        self.all.iter().rev().copied().find(|task| task.desired != DesiredState::Remove)
    }
}

impl<'a> View<'a> {
    pub(super) fn new(state: &'a State, service: &'a Service, now: Moment) -> Self {
        let constrained = |revision: &Arc<Revision>| !revision.task.placement.constraints.is_empty();
        let is_constrained = service.revisions.values().any(constrained);
        Self { state, service, now, is_constrained, freshness: service.freshness() }
    }

    pub(super) fn node_of(&self, task: &Task) -> Option<&'a Node> {
        task.node.and_then(|id| self.state.node(id)).map(AsRef::as_ref)
    }

    pub(super) fn footing(&self, task: &Task) -> Footing {
        if task.node.is_none() {
            return Footing::Firm;
        }
        match self.node_of(task) {
            None => Footing::Lost,
            Some(node) if node.status.state == NodeState::Down => Footing::Lost,
            Some(node) if node.spec.availability == Availability::Drain => Footing::Drained,
            Some(node) if task.status.state < TaskState::Running && !node.description.trouble.is_empty() => {
                Footing::Drained
            }
            Some(_) if self.is_single_writer(task) && self.is_misplaced(task) => Footing::Drained,
            Some(_) => Footing::Firm,
        }
    }

    /// Whether the task runs something else than the spec says now. A change of placement alone leaves a task where it is
    /// as long as its node still fits.
    pub(super) fn is_outdated(&self, task: &Task) -> bool {
        if task.spec_version == self.service.spec_version {
            return false;
        }
        match self.freshness.get(&task.spec_version) {
            Some(Freshness::Same) => false,
            Some(Freshness::Placement) => {
                self.node_of(task).is_none_or(|node| !self.service.current().task.placement.allows(node))
            }
            Some(Freshness::Outdated) | None => true,
        }
    }

    /// What the task runs; `None` when its revision was not kept.
    pub(super) fn revision(&self, task: &Task) -> Option<&'a Revision> {
        self.service.revisions.get(&task.spec_version).map(AsRef::as_ref)
    }

    /// Whether the task matches neither the constraints that it was made with nor the current ones. Only active nodes are asked: on
    /// a paused one nothing is touched, and from the others tasks are moved anyway.
    pub(super) fn is_misplaced(&self, task: &Task) -> bool {
        let active = |node: &&Node| node.spec.availability == Availability::Active;
        let Some(node) = self.node_of(task).filter(|node| self.is_constrained && active(node)) else { return false };
        let made_with = self.revision(task).is_none_or(|revision| revision.task.placement.allows(node));
        !made_with && !self.service.current().task.placement.allows(node)
    }

    /// Whether no other task of its slot may run while this one may: its node, or the fence around it, says when it has stopped.
    pub(super) fn is_single_writer(&self, task: &Task) -> bool {
        self.revision(task).is_some_and(|revision| revision.task.is_single_writer())
    }

    /// Whether tasks may be made: what they get from the service has been given out.
    pub(super) fn may_create(&self) -> bool {
        self.service.ports_allocated()
    }
}
