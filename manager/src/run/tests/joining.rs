//! Who may join, and who may do what once it has.

use std::time::Duration;

use skep_proto::model::{JoinAttempt, NodeId, NodeRole, NodeState};
use skep_proto::pb;
use skep_proto::pb::ca_client::CaClient;
use skep_proto::pb::control_client::ControlClient;
use skep_proto::pb::dispatcher_client::DispatcherClient;
use tonic::Code;

use super::client::{Member, World, request};
use crate::caller::Identity;

const SLOW: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_worker_joins_by_token_and_is_written_down_before_it_is_told() {
    let world = World::new(SLOW).await;
    let member = world.join().await;
    let node = world.store.read().node(member.id).cloned().unwrap();
    assert_eq!((node.role, node.status.state), (NodeRole::Worker, NodeState::Unknown));
    assert_eq!(node.certificate, member.certificate);
    world.front.close().await;
}

#[tokio::test]
async fn a_managers_token_makes_a_manager_that_is_no_member_of_raft_yet() {
    let world = World::new(SLOW).await;
    let member = world.join_with(world.manager_token()).await;
    let node = world.store.read().node(member.id).cloned().unwrap();
    assert_eq!((node.role, node.spec.role, node.manager.clone()), (NodeRole::Manager, NodeRole::Manager, None));
    let der = rustls_pki_types::pem::PemObject::from_pem_slice(member.certificate.as_bytes()).unwrap();
    let der: rustls_pki_types::CertificateDer<'_> = der;
    assert_eq!(Identity::of_certificate(&der).unwrap().role, NodeRole::Manager);
    let mut control = ControlClient::new(world.connect(Some(&member)).await);
    assert_eq!(control.get_cluster(pb::Empty {}).await.unwrap().into_inner().managers, 1);
}

#[tokio::test]
async fn what_may_not_join_is_told_why_and_changes_nothing() {
    let world = World::new(SLOW).await;
    let mut ca = CaClient::new(world.connect(None).await);
    let foreign = World::new(SLOW).await;
    let (csr, _) = request();
    let mut cut = world.worker_token();
    cut.pop();
    let mut wrong = cut.clone();
    wrong.push(if world.worker_token().ends_with('0') { '1' } else { '0' });
    let cases = [
        (cut, csr.clone(), Code::InvalidArgument, "was it cut?"),
        (String::new(), csr.clone(), Code::InvalidArgument, "must look like"),
        (wrong, csr.clone(), Code::PermissionDenied, "not valid"),
        (foreign.worker_token(), csr, Code::PermissionDenied, "another swarm"),
        (world.worker_token(), "no request".into(), Code::InvalidArgument, "signing request"),
    ];
    for (token, csr, code, words) in cases {
        let refused = ca.join(pb::JoinRequest { token, csr, ..Default::default() }).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert!(refused.message().contains(words), "{refused}");
        assert!(!refused.message().contains("SWMTKN-1-0"), "a token is never repeated: {refused}");
    }
    assert_eq!(world.store.read().nodes().count(), 1);
}

