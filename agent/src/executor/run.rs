//! The executor over the runtime.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use skep_proto::model::{Moment, NodeDescription, TaskId};
use skep_runtime::logs::{LogQuery, Stream};
use skep_runtime::{ContainerStatus, Runtime, RuntimeError};
use tokio_stream::wrappers::ReceiverStream;

use super::container::{container_id, exited, recovered, spec, started, task_id};
use super::describe::describe;
use super::fault::failed;
use super::sys::facts;
use crate::order::{Blame, Exited, Recovered, Started, TaskOrder};
use crate::sys::{ExecError, Executor, LogLine, LogOptions, LogStream};

/// What a task is said to have ended with when nobody knows: Docker's code for its own failures.
const CODE_UNKNOWN: i32 = 125;

/// Runs tasks as containers of one runtime.
#[derive(Debug)]
pub struct RuntimeExecutor {
    runtime: Arc<Runtime>,
    hostname: Option<String>,
}

impl RuntimeExecutor {
    /// Runs tasks there. `hostname` is what `{{.Node.Hostname}}` means when it is not the machine's own.
    #[must_use]
    pub fn new(runtime: Arc<Runtime>, hostname: Option<String>) -> Self {
        Self { runtime, hostname }
    }

    fn hostname(&self) -> Result<String, ExecError> {
        match &self.hostname {
            Some(hostname) => Ok(hostname.clone()),
            None => machine().map(|description| description.hostname),
        }
    }

    async fn create(&self, order: &TaskOrder) -> Result<(), ExecError> {
        let blame_task = |source| ExecError { action: "expand the task's templates", blame: Blame::Task, source };
        let spec = spec(order, &self.hostname()?).map_err(|error| blame_task(Box::new(error)))?;
        let created = self.runtime.create(container_id(order.task), spec).await;
        created.map(|_| ()).map_err(|error| failed("create the container", error))
    }
}

/// The machine as it is now.
fn machine() -> Result<NodeDescription, ExecError> {
    let facts = facts();
    let facts = facts.map_err(|error| ExecError {
        action: "read what the machine has",
        blame: Blame::Node,
        source: Box::new(error),
    })?;
    Ok(describe(&facts))
}

#[async_trait]
impl Executor for RuntimeExecutor {
    async fn describe(&self) -> Result<NodeDescription, ExecError> {
        machine()
    }

    async fn prepare(&self, order: &TaskOrder) -> Result<(), ExecError> {
        if self.runtime.inspect(&container_id(order.task)).is_ok() {
            self.remove(order.task).await?;
        }
        self.create(order).await
    }

    async fn start(&self, task: TaskId) -> Result<Started, ExecError> {
        let info = self.runtime.start(&container_id(task)).await;
        info.map(|info| started(&info)).map_err(|error| failed("start the container", error))
    }

    async fn wait(&self, task: TaskId) -> Exited {
        match self.runtime.wait(&container_id(task)).await {
            Ok(exit) => exited(exit),
            Err(error) => {
                let error = skep_proto::chain::chain(&error).to_string();
                Exited { code: CODE_UNKNOWN, oom: false, error: Some(error) }
            }
        }
    }

    /// What was never started ends here too, for the runtime keeps a process for it; but it has no exit code to tell.
    async fn stop(&self, task: TaskId, grace: Duration) -> Result<Option<Exited>, ExecError> {
        let id = container_id(task);
        let Ok(info) = self.runtime.inspect(&id) else { return Ok(None) };
        let ran = info.status != ContainerStatus::Created;
        match self.runtime.stop(&id, grace).await {
            Ok(exit) => Ok(ran.then(|| exited(exit))),
            Err(RuntimeError::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed("stop the container", error)),
        }
    }

    async fn remove(&self, task: TaskId) -> Result<(), ExecError> {
        match self.runtime.remove(&container_id(task)).await {
            Ok(()) | Err(RuntimeError::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed("remove the container", error)),
        }
    }

    fn keep_contact(&self, contact: Duration) -> Result<(), ExecError> {
        self.runtime.keep_lifeline(contact).map_err(|error| failed("keep the contact with the leader", error))
    }

    fn last_contact(&self) -> Option<Duration> {
        self.runtime.lifeline()
    }

    async fn recover(&self) -> Result<Vec<(TaskId, Recovered)>, ExecError> {
        let all = self.runtime.list().into_iter();
        Ok(all.filter_map(|info| Some((task_id(&info)?, recovered(info)))).collect())
    }

    async fn logs(&self, task: TaskId, options: LogOptions) -> Result<LogStream, ExecError> {
        let lines = self.runtime.logs(&container_id(task), query(options));
        let lines = lines.map_err(|error| failed("read the container's log", error))?;
        Ok(ReceiverStream::new(lines).map(|line| Ok(shipped(line))).boxed())
    }
}

fn query(options: LogOptions) -> LogQuery {
    LogQuery {
        tail: options.tail.map(|tail| usize::try_from(tail).unwrap_or(usize::MAX)),
        since_ms: options.since.0,
        follow: options.follow,
        stdout: options.stdout,
        stderr: options.stderr,
    }
}

fn shipped(line: skep_runtime::logs::LogLine) -> LogLine {
    LogLine { at: Moment(line.at_ms), stderr: line.stream == Stream::Stderr, data: line.bytes, partial: line.partial }
}
