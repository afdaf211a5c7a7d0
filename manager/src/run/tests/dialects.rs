//! Managers whose binaries read the log differently take no part with each other.

use skep_proto::pb;
use skep_proto::pb::membership_client::MembershipClient;
use skep_proto::pb::raft_client::RaftClient;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::client::{Member, channel};
use super::group::{Seat, certified, end, founded, write};
use crate::dialect::DIALECT;

/// A connection of a machine with a manager's certificate.
async fn connection(at: &Seat) -> Channel {
    let identity = certified(at).await;
    let member = Member { id: identity.node, certificate: identity.certificate, key: identity.key };
    channel(at.manager().address(), &identity.root, Some(&member)).await
}

fn is_refused(refused: &Status, dialect: u32) {
    let older = if dialect < DIALECT { "older" } else { "newer" };
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains(&format!("its skep is {older} than this one's")), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_speaks_another_dialect_is_let_in_by_nobody_and_heard_by_nobody() {
    let first = founded().await;
    let channel = connection(&first).await;
    let before = first.manager().group();
    for dialect in [0, DIALECT + 1] {
        let join = pb::RaftJoinRequest { raft_id: 77, address: "127.0.0.1:9".into(), era: None, dialect };
        let refused = MembershipClient::new(channel.clone()).join(join).await.unwrap_err();
        is_refused(&refused, dialect);
        assert!(refused.message().starts_with("failed to join as a manager: "), "{refused}");
        // It cannot even be read, which would be told if anybody tried.
        let batch = pb::RaftBatch { from: 77, messages: vec![b"no message".to_vec()], dialect, ..Default::default() };
        let refused = RaftClient::new(channel.clone()).converse(tokio_stream::once(batch)).await.unwrap_err();
        is_refused(&refused, dialect);
        let part = pb::SnapshotPart { message: b"no message".to_vec(), dialect, ..Default::default() };
        let refused = RaftClient::new(channel.clone()).send_state(tokio_stream::once(part)).await.unwrap_err();
        is_refused(&refused, dialect);
    }
    let batch =
        pb::RaftBatch { from: 77, messages: vec![b"no message".to_vec()], dialect: DIALECT, ..Default::default() };
    let malformed = RaftClient::new(channel.clone()).converse(tokio_stream::once(batch)).await.unwrap_err();
    assert_eq!(malformed.code(), Code::InvalidArgument, "{malformed}");
    let probe = MembershipClient::new(channel).probe(pb::RaftProbeRequest::default()).await.unwrap().into_inner();
    assert_eq!(probe.dialect, DIALECT);
    assert_eq!(first.manager().group().members, before.members);
    write(&first, "on").await.unwrap();
    end(vec![first]).await;
}
