//! Several managers with everything that is theirs, on loopback.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use skep_proto::model::{Availability, ClusterSpec, Era, NodeDescription, NodeId, NodeRole, NodeSpec, RaftTiming};
use skep_proto::pb;
use skep_proto::pb::ca_client::CaClient;

use super::client::{PATIENCE, channel, request};
use crate::ca::NodeIdentity;
use crate::raft::{Birth, Options};
use crate::store::{Change, Over, ProposeError, Transaction};
use crate::{Manager, ManagerConfig, NewCluster, sys};

/// One manager and what outlives it.
pub(super) struct Seat {
    pub(super) manager: Option<Manager>,
    pub(super) config: ManagerConfig,
    _dir: tempfile::TempDir,
}

impl Seat {
    pub(super) fn new(manager: Manager, config: ManagerConfig, dir: tempfile::TempDir) -> Self {
        Self { manager: Some(manager), config, _dir: dir }
    }

    pub(super) fn manager(&self) -> &Manager {
        self.manager.as_ref().expect("it runs")
    }

    pub(super) async fn stop(&mut self) {
        self.manager.take().expect("it runs").shutdown().await;
    }

    pub(super) async fn start(&mut self) {
        self.manager = Some(Manager::open(self.config.clone()).await.unwrap());
    }
}

/// A port that was free a moment ago.
pub(super) fn free() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

pub(super) async fn founded() -> Seat {
    founded_with(ClusterSpec::default()).await
}

async fn founded_with(spec: ClusterSpec) -> Seat {
    let (dir, listen) = (tempfile::tempdir().unwrap(), free());
    let new = NewCluster {
        state_dir: dir.path().join("raft"),
        listen,
        advertise: listen.to_string(),
        availability: Availability::Active,
        spec,
        description: NodeDescription::default(),
        lock: skep_proto::model::Autolock::default(),
        node_key: None,
    };
    let (manager, identity) = Manager::create_cluster(new).await.unwrap();
    Seat { manager: Some(manager), config: config(&dir, listen, identity, Vec::new()), _dir: dir }
}

fn config(dir: &tempfile::TempDir, listen: SocketAddr, identity: NodeIdentity, managers: Vec<String>) -> ManagerConfig {
    ManagerConfig {
        state_dir: dir.path().join("raft"),
        identity,
        listen,
        advertise: listen.to_string(),
        managers,
        node_key: None,
        era: Era::default(),
    }
}

/// The certificate of a machine that is to be a manager.
pub(super) async fn certified(at: &Seat) -> NodeIdentity {
    let (csr, key) = request();
    let cluster = at.manager().store().read().cluster().cloned().unwrap();
    let channel = channel(at.manager().address(), &cluster.root_certificate, None).await;
    let description = Some((&NodeDescription::default()).into());
    let message = pb::JoinRequest { token: cluster.manager_token.clone(), csr, description, ..Default::default() };
    let reply = CaClient::new(channel).join(message).await.unwrap().into_inner();
    let node = NodeId::from_bytes(&reply.node_id).unwrap();
    let (certificate, root) = (reply.certificate, cluster.root_certificate.clone());
    NodeIdentity { node, cluster: cluster.id, certificate, key, root }
}

pub(super) async fn joined(at: &Seat) -> Seat {
    let (dir, listen, identity) = (tempfile::tempdir().unwrap(), free(), certified(at).await);
    let config = config(&dir, listen, identity, vec![at.config.advertise.clone()]);
    let manager = Manager::join(config.clone()).await.unwrap();
    Seat { manager: Some(manager), config, _dir: dir }
}

/// A write that is as good as any: the founder's node, looked at again.
pub(super) async fn write(seat: &Seat, label: &str) -> Result<u64, ProposeError> {
    let store = seat.manager().store();
    let mut node = (**store.read().nodes().next().unwrap()).clone();
    node.spec.labels.insert(label.to_owned(), String::new());
    let change = Change::SetNodeSpec { node: node.id, if_version: node.meta.version, spec: node.spec };
    store.propose(Transaction { changes: vec![change], at: sys::now() }).await
}

