//! One round: take what waits, drive the member, and see to what follows.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::super::disk::snapshot;
use super::super::loss::Loss;
use super::driver::{Condition, Driver};
use super::{Command, Received};
use crate::group::ChangeError;
use crate::store::Proposal;

/// Proposals that share one sync, by count and by bytes. All that wait are let in up to here; the next ones share the next.
const BATCH_MAX: usize = 4096;
const BATCH_BYTES: usize = 4 << 20;

/// Messages of other members that share one, by bytes: with the largest entry behind them they still fit one record.
const STEP_BYTES: usize = 16 << 20;

impl Driver {
    /// Takes all commands and proposals that wait, from the one that woke us on, and makes them durable together. `true`: it is
    /// to end.
    pub(super) fn round(
        &mut self,
        mut command: Option<Command>,
        mut proposal: Option<Proposal>,
        commands: &mut mpsc::Receiver<Command>,
        proposals: &mut mpsc::Receiver<Proposal>,
    ) -> bool {
        let mut bytes = 0;
        while let Some(next) = command.take().or_else(|| commands.try_recv().ok()) {
            match next {
                Command::Shutdown => return true,
                next => bytes += self.obey(next),
            }
            if bytes >= STEP_BYTES {
                break;
            }
        }
        let (mut bytes, mut count) = (0, 0);
        while count < BATCH_MAX
            && bytes < BATCH_BYTES
            && let Some(next) = proposal.take().or_else(|| proposals.try_recv().ok())
        {
            bytes += self.propose(next);
            count += 1;
        }
        self.drive();
        false
    }

    fn propose(&mut self, proposal: Proposal) -> usize {
        match &mut self.member {
            Condition::Up(member) => member.propose(proposal),
            Condition::ReadOnly { .. } => {
                self.refuse(proposal);
                0
            }
        }
    }

    /// Does what a command says; gives the bytes of what is to be saved for it.
    fn obey(&mut self, command: Command) -> usize {
        match command {
            Command::Snapshot(result) => self.snapshotted(result),
            Command::Received(received) => self.receive(received),
            Command::Change(change, reply) => match &mut self.member {
                Condition::Up(member) => member.change(change, reply),
                Condition::ReadOnly { .. } => drop(reply.send(Err(ChangeError::NotLeader))),
            },
            Command::Transfer(to) => self.transfer(to),
            Command::Step(messages) => return self.step(messages),
            Command::Lost(id) => self.with_member(|member| member.machine_mut().lost(id)),
            Command::Unreachable(id) => self.with_member(|member| member.machine_mut().unreachable(id)),
            Command::SnapshotSent { to, arrived } => {
                self.with_member(|member| member.machine_mut().snapshot_sent(to, arrived));
            }
            Command::KeepKey(node_key, sealed, reply) => drop(reply.send(self.keep_key(&node_key, sealed))),
            Command::Shutdown => {}
        }
        0
    }

    /// A member that cannot write hears nothing: it could not answer.
    fn with_member(&mut self, act: impl FnOnce(&mut crate::raft::member::Member)) {
        if let Condition::Up(member) = &mut self.member {
            act(member);
        }
    }

    fn step(&mut self, messages: Vec<raft::eraftpb::Message>) -> usize {
        let size =
            |message: &raft::eraftpb::Message| message.entries.iter().map(|entry| entry.data.len()).sum::<usize>();
        let bytes = messages.iter().map(size).sum();
        // They came over one connection.
        let from = messages.first().map(|message| message.from);
        self.with_member(|member| messages.into_iter().for_each(|message| member.machine_mut().step(message)));
        from.into_iter().for_each(|from| self.note_leader(from));
        bytes
    }

    /// A snapshot is a round of its own, so that the file and the message about it cannot be taken for others'.
    fn receive(&mut self, received: Box<Received>) {
        self.drive();
        if !Arc::ptr_eq(&received.keys, &self.shore.dir.keys()) {
            // The old key goes soon. Whoever sent it sends it again, because this member goes on asking.
            return snapshot::discard(&received.path);
        }
        let message = received.message.clone();
        let from = message.from;
        self.shore.expect(received);
        self.with_member(|member| member.machine_mut().step(message));
        self.note_leader(from);
        self.drive();
        self.shore.discard();
        if let Some((index, bytes)) = self.shore.installed.take() {
            tracing::info!(raft.index = index, bytes, "took another manager's snapshot");
            self.snapshot_bytes = bytes;
            self.forget_files(index);
            self.behave();
        }
    }

    fn transfer(&mut self, to: Option<u64>) {
        self.with_member(|member| {
            let machine = member.machine_mut();
            if let Some(to) = to.or_else(|| machine.successor()).filter(|_| machine.leads()) {
                machine.transfer(to);
            }
        });
    }

    /// Does what the member wants until it wants nothing.
    pub(super) fn drive(&mut self) {
        let Condition::Up(member) = &mut self.member else { return };
        let driven = member.drive(&mut self.shore);
        if let Some((index, error)) = member.take_unread() {
            tracing::error!(raft.index = index, error, "passed over an entry that cannot be read");
        }
        if let Some(Loss { had, has, .. }) = member.machine_mut().take_loss() {
            tracing::error!(
                had,
                has,
                "this manager's disk lost entries that were acknowledged; the leader sends them again"
            );
        }
        if let Err(error) = driven {
            return self.go_read_only(&error);
        }
        self.watch_the_disk();
        self.report();
        self.begin_snapshot();
    }

    fn watch_the_disk(&mut self) {
        let slowest = std::mem::take(&mut self.shore.slowest);
        let leads = matches!(&self.member, Condition::Up(member) if member.machine().leads());
        if leads && self.stall.hands_over(slowest, self.options.election, self.begun.elapsed()) {
            let has_successor = matches!(&self.member, Condition::Up(member) if member.machine().successor().is_some());
            if has_successor {
                tracing::warn!(took_ms = slowest.as_millis(), "the disk is slow; another manager is to lead");
                self.transfer(None);
            }
        }
    }
}
