//! Whether this machine is part of a swarm, and the three ways in and out: init, join, leave.
//!
//! The truth is on the disk: an identity under `certificates/`, and `swarm.json`, which is written last on the way in and removed
//! last on the way out. A crash in between leaves a machine that is not part of a swarm, or one that can be told to leave
//! again. One change at a time: a second caller waits for the first.

mod arrival;
mod news;
mod numbers;
mod seat;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use skep_agent::executor::RuntimeExecutor;
use skep_agent::identity::client::JoinOrder;
use skep_agent::identity::{self, Identity};
use skep_agent::sys::Executor;
use skep_agent::{Agent, AgentConfig};
use skep_manager::run::{Manager, NewCluster};
use skep_proto::model::{NodeDescription, NodeRole};
use skep_runtime::Runtime;
use tokio::sync::Mutex;

use super::address;
use super::disk::{self, SWARM_FORMAT, SwarmFile};
use super::gate::Gate;
use super::standing::{InitOrder, Place};

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
    /// Where this node is now to be reached, `IP|INTERFACE[:PORT]`, instead of where it was.
    pub advertise: Option<String>,
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
        let identity = identity.with_context(|| {
            let dir = self.setting.data_dir.join("certificates");
            let way_out = "restore it from a backup, or give the node up with `skep swarm leave --force`";
            format!("find the node's certificate in {}: it is not there; {way_out}", dir.display())
        })?;
        let swarm = self.with_new_addresses(swarm)?;
        let manager = match swarm.manager {
            true => Some(self.open_manager(&swarm, &identity).await?),
            false => None,
        };
        let (identity, manager) = seat::good_at_start(&self.setting.data_dir, manager, identity).await?;
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
        let State::Active(active) = &*state else { return Ok(()) };
        let node = active.identity.node;
        drop(state);
        self.ready(node).await;
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
    pub(crate) async fn join(self: &Arc<Self>, place: Place, order: JoinOrder) -> anyhow::Result<Identity> {
        let mut state = self.state.lock().await;
        self.require_inactive(&state)?;
        self.clear_remains().await?;
        let joined = self.enter(&place, &order).await;
        if joined.is_err() {
            self.clear_remains().await?;
        }
        let (identity, active) = joined?;
        *state = active;
        self.set_gate(&state);
        self.follow(&state);
        let State::Active(active) = &*state else { return Ok(identity) };
        let view = active.agent.view();
        drop(state);
        self.arrived(view).await?;
        Ok(identity)
    }

    async fn enter(&self, place: &Place, order: &JoinOrder) -> anyhow::Result<(Identity, State)> {
        let identity = identity::client::join(order).await?;
        identity::disk::store(&self.setting.data_dir, &identity)?;
        let manager = identity.role == NodeRole::Manager;
        let swarm = SwarmFile {
            format: SWARM_FORMAT,
            manager,
            listen: place.listen.to_string(),
            advertise: if manager { self.address_toward(place, &order.address)? } else { place.advertise.clone() },
            managers: vec![order.address.clone()],
        };
        disk::write_swarm(&self.setting.data_dir, &swarm)?;
        let manager = match manager {
            true => Some(Manager::join(self.manager_config(&swarm, &identity)?).await?),
            false => None,
        };
        let state = self.activate(swarm, identity.clone(), manager).await?;
        Ok((identity, state))
    }

    /// Stops being part of a swarm and removes everything that came with it.
    ///
    /// # Errors
    /// When it is no part of one, or it is a manager and not `force`, or something could not be removed.
    pub(crate) async fn leave(&self, force: bool) -> anyhow::Result<()> {
        let mut state = self.state.lock().await;
        match std::mem::replace(&mut *state, State::Inactive) {
            State::Inactive => bail!("leave the swarm: this node is not part of a swarm"),
            State::Active(active) => {
                if let Some(manager) = active.manager.as_ref().filter(|_| !force) {
                    let refusal = seat::why_not_leave(&manager.group());
                    *state = State::Active(active);
                    return Err(refusal);
                }
                if let Err(error) = self.go(*active).await {
                    *state = State::Failed(format!("failed to leave the swarm: {error:#}"));
                    return Err(error);
                }
            }
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

    /// The vote first, while there is somebody to take it; then the agent, so that the managers hear of it; the manager after it.
    async fn go(&self, active: Active) -> anyhow::Result<()> {
        self.setting.gate.close(NOT_IN_A_SWARM);
        if let Some(manager) = &active.manager {
            seat::give_up_the_vote(manager).await;
        }
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
        let own = manager.as_ref().and_then(|_| swarm.listen.parse().ok()).map(address::own);
        let config = AgentConfig {
            data_dir: self.setting.data_dir.clone(),
            identity: Arc::new(identity.clone()),
            managers: own.map(|own| own.to_string()).into_iter().chain(swarm.managers.clone()).collect(),
            address: swarm.advertise.parse().map_or(swarm.advertise.clone(), |own: SocketAddr| own.ip().to_string()),
            hostname: Some(self.setting.hostname.clone()),
            labels: self.setting.labels.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let agent = match Agent::start(config, Arc::new(self.executor())).await {
            Ok(agent) => agent,
            Err(error) => {
                seat::close(manager).await;
                return Err(error.into());
            }
        };
        Ok(State::Active(Box::new(Active { swarm, identity, agent, manager })))
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
        self.forget_state().await?;
        remove_dir(&self.setting.data_dir.join("agent"))?;
        identity::disk::remove(&self.setting.data_dir)?;
        disk::forget_swarm(&self.setting.data_dir)
    }

    /// Removes what a manager keeps of the cluster.
    async fn forget_state(&self) -> anyhow::Result<()> {
        let dir = self.state_dir();
        tokio::task::spawn_blocking(move || remove_dir(&dir)).await?
    }
}

fn remove_dir(dir: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// How long a clean stop may take in all before the process ends anyway. Nothing is lost then: it is as if it had crashed.
pub(crate) const STOP_MAX: Duration = Duration::from_secs(15);
