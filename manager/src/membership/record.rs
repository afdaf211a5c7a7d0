//! What a node's record becomes when it takes its place among the managers, or gives it up.

use std::sync::Arc;

use skep_proto::model::{ManagerStatus, Node, NodeId, NodeRole, NodeSpec};

use super::error::MembershipError;
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
