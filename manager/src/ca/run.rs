//! Founds a cluster: draws its ids, keys and secrets.

use rcgen::{CertificateParams, KeyPair};
use skep_proto::model::{
    Availability, Cluster, ClusterId, ClusterSpec, JoinToken, ManagerStatus, Meta, Moment, Node, NodeDescription,
    NodeId, NodeRole, NodeSpec, NodeState, NodeStatus, RootDigest, TokenSecret,
};

use super::certificate::{Root, Subject, sign_request, sign_root};
use super::error::CaError;
use super::token;
use crate::store::{Change, Transaction};
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
        let cluster = draw_cluster(new.spec, now)?;
        let node = NodeId::new(sys::random_bits());
        let identity = draw_identity(&cluster, node, now)?;
        let node = first_node(new, &identity);
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
    })
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

fn first_node(new: &Charter, identity: &NodeIdentity) -> Node {
    let role = NodeRole::Manager;
    Node {
        id: identity.node,
        meta: Meta::default(),
        spec: NodeSpec { labels: std::collections::BTreeMap::new(), availability: new.availability, role },
        description: new.description.clone(),
        status: NodeStatus::new(NodeState::Unknown, "founded the swarm", ""),
        role,
        manager: None,
        certificate: identity.certificate.clone(),
    }
}
