//! Why a machine did not become a manager, or did not cease to be one.

use skep_proto::model::NodeId;

use crate::caller::CallerError;
use crate::dialect::OtherDialect;
use crate::group::QuorumLoss;
use crate::net::NetError;
use crate::store::ProposeError;

/// Why a call about membership came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// Who calls may not.
    #[error(transparent)]
    Caller(#[from] CallerError),
    /// It would not understand what the others write.
    #[error("join as a manager")]
    Dialect(#[from] OtherDialect),
    /// The request names no Raft id.
    #[error("join as a manager: the request has no raft id")]
    NoRaftId,
    /// The address is not HOST:PORT.
    #[error("join as a manager: {address:?} is not HOST:PORT; give one with --advertise-addr")]
    Address {
        /// As given.
        address: String,
    },
    /// Nobody answers where the joiner says that it is.
    #[error(
        "join as a manager: nobody answers at {address}, the address that the other managers are to use; open that port, or give \
         another address with --advertise-addr"
    )]
    Unreachable {
        /// HOST:PORT.
        address: String,
        /// Why.
        #[source]
        source: NetError,
    },
    /// Somebody else answers there.
    #[error("join as a manager: another machine answers at {address}; give the right address with --advertise-addr")]
    Another {
        /// HOST:PORT.
        address: String,
    },
    /// The call back failed.
    #[error("join as a manager: ask the machine at {address} who it is: {why}")]
    Silent {
        /// HOST:PORT.
        address: String,
        /// In its words.
        why: String,
    },
    /// The user has decided otherwise meanwhile.
    #[error("join as a manager: node {node} is to be a worker")]
    NotWanted {
        /// Who calls.
        node: NodeId,
    },
    /// It does not come about.
    #[error("change the group of managers: it was not done within {seconds} s; it goes on, see `skep node ls`")]
    Slow {
        /// Waited so long.
        seconds: u64,
    },
    /// Those that remain could not decide.
    #[error("leave")]
    Quorum(#[from] QuorumLoss),
    /// This manager does not lead (any more).
    #[error("change the group of managers: this manager does not lead the swarm")]
    NotLeader,
    /// The state could not be written.
    #[error("write the node")]
    Write(#[from] ProposeError),
}
