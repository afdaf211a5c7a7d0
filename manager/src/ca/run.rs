//! Founds a cluster: draws its ids, keys and secrets.

pub mod rotation;

use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use skep_proto::model::{
    Autolock, Availability, Cluster, ClusterId, ClusterSpec, Era, JoinToken, ManagerStatus, Meta, Moment, Node,
    NodeDescription, NodeId, NodeRole, NodeSpec, NodeState, NodeStatus, RootDigest, TokenSecret,
};

use super::certificate::{Root, Subject, sign_again, sign_request, sign_root};
use super::error::CaError;
use super::token;
use crate::caller::{key_of, validity};
use crate::store::{Change, State, Transaction};
use crate::sys;

/// What a user says when a cluster is founded.
#[derive(Clone, Debug)]
pub struct Charter {
    /// Settings of the cluster.
    pub spec: ClusterSpec,
    /// The founding machine.
    pub description: NodeDescription,
    /// Whether tasks may run on it.
    pub availability: Availability,
    /// HOST:PORT that others reach it at.
    pub advertise: String,
    /// What managers keep their keys under.
    pub lock: Autolock,
}

/// What a node proves itself with. The daemon keeps it on disk, the key readable by root alone.
#[derive(Clone)]
pub struct NodeIdentity {
    /// CN.
    pub node: NodeId,
    /// O.
    pub cluster: ClusterId,
    /// PEM chain.
    pub certificate: String,
    /// PEM of its key, PKCS 8.
    pub key: String,
    /// PEM of the cluster's trust root.
    pub root: String,
}

impl std::fmt::Debug for NodeIdentity {
    /// Leaves the key out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeIdentity").field("node", &self.node).finish_non_exhaustive()
    }
}

/// A cluster that exists only on paper.
#[derive(Clone, Debug)]
pub struct Founding {
    identity: NodeIdentity,
    cluster: Cluster,
    node: Node,
    /// HOST:PORT of the first manager.
    address: String,
}

impl Founding {
    /// Draws ids, keys and secrets and signs the root and the first manager's certificate.
    ///
    /// # Errors
    /// When a key cannot be made or used.
    pub fn draw(new: &Charter) -> Result<Self, CaError> {
        let now = sys::now();
        let cluster = Cluster { lock: new.lock.clone(), ..draw_cluster(new.spec, now)? };
        let node = NodeId::new(sys::random_bits());
        let identity = draw_identity(&cluster, node, now)?;
        let node = manager_node(&identity, new.description.clone(), new.availability, "founded the swarm");
        Ok(Self { identity, cluster, node, address: new.advertise.clone() })
    }

    /// What the first manager proves itself with.
    #[must_use]
    pub fn identity(&self) -> &NodeIdentity {
        &self.identity
    }

    /// The cluster's first transaction, given the Raft id that the first manager has.
    #[must_use]
    pub fn transaction(&self, raft_id: u64) -> Transaction {
        let manager = Some(ManagerStatus { raft_id, address: self.address.clone() });
        let (cluster, node) = (Box::new(self.cluster.clone()), Box::new(Node { manager, ..self.node.clone() }));
        Transaction { changes: vec![Change::PutCluster(cluster), Change::PutNode(node)], at: sys::now() }
    }
}

/// The manager's identity with its next certificate, made by itself, when the one it has is nearly over: as after months without power,
/// when every manager waits for another one that is good. `None`: there is no need, or the state knows no such manager.
///
/// # Errors
/// When the key or the root cannot be used.
pub fn renewed_by_itself(state: &State, identity: &NodeIdentity) -> Result<Option<NodeIdentity>, CaError> {
    let now = sys::now();
    let node = state.node(identity.node).filter(|node| node.role == NodeRole::Manager);
    let (Some(cluster), Some(node)) = (state.cluster(), node) else { return Ok(None) };
    if !is_nearly_over(&identity.certificate, now) || key_of(&identity.certificate).is_none() {
        return Ok(None);
    }
    let subject = Subject { node: node.id, role: NodeRole::Manager, cluster: cluster.id };
    let certificate = sign_again(&Root::of(cluster), &identity.key, subject, now)?;
    Ok(Some(NodeIdentity { certificate, ..identity.clone() }))
}

/// Nine tenths of its life are gone. A manager that others answer has renewed it long before, at four fifths at the latest.
fn is_nearly_over(certificate: &str, now: Moment) -> bool {
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).ok();
    let Some((from, until)) = der.and_then(|der| validity(&der)) else { return false };
    let seconds = i64::try_from(now.0 / 1000).unwrap_or(i64::MAX);
    until.saturating_sub(seconds) < until.saturating_sub(from) / 10
}

fn draw_cluster(spec: ClusterSpec, now: Moment) -> Result<Cluster, CaError> {
    let key = KeyPair::generate().map_err(CaError::Key)?;
    let root_certificate = sign_root(&key, now)?;
    let digest = token::digest(&root_certificate).expect("it was just signed");
    Ok(Cluster {
        id: ClusterId::new(sys::random_bits()),
        meta: Meta::default(),
        spec,
        root_certificate,
        root_key: key.serialize_pem(),
        worker_token: draw_token(digest),
        manager_token: draw_token(digest),
        grants: Vec::new(),
        rotation: None,
        lock: Autolock::default(),
        era: Era::default(),
        former_managers: Vec::new(),
    })
}

/// Another root and its key, both PEM.
///
/// # Errors
/// When a key cannot be made.
pub fn draw_root() -> Result<(String, String), CaError> {
    let key = KeyPair::generate().map_err(CaError::Key)?;
    Ok((sign_root(&key, sys::now())?, key.serialize_pem()))
}

/// A token with a new secret, as text.
#[must_use]
pub fn draw_token(digest: RootDigest) -> String {
    JoinToken { digest, secret: TokenSecret::new(sys::random_bits()) }.to_string()
}

fn draw_identity(cluster: &Cluster, node: NodeId, now: Moment) -> Result<NodeIdentity, CaError> {
    let key = KeyPair::generate().map_err(CaError::Key)?;
    let request = CertificateParams::default().serialize_request(&key).and_then(|r| r.pem()).map_err(CaError::Key)?;
    let subject = Subject { node, role: NodeRole::Manager, cluster: cluster.id };
    let certificate = sign_request(&Root::of(cluster), &request, subject, now)?;
    let (key, root) = (key.serialize_pem(), cluster.root_certificate.clone());
    Ok(NodeIdentity { node, cluster: cluster.id, certificate, key, root })
}

/// Another manager of a cluster that there is: what it proves itself with, and its node.
///
/// # Errors
/// When a key cannot be made or used.
pub fn draw_manager(
    cluster: &Cluster,
    description: NodeDescription,
    availability: Availability,
) -> Result<(NodeIdentity, Node), CaError> {
    let identity = draw_identity(cluster, NodeId::new(sys::random_bits()), sys::now())?;
    let identity = NodeIdentity { root: cluster.trust(), ..identity };
    let node = manager_node(&identity, description, availability, "restored the swarm");
    Ok((identity, node))
}

fn manager_node(
    identity: &NodeIdentity,
    description: NodeDescription,
    availability: Availability,
    message: &str,
) -> Node {
    let role = NodeRole::Manager;
    Node {
        id: identity.node,
        meta: Meta::default(),
        spec: NodeSpec { labels: std::collections::BTreeMap::new(), availability, role },
        description,
        status: NodeStatus::new(NodeState::Unknown, message, ""),
        role,
        manager: None,
        certificate: identity.certificate.clone(),
        proven_key: None,
    }
}
