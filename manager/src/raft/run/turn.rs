//! One turn of the machine: take what waits, save, apply, answer; and the snapshots that follow.

use std::sync::Arc;
use std::time::Duration;

use raft::eraftpb::{Entry, EntryType, Message, SnapshotMetadata};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::disk::{RaftDir, snapshot};
use super::super::error::RaftError;
use super::super::pending::answer;
use super::super::saved::Saved;
use super::super::snapshot::Since;
use super::driver::{Driver, Member};
use super::{Command, Snapshotted};
use crate::store::{Outcome, Past, Proposal, ProposeError, Refusal, codec};

/// Proposals that share one sync, by count and by bytes. All that wait are let in up to here; the next ones share the next.
const BATCH_MAX: usize = 4096;
const BATCH_BYTES: usize = 4 << 20;

/// Largest entry: some 500,000 placements. A larger change is to be made in steps.
const ENTRY_BYTES_MAX: usize = 32 << 20;

/// Wait after a snapshot that failed: it will hardly go better at once.
const SNAPSHOT_RETRY: Duration = Duration::from_secs(10);

impl Driver {
    /// Takes all proposals that wait and makes them durable together.
    pub(super) fn take_proposals(&mut self, first: Proposal, queue: &mut mpsc::Receiver<Proposal>) {
        let mut bytes = self.propose(first);
        let mut count = 1;
        while count < BATCH_MAX
            && bytes < BATCH_BYTES
            && let Ok(proposal) = queue.try_recv()
        {
            bytes += self.propose(proposal);
            count += 1;
        }
        self.drive();
    }

    /// Puts a proposal into the log's end; gives its size.
    fn propose(&mut self, proposal: Proposal) -> usize {
        let Member::Up(machine) = &mut self.member else {
            self.refuse(proposal);
            return 0;
        };
        let data = codec::encode(&proposal.transactions);
        let bytes = data.len();
        if bytes > ENTRY_BYTES_MAX {
            answer(proposal.reply, Err(ProposeError::TooLarge { bytes, max: ENTRY_BYTES_MAX }));
            return 0;
        }
        match machine.propose(data) {
            Some((index, term)) => self.pending.push(index, term, proposal.reply),
            None => answer(proposal.reply, Err(ProposeError::NotLeader)),
        }
        bytes
    }

    /// Does what the machine wants until it wants nothing.
    pub(super) fn drive(&mut self) {
        if let Err(error) = self.turns() {
            return self.go_read_only(&error);
        }
        if matches!(&self.member, Member::Up(machine) if !machine.leads()) {
            self.pending.fail(&ProposeError::NotLeader);
        }
        self.report();
        self.begin_snapshot();
    }

    fn turns(&mut self) -> Result<(), RaftError> {
        while let Member::Up(machine) = &mut self.member
            && let Some(turn) = machine.begin()
        {
            send(&turn.messages);
            if let Some(saved) = &turn.save {
                self.wal.append(&self.dir, saved)?;
            }
            let done = machine.finish(turn);
            send(&done.messages);
            done.committed.iter().for_each(|entry| self.apply(entry));
            if let Member::Up(machine) = &mut self.member {
                machine.applied();
            }
        }
        Ok(())
    }

    fn apply(&mut self, entry: &Entry) {
        let reply = self.pending.take(entry.index, entry.term);
        let outcomes = self.apply_data(entry);
        self.applied = (entry.index, entry.term);
        if let Some(reply) = reply {
            answer(reply, Ok(outcomes));
        }
    }

