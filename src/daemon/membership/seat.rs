//! This machine's seat among the managers: how it takes it, keeps it over restarts and moves, and gives it up.

use std::net::{SocketAddr, UdpSocket};

use anyhow::{Context, anyhow};
use skep_agent::identity::{self, Identity};
use skep_agent::vault::Vault;
use skep_manager::ca::NodeIdentity;
use skep_manager::group::{Group, quorum};
use skep_manager::run::{Manager, ManagerConfig};
use skep_proto::model::Era;
use tokio_util::sync::CancellationToken;

use super::super::address;
use super::super::disk::{self, SwarmFile};
use super::super::run::candidates;
use super::super::standing::Place;
use super::Membership;

/// Addresses of managers that are kept: the newest of those that a user named, over all moves.
const MANAGERS_MAX: usize = 16;

impl Membership {
    /// Takes up the seat that this machine had. One that lost what it kept takes a new one: the others have everything.
    pub(super) async fn open_manager(&self, swarm: &SwarmFile, identity: &Identity) -> anyhow::Result<Manager> {
        match Manager::open(self.manager_config(swarm, identity)?).await {
            Err(error) if error.is_empty() => {
                tracing::warn!("this manager has lost what it kept of the cluster; it joins the other managers anew");
                let joined =
                    self.join_as_manager(self.manager_config(swarm, identity)?, &CancellationToken::new()).await;
                joined.context("get the cluster's state, which is gone from this machine, from another manager")
            }
            opened => Ok(opened?),
        }
    }

    /// Takes a new seat. What is left of a try that came to nothing would be taken for a seat by the next one, so it goes: also what one
    /// left that was cut short.
    pub(super) async fn join_as_manager(
        &self,
        config: ManagerConfig,
        unwanted: &CancellationToken,
    ) -> anyhow::Result<Manager> {
        self.discard_state().await?;
        match Manager::join_unless(config, unwanted).await {
            Ok(manager) => Ok(manager),
            Err(error) => {
                self.discard_state().await?;
                Err(error.into())
            }
        }
    }

    pub(super) fn manager_config(&self, swarm: &SwarmFile, identity: &Identity) -> anyhow::Result<ManagerConfig> {
        Ok(ManagerConfig {
            state_dir: self.state_dir(),
            identity: proof(identity),
            listen: swarm.listen.parse().with_context(|| format!("use {:?} as the listen address", swarm.listen))?,
            advertise: swarm.advertise.clone(),
            managers: swarm.managers.clone(),
            node_key: self.vault.node_key(),
            era: Era::default(),
        })
    }

    /// The settings with the addresses that the daemon was started with, if it was given any. An address is not an identity: the node
    /// stays what it is, and tells the others.
    pub(super) fn with_new_addresses(&self, swarm: SwarmFile) -> anyhow::Result<SwarmFile> {
        let managers = known_now(&self.setting().managers, &swarm);
        let moved = SwarmFile { advertise: self.moved_to(&swarm)?, managers, ..swarm.clone() };
        if moved != swarm {
            disk::write_swarm(&self.setting().data_dir, &moved)?;
        }
        Ok(moved)
    }

    fn moved_to(&self, swarm: &SwarmFile) -> anyhow::Result<String> {
        let Some(asked) = &self.setting().advertise else { return Ok(swarm.advertise.clone()) };
        let address = address::advertise(asked, listen_of(swarm)?, &candidates()?)?;
        Ok(if swarm.manager { address.to_string() } else { address.ip().to_string() })
    }

    /// What a manager is reached at: as asked, else the address of this machine from which it reaches that other manager.
    pub(super) fn address_toward(&self, place: &Place, manager: &str) -> anyhow::Result<String> {
        if !place.advertise.is_empty() {
            let ip = place.advertise.parse().with_context(|| format!("use {:?} as an address", place.advertise))?;
            return Ok(SocketAddr::new(ip, place.listen.port()).to_string());
        }
        if !place.listen.ip().is_unspecified() {
            return Ok(place.listen.to_string());
        }
        let toward = toward(manager).with_context(|| {
            format!("find the address from which this machine reaches {manager}; give one with --advertise-addr")
        })?;
        Ok(SocketAddr::new(toward.ip(), place.listen.port()).to_string())
    }
}

