//! The manager as the daemon holds it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use skep_proto::model::{Autolock, Availability, ClusterSpec, Era, NodeDescription};
use skep_proto::seal::NodeKey;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::entry;
use super::error::ManagerError;
use super::front::{Front, Ground};
use super::services::OwnCalls;
use super::tell::tell;
use crate::ca::{CaError, Charter, Founding, NodeIdentity, renewed_by_itself};
use crate::forward::outlook::Outlook;
use crate::group::Group;
use crate::net::{Dialer, NetError, client_config};
use crate::raft::{Birth, Home, Options, Raft, RaftService, Wiring};
use crate::reach::Reachability;
use crate::store::Store;
use crate::sys::Consensus as _;

/// A single manager elects itself at once; this only bounds the wait on a disk that hangs.
const LEADER_TIME_MAX: Duration = Duration::from_secs(10);

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
    /// What managers keep their keys under.
    pub lock: Autolock,
    /// What this one's lie under by now.
    pub node_key: Option<NodeKey>,
}

/// A manager of a cluster that there is.
#[derive(Clone, Debug)]
pub struct ManagerConfig {
    /// Where the state lies.
    pub state_dir: PathBuf,
    /// Who this node is.
    pub identity: NodeIdentity,
    /// Where to listen.
    pub listen: SocketAddr,
    /// HOST:PORT that others reach this machine at; an empty host is seen by the others.
    pub advertise: String,
    /// HOST:PORT of other managers that are known.
    pub managers: Vec<String>,
    /// What this node's keys lie under, while managers lock themselves.
    pub node_key: Option<NodeKey>,
    /// The latest era that this node has heard of: it joins no cluster of an earlier one.
    pub era: Era,
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
    /// The root is being replaced.
    pub root_rotating: bool,
    /// How this member of Raft behaves.
    pub raft: Options,
}

/// A running manager.
#[derive(Debug)]
pub struct Manager {
    pub(super) store: Store,
    pub(super) raft: Raft,
    front: Front,
    pub(super) leader: watch::Receiver<Option<u64>>,
    heard: Reachability,
    pub(super) dialer: Dialer,
    pub(super) config: ManagerConfig,
    /// Tells the others who leads.
    telling: JoinHandle<()>,
    /// Tells the cluster where this manager is, and looks after its seat.
    errands: Vec<AbortOnDropHandle<()>>,
}

impl Manager {
    /// Founds a cluster of this one machine. Also returns what the machine proves itself with; it is on no disk yet.
    ///
    /// # Errors
    /// When there is a state already, or the port, the disk or the keys refuse. Whatever is in the state directory then is
    /// to be removed before the next attempt.
    pub async fn create_cluster(new: NewCluster) -> Result<(Self, NodeIdentity), ManagerError> {
        let NewCluster { state_dir, listen, advertise, availability, spec, description, lock, node_key } = new;
        let charter = Charter { spec, description, availability, advertise: advertise.clone(), lock };
        let founding = Founding::draw(&charter).map_err(ManagerError::Keys)?;
        let identity = founding.identity().clone();
        let managers = Vec::new();
        let (identity_of, era) = (identity.clone(), Era::default());
        let config = ManagerConfig { state_dir, identity: identity_of, listen, advertise, managers, node_key, era };
        let manager = Self::start(Birth::Found, &config, spec.raft.into()).await?;
        match manager.found(&founding).await {
            Ok(()) => Ok((manager.seated(), identity)),
            Err(error) => {
                manager.end().await;
                Err(error)
            }
        }
    }

    /// Takes up the state that lies there.
    ///
    /// # Errors
    /// When the state, the identity or the port cannot be used. [`ManagerError::is_empty`] tells that there is no state: then
    /// [`Manager::join`] makes this machine a manager anew.
    pub async fn open(config: ManagerConfig) -> Result<Self, ManagerError> {
        let mut manager = Self::start(Birth::Resume, &config, Options::default()).await?;
        // A lone manager has its state as soon as it leads; callers are better answered after that than refused before. In a group
        // they wait for a leader anyway, and this machine has other things to do meanwhile.
        if manager.is_alone() {
            drop(manager.wait_to_lead().await);
        }
        let crier = manager.crier();
        // The others may have to be found first, or to elect a leader.
        if !manager.leads() || !crier.is_known().await {
            manager.errands.push(AbortOnDropHandle::new(spawn(crier.announce())));
        }
        Ok(manager.seated())
    }

