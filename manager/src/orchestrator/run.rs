//! The loop: wait, look, propose, again.
#![expect(clippy::disallowed_methods, reason = "driver: owns the clock and draws the seeds")]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use skep_proto::model::{Moment, Seed};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::turn::{Planner, Proposal, RETRY_AFTER};
use crate::store::{ProposeError, Store};

/// Keeps services as their specs say until this manager leads no more or is told to stop.
pub async fn run(store: Store, shutdown: CancellationToken) {
    let mut subscription = store.subscribe();
    let mut planner = Planner::default();
    info!("orchestrator started");
    loop {
        let now = clock();
        let wait = planner.due(now).since(now);
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            touched = subscription.touched() => planner.note(&store.read(), &touched, clock()),
            () = tokio::time::sleep(wait) => {}
        }
        match turn(&store, &mut planner).await {
            Ok(()) => {}
            Err(ProposeError::NotLeader) => return,
            Err(error) => {
                warn!(error = %skep_proto::chain::chain(&error), "orchestrator could not propose");
                planner.start_over();
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
}

/// Looks at what is due, as far as one proposal holds it, and proposes.
async fn turn(store: &Store, planner: &mut Planner) -> Result<(), ProposeError> {
    for mut proposal in look(store, planner) {
        let outcomes = store.propose_all(std::mem::take(&mut proposal.transactions)).await?;
        for (service, refusal) in planner.settle(&proposal, outcomes, clock()) {
            debug!(service.id = %service, %refusal, "plan refused");
        }
    }
    Ok(())
}

/// Each look has a read lock of its own, so that whoever writes waits for one plan at most.
fn look(store: &Store, planner: &mut Planner) -> Vec<Proposal> {
    let mut turn = planner.begin(&store.read(), clock(), seed());
    loop {
        let (now, began) = (clock(), Instant::now());
        let look = planner.look(&store.read(), now, seed(), &mut turn);
        let Some(look) = look else { return turn.into_proposals() };
        planner.looked(&look, began.elapsed(), now);
        for reason in &look.reasons {
            debug!(service.id = %look.service, reason, "planned");
        }
    }
}

fn clock() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn seed() -> Seed {
    Seed::new(uuid::Uuid::new_v4().as_u128())
}
