//! The courtesy that tasks on a drained node are shown, and tasks on a dead one are not: their replacement runs before they
//! stop where that can be, and a service keeps as many running as it asks for.
//!
//! **Start first.** The replacement is made at once and the old task runs on until it serves. It is stopped before, and the
//! replacement starts when it can, in three cases: the replacement has found no node within [`PLACE_TIME_MAX`] (no room, ports
//! or places taken on every other node); a replacement ended before it served; or the service is a single writer, of which
//! no two may ever run.
//!
//! **The minimum.** Such a stop takes a running task away, and is done only while more run than the service's minimum. What
//! runs is counted anew for each plan; what the plan itself stops is taken off. A plan that may stop nothing leaves the old
//! task alone and tries to replace it again after the restart delay, for as long as the node is drained.

use std::time::Duration;

use skep_proto::model::{DesiredState, Mode, Moment, Task, TaskState};

use super::plan::{Draft, Succession, retire};
use super::restart;
use super::view::{Footing, Tasks, View};
use crate::store::Change;

/// How long a replacement may wait for a node before the old task is stopped without it. The scheduler places thousands of
/// tasks a second, so one that waits for so long has found no room.
pub const PLACE_TIME_MAX: Duration = Duration::from_secs(2);

/// Shortest time between two replacements of one task that keeps running, whatever the restart delay is.
const AGAIN_MIN: Duration = Duration::from_secs(1);

/// How many running tasks may be stopped on purpose.
pub(super) fn spare<'a>(view: &View<'_>, slots: impl Iterator<Item = &'a Tasks<'a>>) -> usize {
    let Mode::Replicated { replicas } = view.service.spec.mode else { return usize::MAX };
    let demand = view.service.spec.min_available;
    if demand.of(replicas) == 0 {
        return usize::MAX;
    }
    let (mut available, mut finished) = (0, 0);
    for tasks in slots {
        available += usize::from(is_available(view, tasks));
        finished += u32::from(is_finished(view, tasks));
    }
    available.saturating_sub(usize::try_from(demand.of(replicas.saturating_sub(finished))).unwrap_or(usize::MAX))
}

/// Nothing is to run there any more: a share is one of those that are.
fn is_finished(view: &View<'_>, tasks: &Tasks<'_>) -> bool {
    tasks.head().is_none() && tasks.newest().is_some_and(|last| restart::is_finished(view, last))
}

/// Something runs there that is meant to.
fn is_available(view: &View<'_>, tasks: &Tasks<'_>) -> bool {
    tasks.wanted().any(|task| task.status.state == TaskState::Running && view.footing(task) != Footing::Lost)
}

/// Moves the slot's newest task off its drained node. Says whether there was anything to do now.
pub(super) fn relocate(view: &View<'_>, tasks: &Tasks<'_>, head: &Task, draft: &mut Draft) -> bool {
    let runs = head.status.state == TaskState::Running;
    let single = is_exclusive(view, head);
    if runs && single && !draft.may_stop() {
        return false;
    }
    if runs && !single && !(last_failed(tasks, head).is_some() && draft.may_stop()) {
        return start_first(view, tasks, head, draft);
    }
    if runs {
        draft.spend();
    }
    let stop = retire(head, DesiredState::Shutdown);
    let new = draft.task(view.service, head.slot, DesiredState::Ready, succession(view, tasks, head));
    draft.together(stop.into_iter().chain([new]).collect(), || {
        format!("{:?}: task {} leaves its drained node", head.slot, head.id)
    });
    true
}

/// Makes the replacement while the old task runs on; after one that failed, not before the restart delay is over.
fn start_first(view: &View<'_>, tasks: &Tasks<'_>, head: &Task, draft: &mut Draft) -> bool {
    let due = last_failed(tasks, head).map_or(Moment(0), |failed| failed.status.applied_at + pause(view));
    if due > view.now {
        draft.wake(due);
        return false;
    }
    let new = draft.task(view.service, head.slot, DesiredState::Running, succession(view, tasks, head));
    draft.together(vec![new], || format!("{:?}: task {} is replaced before it leaves its node", head.slot, head.id));
    true
}

fn pause(view: &View<'_>) -> Duration {
    view.service.current().task.restart.delay.max(AGAIN_MIN)
}

fn succession(view: &View<'_>, tasks: &Tasks<'_>, head: &Task) -> Succession {
    let (start_after, restarts) = (head.start_after, restart::carried(view, head));
    Succession { replaces: Some(head.id), start_after, restarts, last_made: tasks.last_made() }
}

/// Stops a task that runs on a drained node before its replacement serves, because that has no node or one before it ended.
pub(super) fn give_up(view: &View<'_>, tasks: &Tasks<'_>, head: &Task, draft: &mut Draft) -> bool {
    let Some(old) = tasks.wanted().find(|task| task.id != head.id && runs_drained(view, task)) else { return false };
    if !may_go(view, tasks, (old, head), draft) || !draft.may_stop() {
        return false;
    }
    draft.spend();
    let changes: Vec<Change> = retire(old, DesiredState::Shutdown).into_iter().collect();
    draft.together(changes, || format!("{:?}: task {} stops, its replacement does not run yet", tasks.slot, old.id));
    true
}

/// Whether nothing is gained by letting the old task run on until the new one does.
fn may_go(view: &View<'_>, tasks: &Tasks<'_>, (old, head): (&Task, &Task), draft: &mut Draft) -> bool {
    if is_exclusive(view, old) || last_failed(tasks, old).is_some() {
        return true;
    }
    if head.status.state != TaskState::Pending {
        return false;
    }
    // One that would wait for longer was made by a leader whose clock is ahead of ours.
    let due = (head.meta.created_at + PLACE_TIME_MAX).min(view.now + PLACE_TIME_MAX);
    if due > view.now {
        draft.wake(due);
    }
    due <= view.now
}

/// No other may run beside it: its own spec says so, or that of whatever would replace it.
fn is_exclusive(view: &View<'_>, task: &Task) -> bool {
    view.is_single_writer(task) || view.service.current().task.is_single_writer()
}

/// It runs where it may not stay.
pub(super) fn runs_drained(view: &View<'_>, task: &Task) -> bool {
    task.status.state == TaskState::Running && view.footing(task) == Footing::Drained
}

/// The last task made after that one which ended by itself: a replacement that did not do.
fn last_failed<'a>(tasks: &Tasks<'a>, old: &Task) -> Option<&'a Task> {
    let newer = tasks.all.iter().rev().copied().take_while(|task| task.id != old.id);
    let mut ended =
        newer.filter(|task| matches!(task.status.state, TaskState::Complete | TaskState::Failed | TaskState::Rejected));
    ended.next()
}
