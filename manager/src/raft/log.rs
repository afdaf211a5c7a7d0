//! The log as the raft crate reads it: what is durable, kept in memory from some entries before the last snapshot on.

use std::cell::Cell;
use std::collections::VecDeque;

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot, SnapshotMetadata};
use raft::storage::{GetEntriesContext, RaftState, Storage};
use raft::{Error, StorageError};

use super::saved::Saved;

/// Entries before the snapshot that are kept for members that are a little behind: sending them is cheaper than the whole state.
const TRAILING_MAX: usize = 5_000;

/// Bytes of them. A member that is further behind is sent the snapshot.
const TRAILING_BYTES_MAX: u64 = 8 << 20;

/// Durable entries, from the base on.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    hard_state: HardState,
    /// Who belongs to the group, as of the last entry that was applied.
    members: ConfState,
    /// The last durable snapshot.
    snapshot: SnapshotMetadata,
    /// Index and term of the entry before the first that is kept.
    base: (u64, u64),
    entries: VecDeque<Entry>,
    bytes: u64,
    /// Of those behind the snapshot.
    behind: u64,
    /// Somebody needs a snapshot and there is none.
    wanted: Cell<bool>,
}

impl Log {
    /// Follows a snapshot, or what a cluster begins with.
    pub(super) fn new(snapshot: SnapshotMetadata) -> Self {
        let hard_state = HardState { commit: snapshot.index, term: snapshot.term, ..HardState::default() };
        let (base, members) = ((snapshot.index, snapshot.term), snapshot.get_conf_state().clone());
        Self { hard_state, members, snapshot, base, ..Self::default() }
    }

    /// What records of a disk tell, in order, behind a snapshot or what the member began with. `None` when they do not fit together.
    pub(super) fn recover(begun: SnapshotMetadata, records: Vec<Saved>) -> Option<Self> {
        let mut log = Self::new(begun);
        for saved in records {
            log.set_hard_state(saved.hard_state);
            if !log.append(saved.entries) {
                return None;
            }
        }
        (log.hard_state.commit <= log.last()).then_some(log)
    }

    /// The last durable snapshot.
    pub(super) fn snapshot_about(&self) -> &SnapshotMetadata {
        &self.snapshot
    }

    /// Term, vote and commit.
    pub(super) fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    /// Index of the last entry.
    pub(super) fn last(&self) -> u64 {
        self.base.0 + self.entries.len() as u64
    }

    /// Bytes of the data of entries behind the snapshot.
    pub(super) fn bytes_behind(&self) -> u64 {
        self.behind
    }

    /// Term, vote and commit; commit never goes back.
    pub(super) fn set_hard_state(&mut self, hard_state: HardState) {
        let commit = hard_state.commit.max(self.hard_state.commit);
        self.hard_state = HardState { commit, ..hard_state };
    }

    /// A change of the group was applied.
    pub(super) fn set_members(&mut self, members: ConfState) {
        self.members = members;
    }

    /// Takes entries that are durable; each replaces what has its index and all behind it. `false` when they do not join.
    #[must_use]
    pub(super) fn append(&mut self, entries: Vec<Entry>) -> bool {
        entries.into_iter().all(|entry| self.push(entry))
    }

    /// An entry of an earlier term than the base cannot follow it: it is what a snapshot of another member has replaced.
    fn push(&mut self, entry: Entry) -> bool {
        if entry.index <= self.base.0 || entry.term < self.base.1 {
            return true;
        }
        while self.last() >= entry.index {
            let gone = self.entries.pop_back().expect("entries reach from the base to the last index");
            self.forget(&gone);
        }
        let joins = self.last() + 1 == entry.index;
        if joins {
            self.bytes += size(&entry);
            self.behind += if entry.index > self.snapshot.index { size(&entry) } else { 0 };
            self.entries.push_back(entry);
        }
        joins
    }

    fn forget(&mut self, gone: &Entry) {
        self.bytes -= size(gone);
        self.behind -= if gone.index > self.snapshot.index { size(gone) } else { 0 };
    }

    /// What a snapshot of everything up to the last applied entry is of.
    pub(super) fn about(&self, (index, term): (u64, u64)) -> SnapshotMetadata {
        let mut about = SnapshotMetadata { index, term, ..SnapshotMetadata::default() };
        about.set_conf_state(self.members.clone());
        about
    }

    /// A durable snapshot holds everything up to its index: of the entries before, only some are kept.
    pub(super) fn compact(&mut self, snapshot: SnapshotMetadata) {
        let passed = self.entries.iter().take_while(|entry| entry.index <= snapshot.index);
        self.behind -= passed.filter(|entry| entry.index > self.snapshot.index).map(size).sum::<u64>();
        self.snapshot = snapshot;
        self.wanted.set(false);
        let mut trailing = (self.snapshot.index - self.base.0, self.bytes - self.behind);
        while trailing.0 > TRAILING_MAX as u64 || trailing.1 > TRAILING_BYTES_MAX {
            let Some(gone) = self.entries.pop_front() else { return };
            trailing = (trailing.0 - 1, trailing.1 - size(&gone));
            self.bytes -= size(&gone);
            self.base = (gone.index, gone.term);
        }
    }

