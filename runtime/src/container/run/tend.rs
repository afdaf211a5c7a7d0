//! Keeps the node's network as it should be: somebody may flush the table, or take the bridge down.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::facade::Runtime;

/// How often the kernel is compared with what should be. A quiet look costs some 30 us; drift is repaired within this time.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks until the runtime is gone.
pub(crate) async fn tend(runtime: Weak<Runtime>) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut trouble = false;
    loop {
        ticks.tick().await;
        let Some(runtime) = runtime.upgrade() else { return };
        trouble = look(runtime, trouble).await;
    }
}

/// Repairs what has drifted; says when trouble begins and when it ends, not each second in between.
async fn look(runtime: Arc<Runtime>, trouble: bool) -> bool {
    match Runtime::blocking(move || runtime.backing.reconcile()).await {
        Ok(()) => {
            if trouble {
                tracing::info!("the node's network is as it should be again");
            }
            false
        }
        Err(error) => {
            if !trouble {
                tracing::warn!(%error, source = ?std::error::Error::source(&error), "the node's network cannot be repaired");
            }
            true
        }
    }
}
