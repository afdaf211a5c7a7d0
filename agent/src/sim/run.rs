//! The simulated executor.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use parking_lot::Mutex;
use skep_proto::model::{NodeDescription, Platform, Resources, TaskId};
use tokio::sync::Notify;

use crate::order::{Blame, Exited, Recovered, Started, TaskOrder};
use crate::sys::{ExecError, Executor, LogLine, LogOptions, LogStream};

/// What the simulated machine is like.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// Its hostname.
    pub hostname: String,
    /// What it says it has.
    pub resources: Resources,
    /// How long a container takes to make; zero is not even a turn of the scheduler.
    pub prepare: Duration,
    /// How long a program takes to start.
    pub start: Duration,
    /// How long a program takes to end when it is asked.
    pub stop: Duration,
    /// The image that is not there.
    pub missing_image: String,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            hostname: "sim".into(),
            resources: Resources { nano_cpus: 4_000_000_000, memory_bytes: 16 << 30, pids: 0 },
            prepare: Duration::ZERO,
            start: Duration::ZERO,
            stop: Duration::ZERO,
            missing_image: "missing".into(),
        }
    }
}

/// One simulated container.
#[derive(Debug, Default)]
struct SimTask {
    started: bool,
    exit: Option<Exited>,
    waker: Option<Waker>,
    lines: Vec<LogLine>,
}

/// What was done, for tests to compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SimCounts {
    /// Containers made.
    pub prepared: usize,
    /// Programs started.
    pub started: usize,
    /// Containers removed.
    pub removed: usize,
    /// Most containers made at one time.
    pub preparing_max: usize,
}

#[derive(Debug, Default)]
struct Shared {
    contact: Option<Duration>,
    tasks: BTreeMap<TaskId, SimTask>,
    counts: SimCounts,
    preparing: usize,
}

/// An executor whose containers are map entries.
#[derive(Debug, Default)]
pub struct SimExecutor {
    config: SimConfig,
    shared: Arc<Mutex<Shared>>,
    changed: Arc<Notify>,
}

impl SimExecutor {
    /// A machine without containers.
    #[must_use]
    pub fn new(config: SimConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// Ends a running task, as if its program had. `false`: it does not run.
    pub fn exit(&self, task: TaskId, exit: Exited) -> bool {
        let mut shared = self.shared.lock();
        let Some(found) = shared.tasks.get_mut(&task).filter(|t| t.started && t.exit.is_none()) else { return false };
        found.exit = Some(exit);
        let waker = found.waker.take();
        drop(shared);
        waker.into_iter().for_each(Waker::wake);
        self.changed.notify_waiters();
        true
    }

    /// Lets a task print a line.
    pub fn print(&self, task: TaskId, line: LogLine) {
        if let Some(found) = self.shared.lock().tasks.get_mut(&task) {
            found.lines.push(line);
        }
        self.changed.notify_waiters();
    }

    /// The tasks that run.
    #[must_use]
    pub fn running(&self) -> Vec<TaskId> {
        let shared = self.shared.lock();
        shared.tasks.iter().filter(|(_, t)| t.started && t.exit.is_none()).map(|(id, _)| *id).collect()
    }

    /// All tasks that have a container.
    #[must_use]
    pub fn containers(&self) -> Vec<TaskId> {
        self.shared.lock().tasks.keys().copied().collect()
    }

    /// What was done so far.
    #[must_use]
    pub fn counts(&self) -> SimCounts {
        self.shared.lock().counts
    }

    fn poll_exit(&self, task: TaskId, waker: &Waker) -> Poll<Exited> {
        let mut shared = self.shared.lock();
        let Some(found) = shared.tasks.get_mut(&task) else {
            let error = Some("the container is gone".to_owned());
            return Poll::Ready(Exited { code: 255, oom: false, error });
        };
        match &found.exit {
            Some(exit) => Poll::Ready(exit.clone()),
            None => {
                found.waker = Some(waker.clone());
                Poll::Pending
            }
        }
    }

    fn begin_prepare(&self) {
        let mut shared = self.shared.lock();
        shared.preparing += 1;
        shared.counts.preparing_max = shared.counts.preparing_max.max(shared.preparing);
    }

    fn end_prepare(&self, task: TaskId, made: bool) {
        let mut shared = self.shared.lock();
        shared.preparing -= 1;
        if made {
            shared.counts.prepared += 1;
            shared.tasks.insert(task, SimTask::default());
        }
    }
}

/// Waits without a turn of the scheduler when there is nothing to wait for.
async fn pass(span: Duration) {
    if !span.is_zero() {
        tokio::time::sleep(span).await;
    }
}

/// A process id that is the same after a restart of the daemon.
fn started(task: TaskId) -> Started {
    let pid = u32::try_from(task.bits() % 4_000_000).expect("a remainder of four million fits") + 1;
    Started { pid, container_id: task.to_string(), ports: Vec::new() }
}

#[async_trait]
impl Executor for SimExecutor {
    async fn describe(&self) -> Result<NodeDescription, ExecError> {
        let platform = Platform { os: "linux".into(), architecture: "x86_64".into() };
        let (hostname, resources) = (self.config.hostname.clone(), self.config.resources);
        Ok(NodeDescription { hostname, platform, resources, ..NodeDescription::default() })
    }

