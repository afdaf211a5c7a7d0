//! Going on alone: this manager becomes the only one of its swarm, when the others are lost; and making way, when it was itself left
//! behind by one that did. Containers and their agent do not hear of either.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use skep_manager::forward::outlook::LEFT_BEHIND;
use skep_manager::group::{Group, quorum};
use skep_manager::run::Manager;
use skep_manager::store::Over;
use skep_proto::model::{Node, NodeId};
use tokio::time::{Instant, sleep};

use super::news::unseated;
use super::seat::known_now;
use super::{Active, Membership, State};
use crate::daemon::address;
use crate::daemon::disk::{self, SwarmFile};
use crate::daemon::run::candidates;

/// How long a leader that may be gone already is waited out: some election times. The others were perhaps lost a moment ago.
const LEADER_LINGERS_MAX: Duration = Duration::from_secs(5);

/// How long managers that answer may take to elect one before it is clear that they will not.
const ELECTION_MAX: Duration = Duration::from_secs(10);

/// Between two looks at the group.
const LOOK: Duration = Duration::from_millis(50);

/// What is said to those who ask about the cluster meanwhile.
const GOING_ON: &str = "this manager is about to go on as the only one of its swarm; try again in a moment";
const MAKING_WAY: &str = "this manager was left behind when its swarm was made anew, and joins it again; try again in a moment, or ask \
                          another manager";
const COMING_ANEW: &str = "this manager was taken out of the group of managers while it was away, and comes anew if it is to be one; try \
                           again in a moment, or ask another manager";

/// Where this machine is from now on; empty: as before.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewPlace {
    /// `IP[:PORT]`.
    pub listen: String,
    /// `IP|INTERFACE[:PORT]`.
    pub advertise: String,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alone {
    /// Where it is reached.
    pub advertise: String,
    /// Hostnames of the managers that were left behind.
    pub left_behind: Vec<String>,
}

impl Membership {
    /// Makes this manager the only one of its swarm.
    ///
    /// # Errors
    /// When it is no manager, or the managers that answer are enough, or its state cannot be read or written; nothing has changed then.
    pub(crate) async fn go_on_alone(self: &Arc<Self>, place: &NewPlace) -> anyhow::Result<Alone> {
        self.wait_for_the_loss().await?;
        let mut state = self.state.lock().await;
        let State::Active(active) = &mut *state else { bail!("go on alone: this node has just left its swarm") };
        let swarm = moved(&active.swarm, place)?;
        let config = self.manager_config(&swarm, &active.identity)?;
        let alive = match &active.manager {
            Some(manager) => manager.is_estranged().await,
            None => bail!("go on alone: this node has just become a worker"),
        };
        if alive {
            // Its swarm lives, and a second one of the same name would only be in its way.
            bail!("go on alone: {LEFT_BEHIND}");
        }
        let manager = active.manager.take().context("go on alone: this node has just become a worker")?;
        let left_behind = others(&manager, active.identity.node);
        active.locking = None;
        self.setting.gate.close(GOING_ON);
        manager.shutdown().await;
        let made = Manager::make_alone(&config).await;
        if made.is_ok() {
            active.swarm = swarm;
            self.write_down(&active.swarm);
        }
        // Whatever came of it, the node is a manager again: the only one, or what it was.
        let opened = self.open_manager(&active.swarm, &active.identity).await;
        let advertise = active.swarm.advertise.clone();
        match opened {
            Ok(manager) => active.manager = Some(manager),
            Err(error) => self.fail(&mut state, &error).await,
        }
        self.set_gate(&state);
        self.follow_lock(&mut state);
        made.map_err(|error| anyhow!(error).context("go on alone; nothing was changed"))?;
        tracing::warn!(?left_behind, "this manager goes on as the only one of its swarm");
        Ok(Alone { advertise, left_behind })
    }

    /// An address that is not written down is told the others again after the next move.
    fn write_down(&self, swarm: &SwarmFile) {
        if let Err(error) = disk::write_swarm(&self.setting.data_dir, swarm) {
            tracing::error!(error = %format!("{error:#}"), "this node's settings in the swarm were not written down");
        }
    }

    /// It could not take its seat again: it tries from time to time, as after a start.
    async fn fail(self: &Arc<Self>, state: &mut State, error: &anyhow::Error) {
        let failed = State::Failed(format!("failed to take its place in the swarm: {error:#}"));
        if let State::Active(active) = std::mem::replace(state, failed)
            && let Err(error) = active.agent.shutdown(false).await
        {
            tracing::error!(error = %skep_proto::chain::chain(&error), "the agent did not stop cleanly");
        }
        self.try_again();
    }

