//! The loop on a store.

use crate::fixture::replicated;
use crate::fixture::run::{Running, SERVICE};
use crate::orchestrator::run;
use crate::store::Change;

#[tokio::test]
async fn a_services_tasks_are_made_and_go_with_it() {
    let running = Running::start(1, replicated(5_000), run).await;
    running.until("made", |store| store.read().task_count() == 5_000).await;
    let if_version = running.store.read().service(SERVICE).unwrap().meta.version;
    running.propose(vec![Change::RemoveService { service: SERVICE, if_version }]).await;
    running.until("gone", |store| store.read().service(SERVICE).is_none()).await;
    running.stop().await;
}
