//! The manager as the daemon holds it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use skep_proto::model::{Availability, ClusterSpec, Node, NodeDescription, NodeId};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::error::ManagerError;
use super::front::{Front, Ground};
use crate::ca::{Charter, Founding, NodeIdentity};
use crate::forward::LocalCalls;
use crate::net::NetError;
use crate::raft::{Leadership, Options, Raft};
use crate::reach::Reachability;
use crate::store::{Change, Store, Transaction};
use crate::sys;

/// A single manager elects itself at once; this only bounds the wait on a disk that hangs.
const LEADER_TIME_MAX: Duration = Duration::from_secs(10);
/// How often a new address is written again after somebody else wrote the node first.
const ADDRESS_TRIES: usize = 4;

/// What a user says when a cluster is founded here.
#[derive(Clone, Debug)]
pub struct NewCluster {
    /// Where the state is to lie; nothing may be there.
    pub state_dir: PathBuf,
    /// Where to listen.
    pub listen: SocketAddr,
    /// HOST:PORT that others reach this machine at.
    pub advertise: String,
    /// Whether tasks may run on this machine.
    pub availability: Availability,
    /// Settings of the cluster.
    pub spec: ClusterSpec,
    /// This machine.
    pub description: NodeDescription,
}

/// A manager that was one before.
#[derive(Clone)]
pub struct ManagerConfig {
    /// Where the state lies.
    pub state_dir: PathBuf,
    /// This node.
    pub node: NodeId,
    /// Where to listen.
    pub listen: SocketAddr,
    /// HOST:PORT that others reach this machine at.
    pub advertise: String,
    /// PEM chain of this node.
    pub certificate: String,
    /// PEM of its key.
    pub key: String,
    /// PEM of the cluster's trust root.
    pub root: String,
}

impl std::fmt::Debug for ManagerConfig {
    /// Leaves the key out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { state_dir, node, listen, advertise, .. } = self;
        let mut debug = f.debug_struct("ManagerConfig");
        debug.field("state_dir", state_dir).field("node", node).field("listen", listen).field("advertise", advertise);
        debug.finish_non_exhaustive()
    }
}

/// The size of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Nodes, this one included.
    pub nodes: u32,
    /// Managers among them.
    pub managers: u32,
    /// The cluster's settings.
    pub spec: ClusterSpec,
}

/// A running manager.
#[derive(Debug)]
pub struct Manager {
    store: Store,
    raft: Raft,
    front: Front,
    leader: watch::Receiver<Option<u64>>,
    /// Tells the others who leads.
    telling: JoinHandle<()>,
}

impl Manager {
    /// Founds a cluster of this one machine. Also returns what the machine proves itself with; it is on no disk yet.
    ///
    /// # Errors
    /// When there is a state already, or the port, the disk or the keys refuse. Whatever is in the state directory then is
    /// to be removed before the next attempt.
    pub async fn create_cluster(new: NewCluster) -> Result<(Self, NodeIdentity), ManagerError> {
        let NewCluster { state_dir, listen, advertise, availability, spec, description } = new;
        let charter = Charter { spec, description, availability, advertise };
        let founding = Founding::draw(&charter).map_err(ManagerError::Keys)?;
        let identity = founding.identity().clone();
        let manager = Self::start(state_dir, listen, &identity).await?;
        match manager.found(&founding).await {
            Ok(()) => Ok((manager, identity)),
            Err(error) => {
                manager.shutdown().await;
                Err(error)
            }
        }
    }

    /// Takes up the state that lies there.
    ///
    /// # Errors
    /// When the state, the identity or the port cannot be used.
    pub async fn open(config: ManagerConfig) -> Result<Self, ManagerError> {
        let ManagerConfig { state_dir, node, listen, advertise, certificate, key, root } = config;
        let identity = NodeIdentity { node, certificate, key, root };
        let manager = Self::start(state_dir, listen, &identity).await?;
        // A lone manager has its state as soon as it leads; callers are better answered after that than refused before.
        if manager.wait_to_lead().await.is_ok() {
            manager.advertise(node, &advertise).await;
        }
        Ok(manager)
    }

