//! Why the leader could not be asked.

use std::sync::Arc;

use skep_proto::model::NodeId;

use super::outlook::Outlook;
use crate::caller::CallerError;
use crate::net::DialError;
use crate::store::ProposeError;

/// Why a call that is the leader's got no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ForwardError {
    /// There is none.
    #[error("reach the leader of the swarm: {0}")]
    NoLeader(Outlook),
    /// There is one, and this manager cannot connect to it.
    #[error(
        "pass the call on to the leader of the swarm ({leader}); nothing was changed, and another manager may reach it"
    )]
    Unreachable {
        /// Hostname and address.
        leader: String,
        /// Why.
        #[source]
        source: Arc<DialError>,
    },
    /// The one that was asked says that it does not lead, again and again.
    #[error(
        "find the leader of the swarm: {asked} does not lead (any more); nothing was changed; try again in a moment"
    )]
    Unsettled {
        /// Hostname and address.
        asked: String,
    },
    /// This manager leads and cannot make sure that it still does.
    #[error("make sure that the answer is the newest")]
    Unsure(#[source] ProposeError),
    /// It was asked to change something and went away before it answered. Only the caller knows whether asking twice is harmless.
    #[error(
        "get the answer of the leader ({leader}): it went away, and the change may or may not have been made; look before trying again"
    )]
    MaybeDone {
        /// Hostname and address.
        leader: String,
    },
    /// It was asked to tell something and went away.
    #[error("get the answer of the leader ({leader}): it went away; try again")]
    Lost {
        /// Hostname and address.
        leader: String,
    },
    /// An answer that has begun cannot go on.
    #[error("go on with the answer: the leader of the swarm has changed; ask again")]
    LeaderChanged,
    /// As many calls are under way as the connections take.
    #[error("pass the call on: {max} calls to the leader are under way already; try again later")]
    Full {
        /// How many.
        max: usize,
    },
    /// Passed on to a manager that does not lead. The manager that passed it on reads the header that goes with it.
    #[error("answer: this manager does not lead the swarm")]
    NotLeading {
        /// Raft id of who does; 0: unknown.
        leader: u64,
    },
    /// Passed on by somebody who may not.
    #[error(transparent)]
    Caller(#[from] CallerError),
    /// Passed on by a manager that writes another header.
    #[error("read for whom manager {by} asks; are all managers of one version?")]
    Envelope {
        /// Who passed it on.
        by: NodeId,
    },
    /// The daemon stops.
    #[error("answer: this manager is stopping; ask another one")]
    Stopping,
}
