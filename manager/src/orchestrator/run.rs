//! The loop: wait, look, propose, again.
#![expect(clippy::disallowed_methods, reason = "driver: measures how long a look takes")]

use std::time::Instant;

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::turn::{Planner, Proposal, RETRY_AFTER};
use crate::store::{ProposeError, Store, Topics};
use crate::sys::{SteadyClock, seed};

/// What the loop is woken for.
pub const TOPICS: Topics = Topics { services: true, nodes: true, cluster: true, ..Topics::NONE };

/// Keeps services as their specs say until this manager leads no more or is told to stop.
pub async fn run(store: Store, shutdown: CancellationToken) {
    let mut subscription = store.subscribe_to(TOPICS);
    let mut planner = Planner::default();
    let mut clock = SteadyClock::start();
    info!("orchestrator started");
    loop {
        let now = clock.now();
        let wait = planner.due(now).since(now);
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            touched = subscription.touched() => planner.note(&store.read(), &touched, clock.now()),
            () = tokio::time::sleep(wait) => {}
        }
        match turn(&store, &mut planner, &mut clock).await {
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
async fn turn(store: &Store, planner: &mut Planner, clock: &mut SteadyClock) -> Result<(), ProposeError> {
    for mut proposal in look(store, planner, clock) {
        let outcomes = store.propose_all(std::mem::take(&mut proposal.transactions)).await?;
        for (service, refusal) in planner.settle(&proposal, outcomes, clock.now()) {
            debug!(service.id = %service, %refusal, "plan refused");
        }
    }
    Ok(())
}

/// Each look has a read lock of its own, so that whoever writes waits for one plan at most.
fn look(store: &Store, planner: &mut Planner, clock: &mut SteadyClock) -> Vec<Proposal> {
    let mut turn = planner.begin(&store.read(), clock.now(), seed());
    loop {
        let (now, began) = (clock.now(), Instant::now());
        let look = planner.look(&store.read(), now, seed(), &mut turn);
        let Some(look) = look else { return turn.into_proposals() };
        planner.looked(&look, began.elapsed(), now);
        for reason in &look.reasons {
            debug!(service.id = %look.service, reason, "planned");
        }
    }
}
