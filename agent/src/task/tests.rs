use std::time::Duration;

use proptest::prelude::*;
use skep_proto::model::{DesiredState, Moment, TaskState, TaskStatus};

use super::*;
use crate::order::{Blame, Exited, Fault, Recovered, Started};

const NOW: Moment = Moment(1_000);

fn fault(blame: Blame) -> Fault {
    Fault { blame, reason: "no such image".into() }
}

fn started() -> Started {
    Started { pid: 42, container_id: "c".into(), ports: Vec::new() }
}

fn exit(code: i32) -> Exited {
    Exited { code, ..Exited::default() }
}

/// A wanted task that was brought up to `state` by the shortest way.
fn at(state: TaskState) -> TaskMachine {
    let desired = if state == TaskState::Ready { DesiredState::Ready } else { DesiredState::Running };
    let mut task = TaskMachine::new(desired, 5, NOW);
    let script = match state {
        TaskState::Accepted => 0,
        TaskState::Preparing => 1,
        TaskState::Ready | TaskState::Starting => 2,
        _ => 3,
    };
    let way = [Input::Tick, Input::Prepared(Ok(())), Input::Started(Ok(started()))];
    for input in way.into_iter().take(script) {
        task.step(NOW, input);
    }
    match state {
        TaskState::Complete => task.step(NOW, Input::Exited(exit(0))),
        TaskState::Failed => task.step(NOW, Input::Exited(exit(3))),
        TaskState::Shutdown => {
            task.step(NOW, Input::Desired(DesiredState::Shutdown, 6));
            task.step(NOW, Input::Stopped(Ok(Some(exit(143)))))
        }
        _ => Vec::new(),
    };
    assert_eq!(task.state(), state);
    task
}

const STATES: [TaskState; 8] = [
    TaskState::Accepted,
    TaskState::Preparing,
    TaskState::Ready,
    TaskState::Starting,
    TaskState::Running,
    TaskState::Complete,
    TaskState::Failed,
    TaskState::Shutdown,
];

fn inputs() -> Vec<Input> {
    use Input::*;
    vec![
        Desired(DesiredState::Ready, 7),
        Desired(DesiredState::Running, 7),
        Desired(DesiredState::Shutdown, 7),
        Desired(DesiredState::Remove, 7),
        Desired(DesiredState::Shutdown, 1),
        Forget(false),
        Forget(true),
        Refused("no".into()),
        Prepared(Ok(())),
        Prepared(Err(fault(Blame::Task))),
        Prepared(Err(fault(Blame::Node))),
        Prepared(Err(fault(Blame::Temporary))),
        Started(Ok(started())),
        Started(Err(fault(Blame::Task))),
        Started(Err(fault(Blame::Temporary))),
        Exited(exit(0)),
        Exited(exit(1)),
        Stopped(Ok(None)),
        Stopped(Ok(Some(exit(137)))),
        Stopped(Err(fault(Blame::Temporary))),
        Removed(Ok(())),
        Removed(Err(fault(Blame::Temporary))),
        Tick,
    ]
}

/// The state after an input, for every state and every input that changes it. All other pairs leave the state alone.
fn expected(state: TaskState, input: &Input) -> TaskState {
    use TaskState::*;
    match (state, input) {
        (Accepted, Input::Desired(d, 7)) if d.is_live() => Preparing,
        (Accepted, Input::Desired(DesiredState::Shutdown | DesiredState::Remove, 7) | Input::Forget(_)) => Shutdown,
        (Accepted, Input::Refused(_)) => Rejected,
        (Accepted, _) => Preparing,
        (Preparing, Input::Prepared(Ok(()))) => Starting,
        (Preparing, Input::Prepared(Err(Fault { blame: Blame::Task | Blame::Node, .. }))) => Rejected,
        (Ready, Input::Desired(DesiredState::Running, 7)) => Starting,
        (Ready, Input::Refused(_)) => Rejected,
        (Starting, Input::Started(Ok(_))) => Running,
        (Starting, Input::Started(Err(Fault { blame: Blame::Task, .. }))) => Failed,
        (Running, Input::Exited(Exited { code: 0, .. })) => Complete,
        (Running, Input::Exited(_)) => Failed,
        _ => state,
    }
}

#[test]
fn every_state_takes_every_input() {
    for state in STATES {
        for input in inputs() {
            let mut task = at(state);
            task.step(NOW, input.clone());
            assert_eq!(task.state(), expected(state, &input), "{state:?} {input:?}");
        }
    }
}

