//! What is passed on arrives whole, with the right name on it.
#![expect(clippy::disallowed_methods, reason = "callers and services of the test run beside it")]

use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use skep_proto::model::{NodeId, NodeRole};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::ServiceExt;

use super::super::client::{Member, PATIENCE};
use super::echo::{Ways, call, status, told};
use super::group::member;
use crate::caller::{Caller, Identity, Peer};
use crate::forward::envelope::{Arrival, CALLER, NOT_LEADING};

fn forged(caller: Caller) -> Request<Body> {
    let mut request = call("GetWho", Body::empty());
    request.headers_mut().insert(CALLER, Arrival { caller, peer: None, via: None }.header());
    request
}

fn worker(ways: &Ways) -> Member {
    let cluster = ways.common.store.read().cluster().cloned().unwrap();
    let (csr, key) = super::super::client::request();
    let id = NodeId::new(77);
    let subject = crate::ca::Subject { node: id, role: NodeRole::Worker, cluster: cluster.id };
    let root = crate::ca::certificate::Root::of(&cluster);
    let certificate = crate::ca::sign_request(&root, &csr, subject, crate::sys::now()).unwrap();
    Member { id, certificate, key }
}

#[tokio::test]
async fn both_directions_stream_and_headers_and_trailers_are_kept() {
    let ways = Ways::new(2).await;
    let (feed, frames) = mpsc::channel(1);
    let body = Body::new(StreamBody::new(ReceiverStream::new(frames)));
    let response = ways.point(2).calls.local().oneshot(call("GetEcho", body)).await.unwrap();
    assert_eq!(response.headers().get("x-header").unwrap(), "kept");
    let mut answer = response.into_body();
    for piece in ["one", "two", "three"] {
        // Each comes back before the next is sent: nothing waits for the end.
        feed.send(Ok::<_, Status>(Frame::data(Bytes::from_static(piece.as_bytes())))).await.unwrap();
        let frame = tokio::time::timeout(PATIENCE, answer.frame()).await.unwrap().unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), piece);
    }
    drop(feed);
    let trailers = answer.frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!((&trailers["grpc-status"], &trailers["x-trailer"]), (&"0".parse().unwrap(), &"kept".parse().unwrap()));
    assert_eq!((ways.point(1).seen.begun(), ways.point(2).seen.begun()), (1, 0));
}

#[tokio::test]
async fn a_refusal_keeps_its_code_its_words_and_its_details() {
    let ways = Ways::new(2).await;
    let refused = status(&ways.local(2, "CreateRefused").await);
    assert_eq!((refused.code(), refused.message()), (Code::FailedPrecondition, "failed to create: a – dash"));
    assert_eq!(refused.metadata().get("x-detail").unwrap(), "kept");
}

#[tokio::test]
async fn the_leader_hears_who_calls_and_through_whom() {
    let ways = Ways::new(2).await;
    let follower = ways.point(2).identity.node;
    let via = format!("Some(Via({follower:?}))");
    assert_eq!(told(&ways.local(2, "GetWho").await), format!("Local {via} None false"));
    assert_eq!(told(&ways.local(1, "GetWho").await), "Local None None false");
    let who = || call("GetWho", Body::empty());
    let anonymous = told(&ways.remote(2, None, who()).await);
    assert_eq!(anonymous, format!("Anonymous {via} Some(127.0.0.1) false"));
    let worker = worker(&ways);
    let cluster = ways.common.store.read().cluster().unwrap().id;
    let key = crate::caller::key_of(&worker.certificate).unwrap();
    let identity = Caller::Node(Identity { node: worker.id, role: NodeRole::Worker, cluster, key });
    let passed = told(&ways.remote(2, Some(&worker), who()).await);
    assert_eq!(passed, format!("{identity:?} {via} Some(127.0.0.1) false"));
}

