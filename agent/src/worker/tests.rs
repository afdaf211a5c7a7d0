use skep_proto::model::{ContainerSpec, DesiredState, PortConfig, Protocol, ServiceId, TaskSpec};

use super::*;
use crate::order::{Exited, Started};

const NOW: Moment = Moment(1_000);
const NODE: NodeId = NodeId::new(9);

fn template(version: u64) -> Template {
    let stop_grace = Duration::from_secs(version);
    Template {
        service: ServiceId::new(1),
        spec_version: version,
        service_name: "web".into(),
        service_labels: BTreeMap::new(),
        spec: TaskSpec { container: ContainerSpec { stop_grace, ..ContainerSpec::default() }, ..TaskSpec::default() },
        ports: Vec::new(),
    }
}

fn task(bits: u128, version: u64) -> TaskAssignment {
    TaskAssignment {
        task: TaskId::new(bits),
        template: (ServiceId::new(1), version),
        slot: 1,
        desired: DesiredState::Running,
        generation: 1,
    }
}

fn page(version: u64, tasks: &[TaskAssignment], end: bool) -> Orders {
    let templates = vec![(template(version).key(), Ok(template(version)))];
    Orders { complete: true, complete_end: end, templates, tasks: tasks.to_vec(), ..Orders::default() }
}

fn delta(tasks: &[TaskAssignment], removed: &[u128]) -> Orders {
    Orders { tasks: tasks.to_vec(), removed: removed.iter().copied().map(TaskId::new).collect(), ..Orders::default() }
}

/// Lets every step succeed until nothing is left to do, and returns what was done.
fn settle(worker: &mut Worker, effects: Vec<Effect>) -> Vec<Effect> {
    let (mut queue, mut done) = (effects, Vec::new());
    while let Some(effect) = queue.pop() {
        let (id, input) = match &effect {
            Effect::Prepare(order) => (order.task, Input::Prepared(Ok(()))),
            Effect::Start(id) => (*id, Input::Started(Ok(Started::default()))),
            Effect::Stop(id, _) => (*id, Input::Stopped(Ok(None))),
            Effect::Remove(id) => (*id, Input::Removed(Ok(()))),
            _ => {
                done.push(effect);
                continue;
            }
        };
        done.push(effect);
        queue.extend(worker.step(NOW, id, input));
    }
    done
}

fn running(tasks: &[TaskAssignment]) -> Worker {
    let mut worker = Worker::new(NODE);
    let effects = worker.order(NOW, page(1, tasks, true));
    settle(&mut worker, effects);
    worker
}

fn state(worker: &Worker, bits: u128) -> Option<TaskState> {
    worker.status(TaskId::new(bits)).map(|s| s.state)
}

#[test]
fn a_new_task_is_written_before_it_is_told_of() {
    let mut worker = Worker::new(NODE);
    let effects = worker.order(NOW, page(1, &[task(1, 1)], true));
    assert_eq!(effects[..2], [Effect::Persist(true), Effect::Report(TaskId::new(1), true)]);
    assert!(matches!(&effects[2], Effect::Prepare(order) if order.node == NODE && order.template.spec_version == 1));
}

#[test]
fn a_task_that_the_managers_know_as_ended_is_stopped_and_kept() {
    let mut worker = running(&[task(1, 1)]);
    worker.begin_session();
    let set = Orders { kept: vec![TaskId::new(1)], ..page(1, &[], true) };
    let effects = worker.order(NOW, set.clone());
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Stop(..))), "{effects:?}");
    settle(&mut worker, effects);
    assert_eq!(state(&worker, 1), Some(TaskState::Shutdown));
    worker.begin_session();
    assert!(worker.order(NOW, set).is_empty(), "it has ended");
}

#[test]
fn a_task_that_no_page_named_is_removed_after_the_last_page() {
    let mut worker = running(&[task(1, 1), task(2, 1), task(3, 1)]);
    worker.begin_session();
    let first = worker.order(NOW, page(1, &[task(1, 1)], false));
    assert_eq!(first, []);
    let last = worker.order(NOW, page(1, &[task(3, 1)], true));
    assert_eq!(last, [Effect::Stop(TaskId::new(2), Duration::from_secs(1))]);
    let done = settle(&mut worker, last);
    assert!(done.contains(&Effect::Remove(TaskId::new(2))) && done.contains(&Effect::Forget(TaskId::new(2))));
    assert_eq!(worker.ids().collect::<Vec<_>>(), [TaskId::new(1), TaskId::new(3)]);
}

