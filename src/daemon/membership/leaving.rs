//! The way out of a swarm, and what is removed then.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use skep_agent::identity;
use skep_manager::raft::siblings;
use skep_manager::run::Manager;
use tokio::sync::MutexGuard;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Active, Membership, NOT_IN_A_SWARM, State, seat};
use crate::daemon::disk;

/// How long a manager that was demoted may take to become a worker: it needs another certificate, and there may be an election meanwhile.
const STAND_DOWN_MAX: Duration = Duration::from_secs(15);

/// How long the agent of a manager that leaves may take to find another one. Unless it does, the others miss the node before they know.
const MEET_MAX: Duration = Duration::from_secs(3);

/// Between two looks whether it has.
const LOOK: Duration = Duration::from_millis(20);

impl Membership {
    /// Stops being part of a swarm and removes everything that came with it.
    ///
    /// # Errors
    /// When it is no part of one, or it is a manager and not `force`, or something could not be removed.
    pub(crate) async fn leave(&self, force: bool) -> anyhow::Result<()> {
        let is_to_go = !force && self.stand_down().await;
        let _no_seat = self.take_no_seat().await;
        let mut state = self.state.lock().await;
        match std::mem::replace(&mut *state, State::Inactive) {
            State::Inactive => bail!("leave the swarm: this node is not part of a swarm"),
            State::Active(mut active) => {
                if let Some(manager) = active.manager.as_ref().filter(|_| !force) {
                    let refusal = if is_to_go { not_yet() } else { seat::why_not_leave(&manager.group()) };
                    active.unwanted = CancellationToken::new();
                    *state = State::Active(active);
                    return Err(refusal);
                }
                if let Err(error) = self.go(*active).await {
                    *state = State::Failed(format!("failed to leave the swarm: {error:#}"));
                    return Err(error);
                }
            }
            State::Locked(locked) if !force => {
                let refusal = anyhow!(
                    "leave the swarm: {}, or use --force to leave all the same, which erases what this node has kept of the swarm",
                    locked.sentence()
                );
                *state = State::Locked(locked);
                return Err(refusal);
            }
            State::Failed(why) if !force => {
                let refusal = anyhow!(
                    "leave the swarm: leaving erases what this node has kept of it, and it may still be repaired ({why}); \
                     use --force to leave all the same"
                );
                *state = State::Failed(why);
                return Err(refusal);
            }
            State::Failed(_) => drop(self.give_up().await),
            State::Locked(_) => {}
        }
        self.set_gate(&state);
        self.clear_remains().await
    }

    /// Nobody takes a seat for this node while the result lives. Who is about to gives it up: it would have the port, and write things down,
    /// when the node is of another swarm already.
    async fn take_no_seat(&self) -> MutexGuard<'_, ()> {
        if let State::Active(active) = &*self.state.lock().await
            && active.manager.is_none()
        {
            active.unwanted.cancel();
        }
        self.taking.lock().await
    }

    /// Whether this manager is to be a worker; waits until it is one. Who demoted it is told as soon as the others go on without its vote, which
    /// is a moment before it hears of that itself.
    async fn stand_down(&self) -> bool {
        let asking = match &*self.state.lock().await {
            State::Active(active) => active.manager.as_ref().map(Manager::is_to_go),
            _ => None,
        };
        let is_to_go = match asking {
            Some(asking) => asking.await,
            None => false,
        };
        let deadline = Instant::now() + STAND_DOWN_MAX;
        while is_to_go && Instant::now() < deadline && self.has_manager().await {
            sleep(LOOK).await;
        }
        is_to_go
    }

    async fn has_manager(&self) -> bool {
        matches!(&*self.state.lock().await, State::Active(active) if active.manager.is_some())
    }

    /// The vote first, while there is somebody to take it; then the agent, so that the managers hear of it; the manager after it.
    async fn go(&self, active: Active) -> anyhow::Result<()> {
        self.setting.gate.close(NOT_IN_A_SWARM);
        if let Some(manager) = &active.manager
            && seat::give_up_the_vote(manager).await
        {
            // One that led has just sent its own agent away, which must find the successor to say goodbye to it.
            let mut view = active.agent.view();
            let _ = timeout(MEET_MAX, view.wait_for(|view| view.manager.is_some())).await;
        }
        let left = active.agent.leave().await;
        if let Some(manager) = active.manager {
            manager.shutdown().await;
        }
        left.context("remove the tasks of this node")
    }

    /// Removes what membership leaves on the machine, whatever of it is there; `swarm.json` last.
    pub(super) async fn clear_remains(&self) -> anyhow::Result<()> {
        self.end_join()?;
        self.clear_identity().await
    }

    /// The same but for the notes of a join that is under way.
    pub(super) async fn clear_identity(&self) -> anyhow::Result<()> {
        self.setting.runtime.purge().await?;
        self.forget_state().await?;
        remove_dir(&self.setting.data_dir.join("agent"))?;
        identity::disk::remove(&self.setting.data_dir)?;
        self.vault.forget()?;
        disk::forget_swarm(&self.setting.data_dir)
    }

    /// Removes what a manager keeps of the cluster.
    pub(super) async fn discard_state(&self) -> anyhow::Result<()> {
        let dir = self.state_dir();
        tokio::task::spawn_blocking(move || remove_dir(&dir)).await?
    }

    /// Removes what a manager keeps of the cluster, and what it has put aside.
    pub(super) async fn forget_state(&self) -> anyhow::Result<()> {
        let dir = self.state_dir();
        let removing = move || siblings(&dir).iter().chain([&dir]).try_for_each(|dir| remove_dir(dir));
        tokio::task::spawn_blocking(removing).await?
    }
}

fn not_yet() -> anyhow::Error {
    anyhow!(
        "leave the swarm: this manager is to be a worker and has not become one within {} s; try again in a moment, or use --force to leave at \
         once",
        STAND_DOWN_MAX.as_secs()
    )
}

fn remove_dir(dir: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}
