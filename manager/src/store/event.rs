//! Whom a change concerns. Not what happened: whoever is woken looks at the state.

use std::collections::{BTreeMap, BTreeSet};

use skep_proto::model::{NodeId, ServiceId, TaskId};

/// What was touched since a subscriber last looked. Merging two is lossless, so a slow subscriber costs no memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Services whose spec, tasks or tasks' nodes changed.
    pub services: BTreeSet<ServiceId>,
    /// Nodes that must be told something: their set of assignments (not only reported states) changed, or their role.
    pub assignments: BTreeSet<NodeId>,
    /// Which tasks that concerns, by node. Only for who watches a node: loops are not told.
    pub tasks: BTreeMap<NodeId, Vec<TaskId>>,
    /// Nodes whose own record changed, came or went.
    pub nodes: BTreeSet<NodeId>,
    /// A task waits for a node, or room came free.
    pub scheduling: bool,
    /// The cluster object changed.
    pub cluster: bool,
    /// The state was replaced (snapshot): everything must be looked at.
    pub all: bool,
}

/// What somebody wants to hear of. That the state was replaced everybody hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topics {
    /// [`Touched::services`].
    pub services: bool,
    /// [`Touched::assignments`].
    pub assignments: bool,
    /// [`Touched::nodes`].
    pub nodes: bool,
    /// [`Touched::scheduling`].
    pub scheduling: bool,
    /// [`Touched::cluster`].
    pub cluster: bool,
}

impl Topics {
    /// To be said what is left out, or what is meant.
    pub const NONE: Self =
        Self { services: false, assignments: false, nodes: false, scheduling: false, cluster: false };
    /// Everything.
    pub const ALL: Self = Self { services: true, assignments: true, nodes: true, scheduling: true, cluster: true };
}

impl Touched {
    /// Adds what another says about these topics; `false`: nothing.
    pub fn hear(&mut self, other: &Self, topics: Topics) -> bool {
        let of = |wanted: bool, is_there: bool| wanted && is_there;
        let news = [
            of(topics.services, !other.services.is_empty()),
            of(topics.assignments, !other.assignments.is_empty()),
            of(topics.nodes, !other.nodes.is_empty()),
            of(topics.scheduling, other.scheduling),
            of(topics.cluster, other.cluster),
        ];
        let [services, assignments, nodes, scheduling, cluster] = news;
        self.services.extend(other.services.iter().filter(|_| services));
        self.assignments.extend(other.assignments.iter().filter(|_| assignments));
        self.nodes.extend(other.nodes.iter().filter(|_| nodes));
        self.scheduling |= scheduling;
        self.cluster |= cluster;
        self.all |= other.all;
        other.all || news.contains(&true)
    }

    /// Adds what another says.
    pub fn merge(&mut self, other: Self) {
        self.services.extend(other.services);
        self.assignments.extend(other.assignments);
        for (node, tasks) in other.tasks {
            self.tasks.entry(node).or_default().extend(tasks);
        }
        self.nodes.extend(other.nodes);
        self.scheduling |= other.scheduling;
        self.cluster |= other.cluster;
        self.all |= other.all;
    }

    /// A task's node must be told of it.
    pub(super) fn tell(&mut self, node: NodeId, task: TaskId) {
        self.assignments.insert(node);
        self.tasks.entry(node).or_default().push(task);
    }

    /// Nobody need look.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
