//! Whether a task that ended gets a successor, and when that one may start.
//!
//! The counters live in the tasks themselves ([`Task::restarts`]): a new leader knows them without history, and the history
//! limit has no say in how often something is restarted.

use skep_proto::model::{Moment, RestartCondition, RestartPolicy, Service, Task, TaskState};

use super::plan::Succession;
use super::view::View;

/// What follows a task that ended.
#[derive(Debug)]
pub(super) enum Verdict {
    /// A successor.
    Again(Succession),
    /// Nothing: the slot is finished until the spec changes.
    Finished,
}

/// Judges a task that ended while it was meant to run.
///
/// A task that was moved rather than ended (its node went away, or it may not be there any more) is always followed, and
/// that costs no attempt: the policy speaks of what the program did, and the program did nothing. There is no delay, either, except
/// after a verdict of the managers, which gives the old container the time to stop.
pub(super) fn judge(view: &View<'_>, task: &Task) -> Verdict {
    let policy = &view.service.current().task.restart;
    let mut restarts = counted(view.service, policy, task);
    let start_after = Some(view.now + policy.delay);
    if was_moved(view, task) {
        let start_after = start_after.filter(|_| task.status.state == TaskState::Rejected);
        return Verdict::Again(Succession { replaces: Some(task.id), start_after, restarts, ..Succession::default() });
    }
    if declines(policy, task, restarts.len()) {
        return Verdict::Finished;
    }
    record(policy, &mut restarts, view.now + policy.delay);
    Verdict::Again(Succession { replaces: Some(task.id), start_after, restarts, ..Succession::default() })
}

/// Whether the policy leaves a slot alone whose newest task ended like this. Asked of a task that was shut down by request it
/// says no: that slot is free.
pub(super) fn is_finished(view: &View<'_>, task: &Task) -> bool {
    let ended_itself = matches!(task.status.state, TaskState::Complete | TaskState::Failed | TaskState::Rejected);
    let policy = &view.service.current().task.restart;
    ended_itself && !was_moved(view, task) && declines(policy, task, counted(view.service, policy, task).len())
}

/// What a successor takes along that was not made because of an end: the same count.
pub(super) fn carried(view: &View<'_>, task: &Task) -> Vec<Moment> {
    let same = task.spec_version == view.service.spec_version;
    if same { task.restarts.clone() } else { Vec::new() }
}

/// Its node took it along, its agent stopped it unasked (as one that leaves does), or it may not be where it was.
fn was_moved(view: &View<'_>, task: &Task) -> bool {
    match task.status.state {
        TaskState::Orphaned | TaskState::Shutdown => true,
        TaskState::Rejected => !is_allowed(view, task),
        _ => false,
    }
}

fn is_allowed(view: &View<'_>, task: &Task) -> bool {
    view.node_of(task).is_none_or(|node| view.service.current().task.placement.allows(node))
}

fn declines(policy: &RestartPolicy, task: &Task, restarts: usize) -> bool {
    let wanted = match policy.condition {
        RestartCondition::None => false,
        RestartCondition::OnFailure => task.status.state != TaskState::Complete,
        RestartCondition::Any => true,
    };
    !wanted || policy.max_attempts.is_some_and(|max| restarts >= usize::try_from(max).unwrap_or(usize::MAX))
}

/// The restarts that count against a task's end: under the same spec version, and within the window before the end. The end
/// is dated by the managers' clock; the nodes' clocks may be anything.
fn counted(service: &Service, policy: &RestartPolicy, task: &Task) -> Vec<Moment> {
    if task.spec_version != service.spec_version {
        return Vec::new();
    }
    let since = policy.window.map_or(Moment(0), |window| task.status.applied_at - window);
    task.restarts.iter().copied().filter(|&at| at >= since).collect()
}

/// Adds a restart, dated when the successor may start and not when its predecessor ended: so a window shorter than the delay
/// still counts it. Without a limit nothing is kept, with one no more than it asks for.
fn record(policy: &RestartPolicy, restarts: &mut Vec<Moment>, at: Moment) {
    let Some(max) = policy.max_attempts else {
        restarts.clear();
        return;
    };
    restarts.push(at);
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let surplus = restarts.len().saturating_sub(max);
    restarts.drain(..surplus);
}
