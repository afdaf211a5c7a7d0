//! Raft's handle and its thread.

mod begin;
mod drain;
mod driver;
mod shore;
mod snapshots;
mod turn;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use raft::eraftpb::{Message, SnapshotMetadata};
use skep_proto::model::RaftTiming;
use skep_proto::seal::NodeKey;
use tokio::sync::{mpsc, oneshot, watch};

use super::disk::{Birth, RaftDir};
use super::error::RaftError;
use super::member::ChangeReply;
use super::net::{Book, Links, Wiring};
use super::seal::Keys;
use crate::group::{ChangeError, Group, Leadership, MemberChange};
use crate::store::{Proposal, State, Store};
use crate::sys::Consensus;
use driver::{Driver, Wires};

/// Commands that may wait for the thread. At the bound the streams of other members are read no further, so that they wait at the
/// sender.
const COMMANDS_MAX: usize = 1024;

/// Longest that a leader that is told to resign waits for its successor, in election times: the successor is up to date or nearly so.
const RESIGN_ELECTIONS: u32 = 2;

/// Where the member's files are.
#[derive(Clone, Debug)]
pub struct Home {
    /// The directory.
    pub dir: PathBuf,
    /// What the data key lies under, while managers lock themselves.
    pub node_key: Option<NodeKey>,
}

impl From<&Path> for Home {
    /// One that is not locked.
    fn from(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), node_key: None }
    }
}

/// How this member behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// A leader's heartbeat. A tenth of the election time, so that nine lost ones are no reason for an election.
    pub heartbeat: Duration,
    /// Silence after which a follower stands for election.
    pub election: Duration,
}

impl From<RaftTiming> for Options {
    fn from(RaftTiming { heartbeat, election }: RaftTiming) -> Self {
        Self { heartbeat, election }
    }
}

impl Default for Options {
    fn default() -> Self {
        RaftTiming::default().into()
    }
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
    /// How it behaves.
    pub options: Options,
    /// Why nothing can be written at present.
    pub read_only: Option<String>,
}

/// The running member.
#[derive(Debug)]
pub struct Raft {
    handle: Handle,
    leadership: watch::Receiver<Leadership>,
    status: watch::Receiver<Status>,
    thread: JoinHandle<()>,
}

/// What others may ask of the member. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    raft_id: u64,
    commands: mpsc::Sender<Command>,
    group: watch::Receiver<Group>,
    book: Book,
    dir: Arc<RaftDir>,
}

/// A snapshot that came from another member, whole, on our disk but not yet under its name.
#[derive(Debug)]
pub(super) struct Received {
    /// The message that announced it.
    pub(super) message: Message,
    /// Where it lies.
    pub(super) path: PathBuf,
    /// What it holds.
    pub(super) state: Box<State>,
    /// Its size.
    pub(super) bytes: u64,
    /// What it is under.
    pub(super) keys: Arc<Keys>,
}

/// What the thread is told besides proposals.
#[derive(Debug)]
pub(super) enum Command {
    /// Ends it.
    Shutdown,
    /// Messages came.
    Step(Vec<Message>),
    /// The stream from a member ended.
    Lost(u64),
    /// Messages to a member were dropped.
    Unreachable(u64),
    /// A snapshot reached a member, or not.
    SnapshotSent { to: u64, arrived: bool },
    /// A snapshot came.
    Received(Box<Received>),
    /// Our own snapshot was written, or not.
    Snapshot(Result<Snapshotted, RaftError>),
    /// The group is to change.
    Change(MemberChange, ChangeReply),
    /// The data key is to lie sealed under this key, or in clear.
    KeepKey(NodeKey, bool, oneshot::Sender<Result<(), RaftError>>),
    /// Leadership is to go to this member, or to whichever is best.
    Transfer(Option<u64>),
}

/// A durable snapshot.
#[derive(Debug)]
pub(super) struct Snapshotted {
    about: SnapshotMetadata,
    index: u64,
    bytes: u64,
}