#[test]
fn an_ended_task_that_is_history_keeps_its_container() {
    let mut worker = running(&[task(1, 1), task(2, 1)]);
    worker.step(NOW, TaskId::new(1), Input::Exited(Exited::default()));
    worker.begin_session();
    let set = Orders { kept: vec![TaskId::new(1)], ..page(1, &[task(2, 1)], true) };
    assert_eq!(worker.order(NOW, set), []);
    assert_eq!(state(&worker, 1), Some(TaskState::Complete));
}

#[test]
fn a_broken_off_complete_set_removes_nothing() {
    let mut worker = running(&[task(1, 1), task(2, 1)]);
    worker.begin_session();
    worker.order(NOW, page(1, &[task(1, 1)], false));
    worker.begin_session();
    assert_eq!(worker.order(NOW, page(1, &[task(1, 1), task(2, 1)], true)), []);
}

#[test]
fn a_difference_removes_only_what_it_names() {
    let mut worker = running(&[task(1, 1), task(2, 1)]);
    let effects = worker.order(NOW, delta(&[], &[1, 77]));
    settle(&mut worker, effects);
    assert_eq!(worker.ids().collect::<Vec<_>>(), [TaskId::new(2)]);
}

#[test]
fn the_same_set_again_changes_nothing() {
    let mut worker = running(&[task(1, 1)]);
    worker.begin_session();
    assert_eq!(worker.order(NOW, page(1, &[task(1, 1)], true)), []);
}

#[test]
fn a_template_stays_through_its_session_and_then_only_while_it_is_used() {
    let mut worker = running(&[task(1, 1)]);
    let effects = worker.order(NOW, delta(&[], &[1]));
    settle(&mut worker, effects);
    assert!(matches!(worker.order(NOW, delta(&[task(2, 1)], &[]))[2], Effect::Prepare(_)), "sent once a session");
    let effects = worker.order(NOW, delta(&[], &[2]));
    worker.step(NOW, TaskId::new(2), Input::Prepared(Ok(())));
    settle(&mut worker, effects);
    worker.step(NOW, TaskId::new(2), Input::Stopped(Ok(None)));
    worker.step(NOW, TaskId::new(2), Input::Removed(Ok(())));
    worker.begin_session();
    assert_eq!(worker.order(NOW, delta(&[task(3, 1)], &[])), [Effect::Resync]);
}

#[test]
fn templates_that_nobody_uses_are_bounded() {
    let mut worker = running(&[task(1, 1)]);
    for version in 2..1_000 {
        let templates = vec![(template(version).key(), Ok(template(version)))];
        worker.order(NOW, Orders { templates, ..Orders::default() });
    }
    assert_eq!(worker.specs.len(), IDLE_TEMPLATES_MAX + 1);
    assert!(worker.specs.contains_key(&template(999).key()) && worker.specs.contains_key(&template(1).key()));
}

#[test]
fn a_spec_that_cannot_be_read_rejects_its_tasks_alone() {
    let mut worker = Worker::new(NODE);
    let mut orders = page(1, &[task(1, 1), task(2, 2), task(3, 3)], true);
    let error = ConvertError::Missing { message: "task spec", field: "container" };
    orders.templates.push((template(2).key(), Err(error)));
    let effects = worker.order(NOW, orders);
    settle(&mut worker, effects);
    assert_eq!(state(&worker, 1), Some(TaskState::Running));
    assert_eq!(&*worker.status(TaskId::new(2)).unwrap().error, "read task spec: container is missing");
    assert_eq!(state(&worker, 3), Some(TaskState::Rejected), "its spec never came");
}

