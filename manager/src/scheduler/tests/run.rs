//! The loop on a store.

use skep_proto::model::Slot;

use crate::fixture::run::{Running, SERVICE};
use crate::fixture::{nodes, pending, replicated};
use crate::scheduler::run;
use crate::store::Change;

#[tokio::test]
async fn what_waits_is_placed_and_what_cannot_be_is_explained_until_it_can() {
    let running = Running::start(0, replicated(5), run).await;
    let tasks = (1..=5).map(|slot| pending(u128::from(slot), SERVICE, Slot::Replica(slot)));
    running.propose(tasks.map(|task| Change::CreateTask(Box::new(task))).collect()).await;
    running.until("explained", |store| store.soft().waiting(SERVICE, 1).is_some()).await;
    running.propose(nodes(2)).await;
    running.until("placed", |store| store.read().tasks().all(|task| task.node.is_some())).await;
    running.until("explained no more", |store| store.soft().waiting(SERVICE, 1).is_none()).await;
    running.stop().await;
}
