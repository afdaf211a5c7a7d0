//! Autolock on this machine: what a locked manager waits for, and how its keys follow what the cluster wants.
//!
//! The keys are the node's TLS key and that of the Raft log; the vault (`skep_agent::vault`) has what they are sealed with. A manager looks
//! at the cluster whenever that changes and brings its files in line: the same look after a start, a change of leader and a long
//! absence. A locked one runs nothing of the swarm, its agent neither: that could prove itself to nobody, and what the containers do
//! meanwhile their shims write down.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use skep_agent::identity::{self, Identity};
use skep_manager::raft;
use skep_manager::run::Manager;
use skep_manager::store::{Store, Topics};
use skep_proto::model::{Autolock, KeyId, NodeRole, UnlockKey};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::{Membership, State};
use crate::daemon::disk::{self, SwarmFile};

/// Wait after a disk refused to have the keys changed.
const AGAIN: Duration = Duration::from_secs(5);

/// How long Raft may take to change its key: some writes. It goes on if it takes longer.
const KEEP_MAX: Duration = Duration::from_secs(10);

/// A missed wake-up costs so much time and nothing else.
const FULL_LOOK: Duration = Duration::from_secs(30);

/// A manager that waits for the unlock key.
#[derive(Clone, Debug)]
pub(crate) struct Locked {
    /// Addresses.
    pub swarm: SwarmFile,
    /// Who it is; without its key.
    pub identity: Identity,
    /// The unlock key that it was locked with.
    pub key: KeyId,
}

impl Locked {
    /// What it answers to whatever it is asked about the swarm.
    pub(super) fn sentence(&self) -> String {
        format!(
            "this manager is locked: its keys lie encrypted under the unlock key {}; type `skep swarm unlock` and give it that key",
            self.key
        )
    }
}

/// What is to be done to the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    Stay,
    Seal,
    Clear,
}

/// A state that is older than what was followed already is one on its way through the log.
fn course(lock: &Autolock, followed: u64) -> Course {
    match &lock.key {
        _ if lock.version < followed => Course::Stay,
        Some(_) => Course::Seal,
        None if lock.version > followed => Course::Clear,
        None => Course::Stay,
    }
}

impl Membership {
    /// Whether this machine waits for the unlock key.
    ///
    /// # Errors
    /// When what it keeps cannot be read.
    pub(super) fn locked(&self, swarm: &SwarmFile) -> anyhow::Result<Option<Locked>> {
        self.vault.read()?;
        let Some(key) = self.vault.asks_for() else { return Ok(None) };
        let Some(identity) = identity::disk::load_public(&self.vault)? else { return Ok(None) };
        let is_manager = identity.role == NodeRole::Manager;
        let waits = identity::disk::is_sealed(&self.vault)?
            || (is_manager && swarm.manager && raft::is_sealed(&self.state_dir())?);
        Ok(waits.then(|| Locked { swarm: swarm.clone(), identity, key }))
    }

