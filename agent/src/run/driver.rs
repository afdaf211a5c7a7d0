//! The loop: waits for an event, lets the machines decide, does what they say.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use skep_proto::model::{Moment, NodeDescription, TaskId};
use skep_proto::pb;
use skep_proto::pb::agent_message::Message as ToManager;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::agent::{AgentConfig, AgentView, Command};
use super::clock::{Clock, seed, uptime};
use super::link::{Link, LinkEvent};
use super::renew::Renewal;
use super::steps::Steps;
use crate::client::Connect;
use crate::disk::Files;
use crate::error::AgentError;
use crate::identity::{Identity, IdentityError};
use crate::node::NodeMachine;
use crate::sys::{ExecError, Executor};
use crate::task::Input;

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

/// Who waits for the end.
pub(super) type Answer = oneshot::Sender<Result<(), AgentError>>;

/// The agent's loop and everything it holds.
pub(crate) struct Driver {
    pub(super) config: AgentConfig,
    pub(super) executor: Arc<dyn Executor>,
    pub(super) connector: Arc<dyn Connect>,
    pub(super) clock: Clock,
    pub(super) machine: NodeMachine,
    pub(super) link: Link,
    pub(super) steps: Steps,
    pub(super) renewal: Renewal,
    pub(super) files: Files,
    pub(super) write: Option<JoinHandle<Result<(), AgentError>>>,
    pub(super) describing: Option<JoinHandle<Result<NodeDescription, ExecError>>>,
    pub(super) describe_at: Moment,
    pub(super) inbox: mpsc::Receiver<Command>,
    pub(super) view: watch::Sender<AgentView>,
    pub(super) answer: Option<Answer>,
    /// The certificate's time was over when it was last looked at.
    pub(super) has_lapsed: bool,
    /// What the manager of this stream was told of the credentials.
    pub(super) told: pb::Credentials,
    /// HOST:PORT of managers of ours that were there when they were tried last, and take this node for a stranger.
    pub(super) estranged: BTreeSet<String>,
    /// How long a message to the manager takes.
    pub(super) delay: Duration,
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
        let description = driver.overlay(description);
        let now = driver.clock.now();
        driver.machine.find_era(driver.files.read_era());
        driver.machine.find_contact(driver.executor.last_contact(), uptime());
        let mut effects = driver.machine.describe(description);
        effects.extend(driver.machine.restore(now, list, found));
        driver.act(now, effects);
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
        let managers = in_order(&config, files.read_managers());
        let identity = Arc::clone(&config.identity);
        let view = AgentView::new(managers.clone(), identity);
        Self {
            clock,
            machine: NodeMachine::new(config.identity.node, config.address.clone(), managers, seed(), now),
            link: Link::new(Arc::clone(&connector)),
            steps: Steps::new(Arc::clone(&executor)),
            renewal: Renewal::new(config.vault.clone(), Arc::clone(&config.identity)),
            files,
            write: None,
            describing: None,
            describe_at: now + DESCRIBE_EVERY,
            inbox,
            view: watch::Sender::new(view),
            answer: None,
            has_lapsed: false,
            told: pb::Credentials::default(),
            estranged: BTreeSet::new(),
            delay: Duration::ZERO,
            config,
            executor,
            connector,
        }
    }

    /// Runs until the owner ends it.
    pub(crate) async fn run(mut self) {
        loop {
            let now = self.pass();
            self.settle(now);
            if self.has_ended(now) {
                return self.finish().await;
            }
            let event = self.next(now).await;
            if let Event::Command(None) = event {
                return;
            }
            let now = self.pass();
            self.handle(now, event);
        }
    }

    /// Time has passed; what has been cut off for too long stops before anything else happens.
    fn pass(&mut self) -> Moment {
        let now = self.clock.now();
        let effects = self.machine.pass(now, uptime());
        self.act(now, effects);
        now
    }

    async fn next(&mut self, now: Moment) -> Event {
        let sleep = self.wake_at().map_or(DESCRIBE_EVERY, |at| at.since(now));
        let sleep = self.machine.lapse_in().map_or(sleep, |lapse| lapse.min(sleep));
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
        let can_renew = self.machine.session().is_open() || self.has_lapsed;
        let renewal = self.renewal.wake_at().filter(|_| can_renew);
        let describe = Some(self.describe_at).filter(|_| self.describing.is_none());
        [self.machine.wake_at(self.link.is_idle()), renewal, describe].into_iter().flatten().min()
    }

    /// Handles one event, synchronously: no two decisions meet.
    fn handle(&mut self, now: Moment, event: Event) {
        match event {
            Event::Command(Some(command)) => self.command(now, command),
            Event::Command(None) => {}
            Event::Task(task, input) => {
                let effects = self.machine.step(now, task, input);
                self.act(now, effects);
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
        if let Some(list) = self.machine.begin_write(now) {
            let files = self.files.clone();
            self.write = Some(tokio::task::spawn_blocking(move || files.write_list(&list)));
        }
        while let Some(report) = self.link.has_room().then(|| self.machine.next_report()).flatten() {
            self.link.say(ToManager::Report(report));
        }
        if self.machine.session().is_open()
            && let Some(channel) = self.link.channel().filter(|_| self.renewal.wake_at().is_some_and(|at| at <= now))
        {
            self.renewal.begin(now, channel, self.machine.session().manager());
        }
        let credentials = self.renewal.credentials();
        if self.machine.session().is_open() && self.told != credentials {
            self.told = credentials;
            self.link.say(ToManager::Credentials(self.told.clone()));
        }
        self.renewal.begin_to_trust();
        self.has_lapsed = self.renewal.has_lapsed(now);
        if self.has_lapsed && !self.machine.session().is_open() {
            let managers = self.machine.session().managers().to_vec();
            self.renewal.begin_again(now, managers, Arc::clone(&self.connector));
        }
        self.show();
    }

    fn show(&self) {
        let (session, tasks) = (self.machine.session(), self.machine.worker().len());
        let manager = Some(session.manager()).filter(|_| session.is_open());
        let identity = self.renewal.identity();
        self.view.send_if_modified(|view| {
            let same = view.manager.as_deref() == manager
                && view.tasks == tasks
                && view.trouble == self.machine.description().trouble
                && view.managers == session.managers()
                && view.era == session.era()
                && view.estranged != self.estranged.is_empty()
                && view.role == self.renewal.role()
                && Arc::ptr_eq(&view.identity, identity);
            if !same {
                view.manager = manager.map(str::to_owned);
                view.managers = session.managers().to_vec();
                view.identity = Arc::clone(identity);
                view.era = session.era();
                view.estranged = !self.estranged.is_empty();
                view.role = self.renewal.role();
                view.tasks = tasks;
                view.trouble.clone_from(&self.machine.description().trouble);
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
        self.machine.has_ended(now, self.steps.is_idle() && self.link.is_idle())
    }

    /// The last write, and the answer. An agent that left keeps nothing, so it need not write.
    async fn finish(mut self) {
        let write = self.write.take();
        if let Some(write) = write {
            // Its result does not matter: what follows writes or removes the same file.
            let _ = write.await;
        }
        let left = self.machine.ending() == Some(true);
        let result = if left { self.left() } else { self.files.write_list(&self.machine.worker().list()) };
        if let Some(answer) = self.answer.take() {
            let _ = answer.send(result);
        }
    }

    fn left(&self) -> Result<(), AgentError> {
        let count = self.machine.worker().len();
        if count > 0 {
            // The list stays, with every task in it to be removed when the daemon starts again.
            return self
                .files
                .write_list(&self.machine.worker().list())
                .and(Err(AgentError::LeaveIncomplete { count }));
        }
        self.files.remove()
    }
}

/// The end of a tokio task, which is taken out then; for ever when there is none.
async fn ended<T>(handle: &mut Option<JoinHandle<T>>) -> T {
    let Some(running) = handle else { return std::future::pending().await };
    let result = running.await;
    *handle = None;
    match result {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime ends, and this loop with it.
        Err(_) => std::future::pending().await,
    }
}

/// Managers in the order in which they are tried: those that somebody says are there now, those that served, those it began with.
fn in_order(config: &AgentConfig, remembered: Vec<String>) -> Vec<String> {
    let mut managers: Vec<String> = Vec::new();
    for manager in config.named.iter().cloned().chain(remembered).chain(config.managers.iter().cloned()) {
        if !managers.contains(&manager) {
            managers.push(manager);
        }
    }
    managers
}
