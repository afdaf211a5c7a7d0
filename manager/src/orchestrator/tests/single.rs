//! Services of which no two tasks of a slot may run at the same time.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use skep_proto::model::{
    Availability, Constraint, DesiredState, MinAvailable, Mode, NodeState, OnDisconnect, ServiceId, ServiceSpec,
    TaskId, TaskState,
};

use crate::fixture::{World, node_id, replicated};

use DesiredState::{Ready, Running, Shutdown};

fn single(replicas: u32) -> ServiceSpec {
    let mut spec = replicated(replicas);
    spec.task.on_disconnect = OnDisconnect::StopAfter(Duration::from_secs(30));
    spec
}

/// What the dispatcher says of a node's tasks once they must have stopped.
fn fence(world: &mut World, node: u32) {
    let held: Vec<TaskId> =
        world.state.tasks_on(node_id(node)).filter(|task| task.holds_resources()).map(|task| task.id).collect();
    held.into_iter().for_each(|task| world.report_verdict(task, TaskState::Orphaned));
}

#[test]
fn a_lost_task_is_only_prepared_elsewhere_until_it_must_have_stopped() {
    let (mut world, service) = World::up(2, single(1));
    world.turn(1, NodeState::Down);
    world.settle(service);
    world.wait(Duration::from_secs(7 * 24 * 3600));
    let plan = world.settle(service);
    assert_eq!(world.of_slot(service, 1), [(Running, TaskState::Running), (Ready, TaskState::Assigned)]);
    assert_eq!(plan.wake_at, None, "no time that passes is enough");
    world.orphan();
    world.settle(service);
    assert_eq!(world.head(service, 1).desired, Ready, "a day is not either");
    fence(&mut world, 1);
    world.settle(service);
    assert_eq!(world.of_slot(service, 1)[0], (Shutdown, TaskState::Orphaned));
    assert_eq!(world.running(service)[0].node, Some(node_id(2)));
}

#[test]
fn a_task_that_was_only_assigned_may_have_been_started_too() {
    let mut world = World::new(2);
    let service = world.create(single(1));
    world.plan_out(service);
    world.place();
    let (first, lost) = (world.head(service, 1).id, world.head(service, 1).node);
    let number = if lost == Some(node_id(1)) { 1 } else { 2 };
    world.turn(number, NodeState::Down);
    world.settle(service);
    assert_eq!(world.of_slot(service, 1), [(Shutdown, TaskState::Assigned), (Ready, TaskState::Assigned)]);
    fence(&mut world, number);
    world.settle(service);
    assert!(world.running(service).iter().all(|task| task.id != first && task.node != lost));
    assert_eq!(world.running(service).len(), 1);
}

#[test]
fn a_node_that_is_back_in_time_keeps_its_task() {
    let (mut world, service) = World::up(2, single(1));
    let task = world.head(service, 1).id;
    world.turn(1, NodeState::Down);
    world.settle(service);
    world.turn(1, NodeState::Ready);
    world.settle(service);
    assert_eq!(world.running(service).iter().map(|task| task.id).collect::<Vec<_>>(), [task]);
    assert_eq!(world.state.tasks().filter(|task| task.is_live()).count(), 1, "the replacement is withdrawn");
}

#[test]
fn a_node_that_is_back_after_an_update_does_not_hold_it_up() {
    let (mut world, service) = World::up(2, single(1));
    let old = world.head(service, 1).id;
    world.turn(1, NodeState::Down);
    world.update(service, |spec| spec.task.force_update += 1);
    world.settle(service);
    assert_eq!(world.of_slot(service, 1), [(Running, TaskState::Running), (Ready, TaskState::Assigned)]);
    world.turn(1, NodeState::Ready);
    world.settle(service);
    let running = world.running(service);
    assert_eq!(
        running.iter().filter(|task| task.id != old).count(),
        1,
        "the replacement was of the new spec: {running:?}"
    );
    assert!(world.service(service).update_status.as_ref().is_none_or(|status| status.completed));
}

#[test]
fn a_replacement_of_an_old_spec_goes_when_the_node_is_back() {
    let (mut world, service) = World::up(2, single(1));
    let old = world.head(service, 1).id;
    world.turn(1, NodeState::Down);
    world.settle(service);
    let prepared = world.head(service, 1).id;
    world.update(service, |spec| spec.task.force_update += 1);
    world.turn(1, NodeState::Ready);
    world.settle(service);
    assert!(world.state.task(prepared).is_none_or(|task| !task.is_live()), "it could never have started");
    assert!(world.running(service).iter().all(|task| task.id != old), "and the update goes on");
    assert_eq!(world.running(service).len(), 1);
}

#[test]
fn a_drain_stops_before_it_starts_and_a_stop_that_is_not_confirmed_is_waited_for() {
    let (mut world, service) = World::up(2, single(1));
    world.set(1, Availability::Drain);
    world.plan_out(service);
    world.place();
    assert_eq!(world.of_slot(service, 1), [(Shutdown, TaskState::Running), (Ready, TaskState::Assigned)]);
    world.wait(Duration::from_secs(3600));
    world.plan_out(service);
    assert_eq!(world.head(service, 1).desired, Ready);
    world.settle(service);
    assert_eq!(world.running(service).iter().map(|task| task.node).collect::<Vec<_>>(), [Some(node_id(2))]);
}

