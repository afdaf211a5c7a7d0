//! A global service: a slot on each node that fits.

use std::collections::BTreeMap;

use skep_proto::model::{Availability, DesiredState, Node, NodeId, Slot};

use super::plan::{Draft, retire};
use super::slot::{self, Phase};
use super::view::{Tasks, View};
use super::{reaper, update};
use crate::store::Change;

/// What a node is to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    /// A task belongs there.
    Wanted,
    /// What is there stays as it is: the node is paused, down or not heard of yet. A task on a node that is down has no
    /// replacement elsewhere, so there is nothing to stop it for.
    Untouched,
    /// No task belongs there: the node is drained or does not match.
    Unwanted,
}

/// Plans a global service.
pub(super) fn plan(view: &View<'_>, draft: &mut Draft) {
    let slots: Vec<Tasks<'_>> = view.state.slots(view.service.id).map(|(slot, all)| Tasks { slot, all }).collect();
    let mut rollout = update::Rollout::default();
    let mut filled = BTreeMap::new();
    for tasks in &slots {
        let Slot::Node(node) = tasks.slot else { continue };
        let phase = tend(view, node, tasks, &mut rollout, draft);
        filled.insert(node, (phase, tasks));
    }
    if view.may_create() {
        fill(view, &filled, draft);
        rollout.advance(view, draft);
    }
}

fn fit(view: &View<'_>, node: &Node) -> Fit {
    if node.spec.availability == Availability::Drain || !view.service.current().task.placement.allows(node) {
        return Fit::Unwanted;
    }
    if node.takes_tasks() { Fit::Wanted } else { Fit::Untouched }
}

/// Looks after one node's slot. What the update may not touch is not shown to it.
fn tend<'a>(
    view: &View<'_>,
    node: NodeId,
    tasks: &'a Tasks<'a>,
    rollout: &mut update::Rollout<'a>,
    draft: &mut Draft,
) -> Phase {
    let node = view.state.node(node);
    let fit = node.map_or(Fit::Unwanted, |node| fit(view, node));
    let acted = match fit {
        Fit::Wanted => view.may_create() && slot::settle(view, tasks, draft),
        Fit::Untouched => false,
        Fit::Unwanted => stop(tasks, node.is_some(), draft),
    };
    if acted {
        rollout.add_changing();
        return Phase::Converging;
    }
    reaper::reap(view, tasks, draft);
    let phase = slot::phase(view, tasks);
    if fit == Fit::Wanted {
        rollout.add(view, tasks, phase);
    }
    phase
}

/// Stops what runs on a node that is not to run it. With a node that is gone its history goes, too.
fn stop(tasks: &Tasks<'_>, is_known: bool, draft: &mut Draft) -> bool {
    if !is_known {
        return slot::end(tasks, draft);
    }
    let changes: Vec<Change> = tasks.wanted().filter_map(|task| retire(task, DesiredState::Shutdown)).collect();
    let acts = !changes.is_empty();
    draft.together(changes, || format!("no task belongs on {:?}", tasks.slot));
    acts
}

/// Makes the missing tasks, each for its node; the scheduler checks that it fits.
fn fill(view: &View<'_>, filled: &BTreeMap<NodeId, (Phase, &Tasks<'_>)>, draft: &mut Draft) {
    let vacant = |node: &&Node| filled.get(&node.id).is_none_or(|(phase, _)| *phase == Phase::Vacant);
    let wanted = view.state.nodes().map(AsRef::as_ref).filter(|node| fit(view, node) == Fit::Wanted);
    let mut missing = wanted.filter(vacant).map(|node| node.id);
    let room = draft.room();
    let changes: Vec<Change> = missing
        .by_ref()
        .take(room)
        .map(|node| slot::fill(view, Slot::Node(node), filled.get(&node).map(|(_, tasks)| *tasks), draft))
        .collect();
    if missing.next().is_some() {
        draft.wake(view.now);
    }
    let count = changes.len();
    draft.apart(changes, || format!("{count} nodes lack their task"));
}
