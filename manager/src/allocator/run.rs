//! The loop: wait, plan, propose, again.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::turn::{RETRY_AFTER, Turn};
use crate::store::{ProposeError, Store, Topics, Touched};
use crate::sys;

/// What the loop is woken for.
pub const TOPICS: Topics = Topics { services: true, ..Topics::NONE };

/// Gives out published ports until this manager leads no more or is told to stop.
pub async fn run(store: Store, shutdown: CancellationToken) {
    let mut subscription = store.subscribe_to(TOPICS);
    let mut due = Instant::now();
    info!("allocator started");
    loop {
        let touched = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            touched = subscription.touched() => Some(touched),
            () = tokio::time::sleep_until(due) => None,
        };
        match turn(&store, touched).await {
            Ok(None) => {}
            Ok(Some(wait)) => due = Instant::now() + wait,
            Err(ProposeError::NotLeader) => return,
            Err(error) => {
                warn!(error = %skep_proto::chain::chain(&error), "allocator could not propose");
                due = Instant::now() + RETRY_AFTER;
            }
        }
    }
}

/// Looks at the services that were touched, or at all. Returns how long the next look at all may wait, if that has changed.
async fn turn(store: &Store, touched: Option<Touched>) -> Result<Option<Duration>, ProposeError> {
    let mut turn = Turn::new(&store.read(), touched);
    loop {
        let next = turn.next_plan(&store.read(), sys::now());
        let Some((id, plan)) = next else { return Ok(turn.wait()) };
        if let Some(exhausted) = plan.failure {
            warn!(service.id = %id, error = %exhausted, "service waits for a port");
        }
        let Some(transaction) = plan.transaction else { continue };
        match store.propose(transaction).await {
            Err(ProposeError::Refused(refusal)) => {
                debug!(service.id = %id, %refusal, "plan refused");
                turn.refused();
            }
            done => drop(done?),
        }
    }
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
