//! One slot: what it looks like, and what it needs whatever the service as a whole is doing.
//!
//! A slot has at most one task desired RUNNING, but for three cases in which the old one must outlast the start of the new
//! one: an update that starts first, a node that is drained ([`super::courtesy`]), and a node that went down with a running
//! task (should it come back before its replacement runs, the task is kept). In each the new one names the old one in
//! `replaces`, and as soon as one of them is seen running where it should, the other is stopped. A slot has at most one task
//! desired READY: the next one.
//!
//! **Single writers.** Of a service that is stopped when its node is cut off no two tasks of a slot may ever run at the same time
//! ([`skep_proto::model::disconnect`]). Nothing of the above starts first there: the next one is desired READY, and becomes
//! RUNNING when every other of the slot is seen to have ended. For one on a node that is down the dispatcher says so, once
//! the node must have stopped it; no time that passes is enough here.

use std::time::Duration;

use skep_proto::model::spec::STOP_GRACE_DEFAULT;
use skep_proto::model::{DesiredState, Moment, Slot, Task, TaskState};

use super::courtesy;
use super::plan::{Draft, Succession, retire};
use super::restart::{self, Verdict};
use super::view::{Footing, Tasks, View};
use crate::store::Change;

/// What a node gets on top of the stop grace before a successor starts without its word: one missed heartbeat period, the
/// report, the commit, and a kernel that takes its time over the last process. Past it two copies may overlap, which is
/// better than none for ever.
pub const STOP_MARGIN: Duration = Duration::from_secs(10);

/// No moment, however late.
const NEVER: Moment = Moment(u64::MAX);

/// What a slot looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing is meant to run there and nothing ended for good: free to be filled.
    Vacant,
    /// Its last task ended and is not followed.
    Finished {
        /// That task ran an old spec.
        outdated: bool,
        /// It ended badly.
        failed: bool,
    },
    /// A task of the current spec runs, since then.
    Settled {
        /// When the managers learned of it.
        since: Moment,
    },
    /// A task of the current spec is on its way.
    Converging,
    /// Only tasks of an old spec are meant to run.
    Outdated {
        /// One of them does.
        running: bool,
    },
    /// A task of the current spec ended for good while one of an old spec still runs.
    Stuck,
}

/// Whether the task serves: it runs what it should where it may.
fn serves(view: &View<'_>, task: &Task) -> bool {
    task.status.state == TaskState::Running
        && task.desired == DesiredState::Running
        && view.footing(task) == Footing::Firm
        && !view.is_outdated(task)
}

/// Looks at a slot.
pub(super) fn phase(view: &View<'_>, tasks: &Tasks<'_>) -> Phase {
    let Some(head) = tasks.head() else { return phase_without_wanted(view, tasks) };
    if serves(view, head) {
        return Phase::Settled { since: head.status.applied_at };
    }
    if !view.is_outdated(head) || head.status.state.is_terminal() {
        return Phase::Converging;
    }
    let newest = tasks.newest().filter(|newest| !newest.desired.is_live() && !view.is_outdated(newest));
    if newest.is_some_and(|newest| restart::is_finished(view, newest)) {
        return Phase::Stuck;
    }
    Phase::Outdated { running: tasks.wanted().any(|task| task.status.state == TaskState::Running) }
}

fn phase_without_wanted(view: &View<'_>, tasks: &Tasks<'_>) -> Phase {
    match tasks.newest() {
        Some(task) if restart::is_finished(view, task) => {
            Phase::Finished { outdated: view.is_outdated(task), failed: task.status.state.is_failure() }
        }
        _ => Phase::Vacant,
    }
}

/// Gives a slot what it needs now: a successor for a task that ended or lost its node, the word to start, the end of one task
/// too many. One step at a time, because the next is planned from what this one led to. Says whether there was one.
pub(super) fn settle(view: &View<'_>, tasks: &Tasks<'_>, draft: &mut Draft) -> bool {
    let Some(head) = tasks.head() else { return false };
    if let Some(keeper) = tasks.wanted().find(|task| serves(view, task)) {
        return keep_only(tasks, keeper, draft);
    }
    if head.status.state.is_terminal() {
        return succeed_in_time(view, tasks, head, draft);
    }
    drop_needless(view, tasks, head, draft)
        || courtesy::give_up(view, tasks, head, draft)
        || unblock(view, tasks, head, draft)
        || relocate(view, tasks, head, draft)
        || promote(view, tasks, head, draft)
}

