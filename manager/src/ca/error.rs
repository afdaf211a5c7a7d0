//! What can go wrong with identities.

use skep_proto::convert::ConvertError;
use skep_proto::model::{ATTEMPT_LEN, GrantError, NodeId, TokenError};

use crate::caller::CallerError;
use crate::store::ProposeError;

/// Why a machine did not get a certificate.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// There is no cluster here yet.
    #[error("sign: this manager has no cluster yet")]
    NoCluster,
    /// The text is no token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A well-formed token of another root.
    #[error(
        "join: the token is for another swarm; check the address, or get the token of this swarm with `swarm join-token`"
    )]
    OtherSwarm,
    /// What tells one try from another is not a secret of the right length.
    #[error("join: the request's attempt is not {ATTEMPT_LEN} bytes")]
    Attempt,
    /// It asks for the node that an earlier request made, and there is none.
    #[error(
        "join: the swarm had not let this machine in yet when that join was cut short; nothing is left of it, so type it again"
    )]
    NotLetIn,
    /// It asks for the node that an earlier request made, and that has come.
    #[error("join: node {node}, which this join made, has come already; leave the swarm on this machine and join anew")]
    Came {
        /// Which.
        node: NodeId,
    },
    /// The secret is neither of this cluster's, or no longer.
    #[error("join: the token is not valid (any more); get the current one with `swarm join-token`")]
    WrongSecret,
    /// The token was good once.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// The signing request is malformed or not signed by the key it names.
    #[error("read the certificate signing request")]
    Request(#[source] rcgen::Error),
    /// The signing request is longer than any sane one.
    #[error("read the certificate signing request: it has {length} bytes, more than {max}")]
    RequestLength {
        /// Bytes given.
        length: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The root's own key or certificate cannot be used.
    #[error("use the root's key")]
    Root(#[source] rcgen::Error),
    /// The key of a root that somebody brings.
    #[error("use the key of the new root; it must be in PEM and PKCS 8, as `openssl pkcs8 -topk8 -nocrypt` makes it")]
    NewRoot(#[source] rcgen::Error),
    /// What somebody brings is no root.
    #[error("use the new root certificate: {0}")]
    NotARoot(&'static str),
    /// Only one of the two was given.
    #[error("use the new root: give its certificate and its key, both or neither")]
    HalfARoot,
    /// Nobody to leave behind, or one that is not to be.
    #[error("leave node {node} behind: {why}")]
    NotAbandoned {
        /// Which.
        node: NodeId,
        /// Why not.
        why: &'static str,
    },
    /// Nothing is replaced at the moment.
    #[error("leave nodes behind: the root certificate is not being replaced; see `swarm ca --rotate`")]
    NoRotation,
    /// Signing failed.
    #[error("sign the certificate of {name}")]
    Sign {
        /// CN.
        name: String,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// A key could not be made.
    #[error("make a key")]
    Key(#[source] rcgen::Error),
    /// The description of the node is malformed.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// Who calls may not.
    #[error(transparent)]
    Caller(#[from] CallerError),
    /// The node object could not be written.
    #[error("write the node")]
    Write(#[source] ProposeError),
}
