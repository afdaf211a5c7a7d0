//! The unlock key: shown, and replaced.

use std::sync::Arc;

use skep_proto::model::{Autolock, Cluster, Node, NodeState, UnlockKey};
use skep_proto::pb;

use super::control::ControlService;
use crate::api::ApiError;
use crate::store::{Change, Soft, State};
use crate::sys;

impl ControlService {
    /// The key in force, or the one of that id.
    pub(super) fn unlock_key(&self, request: &pb::UnlockKeyRequest) -> Result<pb::UnlockKeyReply, ApiError> {
        let state = self.store.read();
        let lock = &state.cluster().ok_or(ApiError::NoCluster)?.lock;
        if request.id.is_empty() {
            return lock.key.as_ref().map(reply).ok_or(ApiError::AutolockOff { what: "show" });
        }
        let id = request.id.parse()?;
        lock.find(id).map(reply).ok_or(ApiError::NoUnlockKey { id })
    }

    /// Replaces the key in force by a new one.
    pub(super) async fn replace_unlock_key(&self) -> Result<pb::UnlockKeyReply, ApiError> {
        let drawn = draw();
        let key = drawn.clone();
        let change = move |state: &State| {
            let mut cluster = Cluster::clone(state.cluster().ok_or(ApiError::NoCluster)?);
            cluster.lock = rotated(&cluster.lock, key.clone())?;
            Ok(Change::PutCluster(Box::new(cluster)))
        };
        self.propose_newest(change).await?;
        Ok(reply(&drawn))
    }
}

/// A new key for the managers.
pub(super) fn draw() -> UnlockKey {
    UnlockKey::new(sys::random_key())
}

fn rotated(lock: &Autolock, key: UnlockKey) -> Result<Autolock, ApiError> {
    if lock.key.is_none() {
        return Err(ApiError::AutolockOff { what: "replace" });
    }
    Ok(lock.with(Some(key)))
}

/// Managers whose keys do not lie yet as the cluster wants them, as far as they have said so.
pub(super) fn waits(state: &State, soft: &Soft) -> Vec<pb::LockWait> {
    let version = state.cluster().map_or(0, |cluster| cluster.lock.version);
    let lies = |node: &Node| soft.presented(node.id).is_some_and(|presented| presented.lock == version);
    let wait = |node: &Arc<Node>| pb::LockWait {
        name: node.description.hostname.clone(),
        down: node.status.state == NodeState::Down,
    };
    state.managers().filter(|node| version > 0 && !lies(node)).map(wait).collect()
}

fn reply(key: &UnlockKey) -> pb::UnlockKeyReply {
    pb::UnlockKeyReply { key: key.to_string(), id: key.id().to_string() }
}
