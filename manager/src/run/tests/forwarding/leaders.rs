//! Leaders that are not there yet, that change, and that go away with a call.
#![expect(clippy::disallowed_methods, reason = "callers and services of the test run beside it")]

use std::sync::Arc;
use std::time::Duration;

use tonic::Code;
use tonic::body::Body;
use tower::ServiceExt;

use super::super::client::PATIENCE;
use super::echo::{Waypoint, Ways, call, ending, status, told};
use super::group::Common;
use crate::store::{ProposeError, Store};

/// A call that waits at that manager, begun and not answered.
fn begun(ways: &Ways, at: u64, method: &'static str) -> tokio::task::JoinHandle<http::Response<Body>> {
    let local = ways.point(at).calls.local();
    tokio::spawn(async move { local.oneshot(call(method, Body::empty())).await.unwrap() })
}

async fn done(call: tokio::task::JoinHandle<http::Response<Body>>) -> http::Response<Body> {
    tokio::time::timeout(PATIENCE, call).await.expect("an answer in time").unwrap()
}

/// Lets what was spawned come to its first wait.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_call_waits_for_the_election_and_is_answered_by_its_winner() {
    let ways = Ways::new(3).await;
    ways.lead(None);
    let (far, own) = (begun(&ways, 2, "GetWho"), begun(&ways, 3, "GetWho"));
    settle().await;
    ways.lead(Some(3));
    assert!(told(&done(far).await).contains("Some(Via("));
    assert!(told(&done(own).await).starts_with("Local None"));
    assert_eq!(ways.point(3).seen.begun(), 2);
}

#[tokio::test]
async fn a_leader_that_is_not_ready_lets_the_call_wait() {
    let ways = Ways::new(2).await;
    // The follower has heard of its victory; it has not applied its first entry.
    ways.point(1).raft.tell(None);
    let waiting = begun(&ways, 2, "GetWho");
    settle().await;
    assert_eq!(ways.point(1).seen.begun(), 0);
    ways.point(1).raft.tell(Some(1));
    assert!(told(&done(waiting).await).starts_with("Local Some"));
}

#[tokio::test]
async fn people_are_answered_when_it_is_certain_that_this_manager_leads() {
    let mut common = Common::found().await;
    let identity = common.identity(1).await;
    let (store, mut asked) = Store::new();
    common.store = store;
    let point = Waypoint::start(&common, 1, identity).await;
    let looking = point.calls.local().oneshot(call("GetWho", Body::empty()));
    let confirming = async {
        for answer in [Err(ProposeError::NotLeader), Err(ProposeError::NotLeader), Ok(Vec::new())] {
            let barrier = asked.recv().await.unwrap();
            assert!(barrier.transactions.is_empty() && point.seen.begun() == 0);
            barrier.reply.send(answer).unwrap();
        }
    };
    let (answer, ()) = tokio::join!(looking, confirming);
    assert!(told(&answer.unwrap()).starts_with("Local None"));
    // A change that did not come so far has certainly not been made, and may be asked again like a look.
    let changing = point.calls.local().oneshot(call("CreateRefused", Body::empty()));
    let confirming = async {
        for answer in [Err(ProposeError::NotLeader), Ok(Vec::new())] {
            asked.recv().await.unwrap().reply.send(answer).unwrap();
        }
    };
    let (changed, ()) = tokio::join!(changing, confirming);
    assert_eq!(status(&changed.unwrap()).code(), Code::FailedPrecondition);
    let uncertain = tokio::spawn(point.calls.local().oneshot(call("GetWho", Body::empty())));
    while !uncertain.is_finished() {
        if let Ok(Some(barrier)) = tokio::time::timeout(Duration::from_millis(50), asked.recv()).await {
            barrier.reply.send(Err(ProposeError::NotLeader)).unwrap();
        }
    }
    let words = status(&uncertain.await.unwrap().unwrap());
    assert_eq!(words.code(), Code::Unavailable, "{words}");
    assert_eq!(point.seen.begun(), 2);
}

#[tokio::test]
async fn a_manager_that_does_not_lead_any_more_declines_and_the_next_leader_answers_once() {
    let ways = Ways::new(3).await;
    // Manager 2 has not heard yet that 3 leads.
    ways.point(1).raft.tell(Some(3));
    ways.point(3).raft.tell(Some(3));
    let waiting = begun(&ways, 2, "CreateRefused");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    ways.point(2).raft.tell(Some(3));
    assert_eq!(status(&done(waiting).await).code(), Code::FailedPrecondition);
    let seen: Vec<usize> = [1, 2, 3].map(|id| ways.point(id).seen.begun()).to_vec();
    assert_eq!(seen, [0, 0, 1]);
}

