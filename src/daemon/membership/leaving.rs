//! The way out of a swarm, and what is removed then.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use skep_agent::identity;
use skep_manager::raft::siblings;

use super::{Active, Membership, NOT_IN_A_SWARM, State, seat};
use crate::daemon::disk;

impl Membership {
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
            State::Failed(_) | State::Locked(_) => {}
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

    /// Removes what membership leaves on the machine, whatever of it is there; `swarm.json` last.
    pub(super) async fn clear_remains(&self) -> anyhow::Result<()> {
        self.setting.runtime.purge().await?;
        self.forget_state().await?;
        remove_dir(&self.setting.data_dir.join("agent"))?;
        identity::disk::remove(&self.setting.data_dir)?;
        self.vault.forget()?;
        disk::forget_swarm(&self.setting.data_dir)
    }

    /// Removes what a manager keeps of the cluster, and what it has put aside.
    pub(super) async fn forget_state(&self) -> anyhow::Result<()> {
        let dir = self.state_dir();
        let removing = move || siblings(&dir).iter().chain([&dir]).try_for_each(|dir| remove_dir(dir));
        tokio::task::spawn_blocking(removing).await?
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
