//! What a reader asks of whom.

use std::collections::{BTreeMap, BTreeSet};

use skep_proto::model::{NodeId, NodeState, ServiceId, Slot, Task, TaskId, TaskState};
use skep_proto::pb;

use crate::store::State;

/// One reader's request and how far it is.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// All tasks of these.
    pub services: Vec<ServiceId>,
    /// And these.
    pub tasks: Vec<TaskId>,
    /// Tasks that were asked for, or found missing.
    asked: BTreeSet<TaskId>,
    /// Tasks whose names the reader has.
    named: BTreeSet<TaskId>,
}

/// What is to be asked, and what cannot be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asks {
    /// Tasks by the node that has their logs.
    pub parts: BTreeMap<NodeId, Vec<TaskId>>,
    /// Sentences for the reader.
    pub warnings: Vec<String>,
}

impl Reading {
    /// Nothing has been asked yet.
    #[must_use]
    pub fn new(services: Vec<ServiceId>, tasks: Vec<TaskId>) -> Self {
        Self { services, tasks, ..Self::default() }
    }

    /// What to ask now that was not asked before.
    pub fn next(&mut self, state: &State) -> Asks {
        let of_services = self.services.iter().flat_map(|&id| state.slots(id)).flat_map(|(_, tasks)| tasks);
        let named = self.tasks.iter().filter_map(|&id| state.task(id));
        let new = |task: &&Task| has_logs(task) && !self.asked.contains(&task.id);
        let wanted: Vec<&Task> = of_services.chain(named).filter(new).collect();
        let mut parts: BTreeMap<NodeId, Vec<TaskId>> = BTreeMap::new();
        for task in wanted {
            if let (Some(node), true) = (task.node, self.asked.insert(task.id)) {
                parts.entry(node).or_default().push(task.id);
            }
        }
        let away: Vec<NodeId> = parts.keys().copied().filter(|&node| !answers(state, node)).collect();
        let missing = |node: NodeId| parts.remove(&node).map(|tasks| missing(state, node, tasks.len(), "is down"));
        let warnings = away.into_iter().filter_map(missing).collect();
        Asks { parts, warnings }
    }

    /// Names for the tasks of these lines that the reader has not got yet.
    pub fn sources(&mut self, lines: &[pb::LogLine], state: &State) -> Vec<pb::LogSource> {
        let ids = lines.iter().filter_map(|line| TaskId::from_bytes(&line.task).ok());
        let new: BTreeSet<TaskId> = ids.filter(|id| !self.named.contains(id)).collect();
        self.named.extend(&new);
        new.into_iter().filter_map(|id| source(state, id)).collect()
    }
}

/// Whether a node can be asked at all.
#[must_use]
pub fn answers(state: &State, node: NodeId) -> bool {
    state.node(node).is_some_and(|node| node.status.state != NodeState::Down)
}

/// The sentence for logs that cannot be had.
#[must_use]
pub fn missing(state: &State, node: NodeId, tasks: usize, why: &str) -> String {
    let name = state.node(node).map_or_else(|| node.to_string(), |node| node.description.hostname.clone());
    let tasks = if tasks == 1 { "a task".to_owned() } else { format!("{tasks} tasks") };
    format!("incomplete logs: node {name} {why}; it has those of {tasks}")
}

/// It has run, or does.
fn has_logs(task: &Task) -> bool {
    task.node.is_some()
        && matches!(
            task.status.state,
            TaskState::Running | TaskState::Complete | TaskState::Shutdown | TaskState::Failed
        )
}

fn source(state: &State, id: TaskId) -> Option<pb::LogSource> {
    let task = state.task(id)?;
    let node = task.node.and_then(|node| state.node(node));
    Some(pb::LogSource {
        task: id.to_bytes(),
        service_name: state.service(task.service).map(|s| s.spec.name.to_string()).unwrap_or_default(),
        slot: match task.slot {
            Slot::Replica(number) => number,
            Slot::Node(_) => 0,
        },
        node: task.node.map(NodeId::to_bytes).unwrap_or_default(),
        node_name: node.map(|node| node.description.hostname.clone()).unwrap_or_default(),
    })
}
