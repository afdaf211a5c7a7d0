//! The store's handle: read, propose, watch.

mod news;
mod past;
mod publish;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, oneshot, watch};

use skep_proto::model::{Era, NodeId, ServiceId, TaskId, TaskStatus};

use super::apply::Effects;
use super::change::Transaction;
use super::error::{ProposeError, Refusal};
use super::event::{Topics, Touched};
use super::look::Look;
use super::over::Over;
use super::rotation::{Presented, RotationProgress};
use super::soft::Soft;
use super::state::State;
pub use news::News;
pub use past::Past;
use publish::{Registry, Subscribers};
pub use publish::{Subscription, Watch};

/// Proposals that may wait for the log. It takes thousands a batch, so this many wait only when the disk has stopped; the next ones
/// are refused as busy, and their callers try again, which is better than a queue that grows until the memory ends.
const PROPOSALS_MAX: usize = 8192;

/// What one transaction came to: the version it was applied at, or why not.
pub type Outcome = Result<u64, Refusal>;

/// Transactions that wait for a place in the log. `raft` takes them from the receiver that [`Store::new`] returns.
#[derive(Debug)]
pub struct Proposal {
    /// Applied in order; each its own unit. None at all: a read that waits until it sees everything that was acknowledged.
    pub transactions: Vec<Transaction>,
    /// The term that they were computed in: in another one they are refused.
    pub term: Option<u64>,
    /// Told once they were applied, or that they will not be.
    pub reply: oneshot::Sender<Result<Vec<Outcome>, ProposeError>>,
}

/// Handle to the state. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
    term: Option<u64>,
}

/// Where both locks are needed, `state` is taken first.
#[derive(Debug)]
struct Inner {
    state: RwLock<State>,
    soft: RwLock<Soft>,
    proposals: mpsc::Sender<Proposal>,
    /// This manager leads and is alone: nobody else can acknowledge anything.
    is_sole: AtomicBool,
    /// Raft ids of managers that answer, while neither takes the other's certificate.
    estranged: Mutex<BTreeSet<u64>>,
    subscribers: Arc<Subscribers>,
    services: Arc<Registry<ServiceId>>,
    nodes: Arc<Registry<NodeId>>,
    /// A node proves itself with something else.
    presented: watch::Sender<()>,
    rotation: watch::Sender<Option<RotationProgress>>,
    /// A later era that somebody speaks of who need not be believed, and who is said to live in it.
    rumor: watch::Sender<Option<(Era, Vec<String>)>>,
    /// What has ended for this manager.
    over: watch::Sender<Option<Over>>,
}

