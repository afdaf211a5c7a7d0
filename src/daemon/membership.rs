//! Whether this machine is part of a swarm, and the three ways in and out: init, join, leave.
//!
//! The truth is on the disk: an identity under `certificates/`, and `swarm.json`, which is written last on the way in and removed
//! last on the way out. A crash in between leaves a machine that is not part of a swarm, or one that can be told to leave
//! again. One change at a time: a second caller waits for the first.

mod news;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use skep_agent::executor::RuntimeExecutor;
use skep_agent::identity::client::JoinOrder;
use skep_agent::identity::{self, Identity};
use skep_agent::sys::Executor;
use skep_agent::{Agent, AgentConfig};
use skep_manager::run::{Manager, ManagerConfig, NewCluster};
use skep_proto::model::{NodeDescription, NodeState};
use skep_runtime::Runtime;
use tokio::sync::Mutex;

use super::disk::{self, SWARM_FORMAT, SwarmFile};
use super::gate::Gate;
use super::metrics::ClusterSample;
use super::standing::{InitOrder, Standing};

/// What a machine answers to calls about a cluster that it is no part of.
const NOT_IN_A_SWARM: &str = "this node is not a swarm manager: it is not part of a swarm; use `skep swarm init` to make a \
                              swarm, or `skep swarm join` to join one, and try again";

/// What a worker answers to calls about the cluster.
const NOT_A_MANAGER: &str = "this node is not a swarm manager: worker nodes can't be used to view or modify cluster state; \
                             run this command on a manager node";

/// Time to the second try to take the node's place in the swarm; doubled with every further one. A try that fails costs some
/// reading of the disk and a line in the daemon's log.
const RETRY_FIRST: Duration = Duration::from_secs(1);

/// Longest time between two tries: who has made room on a disk does not want to wait for long.
const RETRY_MAX: Duration = Duration::from_secs(15);

/// What the daemon is made of, as far as a swarm is concerned.
#[derive(Debug)]
pub(crate) struct Setting {
    /// The data directory.
    pub data_dir: PathBuf,
    /// The node's name.
    pub hostname: String,
    /// Labels of the engine.
    pub labels: BTreeMap<String, String>,
    /// The containers.
    pub runtime: Arc<Runtime>,
    /// The cluster's calls on the local socket.
    pub gate: Gate,
}

/// The machine's membership.
#[derive(Debug)]
pub(crate) struct Membership {
    setting: Setting,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Inactive,
    Active(Box<Active>),
    /// It should be part of a swarm and could not become it: why.
    Failed(String),
}

#[derive(Debug)]
struct Active {
    swarm: SwarmFile,
    identity: Identity,
    agent: Agent,
    manager: Option<Manager>,
}

impl Membership {
    /// Takes up what `swarm.json` says. A swarm that cannot be taken up leaves the daemon running, so that it can be asked why.
    pub(crate) async fn resume(setting: Setting) -> Arc<Self> {
        let membership = Arc::new(Self { setting, state: Mutex::new(State::Inactive) });
        let mut state = membership.state.lock().await;
        if membership.settle(&mut state).await {
            membership.try_again();
        }
        drop(state);
        membership
    }

    /// Tries to take up what `swarm.json` says. `true`: it failed, and the state says why.
    async fn settle(self: &Arc<Self>, state: &mut State) -> bool {
        *state = self.take_up().await.unwrap_or_else(|error| {
            tracing::error!(error = %format!("{error:#}"), "this node could not take its place in the swarm");
            State::Failed(format!("failed to take its place in the swarm: {error:#}"))
        });
        self.set_gate(state);
        self.follow(state);
        matches!(state, State::Failed(_))
    }

