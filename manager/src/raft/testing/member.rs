//! A member on such a disk.

use std::time::Duration;

use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType, SnapshotMetadata};
use skep_proto::model::Seed;
use skep_proto::pb::SnapshotChunk;
use tokio::sync::oneshot;

use super::disk::{CrashPoint, MemoryDisk, rebuilt};
use crate::group::{ChangeError, Group, Leadership, MemberChange};
use crate::raft::error::RaftError;
use crate::raft::log::Log;
use crate::raft::machine::Machine;
use crate::raft::member::{Member, World};
use crate::raft::saved::Saved;
use crate::raft::stall::Stall;
use crate::raft::timing::config;
use crate::store::{Proposal, ProposeError, State, Store};

/// Ticks a heartbeat, as on a real member.
const HEARTBEAT_TICKS: usize = 5;
/// Heartbeats an election time.
const ELECTION_HEARTBEATS: usize = 10;

/// A message on its way. Its snapshot travels with it.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// Sender.
    pub from: u64,
    /// Receiver.
    pub to: u64,
    message: Vec<u8>,
    snapshot: Option<Vec<SnapshotChunk>>,
}

impl Parcel {
    /// It carries a snapshot: its sender waits until it is told what became of it ([`MemoryMember::snapshot_sent`]).
    #[must_use]
    pub fn has_snapshot(&self) -> bool {
        self.snapshot.is_some()
    }

    /// It carries entries.
    #[must_use]
    pub fn has_entries(&self) -> bool {
        Message::parse_from_bytes(&self.message).is_ok_and(|message| !message.entries.is_empty())
    }

    /// It gives its receiver a vote.
    #[must_use]
    pub fn is_vote(&self) -> bool {
        self.ballot().is_some_and(|(_, candidate)| candidate == self.to)
    }

    /// In which term its sender has voted, and for whom: the receiver, or itself when it asks for votes.
    #[must_use]
    pub fn ballot(&self) -> Option<(u64, u64)> {
        let message = Message::parse_from_bytes(&self.message).ok()?;
        match message.get_msg_type() {
            MessageType::MsgRequestVoteResponse if !message.reject => Some((message.term, self.to)),
            MessageType::MsgRequestVote => Some((message.term, self.from)),
            _ => None,
        }
    }

    /// For logs and hashes: the bytes of the message.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.message
    }
}

/// One member. Call [`MemoryMember::drive`] after every input.
#[derive(Debug)]
pub struct MemoryMember {
    member: Member,
    store: Store,
    disk: MemoryDisk,
    stall: Stall,
}

struct MemoryWorld<'a> {
    disk: &'a mut MemoryDisk,
    out: Vec<Parcel>,
    arrived: Option<Vec<SnapshotChunk>>,
    crash: Option<CrashPoint>,
    saves: usize,
}

impl MemoryMember {
    /// Starts on what is durable. The state that was there goes into the store.
    ///
    /// # Panics
    /// When the disk cannot be one that a member left.
    #[must_use]
    pub fn start(disk: MemoryDisk, store: Store, seed: Seed) -> Self {
        let (log, state) = disk.recover();
        let begun = (log.snapshot_about().index, log.snapshot_about().term);
        if let Some(state) = state {
            store.install(state);
        }
        let machine = machine(disk.raft_id, log, begun.0, seed);
        let member = Member::new(disk.raft_id, machine, store.clone(), begun);
        Self { member, store, disk, stall: Stall::default() }
    }

    /// Something could not be written: the member anew from what is durable, over the same state, as the thread of a real one does it.
    /// Whoever waited is told.
    ///
    /// # Panics
    /// When the log cannot be one of a member.
    pub fn revive(&mut self, seed: Seed) {
        let (applied, log) = (self.member.applied(), self.member.machine().log().clone());
        let machine = machine(self.disk.raft_id, log, applied.0, seed);
        let new = Member::new(self.disk.raft_id, machine, self.store.clone(), applied);
        let before = std::mem::replace(&mut self.member, new);
        drop(before.into_log(&ProposeError::ReadOnly("the disk is full".to_owned())));
    }

    /// What a crash leaves.
    #[must_use]
    pub fn into_disk(self) -> MemoryDisk {
        self.disk
    }

    /// This member.
    #[must_use]
    pub fn raft_id(&self) -> u64 {
        self.disk.raft_id
    }

    /// Time went on by one tick (a fifth of a heartbeat).
    pub fn tick(&mut self) {
        self.member.machine_mut().tick();
    }

    /// A message came.
    ///
    /// # Panics
    /// When it is none of a member.
    pub fn step(&mut self, parcel: Parcel) -> Vec<Parcel> {
        let message = Message::parse_from_bytes(&parcel.message).expect("a member wrote it");
        self.member.machine_mut().step(message);
        // A snapshot and the message about it are one round.
        let driven = parcel.snapshot.map(|chunks| self.drive_with(Some(chunks), None));
        driven.map(|(out, _)| out).unwrap_or_default()
    }

    /// The connection from a member broke.
    pub fn lost(&mut self, id: u64) {
        self.member.machine_mut().lost(id);
    }

    /// Messages to a member were dropped.
    pub fn unreachable(&mut self, id: u64) {
        self.member.machine_mut().unreachable(id);
    }

