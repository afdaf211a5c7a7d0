//! One member with everything that waits on it: proposals, reads, changes of the group. It decides; what it needs of the world (a disk,
//! a way to the others) it asks of [`World`], so that the thread on a real machine and the simulator drive the same code.

use std::collections::BTreeMap;

use protobuf::Message as _;
use raft::eraftpb::{ConfChange, Entry, EntryType, Message, SnapshotMetadata};
use tokio::sync::oneshot;

use super::error::RaftError;
use super::gathered::Gathered;
use super::log::Log;
use super::machine::{Machine, Turn};
use super::pending::{Pending, answer, answer_each, fail};
use super::reads::Reads;
use super::saved::Saved;
use crate::group::{ChangeError, Group, Leadership, MemberChange};
use crate::store::{Outcome, Proposal, ProposeError, Refusal, State, Store, Touched, codec};

/// Largest proposal, and so largest entry: some 500,000 placements. A larger change is to be made in steps.
const ENTRY_BYTES_MAX: usize = 32 << 20;

/// What a member needs done.
pub(super) trait World {
    /// Sends messages; they may be lost, doubled or come in another order.
    fn send(&mut self, messages: Vec<Message>);

    /// Makes a record durable.
    ///
    /// # Errors
    /// When that is not certain; the member must be built anew then.
    fn save(&mut self, saved: &Saved) -> Result<(), RaftError>;

    /// Makes the snapshot that came with the last message durable and gives its state.
    ///
    /// # Errors
    /// Likewise.
    fn install(&mut self, about: &SnapshotMetadata) -> Result<State, RaftError>;
}

/// Where whoever asked for a change of the group waits.
pub(super) type ChangeReply = oneshot::Sender<Result<(), ChangeError>>;

/// The member.
#[derive(Debug)]
pub(super) struct Member {
    machine: Machine,
    store: Store,
    id: u64,
    gathered: Gathered,
    pending: Pending,
    reads: Reads,
    /// The change that is under way, by index and term.
    change: Option<(u64, u64, ChangeReply)>,
    /// Index and term of the last applied entry.
    applied: (u64, u64),
    /// Whom the entries concern that are being applied: they are woken once for all of them.
    touched: Touched,
    /// What could not be read of a committed entry: for the log.
    unread: Option<(u64, String)>,
}

impl Member {
    /// The member with that id, whose state has everything up to `applied`.
    pub(super) fn new(id: u64, machine: Machine, store: Store, applied: (u64, u64)) -> Self {
        let (gathered, pending, reads) = (Gathered::default(), Pending::default(), Reads::default());
        let touched = Touched::default();
        Self { machine, store, id, gathered, pending, reads, change: None, applied, touched, unread: None }
    }

    /// The machine.
    pub(super) fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The machine, for ticks and messages; [`Member::drive`] is to follow.
    pub(super) fn machine_mut(&mut self) -> &mut Machine {
        &mut self.machine
    }

    /// Index and term of the last applied entry.
    pub(super) fn applied(&self) -> (u64, u64) {
        self.applied
    }

    /// What is durable, for a new member; whoever waits is told why.
    pub(super) fn into_log(mut self, error: &ProposeError) -> Log {
        self.store.note_sole(false);
        self.fail(error);
        self.machine.into_log()
    }

    /// Takes a proposal; gives its size. One without transactions changes nothing: it is a read that waits until the state has
    /// everything that was acknowledged before.
    pub(super) fn propose(&mut self, proposal: Proposal) -> usize {
        // A plan of an earlier term was made by a loop that has not yet heard that its time is over.
        if !self.machine.leads() || proposal.term.is_some_and(|term| term != self.machine.term()) {
            answer(proposal.reply, Err(ProposeError::NotLeader));
            return 0;
        }
        if proposal.transactions.is_empty() {
            self.reads.gather(proposal.reply);
            return 0;
        }
        if self.gathered.is_full() {
            self.enter();
        }
        self.gathered.add(proposal, ENTRY_BYTES_MAX).unwrap_or_else(|(proposal, bytes)| {
            answer(proposal.reply, Err(ProposeError::TooLarge { bytes, max: ENTRY_BYTES_MAX }));
            0
        })
    }

    /// Puts what was gathered at the log's end. Every input is followed by [`Member::drive`], which begins with this, so that nothing that
    /// was admitted in a term is entered in another.
    fn enter(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let (data, waiting) = self.gathered.take();
        match self.machine.propose(data) {
            Some((index, term)) => self.pending.push(index, term, waiting),
            None => fail(waiting, &ProposeError::NotLeader),
        }
    }

    /// Takes a change of the group.
    pub(super) fn change(&mut self, change: MemberChange, reply: ChangeReply) {
        let proposed = if self.change.is_some() { None } else { self.machine.propose_change(change) };
        match proposed {
            Some((index, term)) => self.change = Some((index, term, reply)),
            None if self.machine.leads() => reply_to(reply, Err(ChangeError::Busy)),
            None => reply_to(reply, Err(ChangeError::NotLeader)),
        }
    }

