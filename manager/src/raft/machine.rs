//! Raft as a machine: proposals, ticks and messages go in; what to save, send and apply comes out, in that order.
//!
//! The caller's four duties, once for every turn that [`Machine::begin`] gives:
//! 1. Send [`Turn::messages`]: a leader's, which need not wait for its own disk.
//! 2. Make [`Turn::install`] and then [`Turn::save`] durable. If that fails, take the machine apart ([`Machine::into_log`]) and build
//!    it anew from what is durable, as if the process had died: its memory knows entries that the disk may not have.
//! 3. Give the turn back to [`Machine::finish`] and send what comes: answers that promise what was just saved.
//! 4. Apply the committed entries, then say so with [`Machine::applied`].
//!
//! Chance is only in the election timeouts, which are drawn here from a seed and not by the crate, so that a run can be played again.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use raft::eraftpb::{ConfChange, ConfChangeType, Entry, HardState, Message, MessageType, SnapshotMetadata};
use raft::{Config, RawNode, Ready, SnapshotStatus, StateRole};
use skep_proto::model::Seed;

use super::log::Log;
use super::loss::Loss;
use super::saved::Saved;
use super::timing;
use crate::group::{MemberChange, MemberView};

/// One member of the group.
pub(super) struct Machine {
    raw: RawNode<Log>,
    seed: Seed,
    /// Ticks since the start, and at which of them each other member was last heard.
    ticks: u64,
    heard: BTreeMap<u64, u64>,
    /// The election timer before the last input: when it went back, the crate has drawn a timeout, and so do we.
    elapsed: usize,
    /// What this member's disk has lost and it has not got again yet.
    loss: Option<Loss>,
    /// The same, until it was told of.
    untold: Option<Loss>,
}

/// What the machine wants done before it goes on.
#[derive(Debug)]
pub(super) struct Turn {
    ready: Ready,
    committed: Vec<Entry>,
    /// To be sent at once.
    pub(super) messages: Vec<Message>,
    /// Another member's snapshot, which replaces log and state: to be made durable first.
    pub(super) install: Option<SnapshotMetadata>,
    /// To be made durable; `None` when nothing must be.
    pub(super) save: Option<Saved>,
    /// Reads that were confirmed, by number, and the index that must be applied before they are answered.
    pub(super) reads: Vec<(u64, u64)>,
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
    /// A member that has this log, of which the state has everything up to `applied` already.
    pub(super) fn new(
        config: &Config,
        log: Log,
        applied: u64,
        seed: Seed,
        logger: &slog::Logger,
    ) -> raft::Result<Self> {
        let config = Config { applied, ..config.clone() };
        let raw = RawNode::new(&config, log, logger)?;
        let mut machine = Self { raw, seed, ticks: 0, heard: BTreeMap::new(), elapsed: 0, loss: None, untold: None };
        machine.draw();
        Ok(machine)
    }

    /// The group is this member only: there is nobody to wait for and no tick is needed.
    pub(super) fn is_alone(&self) -> bool {
        let raft = &self.raw.raft;
        raft.promotable() && raft.prs().iter().len() == 1
    }

    /// Stands for election now.
    pub(super) fn campaign(&mut self) -> raft::Result<()> {
        self.raw.campaign()?;
        self.redraw();
        Ok(())
    }

    /// Time went on by one tick.
    pub(super) fn tick(&mut self) {
        self.ticks += 1;
        self.raw.tick();
        self.redraw();
    }

    /// Takes a message of another member. One that has no place here is passed over; whoever sent it says it again or finds out.
    pub(super) fn step(&mut self, message: Message) {
        // A proposal is made where the leader is and nowhere else, so that it is answered where it was made.
        if message.to != self.raw.raft.id || message.get_msg_type() == MessageType::MsgPropose {
            return;
        }
        self.heard.insert(message.from, self.ticks);
        if self.present_loss().is_some_and(|loss| !loss.may_hear(&message)) {
            return;
        }
        self.believe(&message);
        let (message, answer) = self.with_less(message);
        // The only error is an answer of someone who is no member any more.
        drop(self.raw.step(message));
        self.raw.raft.msgs.extend(answer.filter(|answer| Some(answer.to) == self.leader()));
        self.redraw();
    }

    /// What this member has lost and not got again yet.
    fn present_loss(&mut self) -> Option<Loss> {
        let last = self.raw.raft.raft_log.last_index();
        self.loss = self.loss.filter(|loss| last < loss.had);
        self.loss
    }

