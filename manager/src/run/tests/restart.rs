//! The manager with Raft beneath it, stopped and opened again.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use skep_proto::model::{Availability, ClusterSpec, Era, NodeDescription};
use skep_proto::pb;
use skep_proto::pb::control_client::ControlClient;
use tonic::Code;

use super::services::replicated;
use crate::{Manager, ManagerConfig, ManagerError, NewCluster, NodeIdentity};

const ANY_PORT: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

fn new(state_dir: &Path, listen: SocketAddr) -> NewCluster {
    NewCluster {
        state_dir: state_dir.to_owned(),
        listen,
        advertise: "10.0.0.1:2377".into(),
        availability: Availability::Active,
        spec: ClusterSpec::default(),
        description: NodeDescription { hostname: "m1".into(), ..NodeDescription::default() },
        lock: skep_proto::model::Autolock::default(),
        node_key: None,
    }
}

fn config(state_dir: &Path, advertise: &str, identity: NodeIdentity) -> ManagerConfig {
    let (state_dir, advertise) = (state_dir.to_owned(), advertise.to_owned());
    ManagerConfig {
        state_dir,
        identity,
        listen: ANY_PORT.into(),
        advertise,
        managers: Vec::new(),
        node_key: None,
        era: Era::default(),
    }
}

async fn create(manager: &Manager, name: &str) -> Result<(), tonic::Status> {
    let request = pb::CreateServiceRequest { spec: Some(replicated(name, 2)) };
    ControlClient::new(manager.control()).create_service(request).await.map(|_| ())
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, identity) = Manager::create_cluster(new(dir.path(), ANY_PORT.into())).await.unwrap();
    create(&manager, "web").await.unwrap();
    let token = manager.worker_token();
    manager.shutdown().await;
    let manager = Manager::open(config(dir.path(), "10.0.0.2:2377", identity.clone())).await.unwrap();
    assert!(manager.leads());
    assert_eq!(manager.worker_token(), token);
    assert_eq!(create(&manager, "web").await.unwrap_err().code(), Code::AlreadyExists);
    let node = manager.store().read().node(identity.node).cloned().unwrap();
    assert_eq!(node.manager.as_ref().unwrap().address, "10.0.0.2:2377", "a new address is told, not fatal");
    let counts = manager.counts().unwrap();
    assert_eq!((counts.nodes, counts.managers), (1, 1));
    manager.shutdown().await;
}

#[tokio::test]
async fn a_state_that_is_there_is_not_founded_over() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, _) = Manager::create_cluster(new(dir.path(), ANY_PORT.into())).await.unwrap();
    manager.shutdown().await;
    let again = Manager::create_cluster(new(dir.path(), ANY_PORT.into())).await;
    assert!(matches!(again, Err(ManagerError::NotEmpty)), "{again:?}");
}

#[tokio::test]
async fn a_taken_port_is_said_and_no_cluster_is_left() {
    let taken = std::net::TcpListener::bind(ANY_PORT).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let refused = Manager::create_cluster(new(dir.path(), taken.local_addr().unwrap())).await.unwrap_err();
    let text = skep_proto::chain::chain(&refused).to_string();
    assert!(text.contains("listen on 127.0.0.1:") && text.contains("in use"), "{text}");
    let (manager, _) = Manager::create_cluster(new(dir.path(), ANY_PORT.into())).await.unwrap();
    manager.shutdown().await;
}
