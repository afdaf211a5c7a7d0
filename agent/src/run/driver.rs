//! The loop: waits for an event, lets the machines decide, does what they say.
#![expect(clippy::disallowed_methods, reason = "driver: writes the list beside the loop")]

use std::sync::Arc;
use std::time::Duration;

use skep_proto::model::{Moment, NodeDescription, TaskId};
use skep_proto::pb;
use skep_proto::pb::agent_message::Message as ToManager;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::agent::{AgentConfig, AgentView, Command};
use super::clock::{Clock, seed};
use super::link::{Link, LinkEvent};
use super::renew::Renewal;
use super::steps::Steps;
use crate::client::Connect;
use crate::disk::Files;
use crate::error::AgentError;
use crate::identity::{Identity, IdentityError};
use crate::ledger::Ledger;
use crate::report::Reporter;
use crate::session::Session;
use crate::sys::{ExecError, Executor};
use crate::task::Input;
use crate::worker::Worker;

/// How often the machine is looked at. Memory and labels change with years and restarts; a minute late is soon enough.
pub(super) const DESCRIBE_EVERY: Duration = Duration::from_secs(60);

/// Everything that can happen.
pub(crate) enum Event {
    /// The owner wants something; `None`: the owner is gone.
    Command(Option<Command>),
    /// A step ended, or a program.
    Task(TaskId, Input),
    /// The stream has something to say.
    Link(LinkEvent),
    /// A write of the list ended.
    Written(Result<(), AgentError>),
    /// A look at the machine ended.
    Described(Result<NodeDescription, ExecError>),
    /// A renewal ended.
    Renewed(Result<Identity, IdentityError>),
    /// Time has passed.
    Tick,
}

/// On the way out.
pub(super) struct Ending {
    pub(super) until: Moment,
    pub(super) part_until: Moment,
    pub(super) leaving: bool,
    pub(super) answer: Option<oneshot::Sender<Result<(), AgentError>>>,
}

/// The agent's loop and everything it holds.
pub(crate) struct Driver {
    pub(super) config: AgentConfig,
    pub(super) executor: Arc<dyn Executor>,
    pub(super) connector: Arc<dyn Connect>,
    pub(super) clock: Clock,
    pub(super) worker: Worker,
    pub(super) reporter: Reporter,
    pub(super) ledger: Ledger,
    pub(super) session: Session,
    pub(super) link: Link,
    pub(super) steps: Steps,
    pub(super) renewal: Renewal,
    pub(super) files: Files,
    pub(super) write: Option<JoinHandle<Result<(), AgentError>>>,
    pub(super) describing: Option<JoinHandle<Result<NodeDescription, ExecError>>>,
    pub(super) description: NodeDescription,
    pub(super) describe_at: Moment,
    pub(super) inbox: mpsc::Receiver<Command>,
    pub(super) view: watch::Sender<AgentView>,
    pub(super) ending: Option<Ending>,
}

impl Driver {
    /// Reads the list, looks at the containers, and takes up what was left.
    pub(crate) async fn open(
        config: AgentConfig,
        executor: Arc<dyn Executor>,
        connector: Arc<dyn Connect>,
        inbox: mpsc::Receiver<Command>,
    ) -> Result<(Self, watch::Receiver<AgentView>), AgentError> {
        let files = Files::open(&config.data_dir)?;
        let list = files.read_list()?;
        let found = executor.recover().await.map_err(AgentError::Recover)?;
        let description = executor.describe().await.map_err(AgentError::Describe)?;
        let mut driver = Self::new(config, executor, connector, inbox, files);
        driver.description = driver.overlay(description);
        let now = driver.clock.now();
        let effects = driver.worker.restore(now, list, found);
        driver.obey(now, effects);
        let view = driver.view.subscribe();
        Ok((driver, view))
    }

    fn new(
        config: AgentConfig,
        executor: Arc<dyn Executor>,
        connector: Arc<dyn Connect>,
        inbox: mpsc::Receiver<Command>,
        files: Files,
    ) -> Self {
        let mut clock = Clock::new();
        let now = clock.now();
        let mut managers = files.read_managers();
        managers.extend(config.managers.iter().filter(|m| !managers.contains(m)).cloned().collect::<Vec<_>>());
        let identity = Arc::clone(&config.identity);
        let view = AgentView { manager: None, managers: managers.clone(), removed: false, identity, tasks: 0 };
        Self {
            clock,
            worker: Worker::new(config.identity.node),
            reporter: Reporter::default(),
            ledger: Ledger::default(),
            session: Session::new(managers, seed(), now),
            link: Link::new(Arc::clone(&connector)),
            steps: Steps::new(Arc::clone(&executor)),
            renewal: Renewal::new(config.data_dir.clone(), Arc::clone(&config.identity)),
            files,
            write: None,
            describing: None,
            description: NodeDescription::default(),
            describe_at: now + DESCRIBE_EVERY,
            inbox,
            view: watch::Sender::new(view),
            ending: None,
            config,
            executor,
            connector,
        }
    }

    /// Runs until the owner ends it.
    pub(crate) async fn run(mut self) {
        loop {
            let now = self.clock.now();
            self.settle(now);
            if self.has_ended(now) {
                return self.finish().await;
            }
            let event = self.next(now).await;
            if let Event::Command(None) = event {
                return;
            }
            let now = self.clock.now();
            self.handle(now, event);
        }
    }

