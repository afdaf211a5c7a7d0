use skep_proto::model::{Availability, MinAvailable, NodeState, ServiceId};

use super::*;
use crate::fixture::{World, node_id, replicated, spec};

fn look(world: &World, node: u32) -> pb::NodeProgress {
    moving(&world.state, &Soft::default(), node_id(node))
}

fn whys(progress: &pb::NodeProgress) -> Vec<(String, u32, &str)> {
    progress.moves.iter().map(|at| (at.service_name.clone(), at.slot, at.why.as_str())).collect()
}

/// A service that runs one task on the first node, which is then drained.
fn drained() -> (World, ServiceId, Vec<skep_proto::model::TaskId>) {
    let mut world = World::new(1);
    let service = world.create(replicated(1));
    let old = world.task(service, Slot::Replica(1));
    world.place();
    world.report(old, TaskState::Running);
    world.set(1, Availability::Drain);
    world.apply(vec![crate::fixture::nodes(2).remove(1)]);
    (world, service, vec![old])
}

fn replace(world: &mut World, service: ServiceId, old: skep_proto::model::TaskId) -> skep_proto::model::TaskId {
    let mut task = crate::fixture::pending(77, service, Slot::Replica(1));
    (task.replaces, task.spec_version) = (Some(old), world.service(service).spec_version);
    world.wait(std::time::Duration::from_millis(1));
    let id = task.id;
    world.apply(vec![crate::store::Change::CreateTask(Box::new(task))]);
    id
}

#[test]
fn a_node_whose_tasks_may_stay_has_converged() {
    let mut world = World::new(2);
    let service = world.create(replicated(2));
    world.task(service, Slot::Replica(1));
    world.place();
    world.set(1, Availability::Pause);
    assert!(look(&world, 1).converged && look(&world, 2).converged);
    assert!(look(&world, 9).removed);
}

#[test]
fn what_may_still_run_on_a_node_that_is_down_is_counted_and_not_waited_for() {
    let (mut world, service, old) = drained();
    world.turn(1, NodeState::Down);
    let new = replace(&mut world, service, old[0]);
    world.place();
    world.report(new, TaskState::Running);
    let progress = look(&world, 1);
    assert_eq!((progress.converged, progress.left, progress.unheard), (true, 0, 1));
    world.desire(old[0], skep_proto::model::DesiredState::Shutdown);
    world.report(old[0], TaskState::Shutdown);
    assert_eq!(look(&world, 1).unheard, 0);
}

#[test]
fn each_task_that_is_left_says_what_it_waits_for() {
    let (mut world, service, old) = drained();
    assert_eq!(whys(&look(&world, 1)), [("web".to_owned(), 1, "waits to be moved")]);
    let new = replace(&mut world, service, old[0]);
    assert_eq!(whys(&look(&world, 1))[0].2, "its replacement waits for a node");
    world.place();
    assert_eq!(whys(&look(&world, 1))[0].2, "its replacement on n2 is assigned");
    world.report(new, TaskState::Running);
    world.desire(old[0], skep_proto::model::DesiredState::Shutdown);
    let progress = look(&world, 1);
    assert_eq!((progress.left, progress.coming, whys(&progress)[0].2), (1, 0, "is being stopped"));
    world.report(old[0], TaskState::Shutdown);
    assert!(look(&world, 1).converged);
}

#[test]
fn a_task_that_the_minimum_holds_says_so() {
    let (mut world, service, old) = drained();
    world.update(service, |spec| spec.min_available = MinAvailable::Percent(100));
    assert_eq!(whys(&look(&world, 1))[0].2, "web keeps 1 of 1 tasks running, and 1 run");
    let new = replace(&mut world, service, old[0]);
    world.place();
    assert_eq!(whys(&look(&world, 1))[0].2, "its replacement on n2 is assigned");
    world.report(new, TaskState::Rejected);
    let progress = look(&world, 1);
    assert!(whys(&progress)[0].2.starts_with("its replacement failed: "), "{progress:?}");
    assert!(whys(&progress)[0].2.ends_with("; web keeps 1 of 1 tasks running, and 1 run"), "{progress:?}");
}

#[test]
fn what_was_moved_and_does_not_run_yet_is_waited_for_unless_there_is_no_room() {
    let (mut world, service, old) = drained();
    replace(&mut world, service, old[0]);
    world.desire(old[0], skep_proto::model::DesiredState::Shutdown);
    world.report(old[0], TaskState::Shutdown);
    let progress = look(&world, 1);
    assert_eq!((progress.left, progress.coming, progress.converged), (0, 1, false));
    let mut soft = Soft::default();
    soft.explain(vec![((service, 1), "no suitable node".to_owned())]);
    let progress = moving(&world.state, &soft, node_id(1));
    assert_eq!((progress.coming, progress.stranded, progress.converged), (0, 1, true));
    assert_eq!(whys(&progress)[0].2, "moved, and waits for a node: no suitable node");
}

#[test]
fn nothing_is_waited_for_on_a_node_that_is_down() {
    let (mut world, _, _) = drained();
    world.turn(1, NodeState::Down);
    assert!(look(&world, 1).converged);
}

#[test]
fn a_node_that_is_used_again_waits_for_its_global_tasks() {
    let mut world = World::new(1);
    let service = world.create(spec(Mode::Global));
    assert_eq!((look(&world, 1).coming, look(&world, 1).converged), (1, false));
    let task = world.task(service, Slot::Node(node_id(1)));
    assert_eq!(whys(&look(&world, 1))[0].2, "is pending");
    world.place();
    world.report(task, TaskState::Running);
    assert!(look(&world, 1).converged);
    world.report(task, TaskState::Complete);
    assert!(look(&world, 1).converged, "one that ended for good is not waited for");
}

#[test]
fn a_global_task_that_was_stopped_for_a_drain_is_waited_for_again() {
    let mut world = World::new(1);
    let service = world.create(spec(Mode::Global));
    let task = world.task(service, Slot::Node(node_id(1)));
    world.place();
    world.report(task, TaskState::Running);
    world.desire(task, skep_proto::model::DesiredState::Shutdown);
    assert!(!look(&world, 1).converged);
    world.report(task, TaskState::Shutdown);
    assert_eq!(look(&world, 1).coming, 1);
}
