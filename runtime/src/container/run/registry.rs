//! Who is there: the containers of this daemon, by id.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::link::Link;
use crate::cgroup::Group;
use crate::container::{ContainerId, ContainerInfo, ContainerSpec, ContainerStatus, Exit, RuntimeConfig, RuntimeError};
use crate::network::Lease;
use crate::shim::protocol::{Identity, Reply, Request, file};

/// What a later daemon must know of a container. Its presence says that the container was made whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The boot in which it was made: in another one, process ids mean other processes.
    pub(crate) boot_id: String,
    pub(crate) spec: ContainerSpec,
    pub(crate) image_id: String,
    pub(crate) command: Vec<String>,
    pub(crate) stop_signal: i32,
    pub(crate) lease: Option<Lease>,
    pub(crate) created_ms: u64,
}

/// The two directories of a container.
#[derive(Clone, Debug)]
pub(crate) struct Dirs {
    pub(crate) run: PathBuf,
    pub(crate) data: PathBuf,
}

impl Dirs {
    pub(crate) fn new(config: &RuntimeConfig, id: &str) -> Self {
        Self { run: containers(&config.run_dir).join(id), data: containers(&config.data_dir).join(id) }
    }

    /// The log files lie beside the writable layer: a directory of their own would be one more inode to allocate.
    pub(crate) fn logs(&self) -> PathBuf {
        self.data.clone()
    }

    pub(crate) fn exit(&self) -> PathBuf {
        self.run.join(file::EXIT)
    }
}

/// Where the directories of all containers are, below the run or the data directory.
pub(crate) fn containers(root: &Path) -> PathBuf {
    root.join("containers")
}

/// What changes in a container's life.
#[derive(Debug, Default)]
pub(crate) struct Life {
    pub(crate) init: Option<Identity>,
    pub(crate) started_ms: Option<u64>,
}

/// One container as this daemon holds it.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) id: ContainerId,
    pub(crate) dirs: Dirs,
    pub(crate) record: Record,
    pub(crate) groups: Vec<Group>,
    pub(crate) life: Mutex<Life>,
    /// The connection to its shim, used by one command at a time.
    pub(crate) link: Mutex<Option<Link>>,
    /// Holds the shim's identity while it lives.
    pub(crate) shim: Option<OwnedFd>,
    pub(crate) exit: watch::Sender<Option<Exit>>,
    pub(crate) watcher: Mutex<Option<JoinHandle<()>>>,
    /// Held by whoever starts it: of two, the second must find it running, not fail and take the ports away.
    pub(crate) starting: Mutex<()>,
    /// Held by whoever removes it.
    pub(crate) removal: tokio::sync::Mutex<()>,
}

impl Container {
    pub(crate) fn status(&self) -> ContainerStatus {
        match (self.exit.borrow().is_some(), self.life.lock().started_ms.is_some()) {
            (true, _) => ContainerStatus::Exited,
            (false, true) => ContainerStatus::Running,
            (false, false) => ContainerStatus::Created,
        }
    }

    /// Asks the shim, one question at a time. A connection on which an answer was missed is given up, so that no later
    /// question gets it, and the next question connects anew.
    pub(crate) fn ask(&self, request: Request) -> Result<Reply, RuntimeError> {
        let failed = |source| RuntimeError::Shim { id: self.id.clone(), source };
        let mut held = self.link.lock();
        let link = match held.take() {
            Some(link) => link,
            None => Link::connect(&self.dirs.run).map_err(failed)?,
        };
        let reply = link.ask(request).map_err(failed)?;
        *held = Some(link);
        Ok(reply)
    }

    pub(crate) fn info(&self) -> ContainerInfo {
        let (status, exit) = (self.status(), self.exit.borrow().clone());
        let life = self.life.lock();
        let alive = status != ContainerStatus::Exited;
        ContainerInfo {
            id: self.id.clone(),
            spec: self.record.spec.clone(),
            image_id: self.record.image_id.clone(),
            command: self.record.command.clone(),
            status,
            pid: life.init.filter(|_| alive).map(|i| i.pid),
            address: self.record.lease.map(|l| l.address),
            created_ms: self.record.created_ms,
            started_ms: life.started_ms,
            exit,
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Some(watcher) = self.watcher.get_mut().take() {
            watcher.abort();
        }
    }
}

/// A taken id.
#[derive(Debug)]
enum Entry {
    /// Being made.
    Reserved,
    Here(Arc<Container>),
}

/// All containers. The lock is held for a look-up or a change of one entry, never across work.
#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<BTreeMap<ContainerId, Entry>>);

impl Registry {
    pub(crate) fn reserve(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let mut all = self.0.lock();
        if all.contains_key(id) {
            return Err(RuntimeError::Exists { id: id.clone() });
        }
        all.insert(id.clone(), Entry::Reserved);
        Ok(())
    }

    pub(crate) fn put(&self, container: Arc<Container>) {
        self.0.lock().insert(container.id.clone(), Entry::Here(container));
    }

    pub(crate) fn forget(&self, id: &ContainerId) {
        self.0.lock().remove(id);
    }

    pub(crate) fn get(&self, id: &ContainerId) -> Result<Arc<Container>, RuntimeError> {
        match self.0.lock().get(id) {
            Some(Entry::Here(container)) => Ok(Arc::clone(container)),
            _ => Err(RuntimeError::NotFound { id: id.clone() }),
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<Container>> {
        let here = |entry: &Entry| match entry {
            Entry::Here(container) => Some(Arc::clone(container)),
            Entry::Reserved => None,
        };
        self.0.lock().values().filter_map(here).collect()
    }
}
