//! Whether this machine is part of a swarm, and the three ways in and out: init, join, leave.
//!
//! The truth is on the disk: an identity under `certificates/`, and `swarm.json`, which is written last on the way in and removed
//! last on the way out. A join that a crash cuts short is finished by the next start ([`attempt`]); any other change leaves a machine that
//! is not part of a swarm, or one that can be told to leave again. One change at a time: a second caller waits for the first.

mod anew;
mod arrival;
mod attempt;
mod leaving;
mod locking;
mod news;
mod numbers;
mod restoring;
mod seat;

pub(crate) use anew::NewPlace;
pub(crate) use restoring::RestoreOrder;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use skep_agent::executor::RuntimeExecutor;
use skep_agent::identity::client::{Granted, JoinOrder};
use skep_agent::identity::{self, Identity};
use skep_agent::sys::Executor;
use skep_agent::vault::{Vault, draw_unlock_key};
use skep_agent::{Agent, AgentConfig};
use skep_manager::run::{Manager, NewCluster};
use skep_proto::model::{Autolock, Era, NodeDescription, NodeRole};
use skep_runtime::Runtime;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::address;
use super::disk::{self, SWARM_FORMAT, SwarmFile};
use super::gate::Gate;
use super::standing::{InitOrder, Place};
pub(crate) use locking::Locked;

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
    /// The run directory.
    pub run_dir: PathBuf,
    /// The node's name.
    pub hostname: String,
    /// Labels of the engine.
    pub labels: BTreeMap<String, String>,
    /// The containers.
    pub runtime: Arc<Runtime>,
    /// Where this node is now to be reached, `IP|INTERFACE[:PORT]`, instead of where it was.
    pub advertise: Option<String>,
    /// HOST:PORT of managers that are to be found there now, besides those that are known.
    pub managers: Vec<String>,
    /// The cluster's calls on the local socket.
    pub gate: Gate,
}

/// The machine's membership.
#[derive(Debug)]
pub(crate) struct Membership {
    setting: Setting,
    vault: Vault,
    state: Mutex<State>,
    /// Held while the node takes a seat among the managers, which it does beside everything else, and while it leaves. Taken before the state.
    taking: Mutex<()>,
}

#[derive(Debug)]
enum State {
    Inactive,
    Active(Box<Active>),
    /// It is a manager, and waits for the unlock key.
    Locked(Box<Locked>),
    /// It should be part of a swarm and could not become it: why.
    Failed(String),
}

#[derive(Debug)]
struct Active {
    swarm: SwarmFile,
    identity: Identity,
    agent: Agent,
    manager: Option<Manager>,
    /// The latest era that its manager was told of; its agent may not have met anybody of it yet.
    heard: Era,
    /// It was told where managers of that era are.
    is_told: bool,
    /// The node leaves: no seat is to be taken any more.
    unwanted: CancellationToken,
    /// Has a manager's keys lie as the cluster wants it.
    locking: Option<AbortOnDropHandle<()>>,
}

impl Membership {
    /// Takes up what `swarm.json` says. A swarm that cannot be taken up leaves the daemon running, so that it can be asked why.
    pub(crate) async fn resume(setting: Setting) -> Arc<Self> {
        let membership = Arc::new(Self {
            vault: Vault::at(&setting.data_dir),
            setting,
            state: Mutex::new(State::Inactive),
            taking: Mutex::default(),
        });
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
        self.take_effect(state);
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
        let Some(swarm) = disk::read_swarm(&self.setting.data_dir)? else { return self.finish_join().await };
        self.end_join()?;
        if let Some(locked) = self.locked(&swarm)? {
            return Ok(State::Locked(Box::new(locked)));
        }
        let identity = identity::disk::load(&self.vault)?;
        let identity = identity.with_context(|| {
            let dir = self.setting.data_dir.join("certificates");
            let way_out = "restore it from a backup, or give the node up with `skep swarm leave --force`";
            format!("find the node's certificate in {}: it is not there; {way_out}", dir.display())
        })?;
        let swarm = if identity.role == NodeRole::Worker { self.as_worker(swarm).await? } else { swarm };
        let swarm = self.with_new_addresses(swarm)?;
        let manager = match swarm.manager {
            true => Some(self.open_manager(&swarm, &identity).await?),
            false => None,
        };
        let (identity, manager) = seat::good_at_start(&self.vault, manager, identity).await?;
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
        self.take_effect(&mut state);
        let State::Active(active) = &*state else { return Ok(()) };
        let node = active.identity.node;
        drop(state);
        self.ready(node).await;
        Ok(())
    }

