use skep_proto::model::NodeSpec;

use super::*;
use crate::group::MemberView;
use crate::store::Touched;
use crate::store::fixture::{node, transaction};

/// A node whose Raft id is its number times ten.
fn manager(number: u128, wanted: NodeRole, raft_id: Option<u64>) -> Node {
    let role = if raft_id.is_some() { NodeRole::Manager } else { NodeRole::Worker };
    let node = node(number);
    let status = raft_id.map(|raft_id| ManagerStatus { raft_id, address: format!("10.0.0.{number}:2377") });
    Node { spec: NodeSpec { role: wanted, ..node.spec.clone() }, role, manager: status, ..node }
}

fn state(nodes: Vec<Node>) -> State {
    let mut state = State::default();
    let changes = nodes.into_iter().map(|node| Change::PutNode(Box::new(node))).collect();
    state.apply(1, vec![transaction(1, changes)], &mut Touched::default())[0].clone().unwrap();
    state
}

fn group(members: &[(u64, bool, u64)]) -> Group {
    let view =
        |&(id, is_voter, matched): &(u64, bool, u64)| MemberView { id, is_voter, matched, is_heard: matched > 0 };
    Group { committed: 5_000, members: members.iter().map(view).collect(), ..Group::default() }
}

const FULL: u64 = 5_000;

#[test]
fn a_joiner_learns_first_and_votes_when_it_has_caught_up() {
    use NodeRole::Manager;
    let state = state(vec![manager(1, Manager, Some(10)), manager(2, Manager, Some(20))]);
    let step = |members: &[(u64, bool, u64)]| plan(&state, &group(members), 10).step;
    assert_eq!(step(&[(10, true, FULL)]), Step::Group(MemberChange::AddLearner(20)));
    assert_eq!(step(&[(10, true, FULL), (20, false, 3)]), Step::Nothing, "it is far behind");
    assert_eq!(step(&[(10, true, FULL), (20, false, FULL - 10)]), Step::Group(MemberChange::Promote(20)));
    assert_eq!(step(&[(10, true, FULL), (20, true, FULL)]), Step::Nothing);
}

#[test]
fn promotion_begins_with_the_certificate() {
    let state = state(vec![manager(1, NodeRole::Manager, Some(10)), manager(2, NodeRole::Manager, None)]);
    let Step::Write(change) = plan(&state, &group(&[(10, true, FULL)]), 10).step else { panic!("a write") };
    let Change::PutNode(node) = *change else { panic!("of a node") };
    assert_eq!((node.role, node.manager.is_none(), node.meta.version), (NodeRole::Manager, true, 1));
}

#[test]
fn demotion_begins_with_the_vote_and_ends_with_the_certificate() {
    use NodeRole::{Manager, Worker};
    let state = state(vec![manager(1, Manager, Some(10)), manager(2, Manager, Some(20)), manager(3, Worker, Some(30))]);
    let all = [(10, true, FULL), (20, true, FULL), (30, true, FULL)];
    assert_eq!(plan(&state, &group(&all), 10).step, Step::Group(MemberChange::Remove(30)));
    assert_eq!(plan(&state, &group(&all), 30).step, Step::HandOver, "it leads itself");
    let Step::Write(change) = plan(&state, &group(&all[..2]), 10).step else { panic!("a write") };
    let Change::PutNode(node) = *change else { panic!("of a node") };
    assert_eq!((node.role, node.manager), (Worker, None));
}

#[test]
fn nobody_goes_while_those_that_remain_could_not_decide() {
    use NodeRole::{Manager, Worker};
    let state = state(vec![manager(1, Manager, Some(10)), manager(2, Manager, Some(20)), manager(3, Worker, Some(30))]);
    let plan = plan(&state, &group(&[(10, true, FULL), (20, true, 0), (30, true, FULL)]), 10);
    assert_eq!(plan.step, Step::Nothing);
    assert!(plan.reasons[0].contains("cannot go yet"), "{:?}", plan.reasons);
}

#[test]
fn a_member_that_is_no_node_goes_and_one_that_lost_its_log_comes_back_as_another() {
    use NodeRole::Manager;
    let state =
        state(vec![manager(1, Manager, Some(10)), manager(2, Manager, Some(20)), manager(3, Manager, Some(31))]);
    let step = |members: &[(u64, bool, u64)]| plan(&state, &group(members), 10).step;
    let before = [(10, true, FULL), (20, true, FULL), (30, true, 0)];
    assert_eq!(step(&before), Step::Group(MemberChange::AddLearner(31)));
    let both = [(10, true, FULL), (20, true, FULL), (30, true, 0), (31, false, 0)];
    assert_eq!(step(&both), Step::Group(MemberChange::Remove(30)));
}
