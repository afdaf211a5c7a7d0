//! What is kept beside each node and each service so that nothing has to be counted or searched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skep_proto::model::{Node, NodeId, PortConfig, Protocol, PublishMode, Revision, Service, ServiceId, Slot, Task};

use super::slab::{Handle, TaskTable};

/// What a node's tasks hold of it. Kept up with each change, so that the scheduler never counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Reserved by tasks that are assigned and not ended.
    pub nano_cpus: u64,
    /// Reserved by tasks that are assigned and not ended.
    pub memory_bytes: u64,
    /// Tasks assigned to it, meant to run (desired <= RUNNING) and not ended.
    pub active: u32,
    /// The same by service.
    pub by_service: BTreeMap<ServiceId, u32>,
    /// Host-mode ports in use by tasks that are assigned and not ended, with how many tasks hold each.
    pub host_ports: BTreeMap<(Protocol, u16), u32>,
}

/// What a node without tasks holds.
pub(super) static IDLE: Usage =
    Usage { nano_cpus: 0, memory_bytes: 0, active: 0, by_service: BTreeMap::new(), host_ports: BTreeMap::new() };

/// A node and its tasks. The entry outlives the node while a task still names it.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeEntry {
    pub(super) node: Option<Arc<Node>>,
    /// The node is there and takes new tasks: asked for each placement, and not worth a step to the node itself.
    pub(super) takes: bool,
    pub(super) tasks: BTreeSet<Handle>,
    pub(super) usage: Usage,
}

/// A service and its tasks.
#[derive(Clone, Debug)]
pub(super) struct ServiceEntry {
    pub(super) service: Arc<Service>,
    /// The oldest task of each slot of a replicated service. Apart from the other map because a number takes a fifth of a slot.
    pub(super) replicas: BTreeMap<u32, Handle>,
    /// The oldest task of each slot of a global service.
    pub(super) on_nodes: BTreeMap<NodeId, Handle>,
    /// Tasks by the spec version that they run; never zero.
    pub(super) tasks_by_version: BTreeMap<u64, u32>,
}

/// What one task adds to the indexes. A change of a task moves them from the one to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footprint {
    pub(super) node: Option<NodeId>,
    /// It waits for the scheduler.
    pub(super) waits: bool,
    /// It holds its node's resources and ports.
    pub(super) holds: bool,
    /// It holds them and is meant to go on.
    pub(super) active: bool,
}

impl Footprint {
    /// Of a task that is not there.
    pub(super) const NONE: Self = Self { node: None, waits: false, holds: false, active: false };

    /// Of a task as it is.
    pub(super) fn of(task: &Task) -> Self {
        let holds = task.holds_resources();
        Self { node: task.node, waits: waits(task), holds, active: holds && task.desired.is_live() }
    }
}

/// It waits for a node, or for the leave to run on the one that it was made for.
pub(super) fn waits(task: &Task) -> bool {
    task.status.state == skep_proto::model::TaskState::Pending && task.desired.is_live()
}

/// Host-mode ports with a fixed number: those two tasks cannot share on one node.
pub(super) fn host_ports(ports: &[PortConfig]) -> impl Iterator<Item = (Protocol, u16)> {
    let fixed = ports.iter().filter(|port| port.mode == PublishMode::Host && port.published != 0);
    fixed.map(|port| (port.protocol, port.published))
}

impl Usage {
    /// Takes up what a task needs. The sums wrap so that giving back is exact; the scheduler places no more than a machine has, far
    /// below 2^64.
    pub(super) fn add(&mut self, service: ServiceId, footprint: Footprint, revision: &Revision) {
        if footprint.holds {
            let reserved = &revision.task.reservations;
            self.nano_cpus = self.nano_cpus.wrapping_add(reserved.nano_cpus);
            self.memory_bytes = self.memory_bytes.wrapping_add(reserved.memory_bytes);
            host_ports(&revision.ports).for_each(|port| *self.host_ports.entry(port).or_default() += 1);
        }
        if footprint.active {
            self.active += 1;
            *self.by_service.entry(service).or_default() += 1;
        }
    }

