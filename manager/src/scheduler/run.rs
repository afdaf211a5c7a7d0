//! The loop: wait, plan, propose, again. There is no timer that gathers work: while a proposal is on its way to the disk, new
//! tasks gather by themselves, and the next pass takes them all.

use std::time::Duration;

use skep_proto::model::Moment;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::turn::{Placer, RETRY_AFTER, Turn};
use crate::store::{ProposeError, Store, Topics};
use crate::sys::{SteadyClock, seed};

/// What the loop is woken for.
pub const TOPICS: Topics = Topics { scheduling: true, nodes: true, ..Topics::NONE };

/// Gives waiting tasks their nodes until this manager leads no more or is told to stop.
pub async fn run(store: Store, shutdown: CancellationToken) {
    let mut subscription = store.subscribe_to(TOPICS);
    let mut placer = Placer::default();
    let mut clock = SteadyClock::start();
    let mut due = Instant::now();
    info!("scheduler started");
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            touched = subscription.touched() => if !Placer::concerns(&touched) { continue },
            () = tokio::time::sleep_until(due) => {}
        }
        let wait = match turn(&store, &mut placer, clock.now()).await {
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

/// One pass. Returns how long the next may wait if nothing happens.
async fn turn(store: &Store, placer: &mut Placer, now: Moment) -> Result<Duration, ProposeError> {
    let Turn { explained, transaction, wait } = placer.turn(&store.read(), now, seed());
    if let Some(explained) = explained {
        debug!(groups = explained.len(), "tasks wait for a node");
        store.note_waiting(explained);
    }
    if let Some(transaction) = transaction {
        store.propose(transaction).await?;
    }
    Ok(wait)
}
