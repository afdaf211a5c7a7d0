//! A task: one run of one container on one node. It is never reused: a restart, a move and an update each make a new one
//! in the same slot.

use super::Meta;
use super::id::{NodeId, ServiceId, TaskId};
use super::moment::Moment;
use super::spec::PortConfig;

/// Where a task is. The order is the order of life: an observed state never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum TaskState {
    /// Made; a port or address is still to be allocated.
    New = 0,
    /// Waits for the scheduler.
    Pending = 64,
    /// A node was chosen.
    Assigned = 192,
    /// The node's agent has stored it.
    Accepted = 256,
    /// The image and the container are being made ready.
    Preparing = 320,
    /// Ready to start; waits until it is desired to run.
    Ready = 384,
    /// Started; not healthy yet.
    Starting = 448,
    /// Runs.
    Running = 512,
    /// Ended by itself with code 0.
    Complete = 576,
    /// Ended because it was asked to.
    Shutdown = 640,
    /// Ended badly at or after its start.
    Failed = 704,
    /// Could not be started, or may not be where it is.
    Rejected = 768,
    /// Its node is gone.
    Orphaned = 832,
}

impl TaskState {
    /// All, in order.
    pub const ALL: [Self; 13] = [
        Self::New,
        Self::Pending,
        Self::Assigned,
        Self::Accepted,
        Self::Preparing,
        Self::Ready,
        Self::Starting,
        Self::Running,
        Self::Complete,
        Self::Shutdown,
        Self::Failed,
        Self::Rejected,
        Self::Orphaned,
    ];

    /// It will not run again.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        self > Self::Running
    }

    /// The managers keep it in Raft; the states between are the leader's soft state.
    #[must_use]
    pub fn is_stored(self) -> bool {
        self <= Self::Assigned || self >= Self::Running
    }

    /// It ended otherwise than it should have.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Rejected | Self::Orphaned)
    }

    /// In lower case, as Docker's API has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Pending => "pending",
            Self::Assigned => "assigned",
            Self::Accepted => "accepted",
            Self::Preparing => "preparing",
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Shutdown => "shutdown",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Orphaned => "orphaned",
        }
    }
}

/// What the managers want of a task. It only grows; an agent ignores a step back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DesiredState {
    /// Be prepared, do not start.
    Ready,
    /// Run.
    Running,
    /// Stop; the object stays as history.
    Shutdown,
    /// Stop; then the object goes.
    Remove,
}

impl DesiredState {
    /// It is meant to run now or soon.
    #[must_use]
    pub fn is_live(self) -> bool {
        self <= Self::Running
    }

    /// In lower case, as Docker's API has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Shutdown => "shutdown",
            Self::Remove => "remove",
        }
    }
}

/// The place in a service that a task fills: what stays the same over restarts, moves and updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// Of a replicated service, from 1.
    Replica(u32),
    /// Of a global service.
    Node(NodeId),
}

/// A task and what is known of its run.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// Version and times. The version serves as the generation of its assignment.
    pub meta: Meta,
    /// Whose it is.
    pub service: ServiceId,
    /// Which place it fills.
    pub slot: Slot,
    /// Which revision of the service it runs.
    pub spec_version: u64,
    /// Where; `None` until it is assigned. A global task is made with it.
    pub node: Option<NodeId>,
    /// What is wanted of it.
    pub desired: DesiredState,
    /// What was last stored of its run.
    pub status: TaskStatus,
    /// While desired is `Ready`: not to run before this.
    pub start_after: Option<Moment>,
    /// While desired is `Ready`: not to run before that task has stopped.
    pub replaces: Option<TaskId>,
    /// When its slot was restarted under this spec version, oldest first; kept only as far back as the policy counts.
    pub restarts: Vec<Moment>,
}

/// What is known of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskStatus {
    /// Where it is.
    pub state: TaskState,
    /// Since when, by the clock of whoever saw it.
    pub at: Moment,
    /// A word or two, as in `started`.
    pub message: Box<str>,
    /// Why it is not running; empty when there is nothing to say.
    pub error: Box<str>,
    /// How its program ended.
    pub exit_code: Option<i32>,
    /// Process id on its node.
    pub pid: u32,
    /// Container on its node.
    pub container_id: Box<str>,
    /// When a manager stored it, by the manager's clock.
    pub applied_at: Moment,
    /// Host-mode ports as the node gave them.
    pub ports: Vec<PortConfig>,
}

impl TaskStatus {
    /// A status with only a state, a time and a message.
    #[must_use]
    pub fn new(state: TaskState, at: Moment, message: &str) -> Self {
        Self {
            state,
            at,
            message: message.into(),
            error: "".into(),
            exit_code: None,
            pid: 0,
            container_id: "".into(),
            applied_at: at,
            ports: Vec::new(),
        }
    }
}

impl Task {
    /// It is meant to run and has not ended.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.desired.is_live() && !self.status.state.is_terminal()
    }

    /// It uses its node's resources: assigned and not seen to have ended.
    #[must_use]
    pub fn holds_resources(&self) -> bool {
        self.node.is_some() && self.status.state >= TaskState::Assigned && !self.status.state.is_terminal()
    }
}
