//! Taking a swarm from a backup: a machine that was no node of it becomes its only manager.

use std::net::SocketAddr;
use std::sync::Arc;

use skep_agent::identity::{self, Identity};
use skep_manager::run::{Manager, NewSeat};
use skep_manager::store::State as ClusterState;
use skep_proto::model::Availability;

use super::anew::{Alone, names};
use super::{Membership, State};
use crate::daemon::disk::{self, SWARM_FORMAT, SwarmFile};

/// Where the machine is, addresses settled, and whether tasks may run on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RestoreOrder {
    /// Where to listen.
    pub listen: SocketAddr,
    /// What the others reach it at.
    pub advertise: SocketAddr,
    /// Whether tasks may run here.
    pub availability: Availability,
}

impl Membership {
    /// Whether this machine may take a swarm from a backup.
    ///
    /// # Errors
    /// When it is part of one.
    pub(crate) async fn require_free(&self) -> anyhow::Result<()> {
        self.require_inactive(&*self.state.lock().await)
    }

    /// Becomes the only manager of the swarm whose state this is.
    ///
    /// # Errors
    /// When it is part of a swarm already, or an address, a key or a disk refuses; then it is no part of any.
    pub(crate) async fn restore(self: &Arc<Self>, order: RestoreOrder, from: ClusterState) -> anyhow::Result<Alone> {
        let mut state = self.state.lock().await;
        self.require_inactive(&state)?;
        self.clear_remains().await?;
        let left_behind = names(from.managers());
        let made = self.take_over(order, from).await;
        if made.is_err() {
            self.clear_remains().await?;
        }
        *state = made?;
        self.take_effect(&mut state);
        let alone = Alone { advertise: order.advertise.to_string(), left_behind };
        let State::Active(active) = &*state else { return Ok(alone) };
        let node = active.identity.node;
        drop(state);
        tracing::warn!(left_behind = ?alone.left_behind, "this node has taken a swarm from a backup");
        self.ready(node).await;
        Ok(alone)
    }

    async fn take_over(&self, order: RestoreOrder, from: ClusterState) -> anyhow::Result<State> {
        if let Some(cluster) = from.cluster() {
            self.vault.engage(&cluster.lock)?;
        }
        let swarm = SwarmFile {
            format: SWARM_FORMAT,
            manager: true,
            listen: order.listen.to_string(),
            advertise: order.advertise.to_string(),
            managers: vec![order.advertise.to_string()],
        };
        let seat = NewSeat {
            state_dir: self.state_dir(),
            listen: order.listen,
            advertise: swarm.advertise.clone(),
            availability: order.availability,
            description: self.description().await?,
            node_key: self.vault.node_key(),
        };
        let (manager, pems) = Manager::restore(seat, from).await?;
        let identity = Identity::new(pems.certificate, pems.key, pems.root)?;
        identity::disk::store(&self.vault, &identity)?;
        disk::write_swarm(&self.setting.data_dir, &swarm)?;
        self.activate(swarm, identity, Some(manager)).await
    }
}
