//! Who calls: decided once by the listener that took the connection, checked by each RPC against the state, so that a node
//! that was removed or demoted a moment ago is refused although its certificate is still good.

use std::net::SocketAddr;

use http::Extensions;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use skep_proto::model::{ClusterId, KeyPrint, Moment, NodeId, NodeRole};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::store::State;

/// The OU of a manager's certificate, and the server name that clients ask a manager to prove.
pub const MANAGER_OU: &str = "swarm-manager";
/// The OU of a worker's certificate.
pub const WORKER_OU: &str = "swarm-worker";

/// Whoever is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Someone whom this machine let at the daemon's own socket: as good as a manager.
    Local,
    /// Someone without a certificate: may fetch the root and try to join.
    Anonymous,
    /// The holder of a certificate that the cluster's root signed.
    Node(Identity),
    /// The holder of one whose time is over, or has not come: it still proves that they have the key. They may ask for the next one
    /// with it, and nothing else.
    Lapsed(Identity),
}

/// Where a connection comes from; the listener leaves it with each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

impl Peer {
    /// Where the listener said it comes from; `None` on a unix socket.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get().copied()
    }
}

/// The manager that passed a call on; the caller is then whom that manager says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via(pub NodeId);

impl Via {
    /// Who passed it on, if anybody did.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get().copied()
    }
}

/// What a node's certificate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// CN.
    pub node: NodeId,
    /// OU.
    pub role: NodeRole,
    /// O.
    pub cluster: ClusterId,
    /// Whose private half they have.
    pub key: KeyPrint,
}

/// Why a caller may not do what it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallerError {
    /// No certificate was shown.
    #[error("accept the call: it needs a node certificate; join the swarm first")]
    Anonymous,
    /// The local socket is for people, not for nodes.
    #[error("accept the call: it is for nodes, over TCP with their certificate")]
    NotANode,
    /// Its certificate's time is over.
    #[error("accept node {node}: its certificate has expired, and is good for nothing but getting the next one")]
    Lapsed {
        /// Who calls.
        node: NodeId,
    },
    /// An old certificate of another key.
    #[error(
        "accept node {node}: its certificate has expired, and its key is not the one that the swarm knows it by; leave and \
         join again"
    )]
    OtherKey {
        /// Who calls.
        node: NodeId,
    },
    /// The state is not there yet.
    #[error("accept the call: this manager has no cluster state yet; try again in a moment")]
    NoState,
    /// Signed by the same root, but for another cluster.
    #[error("accept node {node}: its certificate is for cluster {theirs}")]
    OtherCluster {
        /// Who calls.
        node: NodeId,
        /// The O of its certificate.
        theirs: ClusterId,
    },
    /// The cluster does not know the node (any more).
    #[error("accept node {node}: it was removed from the swarm; leave and join again")]
    Removed {
        /// Who calls.
        node: NodeId,
    },
    /// A worker asks what only managers may ask.
    #[error("accept node {node}: only managers may do this, and it is a worker")]
    NotAManager {
        /// Who calls.
        node: NodeId,
    },
}

/// Why a certificate names no node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not a certificate.
    #[error("read the certificate")]
    Certificate,
    /// CN, OU or O is missing or malformed.
    #[error("read the certificate's subject: its {0} is not that of a node")]
    Subject(&'static str),
}

impl Identity {
    /// Reads the subject of a certificate. Whether to trust it is the TLS verifier's part.
    ///
    /// # Errors
    /// When it is no certificate of a node.
    pub fn of_certificate(der: &[u8]) -> Result<Self, IdentityError> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| IdentityError::Certificate)?;
        let subject = certificate.subject();
        let role = match first(subject.iter_organizational_unit()) {
            Some(MANAGER_OU) => NodeRole::Manager,
            Some(WORKER_OU) => NodeRole::Worker,
            _ => return Err(IdentityError::Subject("OU")),
        };
        let node = first(subject.iter_common_name()).and_then(|text| text.parse().ok());
        let cluster = first(subject.iter_organization()).and_then(|text| text.parse().ok());
        Ok(Self {
            node: node.ok_or(IdentityError::Subject("CN"))?,
            role,
            cluster: cluster.ok_or(IdentityError::Subject("O"))?,
            key: KeyPrint::of_spki(certificate.public_key().raw),
        })
    }
}

