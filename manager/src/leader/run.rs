//! Waits for leadership, holds it, waits for its end.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::dispatcher::Dispatcher;
use crate::store::Store;
use crate::{allocator, orchestrator, scheduler};

/// After a loop has ended by itself: time for the news of who leads to arrive, so that we do not start in vain.
const RESTART_DELAY: Duration = Duration::from_millis(50);

/// Runs the leader-only loops whenever `own` leads, until `stop`.
pub async fn lead(
    store: Store,
    dispatcher: Dispatcher,
    own: u64,
    mut leader: watch::Receiver<Option<u64>>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            seen = leader.wait_for(|id| *id == Some(own)) => if seen.is_err() { return },
        }
        tracing::info!(raft.id = own, "this manager leads");
        term(&store, &dispatcher, own, &mut leader, &stop).await;
        store.forget_soft();
        tracing::info!(raft.id = own, "this manager leads no more");
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RESTART_DELAY) => {}
        }
    }
}

/// One term: returns when every loop of it has ended.
async fn term(
    store: &Store,
    dispatcher: &Dispatcher,
    own: u64,
    leader: &mut watch::Receiver<Option<u64>>,
    stop: &CancellationToken,
) {
    let token = stop.child_token();
    let mut loops = start(store, dispatcher, &token);
    tokio::select! {
        () = stop.cancelled() => {}
        _ = leader.wait_for(|id| *id != Some(own)) => {}
        ended = loops.join_next() => report(ended),
    }
    token.cancel();
    while let Some(ended) = loops.join_next().await {
        report(Some(ended));
    }
}

/// The order is explained in [`super`].
fn start(store: &Store, dispatcher: &Dispatcher, token: &CancellationToken) -> JoinSet<()> {
    let mut loops = JoinSet::new();
    let (serving, stop) = (dispatcher.clone(), token.clone());
    loops.spawn(async move { serving.run(stop).await });
    loops.spawn(allocator::run(store.clone(), token.clone()));
    loops.spawn(scheduler::run(store.clone(), token.clone()));
    loops.spawn(orchestrator::run(store.clone(), token.clone()));
    loops
}

/// A loop that panicked has met a state that it thought impossible. The others must not go on without it; all start again.
fn report(ended: Option<Result<(), tokio::task::JoinError>>) {
    if let Some(Err(error)) = ended {
        tracing::error!(%error, "a leader loop has failed; all of them start again");
    }
}
