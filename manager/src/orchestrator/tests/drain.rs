//! Nodes that are told to empty themselves: what runs there moves, and the service does not notice where that can be.

use std::time::Duration;

use proptest::prelude::*;
use skep_proto::model::{
    Availability, DesiredState, MinAvailable, NodeState, RestartCondition, ServiceId, ServiceSpec, Slot, TaskState,
};

use crate::fixture::{World, node_id, replicated};
use crate::orchestrator::PLACE_TIME_MAX;

use DesiredState::{Ready, Running, Shutdown};

fn keeping(replicas: u32, min_available: MinAvailable) -> ServiceSpec {
    ServiceSpec { min_available, ..replicated(replicas) }
}

/// A service on the first node, which is then drained while the second takes nothing.
fn without_room(spec: ServiceSpec) -> (World, ServiceId) {
    let (mut world, service) = World::up(1, spec);
    world.apply(vec![crate::fixture::nodes(2).remove(1)]);
    world.set(2, Availability::Pause);
    world.set(1, Availability::Drain);
    world.settle(service);
    (world, service)
}

/// Slots in which a task runs that is meant to.
fn available(world: &World, service: ServiceId) -> usize {
    let runs = |task: &&skep_proto::model::Task| {
        let lost = task.node.and_then(|node| world.state.node(node)).is_none_or(|n| n.status.state == NodeState::Down);
        task.desired.is_live() && task.status.state == TaskState::Running && !lost
    };
    world.state.slots(service).filter(|(_, tasks)| tasks.iter().any(runs)).count()
}

fn on_node(world: &World, node: u32) -> usize {
    world.state.tasks_on(node_id(node)).filter(|task| task.is_live() && task.holds_resources()).count()
}

#[test]
fn the_replacement_runs_before_the_old_task_stops() {
    let (mut world, service) = World::up(2, replicated(1));
    let old = world.head(service, 1).id;
    world.set(1, Availability::Drain);
    world.plan_out(service);
    world.place();
    assert_eq!(world.of_slot(service, 1), [(Running, TaskState::Running), (Running, TaskState::Assigned)]);
    let new = world.head(service, 1);
    assert_eq!((new.replaces, new.node), (Some(old), Some(node_id(2))));
    world.agents();
    world.plan_out(service);
    assert_eq!(world.of_slot(service, 1), [(Shutdown, TaskState::Running), (Running, TaskState::Running)]);
    world.settle(service);
    assert_eq!(world.running(service).iter().map(|task| task.node).collect::<Vec<_>>(), [Some(node_id(2))]);
}

#[test]
fn a_move_counts_as_no_restart_and_asks_no_condition() {
    let mut spec = replicated(1);
    (spec.task.restart.condition, spec.task.restart.max_attempts) = (RestartCondition::None, Some(1));
    let (mut world, service) = World::up(2, spec);
    world.set(1, Availability::Drain);
    world.settle(service);
    let running = world.running(service);
    assert_eq!((running[0].node, running[0].restarts.len()), (Some(node_id(2)), 0));
}

#[test]
fn without_room_the_old_task_stops_after_a_moment() {
    let (mut world, service) = without_room(replicated(1));
    assert_eq!(available(&world, service), 1, "there may still be room");
    world.wait(PLACE_TIME_MAX);
    world.settle(service);
    assert_eq!(world.of_slot(service, 1), [(Shutdown, TaskState::Shutdown), (Running, TaskState::Pending)]);
    world.set(2, Availability::Active);
    world.settle(service);
    assert_eq!(available(&world, service), 1);
}

#[test]
fn without_room_the_minimum_stays_where_it_is() {
    let (mut world, service) = without_room(keeping(4, MinAvailable::Percent(50)));
    world.wait(PLACE_TIME_MAX);
    let plan = world.settle(service);
    assert_eq!((available(&world, service), on_node(&world, 1)), (2, 2));
    assert!(plan.wake_at.is_none(), "time alone changes nothing");
    world.wait(Duration::from_secs(3600));
    world.settle(service);
    assert_eq!(on_node(&world, 1), 2);
    world.set(2, Availability::Active);
    world.settle(service);
    assert_eq!((available(&world, service), on_node(&world, 1)), (4, 0));
}

