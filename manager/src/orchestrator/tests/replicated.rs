//! How many tasks there are, and in which slots.

use skep_proto::model::{DesiredState, Mode, PublishMode, RestartPolicy, TaskState};

use crate::fixture::{World, node_id, port, replicated};
use crate::orchestrator::{CHANGES_MAX, PROPOSED_MAX};

fn scale(replicas: u32) -> impl FnOnce(&mut skep_proto::model::ServiceSpec) {
    move |spec| spec.mode = Mode::Replicated { replicas }
}

#[test]
fn slots_are_numbered_from_one() {
    let (world, service) = World::up(2, replicated(3));
    assert_eq!(world.live_slots(service), [1, 2, 3]);
    assert_eq!(world.running(service).len(), 3);
}

#[test]
fn nothing_is_made_before_the_ports_are_given_out() {
    let mut spec = replicated(2);
    spec.ports = vec![port(80, 0, PublishMode::Ingress)];
    let mut world = World::new(1);
    let service = world.create(spec);
    world.settle(service);
    assert_eq!(world.state.task_count(), 0);
}

#[test]
fn scale_down_keeps_the_nodes_even_and_scale_up_takes_the_lowest_numbers() {
    let (mut world, service) = World::up(3, replicated(6));
    world.update(service, scale(3));
    world.settle(service);
    let on = |number| world.state.usage(node_id(number)).active;
    assert_eq!([on(1), on(2), on(3)], [1, 1, 1]);
    world.update(service, scale(6));
    world.settle(service);
    assert_eq!(world.live_slots(service), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn scale_down_takes_tasks_that_do_not_run_first() {
    let (mut world, service) = World::up(1, replicated(3));
    let failed = world.head(service, 1).id;
    world.report(failed, TaskState::Failed);
    world.plan_out(service);
    world.update(service, scale(2));
    world.settle(service);
    assert_eq!(world.live_slots(service), [2, 3]);
}

#[test]
fn a_slot_that_is_filled_again_waits_for_what_still_stops_there() {
    let (mut world, service) = World::up(1, replicated(2));
    world.update(service, scale(0));
    world.plan_out(service);
    world.update(service, scale(2));
    let plan = world.plan_out(service);
    assert_eq!(world.head(service, 1).desired, DesiredState::Ready);
    assert!(plan.wake_at.is_some());
    world.settle(service);
    assert_eq!(world.running(service).len(), 2);
    assert_eq!(world.state.task_count(), 2);
}

#[test]
fn scaling_to_nothing_leaves_nothing() {
    let (mut world, service) = World::up(2, replicated(5));
    world.update(service, scale(0));
    world.settle(service);
    assert_eq!(world.state.task_count(), 0);
}

#[test]
fn a_slot_that_is_free_and_not_needed_leaves_no_history() {
    let mut spec = replicated(4);
    let delay = std::time::Duration::ZERO;
    spec.task.restart = RestartPolicy { max_attempts: Some(1), delay, ..RestartPolicy::default() };
    let (mut world, service) = World::up(1, spec);
    for slot in [1, 2, 3, 4, 1, 2, 3, 4] {
        let task = world.head(service, slot).id;
        world.report(task, TaskState::Failed);
        world.settle(service);
    }
    assert_eq!(world.live_slots(service), []);
    // A new spec gives every slot new attempts: all four are free, and two are filled again.
    world.update(service, scale(2));
    world.settle(service);
    assert_eq!(world.live_slots(service), [1, 2]);
    assert_eq!(world.state.slots(service).count(), 2);
}

#[test]
fn a_removed_service_goes_with_its_last_task() {
    let (mut world, service) = World::up(2, replicated(5));
    world.remove(service);
    world.settle(service);
    assert_eq!(world.state.task_count(), 0);
    assert!(world.state.service(service).is_none());
}

#[test]
fn a_large_service_is_made_in_bounded_steps() {
    let mut world = World::new(0);
    let service = world.create(replicated(40_000));
    let plan = world.turn_once(service);
    assert!(plan.transactions.iter().all(|transaction| transaction.changes.len() <= PROPOSED_MAX));
    assert_eq!(plan.transactions.iter().map(|t| t.changes.len()).sum::<usize>(), CHANGES_MAX);
    assert_eq!(plan.wake_at, Some(world.now));
    world.plan_out(service);
    assert_eq!(world.state.task_count(), 40_000);
    world.remove(service);
    world.plan_out(service);
    assert_eq!(world.state.task_count(), 0);
}
