//! What the membership is asked for and what it tells: plain values.

use skep_agent::identity::Identity;
use skep_manager::run::Counts;
use skep_proto::model::{Availability, ClusterSpec, KeyId};

use super::disk::SwarmFile;
use super::membership::Locked;

/// What `info` tells of the membership.
#[derive(Clone, Debug)]
pub(crate) enum Standing {
    /// No part of a swarm.
    Inactive,
    /// Part of one.
    Active {
        /// Addresses.
        swarm: Box<SwarmFile>,
        /// Who it is.
        identity: Box<Identity>,
        /// Numbers that only a manager has.
        counts: Option<Box<Counts>>,
        /// Why this manager takes no changes.
        read_only: Option<String>,
        /// What is missing while no manager leads, or serves this node.
        missing: Option<String>,
        /// What keeps the node from taking tasks on; empty when nothing does.
        trouble: String,
        /// Every manager that the agent knows.
        managers: Vec<String>,
        /// The unlock key that its keys lie under.
        locked_with: Option<KeyId>,
    },
    /// A manager that waits for the unlock key.
    Locked(Box<Locked>),
    /// Should be part of one.
    Failed(String),
}

/// Where a node is to be found.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Where it listens, should it be a manager.
    pub listen: std::net::SocketAddr,
    /// IP that it was told to be reached at; empty: the others see.
    pub advertise: String,
}

/// What `swarm init` was asked for, addresses settled.
#[derive(Clone, Debug)]
pub(crate) struct InitOrder {
    /// Where to listen.
    pub listen: std::net::SocketAddr,
    /// What the others reach it at.
    pub advertise: std::net::SocketAddr,
    /// Whether tasks may run here.
    pub availability: Availability,
    /// The cluster's settings.
    pub spec: ClusterSpec,
}
