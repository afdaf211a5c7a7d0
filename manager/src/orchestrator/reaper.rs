//! What is forgotten: tasks that were removed, history past its limit, and tasks of nodes that have been away for a day.

use std::time::Duration;

use skep_proto::model::{ClusterSpec, DesiredState, Moment, Node, NodeState, Seed, Task, TaskState, TaskStatus};

use super::plan::{Draft, PROPOSED_MAX, Plan};
use super::slot::{self, Phase};
use super::view::{Tasks, View};
use crate::store::{Change, Reported, State};

/// How long a node may be down before its tasks are given up. A day covers a night in which nobody repairs anything; until
/// then what the tasks hold stays shown, because they may still run.
pub const ORPHANED_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Ends a service that was removed: the object goes with its last task.
pub(super) fn dismantle(view: &View<'_>, draft: &mut Draft) {
    for (slot, all) in view.state.slots(view.service.id) {
        if draft.room() == 0 {
            return;
        }
        slot::end(&Tasks { slot, all }, draft);
    }
}

/// Forgets what a slot has left behind.
pub(super) fn reap(view: &View<'_>, tasks: &Tasks<'_>, draft: &mut Draft) {
    // The common slot has one task and nothing to forget.
    if tasks.all.len() == 1 && tasks.all[0].is_live() {
        return;
    }
    let (removed, history): (Vec<&Task>, Vec<&Task>) =
        tasks.all.iter().copied().filter(|task| is_over(task)).partition(|task| task.desired == DesiredState::Remove);
    let surplus = surplus(view, tasks, history.len());
    let gone: Vec<Change> = removed.into_iter().chain(history.into_iter().take(surplus)).map(forget).collect();
    draft.together(gone, || format!("{:?} has tasks to forget", tasks.slot));
}

/// It is neither meant to run nor running.
fn is_over(task: &Task) -> bool {
    let state = task.status.state;
    !task.desired.is_live() && (state.is_terminal() || state < TaskState::Assigned)
}

fn forget(task: &Task) -> Change {
    Change::RemoveTask { task: task.id, if_version: task.meta.version }
}

/// How many of the slot's ended tasks, oldest first, are past the limit, which counts the live ones too. The last task of a
/// slot that ended for good is kept whatever the limit: it is the only record of that, and without it the slot would be
/// filled again.
fn surplus(view: &View<'_>, tasks: &Tasks<'_>, history: usize) -> usize {
    let spec = view.state.cluster().map_or_else(ClusterSpec::default, |cluster| cluster.spec);
    let Ok(limit) = usize::try_from(spec.task_history_limit) else { return 0 };
    let kept = tasks.all.iter().filter(|task| task.desired != DesiredState::Remove).count();
    let is_finished = matches!(slot::phase(view, tasks), Phase::Finished { .. } | Phase::Stuck);
    kept.saturating_sub(limit).min(history.saturating_sub(usize::from(is_finished)))
}

/// Plans for the nodes: gives up the tasks of those that have been down for too long. The time is read from the node's
/// record, so that a new leader does not begin to count anew.
#[must_use]
pub fn plan_nodes(state: &State, now: Moment, seed: Seed) -> Plan {
    let mut draft = Draft::new(now, seed);
    for node in state.nodes().filter(|node| node.status.state == NodeState::Down) {
        let due = node.status.since + ORPHANED_AFTER;
        if due > now {
            draft.wake(due);
        } else {
            orphan(state, node, now, &mut draft);
        }
    }
    draft.finish()
}

fn orphan(state: &State, node: &Node, now: Moment, draft: &mut Draft) {
    let lost = state.tasks_on(node.id).filter(|task| task.holds_resources() && !is_single_writer(state, task));
    let lost = lost.take(PROPOSED_MAX);
    let verdicts: Vec<Reported> = lost.map(|task| verdict(task, now)).collect();
    if verdicts.is_empty() {
        return;
    }
    if verdicts.len() == PROPOSED_MAX {
        draft.wake(now);
    }
    draft.together(vec![Change::Report(verdicts)], || format!("node {} has been down for a day", node.id));
}

/// When such a task has stopped is for the dispatcher to say, which knows when its node was last heard.
fn is_single_writer(state: &State, task: &Task) -> bool {
    let revision = state.service(task.service).and_then(|service| service.revisions.get(&task.spec_version));
    revision.is_some_and(|revision| revision.task.is_single_writer())
}

fn verdict(task: &Task, now: Moment) -> Reported {
    let mut status = TaskStatus::new(TaskState::Orphaned, now, "node lost");
    status.error = "its node has been down for more than 24 hours".into();
    Reported { task: task.id, node: None, status }
}
