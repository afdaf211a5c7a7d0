//! Nodes.

use std::time::Duration;

use skep_proto::convert::required;
use skep_proto::model::{Node, NodeId, NodeRole, NodeSpec};
use skep_proto::pb;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Status;

use super::control::{Answers, ControlService};
use super::list::{PAGE_MAX, listed};
use super::service::{PROGRESS_MAX, driven, rest};
use crate::api::held::removable;
use crate::api::moving::moving;
use crate::api::{ApiError, lookup, validate};
use crate::store::{Change, Soft, State, Store};

/// Longest time between two looks at a node that is watched.
const LOOK: Duration = Duration::from_millis(500);

impl ControlService {
    pub(super) fn nodes(&self, words: &[String], asked: NodeId) -> Result<Answers<pb::NodeEntry>, ApiError> {
        let ids: Vec<NodeId> = {
            let state = self.store.read();
            let named: Result<Vec<_>, _> = words.iter().map(|w| lookup::node(&state, w).map(|n| n.id)).collect();
            let all = state.nodes().filter(|_| words.is_empty()).map(|node| node.id);
            named?.into_iter().chain(all).collect()
        };
        let control = self.clone();
        Ok(listed(self.store.clone(), &ids, PAGE_MAX, move |state, soft, id| {
            state.node(id).map(|node| control.node_entry(node, soft, asked))
        }))
    }

    pub(super) fn node(&self, word: &str, asked: NodeId) -> Result<pb::NodeEntry, ApiError> {
        let (state, soft) = (self.store.read(), self.store.soft());
        Ok(self.node_entry(lookup::node(&state, word)?, &soft, asked))
    }

    pub(super) fn watch_moves(&self, word: &str) -> Result<Answers<pb::NodeProgress>, ApiError> {
        let id = lookup::node(&self.store.read(), word)?.id;
        let (sender, receiver) = mpsc::channel(PROGRESS_MAX);
        Ok(Box::pin(driven(receiver, watch(self.store.clone(), id, sender))))
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
        if (role, spec.role) == (NodeRole::Manager, NodeRole::Worker) {
            self.may_demote(node)?;
        }
        self.propose(Change::SetNodeSpec { node, if_version: request.version, spec }).await?;
        self.node(&node.to_string(), asked)
    }

    /// Not while those that remain could not decide without its vote. The vote goes later, and is looked at again then.
    fn may_demote(&self, node: NodeId) -> Result<(), ApiError> {
        let state = self.store.read();
        let Some(manager) = state.node(node).and_then(|node| node.manager.as_ref()) else { return Ok(()) };
        let can = self.seen.group.borrow().can_lose(manager.raft_id);
        can.map_err(|source| ApiError::Demote { node, source })
    }

    pub(super) async fn forget_node(&self, request: pb::RemoveNodeRequest) -> Result<(), ApiError> {
        let change = |state: &State| {
            let node = lookup::node(state, &request.r#ref)?;
            removable(state, node, request.force)?;
            Ok(Change::RemoveNode { node: node.id, if_version: node.meta.version })
        };
        self.propose_newest(change).await.map(|_| ())
    }

    fn node_entry(&self, node: &Node, soft: &Soft, asked: NodeId) -> pb::NodeEntry {
        let leader = *self.seen.leader.borrow();
        let raft_id = node.manager.as_ref().map(|manager| manager.raft_id);
        pb::NodeEntry {
            node: Some(node.into()),
            leader: raft_id.is_some() && raft_id == leader,
            reachable: raft_id.is_some_and(|id| self.seen.heard.borrow().contains(&id)),
            self_: node.id == asked,
            clock_ahead_ms: soft.clock_ahead_ms(node.id),
        }
    }
}

/// Sends the progress when it has changed, until nothing more is to move.
async fn watch(store: Store, id: NodeId, out: mpsc::Sender<Result<pb::NodeProgress, Status>>) {
    let mut subscription = store.subscribe();
    let mut sent = None;
    loop {
        let Ok(place) = out.reserve().await else { return };
        let begun = Instant::now();
        let now = {
            let state = store.read();
            moving(&state, &store.soft(), id)
        };
        let done = now.converged;
        if sent.as_ref() != Some(&now) {
            place.send(Ok(now.clone()));
            sent = Some(now);
        }
        if done {
            return;
        }
        rest(begun.elapsed()).await;
        // Soft states wake nobody here.
        let _ = tokio::time::timeout(LOOK, subscription.touched()).await;
    }
}
