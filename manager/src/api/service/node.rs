//! Nodes.

use skep_proto::convert::required;
use skep_proto::model::{Node, NodeId, NodeRole, NodeSpec, NodeState};
use skep_proto::pb;

use super::control::{Answers, ControlService};
use super::list::{PAGE_MAX, listed};
use crate::api::{ApiError, lookup, validate};
use crate::store::{Change, State};

impl ControlService {
    pub(super) fn nodes(&self, words: &[String], asked: NodeId) -> Result<Answers<pb::NodeEntry>, ApiError> {
        let ids: Vec<NodeId> = {
            let state = self.store.read();
            let named: Result<Vec<_>, _> = words.iter().map(|w| lookup::node(&state, w).map(|n| n.id)).collect();
            let all = state.nodes().filter(|_| words.is_empty()).map(|node| node.id);
            named?.into_iter().chain(all).collect()
        };
        let control = self.clone();
        Ok(listed(self.store.clone(), &ids, PAGE_MAX, move |state, _, id| {
            state.node(id).map(|node| control.node_entry(node, asked))
        }))
    }

    pub(super) fn node(&self, word: &str, asked: NodeId) -> Result<pb::NodeEntry, ApiError> {
        Ok(self.node_entry(lookup::node(&self.store.read(), word)?, asked))
    }

    pub(super) async fn change_node(
        &self,
        request: pb::UpdateNodeRequest,
        asked: NodeId,
    ) -> Result<pb::NodeEntry, ApiError> {
        let spec = NodeSpec::try_from(required(request.spec, "update node request", "spec")?)?;
        validate::node(&spec)?;
        let (node, role) = {
            let state = self.store.read();
            let node = lookup::node(&state, &request.r#ref)?;
            (node.id, node.spec.role)
        };
        if request.version == 0 {
            return Err(ApiError::NoVersion { what: format!("node {node}") });
        }
        if role != spec.role {
            return Err(ApiError::Role { node });
        }
        self.propose(Change::SetNodeSpec { node, if_version: request.version, spec }).await?;
        self.node(&node.to_string(), asked)
    }

    pub(super) async fn forget_node(&self, request: pb::RemoveNodeRequest) -> Result<(), ApiError> {
        let change = |state: &State| {
            let node = lookup::node(state, &request.r#ref)?;
            removable(node, request.force)?;
            Ok(Change::RemoveNode { node: node.id, if_version: node.meta.version })
        };
        self.propose_newest(change).await.map(|_| ())
    }

    fn node_entry(&self, node: &Node, asked: NodeId) -> pb::NodeEntry {
        let leader = *self.leader.borrow();
        let raft_id = node.manager.as_ref().map(|manager| manager.raft_id);
        pb::NodeEntry {
            node: Some(node.into()),
            leader: raft_id.is_some() && raft_id == leader,
            reachable: raft_id.is_some_and(|id| self.heard.borrow().contains(&id)),
            self_: node.id == asked,
        }
    }
}

/// A node that may still run tasks is only removed by force: its containers would run on, and be started elsewhere, too.
fn removable(node: &Node, force: bool) -> Result<(), ApiError> {
    if node.role == NodeRole::Manager {
        return Err(ApiError::RemoveManager { node: node.id });
    }
    if node.status.state == NodeState::Down || force {
        return Ok(());
    }
    Err(ApiError::NotDown { node: node.id, state: node.status.state })
}
