//! The log as the raft crate reads it: what is durable, kept in memory from the last snapshot on.

use std::collections::VecDeque;

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot, SnapshotMetadata};
use raft::storage::{GetEntriesContext, RaftState, Storage};
use raft::{Error, StorageError};

/// Durable entries behind the last snapshot.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    hard_state: HardState,
    /// Index, term and members of the snapshot that the entries follow.
    base: SnapshotMetadata,
    entries: VecDeque<Entry>,
    bytes: u64,
}

impl Log {
    /// Follows a snapshot, or the members that a cluster begins with (index and term zero).
    pub(super) fn new(base: SnapshotMetadata) -> Self {
        let hard_state = HardState { commit: base.index, term: base.term, ..HardState::default() };
        Self { hard_state, base, entries: VecDeque::new(), bytes: 0 }
    }

    /// The snapshot that the entries follow.
    pub(super) fn base(&self) -> &SnapshotMetadata {
        &self.base
    }

    /// Term, vote and commit.
    pub(super) fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    /// Index of the last entry.
    pub(super) fn last(&self) -> u64 {
        self.base.index + self.entries.len() as u64
    }

    /// Bytes of the entries' data.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Term, vote and commit; commit never goes back.
    pub(super) fn set_hard_state(&mut self, hard_state: HardState) {
        let commit = hard_state.commit.max(self.hard_state.commit);
        self.hard_state = HardState { commit, ..hard_state };
    }

    /// Takes entries that are durable; each replaces what has its index and all behind it. `false` when they do not join.
    #[must_use]
    pub(super) fn append(&mut self, entries: Vec<Entry>) -> bool {
        entries.into_iter().all(|entry| self.push(entry))
    }

    fn push(&mut self, entry: Entry) -> bool {
        if entry.index <= self.base.index {
            return true;
        }
        while self.last() >= entry.index {
            let gone = self.entries.pop_back().expect("entries reach from the base to the last index");
            self.bytes -= size(&gone);
        }
        let joins = self.last() + 1 == entry.index;
        if joins {
            self.bytes += size(&entry);
            self.entries.push_back(entry);
        }
        joins
    }

    /// What a snapshot of everything up to an applied entry is of.
    pub(super) fn about(&self, index: u64) -> SnapshotMetadata {
        let term = self.term(index).unwrap_or(self.base.term);
        SnapshotMetadata { index, term, ..self.base.clone() }
    }

    /// Forgets entries that a durable snapshot holds.
    pub(super) fn compact(&mut self, base: SnapshotMetadata) {
        while self.entries.front().is_some_and(|entry| entry.index <= base.index) {
            let gone = self.entries.pop_front().expect("just seen");
            self.bytes -= size(&gone);
        }
        self.base = base;
    }

    fn place(&self, index: u64) -> Option<usize> {
        usize::try_from(index.checked_sub(self.base.index + 1)?).ok()
    }
}

fn size(entry: &Entry) -> u64 {
    entry.data.len() as u64
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.base.get_conf_state().clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let first = self.place(low).ok_or(Error::Store(StorageError::Compacted))?;
        let count = usize::try_from(high.saturating_sub(low)).unwrap_or(usize::MAX);
        let mut entries: Vec<Entry> = self.entries.iter().skip(first).take(count).cloned().collect();
        raft::util::limit_size(&mut entries, max_size.into());
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.base.index {
            return Ok(self.base.term);
        }
        let place = self.place(index).ok_or(Error::Store(StorageError::Compacted))?;
        self.entries.get(place).map(|entry| entry.term).ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    /// A follower that lags behind the log is sent the snapshot's file, not a message: until then it waits.
    fn snapshot(&self, _request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}

/// The members that a cluster begins with.
pub(super) fn founded_by(id: u64) -> SnapshotMetadata {
    let mut base = SnapshotMetadata::default();
    base.set_conf_state(ConfState { voters: vec![id], ..ConfState::default() });
    base
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, data: vec![0; 10].into(), ..Entry::default() }
    }

    #[test]
    fn a_later_entry_replaces_those_from_its_index_on() {
        let mut log = Log::new(founded_by(1));
        assert!(log.append(vec![entry(1, 1), entry(2, 1), entry(3, 1)]));
        assert!(log.append(vec![entry(2, 2)]));
        assert_eq!((log.last(), log.term(2).unwrap(), log.bytes()), (2, 2, 20));
        assert!(!log.append(vec![entry(4, 2)]), "a gap is seen");
    }

    #[test]
    fn what_a_snapshot_holds_is_forgotten() {
        let mut log = Log::new(founded_by(1));
        assert!(log.append((1..=5).map(|index| entry(index, 1)).collect()));
        log.compact(SnapshotMetadata { index: 3, term: 1, ..founded_by(1) });
        assert_eq!((log.first_index().unwrap(), log.last(), log.bytes()), (4, 5, 20));
        assert!(log.append(vec![entry(2, 1), entry(6, 1)]), "entries of the snapshot are passed over");
        assert_eq!(log.entries(4, 7, None, GetEntriesContext::empty(false)).unwrap().len(), 3);
    }
}
