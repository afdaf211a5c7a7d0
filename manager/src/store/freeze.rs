//! A point in time held still while a snapshot of it is written, without copying the state and without stopping it.
//!
//! Nodes and services are shared values: holding them is cheap. Tasks lie in one table, so the snapshot walks the table a stretch at a
//! time, and whatever changes a task first lays the old one aside. Cost: one copy of each task that changes during the snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_proto::model::{Cluster, Node, Service, Task};

use super::slab::Handle;
use super::state::State;

/// The state at one index.
#[derive(Clone, Debug)]
pub(super) struct Frozen {
    /// Which of those that are held.
    pub(super) ticket: u64,
    /// Raft index of the last entry in it.
    pub(super) index: u64,
    /// The cluster.
    pub(super) cluster: Option<Arc<Cluster>>,
    /// All nodes.
    pub(super) nodes: Vec<Arc<Node>>,
    /// All services.
    pub(super) services: Vec<Arc<Service>>,
    /// Length of the task table; what lies beyond is younger.
    places: usize,
    /// Records as they were, of those that changed since.
    kept: BTreeMap<Handle, Option<Box<Task>>>,
}

impl State {
    /// Holds the present still, beside whatever else is held: a snapshot and a backup may be written at the same time.
    pub(super) fn freeze(&mut self) -> Frozen {
        let frozen = Frozen {
            ticket: self.frozen.last().map_or(0, |last| last.ticket + 1),
            index: self.index,
            cluster: self.cluster.clone(),
            nodes: self.nodes().cloned().collect(),
            services: self.services().cloned().collect(),
            places: self.tasks.places(),
            kept: BTreeMap::new(),
        };
        let here = Frozen { cluster: None, nodes: Vec::new(), services: Vec::new(), kept: BTreeMap::new(), ..frozen };
        self.frozen.push(here);
        frozen
    }

    /// Lets a frozen moment go. Dropping what is returned may take a while: do it without the lock.
    #[must_use]
    pub(super) fn thaw(&mut self, ticket: u64) -> Option<Frozen> {
        let place = self.frozen.iter().position(|frozen| frozen.ticket == ticket)?;
        Some(self.frozen.remove(place))
    }

    /// Tasks of a frozen moment in `count` places of the table from `from`, and where to go on, if not at the end. `None`: that moment
    /// is not held any more, because another state has taken the place of this one.
    pub(super) fn frozen_tasks(&self, ticket: u64, from: usize, count: usize) -> Option<(Vec<&Task>, Option<usize>)> {
        let frozen = self.frozen.iter().find(|frozen| frozen.ticket == ticket)?;
        let end = from.saturating_add(count).min(frozen.places);
        let tasks = (from..end).filter_map(|place| match frozen.kept.get(&Handle::at(place)) {
            Some(kept) => kept.as_deref(),
            None => self.tasks.at_place(place),
        });
        Some((tasks.collect(), (end < frozen.places).then_some(end)))
    }

    /// Lays a record aside before it changes.
    pub(super) fn keep(&mut self, handle: Handle) {
        for frozen in self.frozen.iter_mut().filter(|frozen| handle.place() < frozen.places) {
            let now = || self.tasks.at_place(handle.place()).map(|task| Box::new(task.clone()));
            frozen.kept.entry(handle).or_insert_with(now);
        }
    }
}
