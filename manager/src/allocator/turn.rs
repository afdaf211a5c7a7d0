//! What the loop does between its waits. The waiting, the clock and the log are the driver's.

use std::collections::BTreeSet;
use std::time::Duration;

use skep_proto::model::{Moment, ServiceId};

use super::plan::{Plan, plan, waiting};
use crate::store::{State, Touched};

/// Everything is looked at so often though nothing happened. It is also when a service for which no port was left is tried
/// again, if none came free in a way that woke the loop.
pub const FULL_SCAN_EVERY: Duration = Duration::from_secs(30);

/// How long the loop waits after a proposal that came to nothing, or was refused because the state had moved on.
pub const RETRY_AFTER: Duration = Duration::from_millis(50);

/// The services that one turn looks at, one after the other: each sees what the one before was given.
#[derive(Debug)]
pub struct Turn {
    services: BTreeSet<ServiceId>,
    is_everything: bool,
    wait: Duration,
}

impl Turn {
    /// Looks at the services that were touched; at all that wait, when that is not known.
    #[must_use]
    pub fn new(state: &State, touched: Option<Touched>) -> Self {
        let services = touched.filter(|touched| !touched.all).map(|touched| touched.services);
        let is_everything = services.is_none();
        let services = services.unwrap_or_else(|| waiting(state).map(|service| service.id).collect());
        Self { services, is_everything, wait: FULL_SCAN_EVERY }
    }

    /// The next service for which something is to be done, and what.
    pub fn next_plan(&mut self, state: &State, now: Moment) -> Option<(ServiceId, Plan)> {
        while let Some(id) = self.services.pop_first() {
            let plan = state.service(id).map(|service| plan(state, service, now)).unwrap_or_default();
            if plan != Plan::default() {
                return Some((id, plan));
            }
        }
        None
    }

    /// What was proposed for a service was refused: the state has moved on.
    pub fn refused(&mut self) {
        self.wait = RETRY_AFTER;
    }

    /// How long the next full look may wait after this turn; `None` leaves it when it was due.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        (self.is_everything || self.wait < FULL_SCAN_EVERY).then_some(self.wait)
    }
}
