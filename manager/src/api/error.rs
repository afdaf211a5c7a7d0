//! Why a call was refused.

use skep_proto::convert::ConvertError;
use skep_proto::model::{KeyId, KeyIdError, NodeId, NodeState, TokenError};

use super::lookup::LookupError;
use super::validate::Invalid;
use crate::caller::CallerError;
use crate::group::QuorumLoss;
use crate::store::ProposeError;

/// Why a Control call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Who calls may not.
    #[error(transparent)]
    Caller(#[from] CallerError),
    /// The message is malformed.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// The spec cannot be run as it is.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// What it names is not there, or is more than one thing.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// An update that does not say what it was computed from.
    #[error("update {what}: the request names no version; read the object, change it and send its version along")]
    NoVersion {
        /// Kind and name.
        what: String,
    },
    /// The name of the spec is not that of the service.
    #[error("rename service {from} to {to}: services cannot be renamed; create a new one")]
    Rename {
        /// As it is.
        from: String,
        /// As was asked.
        to: String,
    },
    /// Others are being taken.
    #[error("take a backup: two are being taken just now; try again when one of them is done")]
    Backups,
    /// There is no cluster yet.
    #[error("read the cluster: this manager has none yet")]
    NoCluster,
    /// A node that may still run tasks.
    #[error("remove node {node}: {}; or use --force", not_down(*state))]
    NotDown {
        /// Which.
        node: NodeId,
        /// How it is.
        state: NodeState,
    },
    /// A node that is down, and may still run what may not run twice.
    #[error(
        "remove node {node}: {count} tasks that may not run twice may not have stopped there yet; wait until skep node ps shows no task \
         of it as unknown, or, if the machine is off, use --force"
    )]
    SingleWriters {
        /// Which.
        node: NodeId,
        /// How many.
        count: usize,
    },
    /// A node that answers, and runs what may not run twice.
    #[error(
        "remove node {node}: it runs {count} tasks that may not run twice; drain it first, so that they stop before others start"
    )]
    LiveSingleWriters {
        /// Which.
        node: NodeId,
        /// How many.
        count: usize,
    },
    /// A manager.
    #[error("remove node {node}: it is a manager; demote it first")]
    RemoveManager {
        /// Which.
        node: NodeId,
    },
    /// Without its vote those that remain could not decide.
    #[error("demote node {node}")]
    Demote {
        /// Which.
        node: NodeId,
        /// What would remain.
        #[source]
        source: QuorumLoss,
    },
    /// A token that should live for too long.
    #[error("make a join token: --expires takes at most 366 days; leave it out for a token that never expires")]
    TokenLife,
    /// A token for too many.
    #[error("make a join token: --uses takes at most {max}; leave it out for a token that any number may use")]
    TokenUses {
        /// Bound.
        max: u32,
    },
    /// One more without a limit.
    #[error("make another join token: the standing one has no limit already; give this one --expires or --uses")]
    TokenUnlimited,
    /// All that there is room for admit somebody.
    #[error(
        "make another join token: {count} with limits are still good; let some expire, or end them all with --rotate"
    )]
    TooManyTokens {
        /// How many.
        count: usize,
    },
    /// A new token that somebody replaced at once.
    #[error("make a join token: it was replaced by another one in the same moment; see `swarm join-token`")]
    TokenGone,
    /// The token that is to be replaced cannot be read.
    #[error("replace the join token")]
    Token(#[from] TokenError),
    /// All members must have the same, and they have it from their start.
    #[error("change how members of Raft hear each other: that is settled by `skep swarm init`")]
    RaftTiming,
    /// There is no unlock key.
    #[error(
        "{what} the unlock key: there is none, because autolock is off; turn it on with `skep swarm update --autolock`"
    )]
    AutolockOff {
        /// A verb.
        what: &'static str,
    },
    /// A key that nobody remembers.
    #[error(
        "show the unlock key {id}: the swarm remembers none with this id; the last eight are kept, so look where you wrote it down"
    )]
    NoUnlockKey {
        /// Which.
        id: KeyId,
    },
    /// A text that is no key's id.
    #[error(transparent)]
    KeyId(#[from] KeyIdError),
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] ProposeError),
}

/// Why a node cannot be removed yet, and what to do.
fn not_down(state: NodeState) -> &'static str {
    match state {
        NodeState::Disconnected => "its daemon was stopped a moment ago; wait some seconds until it counts as down",
        _ => "it is not down; stop its daemon or let it leave first",
    }
}