    /// Waits until it is certain that too many managers are gone.
    async fn wait_for_the_loss(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let group = match &*self.state.lock().await {
                State::Active(active) => match &active.manager {
                    Some(manager) => manager.group(),
                    None => bail!(
                        "go on alone: this node is a worker and has no copy of the swarm's state; run this on a manager, or \
                         restore a backup with `skep restore`"
                    ),
                },
                State::Locked(locked) => bail!("go on alone: {}", locked.sentence()),
                State::Failed(why) => bail!("go on alone: this node has not taken its place in the swarm ({why})"),
                State::Inactive => bail!(
                    "go on alone: this node is not part of a swarm; make a new one with `skep swarm init`, or restore a backup \
                     with `skep restore`"
                ),
            };
            match finding(&group, begun.elapsed()) {
                Finding::Lost => return Ok(()),
                Finding::Whole(why) => return Err(why),
                Finding::Unclear => sleep(LOOK).await,
            }
        }
    }

    /// The swarm lives on without this manager's group, or the group without this manager: its state goes, and the seat is taken anew as
    /// by any manager that has none. `true`: there is nothing (more) to do.
    pub(super) async fn make_way(&self, over: Over) -> bool {
        let mut state = self.state.lock().await;
        let State::Active(active) = &mut *state else { return true };
        let Some(manager) = active.manager.take() else { return true };
        active.locking = None;
        self.setting.gate.close(match over {
            Over::Era { .. } => MAKING_WAY,
            Over::Seat => COMING_ANEW,
        });
        manager.shutdown().await;
        // Until it has another seat it is a worker, also after a restart.
        active.swarm = unseated(&active.swarm);
        let cleared = match over {
            Over::Era { era, managers } => {
                (active.heard, active.is_told) = (era, !managers.is_empty());
                tracing::warn!(
                    ?managers,
                    "the swarm was made anew without this manager; it puts its state aside and joins again"
                );
                self.turn_to(active, managers).await;
                self.put_aside(active).await
            }
            Over::Seat => {
                tracing::warn!(
                    "this manager was taken out of the group while it was away; it forgets its state and joins again if it is to"
                );
                self.discard_state().await
            }
        };
        self.write_down(&active.swarm);
        if let Err(error) = &cleared {
            tracing::error!(error = %format!("{error:#}"), "the state of this manager could not be cleared away");
        }
        cleared.is_ok()
    }

    async fn put_aside(&self, active: &Active) -> anyhow::Result<()> {
        let config = self.manager_config(&active.swarm, &active.identity)?;
        Ok(Manager::put_aside(&config).await?)
    }

    /// Those who lead the swarm now may be where nobody here has looked for them.
    async fn turn_to(&self, active: &mut Active, managers: Vec<String>) {
        for manager in managers.iter().rev() {
            active.agent.meet(manager.clone()).await;
        }
        active.swarm.managers = known_now(&managers, &active.swarm);
    }

    /// Why this manager takes no part any more, if so; perhaps for a word of a later era from whoever its agent talks to.
    pub(super) async fn is_over(&self) -> Option<Over> {
        let state = self.state.lock().await;
        let State::Active(active) = &*state else { return None };
        let manager = active.manager.as_ref()?;
        manager.store().hear_of_era(active.agent.view().borrow().era);
        manager.store().watch_over().borrow().clone()
    }

    /// Waits until this node's manager hears that its time is over; holds nothing of the membership meanwhile.
    pub(super) async fn watch_over(&self) -> impl Future<Output = ()> + use<> {
        let over = match &*self.state.lock().await {
            State::Active(active) => active.manager.as_ref().map(|manager| manager.store().watch_over()),
            _ => None,
        };
        async move {
            let heard = match over {
                Some(mut over) => over.wait_for(Option::is_some).await.is_ok(),
                None => false,
            };
            if !heard {
                std::future::pending().await
            }
        }
    }
}

/// What the group looks like to whoever wants to go on without it.
enum Finding {
    /// Too many are gone.
    Lost,
    /// It can decide.
    Whole(anyhow::Error),
    /// It will be seen.
    Unclear,
}

fn finding(group: &Group, since: Duration) -> Finding {
    let (voters, heard) = (group.voters().count(), group.voters().filter(|voter| voter.is_heard).count());
    let is_led = group.leadership.leader.is_some();
    if is_led && voters < 2 {
        return Finding::Whole(anyhow!(
            "go on alone: this node is the only manager of its swarm already; use `skep daemon --advertise-addr` to change its address"
        ));
    }
    if is_led && since >= LEADER_LINGERS_MAX {
        return Finding::Whole(anyhow!(
            "go on alone: the swarm has a leader, and enough of its {voters} managers to decide; demote and remove those that are \
             lost with `skep node demote` and `skep node rm`"
        ));
    }
    let may_elect = heard >= quorum(voters) && since < ELECTION_MAX;
    if is_led || may_elect { Finding::Unclear } else { Finding::Lost }
}

/// Names of managers, in order.
pub(super) fn names<'a>(managers: impl Iterator<Item = &'a Arc<Node>>) -> Vec<String> {
    let mut names: Vec<String> = managers.map(|node| node.description.hostname.clone()).collect();
    names.sort_unstable();
    names
}

fn others(manager: &Manager, own: NodeId) -> Vec<String> {
    names(manager.store().read().managers().filter(|node| node.id != own))
}

/// The settings with the addresses that were given.
fn moved(swarm: &SwarmFile, place: &NewPlace) -> anyhow::Result<SwarmFile> {
    let listen: SocketAddr = match place.listen.as_str() {
        "" => super::seat::listen_of(swarm)?,
        asked => address::listen(asked)?,
    };
    let advertise = match place.advertise.as_str() {
        "" if place.listen.is_empty() => swarm.advertise.clone(),
        asked => address::advertise(asked, listen, &candidates()?)?.to_string(),
    };
    Ok(SwarmFile { listen: listen.to_string(), managers: vec![advertise.clone()], advertise, ..swarm.clone() })
}
