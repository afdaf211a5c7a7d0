//! What must hold of the programs that really run.

use skep_manager::store::State;
use skep_proto::model::{NodeId, TaskId, TaskState};

use super::super::agent::Agent;
use super::super::executor::Phase;
use super::super::time::{SECOND, Us};
use super::{Checks, Verdict, broken};

/// A task that had just come to run may begin again after a power cut, since that it ran is written behind. See the agent's ledger; a
/// write may take its time, fail and be tried again, or wait for a machine that is frozen.
const LAZY_MAX: Us = 15 * SECOND;

/// Where and when a task was started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Starts {
    node: NodeId,
    at: Us,
    /// The machine lost its power before it could write down that the task ran.
    is_forgotten: bool,
}

impl Checks {
    /// A program was started.
    pub(crate) fn started(&mut self, node: NodeId, task: TaskId) -> Verdict {
        self.invariant_a_task_is_started_once_on_one_node(node, task)?;
        self.starts.insert(task, Starts { node, at: self.now, is_forgotten: false });
        Ok(())
    }

    /// A machine lost its power: what it started a moment ago it may start again.
    pub(crate) fn power_cut(&mut self, node: NodeId) {
        let now = self.now;
        let young = self.starts.values_mut().filter(|starts| starts.node == node && now - starts.at <= LAZY_MAX);
        young.for_each(|starts| starts.is_forgotten = true);
    }

    /// A task is one run: a second one, there or elsewhere, repeats what the first did, and no restart policy was asked.
    fn invariant_a_task_is_started_once_on_one_node(&self, node: NodeId, task: TaskId) -> Verdict {
        match self.starts.get(&task) {
            Some(starts) if starts.node != node => {
                let what = format!("task {task} was started on {} and is on {node}", starts.node);
                broken("a_task_is_started_once_on_one_node", what)
            }
            Some(starts) if !starts.is_forgotten => {
                broken("a_task_is_started_once_on_one_node", format!("task {task} was started twice on {node}"))
            }
            _ => Ok(()),
        }
    }
}

/// Of a service that stops on a cut-off node no two tasks of a slot run at the same true time, on whatever machines.
pub(crate) fn invariant_a_single_writer_runs_once(agents: &[Agent], task: TaskId) -> Verdict {
    let here = agents.iter().find_map(|agent| agent.executor.containers.get(&task)?.single);
    let Some(single) = here else { return Ok(()) };
    for agent in agents {
        for (other, container) in &agent.executor.containers {
            let same = container.single.is_some_and(|it| it.slot == single.slot) && *other != task;
            if same && container.phase == Phase::Running {
                let what = format!("task {task} of {:?} was started while {other} runs on {}", single.slot, agent.node);
                return broken("a_single_writer_runs_once", what);
            }
        }
    }
    Ok(())
}

/// An end that was told is the word to start a successor: if the task ran on, or again, there would be two.
pub(crate) fn invariant_a_task_that_ended_does_not_run(agents: &[Agent], state: &State, task: TaskId) -> Verdict {
    let node = state.task(task).and_then(|task| task.node);
    let agent = agents.iter().find(|agent| Some(agent.node) == node);
    let container = agent.and_then(|agent| agent.executor.containers.get(&task));
    match container.map(|container| &container.phase) {
        Some(Phase::Running) => {
            let what = format!("task {task} was told to have ended and runs on {node:?}");
            broken("a_task_that_ended_does_not_run", what)
        }
        _ => Ok(()),
    }
}

/// An acknowledged report is never sent again: if the managers did not keep it, nobody would ever know.
pub(crate) fn invariant_acknowledged_reports_are_stored(
    node: NodeId,
    state: &State,
    acked: &[(TaskId, TaskState)],
) -> Verdict {
    for (id, told) in acked {
        let stored = state.task(*id).filter(|task| task.node == Some(node));
        if let Some(task) = stored.filter(|task| task.status.state < *told) {
            let what = format!("task {id} was told to be {told:?} and is kept as {:?}", task.status.state);
            return broken("acknowledged_reports_are_stored", what);
        }
    }
    Ok(())
}
