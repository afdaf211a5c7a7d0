//! The seam to consensus: the product's own Raft member, over a disk and messages that are values. What its thread does on a real
//! machine is imitated here: it takes all that waits, drives the member once, and sends and answers what comes out.
//!
//! The time that a round takes, mostly of the disk, passes before it: whatever came meanwhile is part of it. A crash may fall on any
//! write of a round.

use skep_manager::group::{ChangeError, Group, Leadership, MemberChange};
use skep_manager::raft::testing::{CrashPoint, MemoryDisk, MemoryMember, Parcel};
use skep_manager::store::{Outcome, Proposal, ProposeError, Store, Transaction};
use skep_proto::model::Seed;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::manager::Lead;
use super::queue::Owner;
use super::time::{TICK, Us, count};

/// What waits for a member's next round.
#[derive(Debug)]
pub(crate) enum Input {
    Tick,
    Parcel(Box<Parcel>),
    /// The connection to that member broke.
    Lost(u64),
    /// What became of a snapshot to that member.
    SnapshotSent(u64, bool),
    Propose(Box<Proposal>),
    /// Leadership is handed over.
    Transfer,
    /// Its election timeout has passed.
    Stand,
    /// Messages to that member were dropped.
    Unreachable(u64),
    /// The membership loop of who leads so wants the group to change.
    Change(MemberChange, Lead),
}

/// A proposal's outcome.
type Answer = Result<Vec<Outcome>, ProposeError>;

/// Whose proposal it is, made while leading so, and where its outcome will be.
#[derive(Debug)]
struct Waiting {
    owner: Owner,
    lead: Lead,
    answer: oneshot::Receiver<Answer>,
}

/// What a round came to.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// To be sent.
    pub(crate) parcels: Vec<Parcel>,
    /// To be told: whose, made while leading so, and what.
    pub(crate) answers: Vec<(Owner, Lead, Answer)>,
    /// It died on the way.
    pub(crate) has_died: bool,
}

/// A running member and what waits for it.
#[derive(Debug)]
pub(crate) struct Seat {
    member: MemoryMember,
    inbox: Vec<Input>,
    /// Nothing can be written; what is said of who leads meanwhile.
    stalled: Option<Leadership>,
    waiting: Vec<Waiting>,
    /// A change of the group that is under way, and who asked for it.
    changing: Option<(Lead, oneshot::Receiver<Result<(), ChangeError>>)>,
}

impl Seat {
    /// Takes up what is durable; the state goes into the store.
    pub(crate) fn start(disk: MemoryDisk, store: &Store, seed: Seed) -> Self {
        let member = MemoryMember::start(disk, store.clone(), seed);
        let stalled = None;
        Self { member, stalled, inbox: Vec::new(), waiting: Vec::new(), changing: None }
    }

    /// What a crash leaves.
    pub(crate) fn into_disk(self) -> MemoryDisk {
        self.member.into_disk()
    }

    /// Adds something to the next round. Ticks that a round was too slow for are one.
    pub(crate) fn take(&mut self, input: Input) {
        let is_tick = matches!(input, Input::Tick);
        if !is_tick || !self.inbox.iter().any(|input| matches!(input, Input::Tick)) {
            self.inbox.push(input);
        }
    }

    /// Adds a proposal. `fenced`: it counts in that term only.
    pub(crate) fn propose(&mut self, owner: Owner, lead: Lead, fenced: bool, transactions: Vec<Transaction>) {
        let (reply, answer) = oneshot::channel();
        let proposal = Proposal { transactions, term: fenced.then_some(lead.term), reply };
        self.waiting.push(Waiting { owner, lead, answer });
        self.take(Input::Propose(Box::new(proposal)));
    }

    /// A write failed, and for a while all of them will. A member that is alone stays what it was: it can still be asked.
    pub(crate) fn stall(&mut self, seed: Seed, before: Leadership) {
        let alone = self.member.group().members.len() < 2;
        self.stalled = Some(if alone { before } else { Leadership { is_leader: false, leader: None, ..before } });
        self.member.revive(seed);
    }

