//! Raft's handle and its thread.

mod drain;
mod driver;
mod turn;

use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::disk::RaftDir;
use super::error::RaftError;
use crate::store::{Proposal, Store};
use driver::{Driver, Wires};

/// Commands that may wait for the thread: a shutdown and a finished snapshot. More never come.
const COMMANDS_MAX: usize = 4;

/// How this member behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// This member's number; never used again once it was removed.
    pub raft_id: u64,
    /// One tick: a leader's heartbeat. A tenth of the election time, so that nine lost ones are no reason for an election.
    pub tick: Duration,
    /// Silence after which a follower stands for election.
    pub election: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { raft_id: 1, tick: Duration::from_millis(100), election: Duration::from_secs(1) }
    }
}

/// Whether this manager leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// It leads and has applied everything that was committed before it came to lead.
    pub is_leader: bool,
    /// Raft's term.
    pub term: u64,
}

/// What can be said of the member, for people and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// This member.
    pub raft_id: u64,
    /// Raft's term.
    pub term: u64,
    /// Index of the last durable entry.
    pub last_index: u64,
    /// Index of the last applied entry.
    pub applied: u64,
    /// Index of the last durable snapshot.
    pub snapshot: u64,
    /// Bytes of the entries behind it.
    pub log_bytes: u64,
    /// Why nothing can be written at present.
    pub read_only: Option<String>,
}

/// The running member.
#[derive(Debug)]
pub struct Raft {
    commands: mpsc::Sender<Command>,
    leadership: watch::Receiver<Leadership>,
    status: watch::Receiver<Status>,
    thread: JoinHandle<()>,
}

/// What the thread is told besides proposals.
#[derive(Debug)]
enum Command {
    Shutdown,
    /// A snapshot was written, or not.
    Snapshot(Result<Snapshotted, RaftError>),
}

/// A durable snapshot.
#[derive(Debug)]
struct Snapshotted {
    index: u64,
    bytes: u64,
}

impl Raft {
    /// Recovers the state into the store and starts the thread, which takes proposals from the queue that [`Store::new`] gave.
    /// A directory that is empty founds a cluster of one.
    ///
    /// # Errors
    /// When the directory cannot be used or what is in it is damaged; nothing was changed then.
    pub fn start(
        dir: &Path,
        store: Store,
        proposals: mpsc::Receiver<Proposal>,
        options: Options,
    ) -> Result<Self, RaftError> {
        let dir = RaftDir::open(dir)?;
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let (lead, leadership) = watch::channel(Leadership::default());
        let (tell, status) = watch::channel(Status::default());
        let wires = Wires { store, commands: commands.clone(), leadership: lead, status: tell };
        let driver = Driver::recover(dir, wires, options)?;
        let thread = std::thread::Builder::new().name("skep:raft".into());
        let thread = thread.spawn(move || driver.run(proposals, inbox, options.tick));
        let thread = thread.map_err(RaftError::Thread)?;
        Ok(Self { commands, leadership, status, thread })
    }

    /// Whether this manager leads, now and from now on.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// What can be said of the member now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Ends the thread after what is in hand and waits for it. Proposals still in the queue are answered that nobody leads here.
    pub async fn shutdown(self) {
        drop(self.commands.send(Command::Shutdown).await);
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the raft thread panicked");
        }
    }
}

#[cfg(test)]
mod tests;
