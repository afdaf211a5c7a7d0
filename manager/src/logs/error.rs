//! Why logs were not read or not taken.

use skep_proto::model::{ParseIdError, TaskId};

use crate::caller::CallerError;

/// Why a log stream was refused or ended by us.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Who calls may not.
    #[error(transparent)]
    Caller(#[from] CallerError),
    /// Bytes that are no id.
    #[error("read the published lines")]
    Message(#[source] ParseIdError),
    /// The first message names no subscription.
    #[error("take the published lines: the first message must name the subscription")]
    NoSubscription,
    /// The reader has gone, or it was never this node's part.
    #[error("take the published lines: this node has no such subscription (any more)")]
    UnknownSubscription,
    /// A line of a task that was not asked for.
    #[error("take the lines of task {task}: they were not asked for")]
    ForeignTask {
        /// Which.
        task: TaskId,
    },
    /// As many readers as are let in.
    #[error("read logs: {max} readers are at it already; try again later")]
    Full {
        /// How many.
        max: usize,
    },
}
