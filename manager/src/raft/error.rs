//! What can fail with the log and the snapshots.

use std::io;
use std::path::PathBuf;

/// Why Raft could not start, or could not write.
#[derive(Debug, thiserror::Error)]
pub enum RaftError {
    /// Another process has the directory open.
    #[error("lock {path}: another process uses this data directory; stop it first")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A file operation failed.
    #[error("{action} {path}")]
    File {
        /// A verb, as in `write`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The key is not there but what it encrypts is, or it is no key.
    #[error(
        "use the data key {path}: {why}; without it the state cannot be read: restore the file from a backup, or, if other managers \
             run, give this one up with `skep swarm leave --force` and join again"
    )]
    Key {
        /// The key file.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// There is no state where one must be.
    #[error("open the cluster's state in {path}: it is empty")]
    Empty {
        /// The raft directory.
        path: PathBuf,
    },
    /// Who this member is cannot be read, or is missing beside a log.
    #[error(
        "read who this manager is from {path}: it is missing or damaged, so nothing was changed; restore this manager's raft \
         directory from a backup, or move it away and let the manager join the cluster anew"
    )]
    Member {
        /// The file.
        path: PathBuf,
    },
    /// This node is not in the state that it is to go on with.
    #[error(
        "go on from {path}: this node is not in the state that it holds: it was removed from the swarm, or the state is another's"
    )]
    Foreign {
        /// The raft directory.
        path: PathBuf,
    },
    /// A log file is damaged where it cannot be a torn last write.
    #[error(
        "read the log: {path} is damaged at byte {offset} and acknowledged writes follow, so nothing was changed; restore the \
         directory `manager` of the data directory from a backup, or give this manager up with `skep swarm leave --force`"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the first unreadable record begins.
        offset: usize,
    },
    /// A log file is missing between others, or before the first.
    #[error(
        "read the log: {path} is missing, so nothing was changed; restore the directory `manager` of the data directory from a \
         backup, or give this manager up with `skep swarm leave --force`"
    )]
    Missing {
        /// The file that should be there.
        path: PathBuf,
    },
    /// The files fit together but their entries do not.
    #[error(
        "join the log in {dir}: entry {index} does not follow what is before it, so nothing was changed; restore the directory \
         `manager` of the data directory from a backup, or give this manager up with `skep swarm leave --force`"
    )]
    Gap {
        /// The raft directory.
        dir: PathBuf,
        /// Index after which entries are missing.
        index: u64,
    },
    /// The system gave no thread.
    #[error("start the raft thread")]
    Thread(#[source] io::Error),
    /// A snapshot file is damaged.
    #[error(
        "read the snapshot: {path} is damaged at byte {offset} ({why}), so nothing was changed; restore the directory \
         `manager` of the data directory from a backup, or give this manager up with `skep swarm leave --force`"
    )]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// The consensus library refused what was recovered or asked.
    #[error("{action} the raft state machine")]
    Machine {
        /// A verb, as in `start`.
        action: &'static str,
        /// What it said.
        #[source]
        source: raft::Error,
    },
}

impl RaftError {
    /// Wraps an I/O error with what was tried.
    pub(super) fn file(action: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}
