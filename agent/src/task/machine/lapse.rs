//! A task whose node was cut off for longer than it may run.

use skep_proto::model::TaskState;

use super::TaskMachine;

impl TaskMachine {
    /// It may not be started before [`Input::Gate`](crate::task::Input::Gate) says so. No step: nothing is begun because of it.
    pub fn shut(&mut self) {
        self.gate = false;
    }

    /// One that was not started has nothing to stop: it goes on waiting at its gate.
    pub(super) fn lapse(&mut self, reason: String) {
        if self.is_begun() && self.lapsed.is_none() {
            self.lapsed = Some(reason.into());
            self.retry_at = None;
        }
    }

    /// Its program may run.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        (TaskState::Starting..=TaskState::Running).contains(&self.state)
    }

    /// Its program may run, and it was not found to have been cut off for too long.
    #[must_use]
    pub fn is_running_on(&self) -> bool {
        self.is_begun() && self.lapsed.is_none()
    }

    /// A task that the managers stopped needs no reason.
    pub(super) fn why_stopped(&self) -> String {
        self.lapsed.as_deref().filter(|_| self.desired.is_live()).unwrap_or_default().to_owned()
    }
}