#[test]
fn a_share_is_one_of_the_slots_that_still_have_something_to_run() {
    let mut spec = keeping(4, MinAvailable::Percent(50));
    spec.task.restart.condition = RestartCondition::None;
    let (mut world, service) = World::up(1, spec);
    for slot in [3, 4] {
        let done = world.head(service, slot).id;
        world.report(done, TaskState::Complete);
    }
    world.apply(vec![crate::fixture::nodes(2).remove(1)]);
    world.set(2, Availability::Pause);
    world.set(1, Availability::Drain);
    world.settle(service);
    world.wait(PLACE_TIME_MAX);
    world.settle(service);
    assert_eq!(available(&world, service), 1, "half of two");
}

#[test]
fn a_replacement_that_fails_lets_the_old_task_go() {
    let (mut world, service) = World::up(2, replicated(1));
    world.set(1, Availability::Drain);
    world.plan_out(service);
    world.place();
    let new = world.head(service, 1).id;
    world.report(new, TaskState::Rejected);
    world.plan_out(service);
    let shapes = world.of_slot(service, 1);
    assert_eq!(shapes[..2], [(Shutdown, TaskState::Running), (Shutdown, TaskState::Rejected)]);
    assert_eq!(shapes[2].0, Ready, "its successor waits for the restart delay");
    world.wait(Duration::from_secs(5));
    world.settle(service);
    assert_eq!((available(&world, service), on_node(&world, 2)), (1, 1));
}

#[test]
fn a_replacement_that_fails_is_tried_again_while_the_minimum_runs_on() {
    for condition in [RestartCondition::Any, RestartCondition::None] {
        let mut spec = keeping(1, MinAvailable::Tasks(1));
        spec.task.restart.condition = condition;
        let (mut world, service) = World::up(2, spec);
        let old = world.head(service, 1).id;
        world.set(1, Availability::Drain);
        for _ in 0..3 {
            world.plan_out(service);
            world.place();
            let new = world.head(service, 1).id;
            assert_ne!(new, old, "{condition:?}: a replacement is on its way");
            world.report(new, TaskState::Failed);
            let plan = world.plan_out(service);
            assert_eq!(available(&world, service), 1, "{condition:?}");
            assert!(plan.wake_at.is_some_and(|at| at > world.now), "{condition:?}: not at once");
            world.wait(Duration::from_secs(5));
        }
        world.settle(service);
        assert_eq!((available(&world, service), on_node(&world, 1), on_node(&world, 2)), (1, 0, 1), "{condition:?}");
    }
}

#[test]
fn a_task_that_does_not_run_leaves_at_once() {
    let mut world = World::new(1);
    let service = world.create(keeping(2, MinAvailable::Percent(100)));
    world.plan_out(service);
    world.place();
    world.set(1, Availability::Drain);
    world.settle(service);
    assert_eq!(on_node(&world, 1), 0);
    assert_eq!(world.live_slots(service), [1, 2]);
}

#[test]
fn a_node_that_is_to_be_used_again_keeps_what_has_not_moved() {
    let (mut world, service) = World::up(2, replicated(2));
    let old = world.state.tasks_on(node_id(1)).next().unwrap().id;
    world.set(1, Availability::Drain);
    world.plan_out(service);
    world.place();
    assert_eq!(world.state.task_count(), 3);
    world.set(1, Availability::Active);
    world.settle(service);
    assert!(world.running(service).iter().any(|task| task.id == old));
    assert_eq!(world.state.task_count(), 2, "the needless replacement is gone");
}

#[test]
fn a_node_that_dies_while_it_is_drained_is_shown_no_courtesy() {
    let (mut world, service) = without_room(keeping(2, MinAvailable::Percent(100)));
    world.set(2, Availability::Active);
    world.turn(1, NodeState::Down);
    world.settle(service);
    assert_eq!((available(&world, service), on_node(&world, 2)), (2, 2));
}

#[test]
fn of_two_drained_nodes_the_newer_task_is_the_one_that_runs_on() {
    let (mut world, service) = World::up(2, keeping(1, MinAvailable::Tasks(1)));
    world.set(1, Availability::Drain);
    world.plan_out(service);
    world.place();
    world.agents();
    world.set(2, Availability::Drain);
    world.settle(service);
    assert_eq!((on_node(&world, 1), on_node(&world, 2), available(&world, service)), (0, 1, 1));
}