    /// Tries from time to time, because what was in the way may pass: a full disk, an address that the machine does not have yet.
    fn try_again(self: &Arc<Self>) {
        let membership = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut delay = RETRY_FIRST;
            loop {
                tokio::time::sleep(delay).await;
                let Some(membership) = membership.upgrade() else { return };
                let mut state = membership.state.lock().await;
                // It was told to leave meanwhile, or the daemon stops.
                if !matches!(*state, State::Failed(_)) || !membership.settle(&mut state).await {
                    return;
                }
                delay = (delay * 2).min(RETRY_MAX);
            }
        });
    }

    async fn take_up(&self) -> anyhow::Result<State> {
        let Some(swarm) = disk::read_swarm(&self.setting.data_dir)? else { return Ok(State::Inactive) };
        let identity = identity::disk::load(&self.setting.data_dir)?;
        let identity = identity.context("find the node's certificate: certificates/ in the data directory is empty")?;
        let manager = match swarm.manager {
            true => Some(Manager::open(self.manager_config(&swarm, &identity)?).await?),
            false => None,
        };
        self.activate(swarm, identity, manager).await
    }

    /// Makes a cluster of this one machine.
    ///
    /// # Errors
    /// When it is part of one already, or an address or a disk refuses; then it is no part of any.
    pub(crate) async fn init(self: &Arc<Self>, order: InitOrder) -> anyhow::Result<()> {
        let mut state = self.state.lock().await;
        self.require_inactive(&state)?;
        self.clear_remains().await?;
        let swarm = SwarmFile {
            format: SWARM_FORMAT,
            manager: true,
            listen: order.listen.to_string(),
            advertise: order.advertise.to_string(),
            managers: vec![order.advertise.to_string()],
        };
        let made = self.create(&order, &swarm).await;
        if made.is_err() {
            self.clear_remains().await?;
        }
        *state = made?;
        self.set_gate(&state);
        self.follow(&state);
        Ok(())
    }

    async fn create(&self, order: &InitOrder, swarm: &SwarmFile) -> anyhow::Result<State> {
        let config = NewCluster {
            state_dir: self.state_dir(),
            listen: order.listen,
            advertise: swarm.advertise.clone(),
            availability: order.availability,
            spec: order.spec,
            description: self.description().await?,
        };
        let (manager, pems) = Manager::create_cluster(config).await?;
        let identity = Identity::new(pems.certificate, pems.key, pems.root)?;
        identity::disk::store(&self.setting.data_dir, &identity)?;
        disk::write_swarm(&self.setting.data_dir, swarm)?;
        self.activate(swarm.clone(), identity, Some(manager)).await
    }

    /// Becomes a node of the cluster that the token is of.
    ///
    /// # Errors
    /// When it is part of one already, or the managers refuse; then it is no part of any.
    pub(crate) async fn join(self: &Arc<Self>, advertise: String, order: JoinOrder) -> anyhow::Result<Identity> {
        let mut state = self.state.lock().await;
        self.require_inactive(&state)?;
        self.clear_remains().await?;
        let identity = identity::client::join(&order).await?;
        identity::disk::store(&self.setting.data_dir, &identity)?;
        let managers = vec![order.address.clone()];
        let swarm = SwarmFile { format: SWARM_FORMAT, manager: false, listen: String::new(), advertise, managers };
        disk::write_swarm(&self.setting.data_dir, &swarm)?;
        *state = self.activate(swarm, identity.clone(), None).await?;
        self.set_gate(&state);
        self.follow(&state);
        Ok(identity)
    }

    /// Stops being part of a swarm and removes everything that came with it.
    ///
    /// # Errors
    /// When it is no part of one, or it is a manager and not `force`, or something could not be removed.
    pub(crate) async fn leave(&self, force: bool) -> anyhow::Result<()> {
        let mut state = self.state.lock().await;
        match std::mem::replace(&mut *state, State::Inactive) {
            State::Inactive => bail!("leave the swarm: this node is not part of a swarm"),
            State::Active(active) if active.manager.is_some() && !force => {
                *state = State::Active(active);
                bail!(
                    "leave the swarm: this node is its last manager, and leaving erases all current state of the swarm; \
                     use --force to do so"
                )
            }
            State::Active(active) => self.go(*active).await?,
            State::Failed(why) if !force => {
                let refusal = anyhow!(
                    "leave the swarm: leaving erases what this node has kept of it, and it may still be repaired ({why}); \
                     use --force to leave all the same"
                );
                *state = State::Failed(why);
                return Err(refusal);
            }
            State::Failed(_) => {}
        }
        self.set_gate(&state);
        self.clear_remains().await
    }

    /// The agent first, so that the managers hear of it; the manager after it.
    async fn go(&self, active: Active) -> anyhow::Result<()> {
        self.setting.gate.close(NOT_IN_A_SWARM);
        let left = active.agent.leave().await;
        if let Some(manager) = active.manager {
            manager.shutdown().await;
        }
        left.context("remove the tasks of this node")
    }

    /// Stops what runs for the swarm; containers stay.
    pub(crate) async fn stop(&self) {
        let mut state = self.state.lock().await;
        if let State::Active(active) = std::mem::replace(&mut *state, State::Inactive) {
            if let Err(error) = active.agent.shutdown(false).await {
                tracing::error!(error = %skep_proto::chain::chain(&error), "the agent did not stop cleanly");
            }
            self.setting.gate.close("this daemon is stopping");
            if let Some(manager) = active.manager {
                manager.shutdown().await;
            }
        }
    }

    /// What to tell about it.
    pub(crate) async fn standing(&self) -> Standing {
        match &*self.state.lock().await {
            State::Inactive => Standing::Inactive,
            State::Failed(why) => Standing::Failed(why.clone()),
            State::Active(active) => Standing::Active {
                swarm: Box::new(active.swarm.clone()),
                identity: Box::new(active.identity.clone()),
                counts: active.manager.as_ref().and_then(Manager::counts),
            },
        }
    }

    /// Numbers about the cluster; managers only. Counts every task, which is cheap enough for a page read a few times a minute.
    pub(crate) async fn cluster_sample(&self) -> Option<ClusterSample> {
        let state = self.state.lock().await;
        let State::Active(active) = &*state else { return None };
        let manager = active.manager.as_ref()?;
        let seen = manager.store().read();
        let mut sample =
            ClusterSample { leader: manager.leads(), applied_index: seen.index(), ..ClusterSample::default() };
        seen.services().for_each(|_| sample.services += 1);
        seen.nodes().for_each(|node| *sample.nodes.entry(node_word(node.status.state)).or_default() += 1);
        seen.tasks().for_each(|task| *sample.tasks.entry(task.status.state.name()).or_default() += 1);
        Some(sample)
    }

    /// The tokens and the address that others join with; managers only.
    pub(crate) async fn worker_token(&self) -> Option<String> {
        match &*self.state.lock().await {
            State::Active(active) => active.manager.as_ref().and_then(Manager::worker_token),
            _ => None,
        }
    }

    /// The machine, as it describes itself.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) async fn description(&self) -> anyhow::Result<NodeDescription> {
        let found = self.executor().describe().await?;
        let Setting { hostname, labels, .. } = &self.setting;
        Ok(NodeDescription {
            hostname: hostname.clone(),
            engine_version: env!("CARGO_PKG_VERSION").to_owned(),
            engine_labels: labels.clone(),
            ..found
        })
    }

    /// Hostname, labels and directories.
    pub(crate) fn setting(&self) -> &Setting {
        &self.setting
    }

    fn executor(&self) -> RuntimeExecutor {
        let Setting { hostname, runtime, .. } = &self.setting;
        RuntimeExecutor::new(Arc::clone(runtime), Some(hostname.clone()))
    }

    async fn activate(&self, swarm: SwarmFile, identity: Identity, manager: Option<Manager>) -> anyhow::Result<State> {
        let config = AgentConfig {
            data_dir: self.setting.data_dir.clone(),
            identity: Arc::new(identity.clone()),
            managers: swarm.managers.clone(),
            address: swarm.advertise.clone(),
            hostname: Some(self.setting.hostname.clone()),
            labels: self.setting.labels.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let agent = Agent::start(config, Arc::new(self.executor())).await?;
        Ok(State::Active(Box::new(Active { swarm, identity, agent, manager })))
    }

    fn manager_config(&self, swarm: &SwarmFile, identity: &Identity) -> anyhow::Result<ManagerConfig> {
        Ok(ManagerConfig {
            state_dir: self.state_dir(),
            node: identity.node,
            listen: swarm.listen.parse().with_context(|| format!("use {:?} as the listen address", swarm.listen))?,
            advertise: swarm.advertise.clone(),
            certificate: identity.certificate.clone(),
            key: identity.key.clone(),
            root: identity.root.clone(),
        })
    }

    fn state_dir(&self) -> PathBuf {
        self.setting.data_dir.join("manager")
    }

    fn set_gate(&self, state: &State) {
        match state {
            State::Inactive => self.setting.gate.close(NOT_IN_A_SWARM),
            State::Failed(why) => self.setting.gate.close(why),
            State::Active(active) => match &active.manager {
                Some(manager) => self.setting.gate.open(manager.control()),
                None => self.setting.gate.close(NOT_A_MANAGER),
            },
        }
    }

    fn require_inactive(&self, state: &State) -> anyhow::Result<()> {
        match state {
            State::Inactive => Ok(()),
            State::Active(_) => Err(anyhow!(
                "become part of a swarm: this node is part of one already; use `skep swarm leave` to leave it first"
            )),
            State::Failed(why) => Err(anyhow!("become part of a swarm: {why}; use `skep swarm leave --force` first")),
        }
    }

    /// Removes what membership leaves on the machine, whatever of it is there; `swarm.json` last.
    async fn clear_remains(&self) -> anyhow::Result<()> {
        self.setting.runtime.purge().await?;
        for name in ["manager", "agent"] {
            let dir = self.setting.data_dir.join(name);
            match fs::remove_dir_all(&dir) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("remove {}", dir.display()));
                }
                _ => {}
            }
        }
        identity::disk::remove(&self.setting.data_dir)?;
        disk::forget_swarm(&self.setting.data_dir)
    }
}

fn node_word(state: NodeState) -> &'static str {
    match state {
        NodeState::Unknown => "unknown",
        NodeState::Ready => "ready",
        NodeState::Down => "down",
    }
}

/// How long a clean stop may take in all before the process ends anyway. Nothing is lost then: it is as if it had crashed.
pub(crate) const STOP_MAX: Duration = Duration::from_secs(15);
