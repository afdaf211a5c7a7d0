//! Carries the replacement of the root through, on the leader only. It starts from the state and from what agents say of themselves, so
//! that another leader goes on where this one was.

use std::collections::BTreeMap;

use skep_proto::model::{Cluster, Moment, NodeId, NodeState, NodeStatus};
use tokio_util::sync::CancellationToken;

use super::super::rotation::{Goal, Plan, finished, left_behind, members, plan};
use super::super::token;
use super::draw_token;
use crate::store::{Change, Store, Topics, Transaction};
use crate::sys;

/// What a node is told by whoever lists it after it was left behind.
const LEFT_BEHIND: &str = "left behind when the swarm's root certificate was replaced; it must leave and join again";

/// Who proves itself how is in the nodes, whom they are to trust in the cluster.
const TOPICS: Topics = Topics { nodes: true, cluster: true, ..Topics::NONE };

/// Looks whenever something that matters has changed, until `stop`.
pub async fn run(store: Store, stop: CancellationToken) {
    let mut subscription = store.subscribe_to(TOPICS);
    let mut presented = store.watch_presented();
    let mut told = BTreeMap::new();
    loop {
        let wake_at = turn(&store, &mut told).await;
        let now = sys::now();
        let alarm = wake_at.map_or(FULL_LOOK, |at| at.since(now)).min(FULL_LOOK);
        tokio::select! {
            () = stop.cancelled() => break,
            _ = subscription.touched() => {}
            _ = presented.changed() => {}
            () = tokio::time::sleep(alarm) => {}
        }
    }
    store.note_rotation(None);
}

/// A missed wake-up costs so much time and nothing else.
const FULL_LOOK: std::time::Duration = std::time::Duration::from_secs(30);

/// One look, and what follows from it.
async fn turn(store: &Store, told: &mut BTreeMap<NodeId, Moment>) -> Option<Moment> {
    let Some(goal) = store.read().cluster().and_then(|cluster| goal(cluster)) else {
        if !told.is_empty() {
            told.clear();
            store.ask_renewals(std::collections::BTreeSet::new());
        }
        store.note_rotation(None);
        return None;
    };
    let members = members(&store.read(), &store.soft(), &goal);
    let Plan { told: now_told, is_done, progress, wake_at } = plan(&members, told, sys::now());
    *told = now_told;
    store.ask_renewals(told.keys().copied().collect());
    store.note_rotation(Some(progress));
    if is_done {
        finish(store, &left_behind(&members)).await;
    }
    wake_at
}

/// What nodes say of themselves when they are there.
fn goal(cluster: &Cluster) -> Option<Goal> {
    let next = cluster.rotation.as_ref()?;
    Some(Goal {
        root: token::digest(&next.certificate)?.to_bytes(),
        trust: token::trust_digest(&cluster.trust()).to_bytes(),
    })
}

/// Drops the old root. When somebody else wrote the cluster meanwhile, the next look tries again.
async fn finish(store: &Store, left: &std::collections::BTreeSet<NodeId>) {
    let changes = {
        let state = store.read();
        let Some(cluster) = state.cluster() else { return };
        let Some(digest) = cluster.rotation.as_ref().and_then(|next| token::digest(&next.certificate)) else { return };
        let Some(after) = finished(cluster, draw_token(digest), draw_token(digest)) else { return };
        let told = left.iter().filter_map(|id| state.node(*id)).map(|node| {
            let status = NodeStatus { state: NodeState::Down, message: LEFT_BEHIND.to_owned(), ..node.status.clone() };
            Change::SetNodeStatus { node: node.id, status, description: None }
        });
        told.chain([Change::PutCluster(Box::new(after))]).collect()
    };
    match store.propose(Transaction { changes, at: sys::now() }).await {
        Ok(_) => tracing::info!(left_behind = left.len(), "the root certificate is replaced; join tokens are new ones"),
        Err(error) => tracing::debug!(%error, "the old root is not dropped yet"),
    }
}
