//! What a node's record becomes when it takes its place among the managers, or gives it up.

use std::sync::Arc;

use skep_proto::model::{ManagerStatus, Node, NodeId, NodeRole, NodeSpec};
use skep_proto::pb;

use super::error::MembershipError;
use crate::group::Group;
use crate::store::{Change, State};

/// The node with its place in the group; `None` when it says so already.
///
/// # Errors
/// When it is to be a worker.
pub fn joined(state: &State, node: NodeId, status: &ManagerStatus) -> Result<Option<Change>, MembershipError> {
    let Some(there) = state.node(node) else { return Ok(None) };
    if there.spec.role != NodeRole::Manager {
        return Err(MembershipError::NotWanted { node });
    }
    let changed = Node { manager: Some(status.clone()), role: NodeRole::Manager, ..Node::clone(there) };
    Ok((changed != **there).then(|| Change::PutNode(Box::new(changed))))
}

/// The node as a worker to be; `None` when it is one.
#[must_use]
pub fn leaving(state: &State, node: NodeId) -> Option<Change> {
    let there: &Arc<Node> = state.node(node)?;
    let spec = NodeSpec { role: NodeRole::Worker, ..there.spec.clone() };
    let change = Change::SetNodeSpec { node, if_version: there.meta.version, spec };
    (there.spec.role != NodeRole::Worker).then_some(change)
}

/// What has become of a node's place under that Raft id, to the leader's knowledge. One that is on its way in is named before it is a member.
#[must_use]
pub fn seat(state: &State, group: &Group, node: NodeId, raft_id: u64) -> pb::RaftSeatReply {
    let there = state.node(node);
    let is_named = there.and_then(|node| node.manager.as_ref()).is_some_and(|seat| seat.raft_id == raft_id);
    pb::RaftSeatReply {
        gone: !is_named && group.member(raft_id).is_none(),
        is_to_go: there.is_none_or(|node| node.spec.role != NodeRole::Manager),
        era: state.cluster().map(|cluster| cluster.era.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::manager_state;
    use crate::group::MemberView;

    #[test]
    fn a_seat_is_gone_when_neither_list_has_it() {
        let mut state = manager_state(&[(1, "a:1"), (2, "b:1")]);
        let member = |id| MemberView { id, is_voter: true, matched: 0, is_heard: true };
        let group = Group { members: vec![member(1), member(3)], ..Group::default() };
        let node = state.manager(2).unwrap().id;
        for (raft_id, gone) in [(2, false), (3, false), (4, true)] {
            let told = seat(&state, &group, node, raft_id);
            assert_eq!((told.gone, told.is_to_go), (gone, false), "{raft_id}");
        }
        let change = leaving(&state, node).unwrap();
        let transaction = crate::store::Transaction { changes: vec![change], at: skep_proto::model::Moment(9) };
        state.apply(99, vec![transaction], &mut crate::store::Touched::default())[0].clone().unwrap();
        assert!(seat(&state, &group, node, 2).is_to_go);
    }
}
