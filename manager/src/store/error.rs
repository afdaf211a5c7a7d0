//! Why a proposal came to nothing.

use skep_proto::model::{GrantError, NodeId, Protocol, ServiceId, TaskId};

/// Why `apply` refused a transaction; the state is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It was computed from an older version.
    #[error(
        "write {what}: update out of sequence (it is at version {is}, the request was computed from {was}); read it again and retry"
    )]
    Stale {
        /// Kind and id.
        what: String,
        /// Version in the store.
        is: u64,
        /// Version named by the change.
        was: u64,
    },
    /// No such node.
    #[error("find node {0}")]
    NoNode(NodeId),
    /// No such service.
    #[error("find service {0}")]
    NoService(ServiceId),
    /// No such task.
    #[error("find task {0}")]
    NoTask(TaskId),
    /// There is no cluster yet, or already one.
    #[error("write the cluster: it {0}")]
    Cluster(&'static str),
    /// The token admits nobody any more.
    #[error(transparent)]
    Token(#[from] GrantError),
    /// Nobody knows the token, or no longer.
    #[error("join: the token is not valid (any more); get the current one with `swarm join-token`")]
    NoToken,
    /// The id is taken.
    #[error("create {0}: the id is taken")]
    Exists(String),
    /// The name is taken.
    #[error("create service {name}: the name is taken by service {by}; use another name, or remove that service first")]
    NameTaken {
        /// The name.
        name: String,
        /// Who has it.
        by: ServiceId,
    },
    /// The published port is taken.
    #[error("publish port {port}/{protocol}: service {by} publishes it; use another port")]
    PortTaken {
        /// The port.
        port: u16,
        /// Its transport.
        protocol: Protocol,
        /// Name of the service that has it.
        by: String,
    },
    /// A spec that may not follow the one that is there.
    #[error("update service {name}: {field} cannot be changed; remove the service and create it anew")]
    Immutable {
        /// The service.
        name: String,
        /// What differs.
        field: &'static str,
    },
    /// Nobody would be left to be a manager.
    #[error("demote node {0}: no other node is to be a manager, and a swarm needs one; promote another first")]
    LastManager(NodeId),
    /// Desired states only grow.
    #[error("take back what is desired of task {0}: it only grows")]
    Backward(TaskId),
    /// The entry was written by a newer version and says something this one does not know.
    #[error("apply change {0}: this version does not know it")]
    Unknown(String),
}

/// Why there is no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// The change was looked at and refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// This manager does not lead (any more); the change may or may not have been made.
    #[error(
        "change anything: this manager does not lead the swarm (any more), and the change may or may not have been made; look before \
         trying again"
    )]
    NotLeader,
    /// The log cannot be written. The change was not made, unless this manager dies before it could write again: then it may be
    /// found in what the failed write left.
    #[error(
        "change anything: this manager is read-only: {0}; make room on its disk, and it takes changes again by itself"
    )]
    ReadOnly(String),
    /// Larger than a log entry may be; nothing was changed.
    #[error("change so much at once: the change takes {bytes} bytes and at most {max} fit; make it in smaller steps")]
    TooLarge {
        /// What it takes.
        bytes: usize,
        /// What an entry may take.
        max: usize,
    },
    /// More proposals wait than are let in.
    #[error("change anything: too many changes wait already; try again in a moment")]
    Busy,
}