/// Stops everything in the slot but one task. What is older has been replaced and stays as history; what is newer was made
/// to replace a task that is back, and goes.
fn keep_only(tasks: &Tasks<'_>, keeper: &Task, draft: &mut Draft) -> bool {
    let place = tasks.all.iter().position(|task| task.id == keeper.id).unwrap_or(0);
    let end = |index: usize| if index < place { DesiredState::Shutdown } else { DesiredState::Remove };
    let others = tasks.all.iter().enumerate().filter(|(index, task)| *index != place && task.desired.is_live());
    let changes: Vec<Change> = others.filter_map(|(index, task)| retire(task, end(index))).collect();
    let acts = !changes.is_empty();
    draft.together(changes, || format!("{:?} needs no task besides {}", tasks.slot, keeper.id));
    acts
}

/// A task that failed while it was only being prepared has not used up its delay yet. Its successor is made when that is
/// over: it is prepared as soon as it exists, and would fail again at once, and so on without end.
fn succeed_in_time(view: &View<'_>, tasks: &Tasks<'_>, head: &Task, draft: &mut Draft) -> bool {
    let pending = delay_end(view, head).filter(|_| head.desired == DesiredState::Ready);
    if let Some(due) = pending {
        draft.wake(due);
        return false;
    }
    succeed(view, tasks, head, draft);
    true
}

/// A task ended. In one transaction it is shut down and its successor made, so that no moment sees the slot with both or
/// none. When nothing follows, tasks on lost nodes end with it: they had been replaced by the one that is now finished.
fn succeed(view: &View<'_>, tasks: &Tasks<'_>, head: &Task, draft: &mut Draft) {
    let mut changes: Vec<Change> = retire(head, DesiredState::Shutdown).into_iter().collect();
    match restart::judge(view, head) {
        Verdict::Again(from) => {
            let from = Succession { last_made: tasks.last_made(), ..from };
            changes.push(draft.task(view.service, tasks.slot, DesiredState::Ready, from));
            draft.together(changes, || format!("{:?}: task {} ended and is followed", tasks.slot, head.id));
        }
        Verdict::Finished => {
            let lost = tasks.wanted().filter(|task| task.id != head.id && view.footing(task) == Footing::Lost);
            changes.extend(lost.filter_map(|task| retire(task, DesiredState::Shutdown)));
            draft.together(changes, || format!("{:?}: task {} ended for good", tasks.slot, head.id));
        }
    }
}

/// Stops tasks older than the newest that have nothing left to offer: ended, lost or drained before they ran, drained while
/// the newest, on another drained node, runs as well, or older than one that runs, though that one may have to go, too.
fn drop_needless(view: &View<'_>, tasks: &Tasks<'_>, head: &Task, draft: &mut Draft) -> bool {
    let runs = |task: &&Task| task.status.state == TaskState::Running && view.footing(task) == Footing::Firm;
    let outlived = tasks.wanted().position(|task| Some(task.id) == tasks.wanted().rfind(runs).map(|task| task.id));
    let needless = |place: usize, task: &Task| match view.footing(task) {
        _ if outlived.is_some_and(|outlived| place < outlived) => true,
        Footing::Firm => task.status.state.is_terminal(),
        Footing::Drained => task.status.state != TaskState::Running || courtesy::runs_drained(view, head),
        Footing::Lost => task.status.state != TaskState::Running,
    };
    let older = tasks.wanted().enumerate().filter(|(place, task)| task.id != head.id && needless(*place, task));
    let older = older.map(|(_, task)| task);
    let changes: Vec<Change> = older.filter_map(|task| retire(task, DesiredState::Shutdown)).collect();
    let acts = !changes.is_empty();
    draft.together(changes, || format!("{:?}: older tasks than {} are done", tasks.slot, head.id));
    acts
}

/// Runs the slot elsewhere when its node may not have it any more. It is not the program's doing: no attempt is counted, the
/// restart condition is not asked, and there is no delay, which exists to keep a failing program from spinning.
fn relocate(view: &View<'_>, tasks: &Tasks<'_>, head: &Task, draft: &mut Draft) -> bool {
    match view.footing(head) {
        Footing::Firm => false,
        _ if matches!(head.slot, Slot::Node(_)) => false,
        Footing::Drained => courtesy::relocate(view, tasks, head, draft),
        Footing::Lost => {
            replace_lost(view, tasks, head, draft);
            true
        }
    }
}

/// A task that may still run on a node that is down is not given up before its replacement runs. A single writer's replacement is
/// only prepared: it waits for the word that the old one has stopped.
fn replace_lost(view: &View<'_>, tasks: &Tasks<'_>, head: &Task, draft: &mut Draft) {
    let restarts = restart::carried(view, head);
    let (start_after, last_made) = (head.start_after, tasks.last_made());
    let from = Succession { replaces: Some(head.id), start_after, restarts, last_made };
    let outlasts = head.status.state == TaskState::Running;
    let stop = if outlasts { None } else { retire(head, DesiredState::Shutdown) };
    let waits = blockers(view, tasks).next().is_some();
    let desired = if waits { DesiredState::Ready } else { head.desired };
    let new = draft.task(view.service, head.slot, desired, from);
    draft.together(stop.into_iter().chain([new]).collect(), || {
        format!("{:?}: task {} is replaced, its node is lost", head.slot, head.id)
    });
}