    /// It has its seat, and looks after it from now on.
    fn seated(mut self) -> Self {
        self.errands.push(AbortOnDropHandle::new(spawn(self.crier().keep_seat())));
        self.errands.push(AbortOnDropHandle::new(spawn(self.crier().look_into_rumors())));
        self
    }

    /// Becomes a manager of the cluster that the identity is of, and waits until it is one. On an error the state directory is to be
    /// removed before the next attempt.
    ///
    /// # Errors
    /// When the port or the disk refuses, no manager is reached, or they do not let it in.
    pub async fn join(config: ManagerConfig) -> Result<Self, ManagerError> {
        Self::join_unless(config, &CancellationToken::new()).await
    }

    /// The same, until `unwanted`.
    ///
    /// # Errors
    /// Likewise, and when it was given up.
    pub async fn join_unless(config: ManagerConfig, unwanted: &CancellationToken) -> Result<Self, ManagerError> {
        let options = unwanted.run_until_cancelled(entry::options(&config)).await;
        let manager = Self::start(Birth::Join, &config, options.ok_or(ManagerError::Unwanted)??).await?;
        let entered = unwanted.run_until_cancelled(manager.enter()).await;
        match entered.unwrap_or(Err(ManagerError::Unwanted)) {
            Ok(()) => Ok(manager.seated()),
            Err(error) => {
                manager.end().await;
                Err(error)
            }
        }
    }

    pub(super) async fn start(birth: Birth, config: &ManagerConfig, options: Options) -> Result<Self, ManagerError> {
        let ManagerConfig { state_dir, identity, listen, advertise, .. } = config;
        let (store, proposals) = Store::new();
        let NodeIdentity { certificate, key, root, .. } = identity;
        let dialer = Dialer::new(client_config(certificate, key, root).map_err(ManagerError::Port)?);
        let wiring = Wiring { dialer: dialer.clone(), address: advertise.clone(), store: store.clone() };
        let home = Home { dir: state_dir.clone(), node_key: config.node_key.clone() };
        let recovering = store.clone();
        let starting = move || Raft::start(home, birth, recovering, proposals, (options, Some(wiring)));
        let raft = tokio::task::spawn_blocking(starting).await;
        let raft = raft.expect("recovery returns its errors").map_err(ManagerError::Raft)?;
        let (lead, leader) = watch::channel(None);
        let (hear, heard) = watch::channel(BTreeSet::new());
        // A member stands after two election times at the latest, and is answered then.
        let asking = raft.options().election * 5 / 2;
        let telling = spawn(tell((raft.leadership(), raft.handle().group()), lead, hear, asking));
        let ground = Ground {
            store: store.clone(),
            consensus: Arc::new(raft.handle()),
            raft: Some(RaftService::new(raft.handle(), store.clone(), identity.cluster)),
            leadership: raft.leadership(),
            leader: leader.clone(),
            heard: heard.clone(),
            dialer: dialer.clone(),
        };
        match Front::open(ground, *listen, identity).await {
            Ok(front) => {
                let (config, errands) = (config.clone(), Vec::new());
                Ok(Self { store, raft, front, leader, heard, dialer, config, telling, errands })
            }
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
        let first = founding.transaction(self.raft_id());
        self.store.propose(first).await.map(|_| ()).map_err(ManagerError::Write)
    }

    async fn wait_to_lead(&self) -> Result<(), ManagerError> {
        let mut leader = self.leader.clone();
        let led = tokio::time::timeout(LEADER_TIME_MAX, leader.wait_for(Option::is_some)).await;
        let missing = ManagerError::NoLeader(LEADER_TIME_MAX);
        led.ok().and_then(Result::ok).map(|_| ()).ok_or(missing)
    }

    fn raft_id(&self) -> u64 {
        self.raft.handle().own_id()
    }

    fn is_alone(&self) -> bool {
        self.raft.handle().group().borrow().members.len() < 2
    }

    /// The calls about the cluster for the daemon's own socket, which only this machine's administrator reaches.
    #[must_use]
    pub fn control(&self) -> OwnCalls {
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
        self.raft.leadership().borrow().is_leader
    }

    /// The group of managers as this one sees it.
    #[must_use]
    pub fn group(&self) -> Group {
        self.raft.handle().group().borrow().clone()
    }

    /// What is missing while no manager leads; `None` while one does.
    #[must_use]
    pub fn outlook(&self) -> Option<Outlook> {
        let is_led = self.group().leadership.leader.is_some();
        let look = || Outlook::new(&self.store.read(), &self.heard.borrow()).estranged(self.store.is_estranged());
        (!is_led).then(look)
    }

    /// HOST:PORT of every manager, as the state has them.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        let state = self.store.read();
        let seats = state.managers().filter_map(|node| node.manager.as_ref());
        seats.map(|seat| seat.address.clone()).collect()
    }