impl Raft {
    /// Recovers the state into the store and starts the thread, which takes proposals from the queue that [`Store::new`] gave. Without
    /// `wiring` it reaches nobody, which is enough for a member that is alone. To be called within a tokio runtime.
    ///
    /// # Errors
    /// When the directory cannot be used, is empty where a state must be, or what is in it is damaged; nothing was changed then.
    pub fn start(
        home: impl Into<Home>,
        birth: Birth,
        store: Store,
        proposals: mpsc::Receiver<Proposal>,
        (options, wiring): (Options, Option<Wiring>),
    ) -> Result<Self, RaftError> {
        let Home { dir, node_key } = home.into();
        let dir = Arc::new(RaftDir::open(&dir, birth, node_key.as_ref())?);
        let raft_id = dir.member.raft_id;
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let (lead, leadership) = watch::channel(Leadership::default());
        let (tell, status) = watch::channel(Status::default());
        let (show, group) = watch::channel(Group::default());
        let wires = Wires { store, commands: commands.clone(), leadership: lead, status: tell, group: show };
        let book = Book::default();
        let links = wiring.map(|wiring| Links::new(raft_id, wiring, book.clone(), commands.clone()));
        let mut driver = Driver::recover(Arc::clone(&dir), wires, options, links)?;
        // Who belongs to the group is known when this returns: a member of several must not be taken for one that is alone.
        driver.drive();
        let thread = std::thread::Builder::new().name("skep:raft".into());
        let thread = thread.spawn(move || driver.run(proposals, inbox)).map_err(RaftError::Thread)?;
        let handle = Handle { raft_id, commands, group, book, dir };
        Ok(Self { handle, leadership, status, thread })
    }

    /// What others may ask of the member.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
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

    /// How this member behaves: as its cluster settled it, or, before it has heard of one, as it was told at its start.
    #[must_use]
    pub fn options(&self) -> Options {
        self.status.borrow().options
    }

    /// If this member leads others, hands leadership to the best of them and waits for a bounded time until it leads.
    pub async fn resign(&self) {
        let mut leadership = self.leadership.clone();
        if !leadership.borrow().is_leader || self.handle.group.borrow().members.len() < 2 {
            return;
        }
        drop(self.handle.commands.send(Command::Transfer(None)).await);
        let handed = leadership.wait_for(|now| !now.is_leader && now.leader.is_some());
        if tokio::time::timeout(self.options().election * RESIGN_ELECTIONS, handed).await.is_err() {
            tracing::warn!("no other manager took over; one will be elected");
        }
    }

    /// Ends the thread after what is in hand and waits for it. Proposals still in the queue are answered that nobody leads here.
    pub async fn shutdown(self) {
        drop(self.handle.commands.send(Command::Shutdown).await);
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the raft thread panicked");
        }
    }
}

impl Handle {
    /// Has the data key lie sealed under the node's, or in clear. One that lay in clear is replaced: everything from then on is under another.
    ///
    /// # Errors
    /// When the disk refuses, or the member ends.
    pub async fn keep_key(&self, node_key: NodeKey, sealed: bool) -> Result<(), RaftError> {
        let (reply, answer) = oneshot::channel();
        // A member that ends keeps what it has; the next one is told again.
        drop(self.commands.send(Command::KeepKey(node_key, sealed, reply)).await);
        answer.await.unwrap_or(Ok(()))
    }

    /// Where members are.
    pub(super) fn book(&self) -> &Book {
        &self.book
    }

    /// The way to the thread, for the streams of other members.
    pub(super) fn commands(&self) -> &mpsc::Sender<Command> {
        &self.commands
    }

    /// Where a snapshot that comes in is put.
    pub(super) fn dir(&self) -> Arc<RaftDir> {
        Arc::clone(&self.dir)
    }
}

#[async_trait]
impl Consensus for Handle {
    fn own_id(&self) -> u64 {
        self.raft_id
    }

    fn group(&self) -> watch::Receiver<Group> {
        self.group.clone()
    }

    async fn change(&self, change: MemberChange) -> Result<(), ChangeError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.send(Command::Change(change, reply)).await;
        sent.map_err(|_| ChangeError::NotLeader)?;
        answer.await.unwrap_or(Err(ChangeError::NotLeader))
    }

    async fn transfer(&self, to: Option<u64>) {
        drop(self.commands.send(Command::Transfer(to)).await);
    }

    fn learn(&self, id: u64, address: &str) {
        self.book.learn(id, address);
    }
}

#[cfg(test)]
mod tests;
