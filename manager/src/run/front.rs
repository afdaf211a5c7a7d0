//! What a manager shows: its port, the services on it, and the loops of a leader.

use std::net::SocketAddr;
use std::sync::Arc;

use skep_proto::pb::authority_server::AuthorityServer;
use skep_proto::pb::ca_server::CaServer;
use skep_proto::pb::control_server::ControlServer;
use skep_proto::pb::dispatcher_server::DispatcherServer;
use skep_proto::pb::log_broker_server::LogBrokerServer;
use skep_proto::pb::membership_server::MembershipServer;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::services::{Kinds, OwnCalls, Services};
use crate::api::{Answers, ControlService, LogSelection, ReadLogs, Seen};
use crate::ca::{CaService, NodeIdentity};
use crate::dispatcher::Dispatcher;
use crate::forward::{Bearings, Forward};
use crate::group::Leadership;
use crate::leader::{self, lead};
use crate::logs::LogBroker;
use crate::membership::MembershipService;
use crate::net::{Dialer, Listener, NetError, TlsSlot, client_config, server_config};
use crate::raft::RaftService;
use crate::reach::Reachability;
use crate::store::Store;
use crate::sys::Consensus;

/// What the services of a manager stand on, once there is a state.
#[derive(Debug)]
pub struct Ground {
    /// The state.
    pub store: Store,
    /// The group of managers.
    pub consensus: Arc<dyn Consensus>,
    /// What other members call.
    pub raft: Option<RaftService>,
    /// Whether this manager leads.
    pub leadership: watch::Receiver<Leadership>,
    /// Raft id of the leader, while one is known.
    pub leader: watch::Receiver<Option<u64>>,
    /// Whom this manager's Raft hears.
    pub heard: Reachability,
    /// The way to other managers.
    pub dialer: Dialer,
}

/// The services and loops of a manager.
#[derive(Debug)]
pub struct Front {
    calls: Forward<Services>,
    address: SocketAddr,
    tls: TlsSlot,
    dialer: Dialer,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Front {
    /// Takes the port and serves.
    ///
    /// # Errors
    /// When the port is taken or the identity cannot be used.
    pub async fn open(ground: Ground, listen: SocketAddr, identity: &NodeIdentity) -> Result<Self, NetError> {
        let Ground { store, consensus, raft, leadership, leader, heard, dialer } = ground;
        let NodeIdentity { node, certificate, key, root, .. } = identity;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let logs = LogBroker::new(store.clone(), stop.clone());
        let dispatcher = Dispatcher::new(store.clone(), consensus.own_id(), leader.clone());
        let seen = Seen { leader: leader.clone(), heard: heard.clone(), group: consensus.group() };
        let control = ControlService::new(store.clone(), reader(&logs), *node, seen);
        let membership = MembershipService::new(store.clone(), Arc::clone(&consensus), dialer.clone(), *node);
        let ca = CaService::new(store.clone());
        let services = Services(Arc::new(Kinds {
            authority: AuthorityServer::new(ca.clone()),
            ca: CaServer::new(ca),
            control: ControlServer::new(control),
            dispatcher: DispatcherServer::new(dispatcher.clone()),
            logs: LogBrokerServer::new(logs),
            membership: MembershipServer::new(membership),
            raft: raft.map(RaftService::server),
        }));
        let own = consensus.own_id();
        let bearings = Bearings { store: store.clone(), own, leader, heard, dialer: dialer.clone() };
        let calls = Forward::new(services, bearings, tasks.clone(), stop.clone());
        let leading = leader::Ground { store, dispatcher, consensus, dialer: dialer.clone() };
        let tls = TlsSlot::new(server_config(certificate, key, root)?);
        let listener = Listener::bind(listen, tls.clone(), calls.clone()).await?;
        let address = listener.address();
        tasks.spawn(listener.run(stop.clone()));
        tasks.spawn(lead(leading, leadership, stop.clone()));
        Ok(Self { calls, address, tls, dialer, stop, tasks })
    }

    /// The calls about the cluster, for a socket that only this machine's administrator reaches.
    #[must_use]
    pub fn control(&self) -> OwnCalls {
        self.calls.local()
    }

    /// Where the port is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections from now on see this certificate, in both directions.
    ///
    /// # Errors
    /// When it cannot be used; the old one stays.
    pub fn use_identity(&self, identity: &NodeIdentity) -> Result<(), NetError> {
        let NodeIdentity { certificate, key, root, .. } = identity;
        let (server, client) = (server_config(certificate, key, root)?, client_config(certificate, key, root)?);
        self.tls.swap(server);
        self.dialer.swap(client);
        self.calls.reconnect();
        Ok(())
    }

    /// Ends sessions, calls and loops, and returns when all have ended.
    pub async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The way from the API to the log broker, which do not know each other.
fn reader(logs: &LogBroker) -> ReadLogs {
    let logs = logs.clone();
    Arc::new(move |selection: LogSelection| {
        let stream = logs.read(selection.services, selection.tasks, selection.options)?;
        Ok(Box::pin(stream) as Answers<_>)
    })
}