    /// Does what the machine wants until it wants nothing.
    ///
    /// # Errors
    /// When something could not be made durable. The member is to be taken apart then.
    pub(super) fn drive(&mut self, world: &mut impl World) -> Result<(), RaftError> {
        let mut has_stood = false;
        self.enter();
        loop {
            self.ask_for_reads();
            match self.machine.begin() {
                Some(turn) => self.turn(turn, world)?,
                None if !has_stood && self.stand() => has_stood = true,
                None => break,
            }
        }
        if !self.machine.leads() {
            self.fail(&ProposeError::NotLeader);
        }
        self.store.note_sole(self.machine.is_alone() && self.leadership().is_leader);
        Ok(())
    }

    /// A member that is alone need not wait for an election. It may find that out from what was committed before it started, and then
    /// nothing else would wake it: one that is alone has no clock.
    fn stand(&mut self) -> bool {
        self.machine.is_alone() && !self.machine.leads() && self.machine.campaign().is_ok()
    }

    /// The order is what makes it safe: see [`super::machine`].
    fn turn(&mut self, mut turn: Turn, world: &mut impl World) -> Result<(), RaftError> {
        world.send(std::mem::take(&mut turn.messages));
        let installed = turn.install.as_ref().map(|about| world.install(about)).transpose()?;
        if let Some(saved) = &turn.save {
            world.save(saved)?;
        }
        if let (Some(state), Some(about)) = (installed, &turn.install) {
            self.store.install(state);
            self.applied = (about.index, about.term);
        }
        turn.reads.iter().for_each(|(round, index)| self.reads.confirm(*round, *index));
        let done = self.machine.finish(turn);
        world.send(done.messages);
        done.committed.iter().for_each(|entry| self.apply(entry));
        self.store.publish(&std::mem::take(&mut self.touched));
        self.machine.applied();
        self.reads.open(self.applied.0);
        Ok(())
    }

    /// A leader that has not applied an entry of its own term cannot confirm anything yet; its readers wait.
    fn ask_for_reads(&mut self) {
        if self.leadership().is_leader
            && let Some(round) = self.reads.ask()
        {
            self.machine.read(round);
        }
    }

    fn apply(&mut self, entry: &Entry) {
        let waiting = self.pending.take(entry.index, entry.term);
        let outcomes = match entry.get_entry_type() {
            EntryType::EntryNormal => self.apply_data(entry),
            EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => self.apply_change(entry),
        };
        self.applied = (entry.index, entry.term);
        answer_each(waiting, outcomes);
    }

    /// An entry that cannot be read changes nothing, here as on every manager of this version.
    fn apply_data(&mut self, entry: &Entry) -> Vec<Outcome> {
        let decoded = if entry.data.is_empty() { Ok(Vec::new()) } else { codec::decode(&entry.data) };
        let transactions = decoded.unwrap_or_else(|error| {
            self.unread = Some((entry.index, error.to_string()));
            vec![Err(Refusal::Unknown(error.to_string()))]
        });
        let mut refused = BTreeMap::new();
        let known = transactions
            .into_iter()
            .enumerate()
            .filter_map(|(place, transaction)| transaction.map_err(|refusal| refused.insert(place, refusal)).ok());
        let known = known.collect();
        let mut outcomes = self.store.apply_quietly(entry.index, known, &mut self.touched);
        refused.into_iter().for_each(|(place, refusal)| outcomes.insert(place, Err(refusal)));
        outcomes
    }

    fn apply_change(&mut self, entry: &Entry) -> Vec<Outcome> {
        let change = ConfChange::parse_from_bytes(&entry.data);
        let made = change.is_ok_and(|change| self.machine.apply_change(&change));
        self.store.apply_quietly(entry.index, Vec::new(), &mut self.touched);
        match self.change.take() {
            Some((index, term, reply)) if (index, term) == (entry.index, entry.term) => {
                reply_to(reply, if made { Ok(()) } else { Err(ChangeError::Busy) });
            }
            Some((index, _, reply)) if index <= entry.index => reply_to(reply, Err(ChangeError::NotLeader)),
            other => self.change = other,
        }
        Vec::new()
    }

    fn fail(&mut self, error: &ProposeError) {
        fail(self.gathered.take().1, error);
        self.pending.fail(error);
        self.reads.fail(error);
        if let Some((_, _, reply)) = self.change.take() {
            reply_to(reply, Err(ChangeError::NotLeader));
        }
    }

    /// An entry that was passed over because this version cannot read it, and why.
    pub(super) fn take_unread(&mut self) -> Option<(u64, String)> {
        self.unread.take()
    }

    /// Who leads. An elected member leads once it has applied an entry of its own term, and with it all that was committed before.
    pub(super) fn leadership(&self) -> Leadership {
        let term = self.machine.term();
        let is_leader = self.machine.leads() && self.applied.1 == term;
        let leader = if self.machine.leads() { is_leader.then_some(self.id) } else { self.machine.leader() };
        Leadership { is_leader, term, leader, before: None }
    }

    /// The group as this member sees it.
    pub(super) fn group(&self) -> Group {
        Group { leadership: self.leadership(), committed: self.machine.committed(), members: self.machine.members() }
    }
}

/// Tells who asked for a change. One that went away asked for no answer.
fn reply_to(reply: ChangeReply, result: Result<(), ChangeError>) {
    let _ = reply.send(result);
}
