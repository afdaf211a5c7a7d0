//! Clocks that are wrong: seen, shown, and no reason to part.

use std::time::Duration;

use skep_proto::model::{Moment, NodeRole, NodeState};
use skep_proto::pb;
use skep_proto::pb::agent_message::Message as Said;
use skep_proto::pb::control_client::ControlClient;
use skep_proto::pb::manager_message::Message as Heard;

use super::client::{Member, PATIENCE, World, hello, request};
use crate::ca::certificate::Root;
use crate::ca::{Subject, sign_request};
use crate::sys;

const SLOW: Duration = Duration::from_secs(60);
const TEN_MINUTES: Duration = Duration::from_secs(600);

/// The node's certificate as a manager would have made it whose clock showed that.
fn certified(world: &World, member: &Member, role: NodeRole, now: Moment) -> Member {
    let (csr, key) = request();
    let cluster = world.store.read().cluster().cloned().unwrap();
    let subject = Subject { node: member.id, role, cluster: cluster.id };
    let certificate = sign_request(&Root::of(&cluster), &csr, subject, now).unwrap();
    Member { id: member.id, certificate, key }
}

async fn shown(world: &World, member: &Member) -> Option<i64> {
    let mut control = ControlClient::new(world.connect(Some(&world.founder())).await);
    let request = pb::RefRequest { r#ref: member.id.to_string() };
    control.get_node(request).await.unwrap().into_inner().clock_ahead_ms
}

#[tokio::test]
async fn a_node_that_is_ten_minutes_off_keeps_its_session_and_is_shown_so() {
    let world = World::new(SLOW).await;
    for sign in [1i64, -1] {
        let member = world.join().await;
        let off = |now: Moment| if sign > 0 { now + TEN_MINUTES } else { now - TEN_MINUTES };
        let mut agent = world.call(&member).await;
        agent.say(Said::Hello(Box::new(pb::Hello { clock_ms: off(sys::now()).0, ..hello("n") }))).await;
        let Some(Heard::Welcome(welcome)) = agent.hear().await else { panic!("a welcome") };
        assert!(welcome.hello_ms > 0 && welcome.clock_ms >= welcome.hello_ms, "{welcome:?}");
        world.until_node(member.id, NodeState::Ready).await;
        agent.say(Said::Heartbeat(pb::Heartbeat { clock_ms: off(sys::now()).0, delay_ms: 0, seq: 0 })).await;
        let seen = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(ms) = shown(&world, &member).await {
                    return ms;
                }
            }
        });
        let error = seen.await.unwrap() - sign * 600_000;
        assert!(error.abs() < 20_000, "off by {error} ms, which no slow machine explains");
        agent.say(Said::Heartbeat(pb::Heartbeat::default())).await;
        assert_eq!(world.store.read().node(member.id).unwrap().status.state, NodeState::Ready);
    }
}

#[tokio::test]
async fn certificates_of_a_manager_that_is_ten_minutes_off_are_good_at_once() {
    let world = World::new(SLOW).await;
    let member = world.join().await;
    for now in [sys::now() + TEN_MINUTES, sys::now() - TEN_MINUTES] {
        let early_or_late = certified(&world, &member, NodeRole::Worker, now);
        drop(world.open(&early_or_late).await);
    }
}
