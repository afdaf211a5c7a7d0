//! The store's handle: read, propose, watch (interface first).

use parking_lot::RwLockReadGuard;
use tokio::sync::oneshot;

use skep_proto::model::{NodeId, ServiceId, TaskId, TaskStatus};

use super::change::Transaction;
use super::error::{ProposeError, Refusal};
use super::event::Touched;
use super::soft::Soft;
use super::state::State;

/// What one transaction came to: the version it was applied at, or why not.
pub type Outcome = Result<u64, Refusal>;

/// Transactions that wait for a place in the log. `raft` takes them from the receiver that [`Store::new`] returns.
#[derive(Debug)]
pub struct Proposal {
    /// Applied in order; each its own unit.
    pub transactions: Vec<Transaction>,
    /// Told once they were applied, or that they will not be.
    pub reply: oneshot::Sender<Result<Vec<Outcome>, ProposeError>>,
}

/// Handle to the state. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {}

/// Merged wake-ups of a loop.
#[derive(Debug)]
pub struct Subscription {}

/// Wake-ups about one object.
#[derive(Debug)]
pub struct Watch {}

impl Store {
    /// An empty state, and the end of the queue that Raft takes proposals from (bounded).
    #[must_use]
    pub fn new() -> (Self, tokio::sync::mpsc::Receiver<Proposal>) {
        unimplemented!()
    }
    /// The state, to look at for a bounded time. Never held across an await: clippy's `await_holding_lock` sees to it.
    pub fn read(&self) -> RwLockReadGuard<'_, State> {
        unimplemented!()
    }
    /// The leader's soft state, likewise.
    pub fn soft(&self) -> RwLockReadGuard<'_, Soft> {
        unimplemented!()
    }
    /// Proposes transactions together and waits until they are committed and applied.
    ///
    /// # Errors
    /// When there is no outcome; a refused transaction is an outcome.
    pub async fn propose_all(&self, _transactions: Vec<Transaction>) -> Result<Vec<Outcome>, ProposeError> {
        unimplemented!()
    }
    /// Proposes one and waits; returns the version it was applied at.
    ///
    /// # Errors
    /// When it was refused or there is no outcome.
    pub async fn propose(&self, _transaction: Transaction) -> Result<u64, ProposeError> {
        unimplemented!()
    }
    /// Everything that happens from now on, merged.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        unimplemented!()
    }
    /// Wake-ups about one service and its tasks, soft states included.
    #[must_use]
    pub fn watch_service(&self, _id: ServiceId) -> Watch {
        unimplemented!()
    }
    /// Wake-ups about what one node is to do.
    #[must_use]
    pub fn watch_node(&self, _id: NodeId) -> Watch {
        unimplemented!()
    }
    /// Takes note of states that Raft does not store; smaller ones than known are passed over.
    pub fn note_statuses(&self, _statuses: Vec<(TaskId, TaskStatus)>) {
        unimplemented!()
    }
    /// Takes note of why each group of unassigned tasks waits; groups not named wait no more.
    pub fn note_waiting(&self, _waiting: Vec<((ServiceId, u64), String)>) {
        unimplemented!()
    }
    /// For `raft`: applies a committed entry and wakes whom it concerns.
    pub fn apply(&self, _index: u64, _transactions: &[Transaction]) -> Vec<Outcome> {
        unimplemented!()
    }
    /// For `raft`: replaces the state by a snapshot's.
    pub fn install(&self, _state: State) {
        unimplemented!()
    }
}

impl Subscription {
    /// Waits until something was touched, and takes it.
    pub async fn touched(&mut self) -> Touched {
        unimplemented!()
    }
}

impl Watch {
    /// Waits until something happened since the last call; once at once at first.
    pub async fn changed(&mut self) {
        unimplemented!()
    }
}
