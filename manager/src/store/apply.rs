//! One log entry becomes part of the state: each transaction whole or not at all.
//!
//! A change first checks everything and then acts, so a refused one has done nothing; what the changes before it did in the same
//! transaction is undone from the objects laid aside. The last change of a transaction needs no such copies, and nearly all
//! transactions have one change: a batch of 100,000 placements copies nothing.

use std::sync::Arc;

use skep_proto::model::{Cluster, Moment, Node, NodeId, Service, ServiceId, Task, TaskId};

use super::change::{Change, Transaction};
use super::error::Refusal;
use super::event::Touched;
use super::slab::Handle;
use super::state::State;

/// An object as it was; `None` when it was not there.
#[derive(Debug)]
enum Before {
    Cluster(Option<Arc<Cluster>>),
    Node(NodeId, Option<Arc<Node>>),
    Service(ServiceId, Option<Arc<Service>>),
    Task(TaskId, Option<Box<Task>>),
}

/// What an entry did, besides the state.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// Whom it concerns.
    pub(super) touched: Touched,
    /// Tasks whose stored state grew or that went: soft states may be obsolete.
    pub(super) settled: Vec<TaskId>,
}

/// One transaction on its way into the state.
#[derive(Debug)]
pub(super) struct Work<'a> {
    pub(super) state: &'a mut State,
    pub(super) at: Moment,
    pub(super) effects: Effects,
    /// Room came free: of interest if someone waits at the end.
    pub(super) freed: bool,
    /// The service touched last: a batch has many tasks of one in a row.
    last_service: Option<ServiceId>,
    laid_aside: Vec<Before>,
    /// Another change follows in the same transaction and may be refused.
    undoable: bool,
}

impl State {
    /// Applies one entry's transactions, each whole or not at all; an outcome each: the index, or why not.
    pub fn apply(
        &mut self,
        index: u64,
        transactions: Vec<Transaction>,
        touched: &mut Touched,
    ) -> Vec<Result<u64, Refusal>> {
        let mut effects = Effects::default();
        let outcomes = self.apply_with(index, transactions, &mut effects);
        touched.merge(effects.touched);
        outcomes
    }

    /// The same with all effects.
    pub(super) fn apply_with(
        &mut self,
        index: u64,
        transactions: Vec<Transaction>,
        effects: &mut Effects,
    ) -> Vec<Result<u64, Refusal>> {
        self.index = index;
        let apply = |transaction: Transaction| {
            let done = Work::new(self, transaction.at).run(transaction.changes)?;
            effects.touched.merge(done.touched);
            effects.settled.extend(done.settled);
            Ok(index)
        };
        transactions.into_iter().map(apply).collect()
    }
}

impl<'a> Work<'a> {
    fn new(state: &'a mut State, at: Moment) -> Self {
        let (effects, laid_aside) = (Effects::default(), Vec::new());
        Self { state, at, effects, freed: false, last_service: None, laid_aside, undoable: false }
    }

    fn run(mut self, changes: Vec<Change>) -> Result<Effects, Refusal> {
        let count = changes.len();
        for (place, change) in changes.into_iter().enumerate() {
            self.undoable = place + 1 < count;
            if let Err(refusal) = self.make(change) {
                self.undo();
                return Err(refusal);
            }
        }
        self.effects.touched.scheduling |= self.freed && !self.state.waiting.is_empty();
        Ok(self.effects)
    }

    fn make(&mut self, change: Change) -> Result<(), Refusal> {
        match change {
            Change::PutCluster(cluster) => self.put_cluster(*cluster),
            Change::UseToken(token) => self.use_token(&token.0),
            Change::PutNode(node) => self.put_node(*node),
            Change::SetNodeSpec { node, if_version, spec } => self.set_node_spec(node, if_version, spec),
            Change::SetNodeStatus { node, status, description } => self.set_node_status(node, status, description),
            Change::RemoveNode { node, if_version } => self.remove_node(node, if_version),
            Change::CreateService { service, spec } => self.create_service(service, *spec),
            Change::UpdateService { service, if_version, spec } => self.update_service(service, if_version, *spec),
            Change::RemoveService { service, if_version } => self.remove_service(service, if_version),
            Change::SetServicePorts { service, if_version, ports } => {
                self.set_service_ports(service, if_version, ports)
            }
            Change::SetUpdateStatus { service, if_version, status } => {
                self.set_update_status(service, if_version, status)
            }
            Change::CreateTask(task) => self.create_task(*task),
            Change::SetDesired { task, if_version, desired } => self.set_desired(task, if_version, desired),
            Change::Assign(placed) => {
                self.assign(&placed);
                Ok(())
            }
            Change::Report(reported) => {
                self.report(reported);
                Ok(())
            }
            Change::RemoveTask { task, if_version } => self.remove_task(task, if_version),
        }
    }