#[tokio::test]
async fn anybody_may_have_the_root_and_nothing_else() {
    let world = World::new(SLOW).await;
    let nobody = world.connect(None).await;
    let root = CaClient::new(nobody.clone()).get_root(pb::GetRootRequest {}).await.unwrap().into_inner();
    assert_eq!(root.certificate, world.founder.root);
    let refused = ControlClient::new(nobody.clone()).get_cluster(pb::Empty {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let refused = DispatcherClient::new(nobody.clone()).session(tokio_stream::empty()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let refused = CaClient::new(nobody).renew(pb::RenewRequest { csr: request().0 }).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_worker_may_not_manage() {
    let world = World::new(SLOW).await;
    let member = world.join().await;
    let refused = ControlClient::new(world.connect(Some(&member)).await).get_cluster(pb::Empty {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let manager = ControlClient::new(world.connect(Some(&world.founder())).await);
    let cluster = manager.clone().get_cluster(pb::Empty {}).await.unwrap().into_inner();
    assert_eq!((cluster.nodes, cluster.managers), (2, 1));
    assert_eq!(cluster.cluster.unwrap().root_key, "", "the root's key stays");
}

#[tokio::test]
async fn a_renewed_certificate_has_the_role_that_the_state_says() {
    let world = World::new(SLOW).await;
    let member = world.join().await;
    let mut ca = CaClient::new(world.connect(Some(&member)).await);
    let reply = ca.renew(pb::RenewRequest { csr: request().0 }).await.unwrap().into_inner();
    let der = rustls_pki_types::pem::PemObject::from_pem_slice(reply.certificate.as_bytes());
    let der: rustls_pki_types::CertificateDer<'_> = der.unwrap();
    let identity = Identity::of_certificate(&der).unwrap();
    assert_eq!((identity.node, identity.role), (member.id, NodeRole::Worker));
    assert_eq!(NodeId::from_bytes(&reply.node_id), Ok(member.id));
    assert_eq!(world.store.read().node(member.id).unwrap().certificate, reply.certificate);
}

#[tokio::test]
async fn a_rotated_token_is_worth_nothing_and_members_stay() {
    let world = World::new(SLOW).await;
    let (member, old) = (world.join().await, world.worker_token());
    let mut control = ControlClient::new(world.connect(Some(&world.founder())).await);
    let order = pb::TokenRequest { role: pb::NodeRole::Worker.into(), ..Default::default() };
    let rotated = control.rotate_token(order).await.unwrap().into_inner().token;
    assert_eq!(rotated, world.worker_token());
    assert_ne!(rotated, old);
    let refused = refused(&world, old).await;
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("replaced by another one"), "{refused}");
    world.join().await;
    drop(world.open(&member).await);
}

async fn refused(world: &World, token: String) -> tonic::Status {
    let (csr, _) = request();
    let join = pb::JoinRequest { token, csr, ..Default::default() };
    CaClient::new(world.connect(None).await).join(join).await.unwrap_err()
}

#[tokio::test]
async fn a_token_for_three_admits_three_of_ten_that_come_at_once() {
    let world = World::new(SLOW).await;
    let mut control = ControlClient::new(world.connect(Some(&world.founder())).await);
    let order = pb::TokenRequest { role: pb::NodeRole::Worker.into(), lives_ms: 3_600_000, uses: 3 };
    let token = control.create_token(order).await.unwrap().into_inner().token;
    let join = |_| async {
        let (csr, _) = request();
        let join = pb::JoinRequest { token: token.clone(), csr, ..Default::default() };
        CaClient::new(world.connect(None).await).join(join).await
    };
    let results = futures_util::future::join_all((0..10).map(join)).await;
    let (joined, refusals): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!((joined.len(), world.store.read().nodes().count()), (3, 4));
    for refusal in refusals {
        let refusal = refusal.unwrap_err();
        assert_eq!(refusal.code(), Code::PermissionDenied);
        assert!(refusal.message().starts_with("failed to join: the token was good for 3 joins"), "{refusal}");
    }
    world.join().await;
}

#[tokio::test]
async fn an_expired_token_says_when_it_did() {
    let world = World::new(SLOW).await;
    let mut control = ControlClient::new(world.connect(Some(&world.founder())).await);
    let order = pb::TokenRequest { role: pb::NodeRole::Manager.into(), lives_ms: 1, uses: 0 };
    let token = control.create_token(order).await.unwrap().into_inner().token;
    let words = tokio::time::timeout(super::client::PATIENCE, async {
        loop {
            let (csr, _) = request();
            let join = pb::JoinRequest { token: token.clone(), csr, ..Default::default() };
            if let Err(refused) = CaClient::new(world.connect(None).await).join(join).await {
                return refused.message().to_owned();
            }
        }
    });
    let words = words.await.unwrap();
    assert!(words.contains("the token expired") && words.contains("join-token manager"), "{words}");
}

fn attempt(number: u8) -> Vec<u8> {
    JoinAttempt::new([number; 32]).to_bytes()
}

/// A join by that attempt: the node that it made.
async fn join_by(world: &World, token: &str, attempt: Vec<u8>) -> Result<Member, tonic::Status> {
    let (csr, key) = request();
    let join = pb::JoinRequest { token: token.to_owned(), csr, attempt, ..Default::default() };
    let reply = CaClient::new(world.connect(None).await).join(join).await?.into_inner();
    Ok(Member { id: NodeId::from_bytes(&reply.node_id).unwrap(), certificate: reply.certificate, key })
}

async fn token_for_one(world: &World) -> String {
    let mut control = ControlClient::new(world.connect(Some(&world.founder())).await);
    let order = pb::TokenRequest { role: pb::NodeRole::Worker.into(), lives_ms: 3_600_000, uses: 1 };
    control.create_token(order).await.unwrap().into_inner().token
}

#[tokio::test]
async fn who_asks_again_by_the_same_attempt_is_given_the_same_node_until_it_has_come() {
    let world = World::new(SLOW).await;
    let token = token_for_one(&world).await;
    let first = join_by(&world, &token, attempt(1)).await.unwrap();
    assert_eq!(first.id, JoinAttempt::new([1; 32]).node());
    // The token is used up by then, and after a loss of power it is not even known.
    let mut last = first;
    for token in [token.as_str(), ""] {
        let again = join_by(&world, token, attempt(1)).await.unwrap();
        assert_eq!(again.id, last.id);
        assert_ne!(again.certificate, last.certificate);
        last = again;
    }
    assert_eq!(world.store.read().nodes().count(), 2);
    let other = join_by(&world, &token, attempt(2)).await.err().unwrap();
    assert!(other.message().contains("used up"), "{other}");
    let unknown = join_by(&world, "", attempt(2)).await.err().unwrap();
    assert_eq!(unknown.code(), Code::NotFound, "{unknown}");
    drop(world.open(&last).await);
    let late = join_by(&world, "", attempt(1)).await.err().unwrap();
    assert_eq!(late.code(), Code::AlreadyExists, "{late}");
    let cut = join_by(&world, &token, vec![1; 31]).await.err().unwrap();
    assert_eq!(cut.code(), Code::InvalidArgument, "{cut}");
}

#[tokio::test]
async fn requests_of_one_attempt_that_come_at_once_make_one_node() {
    let world = World::new(SLOW).await;
    let token = token_for_one(&world).await;
    let all = futures_util::future::join_all((0..8).map(|_| join_by(&world, &token, attempt(1)))).await;
    // One may lose the same race again and again, but none is told that the token is used up.
    let refused: Vec<_> = all.into_iter().filter_map(Result::err).filter(|it| it.code() != Code::Aborted).collect();
    assert!(refused.is_empty(), "{refused:?}");
    assert_eq!(world.store.read().nodes().count(), 2);
}

#[tokio::test]
async fn a_join_that_is_taken_back_leaves_no_node_and_no_used_token() {
    let world = World::new(SLOW).await;
    let token = token_for_one(&world).await;
    let mut ca = CaClient::new(world.connect(None).await);
    let withdraw = |number| pb::WithdrawRequest { attempt: attempt(number), token: token.clone() };
    assert!(!ca.withdraw(withdraw(1)).await.unwrap().into_inner().removed);
    join_by(&world, &token, attempt(1)).await.unwrap();
    assert!(!ca.withdraw(withdraw(2)).await.unwrap().into_inner().removed);
    assert!(ca.withdraw(withdraw(1)).await.unwrap().into_inner().removed);
    assert_eq!(world.store.read().nodes().count(), 1);
    let member = join_by(&world, &token, attempt(3)).await.unwrap();
    drop(world.open(&member).await);
    // Who has come is a node, and goes by other ways.
    assert!(!ca.withdraw(withdraw(3)).await.unwrap().into_inner().removed);
    assert!(world.store.read().node(member.id).is_some());
}