    async fn next(&mut self, now: Moment) -> Event {
        let sleep = self.wake_at().map_or(DESCRIBE_EVERY, |at| at.since(now));
        tokio::select! {
            command = self.inbox.recv() => Event::Command(command),
            (task, input) = self.steps.next() => Event::Task(task, input),
            event = self.link.next() => Event::Link(event),
            written = ended(&mut self.write) => Event::Written(written),
            description = ended(&mut self.describing) => Event::Described(description),
            renewed = self.renewal.next() => Event::Renewed(renewed),
            () = tokio::time::sleep(sleep) => Event::Tick,
        }
    }

    fn wake_at(&self) -> Option<Moment> {
        let renewal = self.renewal.wake_at().filter(|_| self.session.is_open());
        let describe = Some(self.describe_at).filter(|_| self.describing.is_none());
        let parting = |ending: &Ending| if self.link.is_idle() { ending.until } else { ending.part_until };
        let ending = self.ending.as_ref().map(parting);
        let session = self.session.wake_at().filter(|_| self.ending.is_none());
        let wakes = [self.worker.wake_at(), self.ledger.wake_at(), session, renewal, describe, ending];
        wakes.into_iter().flatten().min()
    }

    /// Handles one event, synchronously: no two decisions meet.
    fn handle(&mut self, now: Moment, event: Event) {
        match event {
            Event::Command(Some(command)) => self.command(now, command),
            Event::Command(None) => {}
            Event::Task(task, input) => {
                let effects = self.worker.step(now, task, input);
                self.obey(now, effects);
            }
            Event::Link(event) => self.linked(now, event),
            Event::Written(result) => self.written(now, result),
            Event::Described(result) => self.described(result),
            Event::Renewed(result) => {
                self.renewal.end(now, result, &*self.connector);
            }
            Event::Tick => self.tick(now),
        }
    }

    /// What follows from the state after every event: writes, reports, a renewal, the view.
    fn settle(&mut self, now: Moment) {
        if self.write.is_none() && self.ledger.begin(now) {
            let (files, list) = (self.files.clone(), self.worker.list());
            self.write = Some(tokio::task::spawn_blocking(move || files.write_list(&list)));
        }
        if self.session.is_open() {
            self.report();
            if let Some(channel) = self.link.channel().filter(|_| self.renewal.wake_at().is_some_and(|at| at <= now)) {
                self.renewal.begin(now, channel, self.session.manager());
            }
        }
        self.show();
    }

    fn report(&mut self) {
        while self.link.has_room() {
            let Some(batch) = self.reporter.next_batch(self.ledger.written()) else { return };
            let reports = batch.tasks.into_iter().filter_map(|id| {
                let status = self.worker.status(id)?;
                Some(pb::TaskReport { task: id.to_bytes(), status: Some((&status).into()) })
            });
            self.link.say(ToManager::Report(pb::StatusReport { seq: batch.seq, tasks: reports.collect() }));
        }
    }

    fn show(&self) {
        let manager = Some(self.session.manager()).filter(|_| self.session.is_open());
        let tasks = self.worker.len();
        let identity = self.renewal.identity();
        self.view.send_if_modified(|view| {
            let same = view.manager.as_deref() == manager
                && view.tasks == tasks
                && view.managers == self.session.managers()
                && Arc::ptr_eq(&view.identity, identity);
            if !same {
                view.manager = manager.map(str::to_owned);
                view.managers = self.session.managers().to_vec();
                view.identity = Arc::clone(identity);
                view.tasks = tasks;
            }
            !same
        });
    }

    /// What the daemon was told to say of the machine comes before what the machine says.
    pub(super) fn overlay(&self, mut description: NodeDescription) -> NodeDescription {
        if let Some(hostname) = &self.config.hostname {
            description.hostname.clone_from(hostname);
        }
        description.engine_version.clone_from(&self.config.version);
        description.engine_labels.clone_from(&self.config.labels);
        description
    }

    fn has_ended(&self, now: Moment) -> bool {
        let Some(ending) = &self.ending else { return false };
        let settled = self.steps.is_idle() && self.link.is_idle();
        let done = settled && if ending.leaving { self.worker.is_empty() } else { self.ledger.is_clean() };
        done || ending.until <= now
    }

    /// The last write, and the answer. An agent that left keeps nothing, so it need not write.
    async fn finish(mut self) {
        let Some(mut ending) = self.ending.take() else { return };
        let write = self.write.take();
        if let Some(write) = write {
            // Its result does not matter: what follows writes or removes the same file.
            let _ = write.await;
        }
        let result = if ending.leaving { self.left() } else { self.files.write_list(&self.worker.list()) };
        if let Some(answer) = ending.answer.take() {
            let _ = answer.send(result);
        }
    }

    fn left(&self) -> Result<(), AgentError> {
        let count = self.worker.len();
        if count > 0 {
            // The list stays, with every task in it to be removed when the daemon starts again.
            return self.files.write_list(&self.worker.list()).and(Err(AgentError::LeaveIncomplete { count }));
        }
        self.files.remove()
    }
}

/// The end of a tokio task, which is taken out then; for ever when there is none.
async fn ended<T>(handle: &mut Option<JoinHandle<T>>) -> T {
    let Some(running) = handle else { return std::future::pending().await };
    let result = running.await;
    *handle = None;
    result.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
