//! Which nodes tasks go to, and what is said when they go nowhere.

mod filter;
mod property;
mod run;
mod spread;

use std::collections::BTreeMap;

use skep_proto::model::{ServiceId, Slot, Task};

use super::plan::{Plan, plan};
use crate::fixture::{World, node_id, pending};
use crate::store::{Change, Placed};

impl World {
    /// Makes so many more tasks of a replicated service.
    fn more(&mut self, service: ServiceId, count: u32) {
        let first = u32::try_from(self.state.slots(service).count()).unwrap() + 1;
        let tasks: Vec<Task> = (first..first + count).map(|slot| pending(self.seed.draw(), service, Slot::Replica(slot))).collect();
        self.apply(tasks.into_iter().map(|task| Change::CreateTask(Box::new(task))).collect());
    }

    /// Makes a task of a global service for each of the first nodes.
    fn on_each(&mut self, service: ServiceId, nodes: u32) {
        let tasks: Vec<Task> = (1..=nodes).map(|node| pending(self.seed.draw(), service, Slot::Node(node_id(node)))).collect();
        self.apply(tasks.into_iter().map(|task| Change::CreateTask(Box::new(task))).collect());
    }

    /// One pass, applied.
    fn schedule(&mut self) -> Plan {
        let seed = self.seed();
        let plan = plan(&self.state, self.now, seed);
        if let Some(transaction) = Plan::transaction(plan.placed.clone(), self.now) {
            self.commit(&[transaction]);
        }
        plan
    }

    /// Puts the service's waiting tasks onto a node without asking anyone.
    fn force_onto(&mut self, service: ServiceId, node: u32) {
        let waiting = self.state.unassigned().filter(|((of, _), _)| *of == service).flat_map(|(_, tasks)| tasks);
        let placed = waiting
            .map(|&task| Placed { task, if_version: self.state.task(task).unwrap().meta.version, node: node_id(node) })
            .collect();
        self.apply(vec![Change::Assign(placed)]);
    }

    /// How many live tasks of the service are on each node, by the node's number.
    fn counts(&self, service: ServiceId) -> BTreeMap<u32, u32> {
        let mut counts = BTreeMap::new();
        for task in self.state.tasks_of(service).filter(|task| task.is_live()) {
            if let Some(node) = task.node.filter(|_| task.holds_resources()) {
                *counts.entry(u32::try_from(node.bits()).unwrap()).or_default() += 1;
            }
        }
        counts
    }
}
