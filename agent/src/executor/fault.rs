//! Whose fault an error of the runtime is: one table.

use skep_runtime::RuntimeError;

use crate::order::Blame;
use crate::sys::ExecError;

/// An error of the runtime as the task machine takes it.
#[must_use]
pub fn failed(action: &'static str, error: RuntimeError) -> ExecError {
    ExecError { action, blame: blame(&error), source: Box::new(error) }
}

/// The runtime retries what passes by itself, so nothing here is tried a second time; what the machine refuses may go better on
/// another one.
fn blame(error: &RuntimeError) -> Blame {
    match error {
        RuntimeError::NoCommand { .. }
        | RuntimeError::UnknownSignal { .. }
        | RuntimeError::Capability { .. }
        | RuntimeError::Execute { .. } => Blame::Task,
        RuntimeError::Spawn { .. } => Blame::Temporary,
        _ => Blame::Node,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use skep_runtime::ContainerId;

    use super::*;

    #[test]
    fn a_wrong_command_is_the_tasks_fault_and_a_shim_that_could_not_be_forked_nobodys() {
        let id = ContainerId::new("a").unwrap();
        let execute = RuntimeError::Execute { id: id.clone(), reason: "not found".into(), code: 127 };
        assert_eq!(failed("start", execute).blame, Blame::Task);
        let spawn = RuntimeError::Spawn { id: id.clone(), source: io::Error::other("again") };
        assert_eq!(failed("create", spawn).blame, Blame::Temporary);
        assert_eq!(failed("stop", RuntimeError::NotFound { id }).blame, Blame::Node);
    }

    #[test]
    fn the_reason_is_the_whole_chain_without_what_was_tried() {
        let id = ContainerId::new("a").unwrap();
        let error = failed("create", RuntimeError::Spawn { id, source: io::Error::other("no memory") });
        assert_eq!(error.fault().reason, "start the shim of container a: no memory");
    }
}
