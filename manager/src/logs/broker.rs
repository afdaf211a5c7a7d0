//! Who listens and who waits for lines: the few words that readers and agents leave for each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use skep_proto::model::{NodeId, TaskId};
use skep_proto::pb;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::store::Store;

/// Readers at once. Each holds some queues and a stream; people rarely need more than a handful.
pub const READERS_MAX: usize = 256;

/// Id of a part.
pub type PartId = u128;

/// The way of log lines.
#[derive(Clone, Debug)]
pub struct LogBroker {
    pub(super) store: Store,
    pub(super) places: Arc<Semaphore>,
    pub(super) stop: CancellationToken,
    board: Arc<Mutex<Board>>,
}

#[derive(Debug, Default)]
struct Board {
    listeners: BTreeMap<NodeId, mpsc::Sender<Result<pb::LogSubscription, tonic::Status>>>,
    parts: BTreeMap<PartId, Part>,
}

/// What one node was asked for.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) node: NodeId,
    pub(super) tasks: BTreeSet<TaskId>,
    /// To the reader.
    pub(super) out: mpsc::Sender<Item>,
}

/// What a part says to its reader.
#[derive(Debug)]
pub(super) enum Item {
    /// The agent has begun to answer.
    Opened(PartId),
    /// Lines.
    Lines(Vec<pb::LogLine>),
    /// Something cannot be read.
    Trouble(String),
    /// No more from this part; `false` when the stream broke.
    Ended(PartId, bool),
}

impl LogBroker {
    /// Serves until `stop`.
    #[must_use]
    pub fn new(store: Store, stop: CancellationToken) -> Self {
        Self { store, places: Arc::new(Semaphore::new(READERS_MAX)), stop, board: Arc::default() }
    }

    /// This is where the node hears of subscriptions now.
    pub(super) fn listen(&self, node: NodeId, to: mpsc::Sender<Result<pb::LogSubscription, tonic::Status>>) {
        self.board.lock().listeners.insert(node, to);
    }

    /// Asks the node. `false` when it does not listen or does not keep up; nothing is then left behind.
    pub(super) fn ask(&self, id: PartId, part: Part, options: pb::LogOptions) -> bool {
        let tasks = part.tasks.iter().map(|task| task.to_bytes()).collect();
        let ask = pb::LogSubscription { id: id.to_be_bytes().to_vec(), tasks, options: Some(options), close: false };
        let mut board = self.board.lock();
        let asked = board.listeners.get(&part.node).is_some_and(|to| to.try_send(Ok(ask)).is_ok());
        if asked {
            board.parts.insert(id, part);
        }
        asked
    }

    /// The node's part of that id.
    pub(super) fn part(&self, id: PartId, node: NodeId) -> Option<Part> {
        self.board.lock().parts.get(&id).filter(|part| part.node == node).cloned()
    }

    /// Ends a part and tells its node.
    pub(super) fn close(&self, id: PartId) {
        let mut board = self.board.lock();
        let Some(part) = board.parts.remove(&id) else { return };
        if let Some(listener) = board.listeners.get(&part.node) {
            let close = pb::LogSubscription { id: id.to_be_bytes().to_vec(), close: true, ..Default::default() };
            // An agent that does not keep up notices when it publishes the next line.
            let _ = listener.try_send(Ok(close));
        }
    }
}