#[tokio::test]
async fn without_a_leader_the_words_say_what_is_lost_and_what_to_do() {
    let ways = Ways::new(3).await;
    ways.lead(None);
    let refused = status(&done(begun(&ways, 2, "CreateHang")).await);
    assert_eq!(refused.code(), Code::Unavailable);
    for words in
        ["failed to reach the leader", "2 of its 3 managers do not answer", "m1 at 127.0.0.1:", "start the missing"]
    {
        assert!(refused.message().contains(words), "{refused}");
    }
    ways.point(2).raft.heard.send_replace([1, 2].into());
    let refused = status(&done(begun(&ways, 2, "CreateHang")).await);
    assert!(refused.message().contains("none was elected in time"), "{refused}");
}

#[tokio::test]
async fn a_leader_that_cannot_be_reached_is_named_with_the_reason() {
    let ways = Ways::new(2).await;
    ways.point(1).kill().await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let local = ways.point(2).calls.local();
        calls.spawn(async move { local.oneshot(call("CreateHang", Body::empty())).await.unwrap() });
    }
    while let Some(refused) = tokio::time::timeout(PATIENCE, calls.join_next()).await.expect("answers in time") {
        let refused = status(&refused.unwrap());
        assert_eq!(refused.code(), Code::Unavailable);
        assert!(refused.message().contains("m1 at 127.0.0.1:"), "{refused}");
        assert!(
            refused.message().contains("nothing was changed") && refused.message().contains("refused"),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn another_manager_at_the_leaders_address_is_not_taken_for_it() {
    let ways = Ways::new(3).await;
    ways.common.place(ways.point(1).identity.node, 1, ways.point(3).address).await;
    let refused = status(&done(begun(&ways, 2, "CreateHang")).await);
    assert!(refused.message().contains("another node answers"), "{refused}");
    assert_eq!(ways.point(3).seen.begun(), 0);
}

#[tokio::test]
async fn a_change_that_the_leader_took_away_with_it_may_or_may_not_have_been_made() {
    let ways = Ways::new(3).await;
    let lost = begun(&ways, 2, "CreateHang");
    ways.point(1).seen.until_open(1).await;
    ways.point(1).kill().await;
    ways.lead(Some(3));
    let words = status(&done(lost).await);
    assert_eq!(words.code(), Code::Unavailable);
    assert!(words.message().contains("may or may not have been made"), "{words}");
    assert_eq!((ways.point(2).seen.begun(), ways.point(3).seen.begun()), (0, 0), "it is not asked for twice");
}

#[tokio::test]
async fn a_look_that_the_leader_took_away_with_it_is_taken_again_at_the_next() {
    let ways = Ways::new(3).await;
    let looking = begun(&ways, 2, "GetHang");
    ways.point(1).seen.until_open(1).await;
    ways.point(1).kill().await;
    ways.lead(Some(3));
    ways.point(3).seen.until_open(1).await;
    looking.abort();
    ways.point(3).seen.until_open(0).await;
}

#[tokio::test]
async fn a_leader_that_hangs_is_not_waited_for_once_there_is_another() {
    let ways = Ways::new(3).await;
    let (changing, looking) = (begun(&ways, 2, "CreateHang"), begun(&ways, 2, "GetHang"));
    ways.point(1).seen.until_open(2).await;
    for id in [2, 3] {
        ways.point(id).raft.tell(Some(3));
    }
    assert!(status(&done(changing).await).message().contains("may or may not"));
    ways.point(3).seen.until_open(1).await;
    ways.point(1).seen.until_open(0).await;
    looking.abort();
}

#[tokio::test]
async fn an_answer_that_has_begun_breaks_off_with_words() {
    let ways = Ways::new(2).await;
    let (far, own) = (ways.local(2, "WatchHang").await, ways.local(1, "WatchHang").await);
    ways.point(1).seen.until_open(2).await;
    ways.point(1).raft.tell(Some(2));
    for answer in [far, own] {
        let words = ending(answer).await;
        assert_eq!(words.code(), Code::Unavailable);
        assert!(words.message().contains("the leader of the swarm has changed"), "{words}");
    }
    ways.point(1).seen.until_open(0).await;
    ways.lead(Some(1));
    let far = ways.local(2, "WatchHang").await;
    ways.point(1).kill().await;
    let words = ending(far).await;
    assert_eq!(words.code(), Code::Unavailable, "{words}");
    assert!(words.message().contains("it went away"), "{words}");
}

#[tokio::test]
async fn a_manager_that_stops_lets_nobody_wait() {
    let ways = Ways::new(2).await;
    ways.lead(None);
    let waiting = begun(&ways, 2, "GetWho");
    settle().await;
    let point = ways.point(2);
    point.kill().await;
    assert!(status(&done(waiting).await).message().contains("stopping"));
    assert_eq!(Arc::strong_count(&point.seen), 2, "the manager's service and this test");
}
