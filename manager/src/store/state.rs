//! The state and what can be asked of it. How it changes is in `edit.rs` (keeping the indexes right) and `apply.rs` (the rules).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skep_proto::model::{Cluster, Node, NodeId, PortConfig, Protocol, Service, ServiceId, Slot, Task, TaskId};

use super::freeze::Frozen;
use super::index::{self, IDLE, NodeEntry, ServiceEntry, Usage};
use super::slab::{Handle, TaskTable};

/// Only asked for one name, never walked, so that its order decides nothing. Among a hundred thousand that begin
/// alike a tree would compare dozens for each that is made.
#[expect(clippy::disallowed_types, reason = "it is never walked")]
pub(super) type Names = std::collections::HashMap<String, ServiceId>;

/// Everything the cluster has agreed on, with the indexes that decisions need. Changed only by [`State::apply`].
#[derive(Clone, Debug, Default)]
pub struct State {
    pub(super) index: u64,
    pub(super) cluster: Option<Arc<Cluster>>,
    pub(super) nodes: BTreeMap<NodeId, NodeEntry>,
    pub(super) services: BTreeMap<ServiceId, ServiceEntry>,
    pub(super) tasks: TaskTable,
    /// Folded names of services that are not being removed.
    pub(super) names: Names,
    /// Ingress ports of services that are not being removed.
    pub(super) ports: BTreeMap<(Protocol, u16), ServiceId>,
    /// Fixed host-mode ports of services that are not being removed.
    pub(super) host_ports: BTreeSet<(Protocol, u16, ServiceId)>,
    /// Global services: every node that comes or changes concerns them.
    pub(super) globals: BTreeSet<ServiceId>,
    /// Tasks that wait for the scheduler.
    pub(super) waiting: BTreeMap<(ServiceId, u64), BTreeSet<TaskId>>,
    /// The moments that snapshots and backups are being written of, the oldest first.
    pub(super) frozen: Vec<Frozen>,
}

impl State {
    /// Raft index of the last entry applied.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The cluster, once it was made.
    #[must_use]
    pub fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.as_ref()
    }

    /// One node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(&id)?.node.as_ref()
    }

    /// All nodes, by id.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values().filter_map(|entry| entry.node.as_ref())
    }

    /// How many there are at most: some that have gone leave tasks behind. Costs nothing, where counting walks them all.
    #[must_use]
    pub fn nodes_max(&self) -> usize {
        self.nodes.len()
    }

    /// All managers, by node id.
    pub fn managers(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes().filter(|node| node.manager.is_some())
    }

    /// The manager of that Raft id.
    #[must_use]
    pub fn manager(&self, raft_id: u64) -> Option<&Arc<Node>> {
        self.managers().find(|node| node.manager.as_ref().is_some_and(|manager| manager.raft_id == raft_id))
    }

    /// All nodes, by id, each with what its tasks hold: one walk where a pass over all nodes would look each up.
    pub fn nodes_in_use(&self) -> impl Iterator<Item = (&Arc<Node>, &Usage)> {
        self.nodes.values().filter_map(|entry| Some((entry.node.as_ref()?, &entry.usage)))
    }

    /// One service, a `removing` one too.
    #[must_use]
    pub fn service(&self, id: ServiceId) -> Option<&Arc<Service>> {
        self.services.get(&id).map(|entry| &entry.service)
    }

    /// All services, `removing` ones too, by id.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values().map(|entry| &entry.service)
    }

    /// The service of that name (case does not matter), unless it is being removed.
    #[must_use]
    pub fn service_by_name(&self, name: &str) -> Option<&Arc<Service>> {
        self.service(*self.names.get(&name.to_ascii_lowercase())?)
    }

    /// One task.
    #[must_use]
    pub fn task(&self, id: TaskId) -> Option<&Task> {
        self.tasks.find(id).map(|handle| self.tasks.get(handle))
    }

    /// All tasks, by id.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.tasks.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn task_count(&self) -> usize {
        self.tasks.len()
    }

    /// Slots of a service, each with its tasks, oldest first.
    pub fn slots(&self, service: ServiceId) -> impl Iterator<Item = (Slot, Vec<&Task>)> {
        let slots = self.services.get(&service).into_iter().flat_map(ServiceEntry::slots);
        slots.map(|(slot, oldest)| (slot, self.chain(oldest).collect()))
    }

    /// Tasks of one slot, oldest first.
    pub fn slot(&self, service: ServiceId, slot: Slot) -> impl Iterator<Item = &Task> {
        self.chain(self.services.get(&service).map_or(Handle::NONE, |entry| entry.oldest(slot)))
    }

    /// Tasks of a service, in the order of their slots.
    pub fn tasks_of(&self, service: ServiceId) -> impl Iterator<Item = &Task> {
        let slots = self.services.get(&service).into_iter().flat_map(ServiceEntry::slots);
        slots.flat_map(|(_, oldest)| self.chain(oldest))
    }

    /// Tasks of a node that is there: assigned ones, ended ones too, and those made for it that still wait. In no order that means
    /// anything.
    pub fn tasks_on(&self, node: NodeId) -> impl Iterator<Item = &Task> {
        let entry = self.nodes.get(&node).filter(|entry| entry.node.is_some());
        entry.into_iter().flat_map(|entry| &entry.tasks).map(|&handle| self.tasks.get(handle))
    }

    /// Tasks that wait for a node (PENDING, desired <= RUNNING), in groups that share service and spec version. A task that was
    /// made for one node waits for the scheduler to find room there.
    pub fn unassigned(&self) -> impl Iterator<Item = ((ServiceId, u64), &BTreeSet<TaskId>)> {
        self.waiting.iter().map(|(&group, tasks)| (group, tasks))
    }

    /// What a node's tasks hold.
    #[must_use]
    pub fn usage(&self, node: NodeId) -> &Usage {
        self.nodes.get(&node).map_or(&IDLE, |entry| &entry.usage)
    }

    /// Which live service has this ingress port.
    #[must_use]
    pub fn published_by(&self, protocol: Protocol, port: u16) -> Option<ServiceId> {
        self.ports.get(&(protocol, port)).copied()
    }

    /// A live service other than this one that stands in the way of this ingress port: one that has it too, or one whose tasks take it
    /// on their nodes.
    #[must_use]
    pub fn port_taken_by(&self, protocol: Protocol, port: u16, except: ServiceId) -> Option<ServiceId> {
        let ingress = self.published_by(protocol, port).filter(|by| *by != except);
        let all = (protocol, port, ServiceId::new(0))..=(protocol, port, ServiceId::new(u128::MAX));
        let mut hosts = self.host_ports.range(all).map(|(.., by)| *by);
        ingress.or_else(|| hosts.find(|by| *by != except))
    }

    /// Host-mode ports that a task of this service revision takes on its node.
    #[must_use]
    pub fn host_ports(ports: &[PortConfig]) -> Vec<(Protocol, u16)> {
        index::host_ports(ports).collect()
    }

    fn chain(&self, oldest: Handle) -> impl Iterator<Item = &Task> {
        let some = |handle: Handle| (handle != Handle::NONE).then_some(handle);
        let handles = std::iter::successors(some(oldest), move |&handle| some(self.tasks.younger(handle)));
        handles.map(|handle| self.tasks.get(handle))
    }
}
