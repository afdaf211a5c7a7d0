//! Nodes that go away, come back, and are told to empty themselves.

use std::time::Duration;

use skep_proto::model::{Availability, Constraint, DesiredState, NodeState, RestartCondition, ServiceSpec, TaskState};

use crate::fixture::{World, node_id, replicated};
use crate::orchestrator::ORPHANED_AFTER;

/// One task that the policy would never restart.
fn once() -> ServiceSpec {
    let mut spec = replicated(1);
    spec.task.restart.condition = RestartCondition::None;
    spec
}

#[test]
fn a_stop_that_is_never_confirmed_is_waited_for_up_to_the_grace_and_a_margin() {
    let (mut world, service) = World::up(2, once());
    world.update(service, |spec| spec.task.force_update += 1);
    let plan = world.plan_out(service);
    assert_eq!(plan.wake_at, Some(world.now + Duration::from_secs(20)));
    world.wait(Duration::from_secs(20));
    world.plan_out(service);
    assert_eq!(world.head(service, 1).desired, DesiredState::Running);
}

#[test]
fn a_paused_node_keeps_what_it_has() {
    let (mut world, service) = World::up(1, once());
    world.set(1, Availability::Pause);
    assert!(world.turn_once(service).transactions.is_empty());
}

#[test]
fn an_unknown_node_keeps_what_it_has() {
    let (mut world, service) = World::up(2, once());
    world.turn(1, NodeState::Unknown);
    assert!(world.turn_once(service).transactions.is_empty());
}

#[test]
fn a_lost_nodes_task_is_given_up_only_when_its_replacement_runs() {
    let (mut world, service) = World::up(2, once());
    world.turn(1, NodeState::Down);
    world.plan_out(service);
    let shapes = world.of_slot(service, 1);
    assert_eq!(shapes, [(DesiredState::Running, TaskState::Running), (DesiredState::Running, TaskState::Pending)]);
    world.settle(service);
    let shapes = world.of_slot(service, 1);
    assert_eq!(shapes, [(DesiredState::Shutdown, TaskState::Running), (DesiredState::Running, TaskState::Running)]);
    world.turn(1, NodeState::Ready);
    world.settle(service);
    assert_eq!(world.running(service)[0].node, Some(node_id(2)));
}

#[test]
fn of_two_outdated_tasks_that_run_in_a_slot_the_older_goes() {
    let mut spec = replicated(2);
    spec.update.parallelism = 1;
    let (mut world, service) = World::up(2, spec);
    let force = |spec: &mut ServiceSpec| spec.task.force_update += 1;
    let old = world.head(service, 2).node.unwrap();
    let number = if old == node_id(1) { 1 } else { 2 };
    world.turn(number, NodeState::Down);
    world.update(service, force);
    world.plan_out(service);
    world.place();
    let replacement = world.head(service, 2).id;
    world.turn(number, NodeState::Ready);
    // Both are outdated now, and the update is busy with the other slot.
    world.update(service, force);
    world.plan_out(service);
    world.report(replacement, TaskState::Running);
    world.plan_out(service);
    let shapes = world.of_slot(service, 2);
    assert_eq!(shapes, [(DesiredState::Shutdown, TaskState::Running), (DesiredState::Running, TaskState::Running)]);
}

#[test]
fn a_node_that_returns_before_the_replacement_runs_keeps_its_task() {
    let (mut world, service) = World::up(2, once());
    let task = world.head(service, 1).id;
    world.turn(1, NodeState::Down);
    world.plan_out(service);
    world.place();
    world.turn(1, NodeState::Ready);
    world.settle(service);
    let running: Vec<_> = world.running(service).iter().map(|task| task.id).collect();
    assert_eq!(running, [task]);
    assert_eq!(world.state.task_count(), 1, "the needless replacement is gone");
}

#[test]
fn a_replacement_that_ends_for_good_ends_the_slot() {
    let (mut world, service) = World::up(2, once());
    world.turn(1, NodeState::Down);
    world.plan_out(service);
    world.place();
    let replacement = world.head(service, 1).id;
    world.report(replacement, TaskState::Failed);
    world.settle(service);
    assert_eq!(world.state.task_count(), 2);
    assert!(world.live_slots(service).is_empty());
}

#[test]
fn replacements_follow_when_their_nodes_go_down_too() {
    let (mut world, service) = World::up(3, once());
    let first = world.head(service, 1).node;
    world.turn(1, NodeState::Down);
    world.plan_out(service);
    world.place();
    world.turn(2, NodeState::Down);
    world.settle(service);
    let wanted: Vec<_> = world.state.tasks().filter(|task| task.desired.is_live()).map(|task| task.node).collect();
    assert_eq!((first, wanted), (Some(node_id(1)), vec![Some(node_id(3))]));
}

#[test]
fn a_removed_nodes_tasks_are_replaced_without_delay() {
    let (mut world, service) = World::up(2, once());
    world.remove_node(1);
    world.settle(service);
    assert_eq!(world.running(service)[0].node, Some(node_id(2)));
}

#[test]
fn tasks_of_a_node_that_is_down_for_a_day_are_given_up() {
    let (mut world, service) = World::up(1, once());
    world.turn(1, NodeState::Down);
    world.wait(ORPHANED_AFTER - Duration::from_millis(1));
    world.orphan();
    assert_eq!(world.running(service).len(), 1);
    world.wait(Duration::from_millis(1));
    world.orphan();
    assert!(world.running(service).is_empty());
}

#[test]
fn a_task_whose_node_no_longer_matches_is_rejected_and_replaced() {
    let mut spec = once();
    spec.task.placement.constraints =
        vec![Constraint { key: "node.labels.off".to_owned(), equal: false, value: "yes".to_owned() }];
    let (mut world, service) = World::up(2, spec);
    world.edit_node(1, |node| drop(node.spec.labels.insert("off".to_owned(), "yes".to_owned())));
    world.settle(service);
    assert_eq!(world.of_slot(service, 1)[0], (DesiredState::Shutdown, TaskState::Rejected));
    world.wait(Duration::from_secs(5));
    world.settle(service);
    assert_eq!(world.running(service)[0].node, Some(node_id(2)));
}