fn first<'a>(mut parts: impl Iterator<Item = &'a x509_parser::x509::AttributeTypeAndValue<'a>>) -> Option<&'a str> {
    parts.next().and_then(|part| part.as_str().ok())
}

/// The key that a certificate is for; `None` when the text is no certificate.
#[must_use]
pub fn key_of(pem: &str) -> Option<KeyPrint> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    Some(KeyPrint::of_spki(certificate.public_key().raw))
}

/// From when until when a certificate is good, in Unix seconds; `None` when it is none.
#[must_use]
pub fn validity(der: &[u8]) -> Option<(i64, i64)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    Some((validity.not_before.timestamp(), validity.not_after.timestamp()))
}

impl Caller {
    /// Whoever showed this certificate, which the TLS verifier found good but for its time. One that is no node's is worth as much
    /// as none.
    #[must_use]
    pub fn of_certificate(der: &[u8], now: Moment) -> Self {
        let seconds = i64::try_from(now.0 / 1000).unwrap_or(i64::MAX);
        match (Identity::of_certificate(der), validity(der)) {
            (Ok(identity), Some((from, until))) if (from..=until).contains(&seconds) => Self::Node(identity),
            (Ok(identity), _) => Self::Lapsed(identity),
            (Err(_), _) => Self::Anonymous,
        }
    }

    /// Who the listener said it is. Without a word from it: nobody.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or(Self::Anonymous)
    }

    /// The node that calls, worker or manager.
    ///
    /// # Errors
    /// When it is no node of this cluster.
    pub fn require_node(self, state: &State) -> Result<Identity, CallerError> {
        match self {
            Self::Local => Err(CallerError::NotANode),
            Self::Anonymous => Err(CallerError::Anonymous),
            Self::Node(identity) => known(identity, state),
            Self::Lapsed(Identity { node, .. }) => Err(CallerError::Lapsed { node }),
        }
    }

    /// The node that asks for its next certificate: any that may call at all, and one whose certificate has lapsed if its key is the
    /// one that the state knows it by.
    ///
    /// # Errors
    /// When it is no node of this cluster, or is known by another key.
    pub fn require_key(self, state: &State) -> Result<Identity, CallerError> {
        let Self::Lapsed(identity) = self else { return self.require_node(state) };
        let Identity { node, key, .. } = known(identity, state)?;
        let there = state.node(node).ok_or(CallerError::Removed { node })?;
        let pinned = [key_of(&there.certificate), there.proven_key];
        if pinned.contains(&Some(key)) { Ok(identity) } else { Err(CallerError::OtherKey { node }) }
    }

    /// Someone who may manage the cluster. A demoted manager's old certificate is worth no more than a worker's.
    ///
    /// # Errors
    /// When it is neither on the local socket nor a manager of this cluster.
    pub fn require_manager(self, state: &State) -> Result<(), CallerError> {
        if self == Self::Local {
            return Ok(());
        }
        let Identity { node, role, .. } = self.require_node(state)?;
        let now = state.node(node).map_or(NodeRole::Worker, |node| node.role);
        if role.min(now) == NodeRole::Manager { Ok(()) } else { Err(CallerError::NotAManager { node }) }
    }
}

fn known(identity: Identity, state: &State) -> Result<Identity, CallerError> {
    let Identity { node, cluster, .. } = identity;
    let ours = state.cluster().ok_or(CallerError::NoState)?;
    if ours.id != cluster {
        return Err(CallerError::OtherCluster { node, theirs: cluster });
    }
    state.node(node).map(|_| identity).ok_or(CallerError::Removed { node })
}