    /// The size of the cluster, once the state is there.
    #[must_use]
    pub fn counts(&self) -> Option<Counts> {
        let state = self.store.read();
        let (spec, root_rotating) = state.cluster().map(|cluster| (cluster.spec, cluster.rotation.is_some()))?;
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let managers = state.nodes().filter(|node| node.manager.is_some()).count();
        let (nodes, managers) = (count(state.nodes().count()), count(managers));
        Some(Counts { nodes, managers, spec, root_rotating, raft: self.raft.options() })
    }

    /// Why nothing can be written at present, if so.
    #[must_use]
    pub fn read_only(&self) -> Option<String> {
        self.raft.status().read_only
    }

    /// What a machine joins as a worker with.
    #[must_use]
    pub fn worker_token(&self) -> Option<String> {
        self.store.read().cluster().map(|cluster| cluster.worker_token.clone())
    }

    /// This manager's identity with a certificate that it made itself, if the one it has is nearly over and nobody else could renew it in
    /// time. It is in use only after [`Manager::use_identity`].
    ///
    /// # Errors
    /// When the key or the root cannot be used.
    pub fn renewed_by_itself(&self, identity: &NodeIdentity) -> Result<Option<NodeIdentity>, CaError> {
        renewed_by_itself(&self.store.read(), identity)
    }

    /// Has the key of the log lie sealed under this node's, or in clear. One that lay in clear is replaced.
    ///
    /// # Errors
    /// When the disk refuses; to be tried again.
    pub fn keep_key(
        &self,
        node_key: NodeKey,
        sealed: bool,
    ) -> impl Future<Output = Result<(), ManagerError>> + Send + use<> {
        let raft = self.raft.handle();
        async move { raft.keep_key(node_key, sealed).await.map_err(ManagerError::Raft) }
    }

    /// After a renewal: connections from now on see the new certificate.
    ///
    /// # Errors
    /// When it cannot be used; the old one stays.
    pub fn use_identity(&self, identity: &NodeIdentity) -> Result<(), NetError> {
        self.front.use_identity(identity)
    }

    /// Ends everything, Raft last, and returns when it has ended. A leader hands over first, so that nobody has to miss it to find out.
    pub async fn shutdown(self) {
        self.raft.resign().await;
        self.end().await;
    }

    async fn end(self) {
        for errand in self.errands {
            errand.abort();
            // It holds the state's directory until it has ended, which the next start wants.
            drop(errand.await);
        }
        self.front.close().await;
        self.raft.shutdown().await;
        // It ends with Raft, whose word it passes on.
        drop(self.telling.await);
    }
}

#[expect(clippy::disallowed_methods, reason = "the manager waits for it in its shutdown")]
fn spawn(future: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(future)
}
