//! A service as the managers keep it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Meta;
use super::id::ServiceId;
use super::moment::Moment;
use super::spec::{PortConfig, ServiceSpec, TaskSpec};

/// A service and what the managers know of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its id.
    pub id: ServiceId,
    /// Version and times.
    pub meta: Meta,
    /// What the user wants now.
    pub spec: ServiceSpec,
    /// Grows with every accepted update of the spec.
    pub spec_version: u64,
    /// What the user wanted before the last update.
    pub previous_spec: Option<Box<ServiceSpec>>,
    /// The spec's ports with the allocator's choices; empty while a choice is still to be made.
    pub ports: Vec<PortConfig>,
    /// By spec version, what tasks that still exist run, the newest always among them, which is the spec's task with `ports`.
    pub revisions: BTreeMap<u64, Arc<Revision>>,
    /// Deleted by the user; kept until its last task is gone.
    pub removing: bool,
    /// The update under way or the last one, if it had to replace a task.
    pub update_status: Option<UpdateStatus>,
}

/// What tasks of one spec version run.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    /// The task spec.
    pub task: TaskSpec,
    /// Ports as published.
    pub ports: Vec<PortConfig>,
}

/// How a revision that tasks still run compares with the newest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Nothing that a container could notice differs.
    Same,
    /// Only where it may run differs: a task stays where it still fits.
    Placement,
    /// Tasks of it must be replaced.
    Outdated,
}

/// How far an update is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateStatus {
    /// Every slot runs the new spec.
    pub completed: bool,
    /// When the first slot was touched.
    pub started_at: Moment,
    /// When the last one ran.
    pub completed_at: Option<Moment>,
    /// One sentence.
    pub message: String,
}

impl Service {
    /// The revision that new tasks get.
    ///
    /// # Panics
    /// Never: the newest revision is always kept.
    #[must_use]
    pub fn current(&self) -> &Arc<Revision> {
        self.revisions.get(&self.spec_version).expect("the newest revision is always kept")
    }

    /// How each revision compares with the newest, by spec version.
    #[must_use]
    pub fn freshness(&self) -> BTreeMap<u64, Freshness> {
        let newest = self.current();
        self.revisions.iter().map(|(&version, revision)| (version, compare(revision, newest))).collect()
    }

    /// Whether every port of the spec has a number.
    #[must_use]
    pub fn ports_allocated(&self) -> bool {
        self.ports.len() == self.spec.ports.len()
    }
}

/// Nearly always it is the newest one itself.
fn compare(revision: &Arc<Revision>, newest: &Arc<Revision>) -> Freshness {
    if Arc::ptr_eq(revision, newest) || revision == newest {
        return Freshness::Same;
    }
    let mut moved = Revision::clone(revision);
    moved.task.placement = newest.task.placement.clone();
    if moved == **newest { Freshness::Placement } else { Freshness::Outdated }
}

#[cfg(test)]
mod tests {
    use super::super::spec::{Constraint, MinAvailable, Mode, UpdateConfig};
    use super::*;
    use crate::model::ServiceName;

    #[test]
    fn a_revision_is_told_by_what_a_container_could_notice() {
        let revision = |change: &dyn Fn(&mut Revision)| {
            let mut revision = Revision { task: TaskSpec::default(), ports: Vec::new() };
            change(&mut revision);
            Arc::new(revision)
        };
        let zone = Constraint { key: "node.labels.zone".into(), equal: true, value: "a".into() };
        let newest = revision(&|_| {});
        let revisions = BTreeMap::from([
            (1, revision(&|it| it.task.container.image = "web:1".into())),
            (2, revision(&|it| it.task.placement.constraints = vec![zone.clone()])),
            (3, revision(&|_| {})),
            (4, Arc::clone(&newest)),
        ]);
        let spec = ServiceSpec {
            name: ServiceName::new("web").unwrap(),
            labels: BTreeMap::new(),
            task: newest.task.clone(),
            mode: Mode::Global,
            ports: Vec::new(),
            update: UpdateConfig::default(),
            min_available: MinAvailable::default(),
        };
        let service = Service {
            id: ServiceId::new(1),
            meta: Meta::default(),
            spec,
            spec_version: 4,
            previous_spec: None,
            ports: Vec::new(),
            revisions,
            removing: false,
            update_status: None,
        };
        let told: Vec<Freshness> = service.freshness().into_values().collect();
        assert_eq!(told, [Freshness::Outdated, Freshness::Placement, Freshness::Same, Freshness::Same]);
    }
}