    /// Gives back what a task needed.
    pub(super) fn sub(&mut self, service: ServiceId, footprint: Footprint, revision: &Revision) {
        if footprint.holds {
            let reserved = &revision.task.reservations;
            self.nano_cpus = self.nano_cpus.wrapping_sub(reserved.nano_cpus);
            self.memory_bytes = self.memory_bytes.wrapping_sub(reserved.memory_bytes);
            host_ports(&revision.ports).for_each(|port| count_down(&mut self.host_ports, port));
        }
        if footprint.active {
            self.active -= 1;
            count_down(&mut self.by_service, service);
        }
    }
}

/// One less; an entry at zero goes. Returns what is left.
pub(super) fn count_down<K: Ord + Copy>(counts: &mut BTreeMap<K, u32>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

impl ServiceEntry {
    /// A service without tasks.
    pub(super) fn new(service: Arc<Service>) -> Self {
        Self { service, replicas: BTreeMap::new(), on_nodes: BTreeMap::new(), tasks_by_version: BTreeMap::new() }
    }

    /// What a task of this service runs.
    pub(super) fn revision(&self, version: u64) -> &Arc<Revision> {
        self.service.revisions.get(&version).expect("a revision is kept while a task refers to it")
    }

    /// The oldest task of a slot.
    pub(super) fn oldest(&self, slot: Slot) -> Handle {
        let handle = match slot {
            Slot::Replica(number) => self.replicas.get(&number),
            Slot::Node(node) => self.on_nodes.get(&node),
        };
        handle.copied().unwrap_or(Handle::NONE)
    }

    /// All slots that have tasks, in order, each with its oldest task.
    pub(super) fn slots(&self) -> impl Iterator<Item = (Slot, Handle)> {
        let replicas = self.replicas.iter().map(|(&number, &handle)| (Slot::Replica(number), handle));
        replicas.chain(self.on_nodes.iter().map(|(&node, &handle)| (Slot::Node(node), handle)))
    }

    fn set_oldest(&mut self, slot: Slot, handle: Handle) {
        match (slot, handle == Handle::NONE) {
            (Slot::Replica(number), false) => self.replicas.insert(number, handle),
            (Slot::Replica(number), true) => self.replicas.remove(&number),
            (Slot::Node(node), false) => self.on_nodes.insert(node, handle),
            (Slot::Node(node), true) => self.on_nodes.remove(&node),
        };
    }

    /// Puts a task into its slot's chain by age. Ids decide between tasks of one moment, so that every replica has one order.
    pub(super) fn chain(&mut self, tasks: &mut TaskTable, handle: Handle) {
        let (slot, age) = (tasks.get(handle).slot, age(tasks.get(handle)));
        let (mut before, mut after) = (Handle::NONE, self.oldest(slot));
        while after != Handle::NONE && self::age(tasks.get(after)) < age {
            (before, after) = (after, tasks.younger(after));
        }
        tasks.set_younger(handle, after);
        self.join(tasks, slot, (before, handle));
    }

    /// Takes a task out of its slot's chain.
    pub(super) fn unchain(&mut self, tasks: &mut TaskTable, handle: Handle) {
        let slot = tasks.get(handle).slot;
        let (mut before, mut here) = (Handle::NONE, self.oldest(slot));
        while here != handle {
            assert!(here != Handle::NONE, "every task is in its slot's chain");
            (before, here) = (here, tasks.younger(here));
        }
        let after = tasks.younger(handle);
        self.join(tasks, slot, (before, after));
    }

    fn join(&mut self, tasks: &mut TaskTable, slot: Slot, (before, after): (Handle, Handle)) {
        if before == Handle::NONE {
            self.set_oldest(slot, after);
        } else {
            tasks.set_younger(before, after);
        }
    }
}

fn age(task: &Task) -> (skep_proto::model::Moment, skep_proto::model::TaskId) {
    (task.meta.created_at, task.id)
}