    /// Puts the objects back, the last one first, so that a task finds the revision that it had.
    fn undo(&mut self) {
        while let Some(before) = self.laid_aside.pop() {
            match before {
                Before::Cluster(cluster) => drop(self.state.set_cluster(cluster)),
                Before::Node(id, node) => drop(self.state.set_node(id, node)),
                Before::Service(id, service) => drop(self.state.set_service(id, service)),
                Before::Task(id, task) => self.undo_task(id, task),
            }
        }
    }

    fn undo_task(&mut self, id: TaskId, before: Option<Box<Task>>) {
        match (self.state.tasks.find(id), before) {
            (Some(handle), Some(before)) => drop(self.state.edit_task(handle, |task| *task = *before)),
            (Some(handle), None) => drop(self.state.remove_task(handle)),
            (None, Some(before)) => drop(self.state.insert_task(*before)),
            (None, None) => {}
        }
    }

    /// Puts the cluster.
    pub(super) fn write_cluster(&mut self, cluster: Cluster) {
        let before = self.state.set_cluster(Some(Arc::new(cluster)));
        self.lay_aside(Before::Cluster(before));
        self.effects.touched.cluster = true;
    }

    /// Puts or takes a node.
    pub(super) fn write_node(&mut self, id: NodeId, node: Option<Node>) {
        let before = self.state.set_node(id, node.map(Arc::new));
        self.lay_aside(Before::Node(id, before));
        self.effects.touched.nodes.insert(id);
    }

    /// Puts or takes a service.
    pub(super) fn write_service(&mut self, id: ServiceId, service: Option<Service>) {
        let before = self.state.set_service(id, service.map(Arc::new));
        self.lay_aside(Before::Service(id, before));
        self.touch(id);
    }

    /// Puts a new task.
    pub(super) fn write_task(&mut self, task: Task) -> Handle {
        self.lay_aside(Before::Task(task.id, None));
        self.touch(task.service);
        let handle = self.state.insert_task(task);
        self.effects.touched.scheduling |= super::index::waits(self.state.tasks.get(handle));
        handle
    }

    /// Changes a task, stamps it with this entry's index and wakes its service.
    pub(super) fn edit_task(&mut self, handle: Handle, edit: impl FnOnce(&mut Task)) {
        let (index, at) = (self.state.index, self.at);
        if self.undoable {
            let task = self.state.tasks.get(handle);
            self.laid_aside.push(Before::Task(task.id, Some(Box::new(task.clone()))));
        }
        let (before, after) = self.state.edit_task(handle, |task| {
            edit(task);
            task.meta.version = index;
            task.meta.updated_at = at;
        });
        self.touch(self.state.tasks.get(handle).service);
        self.effects.touched.scheduling |= after.waits && !before.waits;
        self.freed |= (before.holds && !after.holds) || (before.active && !after.active);
    }

    /// Takes a task.
    pub(super) fn take_task(&mut self, handle: Handle) -> ServiceId {
        let held = self.state.tasks.get(handle).holds_resources();
        let task = self.state.remove_task(handle);
        let service = task.service;
        self.freed |= held;
        self.effects.settled.push(task.id);
        self.touch(service);
        self.lay_aside(Before::Task(task.id, Some(Box::new(task))));
        service
    }

    fn touch(&mut self, service: ServiceId) {
        if self.last_service != Some(service) {
            self.last_service = Some(service);
            self.effects.touched.services.insert(service);
        }
    }

    fn lay_aside(&mut self, before: Before) {
        if self.undoable {
            self.laid_aside.push(before);
        }
    }
}
