//! Rolling replacement: which slots leave the old spec now.
//!
//! What an update has come to is read from the tasks, slot by slot; a new leader goes on where the old one was. Slots under
//! way hold their places until the new task runs (and the delay is over), so a task that does not come up stops the rollout
//! where it is.

use skep_proto::model::{DesiredState, Moment, Task, TaskState, UpdateStatus};

use super::plan::{Draft, Succession, retire};
use super::slot::{Phase, blockers};
use super::view::{Footing, Tasks, View};
use crate::store::Change;

/// The slots of a service, sorted by what an update makes of them.
#[derive(Debug, Default)]
pub(super) struct Rollout<'a> {
    /// Still to be replaced; the first of the pair says that a task runs there.
    outdated: Vec<(bool, &'a Tasks<'a>)>,
    /// Slots whose place is taken because their replacement does not run yet.
    under_way: usize,
    /// Slots whose place is taken because theirs has not run for long enough.
    delayed: usize,
    /// When the first of those gives its place back.
    delayed_until: Option<Moment>,
}

impl<'a> Rollout<'a> {
    /// Takes a slot into account. New slots and first tasks are not the update's, only tasks that replace others are.
    pub(super) fn add(&mut self, view: &View<'_>, tasks: &'a Tasks<'a>, phase: Phase) {
        let replaces = tasks.head().is_some_and(|head| head.replaces.is_some());
        match phase {
            Phase::Outdated { running } => self.outdated.push((running, tasks)),
            Phase::Finished { outdated: true, .. } => self.outdated.push((false, tasks)),
            Phase::Stuck | Phase::Finished { outdated: false, failed: true } => self.under_way += 1,
            Phase::Converging if replaces => self.under_way += 1,
            Phase::Settled { since } if replaces => self.add_settled(view, tasks, since),
            Phase::Settled { .. } | Phase::Converging | Phase::Finished { .. } | Phase::Vacant => {}
        }
    }

    /// Takes into account a slot in which something was just done.
    pub(super) fn add_changing(&mut self) {
        self.under_way += 1;
    }

    fn add_settled(&mut self, view: &View<'_>, tasks: &Tasks<'_>, since: Moment) {
        let Some(status) = under_way(view) else { return };
        let until = since + view.service.spec.update.delay;
        let made = tasks.head().map_or(Moment(0), |head| head.meta.created_at);
        // One that runs since a moment to come was seen by a leader whose clock is ahead of ours; that is not waited for.
        if made >= status.started_at && since <= view.now && until > view.now {
            self.delayed += 1;
            self.delayed_until = Some(self.delayed_until.map_or(until, |first| first.min(until)));
        }
    }

    /// Replaces as many slots as there are places. Those that serve nobody go first: nothing is lost with them.
    pub(super) fn advance(mut self, view: &View<'_>, draft: &mut Draft) {
        if self.outdated.is_empty() {
            return self.complete(view, draft);
        }
        let places = match usize::try_from(view.service.spec.update.parallelism) {
            Ok(0) | Err(_) => usize::MAX,
            Ok(places) => places,
        };
        self.outdated.sort_by_key(|(running, _)| *running);
        let free = places.saturating_sub(self.under_way + self.delayed);
        let mut opening = begin(view);
        for (_, tasks) in self.outdated.iter().take(free) {
            let mut changes: Vec<Change> = opening.take().into_iter().collect();
            changes.extend(replace(view, tasks, draft));
            draft.together(changes, || format!("{:?} goes over to the new spec", tasks.slot));
        }
        if let Some(until) = self.delayed_until {
            draft.wake(until);
        }
    }

    /// Nothing is left to replace: the update is over once the last replacement runs.
    fn complete(&self, view: &View<'_>, draft: &mut Draft) {
        let Some(status) = under_way(view).filter(|_| self.under_way == 0) else { return };
        let done = UpdateStatus {
            completed: true,
            completed_at: Some(view.now),
            message: "update completed".to_owned(),
            ..status.clone()
        };
        draft.together(vec![set_status(view, done)], || "every slot runs the new spec".to_owned());
    }
}

fn under_way<'a>(view: &View<'a>) -> Option<&'a UpdateStatus> {
    view.service.update_status.as_ref().filter(|status| !status.completed)
}

fn set_status(view: &View<'_>, status: UpdateStatus) -> Change {
    let (service, if_version) = (view.service.id, view.service.meta.version);
    Change::SetUpdateStatus { service, if_version, status: Some(status) }
}

/// The note that an update began, written together with the first slot that it touches.
fn begin(view: &View<'_>) -> Option<Change> {
    let message = "update in progress".to_owned();
    let status = UpdateStatus { completed: false, started_at: view.now, completed_at: None, message };
    under_way(view).is_none().then(|| set_status(view, status))
}

/// Replaces one slot's tasks. Stopping first, the old ones are told to stop and the new one to be prepared in one
/// transaction; it starts when they have stopped. Starting first, the one that runs stays until the new one runs.
fn replace(view: &View<'_>, tasks: &Tasks<'_>, draft: &mut Draft) -> Vec<Change> {
    let runs = |task: &&Task| task.status.state == TaskState::Running && view.footing(task) == Footing::Firm;
    let stays = tasks.wanted().find(runs);
    let stays = stays.filter(|task| view.service.spec.update.start_first && !view.is_single_writer(task));
    let goes: Vec<&Task> = tasks.wanted().filter(|task| stays.is_none_or(|stays| stays.id != task.id)).collect();
    let waits =
        stays.is_none() && (goes.iter().any(|task| task.holds_resources()) || blockers(view, tasks).next().is_some());
    let desired = if waits { DesiredState::Ready } else { DesiredState::Running };
    let replaces = stays.or(tasks.head()).or(tasks.newest()).map(|task| task.id);
    let mut changes: Vec<Change> = goes.into_iter().filter_map(|task| retire(task, DesiredState::Shutdown)).collect();
    let from = Succession { replaces, last_made: tasks.last_made(), ..Succession::default() };
    changes.push(draft.task(view.service, tasks.slot, desired, from));
    changes
}