    async fn start(state_dir: PathBuf, listen: SocketAddr, identity: &NodeIdentity) -> Result<Self, ManagerError> {
        let (store, proposals) = Store::new();
        let (recovering, options) = (store.clone(), Options::default());
        let raft = tokio::task::spawn_blocking(move || Raft::start(&state_dir, recovering, proposals, options)).await;
        let raft = raft.expect("recovery returns its errors").map_err(ManagerError::Raft)?;
        let (tell, leader) = watch::channel(None);
        let telling = spawn(tell_who_leads(raft.leadership(), options.raft_id, tell));
        let heard = heard_by(options.raft_id);
        let ground = Ground { store: store.clone(), raft_id: options.raft_id, leader: leader.clone(), heard };
        match Front::open(ground, listen, identity).await {
            Ok(front) => Ok(Self { store, raft, front, leader, telling }),
            Err(error) => {
                raft.shutdown().await;
                Err(ManagerError::Port(error))
            }
        }
    }

    async fn found(&self, founding: &Founding) -> Result<(), ManagerError> {
        self.wait_to_lead().await?;
        if self.store.read().cluster().is_some() {
            return Err(ManagerError::NotEmpty);
        }
        self.store.propose(founding.transaction()).await.map(|_| ()).map_err(ManagerError::Write)
    }

    async fn wait_to_lead(&self) -> Result<(), ManagerError> {
        let mut leader = self.leader.clone();
        let led = tokio::time::timeout(LEADER_TIME_MAX, leader.wait_for(Option::is_some)).await;
        let missing = ManagerError::NoLeader(LEADER_TIME_MAX);
        led.ok().and_then(Result::ok).map(|_| ()).ok_or(missing)
    }

    /// Tells the cluster where this manager is now. An address is not an identity: that it changed is no error.
    async fn advertise(&self, own: NodeId, address: &str) {
        for _ in 0..ADDRESS_TRIES {
            let Some(node) = moved(&self.store, own, address) else { return };
            let transaction = Transaction { changes: vec![Change::PutNode(Box::new(node))], at: sys::now() };
            match self.store.propose(transaction).await {
                Ok(_) => tracing::info!(node.id = %own, address, "this manager has a new address"),
                Err(error) => tracing::warn!(%error, "the new address of this manager could not be written"),
            }
        }
    }

    /// The calls about the cluster for the daemon's own socket, which only this machine's administrator reaches.
    #[must_use]
    pub fn control(&self) -> LocalCalls {
        self.front.control()
    }

    /// The state, for numbers that people ask for.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Where the port is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.front.address()
    }

    /// Whether this manager leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.leader.borrow().is_some()
    }

    /// The size of the cluster, once the state is there.
    #[must_use]
    pub fn counts(&self) -> Option<Counts> {
        let state = self.store.read();
        let spec = state.cluster()?.spec;
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let managers = state.nodes().filter(|node| node.manager.is_some()).count();
        Some(Counts { nodes: count(state.nodes().count()), managers: count(managers), spec })
    }

    /// What a machine joins as a worker with.
    #[must_use]
    pub fn worker_token(&self) -> Option<String> {
        self.store.read().cluster().map(|cluster| cluster.worker_token.clone())
    }

    /// After a renewal: connections from now on see the new certificate.
    ///
    /// # Errors
    /// When it cannot be used; the old one stays.
    pub fn use_identity(&self, identity: &NodeIdentity) -> Result<(), NetError> {
        self.front.use_identity(identity)
    }

    /// Ends everything, Raft last, and returns when it has ended.
    pub async fn shutdown(self) {
        self.front.close().await;
        self.raft.shutdown().await;
        // It ends with Raft, whose word it passes on.
        drop(self.telling.await);
    }
}

/// Our node with the new address, if it has another one.
fn moved(store: &Store, own: NodeId, address: &str) -> Option<Node> {
    let mut node = Node::clone(store.read().node(own)?);
    let manager = node.manager.as_mut()?;
    if manager.address == address {
        return None;
    }
    address.clone_into(&mut manager.address);
    Some(node)
}

/// A lone member hears itself, and there is nobody else.
fn heard_by(own: u64) -> Reachability {
    watch::Sender::new(BTreeSet::from([own])).subscribe()
}

/// Raft knows whether it leads; the rest of the manager asks who does.
async fn tell_who_leads(mut leadership: watch::Receiver<Leadership>, own: u64, tell: watch::Sender<Option<u64>>) {
    loop {
        let leads = leadership.borrow_and_update().is_leader;
        tell.send_replace(leads.then_some(own));
        if leadership.changed().await.is_err() {
            tell.send_replace(None);
            return;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the manager waits for it in its shutdown")]
fn spawn(future: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(future)
}
