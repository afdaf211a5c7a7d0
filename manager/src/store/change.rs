//! What may be proposed. Everything that needed a clock, chance or a choice was settled before.

use skep_proto::model::{
    Cluster, DesiredState, Moment, Node, NodeDescription, NodeId, NodeSpec, NodeStatus, PortConfig, ServiceId,
    ServiceSpec, Task, TaskId, TaskStatus, TokenText, UpdateStatus,
};

/// Changes that are applied together or not at all, but for the bulk ones, which pass over items that have gone stale.
#[derive(Clone, Debug, PartialEq)]
pub struct Transaction {
    /// In order; a later one sees what an earlier one did.
    pub changes: Vec<Change>,
    /// The proposer's clock: becomes `created_at`, `updated_at` and `applied_at`.
    pub at: Moment,
}

/// One change. `if_version` names the version it was computed from; a stale one is refused.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Creates the cluster (`meta.version` 0) or replaces it.
    PutCluster(Box<Cluster>),
    /// Somebody joins with this token. Refused when it admits nobody (any more); counted when its uses are limited. The node follows
    /// in the same transaction.
    UseToken(TokenText),
    /// Creates a node (`meta.version` 0) or replaces it.
    PutNode(Box<Node>),
    /// What the user wants of a node.
    SetNodeSpec {
        /// The node.
        node: NodeId,
        /// Version it was computed from.
        if_version: u64,
        /// What is wanted.
        spec: NodeSpec,
    },
    /// What the dispatcher sees of a node, which it owns: never refused for a version. `None` leaves the description.
    SetNodeStatus {
        /// The node.
        node: NodeId,
        /// What is seen.
        status: NodeStatus,
        /// What the agent says of the machine.
        description: Option<Box<NodeDescription>>,
    },
    /// Forgets a node; its tasks become ORPHANED.
    RemoveNode {
        /// The node.
        node: NodeId,
        /// Version it was computed from.
        if_version: u64,
    },
    /// Refused when the name or a published port is taken.
    CreateService {
        /// The new service.
        service: ServiceId,
        /// What is wanted; the rest of a new service follows from it.
        spec: Box<ServiceSpec>,
    },
    /// A new spec: `spec_version` grows, the old spec becomes `previous_spec`. Refused when name or mode differ, or a port is taken.
    UpdateService {
        /// The service.
        service: ServiceId,
        /// Version it was computed from.
        if_version: u64,
        /// What is wanted.
        spec: Box<ServiceSpec>,
    },
    /// Marks it `removing` (the name and ports are free at once); the object goes with its last task.
    RemoveService {
        /// The service.
        service: ServiceId,
        /// Version it was computed from.
        if_version: u64,
    },
    /// The allocator's choice of ports; refused when one is taken.
    SetServicePorts {
        /// The service.
        service: ServiceId,
        /// Version it was computed from.
        if_version: u64,
        /// All ports, chosen ones filled in.
        ports: Vec<PortConfig>,
    },
    /// How far an update is.
    SetUpdateStatus {
        /// The service.
        service: ServiceId,
        /// Version it was computed from.
        if_version: u64,
        /// How far; `None` when there is no update.
        status: Option<UpdateStatus>,
    },
    /// A new task of an existing service.
    CreateTask(Box<Task>),
    /// Desired only grows; a smaller one is refused.
    SetDesired {
        /// The task.
        task: TaskId,
        /// Version it was computed from.
        if_version: u64,
        /// What is wanted.
        desired: DesiredState,
    },
    /// Bulk: PENDING to ASSIGNED. An item is passed over when the task's version differs, the task is no longer pending, or the
    /// node is gone, sheds or takes no tasks any more.
    Assign(Vec<Placed>),
    /// Bulk: observed states, which only grow. An item is passed over when the task is gone, on another node, or already further.
    Report(Vec<Reported>),
    /// Forgets a task.
    RemoveTask {
        /// The task.
        task: TaskId,
        /// Version it was computed from.
        if_version: u64,
    },
}

/// One task's node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The task.
    pub task: TaskId,
    /// Its version when the node was chosen.
    pub if_version: u64,
    /// The node.
    pub node: NodeId,
}

/// One task's observed status.
#[derive(Clone, Debug, PartialEq)]
pub struct Reported {
    /// The task.
    pub task: TaskId,
    /// Who says so; must be the task's node. `None` for the managers' own verdicts.
    pub node: Option<NodeId>,
    /// What was seen.
    pub status: TaskStatus,
}
