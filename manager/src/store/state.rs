//! The state and its indexes (interface first).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skep_proto::model::{Cluster, Node, NodeId, PortConfig, Protocol, Service, ServiceId, Slot, Task, TaskId};

use super::change::Transaction;
use super::error::Refusal;
use super::event::Touched;

/// Everything the cluster has agreed on, with the indexes that decisions need. Changed only by [`State::apply`].
#[derive(Clone, Debug, Default)]
pub struct State {}

/// What a node's tasks hold of it. Kept up with each change, so that the scheduler never counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Reserved by tasks that are assigned and not ended.
    pub nano_cpus: u64,
    /// Reserved by tasks that are assigned and not ended.
    pub memory_bytes: u64,
    /// Tasks meant to run there (desired <= RUNNING) and not ended.
    pub active: u32,
    /// The same by service.
    pub by_service: BTreeMap<ServiceId, u32>,
    /// Host-mode ports in use, with how many tasks hold each.
    pub host_ports: BTreeMap<(Protocol, u16), u32>,
}

impl State {
    /// Raft index of the last entry applied.
    #[must_use]
    pub fn index(&self) -> u64 {
        unimplemented!()
    }
    /// The cluster, once it was made.
    #[must_use]
    pub fn cluster(&self) -> Option<&Arc<Cluster>> {
        unimplemented!()
    }
    /// One node.
    #[must_use]
    pub fn node(&self, _id: NodeId) -> Option<&Arc<Node>> {
        unimplemented!()
    }
    /// All nodes, by id.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        std::iter::empty()
    }
    /// One service, a `removing` one too.
    #[must_use]
    pub fn service(&self, _id: ServiceId) -> Option<&Arc<Service>> {
        unimplemented!()
    }
    /// All services, `removing` ones too, by id.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        std::iter::empty()
    }
    /// The service of that name (case does not matter), unless it is being removed.
    #[must_use]
    pub fn service_by_name(&self, _name: &str) -> Option<&Arc<Service>> {
        unimplemented!()
    }
    /// One task.
    #[must_use]
    pub fn task(&self, _id: TaskId) -> Option<&Task> {
        unimplemented!()
    }
    /// All tasks, by id.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        std::iter::empty()
    }
    /// How many there are.
    #[must_use]
    pub fn task_count(&self) -> usize {
        unimplemented!()
    }
    /// Slots of a service, each with its tasks, oldest first.
    pub fn slots(&self, _service: ServiceId) -> impl Iterator<Item = (Slot, Vec<&Task>)> {
        std::iter::empty()
    }
    /// Tasks of one slot, oldest first.
    pub fn slot(&self, _service: ServiceId, _slot: Slot) -> impl Iterator<Item = &Task> {
        std::iter::empty()
    }
    /// Tasks assigned to a node, ended ones too.
    pub fn tasks_on(&self, _node: NodeId) -> impl Iterator<Item = &Task> {
        std::iter::empty()
    }
    /// Tasks that wait for a node (PENDING, desired <= RUNNING), in groups that share service and spec version.
    pub fn unassigned(&self) -> impl Iterator<Item = ((ServiceId, u64), &BTreeSet<TaskId>)> {
        std::iter::empty()
    }
    /// What a node's tasks hold.
    #[must_use]
    pub fn usage(&self, _node: NodeId) -> &Usage {
        unimplemented!()
    }
    /// Which live service has this ingress port.
    #[must_use]
    pub fn published_by(&self, _protocol: Protocol, _port: u16) -> Option<ServiceId> {
        unimplemented!()
    }
    /// Host-mode ports that a task of this service revision takes on its node.
    #[must_use]
    pub fn host_ports(_ports: &[PortConfig]) -> Vec<(Protocol, u16)> {
        unimplemented!()
    }
    /// Applies one entry's transactions, each whole or not at all; an outcome each: the index, or why not.
    pub fn apply(
        &mut self,
        _index: u64,
        _transactions: &[Transaction],
        _touched: &mut Touched,
    ) -> Vec<Result<u64, Refusal>> {
        unimplemented!()
    }
}
