//! What must hold whatever happens, in whatever order.

use std::time::Duration;

use proptest::prelude::*;
use skep_proto::model::{
    Availability, DesiredState, Mode, NodeState, RestartCondition, ServiceId, Slot, Task, TaskState,
};

use crate::fixture::{World, spec};

/// Something that happens to a service.
#[derive(Clone, Debug)]
enum Event {
    Plan,
    Place,
    Agents,
    Wait(u64),
    Fail(usize, TaskState),
    Scale(u32),
    Force,
    StartFirst(bool),
    Availability(u32, Availability),
    State(u32, NodeState),
    Remove,
}

fn event() -> impl Strategy<Value = Event> {
    use Availability::{Active, Drain, Pause};
    use NodeState::{Down, Ready, Unknown};
    let end = prop_oneof![Just(TaskState::Failed), Just(TaskState::Complete), Just(TaskState::Rejected)];
    prop_oneof![
        8 => Just(Event::Plan),
        4 => Just(Event::Place),
        4 => Just(Event::Agents),
        2 => (0u64..20_000).prop_map(Event::Wait),
        3 => (any::<usize>(), end).prop_map(|(which, state)| Event::Fail(which, state)),
        1 => (0u32..7).prop_map(Event::Scale),
        1 => Just(Event::Force),
        1 => any::<bool>().prop_map(Event::StartFirst),
        2 => (1u32..4, prop_oneof![Just(Active), Just(Pause), Just(Drain)]).prop_map(|(n, a)| Event::Availability(n, a)),
        2 => (1u32..4, prop_oneof![Just(Ready), Just(Down), Just(Unknown)]).prop_map(|(n, s)| Event::State(n, s)),
    ]
}

fn happen(world: &mut World, service: ServiceId, event: &Event) {
    match *event {
        Event::Plan => drop(world.turn_once(service)),
        Event::Place => drop(world.place()),
        Event::Agents => drop(world.agents()),
        Event::Wait(ms) => world.wait(Duration::from_millis(ms)),
        Event::Fail(which, state) => fail(world, which, state),
        Event::Scale(replicas) => world.update(service, |spec| {
            if spec.mode != Mode::Global {
                spec.mode = Mode::Replicated { replicas };
            }
        }),
        Event::Force => world.update(service, |spec| spec.task.force_update += 1),
        Event::StartFirst(yes) => world.update(service, |spec| spec.update.start_first = yes),
        Event::Availability(node, availability) => world.set(node, availability),
        Event::State(node, state) => world.turn(node, state),
        Event::Remove => world.remove(service),
    }
}

fn fail(world: &mut World, which: usize, state: TaskState) {
    let alive: Vec<_> = world.state.tasks().filter(|task| task.holds_resources()).map(|task| task.id).collect();
    if !alive.is_empty() {
        world.report(alive[which % alive.len()], state);
    }
}

fn wanted(world: &World, service: ServiceId) -> Vec<(Slot, Vec<&Task>)> {
    let live = |(slot, mut tasks): (Slot, Vec<&'_ Task>)| {
        tasks.retain(|task| task.desired.is_live());
        (!tasks.is_empty()).then_some(slot)
    };
    let slots: Vec<Slot> = world.state.slots(service).filter_map(live).collect();
    let tasks = |slot| world.state.slot(service, slot).filter(|task| task.desired.is_live()).collect();
    slots.into_iter().map(|slot| (slot, tasks(slot))).collect()
}

/// A slot has one task on its way, and every task beside another is there to replace it: an update starts first, or a node
/// was down.
fn invariant_one_task_a_slot(world: &World, service: ServiceId) {
    for (slot, tasks) in wanted(world, service) {
        let on_the_way = tasks.iter().filter(|task| task.status.state < TaskState::Running).count();
        assert!(on_the_way <= 1, "{slot:?} has {on_the_way} tasks on their way");
        let ready = tasks.iter().filter(|task| task.desired == DesiredState::Ready).count();
        assert!(ready <= 1, "{slot:?} has {ready} tasks that are next");
        let unexplained = tasks.iter().filter(|task| task.replaces.is_none()).count();
        assert!(unexplained <= 1, "{slot:?} has tasks that do not replace one another");
    }
}

