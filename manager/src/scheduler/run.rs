//! The loop: wait, plan, propose, again. There is no timer that gathers work: while a proposal is on its way to the disk, new
//! tasks gather by themselves, and the next pass takes them all.
#![expect(clippy::disallowed_methods, reason = "driver: owns the clock and draws the seeds")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use skep_proto::model::{Moment, Seed};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::plan::{Group, Plan, plan};
use crate::store::{ProposeError, Store, Touched};

/// A pass is made so often though nothing happened; it bounds how long a lost wake-up can go unnoticed.
pub const FULL_SCAN_EVERY: Duration = Duration::from_secs(30);

/// How long the loop waits after a proposal that came to nothing.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// Gives waiting tasks their nodes until this manager leads no more or is told to stop.
pub async fn run(store: Store, shutdown: CancellationToken) {
    let mut subscription = store.subscribe();
    let mut explained = Vec::new();
    let mut due = Instant::now();
    info!("scheduler started");
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            touched = subscription.touched() => if !concerns(&touched) { continue },
            () = tokio::time::sleep_until(due) => {}
        }
        let wait = match turn(&store, &mut explained).await {
            Ok(wait) => wait,
            Err(ProposeError::NotLeader) => return,
            Err(error) => {
                warn!(error = %skep_proto::chain::chain(&error), "scheduler could not propose");
                RETRY_AFTER
            }
        };
        due = Instant::now() + wait;
    }
}

/// Whether a pass could come to something new: a task waits, room came free, or a node changed.
fn concerns(touched: &Touched) -> bool {
    touched.all || touched.scheduling || !touched.nodes.is_empty()
}

/// One pass. Returns how long the next may wait if nothing happens.
async fn turn(store: &Store, explained: &mut Vec<(Group, String)>) -> Result<Duration, ProposeError> {
    let now = clock();
    let Plan { placed, waiting, complete } = plan(&store.read(), now, seed());
    if complete && waiting != *explained {
        debug!(groups = waiting.len(), "tasks wait for a node");
        store.note_waiting(waiting.clone());
        *explained = waiting;
    }
    if let Some(transaction) = Plan::transaction(placed, now) {
        store.propose(transaction).await?;
    }
    Ok(if complete { FULL_SCAN_EVERY } else { Duration::ZERO })
}

fn clock() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn seed() -> Seed {
    Seed::new(uuid::Uuid::new_v4().as_u128())
}