    /// Writing works again.
    pub(crate) fn recover(&mut self) {
        self.stalled = None;
    }

    /// A member that cannot write hears nothing, because it could not answer.
    fn refuse(&mut self, inbox: Vec<Input>, leads: bool) -> Round {
        for input in inbox {
            if let Input::Propose(proposal) = input {
                let read = proposal.transactions.is_empty() && leads;
                let refused = Err(ProposeError::ReadOnly("the disk is full".to_owned()));
                drop(proposal.reply.send(if read { Ok(Vec::new()) } else { refused }));
            }
        }
        Round { answers: self.answers(), ..Round::default() }
    }

    /// One round, of which the disk took so long.
    pub(crate) fn round(&mut self, now: Us, took: Us, crash: Option<CrashPoint>) -> Round {
        let mut parcels = Vec::new();
        let inbox = std::mem::take(&mut self.inbox);
        if let Some(Leadership { is_leader, .. }) = self.stalled {
            return self.refuse(inbox, is_leader);
        }
        for input in inbox {
            match input {
                Input::Tick => self.member.tick(),
                Input::Parcel(parcel) => parcels.extend(self.member.step(*parcel)),
                Input::Lost(id) => self.member.lost(id),
                Input::SnapshotSent(id, arrived) => self.member.snapshot_sent(id, arrived),
                Input::Propose(proposal) => self.member.propose(*proposal),
                Input::Transfer => self.member.transfer(None),
                Input::Stand => self.member.stand(),
                Input::Unreachable(id) => self.member.unreachable(id),
                Input::Change(change, lead) => self.changing = Some((lead, self.member.change(change))),
            }
        }
        self.member.wrote(count(took), count(TICK), count(now));
        let (out, has_died) = self.member.drive(crash);
        parcels.extend(out);
        let answers = if has_died { Vec::new() } else { self.answers() };
        Round { parcels, answers, has_died }
    }

    pub(crate) fn answers(&mut self) -> Vec<(Owner, Lead, Answer)> {
        let mut answers = Vec::new();
        self.waiting.retain_mut(|waiting| {
            let answer = match waiting.answer.try_recv() {
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Closed) => Err(ProposeError::NotLeader),
                Ok(answer) => answer,
            };
            answers.push((waiting.owner, waiting.lead, answer));
            false
        });
        if let Some((lead, answer)) = &mut self.changing {
            let answer = match answer.try_recv() {
                Err(TryRecvError::Empty) => return answers,
                Ok(Ok(())) => Ok(Vec::new()),
                Ok(Err(_)) | Err(TryRecvError::Closed) => Err(ProposeError::NotLeader),
            };
            answers.push((Owner::Membership, *lead, answer));
            self.changing = None;
        }
        answers
    }

    /// Asks for a change of the group before anything else happens; whether it was made is seen from the group.
    pub(crate) fn change(&mut self, change: MemberChange) {
        drop(self.member.change(change));
    }

    /// Writes a snapshot and forgets what it holds.
    pub(crate) fn snapshot(&mut self) {
        self.member.snapshot();
    }

    /// The group as this member sees it.
    pub(crate) fn group(&self) -> Group {
        self.member.group()
    }

    /// There is nobody else in it.
    pub(crate) fn is_alone(&self) -> bool {
        self.member.is_alone()
    }

    /// Who leads, as far as this member knows.
    pub(crate) fn leadership(&self) -> Leadership {
        self.stalled.unwrap_or_else(|| self.member.leadership())
    }

    /// The term that this member was elected in and leads, though perhaps it acts for nobody yet.
    pub(crate) fn elected(&self) -> Option<u64> {
        self.member.elected()
    }

    /// In which term the entry at that index was written.
    pub(crate) fn term_of(&self, index: u64) -> Option<u64> {
        self.member.term_of(index)
    }

    /// Index of the last applied entry.
    pub(crate) fn applied(&self) -> u64 {
        self.member.applied()
    }
}
