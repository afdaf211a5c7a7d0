//! Agents at managers that do not lead, and at leaders that come and go.

use std::time::Duration;

use skep_proto::model::{ManagerStatus, Node};
use skep_proto::pb;
use skep_proto::pb::manager_message::Message as Heard;

use super::super::client::{Agent, Member, PATIENCE, call, session};
use super::group::Group;

async fn joined(group: &Group) -> Member {
    group.common.join(group.manager(1).front.address()).await
}

fn address(group: &Group, id: u64) -> String {
    group.manager(id).front.address().to_string()
}

/// The stream at that manager, once it answers.
async fn at(group: &Group, id: u64, member: &Member) -> Agent {
    call(group.connect(id, Some(member)).await).await
}

/// The next list of managers.
async fn managers(agent: &mut Agent) -> Vec<String> {
    loop {
        if let Heard::Managers(managers) = agent.hear().await.expect("the session lives") {
            return managers.addresses;
        }
    }
}

#[tokio::test]
async fn a_follower_sends_agents_to_the_leader() {
    let group = Group::new(3).await;
    let member = joined(&group).await;
    let words = at(&group, 2, &member).await.farewell().await;
    assert_eq!((words.leader, words.removed), (address(&group, 1), false));
}

#[tokio::test]
async fn agents_are_held_until_somebody_leads_and_then_served_or_sent_on() {
    let group = Group::new(3).await;
    let member = joined(&group).await;
    group.lead(None);
    let (sent_on, served) = (group.connect(2, Some(&member)).await, group.connect(3, Some(&member)).await);
    let waiting = async {
        let mut agent = call(sent_on).await;
        agent.farewell().await.leader
    };
    let election = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        group.lead(Some(3));
    };
    let (hint, _agent, ()) = tokio::join!(waiting, session(served, &member), election);
    assert_eq!(hint, address(&group, 3));
}

#[tokio::test]
async fn an_agent_is_not_held_for_ever() {
    let group = Group::new(2).await;
    let member = joined(&group).await;
    group.lead(None);
    let words = at(&group, 2, &member).await.farewell().await;
    assert_eq!((words.leader.as_str(), words.removed), ("", false));
}

#[tokio::test]
async fn a_session_ends_with_leadership_and_names_the_next_leader() {
    let group = Group::new(2).await;
    let member = joined(&group).await;
    let mut agent = session(group.connect(1, Some(&member)).await, &member).await;
    group.lead(Some(2));
    assert_eq!(agent.farewell().await.leader, address(&group, 2));
    session(group.connect(2, Some(&member)).await, &member).await;
}

#[tokio::test]
async fn an_open_session_hears_of_managers_that_come_go_and_move() {
    let group = Group::new(2).await;
    let member = joined(&group).await;
    let mut agent = session(group.connect(1, Some(&member)).await, &member).await;
    let (first, second) = (address(&group, 1), address(&group, 2));
    let third = group.common.identity(3).await.node;
    group.common.place(third, 3, "127.0.0.3:2377".parse().unwrap()).await;
    let mut all = managers(&mut agent).await;
    all.sort_unstable();
    let mut expected = vec![first.clone(), second.clone(), "127.0.0.3:2377".to_owned()];
    expected.sort_unstable();
    assert_eq!(all, expected);
    group.common.place(group.manager(2).identity.node, 2, "127.0.0.2:2377".parse().unwrap()).await;
    let moved = managers(&mut agent).await;
    assert!(moved.contains(&"127.0.0.2:2377".to_owned()) && !moved.contains(&second), "{moved:?}");
    let mut known = Node::clone(group.common.store.read().node(third).unwrap());
    // One that has no address yet is no manager that an agent could turn to.
    known.manager = Some(ManagerStatus { raft_id: 3, address: String::new() });
    group.common.write(known).await;
    let fewer = managers(&mut agent).await;
    assert_eq!(fewer.len(), 2, "{fewer:?}");
    let said = tokio::time::timeout(PATIENCE, agent.out.send(pb::AgentMessage::default())).await;
    assert!(said.unwrap().is_ok(), "the session lives");
}
