//! When tasks that stop on a cut-off node have certainly stopped. The argument is in [`skep_proto::model::disconnect`]; here is the
//! managers' half of it: since when each node is not heard, and the verdicts that follow from it.
//!
//! A verdict is written once the node has been down and silent for as long as the task's fence says. It is the word that the
//! orchestrator waits for, and it is final: the node counts as ready again only after it, in the order in which both are written,
//! and no contact is acknowledged to a node that does not count as ready.

use std::collections::BTreeMap;
use std::time::Duration;

use skep_proto::model::{Moment, NodeId, NodeState, Task, TaskState, TaskStatus};

use super::heartbeat::seconds;
use crate::store::{Reported, State};

/// When a verdict that is not in the state yet is written again.
const AGAIN: Duration = Duration::from_secs(1);

/// Why a node that has left is down. Kept with the node, so that another leader knows it, too.
pub const LEFT: &str = "the node has left the swarm";

/// Since when nodes that are down are not heard, and when that says something new.
#[derive(Clone, Debug, Default)]
pub struct Fence {
    heard: BTreeMap<NodeId, Moment>,
    due: BTreeMap<NodeId, Moment>,
}

impl Fence {
    /// The node is down, and was last heard then. Nothing may have been heard of it since, by this leader or another.
    pub fn raise(&mut self, state: &State, node: NodeId, heard: Moment) {
        self.heard.insert(node, heard);
        let first = held(state, node).map(|(_, fence)| heard + fence).min();
        match first {
            Some(first) => self.due.insert(node, first),
            None => self.due.remove(&node),
        };
    }

    /// The node counts as down from now on, and no task is assigned to it any more; one may have been while that was being written.
    pub fn recount(&mut self, state: &State, node: NodeId) {
        if let Some(&heard) = self.heard.get(&node) {
            self.raise(state, node, heard);
        }
    }

    /// The node is heard again, or is gone.
    pub fn lower(&mut self, node: NodeId) {
        self.heard.remove(&node);
        self.due.remove(&node);
    }

    /// When [`Fence::verdicts`] is wanted next.
    #[must_use]
    pub fn next(&self) -> Option<Moment> {
        self.due.values().min().copied()
    }

    /// The tasks that have certainly stopped by now.
    pub fn verdicts(&mut self, state: &State, now: Moment) -> Vec<Reported> {
        let due: Vec<NodeId> = self.due.iter().filter(|(_, at)| **at <= now).map(|(node, _)| *node).collect();
        due.into_iter().flat_map(|node| self.verdicts_on(state, node, now)).collect()
    }

    fn verdicts_on(&mut self, state: &State, node: NodeId, now: Moment) -> Vec<Reported> {
        let Some(&heard) = self.heard.get(&node) else { return Vec::new() };
        let is_down = state.node(node).is_some_and(|node| node.status.state == NodeState::Down);
        let (over, open): (Vec<_>, Vec<_>) = held(state, node).partition(|(_, fence)| heard + *fence <= now);
        // What is written now is looked at again until it is in the state.
        let again = (!over.is_empty()).then_some(now + AGAIN);
        match open.iter().map(|(_, fence)| heard + *fence).chain(again).min() {
            Some(next) => self.due.insert(node, next),
            None => self.due.remove(&node),
        };
        let silent = seconds(now.since(heard));
        let error = format!("its node was not heard for {silent} and has stopped it by itself");
        let error = if has_left(state, node) { "its node has left the swarm" } else { &error };
        over.into_iter().filter(|_| is_down).map(|(task, _)| verdict(task, now, error)).collect()
    }
}

/// The node says itself that nothing runs there any more: it leaves, and nobody will ever report on its tasks again.
#[must_use]
pub fn left(state: &State, node: NodeId, now: Moment) -> Vec<Reported> {
    let held = state.tasks_on(node).filter(|task| task.holds_resources());
    held.map(|task| verdict(task, now, "its node has left the swarm")).collect()
}

fn has_left(state: &State, node: NodeId) -> bool {
    state.node(node).is_some_and(|node| node.status.state == NodeState::Down && node.status.message == LEFT)
}

