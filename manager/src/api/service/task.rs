//! Tasks.

use std::collections::BTreeSet;

use skep_proto::model::{NodeId, NodeState, ServiceId, Task, TaskId, TaskState};
use skep_proto::pb;

use super::control::{Answers, ControlService};
use super::list::{PAGE_MAX, listed};
use crate::api::held::held_back;
use crate::api::{ApiError, lookup};
use crate::store::{Soft, State};

impl ControlService {
    pub(super) fn tasks(&self, request: &pb::ListTasksRequest) -> Result<Answers<pb::TaskEntry>, ApiError> {
        let ids = chosen(&self.store.read(), request)?;
        Ok(listed(self.store.clone(), &ids, PAGE_MAX, entry))
    }

    pub(super) fn task(&self, word: &str) -> Result<pb::TaskEntry, ApiError> {
        let state = self.store.read();
        let id = lookup::task(&state, word)?.id;
        Ok(entry(&state, &self.store.soft(), id).ok_or_else(|| lookup::gone("task", &id))?)
    }
}

/// Tasks of the named services and on the named nodes; both, when both are named.
fn chosen(state: &State, request: &pb::ListTasksRequest) -> Result<Vec<TaskId>, ApiError> {
    let services: Result<BTreeSet<ServiceId>, _> =
        request.services.iter().map(|word| lookup::service(state, word).map(|service| service.id)).collect();
    let nodes: Result<BTreeSet<NodeId>, _> =
        request.nodes.iter().map(|word| lookup::node(state, word).map(|node| node.id)).collect();
    let (services, nodes) = (services?, nodes?);
    let on_node = |task: &&Task| nodes.is_empty() || task.node.is_some_and(|node| nodes.contains(&node));
    let ids = |tasks: &mut dyn Iterator<Item = &Task>| tasks.filter(on_node).map(|task| task.id).collect();
    Ok(match (services.is_empty(), nodes.is_empty()) {
        (true, true) => ids(&mut state.tasks()),
        (true, false) => ids(&mut nodes.iter().flat_map(|&node| state.tasks_on(node))),
        (false, _) => ids(&mut services.iter().flat_map(|&id| state.slots(id)).flat_map(|(_, tasks)| tasks)),
    })
}

fn entry(state: &State, soft: &Soft, id: TaskId) -> Option<pb::TaskEntry> {
    let task = state.task(id)?;
    let service = state.service(task.service);
    let node = task.node.and_then(|id| state.node(id));
    let down = node.map(|node| &node.status).filter(|status| status.state == NodeState::Down);
    let revision = service.and_then(|service| service.revisions.get(&task.spec_version));
    Some(pb::TaskEntry {
        task: Some(shown(state, task, soft)),
        service_name: service.map(|service| service.spec.name.to_string()).unwrap_or_default(),
        node_name: node.map(|node| node.description.hostname.clone()).unwrap_or_default(),
        image: revision.map(|revision| revision.task.container.image.clone()).unwrap_or_default(),
        ports: revision.iter().flat_map(|revision| &revision.ports).map(Into::into).collect(),
        node_down: down.is_some(),
        node_down_since: down.map_or(0, |status| status.since.0),
        node_down_reason: down.map(|status| status.message.clone()).unwrap_or_default(),
    })
}

/// The task with the newest that is known of it, and with the reason why it waits: for a node, for its node to take it on, or for another to end.
fn shown(state: &State, task: &Task, soft: &Soft) -> pb::Task {
    let node = task.node.and_then(|node| state.node(node));
    let mut status = pb::TaskStatus::from(soft.status(task));
    let on_its_way = task.desired.is_live() && task.status.state < TaskState::Running;
    if on_its_way && status.error.is_empty() {
        let trouble = node.map(|node| node.description.trouble.as_str());
        let waiting = || soft.waiting(task.service, task.spec_version).unwrap_or_default();
        status.error = trouble.unwrap_or_else(waiting).to_owned();
    }
    if status.error.is_empty() {
        status.error = held_back(state, task).unwrap_or_default();
    }
    pb::Task { status: Some(status), ..pb::Task::from(task) }
}