    /// What became of a snapshot.
    pub fn snapshot_sent(&mut self, id: u64, arrived: bool) {
        self.member.machine_mut().snapshot_sent(id, arrived);
    }

    /// Takes a proposal, as the store's queue gives it.
    pub fn propose(&mut self, proposal: Proposal) {
        self.member.propose(proposal);
    }

    /// Asks for a change of the group.
    pub fn change(&mut self, change: MemberChange) -> oneshot::Receiver<Result<(), ChangeError>> {
        let (reply, answer) = oneshot::channel();
        self.member.change(change, reply);
        answer
    }

    /// Hands leadership over, to this member or the best.
    pub fn transfer(&mut self, to: Option<u64>) {
        let machine = self.member.machine_mut();
        if let Some(to) = to.or_else(|| machine.successor()).filter(|_| machine.leads()) {
            machine.transfer(to);
        }
    }

    /// The write of a round took so long, of ticks that take `tick`: a leader whose disk is that slow hands over.
    pub fn wrote(&mut self, took: Duration, tick: Duration, now: Duration) {
        let election = tick * u32::try_from(HEARTBEAT_TICKS * ELECTION_HEARTBEATS).unwrap_or(u32::MAX);
        if self.member.machine().leads() && self.stall.hands_over(took, election, now) {
            self.transfer(None);
        }
    }

    /// Its election timeout has passed: it stands, if it has a vote.
    pub fn stand(&mut self) {
        let has_vote = self.member.group().voters().any(|voter| voter.id == self.disk.raft_id);
        if has_vote && !self.member.machine().leads() {
            drop(self.member.machine_mut().campaign());
        }
    }

    /// In which term the entry at that index was written; `None` when it is not kept.
    #[must_use]
    pub fn term_of(&self, index: u64) -> Option<u64> {
        raft::storage::Storage::term(self.member.machine().log(), index).ok()
    }

    /// Does what follows; gives what is to be sent, and whether it died on the way. After that only [`MemoryMember::into_disk`] makes
    /// sense.
    pub fn drive(&mut self, crash: Option<CrashPoint>) -> (Vec<Parcel>, bool) {
        self.drive_with(None, crash)
    }

    fn drive_with(&mut self, arrived: Option<Vec<SnapshotChunk>>, crash: Option<CrashPoint>) -> (Vec<Parcel>, bool) {
        let mut world = MemoryWorld { disk: &mut self.disk, out: Vec::new(), arrived, crash, saves: 0 };
        let driven = self.member.drive(&mut world);
        let out = world.out;
        if self.member.machine().log().wants_snapshot() {
            self.snapshot();
        }
        (out, driven.is_err())
    }

    /// Writes a snapshot and forgets what it holds.
    pub fn snapshot(&mut self) {
        let (applied, log) = (self.member.applied(), self.member.machine().log());
        if applied.0 > log.snapshot_about().index {
            let about = log.about(applied);
            self.disk.keep(about.clone(), self.store.hold().collect());
            self.member.machine_mut().log_mut().compact(about);
        }
    }

    /// Who leads, as this member knows.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        self.member.leadership()
    }

    /// The group is this member only, which then needs no ticks.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.member.machine().is_alone()
    }

    /// The group as this member sees it.
    #[must_use]
    pub fn group(&self) -> Group {
        self.member.group()
    }

    /// Whether a leader remembered more of this member than it has, since this was asked last.
    pub fn found_a_loss(&mut self) -> bool {
        self.member.machine_mut().take_loss().is_some()
    }

    /// The term that this member was elected in and leads; its state may be behind yet.
    #[must_use]
    pub fn elected(&self) -> Option<u64> {
        let machine = self.member.machine();
        machine.leads().then(|| machine.term())
    }

    /// Index of the last entry that is in the state.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.member.applied().0
    }
}

fn machine(raft_id: u64, log: Log, applied: u64, seed: Seed) -> Machine {
    let config = config(raft_id, HEARTBEAT_TICKS, ELECTION_HEARTBEATS);
    let silent = slog::Logger::root(slog::Discard, slog::o!());
    Machine::new(&config, log, applied, seed, &silent).expect("a recovered log makes a machine")
}

impl World for MemoryWorld<'_> {
    fn send(&mut self, messages: Vec<Message>) {
        for message in messages {
            let snapshot = message.get_msg_type() == MessageType::MsgSnapshot;
            let snapshot = snapshot.then(|| self.disk.chunks());
            let bytes = message.write_to_bytes().expect("every field is set");
            self.out.push(Parcel { from: message.from, to: message.to, message: bytes, snapshot });
        }
    }

    fn save(&mut self, saved: &Saved) -> Result<(), RaftError> {
        let dies = self.crash.filter(|crash| crash.at_save == self.saves);
        self.saves += 1;
        match dies {
            Some(crash) => {
                self.disk.tear(saved, crash.remnant);
                Err(RaftError::Thread(std::io::ErrorKind::Interrupted.into()))
            }
            None => {
                self.disk.save(saved);
                Ok(())
            }
        }
    }

    fn install(&mut self, about: &SnapshotMetadata) -> Result<State, RaftError> {
        let chunks = self.arrived.take().expect("a snapshot comes with its message");
        let state = rebuilt(chunks.clone(), about.index);
        self.disk.keep(about.clone(), chunks);
        Ok(state)
    }
}
