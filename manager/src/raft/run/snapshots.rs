//! This member's own snapshots: when one is due, and what follows when it is durable.

use std::sync::Arc;
use std::time::Duration;

use raft::eraftpb::SnapshotMetadata;
use tokio::time::Instant;

use super::super::disk::{RaftDir, snapshot};
use super::super::error::RaftError;
use super::super::saved::Saved;
use super::super::snapshot::Since;
use super::driver::{Condition, Driver};
use super::{Command, Snapshotted};
use crate::raft::member::World;
use crate::store::Past;
use skep_proto::seal::NodeKey;

/// Wait after a snapshot that failed: it will hardly go better at once.
const SNAPSHOT_RETRY: Duration = Duration::from_secs(10);

impl Driver {
    /// Begins a snapshot on a thread of its own when one is due, or a member needs one.
    pub(super) fn begin_snapshot(&mut self) {
        let Condition::Up(member) = &self.member else { return };
        let (log, applied) = (member.machine().log(), member.applied());
        let since = Since {
            entries: applied.0 - log.snapshot_about().index,
            bytes: log.bytes_behind(),
            files: self.shore.wal.files(),
            snapshot_bytes: self.snapshot_bytes,
        };
        let wanted = since.is_due()
            || (log.wants_snapshot() && since.entries > 0)
            || (applied.0 > 0 && self.is_under_an_old_key(since.entries));
        if self.snapshotting.is_some() || !wanted || Instant::now() < self.snapshot_after {
            return;
        }
        let (about, past, dir) = (log.about(applied), self.wires.store.hold(), Arc::clone(&self.shore.dir));
        let commands = self.wires.commands.clone();
        let thread = std::thread::Builder::new().name("skep:snapshot".into());
        let thread = thread.spawn(move || {
            // When nobody listens any more, the file is found at the next start.
            drop(commands.blocking_send(Command::Snapshot(write(&dir, &about, past))));
        });
        match thread {
            Ok(thread) => (self.snapshotting, self.is_anew) = (Some(thread), true),
            Err(error) => self.snapshot_failed(&RaftError::Thread(error)),
        }
    }

    /// A snapshot is durable, or could not be written.
    pub(super) fn snapshotted(&mut self, result: Result<Snapshotted, RaftError>) {
        self.snapshotting = None;
        match result {
            Ok(done) => {
                self.compact(&done);
                self.retire_keys();
            }
            Err(error) => {
                self.is_anew = false;
                self.snapshot_failed(&error);
            }
        }
        self.report();
    }

    /// A snapshot puts an end to what is under an old key; another one if there were entries on their way meanwhile.
    fn is_under_an_old_key(&self, entries: u64) -> bool {
        self.shore.dir.keys().has_old() && (!self.is_anew || (entries > 0 && self.shore.wal.has_old()))
    }

    /// Has the key lie as it is wanted.
    ///
    /// # Errors
    /// When the disk refuses. What was written then is read all the same, because the keys before lie there, too.
    pub(super) fn keep_key(&mut self, node_key: &NodeKey, sealed: bool) -> Result<(), RaftError> {
        if !self.shore.dir.keep_key(node_key, sealed)? {
            return Ok(());
        }
        tracing::info!("the log's key lay in clear; another one takes its place");
        self.is_anew = false;
        let begun = self.shore.wal.reopen_anew(&self.shore.dir);
        if let Err(error) = &begun {
            self.go_read_only(error);
        }
        self.begin_snapshot();
        begun
    }

    /// Old keys go with the last file that is under them.
    fn retire_keys(&mut self) {
        let is_needed = !self.is_anew || self.shore.wal.has_old();
        if is_needed || !self.shore.dir.keys().has_old() {
            return;
        }
        match self.shore.dir.retire_keys() {
            Ok(()) => tracing::info!("everything of the log is under its new key"),
            Err(error) => self.snapshot_failed(&error),
        }
    }

    /// Forgets what the snapshot holds: in memory, then on disk. A record is appended first, so that term and vote are in a file that
    /// stays; older snapshots go last, when nothing needs them.
    fn compact(&mut self, done: &Snapshotted) {
        let log = match &mut self.member {
            Condition::Up(member) => member.machine_mut().log_mut(),
            Condition::ReadOnly { log, .. } => &mut **log,
        };
        // Meanwhile another member's snapshot may have come that holds more.
        if done.index < log.snapshot_about().index {
            return;
        }
        log.compact(done.about.clone());
        self.snapshot_bytes = done.bytes;
        tracing::info!(raft.index = done.index, bytes = done.bytes, "snapshot written");
        let hard_state = log.hard_state().clone();
        let up = matches!(self.member, Condition::Up(_));
        if up && let Err(error) = self.shore.save(&Saved { hard_state, entries: Vec::new() }) {
            return self.go_read_only(&error);
        }
        if up {
            self.forget_files(done.index);
        }
    }

    /// Deletes files that a durable snapshot has made needless.
    pub(super) fn forget_files(&mut self, index: u64) {
        let gone = self.shore.wal.compact(index).and_then(|()| snapshot::delete_older(&self.shore.dir, index));
        if let Err(error) = gone {
            self.snapshot_failed(&error);
        }
    }

    fn snapshot_failed(&mut self, error: &RaftError) {
        self.snapshot_after = Instant::now() + SNAPSHOT_RETRY;
        let error = skep_proto::chain::chain(error).to_string();
        tracing::warn!(%error, "failed to write a snapshot or to clear away after it; it is tried again");
    }
}

fn write(dir: &RaftDir, about: &SnapshotMetadata, past: Past) -> Result<Snapshotted, RaftError> {
    let bytes = snapshot::write(dir, about, past)?;
    Ok(Snapshotted { about: about.clone(), index: about.index, bytes })
}
