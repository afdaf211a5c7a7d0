//! The loop: wait, plan, propose, again.
#![expect(clippy::disallowed_methods, reason = "driver: owns the clock")]

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use skep_proto::model::{Moment, ServiceId};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::plan::{plan, waiting};
use crate::store::{ProposeError, Store};

/// Everything is looked at so often though nothing happened. It is also when a service for which no port was left is tried
/// again, if none came free in a way that woke the loop.
pub const FULL_SCAN_EVERY: Duration = Duration::from_secs(30);

/// How long the loop waits after a proposal that came to nothing, or was refused because the state had moved on.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// Gives out published ports until this manager leads no more or is told to stop.
pub async fn run(store: Store, shutdown: CancellationToken) {
    let mut subscription = store.subscribe();
    let mut due = Instant::now();
    info!("allocator started");
    loop {
        let touched = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            touched = subscription.touched() => (!touched.all).then_some(touched.services),
            () = tokio::time::sleep_until(due) => None,
        };
        let everything = touched.is_none();
        let wait = match turn(&store, touched).await {
            Ok(wait) => wait,
            Err(ProposeError::NotLeader) => return,
            Err(error) => {
                warn!(error = %skep_proto::chain::chain(&error), "allocator could not propose");
                RETRY_AFTER
            }
        };
        let next = Instant::now() + wait;
        due = if everything { next } else { next.min(due) };
    }
}

/// Looks at the services named, or at all. One after the other: each sees what the one before was given.
async fn turn(store: &Store, services: Option<BTreeSet<ServiceId>>) -> Result<Duration, ProposeError> {
    let services = services.unwrap_or_else(|| waiting(&store.read()).map(|service| service.id).collect());
    let mut wait = FULL_SCAN_EVERY;
    for id in services {
        let plan = {
            let state = store.read();
            state.service(id).map(|service| plan(&state, service, clock())).unwrap_or_default()
        };
        if let Some(exhausted) = plan.failure {
            warn!(service.id = %id, error = %exhausted, "service waits for a port");
        }
        let Some(transaction) = plan.transaction else { continue };
        match store.propose(transaction).await {
            Ok(_) => {}
            Err(ProposeError::Refused(refusal)) => {
                debug!(service.id = %id, %refusal, "plan refused");
                wait = RETRY_AFTER;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(wait)
}

fn clock() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use skep_proto::model::PublishMode;

    use super::*;
    use crate::fixture::run::{Running, SERVICE};
    use crate::fixture::{port, replicated};

    #[tokio::test]
    async fn a_service_gets_the_ports_that_it_waits_for() {
        let mut spec = replicated(1);
        spec.ports = vec![port(80, 0, PublishMode::Ingress)];
        let running = Running::start(1, spec, run).await;
        let has_port = |store: &Store| store.read().service(SERVICE).unwrap().ports_allocated();
        running.until("given out", has_port).await;
        assert_eq!(running.store.read().service(SERVICE).unwrap().ports[0].published, 30_000);
        running.stop().await;
    }
}