#[test]
fn a_wanted_task_is_prepared_started_and_waited_for() {
    let mut task = TaskMachine::new(DesiredState::Running, 1, NOW);
    assert_eq!(task.step(NOW, Input::Desired(DesiredState::Running, 1)), [Effect::Prepare, Effect::Report]);
    assert_eq!(task.step(NOW, Input::Prepared(Ok(()))), [Effect::Start, Effect::Report]);
    let effects = task.step(NOW, Input::Started(Ok(started())));
    assert_eq!(effects, [Effect::Wait, Effect::Persist(false), Effect::Report]);
    assert_eq!(task.status().pid, 42);
    let effects = task.step(NOW, Input::Exited(exit(0)));
    assert_eq!(effects, [Effect::Persist(true), Effect::Report]);
    assert_eq!((task.status().exit_code, &*task.status().error), (Some(0), ""));
}

#[test]
fn a_task_desired_ready_is_prepared_and_not_started() {
    let mut task = TaskMachine::new(DesiredState::Ready, 1, NOW);
    task.step(NOW, Input::Tick);
    assert_eq!(task.step(NOW, Input::Prepared(Ok(()))), [Effect::Report]);
    assert_eq!(task.state(), TaskState::Ready);
    let effects = task.step(NOW, Input::Desired(DesiredState::Running, 2));
    assert_eq!(effects, [Effect::Start, Effect::Report]);
}

#[test]
fn an_order_to_stop_is_obeyed_in_every_live_state() {
    for state in STATES.into_iter().filter(|s| !s.is_terminal()) {
        let mut task = at(state);
        let mut effects = task.step(NOW, Input::Desired(DesiredState::Shutdown, 6));
        effects.extend(match state {
            TaskState::Preparing => task.step(NOW, Input::Prepared(Ok(()))),
            TaskState::Starting => task.step(NOW, Input::Started(Ok(started()))),
            _ => Vec::new(),
        });
        let stops = effects.contains(&Effect::Stop(false));
        assert_eq!(stops, state != TaskState::Accepted, "{state:?}");
        task.step(NOW, Input::Stopped(Ok(None)));
        assert_eq!(task.state(), TaskState::Shutdown, "{state:?}");
    }
}

#[test]
fn what_ends_after_the_order_to_stop_is_shut_down_and_not_failed() {
    let mut task = at(TaskState::Running);
    task.step(NOW, Input::Desired(DesiredState::Shutdown, 6));
    task.step(NOW, Input::Exited(exit(137)));
    assert_eq!((task.state(), task.status().exit_code), (TaskState::Shutdown, Some(137)));
    assert_eq!(&*task.status().error, "");
}

#[test]
fn desired_only_grows_and_an_older_generation_is_ignored() {
    let mut task = at(TaskState::Running);
    task.step(NOW, Input::Desired(DesiredState::Shutdown, 4));
    assert_eq!((task.desired(), task.generation()), (DesiredState::Running, 5));
    task.step(NOW, Input::Desired(DesiredState::Shutdown, 8));
    task.step(NOW, Input::Desired(DesiredState::Running, 9));
    assert_eq!((task.desired(), task.generation()), (DesiredState::Shutdown, 9));
}

#[test]
fn removal_comes_after_the_stop_and_forgetting_after_the_removal() {
    let mut task = at(TaskState::Running);
    assert_eq!(task.step(NOW, Input::Forget(false)), [Effect::Stop(false)]);
    let effects = task.step(NOW, Input::Stopped(Ok(Some(exit(143)))));
    assert_eq!(effects, [Effect::Remove, Effect::Persist(true)]);
    assert_eq!(task.step(NOW, Input::Removed(Ok(()))), [Effect::Forgotten]);
    assert_eq!(task.step(NOW, Input::Tick), []);
}

#[test]
fn an_ended_task_keeps_its_container_until_it_is_forgotten() {
    let mut task = at(TaskState::Failed);
    assert_eq!(task.step(NOW, Input::Desired(DesiredState::Shutdown, 6)), [Effect::Persist(false)]);
    assert_eq!(task.step(NOW, Input::Forget(false)), [Effect::Remove]);
}

#[test]
fn a_hurried_leave_kills_what_is_stopping_gently() {
    let mut task = at(TaskState::Running);
    task.step(NOW, Input::Desired(DesiredState::Shutdown, 6));
    assert_eq!(task.step(NOW, Input::Forget(true)), [Effect::Stop(true)]);
    assert_eq!(task.step(NOW, Input::Forget(true)), []);
    task.step(NOW, Input::Stopped(Ok(None)));
    assert_eq!(task.step(NOW, Input::Stopped(Ok(None))), [], "the second stop's end says nothing");
}

#[test]
fn a_passing_failure_is_retried_a_bounded_number_of_times() {
    let mut task = at(TaskState::Preparing);
    let mut now = NOW;
    for _ in 0..TRIES_MAX {
        let effects = task.step(now, Input::Prepared(Err(fault(Blame::Temporary))));
        assert_eq!(effects, [Effect::WakeAt(now + RETRY_DELAY)]);
        assert_eq!(task.step(now, Input::Tick), [], "too early");
        now = now + RETRY_DELAY;
        assert_eq!(task.step(now, Input::Tick), [Effect::Prepare]);
    }
    task.step(now, Input::Prepared(Err(fault(Blame::Temporary))));
    assert_eq!((task.state(), &*task.status().error), (TaskState::Rejected, "no such image"));
}

