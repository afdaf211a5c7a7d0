//! The seam to consensus: a log that stands in for Raft. It keeps Raft's promises and makes use of every freedom that they leave.
//!
//! - What is committed stays, in one order, for every manager.
//! - A proposer hears of the outcome after commit and apply; one whose leader went hears that it may or may not have been made, and
//!   chance decides which.
//! - One sync serves all that wait. There is one leader a term, and a manager that was deposed does not know it at once.
//!
//! Everything else in the simulator knows consensus by this file alone.

use super::queue::Owner;

/// One entry, as bytes: what is applied is what was read back.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) data: Vec<u8>,
    owner: Option<Owner>,
}

/// Who leads, since which term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lead {
    pub(crate) manager: usize,
    pub(crate) term: u64,
}

/// The group's log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: Vec<Entry>,
    committed: usize,
    term: u64,
    lead: Option<Lead>,
    syncing: bool,
}

impl Log {
    /// The first entry, which was there before anybody.
    pub(crate) fn found(&mut self, data: Vec<u8>) {
        self.entries.push(Entry { data, owner: None });
        self.committed = 1;
    }

    /// Who leads, as the group sees it.
    pub(crate) fn lead(&self) -> Option<Lead> {
        self.lead
    }

    /// How many entries are committed: the index of the last one.
    pub(crate) fn committed(&self) -> usize {
        self.committed
    }

    /// A committed entry. The first has index 1.
    pub(crate) fn entry(&self, index: usize) -> &Entry {
        assert!(index >= 1 && index <= self.committed, "only what is committed may be applied");
        &self.entries[index - 1]
    }

    /// Puts an entry at the end. `false`: this manager does not lead in that term.
    pub(crate) fn propose(&mut self, lead: Lead, owner: Owner, data: Vec<u8>) -> bool {
        let leads = self.lead == Some(lead);
        if leads {
            self.entries.push(Entry { data, owner: Some(owner) });
        }
        leads
    }

    /// Begins a sync of all that was appended, if there is anything and none is under way.
    pub(crate) fn begin_sync(&mut self) -> Option<(u64, usize)> {
        let lead = self.lead.filter(|_| !self.syncing && self.entries.len() > self.committed)?;
        self.syncing = true;
        Some((lead.term, self.entries.len()))
    }

    /// A sync ended: gives the entries that it committed, each with who waits for it.
    pub(crate) fn synced(&mut self, term: u64, upto: usize) -> Vec<(usize, Option<Owner>)> {
        if self.lead.is_none_or(|lead| lead.term != term) {
            return Vec::new();
        }
        self.syncing = false;
        let from = std::mem::replace(&mut self.committed, upto);
        (from..upto).map(|place| (place + 1, self.entries[place].owner.take())).collect()
    }

    /// Takes leadership from whoever has it. Of what was not committed the first `kept` entries survive; gives who waits for any.
    pub(crate) fn depose(&mut self, kept: usize) -> Vec<Owner> {
        let waiting = self.entries[self.committed..].iter_mut().filter_map(|entry| entry.owner.take()).collect();
        self.entries.truncate(self.committed + kept);
        self.lead = None;
        self.syncing = false;
        waiting
    }

    /// How many entries wait for a sync.
    pub(crate) fn uncommitted(&self) -> usize {
        self.entries.len() - self.committed
    }

    /// Makes a manager the leader of a new term. What survived of the last one is committed by it.
    pub(crate) fn elect(&mut self, manager: usize) -> Lead {
        self.term += 1;
        self.committed = self.entries.len();
        let lead = Lead { manager, term: self.term };
        self.lead = Some(lead);
        lead
    }
}
