//! What users read of a task: Docker's words where it has some.

use skep_proto::model::TaskState;

use crate::order::Exited;

/// Docker's word for what a task in this state was last seen doing.
pub(super) fn word(state: TaskState) -> &'static str {
    match state {
        TaskState::Ready => "prepared",
        TaskState::Running | TaskState::Failed => "started",
        TaskState::Complete => "finished",
        TaskState::Rejected => "preparing",
        other => other.name(),
    }
}

/// Why a program's end is a failure, in Docker's words where it has some.
pub(super) fn reason(exit: &Exited) -> String {
    match &exit.error {
        Some(error) => error.clone(),
        None if exit.oom => format!("task: non-zero exit ({}): it used more memory than its limit", exit.code),
        None => format!("task: non-zero exit ({})", exit.code),
    }
}
