//! Whole managers, asked by people and nodes through one that does not lead.
#![expect(clippy::disallowed_methods, reason = "callers and services of the test run beside it")]

use std::time::Duration;

use skep_proto::model::{NodeId, NodeState};
use skep_proto::pb;
use skep_proto::pb::ca_client::CaClient;
use skep_proto::pb::control_client::ControlClient;
use skep_proto::pb::log_broker_client::LogBrokerClient;
use tonic::Code;

use super::super::client::{PATIENCE, request};
use super::super::services::replicated;
use super::group::{Group, member};

async fn nodes(group: &Group, at: u64) -> Vec<(String, bool, bool, bool)> {
    let mut control = ControlClient::new(group.local(at));
    let mut stream = control.list_nodes(pb::ListNodesRequest::default()).await.unwrap().into_inner();
    let mut nodes = Vec::new();
    while let Some(entry) = stream.message().await.unwrap() {
        let name = entry.node.unwrap().description.unwrap_or_default().hostname;
        nodes.push((name, entry.leader, entry.reachable, entry.self_));
    }
    nodes.sort();
    nodes
}

#[tokio::test]
async fn services_are_made_and_seen_through_any_manager() {
    let group = Group::new(3).await;
    for (at, name) in [(1, "one"), (2, "two"), (3, "three")] {
        let spec = Some(replicated(name, 0));
        ControlClient::new(group.local(at)).create_service(pb::CreateServiceRequest { spec }).await.unwrap();
    }
    for at in [1, 2, 3] {
        let mut control = ControlClient::new(group.local(at));
        let mut stream = control.list_services(pb::ListServicesRequest::default()).await.unwrap().into_inner();
        let mut count = 0;
        while stream.message().await.unwrap().is_some() {
            count += 1;
        }
        assert_eq!(count, 3, "at manager {at}");
        let taken = control.create_service(pb::CreateServiceRequest { spec: Some(replicated("one", 0)) }).await;
        assert_eq!(taken.unwrap_err().code(), Code::AlreadyExists);
    }
}

#[tokio::test]
async fn node_ls_marks_the_manager_that_was_asked_and_those_that_raft_hears() {
    let group = Group::new(3).await;
    group.manager(1).raft.heard.send_replace([1, 3].into());
    for (at, own) in [(1, "m1"), (2, "m2"), (3, "m3")] {
        let expected = [("m1", true, true), ("m2", false, false), ("m3", false, true)];
        let expected = expected.map(|(name, leader, reachable)| (name.to_owned(), leader, reachable, name == own));
        assert_eq!(nodes(&group, at).await, expected, "at manager {at}");
    }
}

#[tokio::test]
async fn nodes_join_and_renew_through_a_follower_and_get_no_further() {
    let group = Group::new(2).await;
    let worker = group.common.join(group.manager(2).front.address()).await;
    assert!(group.common.store.read().node(worker.id).is_some());
    let channel = group.connect(2, Some(&worker)).await;
    let reply = CaClient::new(channel.clone()).renew(pb::RenewRequest { csr: request().0 }).await.unwrap();
    assert_eq!(NodeId::from_bytes(&reply.into_inner().node_id), Ok(worker.id));
    let refused = ControlClient::new(channel).get_cluster(pb::Empty {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let stranger = group.connect(2, None).await;
    let refused = ControlClient::new(stranger.clone()).get_cluster(pb::Empty {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    group.lead(None);
    let root = CaClient::new(stranger).get_root(pb::GetRootRequest {}).await.unwrap().into_inner();
    assert_eq!(root.certificate, group.common.root, "the root needs no leader");
}

#[tokio::test]
async fn a_manager_manages_through_another() {
    let group = Group::new(3).await;
    let by = member(&group.manager(3).identity);
    let cluster = ControlClient::new(group.connect(2, Some(&by)).await).get_cluster(pb::Empty {}).await.unwrap();
    assert_eq!(cluster.into_inner().managers, 3);
}

#[tokio::test]
async fn a_renewed_manager_passes_calls_on_with_its_new_certificate() {
    let group = Group::new(2).await;
    assert_eq!(nodes(&group, 2).await.len(), 2);
    let follower = group.manager(2);
    let renewed = group.common.sign(follower.identity.node);
    follower.front.use_identity(&renewed).unwrap();
    assert_eq!(nodes(&group, 2).await.len(), 2);
}

/// A node that answers what it is asked for with one line, and goes on when that is wanted.
async fn publish(broker: &mut LogBrokerClient<tonic::transport::Channel>, asked: &pb::LogSubscription) {
    let line = pb::LogLine { task: asked.tasks[0].clone(), data: "hello".into(), ..Default::default() };
    let first = pb::PublishRequest { subscription: asked.id.clone(), lines: vec![line], error: String::new() };
    let more = tokio_stream::StreamExt::chain(tokio_stream::iter([first]), tokio_stream::pending());
    let _ = broker.publish(more).await;
}

#[tokio::test]
async fn logs_are_followed_through_a_follower_until_the_reader_goes() {
    let group = Group::new(2).await;
    let worker = group.common.join(group.manager(1).front.address()).await;
    let channel = group.connect(1, Some(&worker)).await;
    let session = super::super::client::session(channel.clone(), &worker).await;
    super::super::client::until_node(&group.common.store, worker.id, NodeState::Ready).await;
    let mut control = ControlClient::new(group.local(2));
    control.create_service(pb::CreateServiceRequest { spec: Some(replicated("web", 1)) }).await.unwrap();
    let obeying = tokio::spawn(super::super::services::obey(session));
    let watch = pb::WatchServiceRequest { r#ref: "web".into(), until_removed: false };
    let mut progress = control.watch_service(watch).await.unwrap().into_inner();
    while let Some(seen) = progress.message().await.unwrap() {
        assert!(!seen.removed);
    }
    let mut broker = LogBrokerClient::new(channel);
    let mut listen = broker.listen(pb::ListenRequest {}).await.unwrap().into_inner();
    let options = Some(pb::LogOptions { follow: true, tail: -1, ..Default::default() });
    let wanted = pb::ServiceLogsRequest { refs: vec!["web".into()], options };
    let mut reader = control.service_logs(wanted).await.unwrap().into_inner();
    let asked = listen.message().await.unwrap().unwrap();
    let publishing = tokio::spawn({
        let (mut broker, asked) = (broker.clone(), asked.clone());
        async move { publish(&mut broker, &asked).await }
    });
    let reply = tokio::time::timeout(PATIENCE, reader.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(reply.lines[0].data.as_ref(), b"hello");
    assert!(tokio::time::timeout(Duration::from_millis(200), reader.message()).await.is_err(), "it goes on");
    drop(reader);
    let close = tokio::time::timeout(PATIENCE, listen.message()).await.unwrap().unwrap().unwrap();
    assert!(close.close && close.id == asked.id);
    publishing.abort();
    obeying.abort();
}