/// A policy that lets everything end sooner or later.
fn modes() -> impl Strategy<Value = (Mode, RestartCondition, Option<u32>)> {
    use RestartCondition::{Any, None as Never, OnFailure};
    let mode = prop_oneof![3 => (0u32..6).prop_map(|replicas| Mode::Replicated { replicas }), 1 => Just(Mode::Global)];
    (mode, prop_oneof![Just(Any), Just(OnFailure), Just(Never)], proptest::option::of(1u32..3))
}

fn start((mode, condition, max_attempts): (Mode, RestartCondition, Option<u32>)) -> (World, ServiceId) {
    let mut spec = spec(mode);
    (spec.task.restart.condition, spec.task.restart.max_attempts) = (condition, max_attempts);
    let mut world = World::new(3);
    let service = world.create(spec);
    (world, service)
}

/// Brings the nodes back and lets all delays pass.
fn calm(world: &mut World, service: ServiceId) {
    for node in 1..=3 {
        world.turn(node, NodeState::Ready);
        world.set(node, Availability::Active);
    }
    for _ in 0..20 {
        world.settle(service);
        world.wait(Duration::from_secs(30));
    }
}

proptest! {
    #[test]
    fn a_slot_never_has_more_tasks_than_it_may(kind in modes(), events in prop::collection::vec(event(), 1..60)) {
        let (mut world, service) = start(kind);
        for event in &events {
            happen(&mut world, service, event);
            invariant_one_task_a_slot(&world, service);
        }
    }

    #[test]
    fn there_are_never_more_slots_than_asked_for(kind in modes(), events in prop::collection::vec(event(), 1..60)) {
        let (mut world, service) = start(kind);
        for event in &events {
            happen(&mut world, service, event);
            world.plan_out(service);
            let slots = wanted(&world, service);
            if let Mode::Replicated { replicas } = world.service(service).spec.mode {
                prop_assert!(slots.len() <= usize::try_from(replicas).unwrap());
            }
            let numbered = slots.iter().all(|(slot, _)| matches!((slot, kind.0), (Slot::Replica(1..), Mode::Replicated { .. }) | (Slot::Node(_), Mode::Global)));
            prop_assert!(numbered);
        }
    }

    #[test]
    fn plans_come_to_rest_and_stay_there(kind in modes(), events in prop::collection::vec(event(), 1..60)) {
        let (mut world, service) = start(kind);
        for event in &events {
            happen(&mut world, service, event);
        }
        world.plan_out(service);
        prop_assert!(world.turn_once(service).transactions.is_empty());
    }

    #[test]
    fn a_service_that_is_removed_makes_no_task_and_leaves_none(kind in modes(), events in prop::collection::vec(event(), 1..40), after in prop::collection::vec(event(), 0..20)) {
        let (mut world, service) = start(kind);
        for event in &events {
            happen(&mut world, service, event);
        }
        happen(&mut world, service, &Event::Remove);
        let mut tasks = world.state.task_count();
        for event in &after {
            if world.state.service(service).is_some() && !matches!(event, Event::Scale(_) | Event::Force | Event::StartFirst(_)) {
                happen(&mut world, service, event);
            }
            prop_assert!(world.state.task_count() <= tasks);
            tasks = world.state.task_count();
        }
        calm(&mut world, service);
        prop_assert_eq!(world.state.task_count(), 0);
        prop_assert!(world.state.service(service).is_none());
    }

    #[test]
    fn once_all_is_well_every_slot_runs_the_current_spec_or_is_finished(kind in modes(), events in prop::collection::vec(event(), 1..60)) {
        let (mut world, service) = start(kind);
        for event in &events {
            happen(&mut world, service, event);
        }
        world.update(service, |spec| {
            spec.task.restart.condition = RestartCondition::Any;
            spec.task.restart.max_attempts = None;
            spec.task.force_update += 1;
        });
        calm(&mut world, service);
        let asked = match world.service(service).spec.mode {
            Mode::Replicated { replicas } => usize::try_from(replicas).unwrap(),
            Mode::Global => 3,
        };
        let current = world.service(service).spec_version;
        let right = |task: &&&Task| task.spec_version == current && task.desired == DesiredState::Running;
        prop_assert_eq!(world.running(service).iter().filter(right).count(), asked);
        prop_assert_eq!(world.running(service).len(), asked);
        prop_assert!(world.service(service).update_status.as_ref().is_none_or(|status| status.completed));
    }
}
