//! What the agent hears that concerns the whole node: that it was removed, has a new certificate, or is to be something else.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use skep_agent::identity::Identity;
use skep_manager::run::{Manager, ManagerConfig};
use skep_proto::model::{Era, NodeId, NodeRole};
use tokio_util::sync::CancellationToken;

use super::seat::{good_again, listen_of, proof};
use super::{Membership, NOT_A_MANAGER, State};
use crate::daemon::address;
use crate::daemon::disk::{self, SwarmFile};
use crate::daemon::standing::Place;

/// Wait before another try to take a seat among the managers: they may have to elect a leader first.
const SEAT_RETRY: Duration = Duration::from_secs(2);

/// How often a manager looks whether its certificate is nearly over and nobody has renewed it. It then has a tenth of its life left,
/// six minutes at least.
const LOOK_AT_CERTIFICATE: Duration = Duration::from_secs(60);

impl Membership {
    /// Watches what the agent hears.
    pub(super) fn follow(self: &Arc<Self>, state: &State) {
        let State::Active(active) = state else { return };
        let mut view = active.agent.view();
        let membership = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
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
                let made_way = match membership.is_over().await {
                    Some(over) => membership.make_way(over).await,
                    None => true,
                };
                let settled = made_way && membership.take_role(&identity).await;
                membership.renew_by_itself().await;
                let again = if settled { LOOK_AT_CERTIFICATE } else { SEAT_RETRY };
                let over = membership.watch_over().await;
                drop(membership);
                let changed = tokio::select! {
                    changed = view.changed(), if settled => changed,
                    () = over, if settled => Ok(()),
                    () = tokio::time::sleep(again) => Ok(()),
                };
                if changed.is_err() {
                    return;
                }
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

    /// A manager that cannot reach the others any more for want of a good certificate makes itself one.
    async fn renew_by_itself(&self) {
        let state = self.state.lock().await;
        let State::Active(active) = &*state else { return };
        let Some(manager) = &active.manager else { return };
        match good_again(&self.vault, manager, active.identity.clone()) {
            Ok(identity) if identity != active.identity => active.agent.adopt(identity).await,
            Ok(_) => {}
            Err(error) => {
                tracing::error!(error = %format!("{error:#}"), "this manager's certificate is nearly over and cannot be renewed")
            }
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
        let used = active.manager.as_ref().map(|manager| manager.use_identity(&proof(identity)));
        if let Some(Err(error)) = used {
            tracing::error!(error = %skep_proto::chain::chain(&error), "the new certificate cannot be used; the old one stays");
        }
    }

    /// Becomes what the certificate says. `false`: it is to be tried again.
    async fn take_role(self: &Arc<Self>, identity: &Identity) -> bool {
        let (is_manager, swarm) = match &*self.state.lock().await {
            State::Active(active) => (active.manager.is_some(), active.swarm.clone()),
            _ => return true,
        };
        let taken = match (identity.role, is_manager) {
            (NodeRole::Manager, false) => self.become_manager(swarm, identity).await,
            (NodeRole::Worker, true) => self.become_worker().await,
            _ => return true,
        };
        if let Err(error) = &taken {
            tracing::warn!(error = %format!("{error:#}"), role = ?identity.role, "this node has not taken its role yet; it tries again");
        }
        taken.is_ok()
    }

    /// What is written down first is what a restart goes by: a seat that was not taken yet is then taken.
    async fn become_manager(self: &Arc<Self>, swarm: SwarmFile, identity: &Identity) -> anyhow::Result<()> {
        let _taking = self.taking.lock().await;
        let (swarm, era, unwanted) = self.as_manager(swarm, identity.node).await?;
        disk::write_swarm(&self.setting().data_dir, &swarm)?;
        let config = ManagerConfig { era, ..self.manager_config(&swarm, identity)? };
        // Joining takes its time, and meanwhile the node can be asked how it is.
        let manager = match Manager::open(config.clone()).await {
            Err(error) if error.is_empty() => self.join_as_manager(config, &unwanted).await?,
            opened => opened?,
        };
        let mut state = self.state.lock().await;
        match &mut *state {
            State::Active(active) if active.manager.is_none() && active.identity.node == identity.node => {
                (active.manager, active.swarm) = (Some(manager), swarm);
                tracing::info!("this node is a manager now");
            }
            _ => manager.shutdown().await,
        }
        self.set_gate(&state);
        self.follow_lock(&mut state);
        Ok(())
    }

    /// The settings of this node as a manager, and the latest era that it has heard of. An agent that has met nobody of that era knows only
    /// those who may live in an earlier one: unless whoever spoke of the era has said where its managers are, it has to meet one first.
    async fn as_manager(&self, swarm: SwarmFile, node: NodeId) -> anyhow::Result<(SwarmFile, Era, CancellationToken)> {
        let (mut known, era, unwanted) = match &*self.state.lock().await {
            State::Active(active) if active.identity.node == node => {
                let view = active.agent.view().borrow().clone();
                let met = view.era >= active.heard;
                if !met && !active.is_told {
                    bail!("join the managers of the swarm's new era: nobody who lives in it was met yet");
                }
                let known = if met { view.managers } else { Vec::new() };
                (known, view.era.max(active.heard), active.unwanted.clone())
            }
            _ => bail!("become a manager: this node has just left the swarm"),
        };
        let listen = listen_of(&swarm)?;
        // One that was a manager before asked itself first.
        let own = address::own(listen).to_string();
        known.retain(|manager| *manager != own);
        let managers = if known.is_empty() { swarm.managers.clone() } else { known };
        let place = Place { listen, advertise: swarm.advertise.clone() };
        let toward = managers.first().cloned().unwrap_or_default();
        let advertise = self.address_toward(&place, &toward)?;
        Ok((SwarmFile { manager: true, listen: listen.to_string(), advertise, managers, ..swarm }, era, unwanted))
    }

    /// The others have taken its vote already: what it kept as a manager goes.
    async fn become_worker(&self) -> anyhow::Result<()> {
        let mut state = self.state.lock().await;
        let State::Active(active) = &mut *state else { return Ok(()) };
        let Some(manager) = active.manager.take() else { return Ok(()) };
        active.locking = None;
        self.setting().gate.close(NOT_A_MANAGER);
        manager.shutdown().await;
        active.swarm = unseated(&active.swarm);
        disk::write_swarm(&self.setting().data_dir, &active.swarm)?;
        self.forget_state().await?;
        self.vault.forget()?;
        self.set_gate(&state);
        tracing::info!("this node is a worker now");
        Ok(())
    }
}

/// The settings of a node that is no manager any more.
pub(super) fn unseated(swarm: &SwarmFile) -> SwarmFile {
    let host = swarm.advertise.rsplit_once(':').map(|(host, _)| host.to_owned());
    SwarmFile { manager: false, advertise: host.unwrap_or(swarm.advertise.clone()), ..swarm.clone() }
}
