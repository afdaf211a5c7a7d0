//! What the loop does between its waits: which services it looks at in one turn, what it proposes of their plans, and what it makes
//! of the outcomes. The waiting, the clock and the log are the driver's.

use std::time::Duration;

use skep_proto::model::{Moment, Seed, ServiceId};

use super::agenda::Agenda;
use super::plan::{PROPOSED_MAX, Plan, plan};
use super::reaper::plan_nodes;
use crate::store::{Outcome, Refusal, State, Touched, Transaction};

/// How long a service whose plan was refused waits for its next one, and the loop after a proposal that came to nothing. A
/// refusal means that the state has moved on, so the wake-up is usually there before; the wait only keeps a bug from spinning.
pub const RETRY_AFTER: Duration = Duration::from_millis(50);

/// What the loop remembers from one turn to the next. Losing it costs a look at everything, and no more.
#[derive(Debug, Default)]
pub struct Planner {
    agenda: Agenda,
}

/// What a turn proposes.
#[derive(Debug, Default)]
pub struct Turn {
    transactions: Vec<(Transaction, Option<ServiceId>)>,
    changes: usize,
}

/// One look at a service.
#[derive(Debug)]
pub struct Look {
    /// Which.
    pub service: ServiceId,
    /// Why what is planned.
    pub reasons: Vec<String>,
    /// It needs nothing.
    pub is_idle: bool,
}

/// Transactions to propose together, and whose they are.
#[derive(Debug, Default)]
pub struct Proposal {
    /// In order.
    pub transactions: Vec<Transaction>,
    owners: Vec<Option<ServiceId>>,
}

impl Planner {
    /// Takes a wake-up in.
    pub fn note(&mut self, state: &State, touched: &Touched, now: Moment) {
        self.agenda.note(state, touched, now);
    }

    /// When a turn is wanted, if no wake-up comes before.
    #[must_use]
    pub fn due(&self, now: Moment) -> Moment {
        self.agenda.due(now)
    }

    /// Begins a turn: takes what is due, the nodes first.
    pub fn begin(&mut self, state: &State, now: Moment, seed: Seed) -> Turn {
        self.agenda.advance(state, now);
        let mut turn = Turn::default();
        if self.agenda.take_nodes(now) {
            let plan = plan_nodes(state, now, seed);
            if let Some(at) = plan.wake_at {
                self.agenda.look_at_nodes(at);
            }
            turn.add(plan, None);
        }
        turn
    }

    /// Plans the next service, unless the turn has enough to propose or nothing more is due.
    pub fn look(&mut self, state: &State, now: Moment, seed: Seed, turn: &mut Turn) -> Option<Look> {
        let service = if turn.changes < PROPOSED_MAX { self.agenda.take() } else { None }?;
        let mut plan = plan(state, service, now, seed);
        if let Some(at) = plan.wake_at {
            self.agenda.look_at(service, at);
        }
        let (reasons, is_idle) = (std::mem::take(&mut plan.reasons), plan.transactions.is_empty());
        turn.add(plan, Some(service));
        Some(Look { service, reasons, is_idle })
    }

    /// Lets a service rest that needed nothing and was long to look at.
    pub fn looked(&mut self, look: &Look, took: Duration, now: Moment) {
        if look.is_idle {
            self.agenda.rest(look.service, took, now);
        }
    }

    /// Takes the outcomes of a proposal: services whose plans were refused are looked at again soon. Gives those, with the reason.
    pub fn settle(&mut self, proposal: &Proposal, outcomes: Vec<Outcome>, now: Moment) -> Vec<(ServiceId, Refusal)> {
        let owners = proposal.owners.iter().zip(outcomes);
        let refused: Vec<_> = owners.filter_map(|(owner, outcome)| Some(((*owner)?, outcome.err()?))).collect();
        for (service, _) in &refused {
            self.agenda.look_at(*service, now + RETRY_AFTER);
        }
        refused
    }

    /// A proposal came to nothing: everything is to be looked at again.
    pub fn start_over(&mut self) {
        self.agenda = Agenda::default();
    }
}

impl Turn {
    fn add(&mut self, plan: Plan, owner: Option<ServiceId>) {
        self.changes += plan.transactions.iter().map(|transaction| transaction.changes.len()).sum::<usize>();
        self.transactions.extend(plan.transactions.into_iter().map(|transaction| (transaction, owner)));
    }

    /// Cuts it into proposals that are applied in a few milliseconds each.
    #[must_use]
    pub fn into_proposals(self) -> Vec<Proposal> {
        let (mut proposals, mut open, mut size) = (Vec::new(), Proposal::default(), 0);
        for (transaction, owner) in self.transactions {
            let more = transaction.changes.len();
            if size + more > PROPOSED_MAX && size > 0 {
                proposals.push(std::mem::take(&mut open));
                size = 0;
            }
            size += more;
            open.transactions.push(transaction);
            open.owners.push(owner);
        }
        proposals.extend((!open.transactions.is_empty()).then_some(open));
        proposals
    }
}