pub(super) fn has(seat: &Seat, label: &str) -> bool {
    let state = seat.manager().store().read();
    state.nodes().any(|node| node.spec.labels.contains_key(label))
}

pub(super) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let looking = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("waited in vain for {what}"));
}

/// Who leads, once somebody does.
pub(super) async fn leader(seats: &[Seat]) -> usize {
    let mut found = None;
    until("a leader", || {
        found = seats.iter().position(|seat| seat.manager.as_ref().is_some_and(Manager::leads));
        found.is_some()
    })
    .await;
    found.unwrap()
}

pub(super) async fn group_of_three() -> Vec<Seat> {
    let first = founded().await;
    let second = joined(&first).await;
    let third = joined(&first).await;
    vec![first, second, third]
}

pub(super) async fn end(seats: Vec<Seat>) {
    for seat in seats {
        if let Some(manager) = seat.manager {
            manager.shutdown().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_three_outlives_its_leader_and_takes_it_back() {
    let mut seats = group_of_three().await;
    let first = leader(&seats).await;
    write(&seats[first], "one").await.unwrap();
    until("all to have it", || seats.iter().all(|seat| has(seat, "one"))).await;
    assert_eq!(seats[0].manager().counts().unwrap().managers, 3);
    seats[first].stop().await;
    let second = leader(&seats).await;
    until("the loops of the new leader", || seats[second].manager().leads()).await;
    write(&seats[second], "two").await.unwrap();
    seats[first].start().await;
    until("the old leader to have it", || has(&seats[first], "two")).await;
    assert!(!seats[first].manager().leads());
    assert!(matches!(write(&seats[first], "three").await, Err(ProposeError::NotLeader)));
    end(seats).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_leaves_is_no_voter_any_more() {
    let mut seats = group_of_three().await;
    let leaving = (leader(&seats).await + 1) % 3;
    let gone = seats.remove(leaving);
    gone.manager().leave(false).await.unwrap();
    end(vec![gone]).await;
    let now = leader(&seats).await;
    assert_eq!(seats[now].manager().counts().unwrap().managers, 2);
    let leaving = seats.remove(now);
    leaving.manager().leave(false).await.unwrap();
    end(vec![leaving]).await;
    let last = leader(&seats).await;
    write(&seats[last], "alone").await.unwrap();
    let refused = seats[last].manager().leave(false).await.unwrap_err().to_string();
    assert!(refused.contains("quorum"), "{refused}");
    end(seats).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_joiner_that_cannot_be_reached_becomes_no_manager() {
    let first = founded().await;
    let (dir, listen, identity) = (tempfile::tempdir().unwrap(), free(), certified(&first).await);
    let mut config = config(&dir, listen, identity, vec![first.config.advertise.clone()]);
    config.advertise = free().to_string();
    let refused = Manager::join(config.clone()).await.unwrap_err().to_string();
    assert!(refused.contains("nobody answers at") && refused.contains("--advertise-addr"), "{refused}");
    assert_eq!(
        first.manager().group().members.len(),
        1,
        "nothing depends on it; the machine takes its node back itself"
    );
    config.identity = certified(&first).await;
    config.state_dir = dir.path().join("another");
    config.advertise = first.config.advertise.clone();
    let refused = Manager::join(config).await.unwrap_err().to_string();
    assert!(refused.contains("another machine answers"), "{refused}");
    assert_eq!(first.manager().counts().unwrap().managers, 1);
    write(&first, "alone").await.unwrap();
    end(vec![first]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_with_another_address_is_found_again() {
    let mut seats = group_of_three().await;
    let moving = (leader(&seats).await + 1) % 3;
    seats[moving].stop().await;
    let listen = free();
    seats[moving].config.listen = listen;
    seats[moving].config.advertise = listen.to_string();
    seats[moving].start().await;
    let leads = leader(&seats).await;
    let node = seats[moving].config.identity.node;
    until("the new address in the state", || {
        let state = seats[leads].manager().store().read();
        state.node(node).and_then(|node| node.manager.as_ref()).is_some_and(|m| m.address == listen.to_string())
    })
    .await;
    write(&seats[leads], "moved").await.unwrap();
    until("the one that moved to have it", || has(&seats[moving], "moved")).await;
    end(seats).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_lost_its_log_is_empty_and_joins_under_another_id() {
    let mut seats = group_of_three().await;
    let leads = leader(&seats).await;
    let (victim, other) = ((leads + 1) % 3, leads);
    seats[victim].stop().await;
    std::fs::remove_dir_all(&seats[victim].config.state_dir).unwrap();
    let refused = Manager::open(seats[victim].config.clone()).await.unwrap_err();
    assert!(refused.is_empty(), "{refused:?}");
    seats[victim].config.managers = vec![seats[other].config.advertise.clone()];
    seats[victim].manager = Some(Manager::join(seats[victim].config.clone()).await.unwrap());
    until("the old member to be gone", || {
        let leads = seats.iter().find(|seat| seat.manager().leads());
        let group = leads.map(|seat| seat.manager().group()).unwrap_or_default();
        group.voters().count() == 3 && group.members.len() == 3
    })
    .await;
    end(seats).await;
}

/// Has the user want the node to be that.
async fn want(at: &Seat, node: NodeId, role: NodeRole) {
    let store = at.manager().store();
    let there = store.read().node(node).cloned().unwrap();
    let spec = NodeSpec { role, ..there.spec.clone() };
    let change = Change::SetNodeSpec { node, if_version: there.meta.version, spec };
    store.propose(Transaction { changes: vec![change], at: sys::now() }).await.unwrap();
    until("its role to follow", || {
        let state = store.read();
        state.node(node).is_some_and(|node| node.role == role && node.manager.is_none())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seat_that_was_taken_away_while_its_manager_was_off_is_known_to_be_gone() {
    let mut seats = group_of_three().await;
    let leads = leader(&seats).await;
    let (victim, node) = ((leads + 1) % 3, seats[(leads + 1) % 3].config.identity.node);
    seats[victim].stop().await;
    want(&seats[leads], node, NodeRole::Worker).await;
    want(&seats[leads], node, NodeRole::Manager).await;
    seats[victim].start().await;
    let over = seats[victim].manager().store().watch_over();
    until("it to hear of it", || *over.borrow() == Some(Over::Seat)).await;
    assert!(
        seats
            .iter()
            .enumerate()
            .all(|(seat, _)| seat == victim || seats[seat].manager().store().watch_over().borrow().is_none())
    );
    seats[victim].stop().await;
    std::fs::remove_dir_all(&seats[victim].config.state_dir).unwrap();
    seats[victim].config.managers = vec![seats[leads].config.advertise.clone()];
    seats[victim].manager = Some(Manager::join(seats[victim].config.clone()).await.unwrap());
    until("three voters", || seats[victim].manager().group().voters().count() == 3).await;
    end(seats).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_joiner_that_nobody_told_how_members_behave_learns_it_with_the_state() {
    let raft = RaftTiming { heartbeat: Duration::from_millis(40), election: Duration::from_millis(700) };
    let first = founded_with(ClusterSpec { raft, ..ClusterSpec::default() }).await;
    let (dir, listen, identity) = (tempfile::tempdir().unwrap(), free(), certified(&first).await);
    let config = config(&dir, listen, identity, vec![first.config.advertise.clone()]);
    let manager = Manager::start(Birth::Join, &config, Options::default()).await.unwrap();
    manager.enter().await.unwrap();
    until("it to behave as they do", || manager.counts().is_some_and(|counts| counts.raft == raft.into())).await;
    until("it to vote", || manager.group().voters().count() == 2).await;
    write(&first, "there").await.unwrap();
    let seat = Seat::new(manager, config, dir);
    until("it to have what is written", || has(&seat, "there")).await;
    assert_eq!(seat.manager().read_only(), None);
    end(vec![first, seat]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seat_that_is_taken_away_from_who_hears_it_is_known_to_be_gone() {
    let seats = group_of_three().await;
    let leads = leader(&seats).await;
    let victim = (leads + 1) % 3;
    want(&seats[leads], seats[victim].config.identity.node, NodeRole::Worker).await;
    let over = seats[victim].manager().store().watch_over();
    until("it to hear of it", || *over.borrow() == Some(Over::Seat)).await;
    write(&seats[leads], "without it").await.unwrap();
    end(seats).await;
}