    async fn prepare(&self, order: &TaskOrder) -> Result<(), ExecError> {
        self.begin_prepare();
        pass(self.config.prepare).await;
        let image = &order.template.spec.container.image;
        let made = *image != self.config.missing_image;
        self.end_prepare(order.task, made);
        if made { Ok(()) } else { Err(failed("find the image", format!("no such image: {image}"))) }
    }

    async fn start(&self, task: TaskId) -> Result<Started, ExecError> {
        pass(self.config.start).await;
        let mut shared = self.shared.lock();
        shared.counts.started += 1;
        let found = shared.tasks.get_mut(&task).ok_or_else(|| failed("start", "no such container".to_owned()))?;
        found.started = true;
        Ok(started(task))
    }

    async fn wait(&self, task: TaskId) -> Exited {
        std::future::poll_fn(|context| self.poll_exit(task, context.waker())).await
    }

    async fn stop(&self, task: TaskId, grace: Duration) -> Result<Option<Exited>, ExecError> {
        pass(self.config.stop.min(grace)).await;
        let code = if self.config.stop > grace { 137 } else { 143 };
        self.exit(task, Exited { code, ..Exited::default() });
        Ok(self.shared.lock().tasks.get(&task).and_then(|found| found.exit.clone()))
    }

    async fn remove(&self, task: TaskId) -> Result<(), ExecError> {
        let mut shared = self.shared.lock();
        let removed = shared.tasks.remove(&task).is_some();
        shared.counts.removed += usize::from(removed);
        Ok(())
    }

    fn keep_contact(&self, contact: Duration) -> Result<(), ExecError> {
        self.shared.lock().contact = Some(contact);
        Ok(())
    }

    fn last_contact(&self) -> Option<Duration> {
        self.shared.lock().contact
    }

    async fn recover(&self) -> Result<Vec<(TaskId, Recovered)>, ExecError> {
        let shared = self.shared.lock();
        let state = |id: TaskId, task: &SimTask| match (&task.exit, task.started) {
            (Some(exit), _) => Recovered::Exited(exit.clone()),
            (None, true) => Recovered::Running(started(id)),
            (None, false) => Recovered::Created,
        };
        Ok(shared.tasks.iter().map(|(id, task)| (*id, state(*id, task))).collect())
    }

    async fn logs(&self, task: TaskId, options: LogOptions) -> Result<LogStream, ExecError> {
        let lines = self.shared.lock().tasks.get(&task).map(|found| found.lines.len());
        let lines = lines.ok_or_else(|| failed("read the log", "no such container".to_owned()))?;
        let tail = options.tail.and_then(|tail| usize::try_from(tail).ok()).unwrap_or(usize::MAX);
        let (shared, changed) = (Arc::clone(&self.shared), Arc::clone(&self.changed));
        let reader = SimReader { task, options, next: lines.saturating_sub(tail), shared, changed };
        Ok(futures_util::stream::unfold(reader, SimReader::step).boxed())
    }
}

/// Reads one task's lines.
struct SimReader {
    task: TaskId,
    options: LogOptions,
    next: usize,
    shared: Arc<Mutex<Shared>>,
    changed: Arc<Notify>,
}

impl SimReader {
    async fn step(mut self) -> Option<(Result<LogLine, ExecError>, Self)> {
        let changed = Arc::clone(&self.changed);
        loop {
            // Asked for before looking, so that no line comes unseen between the look and the wait.
            let change = changed.notified();
            if let Some(line) = self.look() {
                return Some((Ok(line), self));
            }
            if !self.options.follow || self.has_ended() {
                return None;
            }
            change.await;
        }
    }

    fn look(&mut self) -> Option<LogLine> {
        let shared = self.shared.lock();
        let lines = shared.tasks.get(&self.task)?.lines.get(self.next..)?;
        let wanted = |line: &LogLine| {
            line.at >= self.options.since && if line.stderr { self.options.stderr } else { self.options.stdout }
        };
        let place = lines.iter().position(wanted)?;
        self.next += place + 1;
        lines.get(place).cloned()
    }

    fn has_ended(&self) -> bool {
        self.shared.lock().tasks.get(&self.task).is_none_or(|found| found.exit.is_some())
    }
}

fn failed(action: &'static str, reason: String) -> ExecError {
    ExecError { action, blame: Blame::Task, source: reason.into() }
}
