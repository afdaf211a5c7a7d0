//! Who is woken, and when soft state goes.

use futures_util::FutureExt;

use super::*;
use crate::store::fixture::{create, node, node_id, service, service_id, task, task_id, transaction};
use crate::store::{Change, Placed, Reported, testing};
use skep_proto::model::{Moment, TaskState};

/// One node, one service, one task assigned to the node.
fn begun() -> Store {
    let (store, _) = Store::new();
    let made =
        [Change::PutNode(Box::new(node(1))), create(service(1, "web")), Change::CreateTask(Box::new(task(1, 1, 1)))];
    apply(&store, made.into());
    apply(&store, vec![Change::Assign(vec![Placed { task: task_id(1), if_version: 1, node: node_id(1) }])]);
    store
}

fn apply(store: &Store, changes: Vec<Change>) {
    let index = store.read().index() + 1;
    assert!(store.apply(index, vec![transaction(index, changes)])[0].is_ok());
}

fn seen(state: TaskState) -> TaskStatus {
    TaskStatus::new(state, Moment(5), "seen")
}

fn reported(state: TaskState) -> Vec<Change> {
    vec![Change::Report(vec![Reported { task: task_id(1), node: Some(node_id(1)), status: seen(state) }])]
}

#[test]
fn a_subscription_merges_until_it_is_looked_at() {
    let store = begun();
    let mut subscription = store.subscribe();
    assert!(subscription.touched().now_or_never().is_none());
    apply(&store, vec![Change::PutNode(Box::new(node(2)))]);
    apply(&store, reported(TaskState::Running));
    let touched = subscription.touched().now_or_never().unwrap();
    assert_eq!((touched.nodes.len(), touched.services.len()), (1, 1));
    assert!(subscription.touched().now_or_never().is_none());
    store.install(State::default());
    assert!(subscription.touched().now_or_never().unwrap().all);
}

#[test]
fn a_subscription_hears_of_its_topics_and_of_a_replaced_state() {
    let store = begun();
    let mut nodes = store.subscribe_to(Topics { nodes: true, ..Topics::NONE });
    let mut services = store.subscribe_to(Topics { services: true, ..Topics::NONE });
    apply(&store, reported(TaskState::Running));
    assert!(nodes.touched().now_or_never().is_none());
    let touched = services.touched().now_or_never().unwrap();
    assert_eq!((touched.services.len(), touched.nodes.len(), touched.scheduling), (1, 0, false));
    apply(&store, vec![Change::PutNode(Box::new(node(2)))]);
    assert_eq!(nodes.touched().now_or_never().unwrap().nodes, [node_id(2)].into());
    store.install(State::default());
    assert!(nodes.take().all && services.take().all);
}

#[test]
fn a_watch_hears_of_its_object_only_and_leaves_nothing_behind() {
    let store = begun();
    let (mut of_service, mut of_other) = (store.watch_service(service_id(1)), store.watch_service(service_id(2)));
    let mut of_node = store.watch_node(node_id(1));
    for watch in [&mut of_service, &mut of_other, &mut of_node] {
        assert!(watch.changed().now_or_never().is_some() && watch.changed().now_or_never().is_none());
    }
    apply(&store, reported(TaskState::Running));
    let woken = [&mut of_service, &mut of_other, &mut of_node].map(|watch| watch.changed().now_or_never().is_some());
    assert_eq!(woken, [true, false, false]);
    let second = store.watch_node(node_id(1));
    assert_eq!(store.inner.nodes.keys(), 1);
    drop(of_node);
    assert_eq!(store.inner.nodes.keys(), 1, "someone else still watches");
    drop(second);
    assert_eq!(store.inner.nodes.keys(), 0);
}

#[test]
fn a_soft_state_shows_until_the_stored_one_overtakes_it() {
    let store = begun();
    let shown = |store: &Store| {
        let state = store.read();
        store.soft().status(state.task(task_id(1)).unwrap()).state
    };
    let mut watch = store.watch_service(service_id(1));
    assert!(watch.changed().now_or_never().is_some(), "once at once");
    store.note_statuses(vec![(task_id(1), seen(TaskState::Starting)), (task_id(9), seen(TaskState::Ready))]);
    assert!(watch.changed().now_or_never().is_some());
    store.note_statuses(vec![(task_id(1), seen(TaskState::Preparing))]);
    assert!(watch.changed().now_or_never().is_none(), "a step back is passed over");
    assert_eq!(shown(&store), TaskState::Starting);
    apply(&store, reported(TaskState::Running));
    assert_eq!((shown(&store), store.soft().statuses()), (TaskState::Running, 0));
}

#[test]
fn reasons_are_replaced_as_a_whole() {
    let (store, _) = Store::new();
    let mut watch = store.watch_service(service_id(1));
    assert!(watch.changed().now_or_never().is_some(), "once at once");
    let why = |text: &str| vec![((service_id(1), 1), text.to_owned())];
    for (waiting, wakes) in [(why("no node"), true), (why("no node"), false), (why("no room"), true), (vec![], true)] {
        store.note_waiting(waiting);
        assert_eq!(watch.changed().now_or_never().is_some(), wakes);
    }
    assert_eq!(store.soft().waiting(service_id(1), 1), None);
}

#[tokio::test]
async fn the_stand_in_applies_in_order() {
    let store = testing::start();
    for number in 1..=3u8 {
        assert_eq!(
            store.propose(transaction(1, vec![Change::PutNode(Box::new(node(number.into())))])).await,
            Ok(number.into())
        );
    }
    let again = store.propose(transaction(1, vec![Change::PutNode(Box::new(node(1)))])).await;
    assert!(matches!(again, Err(ProposeError::Refused(Refusal::Exists(_)))));
}

#[test]
fn a_full_queue_says_so() {
    let (store, _receiver) = Store::new();
    let proposals: Vec<_> = (0..=PROPOSALS_MAX).map(|_| store.propose_all(vec![]).now_or_never()).collect();
    assert_eq!(proposals.last().unwrap(), &Some(Err(ProposeError::Busy)));
    assert!(proposals[..PROPOSALS_MAX].iter().all(Option::is_none));
}
