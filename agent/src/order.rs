//! What passes between the decisions and an [`Executor`](crate::sys::Executor): plain values.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_proto::model::{NodeId, PortConfig, ServiceId, TaskId, TaskSpec};

/// What all tasks of one service under one spec version have in common. Kept once however many tasks there are.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// Whose tasks they are.
    pub service: ServiceId,
    /// Which revision of the service.
    pub spec_version: u64,
    /// Name of the service.
    pub service_name: String,
    /// Labels of the service.
    pub service_labels: BTreeMap<String, String>,
    /// What each task runs.
    pub spec: TaskSpec,
    /// Ports as the managers allocated them.
    pub ports: Vec<PortConfig>,
}

impl Template {
    /// What tasks name it by.
    #[must_use]
    pub fn key(&self) -> TemplateKey {
        (self.service, self.spec_version)
    }
}

/// Service and spec version.
pub type TemplateKey = (ServiceId, u64);

/// One task to prepare.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskOrder {
    /// The task.
    pub task: TaskId,
    /// Place in its service, from 1; zero for a task of a global service.
    pub slot: u32,
    /// This node.
    pub node: NodeId,
    /// What it runs.
    pub template: Arc<Template>,
}

impl TaskOrder {
    /// Docker's name of a task: `service.slot.task`, and `service.node.task` for a global service.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}.{}.{}", self.template.service_name, self.slot_text(), self.task)
    }

    /// The slot as people see it: its number, or the node of a global service's task.
    #[must_use]
    pub fn slot_text(&self) -> String {
        if self.slot == 0 { self.node.to_string() } else { self.slot.to_string() }
    }
}

/// A program that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Started {
    /// Process id in the host's namespace.
    pub pid: u32,
    /// The container.
    pub container_id: String,
    /// Host-mode ports whose numbers were chosen here; the others are as the order has them.
    pub ports: Vec<PortConfig>,
}

/// A program that ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exited {
    /// Exit code, or 128 plus the signal's number.
    pub code: i32,
    /// The kernel killed it for memory.
    pub oom: bool,
    /// Why there is no code of the program's own.
    pub error: Option<String>,
}

/// What was found of a task's container after a restart of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovered {
    /// Prepared and never started.
    Created,
    /// It runs.
    Running(Started),
    /// It ended while nobody looked.
    Exited(Exited),
}

/// Whose fault it is that a step failed. It decides what happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The task's: it would fail again, here and elsewhere.
    Task,
    /// The node's: the task may do better elsewhere.
    Node,
    /// Nobody's: the same step may succeed in a moment.
    Temporary,
}

/// A step that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Whose fault.
    pub blame: Blame,
    /// What a user reads in the task's error.
    pub reason: String,
}
