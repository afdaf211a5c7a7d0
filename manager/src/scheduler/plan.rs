//! One pass over the tasks that wait for a node.

use std::collections::{BTreeMap, BTreeSet};

use skep_proto::model::{Mode, Moment, Seed, Service, ServiceId, Task, TaskId};

use super::failure::add_penalties;
use super::filter::Need;
use super::node_set::NodeSet;
use super::spread::Spread;
use crate::store::{Change, Placed, State, Transaction};

/// Most tasks placed by one pass. They are one proposal; applying it keeps readers out for a few milliseconds. The rest is
/// placed by the next pass, which follows at once.
pub const PLACED_MAX: usize = 4_096;

/// Tasks of one service and spec version: they need the same.
pub type Group = (ServiceId, u64);

/// What a pass comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Where tasks go.
    pub placed: Vec<Placed>,
    /// Why the tasks of a group that are left over have no node.
    pub waiting: Vec<(Group, String)>,
    /// It got to every task; otherwise another pass must follow.
    pub complete: bool,
}

impl Plan {
    /// The proposal, if any task was placed.
    #[must_use]
    pub fn transaction(placed: Vec<Placed>, at: Moment) -> Option<Transaction> {
        (!placed.is_empty()).then(|| Transaction { changes: vec![Change::Assign(placed)], at })
    }
}

/// Chooses nodes for the tasks that wait. Those of global services first: they have one node each, and the others can go
/// round what they take.
#[must_use]
pub fn plan(state: &State, now: Moment, seed: Seed) -> Plan {
    let mut pass = Pass { state, now, seed, nodes: NodeSet::new(state), plan: Plan::default() };
    pass.plan.complete = pass.run(Mode::Global) && pass.run(Mode::Replicated { replicas: 0 });
    pass.plan
}

struct Pass<'a> {
    state: &'a State,
    now: Moment,
    seed: Seed,
    nodes: NodeSet<'a>,
    plan: Plan,
}

impl<'a> Pass<'a> {
    /// Goes through the groups of services of that kind; says whether it got to the end.
    fn run(&mut self, kind: Mode) -> bool {
        let state = self.state;
        for (group, tasks) in state.unassigned() {
            let found = state.service(group.0).and_then(|service| Some((service, service.revisions.get(&group.1)?)));
            let Some((service, revision)) = found.filter(|(service, _)| is_kind(service, kind)) else { continue };
            self.nodes.turn_to(service.id);
            let need = Need::new(revision);
            let left = if kind == Mode::Global { self.confirm(&need, tasks) } else { self.spread(&need, tasks) };
            self.plan.waiting.extend(left.map(|reason| (group, reason)));
            if self.room() == 0 {
                return false;
            }
        }
        true
    }

    /// Places tasks that were made for a node, each if it fits there. Returns why some do not.
    fn confirm(&mut self, need: &Need<'_>, tasks: &BTreeSet<TaskId>) -> Option<String> {
        let mut left = Vec::new();
        let state = self.state;
        for task in tasks.iter().filter_map(|id| state.task(*id)) {
            if self.room() == 0 {
                break;
            }
            match task.node.and_then(|node| self.nodes.find(node)) {
                Some(index) if need.room(&self.nodes, index).is_ok() => self.place(need, task, index),
                Some(index) => left.push(index),
                None => {}
            }
        }
        (!left.is_empty()).then(|| need.explain(&self.nodes, left.into_iter()))
    }

    /// Places tasks wherever they fit. Returns why some fit nowhere.
    fn spread(&mut self, need: &Need<'_>, tasks: &BTreeSet<TaskId>) -> Option<String> {
        let chosen: Vec<&Task> = tasks.iter().take(self.room()).filter_map(|id| self.state.task(*id)).collect();
        let mut penalties = BTreeMap::new();
        for task in chosen.iter().filter(|task| task.replaces.is_some()) {
            add_penalties(self.state, task, self.now, &self.nodes, &mut penalties);
        }
        self.seed.draw();
        let mut spread = Spread::new(&self.nodes, need, &penalties, self.seed);
        for task in chosen {
            let Some(index) = spread.take(&self.nodes, need) else {
                return Some(need.explain(&self.nodes, 0..self.nodes.len()));
            };
            self.place(need, task, index);
        }
        None
    }

    /// How many more tasks this pass places.
    fn room(&self) -> usize {
        PLACED_MAX - self.plan.placed.len()
    }

    fn place(&mut self, need: &Need<'_>, task: &Task, index: usize) {
        self.nodes.place(index, need);
        let node = self.nodes.get(index).node.id;
        self.plan.placed.push(Placed { task: task.id, if_version: task.meta.version, node });
    }
}

fn is_kind(service: &Service, kind: Mode) -> bool {
    matches!(
        (service.spec.mode, kind),
        (Mode::Global, Mode::Global) | (Mode::Replicated { .. }, Mode::Replicated { .. })
    )
}