/// A single writer's node was lost and is back, and the spec has become another meanwhile: neither is its task what is wanted nor can
/// the prepared one start beside it. Of the two the outdated one goes; if both are, the one that does not run.
fn unblock(view: &View<'_>, tasks: &Tasks<'_>, head: &Task, draft: &mut Draft) -> bool {
    let is_old = |task: &&Task| task.id != head.id && view.is_outdated(task) && view.footing(task) == Footing::Firm;
    let blocks = |task: &&Task| head.desired == DesiredState::Ready && view.is_single_writer(task);
    let Some(old) = tasks.wanted().filter(is_old).find(blocks) else { return false };
    let goes =
        if view.is_outdated(head) { retire(head, DesiredState::Remove) } else { retire(old, DesiredState::Shutdown) };
    draft.together(goes.into_iter().collect(), || {
        format!("{:?}: tasks {} and {} may not run beside each other", tasks.slot, old.id, head.id)
    });
    true
}

/// Lets a prepared task start, once its delay is over and what it follows has stopped.
fn promote(view: &View<'_>, tasks: &Tasks<'_>, head: &Task, draft: &mut Draft) -> bool {
    if head.desired != DesiredState::Ready {
        return false;
    }
    let due = start_at(view, tasks, head);
    if due > view.now {
        if due < NEVER {
            draft.wake(due);
        }
        return false;
    }
    let start = Change::SetDesired { task: head.id, if_version: head.meta.version, desired: DesiredState::Running };
    draft.together(vec![start], || format!("{:?}: task {} may start", tasks.slot, head.id));
    true
}

/// When a prepared task may start even if nothing more is heard.
fn start_at(view: &View<'_>, tasks: &Tasks<'_>, head: &Task) -> Moment {
    let others = blockers(view, tasks).filter(|task| task.id != head.id);
    let stopped = others.map(|task| stop_deadline(view, task)).max();
    delay_end(view, head).max(stopped).unwrap_or(Moment(0))
}

/// When a task's delay will be over; `None` when it is. One that would last longer than the policy's was begun by a leader whose
/// clock is ahead of ours: it is over, since waiting for that clock could take for ever.
fn delay_end(view: &View<'_>, task: &Task) -> Option<Moment> {
    let longest = view.now + view.service.current().task.restart.delay;
    task.start_after.filter(|due| *due > view.now && *due <= longest)
}

/// Tasks of the slot that may still run and must not when another does. One that was asked to stop on a node that is down is not
/// waited for, since nothing will be heard of it; a single writer is, asked to stop or not.
pub(super) fn blockers<'a>(view: &View<'_>, tasks: &Tasks<'a>) -> impl Iterator<Item = &'a Task> {
    let blocks = |task: &&Task| {
        let stops = !task.desired.is_live() && view.footing(task) != Footing::Lost;
        task.holds_resources() && (stops || view.is_single_writer(task))
    };
    tasks.all.iter().copied().filter(blocks)
}

/// Nothing that passes makes it certain that a single writer has stopped; only its end does.
fn stop_deadline(view: &View<'_>, task: &Task) -> Moment {
    if view.is_single_writer(task) {
        return NEVER;
    }
    let grace = view.revision(task).map_or(STOP_GRACE_DEFAULT, |revision| revision.task.container.stop_grace);
    task.meta.updated_at + grace + STOP_MARGIN
}

/// Fills a vacant slot. What was stopped there a moment ago is waited for.
pub(super) fn fill(view: &View<'_>, slot: Slot, tasks: Option<&Tasks<'_>>, draft: &mut Draft) -> Change {
    let stopping = tasks.and_then(|tasks| blockers(view, tasks).last());
    let desired = if stopping.is_some() { DesiredState::Ready } else { DesiredState::Running };
    let last_made = tasks.map(Tasks::last_made).unwrap_or_default();
    let from = Succession { replaces: stopping.map(|task| task.id), last_made, ..Succession::default() };
    draft.task(view.service, slot, desired, from)
}

/// Ends a slot: everything in it is stopped and forgotten. Says whether there was anything left to do.
pub(super) fn end(tasks: &Tasks<'_>, draft: &mut Draft) -> bool {
    let changes: Vec<Change> = tasks.all.iter().filter_map(|task| retire(task, DesiredState::Remove)).collect();
    let acts = !changes.is_empty();
    draft.together(changes, || format!("{:?} is given up", tasks.slot));
    acts
}
