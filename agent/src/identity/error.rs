//! What can go wrong between a machine and the cluster it wants to be part of.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use skep_proto::model::token::TokenError;

use crate::vault::VaultError;

/// Why a machine has no identity. A user who typed `swarm join` reads it.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The token is no token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Nobody answers.
    #[error(
        "reach a manager at {address}: check that a manager is there, not a worker, and that its port is open to this machine"
    )]
    Unreachable {
        /// HOST:PORT.
        address: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// There is nobody to ask.
    #[error("get a certificate: no manager's address is known")]
    NoManagers,
    /// Somebody else answers.
    #[error(
        "join the swarm: the manager at {address} is not of the cluster this token belongs to, or the swarm's root was replaced \
         since; get a new one with `swarm join-token` there"
    )]
    WrongCluster {
        /// HOST:PORT.
        address: String,
    },
    /// The manager does not let it in: for its token, mostly.
    #[error("join the swarm at {address}: {reason}")]
    NotAdmitted {
        /// HOST:PORT.
        address: String,
        /// In the manager's words.
        reason: String,
        /// It was decided so, and will be again.
        is_settled: bool,
    },
    /// It was understood and refused.
    #[error("join the swarm: the manager at {address} says: {reason}")]
    Refused {
        /// HOST:PORT.
        address: String,
        /// In the manager's words.
        reason: String,
    },
    /// The certificate is not what a node's certificate is.
    #[error("read the node's certificate: {problem}")]
    Certificate {
        /// What is wrong.
        problem: &'static str,
    },
    /// The same, of what lies on the disk.
    #[error(
        "read {path}: {problem}; restore it from a backup, or give the node up with `skep swarm leave --force` and join again"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// Key, certificate and root do not fit each other.
    #[error("use the node's key and certificate for TLS")]
    Tls(#[source] rustls::Error),
    /// The key is sealed, and what opens it is not known.
    #[error(
        "use the node's key in {path}: it is sealed, and `lock.json` in the data directory, which opens it, is missing or of another \
         machine; restore it from a backup, or give the node up with `skep swarm leave --force`"
    )]
    Sealed {
        /// The file.
        path: PathBuf,
    },
    /// The lock.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// No key could be made.
    #[error("make a key and a signing request")]
    Key(#[source] rcgen::Error),
    /// The files.
    #[error("read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The files.
    #[error("write {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl IdentityError {
    /// Nothing has come of the join, and nothing will if it is tried again as it was.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        match self {
            Self::Token(_) | Self::WrongCluster { .. } => true,
            Self::NotAdmitted { is_settled, .. } => *is_settled,
            _ => false,
        }
    }

    /// Nobody was asked to be let in.
    #[must_use]
    pub fn is_before_asking(&self) -> bool {
        self.is_settled() || matches!(self, Self::Unreachable { .. } | Self::Refused { .. })
    }
}
