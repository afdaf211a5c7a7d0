//! What the agent hears that concerns the whole node: that it was removed, or has a new certificate.

use std::sync::Arc;

use skep_agent::identity::Identity;
use skep_manager::ca::NodeIdentity;

use super::{Membership, State};

impl Membership {
    /// Watches what the agent hears: that the node was removed, or has a new certificate.
    pub(super) fn follow(self: &Arc<Self>, state: &State) {
        let State::Active(active) = state else { return };
        let mut view = active.agent.view();
        let membership = Arc::downgrade(self);
        tokio::spawn(async move {
            while view.changed().await.is_ok() {
                let (removed, identity) = {
                    let seen = view.borrow_and_update();
                    (seen.removed, Arc::clone(&seen.identity))
                };
                let Some(membership) = membership.upgrade() else { return };
                if removed {
                    membership.was_removed().await;
                    return;
                }
                membership.renewed(&identity).await;
            }
        });
    }

    /// The managers removed this node: it leaves as if it had been told to here.
    async fn was_removed(&self) {
        tracing::warn!("this node was removed from the swarm; it leaves");
        if let Err(error) = self.leave(true).await {
            tracing::error!(error = %format!("{error:#}"), "this node could not remove everything of the swarm it was removed from");
        }
    }

    /// From now on connections to the manager's port see the new certificate.
    async fn renewed(&self, identity: &Identity) {
        let mut state = self.state.lock().await;
        let State::Active(active) = &mut *state else { return };
        if active.identity == *identity {
            return;
        }
        active.identity = identity.clone();
        let proof = NodeIdentity {
            node: identity.node,
            certificate: identity.certificate.clone(),
            key: identity.key.clone(),
            root: identity.root.clone(),
        };
        let used = active.manager.as_ref().map(|manager| manager.use_identity(&proof));
        if let Some(Err(error)) = used {
            tracing::error!(error = %skep_proto::chain::chain(&error), "the new certificate cannot be used; the old one stays");
        }
    }
}
