//! The loop: wait, look, propose, again.
#![expect(clippy::disallowed_methods, reason = "driver: owns the clock and draws the seeds")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use skep_proto::model::{Moment, Seed, ServiceId};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::agenda::Agenda;
use super::plan::{PROPOSED_MAX, Plan, plan};
use super::reaper::plan_nodes;
use crate::store::{ProposeError, Store, Transaction};

/// How long a service whose plan was refused waits for its next one, and the loop after a proposal that came to nothing. A
/// refusal means that the state has moved on, so the wake-up is usually there before; the wait only keeps a bug from spinning.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// Transactions, and whose they are.
type Owned = (Vec<Transaction>, Vec<Option<ServiceId>>);

/// What a turn proposes.
#[derive(Default)]
struct Batch {
    transactions: Vec<(Transaction, Option<ServiceId>)>,
    changes: usize,
}

/// Keeps services as their specs say until this manager leads no more or is told to stop.
pub async fn run(store: Store, shutdown: CancellationToken) {
    let mut subscription = store.subscribe();
    let mut agenda = Agenda::default();
    info!("orchestrator started");
    loop {
        let wait = agenda.due(clock()).since(clock());
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            touched = subscription.touched() => agenda.note(&store.read(), &touched, clock()),
            () = tokio::time::sleep(wait) => {}
        }
        match turn(&store, &mut agenda).await {
            Ok(()) => {}
            Err(ProposeError::NotLeader) => return,
            Err(error) => {
                warn!(error = %skep_proto::chain::chain(&error), "orchestrator could not propose");
                agenda = Agenda::default();
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
}

/// Looks at what is due, as far as one proposal holds it, and proposes.
async fn turn(store: &Store, agenda: &mut Agenda) -> Result<(), ProposeError> {
    agenda.advance(&store.read(), clock());
    let mut batch = Batch::default();
    look_at_nodes(store, agenda, &mut batch);
    while batch.changes < PROPOSED_MAX
        && let Some(service) = agenda.take()
    {
        look_at(store, service, agenda, &mut batch);
    }
    for (transactions, owners) in batch.into_proposals() {
        let outcomes = store.propose_all(transactions).await?;
        for (outcome, owner) in outcomes.into_iter().zip(owners) {
            if let (Err(refusal), Some(service)) = (outcome, owner) {
                debug!(service.id = %service, %refusal, "plan refused");
                agenda.look_at(service, clock() + RETRY_AFTER);
            }
        }
    }
    Ok(())
}

fn look_at(store: &Store, service: ServiceId, agenda: &mut Agenda, batch: &mut Batch) {
    let (now, began) = (clock(), Instant::now());
    let plan = plan(&store.read(), service, now, seed());
    if plan.transactions.is_empty() {
        agenda.rest(service, began.elapsed(), now);
    }
    if let Some(at) = plan.wake_at {
        agenda.look_at(service, at);
    }
    for reason in &plan.reasons {
        debug!(service.id = %service, reason, "planned");
    }
    batch.add(plan, Some(service));
}

fn look_at_nodes(store: &Store, agenda: &mut Agenda, batch: &mut Batch) {
    if !agenda.take_nodes(clock()) {
        return;
    }
    let plan = plan_nodes(&store.read(), clock(), seed());
    if let Some(at) = plan.wake_at {
        agenda.look_at_nodes(at);
    }
    batch.add(plan, None);
}

impl Batch {
    fn add(&mut self, plan: Plan, owner: Option<ServiceId>) {
        self.changes += plan.transactions.iter().map(|transaction| transaction.changes.len()).sum::<usize>();
        self.transactions.extend(plan.transactions.into_iter().map(|transaction| (transaction, owner)));
    }

    /// Cuts it into proposals that are applied in a few milliseconds each.
    fn into_proposals(self) -> Vec<Owned> {
        let (mut proposals, mut size): (Vec<Owned>, usize) = (Vec::new(), usize::MAX);
        for (transaction, owner) in self.transactions {
            let more = transaction.changes.len();
            if size.saturating_add(more) > PROPOSED_MAX {
                proposals.push(Owned::default());
                size = 0;
            }
            size += more;
            let (transactions, owners) = proposals.last_mut().expect("the first turn of the loop made one");
            transactions.push(transaction);
            owners.push(owner);
        }
        proposals
    }
}

fn clock() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn seed() -> Seed {
    Seed::new(uuid::Uuid::new_v4().as_u128())
}
