//! What is told of the membership.

use skep_manager::run::Manager;
use skep_proto::model::{NodeState, UnlockKey};

use super::{Active, Membership, State};
use crate::daemon::metrics::ClusterSample;
use crate::daemon::standing::Standing;

impl Membership {
    /// What to tell about it.
    pub(crate) async fn standing(&self) -> Standing {
        match &*self.state.lock().await {
            State::Inactive => Standing::Inactive,
            State::Failed(why) => Standing::Failed(why.clone()),
            State::Locked(locked) => Standing::Locked(locked.clone()),
            State::Active(active) => Standing::Active {
                swarm: Box::new(active.swarm.clone()),
                identity: Box::new(active.identity.clone()),
                counts: active.manager.as_ref().and_then(Manager::counts).map(Box::new),
                read_only: active.manager.as_ref().and_then(Manager::read_only),
                missing: missing(active),
                trouble: active.agent.view().borrow().trouble.clone(),
                managers: managers(active),
                locked_with: self.vault.locked_with(),
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
}

impl Membership {
    /// What unlocks managers, while they lock themselves; managers only.
    pub(crate) async fn unlock_key(&self) -> Option<UnlockKey> {
        let state = self.state.lock().await;
        let State::Active(active) = &*state else { return None };
        active.manager.as_ref()?.store().read().cluster()?.lock.key.clone()
    }
}

/// Where managers are, as far as this node knows: its own agent stays on the machine, so a manager tells what the state says.
fn managers(active: &Active) -> Vec<String> {
    let known = active.manager.as_ref().map(Manager::addresses).unwrap_or_default();
    if known.is_empty() { active.agent.view().borrow().managers.clone() } else { known }
}

/// What a worker is told that was away while the root was replaced.
const LEFT_BEHIND: &str = "managers answer, but do not know this node's certificate (any more): it was left behind when the swarm's root \
                           certificate was replaced; its tasks run on; to bring it back, leave with `skep swarm leave` here and join \
                           again with a new token";

/// What a manager lacks to decide, or a worker to be told anything.
fn missing(active: &Active) -> Option<String> {
    match &active.manager {
        Some(manager) => manager.outlook().map(|outlook| outlook.explain()),
        None if active.agent.view().borrow().manager.is_some() => None,
        None if active.agent.view().borrow().estranged => Some(LEFT_BEHIND.to_owned()),
        None => Some("no manager serves this node at present; its tasks run on, and it goes on trying".to_owned()),
    }
}

fn node_word(state: NodeState) -> &'static str {
    match state {
        NodeState::Unknown => "unknown",
        NodeState::Ready => "ready",
        NodeState::Down => "down",
        NodeState::Disconnected => "disconnected",
    }
}
