//! Why there is no manager.

use std::time::Duration;

use crate::ca::CaError;
use crate::dialect::OtherDialect;
use crate::net::NetError;
use crate::raft::RaftError;
use crate::store::ProposeError;

/// Why a manager did not start.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// Keys or certificates could not be made.
    #[error("make the cluster's keys")]
    Keys(#[source] CaError),
    /// The state cannot be read.
    #[error("open the cluster's state")]
    Raft(#[source] RaftError),
    /// The port cannot be served.
    #[error("serve the cluster's port")]
    Port(#[source] NetError),
    /// There is a state where a new cluster was to begin.
    #[error("create the cluster: its state directory already holds one; remove it first")]
    NotEmpty,
    /// No leader came about.
    #[error("create the cluster: no leader was elected within {0:?}")]
    NoLeader(Duration),
    /// The first transaction did not go through.
    #[error("write the new cluster")]
    Write(#[source] ProposeError),
    /// The managers that are there would not be understood.
    #[error("join as a manager")]
    Dialect(#[source] OtherDialect),
    /// What was given is no state of a cluster.
    #[error("use the backup: it holds no cluster")]
    NoCluster,
    /// It was told to give it up: the node leaves.
    #[error("become a manager: the node leaves the swarm")]
    Unwanted,
    /// The other managers did not let this one in or go, or none was reached.
    #[error("{}", words(.0))]
    Membership(tonic::Status),
}

impl ManagerError {
    /// There is no state where one must be: this machine lost what it had as a manager, or never was one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Raft(RaftError::Empty { .. }))
    }
}

/// The other side's sentence, as the end of ours.
fn words(status: &tonic::Status) -> &str {
    status.message().strip_prefix("failed to ").unwrap_or(status.message())
}
