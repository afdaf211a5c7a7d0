use skep_proto::model::{Availability, Constraint, TaskId, TaskStatus};

use super::*;
use crate::fixture::{World, node_id, replicated, spec};
use crate::store::{Change, Reported};

fn look(world: &World, service: ServiceId) -> pb::ServiceProgress {
    progress(&world.state, &Soft::default(), service)
}

/// A service of that many replicas, all running.
fn running(world: &mut World, replicas: u32) -> (ServiceId, Vec<TaskId>) {
    let service = world.create(replicated(replicas));
    let tasks: Vec<TaskId> = (1..=replicas).map(|slot| world.task(service, Slot::Replica(slot))).collect();
    world.place();
    tasks.iter().for_each(|&task| world.report(task, TaskState::Running));
    (service, tasks)
}

#[test]
fn a_service_converges_when_its_last_task_runs() {
    let mut world = World::new(2);
    let service = world.create(replicated(2));
    assert!(!look(&world, service).converged, "nothing was made yet");
    let tasks = [1, 2].map(|slot| world.task(service, Slot::Replica(slot)));
    world.place();
    world.report(tasks[0], TaskState::Running);
    let half = look(&world, service);
    assert_eq!((half.running, half.desired, half.converged), (1, 2, false));
    world.report(tasks[1], TaskState::Running);
    assert!(look(&world, service).converged);
}

#[test]
fn a_slot_that_is_not_filled_again_is_done_or_given_up() {
    for (end, converged) in [(TaskState::Complete, true), (TaskState::Failed, false)] {
        let mut world = World::new(2);
        let (service, tasks) = running(&mut world, 2);
        world.report(tasks[0], end);
        assert_eq!(look(&world, service).ended, 0, "the orchestrator has not looked yet");
        world.desire(tasks[0], DesiredState::Shutdown);
        let ended = look(&world, service);
        assert_eq!((ended.running, ended.ended, ended.converged), (1, 1, converged), "{end:?}");
    }
}

#[test]
fn an_update_is_done_when_nothing_old_is_left() {
    let mut world = World::new(2);
    let (service, tasks) = running(&mut world, 1);
    world.update(service, |spec| spec.task.container.image = "next".into());
    let old = look(&world, service);
    assert_eq!((old.running, old.leftover, old.converged), (0, 1, false));
    let next = world.task(service, Slot::Replica(1));
    world.place();
    world.report(next, TaskState::Running);
    assert_eq!(look(&world, service).leftover, 1, "both run");
    world.desire(tasks[0], DesiredState::Shutdown);
    assert!(!look(&world, service).converged);
    world.report(tasks[0], TaskState::Shutdown);
    assert!(look(&world, service).converged);
}

#[test]
fn an_update_that_changes_nothing_for_containers_leaves_it_converged() {
    let mut world = World::new(2);
    let (service, _) = running(&mut world, 2);
    world.update(service, |spec| drop(spec.labels.insert("a".into(), "b".into())));
    assert!(look(&world, service).converged);
    world.update(service, |spec| spec.task.placement.spread = vec!["node.labels.zone".into()]);
    assert!(look(&world, service).converged);
}

#[test]
fn a_surplus_task_is_left_over_until_it_has_stopped() {
    let mut world = World::new(2);
    let (service, tasks) = running(&mut world, 2);
    world.update(service, |spec| spec.mode = Mode::Replicated { replicas: 1 });
    assert!(!look(&world, service).converged, "two run");
    world.desire(tasks[1], DesiredState::Remove);
    assert_eq!(look(&world, service).leftover, 1);
    world.report(tasks[1], TaskState::Shutdown);
    assert!(look(&world, service).converged);
}

#[test]
fn tasks_on_a_dead_node_neither_run_nor_hold_up() {
    let mut world = World::new(2);
    let (service, tasks) = running(&mut world, 2);
    let lost = world.state.task(tasks[0]).unwrap().node.unwrap();
    world.turn(u32::try_from(lost.bits()).unwrap(), NodeState::Down);
    let now = look(&world, service);
    assert_eq!((now.running, now.leftover, now.converged), (1, 0, false));
    world.desire(tasks[0], DesiredState::Shutdown);
    let replacement = world.task(service, Slot::Replica(1));
    world.place();
    world.report(replacement, TaskState::Running);
    assert!(look(&world, service).converged);
}

