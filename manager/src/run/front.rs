//! What a manager shows: its port, the services on it, and the loops of a leader.

use std::net::SocketAddr;
use std::sync::Arc;

use skep_proto::pb::ca_server::CaServer;
use skep_proto::pb::control_server::ControlServer;
use skep_proto::pb::dispatcher_server::DispatcherServer;
use skep_proto::pb::log_broker_server::LogBrokerServer;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;

use crate::api::{Answers, ControlService, LogSelection, ReadLogs};
use crate::ca::{CaService, NodeIdentity};
use crate::dispatcher::Dispatcher;
use crate::leader::lead;
use crate::logs::LogBroker;
use crate::net::{Listener, NetError, TlsSlot, server_config};
use crate::store::Store;

/// What the services of a manager stand on, once there is a state.
#[derive(Debug)]
pub struct Ground {
    /// The state.
    pub store: Store,
    /// This manager's Raft id.
    pub raft_id: u64,
    /// Raft id of the leader, while one is known.
    pub leader: watch::Receiver<Option<u64>>,
}

/// The services and loops of a manager.
#[derive(Debug)]
pub struct Front {
    control: ControlService,
    address: SocketAddr,
    tls: TlsSlot,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Front {
    /// Takes the port and serves.
    ///
    /// # Errors
    /// When the port is taken or the identity cannot be used.
    pub async fn open(ground: Ground, listen: SocketAddr, identity: &NodeIdentity) -> Result<Self, NetError> {
        let Ground { store, raft_id, leader } = ground;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let logs = LogBroker::new(store.clone(), stop.clone());
        let dispatcher = Dispatcher::new(store.clone());
        let control = ControlService::new(store.clone(), reader(&logs), identity.node, leader.clone());
        let routes = Routes::new(DispatcherServer::new(dispatcher.clone()))
            .add_service(CaServer::new(CaService::new(store.clone())))
            .add_service(ControlServer::new(control.clone()))
            .add_service(LogBrokerServer::new(logs));
        let tls = TlsSlot::new(server_config(&identity.certificate, &identity.key, &identity.root)?);
        let listener = Listener::bind(listen, tls.clone(), routes).await?;
        let address = listener.address();
        tasks.spawn(listener.run(stop.clone()));
        tasks.spawn(lead(store, dispatcher, raft_id, leader, stop.clone()));
        Ok(Self { control, address, tls, stop, tasks })
    }

    /// Control for a socket that only this machine's administrator reaches.
    #[must_use]
    pub fn control(&self) -> ControlService {
        self.control.local()
    }

    /// Where the port is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections from now on see this certificate.
    ///
    /// # Errors
    /// When it cannot be used; the old one stays.
    pub fn use_identity(&self, identity: &NodeIdentity) -> Result<(), NetError> {
        self.tls.swap(server_config(&identity.certificate, &identity.key, &identity.root)?);
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
