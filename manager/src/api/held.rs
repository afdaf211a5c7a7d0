//! Tasks of which no two of a slot may run at the same time: what one waits for, and whether a node may still run some.

use skep_proto::model::{DesiredState, Node, NodeId, NodeRole, NodeState, Task};

use super::error::ApiError;
use crate::store::State;

/// Why a prepared task may not start yet: another of its slot may still run on a node that is down.
#[must_use]
pub fn held_back(state: &State, task: &Task) -> Option<String> {
    if task.desired != DesiredState::Ready {
        return None;
    }
    let others =
        state.slot(task.service, task.slot).filter(|other| other.id != task.id && is_single_writer(state, other));
    let lost = others.filter_map(|other| state.node(other.node?)).find(|node| node.status.state == NodeState::Down);
    lost.map(|node| {
        let name = &node.description.hostname;
        format!("waits until node {name}, which is down, must have stopped the task that it replaces")
    })
}

/// Tasks of a node that may run there, and of which no other may run meanwhile.
#[must_use]
pub fn single_writers_on(state: &State, node: NodeId) -> usize {
    state.tasks_on(node).filter(|task| is_single_writer(state, task)).count()
}

/// A node that may still run tasks is only removed by force: its containers would run on, and be started elsewhere, too. Force is the
/// word of somebody who sees that the machine is off, which of one that answers cannot be true.
///
/// # Errors
/// Why it may not.
pub fn removable(state: &State, node: &Node, force: bool) -> Result<(), ApiError> {
    if node.role == NodeRole::Manager {
        return Err(ApiError::RemoveManager { node: node.id });
    }
    let (is_down, count) = (node.status.state == NodeState::Down, single_writers_on(state, node.id));
    match (is_down, force) {
        (false, false) => Err(ApiError::NotDown { node: node.id, state: node.status.state }),
        (true, false) if count > 0 => Err(ApiError::SingleWriters { node: node.id, count }),
        (false, true) if count > 0 => Err(ApiError::LiveSingleWriters { node: node.id, count }),
        _ => Ok(()),
    }
}

fn is_single_writer(state: &State, task: &Task) -> bool {
    let revision = state.service(task.service).and_then(|service| service.revisions.get(&task.spec_version));
    task.holds_resources() && revision.is_some_and(|revision| revision.task.is_single_writer())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use skep_proto::model::{OnDisconnect, Slot, TaskState};

    use super::*;
    use crate::fixture::{World, node_id, pending, replicated};

    #[test]
    fn a_task_that_is_held_back_says_by_which_node() {
        let mut world = World::new(2);
        let mut spec = replicated(1);
        spec.task.on_disconnect = OnDisconnect::StopAfter(Duration::from_secs(30));
        let service = world.create(spec);
        let old = world.task(service, Slot::Replica(1));
        world.place();
        world.report(old, TaskState::Running);
        assert_eq!((single_writers_on(&world.state, node_id(1)), single_writers_on(&world.state, node_id(2))), (1, 0));
        let mut next = pending(9, service, Slot::Replica(1));
        next.desired = DesiredState::Ready;
        world.apply(vec![crate::store::Change::CreateTask(Box::new(next.clone()))]);
        assert_eq!(held_back(&world.state, &next), None, "it is asked to stop and will answer");
        world.turn(1, NodeState::Down);
        assert!(held_back(&world.state, &next).is_some_and(|text| text.contains("node n1, which is down")));
        world.report_verdict(old, TaskState::Orphaned);
        assert_eq!((held_back(&world.state, &next), single_writers_on(&world.state, node_id(1))), (None, 0));
    }
}
