//! Placements and reports: thousands at a time, each item looked at alone and passed over when it has gone stale.

use skep_proto::model::{Task, TaskState, TaskStatus};

use super::super::apply::Work;
use super::super::change::{Placed, Reported};

impl Work<'_> {
    /// PENDING to ASSIGNED.
    pub(in super::super) fn assign(&mut self, placed: &[Placed]) {
        for item in placed {
            let Some(handle) = self.state.tasks.find(item.task) else { continue };
            let takes = self.state.nodes.get(&item.node).is_some_and(|entry| entry.takes);
            let task = self.state.tasks.get(handle);
            if !takes || !may_assign(task, item) {
                // It changed between plan and entry, and the change woke nobody, because the task waited before, too.
                self.effects.touched.scheduling |= super::super::index::waits(task);
                continue;
            }
            let status = TaskStatus::new(TaskState::Assigned, self.at, "assigned");
            self.edit_task(handle, |task| {
                task.node = Some(item.node);
                task.status = status;
            });
            self.effects.touched.tell(item.node, item.task);
        }
    }

    /// Observed states.
    pub(in super::super) fn report(&mut self, reported: Vec<Reported>) {
        for item in reported {
            let Some(handle) = self.state.tasks.find(item.task) else { continue };
            if !may_report(self.state.tasks.get(handle), &item) {
                continue;
            }
            // An agent knows what it says itself; what the managers decided over its head, it must be told.
            if item.node.is_none() {
                self.tell_node(handle);
            }
            let status = TaskStatus { applied_at: self.at, ..item.status };
            self.edit_task(handle, |task| task.status = status);
            self.effects.settled.push(item.task);
        }
    }
}

fn may_assign(task: &Task, placed: &Placed) -> bool {
    task.meta.version == placed.if_version
        && super::super::index::waits(task)
        && task.node.is_none_or(|node| node == placed.node)
}

/// States only grow. The same state again is taken when it says something new, as a changed port, but an end is told once.
fn may_report(task: &Task, reported: &Reported) -> bool {
    let (is, says) = (&task.status, &reported.status);
    let knows = reported.node.is_none_or(|node| task.node == Some(node) && is.state >= TaskState::Assigned);
    let moves = if says.state == is.state {
        !is.state.is_terminal() && TaskStatus { applied_at: is.applied_at, ..says.clone() } != *is
    } else {
        says.state > is.state && can_be(is.state, says.state)
    };
    knows && moves
}

/// ASSIGNED and what follows it needs a node: only a placement leads there. Before, a task becomes PENDING or ends.
fn can_be(is: TaskState, next: TaskState) -> bool {
    is >= TaskState::Assigned || next <= TaskState::Pending || next.is_terminal()
}