impl Store {
    /// An empty state, and the end of the queue that Raft takes proposals from (bounded).
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Proposal>) {
        let (proposals, receiver) = mpsc::channel(PROPOSALS_MAX);
        let inner = Inner {
            state: RwLock::default(),
            soft: RwLock::default(),
            proposals,
            is_sole: AtomicBool::default(),
            estranged: Mutex::default(),
            subscribers: Arc::default(),
            services: Arc::default(),
            nodes: Arc::default(),
            presented: watch::Sender::default(),
            rotation: watch::Sender::default(),
            rumor: watch::Sender::default(),
            over: watch::Sender::default(),
        };
        (Self { inner: Arc::new(inner), term: None }, receiver)
    }

    /// A handle whose proposals count in this term only: for the loops of a leader, of whom one that has not yet heard that another
    /// leads, or that this manager leads again, must not act any more.
    #[must_use]
    pub fn in_term(&self, term: u64) -> Self {
        Self { inner: Arc::clone(&self.inner), term: Some(term) }
    }

    /// The state, to look at for a bounded time. Never held across an await, which clippy sees to, nor while the same thread looks again.
    #[track_caller]
    pub fn read(&self) -> Look<'_, State> {
        Look::at(&self.inner.state)
    }

    /// The leader's soft state, likewise. Whoever needs both takes the state first.
    #[track_caller]
    pub fn soft(&self) -> Look<'_, Soft> {
        Look::at(&self.inner.soft)
    }

    /// Proposes transactions together and waits until they are committed and applied.
    ///
    /// # Errors
    /// When there is no outcome; a refused transaction is an outcome.
    pub async fn propose_all(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, ProposeError> {
        let (reply, answer) = oneshot::channel();
        let term = self.term;
        self.inner.proposals.try_send(Proposal { transactions, term, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ProposeError::Busy,
            mpsc::error::TrySendError::Closed(_) => ProposeError::NotLeader,
        })?;
        answer.await.unwrap_or(Err(ProposeError::NotLeader))
    }

    /// Proposes one and waits; returns the version it was applied at.
    ///
    /// # Errors
    /// When it was refused or there is no outcome.
    ///
    /// # Panics
    /// When whoever empties the queue breaks its duty to give each transaction an outcome.
    pub async fn propose(&self, transaction: Transaction) -> Result<u64, ProposeError> {
        let outcomes = self.propose_all(vec![transaction]).await?;
        let outcome = outcomes.into_iter().next().expect("each transaction has an outcome");
        outcome.map_err(ProposeError::from)
    }

    /// Waits until the state has everything that was acknowledged to anyone before: what is read after that is linearizable. Costs a
    /// round to a majority of the managers, shared with whoever asks at the same time, and nothing on a manager that is alone.
    ///
    /// # Errors
    /// When this manager does not lead, or cannot make sure that it does.
    pub async fn barrier(&self) -> Result<(), ProposeError> {
        if self.term.is_none() && self.inner.is_sole.load(Ordering::Acquire) {
            return Ok(());
        }
        self.propose_all(Vec::new()).await.map(drop)
    }

    /// For `raft`: whether this manager leads, alone, and has applied all that it must know for that. Taken back before anybody else can
    /// be elected: a barrier that passes on the old word then belongs to the moment before.
    pub fn note_sole(&self, is_sole: bool) {
        self.inner.is_sole.store(is_sole, Ordering::Release);
    }

    /// That manager answers, and neither takes the other's certificate; or that is not (any more) so.
    pub fn note_estranged(&self, raft_id: u64, is_estranged: bool) {
        let mut estranged = self.inner.estranged.lock();
        if is_estranged {
            estranged.insert(raft_id)
        } else {
            estranged.remove(&raft_id)
        };
    }

    /// Whether it is so with any.
    #[must_use]
    pub fn is_estranged(&self) -> bool {
        !self.inner.estranged.lock().is_empty()
    }

    /// Everything that is stored from now on, merged. Soft states are not: they come by the thousand and no decision waits for one.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        self.subscribe_to(Topics::ALL)
    }

    /// The same of these topics: for the loops that are always there, which would else be woken by the thousand for nothing.
    #[must_use]
    pub fn subscribe_to(&self, topics: Topics) -> Subscription {
        Subscribers::subscribe(&self.inner.subscribers, topics)
    }

    /// Wake-ups about one service and its tasks, soft states included.
    #[must_use]
    pub fn watch_service(&self, id: ServiceId) -> Watch {
        Registry::watch(&self.inner.services, id)
    }

    /// Wake-ups about what one node is to do.
    #[must_use]
    pub fn watch_node(&self, id: NodeId) -> Watch {
        Registry::watch(&self.inner.nodes, id)
    }

    /// Takes note of states that Raft does not store; smaller ones than known are passed over.
    pub fn note_statuses(&self, statuses: Vec<(TaskId, TaskStatus)>) {
        let state = self.read();
        let mut soft = self.inner.soft.write();
        let noted = statuses.into_iter().filter_map(|(id, status)| soft.note(&state, id, status)).collect();
        drop((state, soft));
        self.inner.services.wake(&noted);
    }

    /// Takes note of why each group of unassigned tasks waits; groups not named wait no more.
    pub fn note_waiting(&self, waiting: Vec<((ServiceId, u64), String)>) {
        let changed = self.inner.soft.write().explain(waiting);
        self.inner.services.wake(&changed);
    }

    /// Takes note of how far a node's clock is ahead of this manager's.
    pub fn note_clock(&self, node: NodeId, ahead_ms: i64) {
        let state = self.read();
        self.inner.soft.write().note_clock(&state, node, ahead_ms);
    }

    /// Takes note of what a node proves itself with and whom it trusts.
    pub fn note_presented(&self, node: NodeId, presented: Presented) {
        let state = self.read();
        if self.inner.soft.write().note_presented(&state, node, presented) {
            self.inner.presented.send_replace(());
        }
    }

    /// Hears when a node proves itself with something else.
    #[must_use]
    pub fn watch_presented(&self) -> watch::Receiver<()> {
        self.inner.presented.subscribe()
    }

    /// These nodes are to get another certificate now, and no others.
    pub fn ask_renewals(&self, nodes: BTreeSet<NodeId>) {
        let changed = self.inner.soft.write().ask_renewals(nodes);
        self.inner.nodes.wake(&changed);
    }

    /// Says how far the replacement of the root is.
    pub fn note_rotation(&self, progress: Option<RotationProgress>) {
        self.inner.rotation.send_if_modified(|known| {
            let is_new = *known != progress;
            *known = progress;
            is_new
        });
    }

    /// How far the replacement of the root is, while this manager leads and one is on its way.
    #[must_use]
    pub fn watch_rotation(&self) -> watch::Receiver<Option<RotationProgress>> {
        self.inner.rotation.subscribe()
    }

    /// The era that the cluster lives in; `None` before there is a state.
    #[must_use]
    pub fn era(&self) -> Option<Era> {
        self.read().cluster().map(|cluster| cluster.era)
    }

    /// Takes note of the era that another node lives in. `true`: it is later than ours, and this manager must not act any more.
    pub fn hear_of_era(&self, theirs: Era) -> bool {
        self.hear_of_era_at(theirs, Vec::new())
    }

    /// The same from somebody who knows where managers of that era are.
    pub fn hear_of_era_at(&self, theirs: Era, managers: Vec<String>) -> bool {
        let is_later = self.era().is_some_and(|ours| ours < theirs);
        if is_later {
            self.end(Over::Era { era: theirs, managers });
        }
        is_later
    }

    /// Takes note of the era that a node says it has heard of, and of the managers that it knows. `true`: it is later than ours, if that is
    /// true. A worker could end a whole cluster with it, so that only a manager's word counts: see [`Store::watch_rumor`].
    pub fn hear_rumor(&self, theirs: Era, managers: Vec<String>) -> bool {
        let is_later = self.era().is_some_and(|ours| ours < theirs);
        if is_later {
            self.inner.rumor.send_replace(Some((theirs, managers)));
        }
        is_later
    }

    /// What is said of later eras, for whoever finds out whether it is so.
    #[must_use]
    pub fn watch_rumor(&self) -> watch::Receiver<Option<(Era, Vec<String>)>> {
        self.inner.rumor.subscribe()
    }

    /// This manager's seat was taken away: it must not act any more.
    pub fn lose_seat(&self) {
        self.end(Over::Seat);
    }

    fn end(&self, heard: Over) {
        self.inner.over.send_if_modified(|over| match Over::after(over.as_ref(), heard) {
            Some(after) => {
                *over = Some(after);
                true
            }
            None => false,
        });
    }

    /// Whether this manager's part is over, and why.
    #[must_use]
    pub fn watch_over(&self) -> watch::Receiver<Option<Over>> {
        self.inner.over.subscribe()
    }

    /// For whoever leads no more: soft state is the leader's.
    pub fn forget_soft(&self) {
        let forgotten = std::mem::take(&mut *self.inner.soft.write());
        drop(forgotten);
    }

    /// For `raft`: applies a committed entry and wakes whom it concerns.
    pub fn apply(&self, index: u64, transactions: Vec<Transaction>) -> Vec<Outcome> {
        let mut touched = Touched::default();
        let outcomes = self.apply_quietly(index, transactions, &mut touched);
        self.publish(&touched);
        outcomes
    }

    /// For `raft`: applies one committed entry of several and adds whom it concerns; [`Store::publish`] is to follow the last one.
    pub fn apply_quietly(&self, index: u64, transactions: Vec<Transaction>, touched: &mut Touched) -> Vec<Outcome> {
        let mut effects = Effects::default();
        let mut state = self.inner.state.write();
        let outcomes = state.apply_with(index, transactions, &mut effects);
        // Readers may look again while the soft state is brought in line; no other writer comes between.
        let state = parking_lot::RwLockWriteGuard::downgrade(state);
        if !effects.settled.is_empty() {
            self.inner.soft.write().settle(&state, &effects.settled);
        }
        drop(state);
        touched.merge(effects.touched);
        outcomes
    }

    /// For `raft`: replaces the state by a snapshot's.
    pub fn install(&self, state: State) {
        let before = std::mem::replace(&mut *self.inner.state.write(), state);
        drop(before);
        self.forget_soft();
        self.inner.subscribers.publish(&Touched { all: true, ..Touched::default() });
        self.inner.services.wake_all();
        self.inner.nodes.wake_all();
    }

    /// The state as it is now, to be written down while the store goes on.
    #[must_use]
    pub fn hold(&self) -> Past {
        Past::hold(self)
    }

    /// For `raft`: wakes whom it concerns.
    pub fn publish(&self, touched: &Touched) {
        if !touched.is_empty() {
            self.inner.subscribers.publish(touched);
            self.inner.services.wake(&touched.services);
            self.inner.nodes.wake_of(&touched.assignments, &touched.tasks);
        }
    }
}

#[cfg(test)]
mod tests;
