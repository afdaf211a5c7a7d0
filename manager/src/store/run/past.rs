//! A snapshot being read while the store goes on.

use skep_proto::pb::SnapshotChunk;

use super::super::chunk::{CHUNK_PLACES, Head, tasks};
use super::Store;

/// The state as it was at one index, chunk by chunk. The store lets that moment go when this is dropped.
#[derive(Debug)]
pub struct Past {
    store: Store,
    ticket: u64,
    index: u64,
    head: Head,
    /// Where in the task table to go on; `None` at the end.
    next: Option<usize>,
    is_cut: bool,
}

impl Past {
    /// Holds the present still.
    pub(super) fn hold(store: &Store) -> Self {
        let frozen = store.inner.state.write().freeze();
        let (ticket, index, head) = (frozen.ticket, frozen.index, Head::new(frozen));
        Self { store: store.clone(), ticket, index, head, next: Some(0), is_cut: false }
    }

    /// It ended before its time: another member's snapshot has taken the state's place, and whatever is written of this one is of no use.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Raft index of the last entry in it.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }
}

impl Iterator for Past {
    type Item = SnapshotChunk;

    /// The next chunk. Readers are not kept waiting; writers at most as long as 512 tasks take to be copied.
    fn next(&mut self) -> Option<SnapshotChunk> {
        if let Some(chunk) = self.head.next() {
            return Some(chunk);
        }
        let from = self.next?;
        let state = self.store.read();
        let Some((some, next)) = state.frozen_tasks(self.ticket, from, CHUNK_PLACES) else {
            (self.next, self.is_cut) = (None, true);
            return None;
        };
        let chunk = tasks(&some);
        drop(state);
        self.next = next;
        Some(chunk)
    }
}

impl Drop for Past {
    fn drop(&mut self) {
        let frozen = self.store.inner.state.write().thaw(self.ticket);
        // After the lock: it may hold a copy of every task that changed meanwhile.
        drop(frozen);
    }
}
