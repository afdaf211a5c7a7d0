//! What the leader knows without Raft: the states between ASSIGNED and RUNNING, and why a task waits. Lost with the leader;
//! agents send theirs again, and the next scheduling pass explains anew.

use std::collections::BTreeMap;

use skep_proto::model::{ServiceId, TaskId, TaskStatus};

/// The leader's soft state.
#[derive(Debug, Default)]
pub struct Soft {
    statuses: BTreeMap<TaskId, TaskStatus>,
    waiting: BTreeMap<(ServiceId, u64), Box<str>>,
}

impl Soft {
    /// The status to show for a task: the soft one when it is further than the stored one.
    #[must_use]
    pub fn status<'a>(&'a self, task: &'a skep_proto::model::Task) -> &'a TaskStatus {
        self.statuses.get(&task.id).filter(|soft| soft.state > task.status.state).unwrap_or(&task.status)
    }
    /// Why tasks of this service and spec version have no node.
    #[must_use]
    pub fn waiting(&self, service: ServiceId, spec_version: u64) -> Option<&str> {
        self.waiting.get(&(service, spec_version)).map(AsRef::as_ref)
    }
}