#[test]
fn an_order_to_stop_ends_the_wait_for_a_retry() {
    let mut task = at(TaskState::Preparing);
    task.step(NOW, Input::Prepared(Err(fault(Blame::Temporary))));
    assert_eq!(task.step(NOW, Input::Desired(DesiredState::Remove, 6))[0], Effect::Stop(false));
}

#[test]
fn a_stop_that_fails_is_tried_for_ever_and_ever_less_often() {
    let mut task = at(TaskState::Running);
    task.step(NOW, Input::Desired(DesiredState::Shutdown, 6));
    let (mut now, mut delays) = (NOW, Vec::new());
    for _ in 0..12 {
        let effects = task.step(now, Input::Stopped(Err(fault(Blame::Node))));
        let [Effect::WakeAt(at)] = effects[..] else { panic!("{effects:?}") };
        delays.push(at.since(now).as_secs());
        now = at;
        assert_eq!(task.step(now, Input::Tick), [Effect::Stop(false)]);
    }
    assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60]);
    assert_eq!(task.state(), TaskState::Running);
}

#[test]
fn reasons_are_sentences_that_a_user_can_read() {
    let cases = [
        (exit(3), "task: non-zero exit (3)"),
        (Exited { code: 137, oom: true, error: None }, "task: non-zero exit (137): it used more memory than its limit"),
        (Exited { code: 127, oom: false, error: Some("no such file".into()) }, "no such file"),
    ];
    for (exit, reason) in cases {
        let mut task = at(TaskState::Running);
        task.step(NOW, Input::Exited(exit));
        assert_eq!((task.state(), &*task.status().error), (TaskState::Failed, reason));
    }
}

#[test]
fn a_container_that_could_not_be_started_is_stopped() {
    let mut task = at(TaskState::Starting);
    let effects = task.step(NOW, Input::Started(Err(fault(Blame::Task))));
    assert_eq!(effects, [Effect::Stop(true), Effect::Persist(true), Effect::Report]);
    assert_eq!(task.step(NOW, Input::Stopped(Ok(None))), []);
    assert_eq!(task.state(), TaskState::Failed);
}

#[test]
fn a_restart_goes_on_with_what_it_finds() {
    use TaskState::*;
    let live = [
        (Accepted, None, Preparing, Effect::Prepare),
        (Ready, None, Preparing, Effect::Prepare),
        (Accepted, Some(Recovered::Created), Starting, Effect::Start),
        (Starting, Some(Recovered::Created), Starting, Effect::Start),
        (Accepted, Some(Recovered::Running(started())), Running, Effect::Wait),
        (Running, Some(Recovered::Running(started())), Running, Effect::Wait),
        (Running, Some(Recovered::Exited(exit(0))), Complete, Effect::Report),
        (Running, Some(Recovered::Exited(exit(9))), Failed, Effect::Report),
        (Running, None, Failed, Effect::Report),
        (Failed, Some(Recovered::Exited(exit(9))), Failed, Effect::Report),
        (Rejected, None, Rejected, Effect::Report),
        (Shutdown, Some(Recovered::Running(started())), Shutdown, Effect::Stop(true)),
    ];
    for (recorded, found, state, effect) in live {
        let mut task = TaskMachine::restored(DesiredState::Running, 5, &TaskStatus::new(recorded, NOW, ""));
        let effects = task.step(NOW, Input::Recovered(found.clone()));
        assert_eq!(task.state(), state, "{recorded:?} {found:?}");
        assert!(effects.contains(&effect), "{recorded:?} {found:?}: {effects:?}");
    }
}

#[test]
fn a_restart_obeys_an_order_to_stop_that_was_written_down() {
    let status = TaskStatus::new(TaskState::Running, NOW, "");
    let mut task = TaskMachine::restored(DesiredState::Shutdown, 5, &status);
    let effects = task.step(NOW, Input::Recovered(Some(Recovered::Running(started()))));
    assert!(effects.contains(&Effect::Stop(false)), "{effects:?}");
}

proptest! {
    #[test]
    fn no_order_of_events_takes_a_task_back_or_two_steps_at_once(picks in prop::collection::vec(0usize..23, 0..60)) {
        let mut task = TaskMachine::new(DesiredState::Ready, 5, NOW);
        let all = inputs();
        let (mut desired, mut now) = (task.desired(), NOW);
        for pick in picks {
            now = now + Duration::from_secs(1);
            let before = task.state();
            let effects = task.step(now, all[pick].clone());
            let steps = effects.iter().filter(|e| matches!(e, Effect::Prepare | Effect::Start | Effect::Remove)).count();
            prop_assert!(steps <= 1, "{effects:?}");
            prop_assert!(task.state() >= before && task.desired() >= desired);
            desired = task.desired();
        }
    }
}
