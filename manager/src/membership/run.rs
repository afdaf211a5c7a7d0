//! The leader's loop.

pub mod former;
pub mod unheard;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::plan::{Plan, Step, plan};
use crate::store::{Store, Topics, Transaction};
use crate::sys;
use crate::sys::Consensus;

/// Longest wait between two looks. A learner catches up without anything in the state changing; the group tells with each tick.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Wait after a step that came to nothing: somebody else wrote, or leadership is in question.
const RETRY: Duration = Duration::from_millis(100);

/// Tasks come and go by the thousand and make no manager.
pub(super) const TOPICS: Topics = Topics { nodes: true, ..Topics::NONE };

/// Makes the group what the state wants it to be, until `stop`.
pub async fn run(store: Store, consensus: Arc<dyn Consensus>, stop: CancellationToken) {
    let mut subscription = store.subscribe_to(TOPICS);
    let mut group = consensus.group();
    let mut said = Vec::new();
    loop {
        let Plan { step, reasons } = plan(&store.read(), &group.borrow_and_update(), consensus.own_id());
        if reasons != said {
            reasons.iter().for_each(|reason| tracing::warn!(reason, "membership waits"));
            said = reasons;
        }
        let wait = match step {
            Step::Nothing => None,
            step => Some(stop.run_until_cancelled(take(&store, &*consensus, step)).await.unwrap_or(Ok(()))),
        };
        let pause = match wait {
            Some(Ok(())) => continue,
            Some(Err(())) => RETRY,
            None => LOOK_EVERY,
        };
        tokio::select! {
            () = stop.cancelled() => return,
            _ = subscription.touched(), if wait.is_none() => {}
            changed = group.changed(), if wait.is_none() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
        }
        if stop.is_cancelled() {
            return;
        }
    }
}

/// Takes one step. The one place that logs them.
async fn take(store: &Store, consensus: &dyn Consensus, step: Step) -> Result<(), ()> {
    match step {
        Step::Nothing => Ok(()),
        Step::Group(change) => {
            tracing::info!(?change, "the group of managers changes");
            consensus.change(change).await.map_err(|error| tracing::warn!(%error, "the group did not change"))
        }
        Step::HandOver => {
            tracing::info!("this manager is to go: another is to lead");
            consensus.transfer(None).await;
            // Whether it comes to that is seen when this loop is stopped; else it is tried again.
            Err(())
        }
        Step::Write(change) => {
            let transaction = Transaction { changes: vec![*change], at: sys::now() };
            let written = store.propose(transaction).await;
            written.map(drop).map_err(|error| tracing::debug!(%error, "a node's role was not written"))
        }
    }
}
