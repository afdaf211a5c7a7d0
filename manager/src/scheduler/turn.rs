//! What the loop does between its waits. The waiting, the clock and the log are the driver's.

use std::time::Duration;

use skep_proto::model::{Moment, Seed};

use super::plan::{Group, Plan, plan};
use crate::store::{State, Touched, Transaction};

/// A pass is made so often though nothing happened; it bounds how long a lost wake-up can go unnoticed.
pub const FULL_SCAN_EVERY: Duration = Duration::from_secs(30);

/// How long the loop waits after a proposal that came to nothing.
pub const RETRY_AFTER: Duration = Duration::from_millis(50);

/// What the loop remembers from one turn to the next: what it last said of the tasks that wait.
#[derive(Debug, Default)]
pub struct Placer {
    explained: Vec<(Group, String)>,
}

/// What a turn comes to.
#[derive(Debug)]
pub struct Turn {
    /// The explanations, if they have changed.
    pub explained: Option<Vec<(Group, String)>>,
    /// To be proposed, if any task was placed.
    pub transaction: Option<Transaction>,
    /// How long the next turn may wait if nothing happens.
    pub wait: Duration,
}

impl Placer {
    /// Whether a pass could come to something new: a task waits, room came free, or a node changed.
    #[must_use]
    pub fn concerns(touched: &Touched) -> bool {
        touched.all || touched.scheduling || !touched.nodes.is_empty()
    }

    /// One pass.
    pub fn turn(&mut self, state: &State, now: Moment, seed: Seed) -> Turn {
        let Plan { placed, waiting, complete } = plan(state, now, seed);
        let changed = complete && waiting != self.explained;
        if changed {
            self.explained.clone_from(&waiting);
        }
        Turn {
            explained: changed.then_some(waiting),
            transaction: Plan::transaction(placed, now),
            wait: if complete { FULL_SCAN_EVERY } else { Duration::ZERO },
        }
    }
}
