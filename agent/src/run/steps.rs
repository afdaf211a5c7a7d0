//! Takes steps through the executor, each in a tokio task of its own, so that no task waits for an unrelated one.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use skep_proto::model::TaskId;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::order::{Blame, Fault, TaskOrder};
use crate::sys::{ExecError, Executor};
use crate::task::Input;

/// Containers made at the same time. Making one is half work and half waiting for the kernel, so that four for each of two
/// cores keep both busy; more only share the same kernel locks and make each one later. Others wait their turn.
const PREPARES_MAX: usize = 8;

/// What a step ends with.
type Outcome = (TaskId, Input);

/// The steps that are under way, and the tasks that are waited for.
pub(crate) struct Steps {
    executor: Arc<dyn Executor>,
    running: JoinSet<Outcome>,
    waits: FuturesUnordered<BoxFuture<'static, Outcome>>,
    prepares: Arc<Semaphore>,
}

impl Steps {
    pub(crate) fn new(executor: Arc<dyn Executor>) -> Self {
        let prepares = Arc::new(Semaphore::new(PREPARES_MAX));
        Self { executor, running: JoinSet::new(), waits: FuturesUnordered::new(), prepares }
    }

    pub(crate) fn prepare(&mut self, order: TaskOrder) {
        let (executor, prepares) = (Arc::clone(&self.executor), Arc::clone(&self.prepares));
        let task = order.task;
        self.take(task, Input::Prepared, async move {
            let _turn = prepares.acquire().await.expect("the semaphore is never closed");
            executor.prepare(&order).await
        });
    }

    pub(crate) fn start(&mut self, task: TaskId) {
        let executor = Arc::clone(&self.executor);
        self.take(task, Input::Started, async move { executor.start(task).await });
    }

    pub(crate) fn stop(&mut self, task: TaskId, grace: Duration) {
        let executor = Arc::clone(&self.executor);
        self.take(task, Input::Stopped, async move { executor.stop(task, grace).await });
    }

    pub(crate) fn remove(&mut self, task: TaskId) {
        let executor = Arc::clone(&self.executor);
        self.take(task, Input::Removed, async move { executor.remove(task).await });
    }

    /// Waits for the end of a task's program. This is no tokio task: a million of them are only futures in a list.
    pub(crate) fn wait(&mut self, task: TaskId) {
        let executor = Arc::clone(&self.executor);
        let wait = async move { (task, Input::Exited(executor.wait(task).await)) };
        self.waits.push(wait.boxed());
    }

    fn take<T: 'static>(
        &mut self,
        task: TaskId,
        input: fn(Result<T, Fault>) -> Input,
        step: impl Future<Output = Result<T, ExecError>> + Send + 'static,
    ) {
        self.running.spawn(async move {
            let result = match AssertUnwindSafe(step).catch_unwind().await {
                Ok(result) => result.map_err(|error| told(task, &error)),
                Err(_) => {
                    Err(Fault { blame: Blame::Node, reason: "a bug in the runtime; its log has the details".into() })
                }
            };
            (task, input(result))
        });
    }

    /// The next step that ends, or program that does.
    ///
    /// # Panics
    /// Never: panics of steps are caught in them, and none is aborted while this is waited for.
    pub(crate) async fn next(&mut self) -> Outcome {
        tokio::select! {
            Some(done) = self.running.join_next() => done.expect("steps catch their panics and are not aborted"),
            Some(ended) = self.waits.next() => ended,
            else => std::future::pending().await,
        }
    }

    /// No step is under way. Waiting for a program is no step.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty()
    }
}

/// Logs the failure with all it knows; the task's status gets the reason alone.
fn told(task: TaskId, error: &ExecError) -> Fault {
    tracing::warn!(task.id = %task, error = %skep_proto::chain::chain(error), "a step of a task failed");
    error.fault()
}