/// Managers that were named now come first; that they are named every time does not make them more.
pub(super) fn known_now(named: &[String], swarm: &SwarmFile) -> Vec<String> {
    let before = swarm.managers.iter().filter(|manager| !named.contains(manager));
    named.iter().chain(before).take(MANAGERS_MAX).cloned().collect()
}

/// The settings' listening address; a worker that was never to be a manager has the default.
pub(super) fn listen_of(swarm: &SwarmFile) -> anyhow::Result<SocketAddr> {
    address::listen(&swarm.listen)
}

/// Asks the kernel for the route without sending anything.
fn toward(manager: &str) -> std::io::Result<SocketAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(manager)?;
    socket.local_addr()
}

/// The identity in the manager's words.
pub(super) fn proof(identity: &Identity) -> NodeIdentity {
    NodeIdentity {
        node: identity.node,
        cluster: identity.cluster,
        certificate: identity.certificate.clone(),
        key: identity.key.clone(),
        root: identity.root.clone(),
    }
}

/// The identity that a manager proves itself with from now on: with a certificate that it made itself if the one that it has is nearly
/// over, as after months without power, when every manager would wait for another one that is good.
///
/// # Errors
/// When the new one cannot be made, kept or used.
pub(super) fn good_again(vault: &Vault, manager: &Manager, identity: Identity) -> anyhow::Result<Identity> {
    let Some(made) = manager.renewed_by_itself(&proof(&identity))? else { return Ok(identity) };
    let identity = Identity::new(made.certificate, made.key, made.root)?;
    identity::disk::store(vault, &identity)?;
    manager.use_identity(&proof(&identity))?;
    tracing::info!(node.id = %identity.node, "this manager renewed its certificate by itself");
    Ok(identity)
}

/// The same for a node that starts.
///
/// # Errors
/// When the new one cannot be made, kept or used; the manager is closed then.
pub(super) async fn good_at_start(
    vault: &Vault,
    manager: Option<Manager>,
    identity: Identity,
) -> anyhow::Result<(Identity, Option<Manager>)> {
    let renewed = match &manager {
        Some(manager) => good_again(vault, manager, identity),
        None => Ok(identity),
    };
    match renewed {
        Ok(identity) => Ok((identity, manager)),
        Err(error) => {
            close(manager).await;
            Err(error)
        }
    }
}

/// Why a manager does not leave unless it is forced to.
pub(super) fn why_not_leave(group: &Group) -> anyhow::Error {
    let remaining = group.voters().count().saturating_sub(1);
    match remaining {
        0 => anyhow!(
            "leave the swarm: this node is its last manager, and leaving erases all current state of the swarm; use --force to \
             do so"
        ),
        remaining => anyhow!(
            "leave the swarm: this node is a manager, and without it {remaining} of them remain, of which {} must be reachable; \
             demote it first with `skep node demote`, or use --force to leave at once",
            quorum(remaining)
        ),
    }
}

/// Closes a state that could not be used after all: the next try opens the same one.
pub(super) async fn close(manager: Option<Manager>) {
    if let Some(manager) = manager {
        manager.shutdown().await;
    }
}

/// Has the others go on without this manager's vote, if any of them can be reached. `true`: they do.
pub(super) async fn give_up_the_vote(manager: &Manager) -> bool {
    if manager.group().voters().count() < 2 {
        return false;
    }
    let left = manager.leave(true).await;
    if let Err(error) = &left {
        let error = skep_proto::chain::chain(error).to_string();
        tracing::warn!(
            error,
            "this manager's vote could not be taken from it; demote and remove the node on another manager, as soon as the swarm has a leader"
        );
    }
    left.is_ok()
}

#[cfg(test)]
mod tests {
    use skep_manager::group::MemberView;

    use super::*;

    #[test]
    fn a_refusal_to_leave_tells_what_would_remain() {
        let group = |count| {
            let member = |id| MemberView { id, is_voter: true, matched: 0, is_heard: true };
            Group { members: (1..=count).map(member).collect(), ..Group::default() }
        };
        assert!(why_not_leave(&group(1)).to_string().contains("last manager"));
        let three = why_not_leave(&group(3)).to_string();
        assert!(three.contains("2 of them remain, of which 2 must be reachable"), "{three}");
    }
}