#[test]
fn a_restart_takes_up_what_runs_and_removes_what_nobody_claims() {
    let list = running(&[task(1, 1), task(2, 1), task(3, 1)]).list();
    let mut worker = Worker::new(NODE);
    let found = vec![
        (TaskId::new(1), Recovered::Running(Started { pid: 7, ..Started::default() })),
        (TaskId::new(2), Recovered::Exited(Exited { code: 4, ..Exited::default() })),
        (TaskId::new(8), Recovered::Running(Started::default())),
    ];
    let effects = worker.restore(NOW, list, found);
    assert_eq!(worker.status(TaskId::new(1)).unwrap().pid, 7);
    assert_eq!(worker.status(TaskId::new(2)).unwrap().exit_code, Some(4));
    assert_eq!(state(&worker, 3), Some(TaskState::Failed));
    assert!(effects.contains(&Effect::Wait(TaskId::new(1))));
    assert!(effects.contains(&Effect::Stop(TaskId::new(8), Duration::ZERO)));
    let done = settle(&mut worker, effects);
    assert!(done.contains(&Effect::Remove(TaskId::new(8))));
    assert!(!done.iter().any(|e| matches!(e, Effect::Prepare(_) | Effect::Start(_))), "nothing is started again");
}

#[test]
fn a_task_that_comes_again_waits_until_its_old_container_is_gone() {
    let id = TaskId::new(1);
    let mut worker = Worker::new(NODE);
    let effects = worker.restore(NOW, TaskList::default(), vec![(id, Recovered::Created)]);
    assert_eq!(effects, [Effect::Stop(id, Duration::ZERO)]);
    let effects = worker.order(NOW, page(1, &[task(1, 1)], true));
    assert!(effects.iter().all(|effect| matches!(effect, Effect::Persist(_) | Effect::Report(..))), "{effects:?}");
    assert_eq!(worker.step(NOW, id, Input::Stopped(Ok(None))), [Effect::Remove(id)]);
    let effects = worker.step(NOW, id, Input::Removed(Ok(())));
    assert!(matches!(effects.as_slice(), [Effect::Prepare(_)]), "{effects:?}");
    let done = settle(&mut worker, effects);
    assert!(!done.contains(&Effect::Remove(id)), "{done:?}");
    assert_eq!(state(&worker, 1), Some(TaskState::Running));
}

#[test]
fn a_task_that_came_again_and_went_while_its_old_container_was_there_is_forgotten() {
    let id = TaskId::new(1);
    let mut worker = Worker::new(NODE);
    let stop = worker.restore(NOW, TaskList::default(), vec![(id, Recovered::Created)]);
    worker.order(NOW, page(1, &[task(1, 1)], true));
    worker.order(NOW, delta(&[], &[1]));
    let done = settle(&mut worker, stop);
    assert!(!done.contains(&Effect::Start(id)) && done.contains(&Effect::Forget(id)), "{done:?}");
    assert!(worker.is_empty());
}

#[test]
fn leaving_kills_and_removes_everything() {
    let mut worker = running(&[task(1, 1), task(2, 1)]);
    let effects = worker.leave(NOW);
    assert_eq!(effects.len(), 2);
    assert!(effects.iter().all(|e| matches!(e, Effect::Stop(_, Duration::ZERO))));
    settle(&mut worker, effects);
    assert!(worker.is_empty());
}

#[test]
fn a_running_task_tells_its_host_mode_ports() {
    let mut worker = Worker::new(NODE);
    let mut orders = page(1, &[task(1, 1)], true);
    let port = |mode| PortConfig { protocol: Protocol::Tcp, target: 80, published: 8080, mode };
    let ports = vec![port(PublishMode::Ingress), port(PublishMode::Host)];
    orders.templates[0].1 = Ok(Template { ports, ..template(1) });
    let effects = worker.order(NOW, orders);
    assert_eq!(worker.status(TaskId::new(1)).unwrap().ports, []);
    settle(&mut worker, effects);
    assert_eq!(worker.status(TaskId::new(1)).unwrap().ports, [port(PublishMode::Host)]);
}

#[test]
fn a_retry_comes_with_its_time() {
    let mut worker = Worker::new(NODE);
    worker.order(NOW, page(1, &[task(1, 1)], true));
    let fault = crate::order::Fault { blame: crate::order::Blame::Temporary, reason: "busy".into() };
    worker.step(NOW, TaskId::new(1), Input::Prepared(Err(fault)));
    let at = worker.wake_at().unwrap();
    assert_eq!(worker.tick(NOW), []);
    assert!(matches!(worker.tick(at)[..], [Effect::Prepare(_)]));
    assert_eq!(worker.wake_at(), None);
}
