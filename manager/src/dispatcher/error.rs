//! Why a session came to nothing.

use skep_proto::convert::ConvertError;
use skep_proto::model::{NodeId, TaskId};

use crate::caller::CallerError;

/// Why a session was refused or ended by us.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// Who calls may not.
    #[error(transparent)]
    Caller(#[from] CallerError),
    /// A message that does not belong there.
    #[error("open the session: the first message must be a hello, and only the first")]
    Hello,
    /// Nothing came after the stream was opened.
    #[error("open the session: no hello came in time")]
    Silent,
    /// A malformed message.
    #[error("read the agent's message")]
    Message(#[source] ConvertError),
    /// A node tells of a task that is another's.
    #[error("take the report on task {task}: it is not a task of node {node}")]
    ForeignTask {
        /// Which.
        task: TaskId,
        /// Who told.
        node: NodeId,
    },
    /// The stream broke before it began.
    #[error("open the session: the stream broke")]
    Broken,
}

impl From<ConvertError> for DispatchError {
    fn from(source: ConvertError) -> Self {
        Self::Message(source)
    }
}
