//! Rolling replacement.

use std::time::Duration;

use skep_proto::model::{
    Constraint, DesiredState, Mode, RestartCondition, ServiceId, ServiceSpec, TaskState, UpdateConfig,
};

use crate::fixture::{World, replicated};

fn rolling(replicas: u32, update: UpdateConfig) -> ServiceSpec {
    ServiceSpec { update, ..replicated(replicas) }
}

/// What a user changes.
type Edit = Box<dyn FnOnce(&mut ServiceSpec)>;

fn force(spec: &mut ServiceSpec) {
    spec.task.force_update += 1;
}

/// How many slots have left the old spec.
fn touched(world: &World, service: ServiceId) -> usize {
    let current = world.service(service).spec_version;
    let live = world.state.tasks().filter(|task| task.service == service && task.desired.is_live());
    live.filter(|task| task.spec_version == current).count()
}

#[test]
fn only_what_a_container_notices_replaces_it() {
    let label = |spec: &mut ServiceSpec| drop(spec.labels.insert("a".to_owned(), "b".to_owned()));
    let hostname = |value: &str| {
        let constraint = Constraint { key: "node.hostname".to_owned(), equal: false, value: value.to_owned() };
        move |spec: &mut ServiceSpec| spec.task.placement.constraints.push(constraint)
    };
    let table: [(&str, Edit, usize); 6] = [
        ("force", Box::new(force), 2),
        ("image", Box::new(|spec| spec.task.container.image = "other".to_owned()), 2),
        ("limits", Box::new(|spec| spec.task.limits.pids = 7), 2),
        ("service label", Box::new(label), 0),
        ("constraint that holds", Box::new(hostname("elsewhere")), 0),
        ("constraint that fails on one node", Box::new(hostname("n1")), 1),
    ];
    for (what, edit, expected) in table {
        let (mut world, service) = World::up(3, replicated(2));
        world.update(service, edit);
        world.settle(service);
        let replaced = world.running(service).iter().filter(|task| task.spec_version == 2).count();
        assert_eq!((replaced, world.running(service).len()), (expected, 2), "{what}");
        let status = world.service(service).update_status.as_ref();
        assert_eq!(status.map(|status| status.completed), (expected > 0).then_some(true), "{what}");
    }
}

#[test]
fn stopping_first_the_new_task_waits_for_the_old_one() {
    let (mut world, service) = World::up(1, replicated(1));
    world.update(service, force);
    world.plan_out(service);
    world.place();
    let shapes = world.of_slot(service, 1);
    assert_eq!(shapes, [(DesiredState::Shutdown, TaskState::Running), (DesiredState::Ready, TaskState::Assigned)]);
    world.settle(service);
    let shapes = world.of_slot(service, 1);
    assert_eq!(shapes, [(DesiredState::Shutdown, TaskState::Shutdown), (DesiredState::Running, TaskState::Running)]);
}

#[test]
fn starting_first_the_old_task_stays_until_the_new_one_runs() {
    let (mut world, service) = World::up(1, rolling(1, UpdateConfig { start_first: true, ..UpdateConfig::default() }));
    world.update(service, force);
    world.plan_out(service);
    world.place();
    let shapes = world.of_slot(service, 1);
    assert_eq!(shapes, [(DesiredState::Running, TaskState::Running), (DesiredState::Running, TaskState::Assigned)]);
    world.settle(service);
    let shapes = world.of_slot(service, 1);
    assert_eq!(shapes, [(DesiredState::Shutdown, TaskState::Shutdown), (DesiredState::Running, TaskState::Running)]);
}

#[test]
fn so_many_slots_are_replaced_at_once() {
    for (parallelism, expected) in [(1, 1), (2, 2), (0, 5)] {
        let (mut world, service) = World::up(1, rolling(5, UpdateConfig { parallelism, ..UpdateConfig::default() }));
        world.update(service, force);
        world.plan_out(service);
        assert_eq!(touched(&world, service), expected, "parallelism {parallelism}");
        world.settle(service);
        assert_eq!(touched(&world, service), 5);
    }
}

