//! The handle by which a daemon holds its agent.
#![expect(clippy::disallowed_methods, reason = "driver: starts the loop and waits for its end")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use skep_proto::model::{Era, NodeRole};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::driver::Driver;
use crate::client::{Connect, TlsConnect};
use crate::error::AgentError;
use crate::identity::Identity;
use crate::sys::Executor;
use crate::vault::Vault;

/// Commands that wait. There are few callers, and each waits for its answer.
const COMMANDS_MAX: usize = 8;

/// What an agent is started with.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The daemon's data directory; the agent's files are in `agent/` and `certificates/` under it.
    pub data_dir: PathBuf,
    /// What a manager's key lies under, in the same directory.
    pub vault: Vault,
    /// Who the node is.
    pub identity: Arc<Identity>,
    /// HOST:PORT of managers to try before those that are remembered: somebody says that they are there now.
    pub named: Vec<String>,
    /// HOST:PORT of managers to try besides those that are remembered.
    pub managers: Vec<String>,
    /// Where this node believes to be reached; empty lets the manager see for itself.
    pub address: String,
    /// Instead of the machine's hostname.
    pub hostname: Option<String>,
    /// Labels given to the daemon.
    pub labels: BTreeMap<String, String>,
    /// Version of the daemon.
    pub version: String,
}

/// What the owner may want to know; always the newest.
#[derive(Clone, Debug)]
pub struct AgentView {
    /// The manager that a session is open with.
    pub manager: Option<String>,
    /// Every manager that is known, the likeliest first.
    pub managers: Vec<String>,
    /// The cluster removed this node: the agent talks to nobody any more, and its owner should let it leave.
    pub removed: bool,
    /// The latest era of the cluster that was heard of.
    pub era: Era,
    /// Managers answer, and neither takes the other's certificate: the root was replaced without this node.
    pub estranged: bool,
    /// The identity, which changes when the certificate is renewed.
    pub identity: Arc<Identity>,
    /// What the managers say this node is, as last heard; `None` before the first word. When it differs from the identity's role,
    /// a certificate with this one is on its way.
    pub role: Option<NodeRole>,
    /// Tasks on this node, ended ones included.
    pub tasks: usize,
    /// What keeps the node from taking tasks on; empty when nothing does.
    pub trouble: String,
}

impl AgentView {
    /// Of an agent that has heard of nobody yet.
    pub(crate) fn new(managers: Vec<String>, identity: Arc<Identity>) -> Self {
        let trouble = String::new();
        let (removed, estranged, era) = (false, false, Era::default());
        Self { manager: None, managers, removed, era, estranged, identity, role: None, tasks: 0, trouble }
    }
}

/// What an owner asks of the loop.
#[derive(Debug)]
pub(crate) enum Command {
    /// End; containers run on.
    Stop(oneshot::Sender<Result<(), AgentError>>),
    /// End, and leave nothing behind.
    Leave(oneshot::Sender<Result<(), AgentError>>),
    /// Look whether there is something new to tell.
    Look,
    /// Get a new certificate now.
    Renew,
    /// Use this one.
    Adopt(Box<Identity>),
    /// Try the manager at this address.
    Meet(String),
}

/// A running agent. Dropping it ends it without a goodbye, as a crash would.
#[derive(Debug)]
pub struct Agent {
    commands: mpsc::Sender<Command>,
    view: watch::Receiver<AgentView>,
    driver: JoinHandle<()>,
}

impl Agent {
    /// Starts an agent that speaks mutual TLS with its identity.
    ///
    /// # Errors
    /// As [`Agent::start_with`], and when the identity cannot be used for TLS.
    pub async fn start(config: AgentConfig, executor: Arc<dyn Executor>) -> Result<Self, AgentError> {
        let connector = Arc::new(TlsConnect::new(&config.identity)?);
        Self::start_with(config, executor, connector).await
    }

    /// Starts an agent that reaches managers through `connector`.
    ///
    /// # Errors
    /// When its files cannot be read, the containers of this node cannot be listed, or the machine cannot be described.
    pub async fn start_with(
        config: AgentConfig,
        executor: Arc<dyn Executor>,
        connector: Arc<dyn Connect>,
    ) -> Result<Self, AgentError> {
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let (driver, view) = Driver::open(config, executor, connector, inbox).await?;
        Ok(Self { commands, view, driver: tokio::spawn(driver.run()) })
    }

    /// What the agent knows, now and whenever it changes.
    #[must_use]
    pub fn view(&self) -> watch::Receiver<AgentView> {
        self.view.clone()
    }

    /// The vault is in line with the swarm's autolock: the managers are told.
    pub async fn look(&self) {
        // As below.
        let _ = self.commands.send(Command::Look).await;
    }

    /// Gets a new certificate as soon as a manager can be asked: the way in which a change of role reaches this node.
    pub async fn renew(&self) {
        // A loop that has ended renews nothing, and whoever waits for the view's change sees that it ended.
        let _ = self.commands.send(Command::Renew).await;
    }

    /// Tries the manager at HOST:PORT next, and in every round from now on: all that are known may have gone.
    pub async fn meet(&self, manager: String) {
        // As above.
        let _ = self.commands.send(Command::Meet(manager)).await;
    }

    /// Takes the certificate that a manager on this machine made for this node, when nobody could be asked for one. It is on disk already.
    pub async fn adopt(&self, identity: Identity) {
        // As above.
        let _ = self.commands.send(Command::Adopt(Box::new(identity))).await;
    }

    /// Says goodbye, finishes what is under way, and ends. Containers run on. With `leaving`, as [`Agent::leave`].
    ///
    /// # Errors
    /// When the task list could not be written.
    pub async fn shutdown(self, leaving: bool) -> Result<(), AgentError> {
        if leaving { self.leave().await } else { self.end(Command::Stop).await }
    }

    /// Says goodbye for good, kills and removes every container, and forgets the tasks and managers. The identity is the owner's
    /// to remove.
    ///
    /// # Errors
    /// When a container or a file would not go.
    pub async fn leave(self) -> Result<(), AgentError> {
        self.end(Command::Leave).await
    }

    async fn end(
        self,
        command: impl FnOnce(oneshot::Sender<Result<(), AgentError>>) -> Command,
    ) -> Result<(), AgentError> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.map_err(|_| AgentError::Ended)?;
        let result = answered.await.map_err(|_| AgentError::Ended)?;
        self.driver.await.map_err(|_| AgentError::Ended)?;
        result
    }
}