    /// Another member's snapshot takes the place of everything.
    pub(super) fn restart(&mut self, snapshot: SnapshotMetadata) {
        let HardState { term, vote, .. } = self.hard_state;
        *self = Self::new(snapshot);
        self.hard_state = HardState { term, vote, ..self.hard_state.clone() };
    }

    /// Somebody needs a snapshot, and there is none yet.
    pub(super) fn wants_snapshot(&self) -> bool {
        self.wanted.get()
    }

    fn place(&self, index: u64) -> Option<usize> {
        usize::try_from(index.checked_sub(self.base.0 + 1)?).ok()
    }
}

fn size(entry: &Entry) -> u64 {
    entry.data.len() as u64
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.members.clone()))
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
        let max_size = max_size.into();
        // What does not fit is not copied: a member far behind asks for megabytes and gets what one message takes.
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let first = bytes == 0;
            bytes += size(entry) + 1;
            first || max_size.is_none_or(|max| bytes <= max)
        };
        let entries = self.entries.range(first.min(self.entries.len())..).take(count).take_while(fits);
        let mut entries: Vec<Entry> = entries.cloned().collect();
        raft::util::limit_size(&mut entries, max_size);
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.base.0 {
            return Ok(self.base.1);
        }
        if index == self.snapshot.index {
            return Ok(self.snapshot.term);
        }
        let place = self.place(index).ok_or(Error::Store(StorageError::Compacted))?;
        self.entries.get(place).map(|entry| entry.term).ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    /// Names the last durable snapshot; its content goes from file to file, not through the machine. Without one, or when it is older
    /// than the member that needs it, which could then not know itself, the member waits and one is written.
    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let members = self.snapshot.get_conf_state();
        let knows = members.voters.contains(&to) || members.learners.contains(&to);
        if self.snapshot.index < request_index.max(FIRST_INDEX + 1) || !knows {
            self.wanted.set(true);
            return Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        }
        let mut snapshot = Snapshot::default();
        snapshot.set_metadata(self.snapshot.clone());
        Ok(snapshot)
    }
}

/// Index and term that a new cluster's log follows. They stand for the founding, which no entry tells: a member that comes later and
/// has nothing is therefore sent a snapshot, which names the founder.
const FIRST_INDEX: u64 = 1;

/// What a cluster begins with: one voter, nothing else.
pub(super) fn founded_by(id: u64) -> SnapshotMetadata {
    let mut base = SnapshotMetadata { index: FIRST_INDEX, term: 1, ..SnapshotMetadata::default() };
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
        assert!(log.append(vec![entry(2, 1), entry(3, 1), entry(4, 1)]));
        assert!(log.append(vec![entry(3, 2)]));
        assert_eq!((log.last(), log.term(3).unwrap(), log.bytes_behind()), (3, 2, 20));
        assert!(!log.append(vec![entry(5, 2)]), "a gap is seen");
    }

    #[test]
    fn what_a_snapshot_holds_is_kept_for_a_while_and_counts_no_more() {
        let mut log = Log::new(founded_by(1));
        let last = TRAILING_MAX as u64 + 11;
        assert!(log.append((2..=last).map(|index| entry(index, 1)).collect()));
        log.compact(log.about((last - 5, 1)));
        assert_eq!((log.first_index().unwrap(), log.last(), log.bytes_behind()), (7, last, 50));
        assert_eq!(log.term(6).unwrap(), 1);
        assert_eq!(log.entries(7, 10, None, GetEntriesContext::empty(false)).unwrap().len(), 3);
        assert_eq!(log.entries(7, 100, 35, GetEntriesContext::empty(false)).unwrap().len(), 2);
        assert!(log.append(vec![entry(2, 1), entry(last + 1, 1)]), "entries before the base are passed over");
        assert_eq!(log.snapshot(0, 1).unwrap().get_metadata().index, last - 5);
        log.compact(log.about((last, 1)));
        assert_eq!(log.bytes_behind(), 10);
    }

    #[test]
    fn a_snapshot_that_is_wanted_and_missing_is_asked_for_until_there_is_one() {
        let mut log = Log::new(founded_by(1));
        assert!(log.append(vec![entry(2, 1)]));
        assert!(log.snapshot(0, 1).is_err() && log.wants_snapshot());
        log.compact(log.about((2, 1)));
        assert!(!log.wants_snapshot() && log.snapshot(0, 1).is_ok());
        assert!(log.snapshot(0, 2).is_err() && log.wants_snapshot(), "it is older than member 2");
    }

    #[test]
    fn what_another_members_snapshot_replaced_does_not_come_back() {
        let mut log = Log::new(founded_by(1));
        assert!(log.append(vec![entry(2, 1), entry(3, 1)]));
        log.restart(SnapshotMetadata { index: 9, term: 4, ..SnapshotMetadata::default() });
        assert_eq!((log.last(), log.bytes_behind(), log.hard_state().commit), (9, 0, 9));
        assert!(log.append(vec![entry(10, 2), entry(11, 3)]), "as a start reads them from the old files");
        assert_eq!(log.last(), 9);
        assert!(log.append(vec![entry(10, 4)]));
        assert_eq!(log.last(), 10);
    }
}
