//! The only ways in which the state changes: one object is put, changed or taken, and every index follows. No rule is here; undoing
//! a transaction is the same steps with the objects as they were.

use std::sync::Arc;

use skep_proto::model::{Cluster, Mode, Node, NodeId, Service, ServiceId, Task};

use super::index::{Footprint, NodeEntry, ServiceEntry, count_down};
use super::port::{claims, host_claims};
use super::slab::Handle;
use super::state::State;

impl State {
    /// Puts or takes the cluster; gives back what was there.
    pub(super) fn set_cluster(&mut self, cluster: Option<Arc<Cluster>>) -> Option<Arc<Cluster>> {
        std::mem::replace(&mut self.cluster, cluster)
    }

    /// Puts or takes a node; gives back what was there.
    pub(super) fn set_node(&mut self, id: NodeId, node: Option<Arc<Node>>) -> Option<Arc<Node>> {
        let entry = self.nodes.entry(id).or_default();
        entry.takes = node.as_ref().is_some_and(|node| node.takes_tasks());
        let before = std::mem::replace(&mut entry.node, node);
        self.drop_idle_node(id);
        before
    }

    /// Puts or takes a service; gives back what was there. One that has tasks may not be taken.
    pub(super) fn set_service(&mut self, id: ServiceId, service: Option<Arc<Service>>) -> Option<Arc<Service>> {
        let before = self.services.get(&id).map(|entry| Arc::clone(&entry.service));
        if let Some(before) = &before {
            self.unlist(before);
        }
        match service {
            Some(service) => self.list(service, before.as_deref()),
            None => drop(self.services.remove(&id)),
        }
        before
    }

    /// Takes a service's name and ports out of the indexes.
    fn unlist(&mut self, service: &Service) {
        for port in claims(service) {
            self.ports.remove(&port);
        }
        for (protocol, port) in host_claims(service) {
            self.host_ports.remove(&(protocol, port, service.id));
        }
        self.globals.remove(&service.id);
        if !service.removing {
            self.names.remove(&service.spec.name.folded());
        }
    }

    fn list(&mut self, service: Arc<Service>, before: Option<&Service>) {
        let id = service.id;
        self.ports.extend(claims(&service).into_iter().map(|port| (port, id)));
        self.host_ports.extend(host_claims(&service).into_iter().map(|(protocol, port)| (protocol, port, id)));
        if service.spec.mode == Mode::Global {
            self.globals.insert(id);
        }
        if !service.removing {
            self.names.insert(service.spec.name.folded(), id);
        }
        match before {
            None => drop(self.services.insert(id, ServiceEntry::new(service))),
            Some(before) if changes_usage(before, &service) => self.recount(&service),
            Some(_) => self.services.get_mut(&id).expect("just found").service = service,
        }
    }

    /// Replaces a service whose tasks' needs change with it: what they hold is given back under the old and taken up under the new.
    fn recount(&mut self, service: &Arc<Service>) {
        let handles: Vec<Handle> = self.tasks_of(service.id).filter_map(|task| self.tasks.find(task.id)).collect();
        let nothing = |at: Footprint| Footprint { holds: false, active: false, ..at };
        let footprints: Vec<_> = handles.iter().map(|&handle| Footprint::of(self.tasks.get(handle))).collect();
        for (&handle, &footprint) in handles.iter().zip(&footprints) {
            self.shift(handle, footprint, nothing(footprint));
        }
        self.services.get_mut(&service.id).expect("its tasks keep it").service = Arc::clone(service);
        for (&handle, &footprint) in handles.iter().zip(&footprints) {
            self.shift(handle, nothing(footprint), footprint);
        }
    }

