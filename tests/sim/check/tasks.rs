//! What must hold of tasks as they are stored.

use std::collections::BTreeSet;

use skep_manager::store::State;
use skep_proto::model::{DesiredState, NodeId, ServiceId, Task, TaskId, TaskState};

use super::super::time::{SECOND, Us};
use super::{Checks, Verdict, Violation, broken};

/// A plan may be this old when it is committed; what excused it may have passed meanwhile.
const PLAN_AGE_MAX: Us = 15 * SECOND;

/// What was last seen of a task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    state: TaskState,
    desired: DesiredState,
    node: Option<NodeId>,
}

/// Tasks in the state at one moment: several times what a hundred nodes ever had.
const TASKS_MAX: usize = 5_000;

/// A loop that never has enough of them would make every further event slower, and the run would have no end.
pub(super) fn invariant_tasks_do_not_pile_up(state: &State) -> Verdict {
    match state.task_count() {
        count if count > TASKS_MAX => broken("tasks_do_not_pile_up", format!("there are {count}, and more and more")),
        _ => Ok(()),
    }
}

impl Checks {
    /// Looks at all tasks of a service; notes the nodes that they concern, and those that ended by their own node's word.
    pub(super) fn look_at(
        &mut self,
        state: &State,
        service: ServiceId,
        nodes: &mut BTreeSet<NodeId>,
        ended: &mut Vec<TaskId>,
    ) -> Verdict {
        if state.service(service).is_some_and(|service| service.spec.update.start_first) {
            self.start_first_at.insert(service, self.now);
        }
        let before = self.of.remove(&service).unwrap_or_default();
        let mut present = BTreeSet::new();
        for (_, tasks) in state.slots(service) {
            for task in &tasks {
                present.insert(task.id);
                nodes.extend(task.node);
                if self.look_at_task(state, task)? {
                    ended.push(task.id);
                }
            }
            self.invariant_a_slot_has_one_task_desired_running(&tasks)?;
            invariant_a_slot_has_one_task_being_prepared(&tasks)?;
        }
        for id in before.difference(&present) {
            nodes.extend(self.tasks.remove(id).and_then(|seen| seen.node));
            self.gone.insert(*id);
        }
        if !present.is_empty() {
            self.of.insert(service, present);
        }
        Ok(())
    }

    /// Compares one task with what was seen before; whether it has just ended by its own node's word.
    fn look_at_task(&mut self, state: &State, task: &Task) -> Result<bool, Violation> {
        self.invariant_a_task_never_comes_back(task)?;
        let before = self.tasks.get(&task.id).copied();
        if let Some(before) = before {
            invariant_observed_states_never_go_back(task, before)?;
            invariant_desired_states_never_go_back(task, before)?;
            invariant_a_task_stays_on_its_node(task, before)?;
        }
        if before.is_none() && self.may_double(state, task) {
            self.doubles.insert(task.id);
        }
        let (now, desired) = (task.status.state, task.desired);
        self.tasks.insert(task.id, Seen { state: now, desired, node: task.node });
        let ends = now.is_terminal() && before.is_none_or(|before| !before.state.is_terminal());
        Ok(ends && is_own_word(task))
    }

    /// A second task may be wanted in a slot where an update starts first, or the task before it is on a node that is not heard of;
    /// and one that follows such a second task.
    fn may_double(&self, state: &State, task: &Task) -> bool {
        let recent = |at: Option<&Us>| at.is_some_and(|at| self.now - at <= PLAN_AGE_MAX);
        let starts_first = recent(self.start_first_at.get(&task.service));
        let others = state.slot(task.service, task.slot).filter(|other| other.id != task.id);
        let unfit =
            |node: NodeId| recent(self.unfit_at.get(&node)) || state.node(node).is_none_or(|node| node.sheds_tasks());
        let follows = task.replaces.is_some_and(|before| self.doubles.contains(&before));
        follows || starts_first || others.filter_map(|other| other.node).any(unfit)
    }

    /// Ids are drawn at random and never used again; a task that was forgotten and is there again would be started twice.
    fn invariant_a_task_never_comes_back(&self, task: &Task) -> Verdict {
        match self.gone.contains(&task.id) {
            true => broken("a_task_never_comes_back", format!("task {} was removed and is there again", task.id)),
            false => Ok(()),
        }
    }

    /// Two copies of what a user asked for once: for a program that writes, that is damage. Only where the old one must outlast the
    /// start of the new one may two be wanted.
    fn invariant_a_slot_has_one_task_desired_running(&self, tasks: &[&Task]) -> Verdict {
        let wanted = tasks.iter().filter(|t| t.desired == DesiredState::Running && !t.status.state.is_terminal());
        for task in wanted.skip(1) {
            if !self.doubles.contains(&task.id) {
                let all: Vec<_> = tasks.iter().map(|t| (t.id, t.desired, t.status.state, t.node)).collect();
                let what = format!("task {} is a second one in {:?}: {all:?}", task.id, task.slot);
                return broken("a_slot_has_one_task_desired_running", what);
            }
        }
        Ok(())
    }
}

/// The managers may end a task over its node's head; then it may still run.
fn is_own_word(task: &Task) -> bool {
    let verdict = task.status.state == TaskState::Rejected && &*task.status.message == "placement no longer allowed";
    let has_left = &*task.status.error == "its node has left the swarm";
    task.node.is_some() && (task.status.state != TaskState::Orphaned || has_left) && !verdict
}

/// More than one task being prepared is work for nothing, and which one starts would be chance.
fn invariant_a_slot_has_one_task_being_prepared(tasks: &[&Task]) -> Verdict {
    let ready = tasks.iter().filter(|t| t.desired == DesiredState::Ready && !t.status.state.is_terminal());
    match ready.count() {
        0 | 1 => Ok(()),
        more => broken("a_slot_has_one_task_being_prepared", format!("{more} in {:?}", tasks[0].slot)),
    }
}

/// A state that goes back would make a task that ended run again in everybody's eyes.
fn invariant_observed_states_never_go_back(task: &Task, before: Seen) -> Verdict {
    let (was, is) = (before.state, task.status.state);
    match is >= was {
        true => Ok(()),
        false => broken("observed_states_never_go_back", format!("task {}: {was:?} to {is:?}", task.id)),
    }
}

/// An agent that was told to stop has perhaps stopped already: an order cannot be taken back.
fn invariant_desired_states_never_go_back(task: &Task, before: Seen) -> Verdict {
    let (was, is) = (before.desired, task.desired);
    match is >= was {
        true => Ok(()),
        false => broken("desired_states_never_go_back", format!("task {}: {was:?} to {is:?}", task.id)),
    }
}

/// A task is one run on one node: on another node it would run twice.
fn invariant_a_task_stays_on_its_node(task: &Task, before: Seen) -> Verdict {
    match before.node {
        Some(was) if task.node != Some(was) => {
            broken("a_task_stays_on_its_node", format!("task {}: {was} to {:?}", task.id, task.node))
        }
        _ => Ok(()),
    }
}
