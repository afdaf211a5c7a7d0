//! Log lines on their way from an agent to a reader.

use std::time::Duration;

use skep_proto::model::NodeState;
use skep_proto::pb;
use skep_proto::pb::control_client::ControlClient;
use skep_proto::pb::log_broker_client::LogBrokerClient;
use tonic::{Code, Streaming};

use super::client::{Member, PATIENCE, World};
use super::services::{create, obey, replicated};

const SLOW: Duration = Duration::from_secs(60);

async fn read(world: &World, follow: bool) -> Streaming<pb::ServiceLogsReply> {
    let options = pb::LogOptions { follow, tail: -1, ..Default::default() };
    let request = pb::ServiceLogsRequest { refs: vec!["web".into()], options: Some(options) };
    let mut control = ControlClient::new(world.connect(Some(&world.founder())).await);
    control.service_logs(request).await.unwrap().into_inner()
}

/// A world in which the service `web` runs one task on that node.
async fn running() -> (World, Member) {
    let world = World::new(SLOW).await;
    let member = world.join().await;
    let agent = world.open(&member).await;
    world.until_node(member.id, NodeState::Ready).await;
    create(&world, replicated("web", 1)).await;
    let running = |store: &crate::store::Store| {
        store.read().tasks().any(|task| task.status.state == skep_proto::model::TaskState::Running)
    };
    tokio::select! {
        () = obey(agent) => panic!("the session ended"),
        () = world.until("a running task", running) => {}
    }
    (world, member)
}

fn line(task: &[u8], text: &str) -> pb::LogLine {
    pb::LogLine { task: task.to_vec(), data: text.as_bytes().to_vec().into(), ..Default::default() }
}

#[tokio::test]
async fn lines_come_with_names_and_the_stream_ends_with_the_last_node() {
    let (world, member) = running().await;
    let mut broker = LogBrokerClient::new(world.connect(Some(&member)).await);
    let mut listen = broker.listen(pb::ListenRequest {}).await.unwrap().into_inner();
    let mut reader = read(&world, false).await;
    let agent = async {
        let asked = listen.message().await.unwrap().unwrap();
        let options = asked.options.unwrap();
        assert!(options.stdout && options.stderr && !options.follow);
        let lines = vec![line(&asked.tasks[0], "hello")];
        let message = pb::PublishRequest { subscription: asked.id, lines, error: String::new() };
        broker.publish(tokio_stream::iter([message])).await.unwrap();
    };
    let (first, ()) = tokio::join!(reader.message(), agent);
    let reply = first.unwrap().unwrap();
    assert_eq!(reply.lines[0].data.as_ref(), b"hello");
    assert_eq!(reply.lines[0].node, member.id.to_bytes(), "the certificate says whose line it is");
    assert_eq!(reply.sources[0].service_name, "web");
    assert!(reader.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_node_that_does_not_listen_costs_a_warning_and_no_wait() {
    let (world, _) = running().await;
    let mut reader = read(&world, false).await;
    let reply = tokio::time::timeout(PATIENCE, reader.message()).await.unwrap().unwrap().unwrap();
    assert!(reply.warning.contains("is not connected"), "{}", reply.warning);
    assert!(reader.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_node_may_only_publish_what_it_was_asked_for() {
    let (world, member) = running().await;
    let other = world.join().await;
    let mut broker = LogBrokerClient::new(world.connect(Some(&member)).await);
    let mut listen = broker.listen(pb::ListenRequest {}).await.unwrap().into_inner();
    let mut reader = read(&world, false).await;
    let (asked, _) = tokio::join!(listen.message(), async {
        tokio::time::timeout(Duration::from_millis(1), reader.message()).await
    });
    let asked = asked.unwrap().unwrap();
    let message = pb::PublishRequest { subscription: asked.id, lines: vec![line(&[9; 16], "x")], error: String::new() };
    let mut liar = LogBrokerClient::new(world.connect(Some(&other)).await);
    let refused = liar.publish(tokio_stream::iter([message.clone()])).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound, "another node's part: {refused}");
    let (refused, reply) = tokio::join!(broker.publish(tokio_stream::iter([message])), reader.message());
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    assert!(reply.unwrap().unwrap().warning.contains("broke off"));
}

#[tokio::test]
async fn who_follows_hears_a_daemon_that_was_stopped_and_started_again() {
    let (world, member) = running().await;
    let mut broker = LogBrokerClient::new(world.connect(Some(&member)).await);
    let mut listen = broker.listen(pb::ListenRequest {}).await.unwrap().into_inner();
    let mut reader = read(&world, true).await;
    let mut asked = Vec::new();
    for (at, text) in [(5, "before"), (6, "after")] {
        let part = listen.message().await.unwrap().unwrap();
        let lines = vec![pb::LogLine { at, ..line(&part.tasks[0], text) }];
        asked.push(part.options.unwrap().since);
        let message = pb::PublishRequest { subscription: part.id, lines, error: String::new() };
        // The stream ends though the task goes on.
        broker.publish(tokio_stream::iter([message])).await.unwrap();
        assert_eq!(reader.message().await.unwrap().unwrap().lines[0].data.as_ref(), text.as_bytes());
        while !listen.message().await.unwrap().unwrap().close {}
    }
    assert_eq!(asked, [0, 5]);
}

#[tokio::test]
async fn a_reader_that_goes_ends_the_agents_part() {
    let (world, member) = running().await;
    let mut broker = LogBrokerClient::new(world.connect(Some(&member)).await);
    let mut listen = broker.listen(pb::ListenRequest {}).await.unwrap().into_inner();
    let reader = read(&world, true).await;
    let asked = listen.message().await.unwrap().unwrap();
    drop(reader);
    let close = tokio::time::timeout(PATIENCE, listen.message()).await.unwrap().unwrap().unwrap();
    assert!(close.close && close.id == asked.id);
    let late = pb::PublishRequest { subscription: asked.id, ..Default::default() };
    assert_eq!(broker.publish(tokio_stream::iter([late])).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn who_follows_hears_a_node_that_listens_a_moment_later() {
    let (world, member) = running().await;
    let mut reader = read(&world, true).await;
    assert!(tokio::time::timeout(Duration::from_millis(200), reader.message()).await.is_err(), "it waits in silence");
    let mut broker = LogBrokerClient::new(world.connect(Some(&member)).await);
    let mut listen = broker.listen(pb::ListenRequest {}).await.unwrap().into_inner();
    let asked = tokio::time::timeout(PATIENCE, listen.message()).await.unwrap().unwrap().unwrap();
    let lines = vec![line(&asked.tasks[0], "late")];
    let message = pb::PublishRequest { subscription: asked.id, lines, error: String::new() };
    broker.publish(tokio_stream::iter([message])).await.unwrap();
    let reply = tokio::time::timeout(PATIENCE, reader.message()).await.unwrap().unwrap().unwrap();
    assert_eq!((reply.lines[0].data.as_ref(), reply.warning.as_str()), (&b"late"[..], ""));
}

#[tokio::test]
async fn who_follows_is_told_once_of_a_node_that_never_listens() {
    let (world, _) = running().await;
    let mut reader = read(&world, true).await;
    let reply = tokio::time::timeout(PATIENCE, reader.message()).await.unwrap().unwrap().unwrap();
    assert!(reply.warning.contains("is not connected"), "{}", reply.warning);
    assert!(tokio::time::timeout(Duration::from_secs(1), reader.message()).await.is_err(), "once is enough");
}
