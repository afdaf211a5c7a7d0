//! What can go wrong with an agent as a whole. What goes wrong with one task stands in that task's status instead.

use std::io;
use std::path::PathBuf;

use crate::identity::IdentityError;
use crate::record::DecodeError;
use crate::sys::ExecError;

/// An agent that could not start or stop.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A file or directory of the agent.
    #[error("read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The same, in the other direction.
    #[error("write {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The disk lost something.
    #[error(
        "read the task list {path}; move the file away and start again: this node's containers are then removed, and the \
         managers send its tasks anew"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: DecodeError,
    },
    /// Starting without knowing would run tasks twice.
    #[error("find out which containers are on this node")]
    Recover(#[source] ExecError),
    /// The node cannot say what it is.
    #[error("describe this machine")]
    Describe(#[source] ExecError),
    /// Certificate or key.
    #[error("use the node's certificate")]
    Identity(#[from] IdentityError),
    /// Some containers are still there.
    #[error("remove all containers: {count} are left; stop them by hand, or start the daemon again to have it try")]
    LeaveIncomplete {
        /// How many.
        count: usize,
    },
    /// The agent ended while it was asked for something: it failed, and its log says how.
    #[error("ask the agent, which has ended")]
    Ended,
}
