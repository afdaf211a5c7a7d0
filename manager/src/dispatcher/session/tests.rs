use super::*;
use crate::fixture::{World, node_id, replicated};
use skep_proto::model::Slot;

/// A world in which node 1 has one task, and what a report of it looks like.
fn world() -> (World, TaskId) {
    let mut world = World::new(1);
    let service = world.create(replicated(1));
    let task = world.task(service, Slot::Replica(1));
    world.place();
    (world, task)
}

fn report(seq: u64, task: TaskId, state: TaskState) -> pb::AgentMessage {
    let status = pb::TaskStatus { state: pb::TaskState::from(state).into(), at: 7, ..Default::default() };
    let tasks = vec![pb::TaskReport { task: task.to_bytes(), status: Some(status) }];
    pb::AgentMessage { message: Some(Heard::Report(pb::StatusReport { seq, tasks })) }
}

fn ack(seq: u64) -> Effect {
    Effect::Send(say(Said::Ack(pb::Ack { seq, refused: String::new() })))
}

#[test]
fn running_and_the_ends_go_to_raft_and_the_rest_to_memory() {
    let (world, task) = world();
    let mut session = Session::new(node_id(1));
    for state in [TaskState::Accepted, TaskState::Preparing, TaskState::Ready, TaskState::Starting] {
        let effects = session.hear(report(1, task, state), &world.state).unwrap();
        assert!(matches!(effects.as_slice(), [Effect::Note(_), Effect::Send(_)]), "{effects:?}");
    }
    for state in [TaskState::Running, TaskState::Complete, TaskState::Failed, TaskState::Rejected] {
        let effects = session.hear(report(2, task, state), &world.state).unwrap();
        let [Effect::Store { seq: 2, reported }] = effects.as_slice() else { panic!("{effects:?}") };
        assert_eq!((reported[0].node, reported[0].status.state), (Some(node_id(1)), state));
    }
}

#[test]
fn nothing_is_acknowledged_past_a_report_that_is_not_committed() {
    let (world, task) = world();
    let mut session = Session::new(node_id(1));
    assert_eq!(session.hear(report(1, task, TaskState::Running), &world.state).unwrap().len(), 1);
    let soft = session.hear(report(2, task, TaskState::Accepted), &world.state).unwrap();
    assert!(matches!(soft.as_slice(), [Effect::Note(_)]), "report 1 is still on its way: {soft:?}");
    assert_eq!(Effect::Send(session.committed(1)), ack(2));
}

#[test]
fn what_is_known_is_acknowledged_at_once_and_not_stored_again() {
    let (mut world, task) = world();
    world.report(task, TaskState::Running);
    let mut session = Session::new(node_id(1));
    let effects = session.hear(report(5, task, TaskState::Running), &world.state).unwrap();
    assert_eq!(effects, [ack(5)]);
}

#[test]
fn other_nodes_tasks_are_refused_and_unknown_ones_passed_over() {
    let (world, task) = world();
    let mut session = Session::new(node_id(2));
    let effects = session.hear(report(1, task, TaskState::Failed), &world.state).unwrap();
    let refused = format!("take the report on task {task}: it is not a task of node {}", node_id(2));
    let told = Effect::Send(say(Said::Ack(pb::Ack { seq: 1, refused })));
    assert_eq!(effects, [Effect::Foreign(task), told]);
    assert_eq!(session.hear(report(2, TaskId::new(99), TaskState::Failed), &world.state).unwrap(), [ack(2)]);
    let mut own = Session::new(node_id(1));
    assert_eq!(own.hear(report(1, TaskId::new(99), TaskState::Failed), &world.state).unwrap(), [ack(1)]);
}

#[test]
fn malformed_messages_end_the_session() {
    let (world, _) = world();
    let mut session = Session::new(node_id(1));
    let bad_id = pb::StatusReport { seq: 1, tasks: vec![pb::TaskReport { task: vec![1], status: None }] };
    let messages = [None, Some(Heard::Hello(Box::default())), Some(Heard::Report(bad_id))];
    for message in messages {
        assert!(session.hear(pb::AgentMessage { message }, &world.state).is_err());
    }
}

fn beat(seq: u64) -> pb::AgentMessage {
    pb::AgentMessage { message: Some(Heard::Heartbeat(pb::Heartbeat { seq, ..Default::default() })) }
}

#[test]
fn a_contact_comes_after_all_that_was_decided_and_only_to_a_node_that_counts_as_ready() {
    let (mut world, task) = world();
    let mut session = Session::new(node_id(1));
    session.refresh(&world.state);
    assert_eq!(session.hear(beat(0), &world.state).unwrap(), []);
    assert_eq!(session.hear(beat(4), &world.state).unwrap(), [Effect::Witness(4)]);
    world.desire(task, skep_proto::model::DesiredState::Shutdown);
    world.turn(1, NodeState::Down);
    assert!(session.contact(4, &world.state).is_empty());
    world.turn(1, NodeState::Ready);
    let said = session.contact(4, &world.state);
    let [orders, contact] = said.as_slice() else { panic!("{said:?}") };
    assert!(matches!(&orders.message, Some(Said::Assignments(orders)) if orders.tasks.len() == 1), "{orders:?}");
    assert_eq!(contact.message, Some(Said::Contact(pb::Contact { seq: 4 })));
    assert_eq!(session.contact(5, &world.state).len(), 1, "nothing more was decided");
}

#[test]
fn the_first_contact_of_a_session_comes_after_the_complete_set() {
    let (world, _) = world();
    let said = Session::new(node_id(1)).contact(1, &world.state);
    let complete = said.iter().position(|it| matches!(&it.message, Some(Said::Assignments(set)) if set.complete_end));
    let contact = said.iter().position(|it| matches!(it.message, Some(Said::Contact(_))));
    assert!(complete.is_some() && complete < contact, "{said:?}");
}
