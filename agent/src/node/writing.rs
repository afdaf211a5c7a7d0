//! The task list goes to the disk before anything that hangs on it is done or told.

use std::time::Duration;

use skep_proto::model::{Moment, TaskId};

use super::{Effect, NodeMachine};
use crate::order::{Blame, Fault};
use crate::task::Input;
use crate::worker::TaskList;

/// Delay before the list is written again after the disk refused.
const REWRITE_DELAY: Duration = Duration::from_secs(1);

impl NodeMachine {
    /// A task is started only when it is on disk: a daemon that dies between the two would find a container that nobody claims,
    /// remove it, and run the task a second time when it is told of it again.
    pub(super) fn start(&mut self, task: TaskId) -> Option<Effect> {
        let is_written = self.unwritten.get(&task).is_none_or(|write| *write <= self.ledger.written());
        if is_written {
            return Some(Effect::Start(task));
        }
        self.held.insert(task);
        None
    }

    /// The list to be written now, if one is to be. One at a time: [`NodeMachine::written`] ends it.
    pub fn begin_write(&mut self, now: Moment) -> Option<TaskList> {
        self.ledger.begin(now).then(|| self.worker.list())
    }

    /// The write ended. `false`: the disk refused; then what waits to be started has failed for now.
    pub fn written(&mut self, now: Moment, is_done: bool) -> Vec<Effect> {
        if is_done {
            self.ledger.end();
            let written = self.ledger.written();
            self.unwritten.retain(|_, write| *write > written);
        } else {
            self.ledger.fail(now + REWRITE_DELAY);
        }
        let held = std::mem::take(&mut self.held);
        held.into_iter().flat_map(|task| self.release(now, task, is_done)).collect()
    }

    fn release(&mut self, now: Moment, task: TaskId, is_done: bool) -> Vec<Effect> {
        let reason = match (is_done, self.worker.may_start(task)) {
            (false, _) => "the task list cannot be written to disk",
            (true, false) => "no leader is heard of any more",
            (true, true) => {
                let is_stopping = self.ending() == Some(false);
                return if is_stopping { Vec::new() } else { self.start(task).into_iter().collect() };
            }
        };
        let fault = Fault { blame: Blame::Temporary, reason: reason.into() };
        self.step(now, task, Input::Started(Err(fault)))
    }
}
