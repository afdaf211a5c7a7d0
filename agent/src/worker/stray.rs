//! Containers that no task claimed when the daemon began: each is stopped and removed. The managers may assign its task again before it
//! is gone, when the list that had it was never written. Then the task waits, since a container has one name: what is still being done to
//! the old one would be done to the new one.

use std::collections::BTreeMap;
use std::time::Duration;

use skep_proto::model::TaskId;

use super::{Effect, Worker};
use crate::task::{self, Input};

/// Those that are not gone yet, each with what its task waits to have done.
pub(super) type Strays = BTreeMap<TaskId, Option<task::Effect>>;

impl Worker {
    /// A container that no task claims is stopped, then removed.
    pub(super) fn drop_stray(&mut self, id: TaskId) -> Effect {
        self.strays.insert(id, None);
        Effect::Stop(id, Duration::ZERO)
    }

    /// What follows for a stray; `None` when there is none, or the input is for its task.
    pub(super) fn stray_step(&mut self, id: TaskId, input: &Input) -> Option<Vec<Effect>> {
        self.strays.get(&id)?;
        match input {
            Input::Stopped(_) => Some(vec![Effect::Remove(id)]),
            Input::Removed(_) => {
                let waiting = self.strays.remove(&id).flatten();
                Some(waiting.and_then(|effect| self.translate(id, effect)).into_iter().collect())
            }
            _ => None,
        }
    }

    /// Whether that is done only once the stray is gone. A task that began with nothing asks for nothing else of its container.
    pub(super) fn waits_for_stray(&mut self, id: TaskId, effect: task::Effect) -> bool {
        let concerns = matches!(effect, task::Effect::Prepare | task::Effect::Remove);
        let stray = self.strays.get_mut(&id).filter(|_| concerns);
        stray.map(|waiting| *waiting = Some(effect)).is_some()
    }
}
