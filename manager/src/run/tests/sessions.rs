//! Sessions: tasks out, reports back, silence noticed.

use std::time::Duration;

use skep_proto::model::moment::millis;
use skep_proto::model::{NodeRole, NodeState, TaskId, TaskState};
use skep_proto::pb;
use skep_proto::pb::agent_message::Message as Said;
use skep_proto::pb::control_client::ControlClient;
use skep_proto::pb::manager_message::Message as Heard;
use tonic::Code;

use super::client::World;
use super::services::{create, replicated};
use crate::store::Change;

const SLOW: Duration = Duration::from_secs(60);
const QUICK: Duration = Duration::from_millis(100);

fn report(seq: u64, task: &[u8], state: pb::TaskState) -> Said {
    let status = pb::TaskStatus { state: state.into(), at: 1, message: "seen".into(), ..Default::default() };
    Said::Report(pb::StatusReport { seq, tasks: vec![pb::TaskReport { task: task.to_vec(), status: Some(status) }] })
}

#[tokio::test]
async fn a_session_gets_its_tasks_and_reports_are_acknowledged_once_stored() {
    let world = World::new(SLOW).await;
    let member = world.join().await;
    let mut agent = world.open(&member).await;
    let first = agent.assignments().await;
    assert!(first.complete && first.complete_end && first.tasks.is_empty());
    world.until_node(member.id, NodeState::Ready).await;
    create(&world, replicated("web", 1)).await;
    let assigned = agent.assignments().await;
    let ([task], [template]) = (assigned.tasks.as_slice(), assigned.templates.as_slice()) else {
        panic!("{assigned:?}")
    };
    assert!(!assigned.complete);
    assert_eq!((template.service_name.as_str(), task.slot), ("web", 1));
    let id = TaskId::from_bytes(&task.task).unwrap();
    agent.say(report(1, &task.task, pb::TaskState::Preparing)).await;
    assert_eq!(agent.hear().await, Some(Heard::Ack(pb::Ack { seq: 1, ..Default::default() })));
    let seen = |world: &World| world.store.read().task(id).map(|task| world.store.soft().status(task).state);
    assert_eq!(seen(&world), Some(TaskState::Preparing));
    assert_eq!(world.store.read().task(id).unwrap().status.state, TaskState::Assigned, "soft states are not stored");
    agent.say(report(2, &task.task, pb::TaskState::Running)).await;
    assert_eq!(agent.hear().await, Some(Heard::Ack(pb::Ack { seq: 2, ..Default::default() })));
    assert_eq!(world.store.read().task(id).unwrap().status.state, TaskState::Running);
    world.front.close().await;
}

#[tokio::test]
async fn only_the_tasks_own_node_may_report_on_it() {
    let world = World::new(SLOW).await;
    let (owner, other) = (world.join().await, world.join().await);
    let mut agent = world.open(&owner).await;
    world.until_node(owner.id, NodeState::Ready).await;
    create(&world, replicated("web", 1)).await;
    agent.assignments().await;
    let task = agent.assignments().await.tasks[0].task.clone();
    let mut liar = world.open(&other).await;
    liar.assignments().await;
    liar.say(report(1, &task, pb::TaskState::Failed)).await;
    let Some(Heard::Ack(ack)) = liar.hear().await else { panic!("an acknowledgement") };
    assert_eq!(ack.seq, 1);
    assert!(ack.refused.contains("it is not a task of node"), "{ack:?}");
    let id = TaskId::from_bytes(&task).unwrap();
    assert_eq!(world.store.read().task(id).unwrap().status.state, TaskState::Assigned);
}

#[tokio::test]
async fn a_node_is_told_its_role_at_first_and_whenever_it_changes() {
    let world = World::new(SLOW).await;
    let member = world.join().await;
    let mut agent = world.call(&member).await;
    agent.say(Said::Hello(Box::new(super::client::hello("n")))).await;
    let Some(Heard::Welcome(welcome)) = agent.hear().await else { panic!("a welcome") };
    assert_eq!(welcome.standing, Some(pb::Standing { role: pb::NodeRole::Worker.into(), ..Default::default() }));
    world.until_node(member.id, NodeState::Ready).await;
    for role in [NodeRole::Manager, NodeRole::Worker] {
        world.set_role(member.id, role).await;
        let told = loop {
            if let Heard::Standing(standing) = agent.hear().await.expect("the session lives") {
                break standing;
            }
        };
        assert_eq!(told.role(), pb::NodeRole::from(role));
    }
}

