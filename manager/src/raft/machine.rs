//! Raft as a machine: proposals, ticks and messages go in; what to save, send and apply comes out, in that order.
//!
//! The driver's four duties, once for every turn that [`Machine::begin`] gives:
//! 1. Send [`Turn::messages`]: a leader's, which need not wait for its own disk.
//! 2. Make [`Turn::save`] durable. If that fails, take the machine apart ([`Machine::into_log`]) and build it anew from what is
//!    durable, as if the process had died: its memory knows entries that the disk may not have.
//! 3. Give the turn back to [`Machine::finish`] and send what comes: answers that promise what was just saved.
//! 4. Apply the committed entries, then say so with [`Machine::applied`].

use raft::eraftpb::{Entry, Message};
use raft::{Config, RawNode, Ready, StateRole};

use super::log::Log;
use super::saved::Saved;

/// One member of the group.
pub(super) struct Machine {
    raw: RawNode<Log>,
}

/// What the machine wants done before it goes on.
#[derive(Debug)]
pub(super) struct Turn {
    ready: Ready,
    committed: Vec<Entry>,
    /// To be sent at once.
    pub(super) messages: Vec<Message>,
    /// To be made durable; `None` when nothing must be.
    pub(super) save: Option<Saved>,
}

/// What may be done once the turn is durable.
#[derive(Debug)]
pub(super) struct Done {
    /// To be sent.
    pub(super) messages: Vec<Message>,
    /// To be applied, in order.
    pub(super) committed: Vec<Entry>,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine").field("term", &self.term()).field("leads", &self.leads()).finish_non_exhaustive()
    }
}

impl Machine {
    /// A member that has this log.
    pub(super) fn new(config: &Config, log: Log, logger: &slog::Logger) -> raft::Result<Self> {
        let applied = log.base().index;
        let config = Config { applied, ..config.clone() };
        Ok(Self { raw: RawNode::new(&config, log, logger)? })
    }

    /// Nobody else votes: there is nobody to wait for and no tick is needed.
    pub(super) fn is_alone(&self) -> bool {
        self.raw.raft.prs().is_singleton() && self.raw.raft.promotable()
    }

    /// Stands for election now.
    pub(super) fn campaign(&mut self) -> raft::Result<()> {
        self.raw.campaign()
    }

    /// Time went on by one tick.
    pub(super) fn tick(&mut self) {
        self.raw.tick();
    }

    /// Puts an entry at the log's end; gives its index and term, or `None` when this member does not lead.
    pub(super) fn propose(&mut self, data: Vec<u8>) -> Option<(u64, u64)> {
        self.raw.propose(Vec::new(), data).ok()?;
        let log = &self.raw.raft.raft_log;
        self.leads().then(|| (log.last_index(), self.term()))
    }

    /// It was elected in the present term.
    pub(super) fn leads(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    /// The present term.
    pub(super) fn term(&self) -> u64 {
        self.raw.raft.term
    }

    /// The durable log.
    pub(super) fn log(&self) -> &Log {
        self.raw.store()
    }

    /// The durable log, to forget what a snapshot holds.
    pub(super) fn log_mut(&mut self) -> &mut Log {
        self.raw.mut_store()
    }

    /// What is durable, for a new machine.
    pub(super) fn into_log(mut self) -> Log {
        std::mem::take(self.raw.mut_store())
    }

    /// The next thing to do, if any.
    pub(super) fn begin(&mut self) -> Option<Turn> {
        if !self.raw.has_ready() {
            return None;
        }
        let mut ready = self.raw.ready();
        let (messages, committed, entries) =
            (ready.take_messages(), ready.take_committed_entries(), ready.take_entries());
        let hard_state = ready.hs().cloned().unwrap_or_else(|| self.raw.store().hard_state().clone());
        let saved = Saved { hard_state, entries };
        // A commit index alone is not worth a sync: it is found anew by election, and goes with the next record.
        let save = ready.must_sync().then_some(saved);
        Some(Turn { ready, committed, messages, save })
    }

    /// The turn's save is durable.
    pub(super) fn finish(&mut self, mut turn: Turn) -> Done {
        let log = self.raw.mut_store();
        if let Some(saved) = turn.save.take() {
            log.set_hard_state(saved.hard_state);
            assert!(log.append(saved.entries), "the raft crate extends the log that it read");
        } else if let Some(hard_state) = turn.ready.hs() {
            log.set_hard_state(hard_state.clone());
        }
        let mut messages = turn.ready.take_persisted_messages();
        let mut light = self.raw.advance_append(turn.ready);
        if let Some(commit) = light.commit_index() {
            let log = self.raw.mut_store();
            log.set_hard_state(raft::eraftpb::HardState { commit, ..log.hard_state().clone() });
        }
        messages.extend(light.take_messages());
        turn.committed.extend(light.take_committed_entries());
        Done { messages, committed: turn.committed }
    }

    /// Everything committed so far was applied.
    pub(super) fn applied(&mut self) {
        self.raw.advance_apply();
    }
}