#[test]
fn the_next_slot_waits_for_the_delay() {
    let delay = Duration::from_secs(30);
    let (mut world, service) = World::up(1, rolling(2, UpdateConfig { delay, ..UpdateConfig::default() }));
    world.update(service, force);
    let plan = world.settle(service);
    assert_eq!((touched(&world, service), plan.wake_at), (1, Some(world.now + delay)));
    world.wait(delay);
    world.settle(service);
    assert_eq!(touched(&world, service), 2);
    assert!(world.service(service).update_status.as_ref().unwrap().completed);
}

#[test]
fn a_delay_that_a_leader_with_a_fast_clock_began_stops_no_rollout() {
    let delay = Duration::from_secs(30);
    let (mut world, service) = World::up(1, rolling(2, UpdateConfig { delay, ..UpdateConfig::default() }));
    world.wait(Duration::from_secs(24 * 3600));
    world.update(service, force);
    world.settle(service);
    assert_eq!(touched(&world, service), 1);
    world.now = world.now - Duration::from_secs(12 * 3600);
    world.settle(service);
    assert_eq!(touched(&world, service), 2);
}

#[test]
fn a_new_task_that_fails_stops_the_rollout_there() {
    for condition in [RestartCondition::Any, RestartCondition::None] {
        for start_first in [false, true] {
            let mut spec = rolling(3, UpdateConfig { start_first, ..UpdateConfig::default() });
            spec.task.restart.condition = condition;
            let (mut world, service) = World::up(2, spec);
            world.update(service, force);
            world.plan_out(service);
            world.place();
            let new = world.state.tasks().find(|task| task.spec_version == 2).unwrap().id;
            world.report(new, TaskState::Failed);
            world.plan_out(service);
            let old = world.running(service).iter().filter(|task| task.desired == DesiredState::Running).count();
            assert_eq!(old, if start_first { 3 } else { 2 }, "{condition:?}");
            assert!(!world.service(service).update_status.as_ref().unwrap().completed);
        }
    }
}

#[test]
fn scaling_in_the_same_request_does_not_wait_for_the_rollout() {
    let (mut world, service) = World::up(1, replicated(2));
    world.update(service, |spec| {
        force(spec);
        spec.mode = Mode::Replicated { replicas: 5 };
    });
    world.plan_out(service);
    assert_eq!(world.live_slots(service), [1, 2, 3, 4, 5]);
    assert_eq!(touched(&world, service), 4, "three new slots and one replaced");
    world.settle(service);
    assert_eq!(touched(&world, service), 5);
}

#[test]
fn a_second_update_goes_on_from_where_the_first_was() {
    let (mut world, service) = World::up(1, replicated(3));
    world.update(service, force);
    world.plan_out(service);
    world.place();
    world.update(service, force);
    world.settle(service);
    assert!(world.running(service).iter().all(|task| task.spec_version == 3));
    assert_eq!(world.running(service).len(), 3);
}

#[test]
fn a_finished_slot_runs_again_under_a_new_spec() {
    let mut spec = replicated(1);
    spec.task.restart.condition = RestartCondition::OnFailure;
    let (mut world, service) = World::up(1, spec);
    let task = world.head(service, 1).id;
    world.report(task, TaskState::Complete);
    world.settle(service);
    assert!(world.running(service).is_empty());
    world.update(service, force);
    world.settle(service);
    assert_eq!(world.running(service).len(), 1);
}

#[test]
fn a_leader_whose_clock_is_behind_knows_the_newest_task_all_the_same() {
    let (mut world, service) = World::up(1, replicated(1));
    world.now = world.now - Duration::from_secs(60);
    for version in 2..5 {
        world.update(service, force);
        world.settle(service);
        assert_eq!(world.head(service, 1).spec_version, version);
        assert_eq!(world.running(service).len(), 1);
    }
}
