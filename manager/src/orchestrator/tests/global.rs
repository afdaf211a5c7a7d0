//! A task on each node that fits.

use skep_proto::model::{Availability, Constraint, Mode, NodeId, NodeState, ServiceId, TaskState};

use crate::fixture::{World, node_id, spec};

fn nodes(world: &World, service: ServiceId) -> Vec<NodeId> {
    let mut nodes: Vec<NodeId> = world.running(service).iter().filter_map(|task| task.node).collect();
    nodes.sort_unstable();
    nodes
}

#[test]
fn every_node_that_fits_has_one_task() {
    let mut spec = spec(Mode::Global);
    spec.task.placement.constraints =
        vec![Constraint { key: "node.hostname".to_owned(), equal: false, value: "n2".to_owned() }];
    let (mut world, service) = World::up(4, spec);
    assert_eq!(nodes(&world, service), [1, 3, 4].map(node_id));
    assert!(world.turn_once(service).transactions.is_empty());
}

#[test]
fn a_drained_node_loses_its_task_and_gets_it_back() {
    let (mut world, service) = World::up(2, spec(Mode::Global));
    world.set(1, Availability::Drain);
    world.settle(service);
    assert_eq!(nodes(&world, service), [node_id(2)]);
    world.set(1, Availability::Active);
    world.settle(service);
    assert_eq!(nodes(&world, service), [node_id(1), node_id(2)]);
}

#[test]
fn a_paused_node_keeps_its_task_and_replaces_it_when_it_is_active_again() {
    let (mut world, service) = World::up(1, spec(Mode::Global));
    world.set(1, Availability::Pause);
    assert!(world.turn_once(service).transactions.is_empty());
    let task = world.running(service)[0].id;
    world.report(task, TaskState::Failed);
    assert!(world.turn_once(service).transactions.is_empty());
    world.set(1, Availability::Active);
    world.settle(service);
    world.wait(std::time::Duration::from_secs(5));
    world.settle(service);
    assert_eq!(nodes(&world, service), [node_id(1)]);
}

#[test]
fn a_node_that_returns_still_has_its_task() {
    let (mut world, service) = World::up(2, spec(Mode::Global));
    let before: Vec<_> = world.running(service).iter().map(|task| task.id).collect();
    world.turn(1, NodeState::Down);
    world.settle(service);
    world.turn(1, NodeState::Ready);
    world.settle(service);
    assert_eq!(world.running(service).iter().map(|task| task.id).collect::<Vec<_>>(), before);
}

#[test]
fn a_removed_node_leaves_nothing_behind() {
    let (mut world, service) = World::up(2, spec(Mode::Global));
    world.remove_node(1);
    world.settle(service);
    assert_eq!((nodes(&world, service), world.state.task_count()), (vec![node_id(2)], 1));
}

#[test]
fn an_update_goes_node_by_node() {
    let (mut world, service) = World::up(3, spec(Mode::Global));
    world.update(service, |spec| spec.task.force_update += 1);
    world.plan_out(service);
    let stopping = world.running(service).iter().filter(|task| !task.desired.is_live()).count();
    assert_eq!(stopping, 1);
    world.settle(service);
    assert!(world.running(service).iter().all(|task| task.spec_version == 2));
    assert!(world.service(service).update_status.as_ref().unwrap().completed);
}