/// Something that happens while nodes are drained and none dies.
#[derive(Clone, Debug)]
enum Event {
    Plan,
    Place,
    Agents,
    Wait(u64),
    Availability(u32, Availability),
    /// A task that does not run yet fails.
    Fail,
}

fn event() -> impl Strategy<Value = Event> {
    use Availability::{Active, Drain, Pause};
    prop_oneof![
        8 => Just(Event::Plan),
        4 => Just(Event::Place),
        4 => Just(Event::Agents),
        2 => (0u64..8_000).prop_map(Event::Wait),
        3 => (1u32..4, prop_oneof![Just(Active), Just(Pause), Just(Drain)]).prop_map(|(n, a)| Event::Availability(n, a)),
        1 => Just(Event::Fail),
    ]
}

fn happen(world: &mut World, service: ServiceId, event: &Event) {
    match *event {
        Event::Plan => drop(world.turn_once(service)),
        Event::Place => drop(world.place()),
        Event::Agents => drop(world.agents()),
        Event::Wait(ms) => world.wait(Duration::from_millis(ms)),
        Event::Availability(node, availability) => world.set(node, availability),
        Event::Fail => {
            let starting = |task: &&skep_proto::model::Task| task.is_live() && task.status.state == TaskState::Assigned;
            let found = world.state.tasks().find(starting).map(|task| task.id);
            if let Some(task) = found {
                world.report(task, TaskState::Rejected);
            }
        }
    }
}

proptest! {
    #[test]
    fn no_drain_takes_a_service_below_its_minimum(
        replicas in 1u32..6,
        percent in 0u32..101,
        events in prop::collection::vec(event(), 1..80),
    ) {
        let (mut world, service) = World::up(3, keeping(replicas, MinAvailable::Percent(percent)));
        let least = usize::try_from(MinAvailable::Percent(percent).of(replicas)).unwrap();
        for event in &events {
            happen(&mut world, service, event);
            prop_assert!(available(&world, service) >= least, "{event:?}");
            let all_in_place = (1..=replicas).all(|n| world.state.slot(service, Slot::Replica(n)).next().is_some());
            prop_assert!(all_in_place);
        }
    }

    #[test]
    fn a_drained_node_is_empty_once_others_have_room(
        percent in 0u32..101,
        events in prop::collection::vec(event(), 1..60),
    ) {
        let (mut world, service) = World::up(3, keeping(4, MinAvailable::Percent(percent)));
        for event in &events {
            happen(&mut world, service, event);
        }
        for (node, availability) in [(1, Availability::Drain), (2, Availability::Active), (3, Availability::Active)] {
            world.set(node, availability);
        }
        for _ in 0..4 {
            world.settle(service);
            world.wait(Duration::from_secs(6));
        }
        prop_assert_eq!((on_node(&world, 1), available(&world, service)), (0, 4));
    }
}

#[test]
fn what_a_node_in_trouble_cannot_begin_runs_elsewhere_and_what_runs_there_stays() {
    let (mut world, service) = World::up(2, replicated(2));
    let trouble = |text: &str| {
        let text = text.to_owned();
        move |node: &mut skep_proto::model::Node| node.description.trouble = text
    };
    world.update(service, |spec| spec.mode = skep_proto::model::Mode::Replicated { replicas: 4 });
    world.plan_out(service);
    world.place();
    world.edit_node(1, trouble("its disk is full"));
    let ran = world.running(service).iter().map(|task| task.id).collect::<Vec<_>>();
    let stuck = world.state.tasks_on(node_id(1)).find(|task| task.status.state == TaskState::Assigned).unwrap().clone();
    world.plan_out(service);
    world.place();
    let Slot::Replica(slot) = stuck.slot else { panic!("it has a number") };
    assert_eq!(world.of_slot(service, slot), [(Shutdown, TaskState::Assigned), (Ready, TaskState::Assigned)]);
    assert_eq!(world.head(service, slot).node, Some(node_id(2)));
    // The node cannot even say that it has stopped what it was to begin.
    world.wait(Duration::from_secs(60) + crate::orchestrator::STOP_MARGIN);
    world.plan_out(service);
    assert_eq!(world.head(service, slot).desired, Running);
    world.settle(service);
    assert_eq!(world.running(service).len(), 4);
    let kept = |id: &skep_proto::model::TaskId| world.state.task(*id).unwrap().status.state == TaskState::Running;
    assert!(ran.iter().all(kept) && on_node(&world, 1) == 1);
}
