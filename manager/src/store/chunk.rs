//! The whole state as messages of bounded size, and back.

use std::sync::Arc;
use std::vec::IntoIter;

use prost::Message;

use skep_proto::convert::ConvertError;
use skep_proto::model::{Cluster, Node, Service, Task};
use skep_proto::pb::{self, SnapshotChunk};

use super::freeze::Frozen;
use super::state::State;

/// A chunk of nodes or services is closed at this many bytes; only a single larger object makes a larger one.
const CHUNK_BYTES: usize = 256 << 10;

/// Places of the task table to a chunk. At some 200 bytes a task that is 100 kB, read under one short lock.
pub(super) const CHUNK_PLACES: usize = 512;

/// Why chunks make no state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RebuildError {
    /// An object cannot be read.
    #[error("read an object of the snapshot")]
    Convert(#[from] ConvertError),
    /// A task names a service or revision that did not come before it.
    #[error("place task {task}: its service or spec version is not in the snapshot")]
    Stray {
        /// The task.
        task: skep_proto::model::TaskId,
    },
    /// An object came twice.
    #[error("place {what}: it came twice")]
    Twice {
        /// Kind and id.
        what: String,
    },
}

/// Cluster, nodes and services, chunk by chunk; the tasks come after them.
#[derive(Debug)]
pub(super) struct Head {
    cluster: Option<Arc<Cluster>>,
    nodes: IntoIter<Arc<Node>>,
    services: IntoIter<Arc<Service>>,
}

impl Head {
    /// Of a frozen moment. Nothing is converted yet.
    pub(super) fn new(frozen: Frozen) -> Self {
        Self { cluster: frozen.cluster, nodes: frozen.nodes.into_iter(), services: frozen.services.into_iter() }
    }
}

impl Iterator for Head {
    type Item = SnapshotChunk;

    fn next(&mut self) -> Option<SnapshotChunk> {
        let cluster = self.cluster.take().map(|it| Box::new((&*it).into()));
        let mut chunk = SnapshotChunk { cluster, ..SnapshotChunk::default() };
        let mut bytes = 0;
        while bytes < CHUNK_BYTES
            && let Some(node) = self.nodes.next()
        {
            let node = pb::Node::from(&*node);
            bytes += node.encoded_len();
            chunk.nodes.push(node);
        }
        while bytes < CHUNK_BYTES
            && let Some(service) = self.services.next()
        {
            let service = pb::Service::from(&*service);
            bytes += service.encoded_len();
            chunk.services.push(service);
        }
        (chunk != SnapshotChunk::default()).then_some(chunk)
    }
}

/// Tasks as one chunk.
pub(super) fn tasks(tasks: &[&Task]) -> SnapshotChunk {
    SnapshotChunk { tasks: tasks.iter().map(|&task| task.into()).collect(), ..SnapshotChunk::default() }
}

/// A state that is being put together.
#[derive(Debug, Default)]
pub struct Rebuild {
    state: State,
}

impl Rebuild {
    /// Adds a chunk, in the order in which they were written.
    ///
    /// # Errors
    /// When something in it cannot be.
    pub fn add(&mut self, chunk: SnapshotChunk) -> Result<(), RebuildError> {
        if let Some(cluster) = chunk.cluster {
            self.state.set_cluster(Some(Arc::new((*cluster).try_into()?)));
        }
        for node in chunk.nodes {
            self.node(node.try_into()?)?;
        }
        for service in chunk.services {
            self.service(service.try_into()?)?;
        }
        chunk.tasks.into_iter().try_for_each(|task| self.task(task.try_into()?))
    }

    /// The state as of this index.
    #[must_use]
    pub fn finish(mut self, index: u64) -> State {
        self.state.index = index;
        self.state
    }

    fn node(&mut self, node: Node) -> Result<(), RebuildError> {
        let id = node.id;
        let before = self.state.set_node(id, Some(Arc::new(node)));
        before.map_or(Ok(()), |_| Err(RebuildError::Twice { what: format!("node {id}") }))
    }

    fn service(&mut self, service: Service) -> Result<(), RebuildError> {
        let id = service.id;
        let before = self.state.set_service(id, Some(Arc::new(service)));
        before.map_or(Ok(()), |_| Err(RebuildError::Twice { what: format!("service {id}") }))
    }

    fn task(&mut self, task: Task) -> Result<(), RebuildError> {
        let service = self.state.service(task.service);
        if !service.is_some_and(|service| service.revisions.contains_key(&task.spec_version)) {
            return Err(RebuildError::Stray { task: task.id });
        }
        if self.state.tasks.find(task.id).is_some() {
            return Err(RebuildError::Twice { what: format!("task {}", task.id) });
        }
        self.state.insert_task(task);
        Ok(())
    }
}
