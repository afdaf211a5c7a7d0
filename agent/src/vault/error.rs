//! What can go wrong with a vault.

use std::io;
use std::path::PathBuf;

use skep_proto::model::KeyId;

/// Why a vault could not be opened or changed.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The file.
    #[error("read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file.
    #[error("write {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not what was written.
    #[error(
        "read the lock {path}: {problem}; restore it from a backup of this machine, or give the node up with `skep swarm leave --force`"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// Another key.
    #[error(
        "unlock this manager: it was locked with the unlock key {asked}, and the one given is {given}; `skep swarm unlock-key --id {asked}` on a \
         manager that runs prints the right one, even if it was replaced since"
    )]
    WrongKey {
        /// The key that it was locked with.
        asked: KeyId,
        /// The key that was given.
        given: KeyId,
    },
    /// There is nothing to unlock.
    #[error("unlock this manager: its keys are not locked")]
    NotLocked,
    /// The node key is needed and nobody has unlocked it.
    #[error("use this manager's keys: they are locked with the unlock key {asked}")]
    Locked {
        /// With which.
        asked: KeyId,
    },
}