    /// What the leader remembers of this member and it has no more; for the log, once.
    pub(super) fn take_loss(&mut self) -> Option<Loss> {
        self.untold.take()
    }

    /// A leader that remembers more is told, and its message taken for as much as there is.
    fn with_less(&mut self, mut message: Message) -> (Message, Option<Message>) {
        let log = &self.raw.raft.raft_log;
        let (last, last_term) = (log.last_index(), log.last_term());
        let Some(loss) = Loss::told_by(&message, last).filter(|_| message.term >= self.term()) else {
            return (message, None);
        };
        self.untold = self.untold.or(if self.loss.is_none() { Some(loss) } else { None });
        self.loss = Some(loss);
        message.commit = last;
        let answer = loss.answer(&message, last_term);
        (message, Some(answer))
    }

    /// A member that says that it has less than it said before has lost something, or an old word of it came late: in either case it is
    /// sent what follows.
    fn believe(&mut self, message: &Message) {
        let raft = &mut self.raw.raft;
        let says_less = message.get_msg_type() == MessageType::MsgAppendResponse && message.reject;
        if raft.state != StateRole::Leader || message.term != raft.term || !says_less {
            return;
        }
        if let Some(of) = raft.mut_prs().get_mut(message.from).filter(|of| message.reject_hint < of.matched) {
            of.matched = message.reject_hint;
            of.become_probe();
            raft.send_append(message.from);
        }
    }

    /// Of what the crate wants to say, what this member may.
    fn sayable(&mut self, mut messages: Vec<Message>) -> Vec<Message> {
        if self.present_loss().is_some() {
            messages.retain(Loss::may_say);
        }
        messages
    }

    /// The connection from a member broke. If it leads, its process has ended or the network between us has: the lease, for which
    /// this member helps nobody else to leadership, ends now. Should the leader live after all, the others do not vote.
    pub(super) fn lost(&mut self, id: u64) {
        self.heard.remove(&id);
        let raft = &mut self.raw.raft;
        if raft.leader_id == id && raft.state == StateRole::Follower {
            raft.election_elapsed = raft.election_elapsed.max(raft.election_timeout());
            self.elapsed = raft.election_elapsed;
        }
    }

    /// Messages do not get through to a member.
    pub(super) fn unreachable(&mut self, id: u64) {
        self.raw.report_unreachable(id);
    }

