//! Whom a change concerns. Not what happened: whoever is woken looks at the state.

use std::collections::BTreeSet;

use skep_proto::model::{NodeId, ServiceId};

/// What was touched since a subscriber last looked. Merging two is lossless, so a slow subscriber costs no memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Services whose spec, tasks or tasks' nodes changed.
    pub services: BTreeSet<ServiceId>,
    /// Nodes that must be told something: their set of assignments (not only reported states) changed, or their role.
    pub assignments: BTreeSet<NodeId>,
    /// Nodes whose own record changed, came or went.
    pub nodes: BTreeSet<NodeId>,
    /// A task waits for a node, or room came free.
    pub scheduling: bool,
    /// The cluster object changed.
    pub cluster: bool,
    /// The state was replaced (snapshot): everything must be looked at.
    pub all: bool,
}

impl Touched {
    /// Adds what another says.
    pub fn merge(&mut self, other: Self) {
        self.services.extend(other.services);
        self.assignments.extend(other.assignments);
        self.nodes.extend(other.nodes);
        self.scheduling |= other.scheduling;
        self.cluster |= other.cluster;
        self.all |= other.all;
    }

    /// Nobody need look.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