#[tokio::test]
async fn silence_is_down_and_a_beat_is_life() {
    let world = World::new(QUICK).await;
    let (silent, beating) = (world.join().await, world.join().await);
    let mut quiet = world.open(&silent).await;
    let loud = world.open(&beating).await;
    world.until_node(silent.id, NodeState::Ready).await;
    world.until_node(beating.id, NodeState::Ready).await;
    let beat = async {
        let mut every = tokio::time::interval(QUICK / 2);
        loop {
            every.tick().await;
            loud.say(Said::Heartbeat(pb::Heartbeat::default())).await;
        }
    };
    let noticed = async {
        world.until_node(silent.id, NodeState::Down).await;
        let words = quiet.farewell().await;
        assert!(words.reason.contains("no heartbeat"), "{words:?}");
    };
    tokio::select! {
        () = beat => {}
        () = noticed => {}
    }
    let state = world.store.read();
    assert_eq!(state.node(beating.id).unwrap().status.state, NodeState::Ready);
    assert!(state.node(silent.id).unwrap().status.message.contains("no heartbeat for 0.2 s"));
}

#[tokio::test]
async fn who_leaves_is_down_at_once_and_who_stops_may_come_back() {
    let world = World::new(SLOW).await;
    let (leaver, stopper) = (world.join().await, world.join().await);
    let (leaving, stopping) = (world.open(&leaver).await, world.open(&stopper).await);
    world.until_node(leaver.id, NodeState::Ready).await;
    world.until_node(stopper.id, NodeState::Ready).await;
    stopping.say(Said::Goodbye(pb::Goodbye { leaving: false })).await;
    leaving.say(Said::Goodbye(pb::Goodbye { leaving: true })).await;
    world.until_node(leaver.id, NodeState::Down).await;
    world.until_node(stopper.id, NodeState::Disconnected).await;
    world.until_node(stopper.id, NodeState::Down).await;
    assert_eq!(world.store.read().node(stopper.id).unwrap().status.message, "the node was stopped");
    drop(world.open(&stopper).await);
    world.until_node(stopper.id, NodeState::Ready).await;
}

#[tokio::test]
async fn a_second_session_ends_the_first() {
    let world = World::new(SLOW).await;
    let member = world.join().await;
    let mut first = world.open(&member).await;
    let mut second = world.open(&member).await;
    assert!(first.farewell().await.reason.contains("another session"));
    assert!(first.hear().await.is_none());
    assert!(second.assignments().await.complete_end);
}

#[tokio::test]
async fn a_removed_node_is_told_so_and_not_let_in_again() {
    let world = World::new(SLOW).await;
    let member = world.join().await;
    let mut agent = world.open(&member).await;
    world.until_node(member.id, NodeState::Ready).await;
    let version = world.store.read().node(member.id).unwrap().meta.version;
    world.propose(vec![Change::RemoveNode { node: member.id, if_version: version }]).await;
    assert!(agent.farewell().await.removed);
    // One that was away and comes back later hears the same.
    let mut again = world.call(&member).await;
    assert!(again.farewell().await.removed);
    assert!(again.hear().await.is_none());
}

#[tokio::test]
async fn a_session_begins_with_a_hello() {
    let world = World::new(SLOW).await;
    let member = world.join().await;
    drop(world.open(&member).await);
    let mut agent = world.call(&member).await;
    agent.say(Said::Heartbeat(pb::Heartbeat::default())).await;
    let refused = agent.inbound.message().await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

/// Changes the cluster's heartbeat, as `swarm update` does.
async fn change_heartbeat(world: &World, heartbeat_ms: u64) -> Result<pb::ClusterReply, tonic::Status> {
    let mut control = ControlClient::new(world.connect(Some(&world.founder())).await);
    let cluster = control.get_cluster(pb::Empty {}).await?.into_inner().cluster.unwrap();
    let spec = Some(pb::ClusterSpec { heartbeat_ms, ..cluster.spec.unwrap() });
    let version = cluster.meta.unwrap().version;
    Ok(control.update_cluster(pb::UpdateClusterRequest { version, spec }).await?.into_inner())
}

#[tokio::test]
async fn another_heartbeat_reaches_every_session_and_nobody_flaps() {
    let world = World::new(SLOW).await;
    let member = world.join().await;
    let mut agent = world.open(&member).await;
    world.until_node(member.id, NodeState::Ready).await;
    for wanted in [QUICK, SLOW, QUICK * 2] {
        let reply = change_heartbeat(&world, millis(wanted)).await.unwrap();
        assert_eq!(reply.cluster.unwrap().spec.unwrap().heartbeat_ms, millis(wanted));
        let heard = loop {
            if let Heard::Heartbeat(period) = agent.hear().await.expect("the session lives") {
                break period.heartbeat_ms;
            }
        };
        assert!((millis(wanted) * 9 / 10..=millis(wanted)).contains(&heard), "{heard} of {wanted:?}");
    }
    let mut alive = tokio::time::interval(QUICK);
    for _ in 0..10 {
        alive.tick().await;
        assert_eq!(world.store.read().node(member.id).unwrap().status.state, NodeState::Ready);
    }
    world.front.close().await;
}

#[tokio::test]
async fn a_heartbeat_out_of_range_changes_nothing() {
    let world = World::new(SLOW).await;
    let before = world.store.read().cluster().unwrap().meta.version;
    let refused = change_heartbeat(&world, 1).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(world.store.read().cluster().unwrap().meta.version, before);
}