    /// A worker has nothing locked. One that was a manager until it was demoted, and ended before it had forgotten what it kept as one, forgets it now.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) async fn as_worker(&self, swarm: SwarmFile) -> anyhow::Result<SwarmFile> {
        if !swarm.manager || self.vault.asks_for().is_none() {
            if !swarm.manager {
                self.vault.forget()?;
            }
            return Ok(swarm);
        }
        let host = swarm.advertise.rsplit_once(':').map(|(host, _)| host.to_owned()).unwrap_or_default();
        let swarm = SwarmFile { manager: false, advertise: host, ..swarm };
        disk::write_swarm(self.vault.data_dir(), &swarm)?;
        self.forget_state().await?;
        self.vault.forget()?;
        Ok(swarm)
    }

    /// Takes the unlock key and then this manager's place in the swarm.
    ///
    /// # Errors
    /// When it is not locked, the key is another one, or the place cannot be taken yet; with the right key that is tried again.
    pub(crate) async fn unlock(self: &Arc<Self>, key: &UnlockKey) -> anyhow::Result<()> {
        let mut state = self.state.lock().await;
        match &*state {
            State::Locked(_) => self.vault.unlock(key)?,
            State::Failed(why) => bail!("unlock this manager: it is not locked, but {why}"),
            _ => bail!("unlock this node: it is not locked"),
        }
        if self.settle(&mut state).await {
            self.try_again();
        }
        match &*state {
            State::Failed(why) => bail!("go on after the key was taken: {why}; it is tried again, see `skep info`"),
            _ => Ok(()),
        }
    }

    /// Has this manager's keys follow the cluster for as long as it is one.
    pub(super) fn follow_lock(self: &Arc<Self>, state: &mut State) {
        let State::Active(active) = state else { return };
        let Some(manager) = &active.manager else { return };
        let (membership, store) = (Arc::downgrade(self), manager.store().clone());
        let mut subscription = store.subscribe_to(Topics { cluster: true, ..Topics::NONE });
        active.locking = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            while let Some(membership) = membership.upgrade() {
                let wait = membership.look_at_lock(&store).await;
                drop(membership);
                let _ = timeout(wait, subscription.touched()).await;
            }
        })));
    }

    /// One look; gives when to look again at the latest.
    async fn look_at_lock(&self, store: &Store) -> Duration {
        let state = self.state.lock().await;
        let State::Active(active) = &*state else { return FULL_LOOK };
        let lock = store.read().cluster().map(|cluster| cluster.lock.clone());
        let Some(lock) = lock.filter(|_| active.manager.is_some()) else { return FULL_LOOK };
        let before = self.vault.locked_with();
        let manager = active.manager.as_ref();
        if let Err(error) = self.bring_in_line(&lock, manager).await {
            tracing::error!(error = %format!("{error:#}"), "this manager's keys do not lie as the swarm wants it; it tries again");
            return AGAIN;
        }
        self.vault.settle();
        active.agent.look().await;
        let after = self.vault.locked_with();
        if before != after {
            tracing::info!(unlock_key = ?after, "this manager's keys follow the swarm's autolock");
        }
        match identity::disk::is_exposed(&self.vault) {
            // The key that it has was on the disk in clear, and who knows where that was copied to.
            Ok(true) => active.agent.renew().await,
            Ok(false) => {}
            Err(error) => {
                tracing::error!(error = %skep_proto::chain::chain(&error), "this manager's certificate cannot be looked at")
            }
        }
        FULL_LOOK
    }

    /// On the way in the vault comes first, on the way out last: see there.
    async fn bring_in_line(&self, lock: &Autolock, manager: Option<&Manager>) -> anyhow::Result<()> {
        let course = course(lock, self.vault.version());
        if course == Course::Seal {
            self.open_by_itself(lock)?;
            self.vault.engage(lock)?;
            identity::disk::keep(&self.vault, true)?;
        }
        if let Some(node_key) = self.vault.node_key().filter(|_| course != Course::Stay) {
            let sealed = course == Course::Seal;
            for dir in &raft::siblings(&self.state_dir()) {
                raft::keep_key(dir, &node_key, sealed)?;
            }
            if let Some(manager) = manager {
                timeout(KEEP_MAX, manager.keep_key(node_key, sealed))
                    .await
                    .context("wait for the log's key to be changed")??;
            }
        }
        if course == Course::Clear {
            identity::disk::keep(&self.vault, false)?;
            self.vault.disengage(lock.version)?;
        }
        Ok(())
    }
}

impl Membership {
    /// The vault is on and closed, and yet this manager runs: it ended when nothing was sealed yet. The cluster has the unlock key.
    fn open_by_itself(&self, lock: &Autolock) -> anyhow::Result<()> {
        let Some(asked) = self.vault.asks_for() else { return Ok(()) };
        match lock.find(asked) {
            Some(key) => self.vault.unlock(key)?,
            None => self.vault.forget()?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_follow_what_is_new_and_nothing_that_is_over() {
        let key = |number| Some(UnlockKey::new([number; 32]));
        let off = Autolock::default();
        let on = off.with(key(1));
        let rotated = on.with(key(2));
        let off_again = rotated.with(None);
        let cases = [
            (&off, 0, Course::Stay),
            (&on, 0, Course::Seal),
            (&on, 1, Course::Seal),
            (&rotated, 1, Course::Seal),
            (&off_again, 2, Course::Clear),
            (&off_again, 0, Course::Clear),
            (&off_again, 3, Course::Stay),
            // A log that is read again.
            (&off, 2, Course::Stay),
            (&on, 2, Course::Stay),
            (&on, 3, Course::Stay),
        ];
        for (lock, followed, wanted) in cases {
            assert_eq!(course(lock, followed), wanted, "{lock:?} {followed}");
        }
    }
}