    /// Puts a new task of a service that is there.
    pub(super) fn insert_task(&mut self, task: Task) -> Handle {
        self.keep(self.tasks.next_handle());
        let handle = self.tasks.insert(task);
        let task = self.tasks.get(handle);
        let (after, version) = (Footprint::of(task), task.spec_version);
        let entry = self.services.get_mut(&task.service).expect("a task's service is there as long as the task");
        *entry.tasks_by_version.entry(version).or_default() += 1;
        entry.chain(&mut self.tasks, handle);
        self.shift(handle, Footprint::NONE, after);
        handle
    }

    /// Takes a task.
    pub(super) fn remove_task(&mut self, handle: Handle) -> Task {
        self.keep(handle);
        let before = Footprint::of(self.tasks.get(handle));
        self.shift(handle, before, Footprint::NONE);
        let task = self.tasks.get(handle);
        let (service, version) = (task.service, task.spec_version);
        let entry = self.services.get_mut(&service).expect("a task's service is there as long as the task");
        count_down(&mut entry.tasks_by_version, version);
        entry.unchain(&mut self.tasks, handle);
        self.tasks.remove(handle)
    }

    /// Changes a task. Its id, service, slot, spec version and age stay: the indexes by them are not looked at.
    pub(super) fn edit_task(&mut self, handle: Handle, edit: impl FnOnce(&mut Task)) -> (Footprint, Footprint) {
        self.keep(handle);
        let task = self.tasks.get_mut(handle);
        let before = Footprint::of(task);
        edit(task);
        let after = Footprint::of(task);
        self.shift(handle, before, after);
        (before, after)
    }

    /// Moves what a task adds to the indexes.
    fn shift(&mut self, handle: Handle, before: Footprint, after: Footprint) {
        if before.waits != after.waits {
            self.shift_waiting(handle, after.waits);
        }
        if before.node == after.node {
            let same = (before.holds, before.active) == (after.holds, after.active);
            after.node.filter(|_| !same).into_iter().for_each(|node| self.shift_at(handle, node, before, after));
            return;
        }
        if let Some(node) = before.node {
            self.shift_at(handle, node, before, Footprint::NONE);
            self.drop_idle_node(node);
        }
        if let Some(node) = after.node {
            self.shift_at(handle, node, Footprint::NONE, after);
        }
    }

    /// Moves what a task adds to one node's entry.
    fn shift_at(&mut self, handle: Handle, node: NodeId, before: Footprint, after: Footprint) {
        let entry = self.nodes.entry(node).or_default();
        match (before.node, after.node) {
            (None, Some(_)) => {
                entry.tasks.insert(handle);
            }
            (Some(_), None) => {
                entry.tasks.remove(&handle);
            }
            _ => {}
        }
        if before.holds || after.holds {
            let task = self.tasks.get(handle);
            let service = self.services.get(&task.service).expect("a task's service is there as long as the task");
            let revision = service.revision(task.spec_version);
            entry.usage.sub(task.service, before, revision);
            entry.usage.add(task.service, after, revision);
        }
    }

    fn shift_waiting(&mut self, handle: Handle, waits: bool) {
        let task = self.tasks.get(handle);
        let (group, id) = ((task.service, task.spec_version), task.id);
        let tasks = self.waiting.entry(group).or_default();
        if waits {
            tasks.insert(id);
        } else {
            tasks.remove(&id);
        }
        if tasks.is_empty() {
            self.waiting.remove(&group);
        }
    }

    fn drop_idle_node(&mut self, id: NodeId) {
        let entry: Option<&NodeEntry> = self.nodes.get(&id);
        if entry.is_some_and(|entry| entry.node.is_none() && entry.tasks.is_empty()) {
            self.nodes.remove(&id);
        }
    }
}

/// A revision that stays takes other resources or ports than before. Only the choice of ports does that.
fn changes_usage(before: &Service, after: &Service) -> bool {
    let differs = |(version, old): (&u64, &Arc<skep_proto::model::Revision>)| {
        after.revisions.get(version).is_some_and(|new| !Arc::ptr_eq(old, new) && old != new)
    };
    before.revisions.iter().any(differs)
}