#[test]
fn a_global_service_wants_each_node_that_fits() {
    let mut world = World::new(3);
    world.set(3, Availability::Pause);
    let mut global = spec(Mode::Global);
    let key = "node.hostname".to_owned();
    global.task.placement.constraints = vec![Constraint { key, equal: false, value: "n2".into() }];
    let service = world.create(global);
    let before = look(&world, service);
    assert_eq!((before.desired, before.converged), (1, false));
    let task = world.task(service, Slot::Node(node_id(1)));
    world.place();
    world.report(task, TaskState::Running);
    assert!(look(&world, service).converged);
}

#[test]
fn a_task_that_its_node_cannot_take_on_says_why() {
    let mut world = World::new(1);
    let service = world.create(replicated(1));
    world.task(service, Slot::Replica(1));
    world.place();
    world.edit_node(1, |node| node.description.trouble = "no space left".into());
    assert_eq!(look(&world, service).slots[0].error, "no space left");
    world.edit_node(1, |node| node.description.trouble.clear());
    assert_eq!(look(&world, service).slots[0].error, "");
}

#[test]
fn a_global_task_on_a_paused_node_holds_no_update_up() {
    let mut world = World::new(2);
    let service = world.create(spec(Mode::Global));
    let tasks = [1, 2].map(|node| world.task(service, Slot::Node(node_id(node))));
    world.place();
    tasks.into_iter().for_each(|task| world.report(task, TaskState::Running));
    world.set(2, Availability::Pause);
    world.update(service, |spec| spec.task.container.image = "next".into());
    world.desire(tasks[0], DesiredState::Shutdown);
    world.report(tasks[0], TaskState::Shutdown);
    let next = world.task(service, Slot::Node(node_id(1)));
    world.place();
    world.report(next, TaskState::Running);
    let done = look(&world, service);
    assert_eq!((done.running, done.leftover, done.converged), (1, 0, true));
    world.set(2, Availability::Active);
    assert!(!look(&world, service).converged, "now it will be replaced");
}

#[test]
fn slots_that_were_given_up_are_not_shown() {
    let mut world = World::new(2);
    let (service, tasks) = running(&mut world, 2);
    world.update(service, |spec| spec.mode = Mode::Replicated { replicas: 1 });
    world.desire(tasks[1], DesiredState::Remove);
    let slots: Vec<u32> = look(&world, service).slots.iter().map(|slot| slot.slot).collect();
    assert_eq!(slots, [1]);
}

#[test]
fn a_service_that_is_gone_is_removed() {
    let mut world = World::new(1);
    let service = world.create(replicated(0));
    world.remove(service);
    let progress = look(&world, service);
    assert!(progress.removed || !progress.converged);
    assert!(look(&world, ServiceId::new(99)).removed);
}

#[test]
fn no_more_slots_are_shown_than_fit() {
    let mut world = World::new(1);
    let (service, _) = running(&mut world, 100);
    let progress = look(&world, service);
    assert_eq!((progress.slots.len(), progress.running), (SLOTS_SHOWN_MAX, 100));
}

#[test]
fn a_task_on_its_way_up_tells_what_its_predecessor_died_of() {
    let mut world = World::new(1);
    let (service, tasks) = running(&mut world, 1);
    let mut status = TaskStatus::new(TaskState::Failed, world.now, "failed");
    status.error = "task: non-zero exit (7)".into();
    let node = world.state.task(tasks[0]).unwrap().node;
    world.apply(vec![Change::Report(vec![Reported { task: tasks[0], node, status }])]);
    world.desire(tasks[0], DesiredState::Shutdown);
    let next = world.task(service, Slot::Replica(1));
    world.place();
    assert_eq!(look(&world, service).slots[0].error, "task: non-zero exit (7)");
    world.report(next, TaskState::Running);
    assert_eq!(look(&world, service).slots[0].error, "", "it runs: that is over");
    world.update(service, |spec| spec.task.container.image = "next".into());
    world.desire(next, DesiredState::Shutdown);
    world.report(next, TaskState::Shutdown);
    world.task(service, Slot::Replica(1));
    assert_eq!(look(&world, service).slots[0].error, "", "an older revision's end says nothing of the new one");
}
