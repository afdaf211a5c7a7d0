//! What has brought clusters down elsewhere, by size or by number: much state, many tasks, many services, much that waits.

use std::time::Duration;

use skep_proto::model::{NodeState, TaskState};
use skep_proto::pb;
use skep_proto::pb::control_client::ControlClient;
use tokio::task::JoinSet;

use super::client::{Member, World, channel, request, session};
use super::group::{Seat, end, founded, group_of_three, has, joined, leader, until, write};
use super::services::{obey, replicated};
use crate::store::fixture::{self, node, service};
use crate::store::{Change, Store, Transaction};
use crate::{Manager, sys};

const SLOW: Duration = Duration::from_secs(60);

/// A worker's credentials, from that manager.
async fn worker(at: &Manager) -> Member {
    let root = at.store().read().cluster().unwrap().root_certificate.clone();
    let (csr, key) = request();
    let join = pb::JoinRequest { token: at.worker_token().unwrap(), csr, ..Default::default() };
    let mut ca = pb::ca_client::CaClient::new(channel(at.address(), &root, None).await);
    let reply = ca.join(join).await.unwrap().into_inner();
    let id = skep_proto::model::NodeId::from_bytes(&reply.node_id).unwrap();
    Member { id, certificate: reply.certificate, key }
}

/// So many workers that do at once what they are told.
async fn workers(at: &Manager, count: usize) -> JoinSet<()> {
    let mut all = JoinSet::new();
    for _ in 0..count {
        let member = worker(at).await;
        let root = at.store().read().cluster().unwrap().root_certificate.clone();
        let agent = session(channel(at.address(), &root, Some(&member)).await, &member).await;
        all.spawn(obey(agent));
        let store = at.store().clone();
        until("the worker to be ready", || {
            store.read().node(member.id).is_some_and(|node| node.status.state == NodeState::Ready)
        })
        .await;
    }
    all
}

fn running(store: &Store) -> usize {
    store.read().tasks().filter(|task| task.status.state == TaskState::Running).count()
}

async fn create(at: &Manager, name: &str, replicas: u32) {
    let request = pb::CreateServiceRequest { spec: Some(replicated(name, replicas)) };
    ControlClient::new(at.control()).create_service(request).await.unwrap();
}

/// Elsewhere a state beyond 4 MB fits no message, and no manager can join any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_joins_although_the_state_is_larger_than_any_message() {
    let first = founded().await;
    for number in 0..32 {
        let mut big = node(1_000 + number);
        big.certificate = "x".repeat(512 << 10);
        let change = Change::PutNode(Box::new(big));
        let store = first.manager().store();
        store.propose(Transaction { changes: vec![change], at: sys::now() }).await.unwrap();
    }
    let mut second = joined(&first).await;
    let nodes = |seat: &Seat| seat.manager().store().read().nodes().count();
    assert_eq!((nodes(&first), nodes(&second)), (34, 34));
    write(&first, "after").await.unwrap();
    until("the second to have it", || has(&second, "after")).await;
    second.stop().await;
    second.start().await;
    assert_eq!(nodes(&second), 34, "and it is on its disk");
    end(vec![first, second]).await;
}

/// Elsewhere the manager is so busy with its own tasks that the others miss its heartbeats and elect another one, which is no less busy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_replicas_on_five_nodes_cost_nobody_the_lead() {
    let seats = group_of_three().await;
    let leads = leader(&seats).await;
    let manager = seats[leads].manager();
    let agents = workers(manager, 5).await;
    let term = manager.group().leadership.term;
    create(manager, "web", 1_000).await;
    until("all thousand to run", || running(manager.store()) == 1_000).await;
    assert_eq!(manager.group().leadership.term, term, "nobody stood for election");
    assert!(manager.leads());
    drop(agents);
    end(seats).await;
}

/// Elsewhere a few hundred services make every change slow, since each looks at all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_services_are_no_burden_to_the_next_one() {
    let world = World::new(SLOW).await;
    let member = world.join().await;
    let agent = world.open(&member).await;
    world.until_node(member.id, NodeState::Ready).await;
    let mut agents = JoinSet::new();
    agents.spawn(obey(agent));
    for hundred in 0..50 {
        let create = |number| fixture::create(service(number, &format!("s{number}")));
        world.propose((hundred * 100..(hundred + 1) * 100).map(create).collect()).await;
    }
    until("all of them to run", || running(&world.store) == 5_000).await;
    let before = world.store.read().index();
    let mut control = ControlClient::new(world.connect(Some(&world.founder())).await);
    control.create_service(pb::CreateServiceRequest { spec: Some(replicated("one-more", 1)) }).await.unwrap();
    until("the next one to run", || running(&world.store) == 5_001).await;
    let written = world.store.read().index() - before;
    assert!(written < 20, "one more service was {written} entries");
    drop(agents);
    world.front.close().await;
}

/// Elsewhere a new leader goes through everything that waits, writes about each of it, and drowns in that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_finds_much_waiting_writes_only_what_is_new() {
    let mut seat = founded().await;
    for number in 0..300 {
        let mut spec = replicated(&format!("s{number}"), 2);
        let nowhere = pb::Constraint { key: "node.hostname".into(), equal: true, value: "nowhere".into() };
        let placement = pb::Placement { constraints: vec![nowhere], ..Default::default() };
        spec.task.as_mut().unwrap().placement = Some(placement);
        let mut control = ControlClient::new(seat.manager().control());
        control.create_service(pb::CreateServiceRequest { spec: Some(spec) }).await.unwrap();
    }
    until("all tasks to be made", || seat.manager().store().read().task_count() == 600).await;
    seat.stop().await;
    seat.start().await;
    until("it to lead", || seat.manager().leads()).await;
    let before = seat.manager().store().read().index();
    // Its loops have looked at everything by the time that they have seen to something new.
    create(seat.manager(), "new", 2).await;
    until("the new tasks to be made", || seat.manager().store().read().task_count() == 602).await;
    let written = seat.manager().store().read().index() - before;
    assert!(written < 10, "the leader wrote {written} entries");
    end(vec![seat]).await;
}

/// Elsewhere a manager that starts before the others hangs until they are there, and whoever starts them one by one waits for each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_starts_alone_knows_at_once_that_it_is_one_of_three() {
    let mut seats = group_of_three().await;
    write(&seats[leader(&seats).await], "before").await.unwrap();
    for seat in &mut seats {
        seat.stop().await;
    }
    seats[1].start().await;
    let group = seats[1].manager().group();
    assert_eq!((group.voters().count(), group.leadership.leader), (3, None), "and it waits for nobody");
    end(seats).await;
}
