//! A service as the managers keep it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Meta;
use super::id::ServiceId;
use super::moment::Moment;
use super::spec::{PortConfig, ServiceSpec, TaskSpec};

/// A service and what the managers know of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its id.
    pub id: ServiceId,
    /// Version and times.
    pub meta: Meta,
    /// What the user wants now.
    pub spec: ServiceSpec,
    /// Grows with every accepted update of the spec.
    pub spec_version: u64,
    /// What the user wanted before the last update.
    pub previous_spec: Option<Box<ServiceSpec>>,
    /// The spec's ports with the allocator's choices; empty while a choice is still to be made.
    pub ports: Vec<PortConfig>,
    /// By spec version, what tasks that still exist run, the newest always among them, which is the spec's task with `ports`.
    pub revisions: BTreeMap<u64, Arc<Revision>>,
    /// Deleted by the user; kept until its last task is gone.
    pub removing: bool,
    /// The update under way or the last one, if it had to replace a task.
    pub update_status: Option<UpdateStatus>,
}

/// What tasks of one spec version run.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    /// The task spec.
    pub task: TaskSpec,
    /// Ports as published.
    pub ports: Vec<PortConfig>,
}

/// How far an update is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateStatus {
    /// Every slot runs the new spec.
    pub completed: bool,
    /// When the first slot was touched.
    pub started_at: Moment,
    /// When the last one ran.
    pub completed_at: Option<Moment>,
    /// One sentence.
    pub message: String,
}

impl Service {
    /// The revision that new tasks get.
    ///
    /// # Panics
    /// Never: the newest revision is always kept.
    #[must_use]
    pub fn current(&self) -> &Arc<Revision> {
        self.revisions.get(&self.spec_version).expect("the newest revision is always kept")
    }

    /// Whether every port of the spec has a number.
    #[must_use]
    pub fn ports_allocated(&self) -> bool {
        self.ports.len() == self.spec.ports.len()
    }
}
