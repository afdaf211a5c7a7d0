//! A disk as a value.

use raft::eraftpb::SnapshotMetadata;
use skep_proto::pb::SnapshotChunk;

use super::tail::{read_after_rot, survivors};
use crate::raft::log::{Log, founded_by};
use crate::raft::saved::Saved;
use crate::store::{Rebuild, State};

/// When a member dies while it is driven: at which of its writes, and what is left of that write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashPoint {
    /// From zero.
    pub at_save: usize,
    /// Nobody was told that it is durable.
    pub remnant: Remnant,
}

/// What the disk has of a write that was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remnant {
    /// Nothing.
    Nothing,
    /// All of it.
    All,
    /// Some of its pieces, in whatever order they were written: those whose bits are set, beginning anew after 64.
    Pieces(u64),
    /// All but one bit, by its number, which may be larger than there are.
    Flipped(u64),
}

/// What a start makes of a log that is damaged where no write was cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rot {
    /// It refuses it.
    Refused,
    /// It goes by what it can read.
    Believed,
}

/// Records at a log's end that a crash looks at: the one that was being written and some before it.
const TAIL: usize = 3;

/// What is durable of one member. It outlives it.
#[derive(Clone, Debug)]
pub struct MemoryDisk {
    pub(super) raft_id: u64,
    founded: bool,
    records: Vec<Saved>,
    snapshot: Option<(SnapshotMetadata, Vec<SnapshotChunk>)>,
}

impl MemoryDisk {
    /// Of the one voter that a cluster begins with.
    #[must_use]
    pub fn founded(raft_id: u64) -> Self {
        Self { raft_id, founded: true, records: Vec::new(), snapshot: None }
    }

    /// Of a member that will be told of its cluster.
    #[must_use]
    pub fn joined(raft_id: u64) -> Self {
        Self { founded: false, ..Self::founded(raft_id) }
    }

    /// Records that are kept.
    #[must_use]
    pub fn records(&self) -> usize {
        self.records.len()
    }

    /// A bit of the log flips where no write was under way. What a start makes of it; `None` when it finds all that there was.
    #[must_use]
    pub fn rot(&self, bit: u64) -> Option<Rot> {
        let last = &self.records[self.records.len().saturating_sub(TAIL)..];
        match read_after_rot(last, bit) {
            Some(read) if read == last => None,
            Some(_) => Some(Rot::Believed),
            None => Some(Rot::Refused).filter(|_| last.len() == TAIL),
        }
    }

    pub(super) fn save(&mut self, saved: &Saved) {
        self.records.push(saved.clone());
    }

    /// The power goes while a record is being written.
    pub(super) fn tear(&mut self, saved: &Saved, remnant: Remnant) {
        self.save(saved);
        let tail = self.records.split_off(self.records.len().saturating_sub(TAIL));
        self.records.extend(survivors(&tail, remnant));
    }

    /// Keeps a snapshot, and of the records the last, for term and vote, and those with entries behind it.
    pub(super) fn keep(&mut self, about: SnapshotMetadata, chunks: Vec<SnapshotChunk>) {
        let covered = self.records.iter().take_while(|record| record.last_index() <= about.index).count();
        let last = self.records.last().map(|record| Saved { entries: Vec::new(), ..record.clone() });
        self.records.drain(..covered);
        self.records.extend(last.filter(|_| self.records.is_empty()));
        self.snapshot = Some((about, chunks));
    }

    pub(super) fn chunks(&self) -> Vec<SnapshotChunk> {
        self.snapshot.as_ref().map(|(_, chunks)| chunks.clone()).unwrap_or_default()
    }

    /// What a start finds: the log, and the state of the snapshot.
    pub(super) fn recover(&self) -> (Log, Option<State>) {
        let nothing = || if self.founded { founded_by(self.raft_id) } else { SnapshotMetadata::default() };
        let begun = self.snapshot.as_ref().map_or_else(nothing, |(about, _)| about.clone());
        let state = self.snapshot.as_ref().map(|(about, chunks)| rebuilt(chunks.clone(), about.index));
        let log = Log::recover(begun, self.records.clone());
        (log.expect("records fit together, because each was made durable before the next"), state)
    }
}

pub(super) fn rebuilt(chunks: Vec<SnapshotChunk>, index: u64) -> State {
    let mut rebuild = Rebuild::default();
    for chunk in chunks {
        rebuild.add(chunk).expect("a member's own snapshot can be read");
    }
    rebuild.finish(index)
}