#[test]
fn a_minimum_of_all_keeps_a_single_writer_where_it_is() {
    let (mut world, service) = World::up(2, ServiceSpec { min_available: MinAvailable::Tasks(1), ..single(1) });
    world.set(1, Availability::Drain);
    world.settle(service);
    assert_eq!(world.of_slot(service, 1), [(Running, TaskState::Running)]);
    world.update(service, |spec| spec.min_available = MinAvailable::default());
    world.settle(service);
    assert_eq!(world.running(service)[0].node, Some(node_id(2)));
}

#[test]
fn one_that_may_not_be_where_it_is_is_moved_and_not_written_off() {
    let mut spec = single(1);
    let constraint = Constraint { key: "node.labels.off".to_owned(), equal: false, value: "yes".to_owned() };
    spec.task.placement.constraints = vec![constraint];
    let (mut world, service) = World::up(2, spec);
    world.edit_node(1, |node| drop(node.spec.labels.insert("off".to_owned(), "yes".to_owned())));
    world.plan_out(service);
    world.place();
    assert_eq!(world.of_slot(service, 1), [(Shutdown, TaskState::Running), (Ready, TaskState::Assigned)]);
    world.settle(service);
    assert_eq!(world.running(service)[0].node, Some(node_id(2)));
}

#[test]
fn a_slot_that_was_given_up_and_is_wanted_again_waits_for_what_it_lost() {
    let (mut world, service) = World::up(2, single(1));
    world.turn(1, NodeState::Down);
    for replicas in [0, 1] {
        world.update(service, |spec| spec.mode = Mode::Replicated { replicas });
        world.settle(service);
    }
    assert_eq!(world.head(service, 1).desired, Ready);
    fence(&mut world, 1);
    world.settle(service);
    assert_eq!(world.running(service)[0].node, Some(node_id(2)));
}

/// Something that happens to a single writer.
#[derive(Clone, Debug)]
enum Event {
    Plan,
    Place,
    Agents,
    Wait(u64),
    Fail(usize, TaskState),
    Scale(u32),
    Force,
    Availability(u32, Availability),
    State(u32, NodeState),
    Fence(u32),
    Label(u32, bool),
}

fn event() -> impl Strategy<Value = Event> {
    use Availability::{Active, Drain, Pause};
    use NodeState::{Down, Ready, Unknown};
    let end = prop_oneof![Just(TaskState::Failed), Just(TaskState::Complete), Just(TaskState::Rejected)];
    prop_oneof![
        8 => Just(Event::Plan),
        4 => Just(Event::Place),
        3 => Just(Event::Agents),
        2 => (0u64..100_000).prop_map(Event::Wait),
        2 => (any::<usize>(), end).prop_map(|(which, state)| Event::Fail(which, state)),
        1 => (0u32..4).prop_map(Event::Scale),
        1 => Just(Event::Force),
        2 => (1u32..4, prop_oneof![Just(Active), Just(Pause), Just(Drain)]).prop_map(|(n, a)| Event::Availability(n, a)),
        3 => (1u32..4, prop_oneof![Just(Ready), Just(Down), Just(Unknown)]).prop_map(|(n, s)| Event::State(n, s)),
        1 => (1u32..4).prop_map(Event::Fence),
        1 => (1u32..4, any::<bool>()).prop_map(|(n, off)| Event::Label(n, off)),
    ]
}

fn happen(world: &mut World, service: ServiceId, event: &Event) {
    match *event {
        Event::Plan => drop(world.turn_once(service)),
        Event::Place => drop(world.place()),
        Event::Agents => drop(world.agents()),
        Event::Wait(ms) => world.wait(Duration::from_millis(ms)),
        Event::Fail(which, state) => {
            let alive: Vec<_> = world.state.tasks().filter(|task| task.holds_resources()).map(|task| task.id).collect();
            if !alive.is_empty() {
                world.report(alive[which % alive.len()], state);
            }
        }
        Event::Scale(replicas) => world.update(service, |spec| spec.mode = Mode::Replicated { replicas }),
        Event::Force => world.update(service, |spec| spec.task.force_update += 1),
        Event::Availability(node, availability) => world.set(node, availability),
        Event::State(node, state) => world.turn(node, state),
        Event::Fence(node) => {
            if world.state.node(node_id(node)).unwrap().status.state == NodeState::Down {
                fence(world, node);
            }
        }
        Event::Label(number, off) => world.edit_node(number, |node| {
            node.spec.labels.insert("off".to_owned(), if off { "yes" } else { "no" }.to_owned());
        }),
    }
}

proptest! {
    /// A task that was ever desired to run and is not seen to have ended may run, on a node that nobody hears of, too.
    #[test]
    fn no_two_tasks_of_a_slot_may_ever_run(events in prop::collection::vec(event(), 1..120)) {
        let mut spec = single(2);
        let constraint = Constraint { key: "node.labels.off".to_owned(), equal: false, value: "yes".to_owned() };
        spec.task.placement.constraints = vec![constraint];
        let mut world = World::new(3);
        let service = world.create(spec);
        let mut ordered: BTreeSet<TaskId> = BTreeSet::new();
        for event in &events {
            happen(&mut world, service, event);
            ordered.extend(world.state.tasks().filter(|task| task.desired == Running).map(|task| task.id));
            for (slot, tasks) in world.state.slots(service) {
                let may_run = tasks.iter().filter(|task| ordered.contains(&task.id) && task.holds_resources()).count();
                prop_assert!(may_run <= 1, "{slot:?} after {event:?}: {tasks:#?}");
            }
        }
    }
}