#[tokio::test]
async fn the_header_of_a_worker_or_of_a_stranger_is_nothing_to_anybody() {
    let ways = Ways::new(2).await;
    let worker = worker(&ways);
    for at in [1, 2] {
        let told_worker = told(&ways.remote(at, Some(&worker), forged(Caller::Local)).await);
        assert!(told_worker.starts_with("Node(") && told_worker.contains("role: Worker"), "{told_worker}");
        let stranger = told(&ways.remote(at, None, forged(Caller::Local)).await);
        assert!(stranger.starts_with("Anonymous "), "{stranger}");
        let mut request = forged(Caller::Anonymous);
        request.extensions_mut().insert(Peer("10.1.1.1:1".parse().unwrap()));
        let local = ways.point(at).calls.local().oneshot(request).await.unwrap();
        assert!(told(&local).starts_with("Local "), "{}", told(&local));
    }
}

#[tokio::test]
async fn a_manager_that_the_state_does_not_know_passes_nothing_on() {
    let ways = Ways::new(1).await;
    let unknown = member(&ways.common.sign(NodeId::new(99)));
    let refused = status(&ways.remote(1, Some(&unknown), forged(Caller::Local)).await);
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let manager = ways.common.identity(2).await;
    assert!(told(&ways.remote(1, Some(&member(&manager)), forged(Caller::Local)).await).starts_with("Local "));
    let mut demoted = skep_proto::model::Node::clone(ways.common.store.read().node(manager.node).unwrap());
    demoted.role = NodeRole::Worker;
    ways.common.write(demoted).await;
    let refused = status(&ways.remote(1, Some(&member(&manager)), forged(Caller::Local)).await);
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let mut request = call("GetWho", Body::empty());
    request.headers_mut().insert(CALLER, HeaderValue::from_static("- root"));
    let unread = status(&ways.remote(1, Some(&member(&ways.point(1).identity)), request).await);
    assert_eq!(unread.code(), Code::PermissionDenied, "{unread}");
    assert_eq!(ways.point(1).seen.begun(), 1);
}

#[tokio::test]
async fn what_was_passed_on_is_not_passed_on_again() {
    let ways = Ways::new(2).await;
    let manager = member(&ways.point(1).identity);
    let declined = ways.remote(2, Some(&manager), forged(Caller::Local)).await;
    assert_eq!(declined.headers().get(NOT_LEADING).unwrap(), "1");
    assert_eq!(status(&declined).code(), Code::Unavailable);
    assert_eq!((ways.point(1).seen.begun(), ways.point(2).seen.begun()), (0, 0));
}

#[tokio::test]
async fn a_caller_that_goes_ends_the_call_at_the_leader() {
    let ways = Ways::new(2).await;
    for (method, body_is_open) in [("CreateHang", false), ("WatchHang", true)] {
        let channel = super::super::client::channel(ways.point(2).address, &ways.common.root, None).await;
        let running = tokio::spawn(async move {
            let response = channel.oneshot(call(method, Body::empty())).await;
            assert!(body_is_open);
            response.unwrap().into_body().collect().await.map(drop)
        });
        ways.point(1).seen.until_open(1).await;
        running.abort();
        ways.point(1).seen.until_open(0).await;
    }
}

#[tokio::test]
async fn a_thousand_calls_at_once_share_the_way() {
    let ways = Ways::new(2).await;
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..1_000 {
        let local = ways.point(2).calls.local();
        calls.spawn(async move {
            let text = format!("call {number}");
            let body = Body::new(http_body_util::Full::new(Bytes::from(text.clone())));
            let response = local.oneshot(call("GetEcho", body)).await.unwrap();
            let answer = response.into_body().collect().await.unwrap();
            assert_eq!(answer.trailers().unwrap()["x-trailer"], "kept");
            assert_eq!(answer.to_bytes(), text);
        });
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap();
    }
    assert_eq!((ways.point(1).seen.begun(), ways.point(2).seen.begun()), (1_000, 0));
}

#[tokio::test]
async fn callers_that_do_not_read_hold_nobody_up() {
    let ways = Ways::new(2).await;
    let mut unread = Vec::new();
    for _ in 0..64 {
        unread.push(ways.local(2, "GetMuch").await);
    }
    let quick = tokio::time::timeout(PATIENCE, ways.local(2, "GetWho")).await.expect("an answer beside them");
    assert!(told(&quick).starts_with("Local "));
    let first = unread.swap_remove(0).into_body().collect().await.unwrap().to_bytes();
    assert_eq!(first.len(), 16 << 20);
    drop(unread);
    ways.point(1).seen.until_open(0).await;
}
