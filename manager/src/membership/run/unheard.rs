//! The leader's loop that removes nodes which never came.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::super::unheard::Unheard;
use crate::store::{Change, Store, Transaction};
use crate::sys;

/// Between two looks: short beside the time that a node has.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Looks from time to time, until `stop`.
pub async fn run(store: Store, stop: CancellationToken) {
    let (mut unheard, clock) = (Unheard::default(), sys::Clock::start());
    loop {
        let late = unheard.look(&store.read(), clock.now());
        for change in late {
            let Some(()) = stop.run_until_cancelled(remove(&store, change)).await else { return };
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

async fn remove(store: &Store, change: Change) {
    let Change::RemoveNode { node, .. } = &change else { return };
    let node = *node;
    match store.propose(Transaction { changes: vec![change], at: sys::now() }).await {
        Ok(_) => tracing::warn!(node.id = %node, "a node that had joined and never came was removed"),
        Err(error) => tracing::debug!(node.id = %node, %error, "a node that never came was not removed yet"),
    }
}