    async fn create(&self, order: &InitOrder, swarm: &SwarmFile) -> anyhow::Result<State> {
        let lock = match order.spec.autolock {
            true => Autolock::default().with(Some(draw_unlock_key())),
            false => Autolock::default(),
        };
        self.vault.engage(&lock)?;
        let config = NewCluster {
            state_dir: self.state_dir(),
            listen: order.listen,
            advertise: swarm.advertise.clone(),
            availability: order.availability,
            spec: order.spec,
            description: self.description().await?,
            lock,
            node_key: self.vault.node_key(),
        };
        let (manager, pems) = Manager::create_cluster(config).await?;
        let identity = Identity::new(pems.certificate, pems.key, pems.root)?;
        identity::disk::store(&self.vault, &identity)?;
        disk::write_swarm(&self.setting.data_dir, swarm)?;
        self.activate(swarm.clone(), identity, Some(manager)).await
    }

    /// Becomes a node of the cluster that the token is of.
    ///
    /// # Errors
    /// When it is part of one already, or the managers refuse; then it is no part of any.
    pub(crate) async fn join(self: &Arc<Self>, place: Place, order: JoinOrder) -> anyhow::Result<Identity> {
        let mut state = self.state.lock().await;
        self.supersede(&mut state).await?;
        self.require_inactive(&state)?;
        self.clear_remains().await?;
        let joined = self.enter(&place, &order).await;
        if let Err(error) = &joined {
            self.take_back(&order, error).await;
            self.clear_remains().await?;
        }
        let (identity, active) = joined?;
        *state = active;
        self.take_effect(&mut state);
        let State::Active(active) = &*state else { return Ok(identity) };
        let view = active.agent.view();
        drop(state);
        self.arrived(view).await?;
        Ok(identity)
    }

    async fn enter(&self, place: &Place, order: &JoinOrder) -> anyhow::Result<(Identity, State)> {
        self.begin(place, order)?;
        let Granted { identity, lock } = identity::client::join(order).await?;
        self.vault.engage(&lock)?;
        identity::disk::store(&self.vault, &identity)?;
        let manager = identity.role == NodeRole::Manager;
        let swarm = SwarmFile {
            format: SWARM_FORMAT,
            manager,
            listen: place.listen.to_string(),
            advertise: if manager { self.address_toward(place, &order.address)? } else { place.advertise.clone() },
            managers: vec![order.address.clone()],
        };
        disk::write_swarm(&self.setting.data_dir, &swarm)?;
        self.end_join()?;
        let manager = match manager {
            true => Some(Manager::join(self.manager_config(&swarm, &identity)?).await?),
            false => None,
        };
        let state = self.activate(swarm, identity.clone(), manager).await?;
        Ok((identity, state))
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
            named: self.setting.managers.clone(),
            data_dir: self.setting.data_dir.clone(),
            vault: self.vault.clone(),
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
        let (heard, is_told, unwanted) = (Era::default(), false, CancellationToken::new());
        Ok(State::Active(Box::new(Active { swarm, identity, agent, manager, heard, is_told, unwanted, locking: None })))
    }

    fn state_dir(&self) -> PathBuf {
        self.setting.data_dir.join("manager")
    }

    /// What follows from a new state.
    fn take_effect(self: &Arc<Self>, state: &mut State) {
        self.set_gate(state);
        self.follow(state);
        self.follow_lock(state);
    }

    fn set_gate(&self, state: &State) {
        match state {
            State::Inactive => self.setting.gate.close(NOT_IN_A_SWARM),
            State::Failed(why) => self.setting.gate.close(why),
            State::Locked(locked) => self.setting.gate.close(&locked.sentence()),
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
            State::Locked(locked) => {
                Err(anyhow!("become part of a swarm: {}, or leave with --force first", locked.sentence()))
            }
            State::Failed(why) => Err(anyhow!("become part of a swarm: {why}; use `skep swarm leave --force` first")),
        }
    }
}

/// How long a clean stop may take in all before the process ends anyway. Nothing is lost then: it is as if it had crashed.
pub(crate) const STOP_MAX: Duration = Duration::from_secs(15);
