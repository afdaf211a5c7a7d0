//! Waiting until the swarm has taken this node in, so that a command that returns 0 has made a node that can be used.

use std::time::Duration;

use anyhow::{anyhow, bail};
use skep_agent::AgentView;
use skep_agent::identity::Identity;
use skep_agent::identity::client::{JoinOrder, is_of};
use skep_proto::model::{NodeId, NodeState};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::{Membership, State};

/// How long the managers may take. They take a few milliseconds; the rest is for a machine under load.
const ARRIVE_MAX: Duration = Duration::from_secs(10);

/// Between two looks at the own node's state.
const LOOK: Duration = Duration::from_millis(2);

impl Membership {
    /// Waits for the first session with a manager.
    ///
    /// # Errors
    /// When there is none in time. The agent goes on trying.
    pub(super) async fn arrived(&self, mut view: watch::Receiver<AgentView>) -> anyhow::Result<()> {
        let met = timeout(ARRIVE_MAX, view.wait_for(|view| view.manager.is_some())).await;
        if !met.is_ok_and(|met| met.is_ok()) {
            bail!(
                "join the swarm: this node has its certificate, but no manager has talked to it within {} s; it goes on \
                 trying, and `skep info` tells how it stands",
                ARRIVE_MAX.as_secs()
            );
        }
        Ok(())
    }

    /// A join to the manager there, with the token as the user gave it. Of a machine that may not join anyway this is said first.
    ///
    /// # Errors
    /// When the token is none.
    pub(crate) async fn new_join(&self, remote: &str, token: &str) -> anyhow::Result<JoinOrder> {
        match JoinOrder::new(remote, token) {
            Ok(order) => Ok(order),
            Err(error) => {
                self.require_inactive(&*self.state.lock().await)?;
                Err(error.into())
            }
        }
    }

    /// A node that has lost every manager it knew is told of another one of the same swarm: it need not leave. `None`: that is not how
    /// it stands.
    pub(crate) async fn meet_again(&self, order: &JoinOrder) -> Option<anyhow::Result<Identity>> {
        let (identity, mut view) = {
            let state = self.state.lock().await;
            let State::Active(active) = &*state else { return None };
            let view = active.agent.view();
            if view.borrow().manager.is_some() || !is_of(order.digest, &active.identity) {
                return None;
            }
            active.agent.meet(order.address.clone()).await;
            (active.identity.clone(), view)
        };
        let met = timeout(ARRIVE_MAX, view.wait_for(|view| view.manager.is_some())).await;
        Some(match met {
            Ok(Ok(_)) => Ok(identity),
            _ => Err(anyhow!(
                "meet the swarm again: no manager that leads it has talked to this node within {} s; its tasks run on, and it goes on \
                 trying at {}, too",
                ARRIVE_MAX.as_secs(),
                order.address
            )),
        })
    }

    /// Waits until tasks can be placed on this manager's own node. The swarm is there in any case.
    pub(super) async fn ready(&self, node: NodeId) {
        let ready = async {
            while !self.is_ready(node).await {
                sleep(LOOK).await;
            }
        };
        if timeout(ARRIVE_MAX, ready).await.is_err() {
            tracing::warn!("the swarm is there, but its first node is not ready yet");
        }
    }

    async fn is_ready(&self, node: NodeId) -> bool {
        let state = self.state.lock().await;
        let State::Active(active) = &*state else { return true };
        let Some(manager) = &active.manager else { return true };
        let seen = manager.store().read();
        seen.node(node).is_some_and(|node| node.status.state == NodeState::Ready)
    }
}
