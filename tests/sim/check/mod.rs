//! What must hold, whatever happens: each an `invariant_*` function with the reason why, looked at after every event that could
//! break it.

mod linear;
mod machines;
mod nodes;
mod rest;
mod tasks;
mod writes;

use std::collections::{BTreeMap, BTreeSet};

use skep_manager::store::{State, Touched};
use skep_proto::model::{NodeId, ServiceId, TaskId};

use super::time::Us;
pub(crate) use linear::invariant_the_control_api_is_linearizable;
pub(crate) use machines::{
    invariant_a_single_writer_runs_once, invariant_a_task_that_ended_does_not_run,
    invariant_acknowledged_reports_are_stored,
};
pub(crate) use rest::at_rest;
pub(crate) use writes::{invariant_reads_see_what_was_acknowledged, invariant_replicas_agree};

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Which invariant.
    pub(crate) name: &'static str,
    /// What was seen.
    pub(crate) what: String,
}

/// What an invariant says.
pub(crate) type Verdict = Result<(), Violation>;

/// A verdict against.
pub(crate) fn broken<T>(name: &'static str, what: String) -> Result<T, Violation> {
    Err(Violation { name, what })
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) now: Us,
    tasks: BTreeMap<TaskId, tasks::Seen>,
    of: BTreeMap<ServiceId, BTreeSet<TaskId>>,
    gone: BTreeSet<TaskId>,
    /// Tasks that may be the second of their slot, since there was a reason when they were made.
    doubles: BTreeSet<TaskId>,
    /// When nodes were last seen down, drained or gone.
    unfit_at: BTreeMap<NodeId, Us>,
    start_first_at: BTreeMap<ServiceId, Us>,
    /// Where each task was started, and how often.
    pub(crate) starts: BTreeMap<TaskId, machines::Starts>,
}

impl Checks {
    /// Looks at what an entry touched. Gives the tasks whose own node says that they have ended.
    pub(crate) fn applied(&mut self, state: &State, touched: &Touched) -> Result<Vec<TaskId>, Violation> {
        tasks::invariant_tasks_do_not_pile_up(state)?;
        self.note_nodes(state, touched);
        let mut ended = Vec::new();
        let mut nodes = BTreeSet::new();
        let mut services = touched.services.clone();
        if touched.all {
            services.extend(state.services().map(|service| service.id).chain(self.of.keys().copied()));
        }
        for service in services {
            self.look_at(state, service, &mut nodes, &mut ended)?;
        }
        nodes::invariant_published_ports_are_given_once(state, touched)?;
        for node in nodes {
            nodes::invariant_reservations_are_never_overcommitted(state, node)?;
            nodes::invariant_a_host_port_is_given_once_on_a_node(state, node)?;
            nodes::invariant_usage_is_what_a_count_gives(state, node)?;
        }
        Ok(ended)
    }

    fn note_nodes(&mut self, state: &State, touched: &Touched) {
        for id in touched.nodes.iter().filter(|id| state.node(**id).is_none_or(|node| node.sheds_tasks())) {
            self.unfit_at.insert(*id, self.now);
        }
    }
}
