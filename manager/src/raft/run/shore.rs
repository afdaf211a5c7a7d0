//! Where the member meets the world: its log's files, its snapshots, and the ways to the others.

use std::sync::Arc;
use std::time::Duration;

use raft::eraftpb::{Message, SnapshotMetadata};
use tokio::time::Instant;

use super::super::disk::{RaftDir, snapshot, wal};
use super::super::error::RaftError;
use super::super::member::World;
use super::super::net::Links;
use super::super::saved::Saved;
use super::Received;
use crate::store::State;

/// Files and links.
#[derive(Debug)]
pub(super) struct Shore {
    pub(super) dir: Arc<RaftDir>,
    pub(super) wal: wal::Wal,
    links: Option<Links>,
    /// The snapshot that the next message is about.
    received: Option<Box<Received>>,
    /// A snapshot that was installed in this drive: index and size.
    pub(super) installed: Option<(u64, u64)>,
    /// The longest that a write took in this drive.
    pub(super) slowest: Duration,
}

impl Shore {
    pub(super) fn new(dir: Arc<RaftDir>, wal: wal::Wal, links: Option<Links>) -> Self {
        Self { dir, wal, links, received: None, installed: None, slowest: Duration::ZERO }
    }

    /// Begins a new log file.
    pub(super) fn reopen(&mut self) -> Result<(), RaftError> {
        self.wal.reopen(&self.dir)
    }

    /// The message about this snapshot is handed to the member next.
    pub(super) fn expect(&mut self, received: Box<Received>) {
        self.received = Some(received);
    }

    /// The snapshot was not needed after all.
    pub(super) fn discard(&mut self) {
        if let Some(received) = self.received.take() {
            snapshot::discard(&received.path);
        }
    }
}

impl World for Shore {
    fn send(&mut self, messages: Vec<Message>) {
        if let Some(links) = &mut self.links {
            links.send(messages, &self.dir);
        }
    }

    fn save(&mut self, saved: &Saved) -> Result<(), RaftError> {
        let begun = Instant::now();
        let result = self.wal.append(&self.dir, saved);
        self.slowest = self.slowest.max(begun.elapsed());
        result
    }

    fn install(&mut self, about: &SnapshotMetadata) -> Result<State, RaftError> {
        let received = self.received.take();
        let received = received.expect("a member takes a snapshot only from the message that came with it");
        snapshot::adopt(&self.dir, &received.path, about.index)?;
        self.installed = Some((about.index, received.bytes));
        Ok(*received.state)
    }
}
