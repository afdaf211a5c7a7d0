//! Tasks that may not be where they are any more, because a label of their node changed.
//!
//! They are observed as REJECTED by the managers, and the ordinary path for tasks that ended replaces them; the reason is then
//! shown with the task. A change of the service's own constraints is not enforced here: it makes tasks outdated, and the
//! update replaces them at its pace.

use skep_proto::model::{Task, TaskState, TaskStatus};

use super::plan::Draft;
use super::view::{Footing, Tasks, View};
use crate::store::{Change, Reported};

/// Rejects the slot's tasks that match neither the constraints they were made with nor the current ones. Says whether there
/// were any. A verdict ends a task in the managers' eyes before it has stopped, so single writers get none: they are moved as off
/// a drained node.
pub(super) fn enforce(view: &View<'_>, tasks: &Tasks<'_>, draft: &mut Draft) -> bool {
    if !view.is_constrained {
        return false;
    }
    let verdicts: Vec<Reported> =
        tasks.wanted().filter(|task| is_misplaced(view, task)).map(|task| verdict(view, task)).collect();
    if verdicts.is_empty() {
        return false;
    }
    draft.together(vec![Change::Report(verdicts)], || format!("{:?} may not be on its node", tasks.slot));
    true
}

fn is_misplaced(view: &View<'_>, task: &Task) -> bool {
    task.holds_resources() && view.footing(task) == Footing::Firm && view.is_misplaced(task)
}

fn verdict(view: &View<'_>, task: &Task) -> Reported {
    let mut status = TaskStatus::new(TaskState::Rejected, view.now, "placement no longer allowed");
    status.error = "the node no longer satisfies the service's placement constraints".into();
    Reported { task: task.id, node: None, status }
}
