//! Waits for leadership, holds it, waits for its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::dispatcher::Dispatcher;
use crate::group::Leadership;
use crate::net::Dialer;
use crate::store::Store;
use crate::sys::Consensus;
use crate::{allocator, ca, membership, orchestrator, scheduler};

/// After a loop has ended by itself: time for the news of who leads to arrive, so that we do not start in vain.
const RESTART_DELAY: Duration = Duration::from_millis(50);

/// What the loops stand on.
#[derive(Clone, Debug)]
pub struct Ground {
    /// The state.
    pub store: Store,
    /// The sessions, which are served only while this manager leads.
    pub dispatcher: Dispatcher,
    /// The group of managers.
    pub consensus: Arc<dyn Consensus>,
    /// The way to other managers.
    pub dialer: Dialer,
}

/// Runs the leader-only loops whenever this manager leads, until `stop`.
pub async fn lead(ground: Ground, mut leadership: watch::Receiver<Leadership>, stop: CancellationToken) {
    loop {
        let won = tokio::select! {
            () = stop.cancelled() => return,
            won = leadership.wait_for(|now| now.is_leader) => match won {
                Ok(won) => *won,
                Err(_) => return,
            },
        };
        tracing::info!(raft.term = won.term, "this manager leads");
        term(&ground, won, &mut leadership, &stop).await;
        ground.store.forget_soft();
        tracing::info!(raft.term = won.term, "this manager leads no more");
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RESTART_DELAY) => {}
        }
    }
}

/// One term: returns when every loop of it has ended.
async fn term(
    ground: &Ground,
    won: Leadership,
    leadership: &mut watch::Receiver<Leadership>,
    stop: &CancellationToken,
) {
    let token = stop.child_token();
    let mut loops = start(ground, won, &token);
    tokio::select! {
        () = stop.cancelled() => {}
        _ = leadership.wait_for(|now| !now.is_leader || now.term != won.term) => {}
        ended = loops.join_next() => report(ended),
    }
    token.cancel();
    while let Some(ended) = loops.join_next().await {
        report(Some(ended));
    }
}

/// The order is explained in [`super`]. Whatever the loops propose counts in this term only, so that one that is slow to end cannot act
/// beside another leader, nor beside its own successor.
fn start(ground: &Ground, won: Leadership, token: &CancellationToken) -> JoinSet<()> {
    let store = ground.store.in_term(won.term);
    let mut loops = JoinSet::new();
    let (serving, stop) = (ground.dispatcher.in_term(won), token.clone());
    loops.spawn(async move { serving.run(stop).await });
    loops.spawn(membership::run(store.clone(), Arc::clone(&ground.consensus), token.clone()));
    let (dialer, own) = (ground.dialer.clone(), ground.consensus.own_id());
    loops.spawn(membership::run::former::run(store.clone(), dialer, own, token.clone()));
    loops.spawn(membership::run::unheard::run(store.clone(), token.clone()));
    loops.spawn(ca::run::rotation::run(store.clone(), token.clone()));
    loops.spawn(allocator::run(store.clone(), token.clone()));
    loops.spawn(scheduler::run(store.clone(), token.clone()));
    loops.spawn(orchestrator::run(store, token.clone()));
    loops
}

/// A loop that panicked has met a state that it thought impossible. The others must not go on without it; all start again.
fn report(ended: Option<Result<(), tokio::task::JoinError>>) {
    if let Some(Err(error)) = ended {
        tracing::error!(%error, "a leader loop has failed; all of them start again");
    }
}