/// Tasks of a node that may run there and stop when it is cut off, each with the time that this takes. Of one that has left it takes
/// none, whatever the task.
fn held(state: &State, node: NodeId) -> impl Iterator<Item = (&Task, Duration)> {
    let left = has_left(state, node);
    state.tasks_on(node).filter(|task| task.holds_resources()).filter_map(move |task| {
        if left {
            return Some((task, Duration::ZERO));
        }
        let service = state.service(task.service)?;
        Some((task, service.revisions.get(&task.spec_version)?.task.fence()?))
    })
}

fn verdict(task: &Task, now: Moment, error: &str) -> Reported {
    let status = TaskStatus { error: error.into(), ..TaskStatus::new(TaskState::Orphaned, now, "stopped by its node") };
    Reported { task: task.id, node: None, status }
}

#[cfg(test)]
mod tests {
    use skep_proto::model::{OnDisconnect, Slot, TaskId};

    use super::*;
    use crate::fixture::{World, node_id, replicated};

    const AFTER: Duration = Duration::from_secs(30);

    /// A node that runs one task of a service which stops when it is cut off and one of a service which does not.
    fn world() -> (World, TaskId) {
        let mut world = World::new(1);
        let mut spec = replicated(1);
        spec.task.on_disconnect = OnDisconnect::StopAfter(AFTER);
        let single = world.create(spec);
        let mut other = replicated(1);
        other.name = skep_proto::model::ServiceName::new("other").unwrap();
        let other = world.create(other);
        let tasks = [single, other].map(|service| world.task(service, Slot::Replica(1)));
        world.place();
        tasks.iter().for_each(|&task| world.report(task, TaskState::Running));
        world.turn(1, NodeState::Down);
        (world, tasks[0])
    }

    fn fence() -> Duration {
        OnDisconnect::StopAfter(AFTER).fence(Duration::from_secs(10)).unwrap()
    }

    fn tasks(verdicts: &[Reported]) -> Vec<TaskId> {
        verdicts.iter().map(|verdict| verdict.task).collect()
    }

    #[test]
    fn a_task_has_stopped_once_its_fence_is_over_and_not_before() {
        let (world, task) = world();
        let (mut fences, heard) = (Fence::default(), world.now);
        fences.raise(&world.state, node_id(1), heard);
        assert_eq!(fences.next(), Some(heard + fence()));
        assert!(fences.verdicts(&world.state, Moment((heard + fence()).0 - 1)).is_empty());
        let verdicts = fences.verdicts(&world.state, heard + fence());
        assert_eq!(tasks(&verdicts), [task]);
        assert_eq!((verdicts[0].node, verdicts[0].status.state), (None, TaskState::Orphaned));
        assert_eq!(fences.next(), Some(heard + fence() + AGAIN), "until it is in the state");
    }

    #[test]
    fn a_node_that_is_heard_again_is_judged_no_more() {
        let (mut world, _) = world();
        let (mut fences, heard) = (Fence::default(), world.now);
        fences.raise(&world.state, node_id(1), heard);
        fences.lower(node_id(1));
        assert_eq!(fences.next(), None);
        fences.raise(&world.state, node_id(1), heard);
        world.turn(1, NodeState::Ready);
        assert!(fences.verdicts(&world.state, heard + fence()).is_empty(), "it counts as ready");
    }

    #[test]
    fn what_is_in_the_state_is_not_written_again() {
        let (mut world, task) = world();
        let (mut fences, heard) = (Fence::default(), world.now);
        fences.raise(&world.state, node_id(1), heard);
        fences.verdicts(&world.state, heard + fence());
        world.report_verdict(task, TaskState::Orphaned);
        assert!(fences.verdicts(&world.state, heard + fence() + AGAIN).is_empty());
        assert_eq!(fences.next(), None);
    }

    #[test]
    fn a_node_that_leaves_takes_its_word_that_nothing_runs() {
        let (world, task) = world();
        let left = tasks(&left(&world.state, node_id(1), world.now));
        assert!(left.contains(&task) && left.len() == 2, "of every service: {left:?}");
    }
}
