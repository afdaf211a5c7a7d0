//! What follows a task that ended.

use std::time::Duration;

use skep_proto::model::{DesiredState, RestartCondition, RestartPolicy, ServiceSpec, TaskState};

use crate::fixture::{World, replicated};

const DELAY: Duration = Duration::from_secs(5);

fn with(condition: RestartCondition, max_attempts: Option<u32>, window: Option<Duration>) -> ServiceSpec {
    let mut spec = replicated(1);
    spec.task.restart = RestartPolicy { condition, delay: DELAY, max_attempts, window };
    spec
}

/// Lets the slot's task end, waits for the delay to pass; says whether a new one runs.
fn runs_again(world: &mut World, service: skep_proto::model::ServiceId, state: TaskState) -> bool {
    let task = world.head(service, 1).id;
    world.report(task, state);
    world.settle(service);
    world.wait(DELAY);
    world.settle(service);
    !world.running(service).is_empty()
}

#[test]
fn the_condition_decides_which_ends_are_followed() {
    use RestartCondition::{Any, None as Never, OnFailure};
    use TaskState::{Complete, Failed, Rejected};
    let table = [
        (Never, Complete, false),
        (Never, Failed, false),
        (Never, Rejected, false),
        (OnFailure, Complete, false),
        (OnFailure, Failed, true),
        (OnFailure, Rejected, true),
        (Any, Complete, true),
        (Any, Failed, true),
    ];
    for (condition, state, expected) in table {
        let (mut world, service) = World::up(1, with(condition, None, None));
        assert_eq!(runs_again(&mut world, service, state), expected, "{condition:?} {state:?}");
    }
}

#[test]
fn the_replacement_is_prepared_at_once_and_starts_after_the_delay() {
    let (mut world, service) = World::up(1, with(RestartCondition::Any, None, None));
    let task = world.head(service, 1).id;
    world.report(task, TaskState::Failed);
    let plan = world.settle(service);
    let next = world.head(service, 1);
    assert_eq!((next.desired, next.status.state), (DesiredState::Ready, TaskState::Assigned));
    assert_eq!((next.replaces, plan.wake_at), (Some(task), Some(world.now + DELAY)));
    assert_eq!(world.of_slot(service, 1)[0], (DesiredState::Shutdown, TaskState::Failed));
    world.wait(DELAY);
    world.settle(service);
    assert_eq!(world.running(service).len(), 1);
}

#[test]
fn a_task_that_fails_while_it_waits_is_followed_by_one_that_waits_again() {
    let (mut world, service) = World::up(1, with(RestartCondition::Any, None, None));
    let task = world.head(service, 1).id;
    world.report(task, TaskState::Failed);
    world.settle(service);
    let due = world.now + DELAY;
    world.wait(Duration::from_secs(3));
    let rejected = world.head(service, 1).id;
    world.report(rejected, TaskState::Rejected);
    assert_eq!(world.settle(service).wake_at, Some(due), "nothing is made before the delay is over");
    assert_eq!(world.head(service, 1).id, rejected);
    world.wait(DELAY);
    let plan = world.settle(service);
    assert_ne!(world.head(service, 1).id, rejected);
    assert_eq!(plan.wake_at, Some(world.now + DELAY));
    assert!(world.running(service).is_empty());
}

#[test]
fn a_delay_that_a_leader_with_a_fast_clock_began_is_not_waited_for() {
    let (mut world, service) = World::up(1, with(RestartCondition::Any, None, None));
    world.wait(Duration::from_secs(24 * 3600));
    let task = world.head(service, 1).id;
    world.report(task, TaskState::Failed);
    world.settle(service);
    assert!(world.running(service).is_empty());
    world.now = world.now - Duration::from_secs(12 * 3600);
    world.settle(service);
    assert_eq!(world.running(service).len(), 1);
}

#[test]
fn attempts_run_out_and_an_update_of_any_kind_gives_new_ones() {
    let (mut world, service) = World::up(1, with(RestartCondition::Any, Some(2), None));
    let ends: Vec<bool> = (0..3).map(|_| runs_again(&mut world, service, TaskState::Failed)).collect();
    assert_eq!(ends, [true, true, false]);
    assert!(world.plan_out(service).wake_at.is_none());
    world.update(service, |spec| {
        spec.labels.insert("note".to_owned(), "try again".to_owned());
    });
    world.settle(service);
    assert_eq!(world.running(service).len(), 1);
}

#[test]
fn only_restarts_within_the_window_count_and_one_shorter_than_the_delay_still_does() {
    let (mut world, service) = World::up(1, with(RestartCondition::Any, Some(1), Some(Duration::from_secs(2))));
    assert!(runs_again(&mut world, service, TaskState::Failed));
    world.wait(Duration::from_secs(60));
    assert!(runs_again(&mut world, service, TaskState::Failed), "the first restart is long ago");
    assert!(!runs_again(&mut world, service, TaskState::Failed), "the second was just now");
}

#[test]
fn a_finished_slot_stays_taken_and_survives_any_history_limit() {
    for limit in [0, 1, 5, -1] {
        let mut world = World::new(1);
        world.history(limit);
        let service = world.create(with(RestartCondition::OnFailure, None, None));
        world.settle(service);
        assert!(!runs_again(&mut world, service, TaskState::Complete));
        assert_eq!(world.state.task_count(), 1, "limit {limit}");
    }
}

#[test]
fn history_is_kept_up_to_the_limit_with_the_live_task_counted() {
    for (limit, expected) in [(0, 1), (1, 1), (3, 3), (-1, 8)] {
        let mut world = World::new(1);
        world.history(limit);
        let service = world.create(with(RestartCondition::Any, None, None));
        world.settle(service);
        for _ in 0..7 {
            assert!(runs_again(&mut world, service, TaskState::Failed));
        }
        assert_eq!(world.state.task_count(), expected, "limit {limit}");
    }
}

#[test]
fn a_program_that_crashes_all_day_leaves_no_more_behind_than_one_that_crashed_a_few_times() {
    let mut spec = with(RestartCondition::Any, None, None);
    spec.task.restart.delay = Duration::from_millis(1);
    let (mut world, service) = World::up(1, spec);
    for round in 0..5_000 {
        let task = world.head(service, 1).id;
        world.report(task, TaskState::Failed);
        world.settle(service);
        world.wait(Duration::from_millis(1));
        world.settle(service);
        assert!(world.state.task_count() <= 5, "round {round}: {} tasks", world.state.task_count());
    }
    let head = world.head(service, 1);
    assert!(head.restarts.is_empty(), "without a limit on attempts nothing is counted: {}", head.restarts.len());
    assert_eq!(world.running(service).len(), 1);
}
