//! Proposals that go into the log together, as one entry.
//!
//! What the crate, the log's file, every follower and a start pay for an entry is so paid once for all proposals that wait for the same
//! write, and the state is locked once for all of them. Entries are written one behind the other in a form of which two in a row read as
//! one, so that nothing is copied to join them. Each proposer gets the outcomes of its own transactions.

use super::pending::Waiting;
use crate::store::{Proposal, codec};

/// An entry is closed at this many bytes; only a single larger proposal makes a larger one. It is what a message to a follower takes, and
/// some thousand changes of the state under one lock.
const ENTRY_BYTES: usize = 256 << 10;

/// The entry that is being put together.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    data: Vec<u8>,
    waiting: Vec<Waiting>,
}

impl Gathered {
    /// Nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds a proposal; gives its bytes, or the proposal and its bytes when they are more than `max`.
    pub(super) fn add(&mut self, proposal: Proposal, max: usize) -> Result<usize, (Proposal, usize)> {
        let before = self.data.len();
        codec::encode_behind(&mut self.data, &proposal.transactions);
        let bytes = self.data.len() - before;
        if bytes > max {
            self.data.truncate(before);
            return Err((proposal, bytes));
        }
        self.waiting.push(Waiting { transactions: proposal.transactions.len(), reply: proposal.reply });
        Ok(bytes)
    }

    /// No more goes in: it is to be entered first.
    pub(super) fn is_full(&self) -> bool {
        self.data.len() >= ENTRY_BYTES
    }

    /// The entry's bytes and who waits for it.
    pub(super) fn take(&mut self) -> (Vec<u8>, Vec<Waiting>) {
        (std::mem::take(&mut self.data), std::mem::take(&mut self.waiting))
    }
}