    /// An entry that cannot be read changes nothing, here as on every manager of this version.
    fn apply_data(&self, entry: &Entry) -> Vec<Outcome> {
        let is_ours = entry.get_entry_type() == EntryType::EntryNormal && !entry.data.is_empty();
        let decoded = if is_ours { codec::decode(&entry.data) } else { Ok(Vec::new()) };
        let transactions = decoded.unwrap_or_else(|error| {
            tracing::error!(raft.index = entry.index, %error, "passed over an entry that cannot be read");
            vec![Err(Refusal::Unknown(error.to_string()))]
        });
        let refused: Vec<Option<Refusal>> = transactions.iter().map(|one| one.as_ref().err().cloned()).collect();
        let known: Vec<_> = transactions.into_iter().filter_map(Result::ok).collect();
        let mut outcomes = self.wires.store.apply(entry.index, &known).into_iter();
        let outcome = |refused: Option<Refusal>| match refused {
            Some(refusal) => Err(refusal),
            None => outcomes.next().expect("each transaction has an outcome"),
        };
        refused.into_iter().map(outcome).collect()
    }

    /// Begins a snapshot on a thread of its own when one is due.
    fn begin_snapshot(&mut self) {
        let Member::Up(machine) = &self.member else { return };
        let log = machine.log();
        let since = Since {
            entries: self.applied.0 - log.base().index,
            bytes: log.bytes(),
            files: self.wal.files(),
            snapshot_bytes: self.snapshot_bytes,
        };
        if self.snapshotting.is_some() || !since.is_due() || Instant::now() < self.snapshot_after {
            return;
        }
        let (about, past, dir) = (log.about(self.applied.0), self.wires.store.hold(), Arc::clone(&self.dir));
        let commands = self.wires.commands.clone();
        let thread = std::thread::Builder::new().name("skep:snapshot".into());
        let thread = thread.spawn(move || {
            // When nobody listens any more, the file is found at the next start.
            drop(commands.blocking_send(Command::Snapshot(write(&dir, &about, past))));
        });
        match thread {
            Ok(thread) => self.snapshotting = Some(thread),
            Err(error) => self.snapshot_failed(&RaftError::Thread(error)),
        }
    }

    /// A snapshot is durable, or could not be written.
    pub(super) fn snapshotted(&mut self, result: Result<Snapshotted, RaftError>) {
        self.snapshotting = None;
        let done = result.and_then(|done| self.compact(&done).map(|()| done));
        match done {
            Ok(done) => tracing::info!(raft.index = done.index, bytes = done.bytes, "snapshot written"),
            Err(error) => self.snapshot_failed(&error),
        }
        self.report();
    }

    /// Forgets what the snapshot holds: in memory, then on disk. A record is appended first, so that term and vote are in a file that
    /// stays; older snapshots go last, when nothing needs them.
    fn compact(&mut self, done: &Snapshotted) -> Result<(), RaftError> {
        self.snapshot_bytes = done.bytes;
        let log = match &mut self.member {
            Member::Up(machine) => machine.log_mut(),
            Member::ReadOnly { log, .. } => log,
        };
        log.compact(log.about(done.index));
        let hard_state = log.hard_state().clone();
        if let Member::Up(_) = self.member
            && let Err(error) = self.wal.append(&self.dir, &Saved { hard_state, entries: Vec::new() })
        {
            self.go_read_only(&error);
        }
        if let Member::Up(_) = self.member {
            self.wal.compact(done.index)?;
            snapshot::delete_older(&self.dir, done.index)?;
        }
        Ok(())
    }

    fn snapshot_failed(&mut self, error: &RaftError) {
        self.snapshot_after = Instant::now() + SNAPSHOT_RETRY;
        let error = skep_proto::chain::chain(error).to_string();
        tracing::warn!(%error, "failed to write a snapshot; it is tried again");
    }
}

/// A group of one writes to nobody; whoever is not reached is written to again, so that none is kept.
fn send(messages: &[Message]) {
    for message in messages {
        tracing::trace!(raft.term = message.term, to = message.to, "no way to reach a member");
    }
}

fn write(dir: &RaftDir, about: &SnapshotMetadata, past: Past) -> Result<Snapshotted, RaftError> {
    let bytes = snapshot::write(dir, about, past)?;
    Ok(Snapshotted { index: about.index, bytes })
}