    /// What became of a snapshot that was on its way to a member.
    pub(super) fn snapshot_sent(&mut self, id: u64, arrived: bool) {
        let status = if arrived { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        self.raw.report_snapshot(id, status);
    }

    /// Puts an entry at the log's end; gives its index and term, or `None` when this member does not lead or is handing over.
    pub(super) fn propose(&mut self, data: Vec<u8>) -> Option<(u64, u64)> {
        if !self.leads() {
            return None;
        }
        self.raw.propose(Vec::new(), data).ok()?;
        Some((self.raw.raft.raft_log.last_index(), self.term()))
    }

    /// Puts a change of the group at the log's end, likewise. One at a time: the next is refused until this one is applied.
    pub(super) fn propose_change(&mut self, change: MemberChange) -> Option<(u64, u64)> {
        if !self.leads() || self.raw.raft.has_pending_conf() {
            return None;
        }
        self.raw.propose_conf_change(Vec::new(), conf_change(change)).ok()?;
        Some((self.raw.raft.raft_log.last_index(), self.term()))
    }

    /// A committed change of the group takes effect; `false` when it cannot, which every member finds alike.
    pub(super) fn apply_change(&mut self, change: &ConfChange) -> bool {
        let Ok(members) = self.raw.apply_conf_change(change) else { return false };
        let has_vote = members.voters.contains(&self.raw.raft.id);
        self.raw.mut_store().set_members(members);
        if self.leads() && !has_vote {
            self.step_down();
        }
        self.redraw();
        true
    }

    /// The group went on without its leader, which may have been elected before it knew. The crate would lead on, and refuse everything.
    fn step_down(&mut self) {
        if let Some(to) = self.successor() {
            self.transfer(to);
        }
        self.raw.raft.become_follower(self.term(), raft::INVALID_ID);
    }

    /// Asks the others whether this member still leads; a turn's `reads` answer by number.
    pub(super) fn read(&mut self, number: u64) {
        self.raw.read_index(number.to_be_bytes().to_vec());
    }

    /// Hands leadership to a member: it is brought up to date and told to stand. Given up after an election time.
    pub(super) fn transfer(&mut self, to: u64) {
        self.raw.transfer_leader(to);
    }

    /// It was elected in the present term.
    pub(super) fn leads(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    /// Who leads, as far as this member knows.
    pub(super) fn leader(&self) -> Option<u64> {
        Some(self.raw.raft.leader_id).filter(|id| *id != raft::INVALID_ID)
    }

    /// The present term.
    pub(super) fn term(&self) -> u64 {
        self.raw.raft.term
    }

    /// Index up to which entries are known to be committed.
    pub(super) fn committed(&self) -> u64 {
        self.raw.raft.raft_log.committed
    }

    /// All members, by id. How far each is, and whether it is heard, only the leader knows.
    pub(super) fn members(&self) -> Vec<MemberView> {
        let raft = &self.raw.raft;
        let voters = raft.prs().conf().voters();
        let view = |id: u64, matched: u64| MemberView {
            id,
            is_voter: voters.contains(id),
            matched,
            is_heard: id == raft.id || self.is_heard(id),
        };
        let mut members: Vec<MemberView> = raft.prs().iter().map(|(&id, of)| view(id, of.matched)).collect();
        members.sort_unstable_by_key(|member| member.id);
        members
    }

    fn is_heard(&self, id: u64) -> bool {
        let bound = u64::try_from(self.raw.raft.election_timeout()).unwrap_or(u64::MAX);
        self.heard.get(&id).is_some_and(|at| self.ticks - at <= bound)
    }

    /// Who is to lead next: of the voters that are heard, the one that is furthest.
    pub(super) fn successor(&self) -> Option<u64> {
        let members = self.members().into_iter().filter(|member| member.is_voter && member.is_heard);
        let others = members.filter(|member| member.id != self.raw.raft.id);
        others.max_by_key(|member| (member.matched, Reverse(member.id))).map(|member| member.id)
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
        let messages = self.sayable(messages);
        let install = Some(ready.snapshot().get_metadata().clone()).filter(|about| about.index != 0);
        let hard_state = ready.hs().cloned().unwrap_or_else(|| self.raw.store().hard_state().clone());
        // A commit index alone is not worth a sync: it is found anew by election, and goes with the next record.
        let save = ready.must_sync().then_some(Saved { hard_state, entries });
        let confirmed = ready.take_read_states().into_iter();
        let reads = confirmed.filter_map(|read| Some((number(&read.request_ctx)?, read.index))).collect();
        Some(Turn { ready, committed, messages, install, save, reads })
    }

    /// The turn's snapshot and save are durable.
    pub(super) fn finish(&mut self, mut turn: Turn) -> Done {
        let log = self.raw.mut_store();
        if let Some(about) = turn.install.take() {
            log.restart(about);
        }
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
            log.set_hard_state(HardState { commit, ..log.hard_state().clone() });
        }
        messages.extend(light.take_messages());
        turn.committed.extend(light.take_committed_entries());
        Done { messages: self.sayable(messages), committed: turn.committed }
    }

    /// Everything committed so far was applied.
    pub(super) fn applied(&mut self) {
        self.raw.advance_apply();
        self.redraw();
    }

    fn redraw(&mut self) {
        let elapsed = self.raw.raft.election_elapsed;
        if elapsed < self.elapsed || elapsed == 0 {
            self.draw();
        }
        self.elapsed = elapsed;
    }

    fn draw(&mut self) {
        let raft = &mut self.raw.raft;
        let before = raft.prs().conf().voters().ids().iter().filter(|&id| id < raft.id).count();
        let timeout = timing::timeout(raft.election_timeout(), before, self.seed.draw());
        raft.set_randomized_election_timeout(timeout);
    }
}

fn conf_change(change: MemberChange) -> ConfChange {
    let (change_type, node_id) = match change {
        MemberChange::AddLearner(id) => (ConfChangeType::AddLearnerNode, id),
        MemberChange::Promote(id) => (ConfChangeType::AddNode, id),
        MemberChange::Remove(id) => (ConfChangeType::RemoveNode, id),
    };
    ConfChange { change_type, node_id, ..ConfChange::default() }
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().map(u64::from_be_bytes).ok()
}
