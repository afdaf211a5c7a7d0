//! Managers that share one state and are told who leads: what they pass on to each other is real, over TLS on loopback.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use skep_proto::model::{
    Availability, ClusterSpec, ManagerStatus, Meta, Node, NodeDescription, NodeId, NodeRole, NodeSpec, NodeState,
    NodeStatus,
};
use skep_proto::pb;
use skep_proto::pb::ca_client::CaClient;
use tokio::sync::watch;
use tonic::transport::Channel;

use super::super::client::{Member, channel, request};
use crate::ca::certificate::Root;
use crate::ca::{Charter, Founding, NodeIdentity, Subject, sign_request};
use crate::fixture::run::Seat;
use crate::net::{Dialer, client_config};
use crate::run::OwnCalls;
use crate::run::{Front, Ground};
use crate::store::{Change, Store, Transaction, testing};

/// What all managers of a group have.
pub(super) struct Common {
    pub(super) store: Store,
    pub(super) root: String,
    founder: NodeIdentity,
}

/// What one of them is told by the test in Raft's place.
pub(super) struct Raft {
    pub(super) id: u64,
    pub(super) leader: watch::Sender<Option<u64>>,
    pub(super) heard: watch::Sender<BTreeSet<u64>>,
    seat: Arc<Seat>,
}

impl Raft {
    pub(super) fn new(id: u64, leader: Option<u64>) -> Self {
        let (told, heard) = (watch::Sender::new(leader), watch::Sender::new(BTreeSet::from([id])));
        Self { id, leader: told, heard, seat: Arc::new(Seat::new(id, leader == Some(id))) }
    }

    /// That one leads now.
    pub(super) fn tell(&self, leader: Option<u64>) {
        self.seat.lead(leader == Some(self.id));
        self.leader.send_replace(leader);
    }
}

impl Common {
    pub(super) async fn found() -> Self {
        let new = Charter {
            spec: ClusterSpec { heartbeat: Duration::from_secs(60), ..ClusterSpec::default() },
            description: description("m1"),
            availability: Availability::Active,
            advertise: String::new(),
            lock: skep_proto::model::Autolock::default(),
        };
        let founding = Founding::draw(&new).unwrap();
        let store = testing::start();
        store.propose(founding.transaction(1)).await.unwrap();
        let founder = founding.identity().clone();
        Self { store, root: founder.root.clone(), founder }
    }

    /// What manager `number` proves itself with. The first founded the cluster; the others become nodes here.
    pub(super) async fn identity(&self, number: u64) -> NodeIdentity {
        if number == 1 {
            return self.founder.clone();
        }
        let node = NodeId::new(u128::from(number));
        let identity = self.sign(node);
        let role = NodeRole::Manager;
        let new = Node {
            id: node,
            meta: Meta::default(),
            spec: NodeSpec { labels: std::collections::BTreeMap::new(), availability: Availability::Active, role },
            description: description(&format!("m{number}")),
            status: NodeStatus::new(NodeState::Unknown, "", ""),
            role,
            manager: None,
            certificate: identity.certificate.clone(),
            proven_key: None,
        };
        self.write(new).await;
        identity
    }

    /// A manager's certificate for a node that the state need not know.
    pub(super) fn sign(&self, node: NodeId) -> NodeIdentity {
        let cluster = self.store.read().cluster().cloned().unwrap();
        let (csr, key) = request();
        let subject = Subject { node, role: NodeRole::Manager, cluster: cluster.id };
        let certificate = sign_request(&Root::of(&cluster), &csr, subject, crate::sys::now()).unwrap();
        NodeIdentity { node, cluster: cluster.id, certificate, key, root: self.root.clone() }
    }

    /// Writes down where a manager is.
    pub(super) async fn place(&self, node: NodeId, raft_id: u64, address: SocketAddr) {
        let mut known = Node::clone(self.store.read().node(node).unwrap());
        known.manager = Some(ManagerStatus { raft_id, address: address.to_string() });
        self.write(known).await;
    }

    pub(super) async fn write(&self, node: Node) {
        let changes = vec![Change::PutNode(Box::new(node))];
        self.store.propose(Transaction { changes, at: crate::sys::now() }).await.unwrap();
    }

    /// A worker that joins through that manager.
    pub(super) async fn join(&self, at: SocketAddr) -> Member {
        let (csr, key) = request();
        let token = self.store.read().cluster().unwrap().worker_token.clone();
        let asked = pb::JoinRequest { token, csr, ..Default::default() };
        let reply = CaClient::new(channel(at, &self.root, None).await).join(asked).await.unwrap().into_inner();
        Member { id: NodeId::from_bytes(&reply.node_id).unwrap(), certificate: reply.certificate, key }
    }
}

pub(super) fn member(identity: &NodeIdentity) -> Member {
    let NodeIdentity { node, certificate, key, .. } = identity.clone();
    Member { id: node, certificate, key }
}

fn description(hostname: &str) -> NodeDescription {
    NodeDescription { hostname: hostname.into(), ..NodeDescription::default() }
}

/// A whole manager.
pub(super) struct Manager {
    pub(super) raft: Raft,
    pub(super) front: Front,
    pub(super) identity: NodeIdentity,
}

/// Whole managers with Raft ids from 1.
pub(super) struct Group {
    pub(super) common: Common,
    pub(super) managers: Vec<Manager>,
}

impl Group {
    /// So many; the first one leads.
    pub(super) async fn new(count: u64) -> Self {
        let common = Common::found().await;
        let mut managers = Vec::new();
        for id in 1..=count {
            let (identity, raft) = (common.identity(id).await, Raft::new(id, Some(1)));
            let NodeIdentity { certificate, key, root, .. } = &identity;
            let dialer = Dialer::new(client_config(certificate, key, root).unwrap());
            let ground = Ground {
                store: common.store.clone(),
                consensus: raft.seat.clone(),
                raft: None,
                leadership: raft.seat.leadership(),
                leader: raft.leader.subscribe(),
                heard: raft.heard.subscribe(),
                dialer,
            };
            let front = Front::open(ground, (Ipv4Addr::LOCALHOST, 0).into(), &identity).await.unwrap();
            common.place(identity.node, id, front.address()).await;
            managers.push(Manager { raft, front, identity });
        }
        Self { common, managers }
    }

    pub(super) fn manager(&self, id: u64) -> &Manager {
        self.managers.iter().find(|manager| manager.raft.id == id).unwrap()
    }

    /// Raft tells all of them.
    pub(super) fn lead(&self, leader: Option<u64>) {
        for manager in &self.managers {
            manager.raft.tell(leader);
        }
    }

    /// The socket of that manager's daemon.
    pub(super) fn local(&self, id: u64) -> OwnCalls {
        self.manager(id).front.control()
    }

    pub(super) async fn connect(&self, id: u64, member: Option<&Member>) -> Channel {
        channel(self.manager(id).front.address(), &self.common.root, member).await
    }
}
