//! The seam between tasks and containers. Behind it stands the runtime ([`executor`](crate::executor)), or a simulation
//! ([`sim`](crate::sim)) when thousands of agents are measured on one machine.

use std::error::Error;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::Stream;
use skep_proto::model::{Moment, NodeDescription, TaskId};

use crate::order::{Blame, Exited, Fault, Recovered, Started, TaskOrder};

/// Runs tasks. A task is named by its id alone, so that whoever restarts finds it again.
///
/// Calls for different tasks run at the same time; the agent never makes two for one task, except a second, quicker `stop`
/// when the node leaves, and `wait` and `logs` beside the others. A dropped call may have done its work or not.
#[async_trait]
pub trait Executor: Send + Sync + 'static {
    /// The machine as it is now.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn describe(&self) -> Result<NodeDescription, ExecError>;

    /// Finds the image and makes the container; nothing runs. What an earlier try left of the same task is replaced.
    ///
    /// # Errors
    /// [`ExecError::blame`] says whether to try again. Nothing is left behind.
    async fn prepare(&self, order: &TaskOrder) -> Result<(), ExecError>;

    /// Starts what was prepared.
    ///
    /// # Errors
    /// When the program could not be executed; what was prepared stays until it is removed.
    async fn start(&self, task: TaskId) -> Result<Started, ExecError>;

    /// Returns when a started task has ended, at once when it already had.
    async fn wait(&self, task: TaskId) -> Exited;

    /// Asks the program to stop, kills it after `grace`, and returns when it has ended and how, if it ever ran. A task that
    /// does not exist is stopped.
    ///
    /// # Errors
    /// When it may still run.
    async fn stop(&self, task: TaskId, grace: Duration) -> Result<Option<Exited>, ExecError>;

    /// Removes every trace of a stopped task. One that does not exist is removed.
    ///
    /// # Errors
    /// When something stayed; the call may be repeated.
    async fn remove(&self, task: TaskId) -> Result<(), ExecError>;

    /// A leader was heard of at that time since the machine's boot: containers of tasks that stop on a cut-off node live on from
    /// there, though the daemon ends or hangs. Takes no longer than the write of a small file.
    ///
    /// # Errors
    /// When it cannot be kept; those containers will be stopped.
    fn keep_contact(&self, contact: Duration) -> Result<(), ExecError>;

    /// What was kept last, in this boot of the machine.
    fn last_contact(&self) -> Option<Duration>;

    /// Every task that has a container on this node, whoever made it.
    ///
    /// # Errors
    /// When that cannot be found out; the agent must not start then, for it would run tasks twice.
    async fn recover(&self) -> Result<Vec<(TaskId, Recovered)>, ExecError>;

    /// Reads a task's output.
    ///
    /// # Errors
    /// When the task has no log.
    async fn logs(&self, task: TaskId, options: LogOptions) -> Result<LogStream, ExecError>;
}

/// Lines of one task, oldest first. It ends when the log does, or with the container when it is followed.
pub type LogStream = Pin<Box<dyn Stream<Item = Result<LogLine, ExecError>> + Send>>;

/// Which lines are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Stay and send what comes.
    pub follow: bool,
    /// So many from the end; `None` is all.
    pub tail: Option<u64>,
    /// None older than this.
    pub since: Moment,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// One line of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written.
    pub at: Moment,
    /// To standard error.
    pub stderr: bool,
    /// Without the newline.
    pub data: Vec<u8>,
    /// The line goes on in the next one.
    pub partial: bool,
}

/// A call that failed. Its source tells why.
#[derive(Debug, thiserror::Error)]
#[error("{action}")]
pub struct ExecError {
    /// What was tried, as in `create the container`.
    pub action: &'static str,
    /// Whose fault it is.
    pub blame: Blame,
    /// Why.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

impl ExecError {
    /// As the task machine takes it. The reason is the cause alone: the task's state already tells what was tried.
    #[must_use]
    pub fn fault(&self) -> Fault {
        let cause: &(dyn Error + 'static) = &*self.source;
        Fault { blame: self.blame, reason: skep_proto::chain::chain(cause).to_string() }
    }
}
