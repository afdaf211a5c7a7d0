//! Whether each node counts as alive: a machine that hears of sessions, time and the state, and says what to write and whom to
//! dismiss.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use skep_proto::model::{Moment, Node, NodeDescription, NodeId, NodeState, NodeStatus};
use skep_proto::pb;

use super::admission::removed;
use super::batch::Input;
use super::fence::{self, Fence};
use super::heartbeat::{Deadlines, Rhythm, return_grace, scaled, seconds};
use super::registry::farewell;
use super::sight::Sight;
use super::trust::Trust;
use crate::group::Predecessor;
use crate::store::{State, Touched};

/// How long an agent that said goodbye may take to come back, as after an upgrade, before its tasks are run elsewhere.
const GOODBYE_GRACE: Duration = Duration::from_secs(3);

/// Why a node is disconnected, and down afterwards.
const STOPPED: &str = "the node was stopped";

/// However long an earlier leader was silent: should its machine live after all, it has found us by then.
const COME_BACK_MIN: Duration = Duration::from_millis(500);

/// What becomes of sessions.
#[derive(Debug)]
pub enum Event {
    /// A node is here.
    Started {
        /// Which.
        node: NodeId,
        /// Where it is reached.
        address: String,
        /// What it is.
        description: Box<NodeDescription>,
    },
    /// It has changed.
    Described {
        /// Which.
        node: NodeId,
        /// What it is now.
        description: Box<NodeDescription>,
    },
    /// Its session has ended, and it has no other.
    Ended {
        /// Which.
        node: NodeId,
        /// How.
        parting: Parting,
        /// When it was last heard.
        heard: Moment,
    },
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Parting {
    /// The connection broke, or the agent misbehaved.
    Lost,
    /// The agent stops; its containers run on.
    Goodbye,
    /// The node leaves the swarm.
    Leaving,
    /// We ended it.
    Dismissed(pb::Farewell),
}

/// What sessions tell their agents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Before jitter.
    pub period: Duration,
    /// HOST:PORT of every manager.
    pub managers: Arc<[String]>,
    /// The roots to be trusted.
    pub trust: Trust,
}

/// Something to do.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Bring it into the log.
    Write(Input),
    /// End the node's session, if it has one.
    Dismiss(NodeId, pb::Farewell),
}

/// Keeps the nodes' states.
#[derive(Debug)]
pub struct Keeper {
    settings: Settings,
    deadlines: Deadlines,
    rhythm: Rhythm,
    /// How many nodes there are.
    nodes: usize,
    /// What was last written of nodes that are not here, which may not be in the state yet.
    absent: BTreeMap<NodeId, NodeState>,
    /// When nodes without a session were last heard.
    heard: BTreeMap<NodeId, Moment>,
    fence: Fence,
}

impl Keeper {
    /// Begins a term: every node that is not known to be down is watched from now on. When an earlier leader last heard a node is
    /// not known, but it was before this term, so that what depends on it counts from now. Of the earlier leader's own machine it is
    /// known how long it has been silent, and that counts: the election has taken a good part of its grace.
    #[must_use]
    pub fn new(state: &State, now: Moment, before: Option<Predecessor>) -> Self {
        let (settings, nodes) = read_settings(state);
        let (rhythm, deadlines) = (Rhythm::new(settings.period), Deadlines::default());
        let (absent, fence) = (BTreeMap::new(), Fence::default());
        let heard = state.nodes().map(|node| (node.id, now)).collect();
        let mut keeper = Self { settings, nodes, deadlines, rhythm, absent, heard, fence };
        for node in state.nodes() {
            keeper.watch(state, now, node.id);
            if node.status.state == NodeState::Down {
                keeper.fence.raise(state, node.id, now);
            }
        }
        before.into_iter().for_each(|before| keeper.hurry(state, now, before));
        keeper
    }

    fn hurry(&mut self, state: &State, now: Moment, before: Predecessor) {
        let led = |node: &&Arc<Node>| node.manager.as_ref().is_some_and(|manager| manager.raft_id == before.raft_id);
        let Some(node) = state.nodes().find(led).filter(|node| self.deadlines.watches(node.id)) else { return };
        let grace = return_grace(self.settings.period, self.nodes).saturating_sub(before.silent);
        self.deadlines.set(node.id, now + grace.max(COME_BACK_MIN));
    }

    /// What sessions are to tell their agents.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// When [`Keeper::expire`] is wanted next.
    #[must_use]
    pub fn wake_at(&self) -> Option<Moment> {
        self.deadlines.next().into_iter().chain(self.fence.next()).min()
    }

    /// Hears of a session.
    pub fn take(&mut self, state: &State, now: Moment, event: Event) -> Vec<Effect> {
        match event {
            Event::Started { node, address, description } => {
                let is_known = self.absent.remove(&node).is_none();
                self.fence.lower(node);
                self.deadlines.set(node, now + self.rhythm.grace(now));
                ready(state.node(node), is_known, Some(address), description).into_iter().collect()
            }
            Event::Described { node, description } => {
                ready(state.node(node), true, None, description).into_iter().collect()
            }
            Event::Ended { node, parting, heard } => self.ended(state, now, (node, heard), &parting),
        }
    }

    fn ended(&mut self, state: &State, now: Moment, (node, heard): (NodeId, Moment), parting: &Parting) -> Vec<Effect> {
        self.heard.insert(node, now);
        match parting {
            // Silence is what counts: the grace runs from the last word, which the deadline has not followed yet.
            Parting::Lost | Parting::Dismissed(_) => {
                if self.deadlines.watches(node) {
                    self.deadlines.set(node, heard + self.rhythm.grace(now));
                }
                Vec::new()
            }
            Parting::Goodbye => {
                self.deadlines.set(node, now + GOODBYE_GRACE);
                self.disconnected(state, node).into_iter().collect()
            }
            Parting::Leaving => {
                self.deadlines.clear(node);
                let ended = fence::left(state, node, now);
                let ended = (!ended.is_empty()).then_some(Effect::Write(Input::Verdict(ended)));
                self.down(state, node, now, fence::LEFT).into_iter().chain(ended).collect()
            }
        }
    }

    /// Finds the nodes that have been silent for too long, and the tasks that have stopped because of it. `heard` tells when a node
    /// with a session was last heard, by what the sight says was read.
    pub fn expire(&mut self, state: &State, sight: Sight, heard: impl Fn(NodeId) -> Option<Moment>) -> Vec<Effect> {
        let now = sight.as_of;
        let grace = self.rhythm.grace(now);
        let silent = self.deadlines.expire(sight, grace, &heard);
        let mut effects: Vec<Effect> = silent
            .into_iter()
            .flat_map(|node| {
                let heard = heard(node).or(self.heard.get(&node).copied()).unwrap_or(now);
                self.silent(state, node, heard, grace)
            })
            .collect();
        let verdicts = self.fence.verdicts(state, now);
        effects.extend((!verdicts.is_empty()).then_some(Effect::Write(Input::Verdict(verdicts))));
        effects
    }

    fn silent(&mut self, state: &State, node: NodeId, heard: Moment, grace: Duration) -> Vec<Effect> {
        let last = self.absent.get(&node).copied().or(state.node(node).map(|node| node.status.state));
        let message = match last {
            Some(NodeState::Disconnected) => STOPPED.to_owned(),
            _ => format!("no heartbeat for {}", seconds(grace)),
        };
        let dismiss = Effect::Dismiss(node, farewell(&message));
        [dismiss].into_iter().chain(self.down(state, node, heard, &message)).collect()
    }

    fn down(&mut self, state: &State, node: NodeId, heard: Moment, message: &str) -> Option<Effect> {
        let known = state.node(node)?;
        self.fence.raise(state, node, heard);
        self.absent.insert(node, NodeState::Down);
        let status = NodeStatus::new(NodeState::Down, message, &known.status.address);
        Some(Effect::Write(change(known, status, None)))
    }

    /// A node whose agent has said goodbye gets nothing new from now on. Of one that was just given up there is no more to say.
    fn disconnected(&mut self, state: &State, node: NodeId) -> Option<Effect> {
        let known = state.node(node)?;
        if self.absent.contains_key(&node) {
            return None;
        }
        self.absent.insert(node, NodeState::Disconnected);
        let status = NodeStatus::new(NodeState::Disconnected, STOPPED, &known.status.address);
        Some(Effect::Write(change(known, status, None)))
    }

    /// Looks at what was touched: forgets nodes that were removed, watches those that are thought alive and are not watched yet.
    /// Settings come first: the nodes of a cluster that was made just now must not be judged by a period that was not known yet.
    pub fn look(&mut self, state: &State, now: Moment, touched: &Touched) -> Vec<Effect> {
        if touched.all || touched.cluster || !touched.nodes.is_empty() {
            (self.settings, self.nodes) = read_settings(state);
            self.rhythm.change(self.settings.period, now);
        }
        let all = state.nodes().filter(|_| touched.all).map(|node| node.id);
        let nodes: Vec<NodeId> = touched.nodes.iter().copied().chain(all).collect();
        nodes.into_iter().filter_map(|node| self.watch(state, now, node)).collect()
    }

    fn watch(&mut self, state: &State, now: Moment, node: NodeId) -> Option<Effect> {
        match state.node(node).map(|node| node.status.state) {
            None => return Some(self.removed(node)),
            Some(NodeState::Down) => self.fence.recount(state, node),
            Some(_) if self.deadlines.watches(node) => {}
            Some(_) => self.deadlines.set(node, now + return_grace(self.settings.period, self.nodes)),
        }
        None
    }

    fn removed(&mut self, node: NodeId) -> Effect {
        self.deadlines.clear(node);
        self.fence.lower(node);
        self.heard.remove(&node);
        self.absent.remove(&node);
        Effect::Dismiss(node, removed())
    }
}

/// The change that makes the node Ready and described so, unless it already is; what is known of it is not enough when something else
/// is on its way into the state.
fn ready(
    known: Option<&Arc<Node>>,
    is_latest: bool,
    address: Option<String>,
    description: Box<NodeDescription>,
) -> Option<Effect> {
    let known = known?;
    let address = address.unwrap_or_else(|| known.status.address.clone());
    let status = NodeStatus { since: known.status.since, ..NodeStatus::new(NodeState::Ready, "", &address) };
    let same = is_latest && known.status == status && known.description == *description;
    (!same).then(|| Effect::Write(change(known, status, Some(description))))
}

fn change(known: &Node, status: NodeStatus, description: Option<Box<NodeDescription>>) -> Input {
    Input::Node { node: known.id, status, description }
}

/// What sessions tell their agents, and how many nodes there are.
fn read_settings(state: &State) -> (Settings, usize) {
    let (mut nodes, mut managers) = (0, Vec::new());
    for node in state.nodes() {
        nodes += 1;
        managers.extend(node.manager.as_ref().map(|manager| manager.address.clone()).filter(|at| !at.is_empty()));
    }
    let wanted = state.cluster().map(|cluster| cluster.spec.heartbeat).unwrap_or_default();
    let trust = state.cluster().map(|cluster| Trust::of(cluster)).unwrap_or_default();
    (Settings { managers: managers.into(), period: scaled(wanted, nodes), trust }, nodes)
}

#[cfg(test)]
mod tests {
    use skep_proto::model::ManagerStatus;

    use super::*;
    use crate::fixture::{World, node_id};

    const SECOND: Duration = Duration::from_secs(1);

    /// A cluster of two nodes and its keeper, with a heartbeat of a second.
    fn kept() -> (World, Keeper) {
        let mut world = World::new(2);
        world.history(5);
        let keeper = Keeper::new(&world.state, world.now, None);
        (world, keeper)
    }

    fn written(effects: &[Effect]) -> Vec<(NodeId, NodeState)> {
        let states = effects.iter().filter_map(|effect| match effect {
            Effect::Write(Input::Node { node, status, .. }) => Some((*node, status.state)),
            _ => None,
        });
        states.collect()
    }

    fn messages(effects: &[Effect]) -> Vec<&str> {
        let messages = effects.iter().filter_map(|effect| match effect {
            Effect::Write(Input::Node { status, .. }) => Some(status.message.as_str()),
            _ => None,
        });
        messages.collect()
    }

    /// A session of a node that describes itself as nothing that is known.
    fn started(node: u32) -> Event {
        Event::Started { node: node_id(node), address: String::new(), description: Box::default() }
    }

    fn dismissed(effects: &[Effect]) -> Vec<NodeId> {
        let nodes = effects.iter().filter_map(|effect| match effect {
            Effect::Dismiss(node, _) => Some(*node),
            Effect::Write(_) => None,
        });
        nodes.collect()
    }

    #[test]
    fn a_node_that_never_comes_back_to_a_new_leader_goes_down() {
        let (mut world, mut keeper) = kept();
        world.wait(Duration::from_millis(2_800));
        assert!(keeper.expire(&world.state, Sight::clear(world.now), |_| None).is_empty());
        world.wait(Duration::from_millis(200));
        let effects = keeper.expire(&world.state, Sight::clear(world.now), |_| None);
        assert_eq!(written(&effects), [(node_id(1), NodeState::Down), (node_id(2), NodeState::Down)]);
    }

    #[test]
    fn the_silence_of_the_leader_before_counts() {
        let (mut world, _) = kept();
        world.edit_node(1, |node| node.manager = Some(ManagerStatus { raft_id: 7, address: "a:1".into() }));
        for (silent, left) in [(0, 2_910), (2_000, 910), (60_000, 500)] {
            let before = Predecessor { raft_id: 7, silent: Duration::from_millis(silent) };
            let mut keeper = Keeper::new(&world.state, world.now, Some(before));
            world.wait(Duration::from_millis(left - 100));
            assert!(written(&keeper.expire(&world.state, Sight::clear(world.now), |_| None)).is_empty(), "{silent}");
            world.wait(Duration::from_millis(200));
            assert!(
                written(&keeper.expire(&world.state, Sight::clear(world.now), |_| None))
                    .contains(&(node_id(1), NodeState::Down))
            );
        }
    }

    #[test]
    fn a_quicker_heartbeat_takes_nobody_for_dead_who_could_not_know_of_it() {
        let (mut world, mut keeper) = kept();
        for (node, heartbeat) in [(1, 10), (2, 1)] {
            let mut cluster = skep_proto::model::Cluster::clone(world.state.cluster().unwrap());
            cluster.spec.heartbeat = SECOND * heartbeat;
            world.apply(vec![crate::store::Change::PutCluster(Box::new(cluster))]);
            let touched = Touched { cluster: true, ..Touched::default() };
            assert!(keeper.look(&world.state, world.now, &touched).is_empty());
            let address = String::new();
            let started = Event::Started { node: node_id(node), address, description: Box::default() };
            keeper.take(&world.state, world.now, started);
        }
        let heard = world.now;
        world.wait(SECOND * 10);
        assert!(written(&keeper.expire(&world.state, Sight::clear(world.now), |_| Some(heard))).is_empty());
        world.wait(SECOND * 20);
        assert_eq!(written(&keeper.expire(&world.state, Sight::clear(world.now), |_| Some(heard))).len(), 2);
    }

    #[test]
    fn a_node_of_a_cluster_that_was_made_just_now_has_its_whole_grace() {
        let (mut world, _) = kept();
        let mut keeper = Keeper::new(&State::default(), world.now, None);
        let touched = Touched { all: true, ..Touched::default() };
        assert!(keeper.look(&world.state, world.now, &touched).is_empty());
        world.wait(SECOND * 2);
        assert!(keeper.expire(&world.state, Sight::clear(world.now), |_| None).is_empty());
    }

    #[test]
    fn a_goodbye_is_written_at_once_and_starts_a_grace_that_a_return_ends() {
        let (mut world, mut keeper) = kept();
        for node in [1, 2] {
            let ended = Event::Ended { node: node_id(node), parting: Parting::Goodbye, heard: world.now };
            let effects = keeper.take(&world.state, world.now, ended);
            assert_eq!(written(&effects), [(node_id(node), NodeState::Disconnected)]);
            world.turn(node, NodeState::Disconnected);
        }
        world.wait(SECOND * 2);
        let effects = keeper.take(&world.state, world.now, started(1));
        assert_eq!(written(&effects), [(node_id(1), NodeState::Ready)]);
        world.turn(1, NodeState::Ready);
        world.wait(SECOND * 2);
        let heard = world.now;
        let effects =
            keeper.expire(&world.state, Sight::clear(world.now), |node| (node == node_id(1)).then_some(heard));
        assert_eq!(written(&effects), [(node_id(2), NodeState::Down)]);
        assert_eq!(dismissed(&effects), [node_id(2)]);
        assert_eq!(messages(&effects), [STOPPED]);
    }

    #[test]
    fn another_leader_knows_that_a_node_was_stopped_and_waits_for_it_all_the_same() {
        let (mut world, _) = kept();
        world.turn(1, NodeState::Disconnected);
        let mut keeper = Keeper::new(&world.state, world.now, None);
        world.wait(SECOND * 2);
        assert!(keeper.expire(&world.state, Sight::clear(world.now), |_| Some(world.now)).is_empty());
        world.wait(SECOND * 2);
        let heard = |node| (node == node_id(2)).then_some(world.now);
        assert_eq!(messages(&keeper.expire(&world.state, Sight::clear(world.now), heard)), [STOPPED]);
    }

    #[test]
    fn a_node_that_is_back_while_its_loss_is_being_written_is_ready_again() {
        let (mut world, mut keeper) = kept();
        world.wait(SECOND * 4);
        let effects = keeper.expire(&world.state, Sight::clear(world.now), |_| None);
        assert_eq!(written(&effects).len(), 2, "and the state does not know of it yet");
        let known = world.state.node(node_id(1)).unwrap();
        let description = Box::new(known.description.clone());
        let started = Event::Started { node: node_id(1), address: String::new(), description };
        assert_eq!(written(&keeper.take(&world.state, world.now, started)), [(node_id(1), NodeState::Ready)]);
        let stopped = Event::Ended { node: node_id(2), parting: Parting::Goodbye, heard: world.now };
        assert!(keeper.take(&world.state, world.now, stopped).is_empty(), "one that is given up stays down");
    }

    #[test]
    fn a_broken_connection_leaves_the_whole_grace_since_the_last_word() {
        let (mut world, mut keeper) = kept();
        for node in [1, 2] {
            let (node, address) = (node_id(node), String::new());
            keeper.take(&world.state, world.now, Event::Started { node, address, description: Box::default() });
        }
        // Its deadline is a moment away, because no beat moves it.
        world.wait(Duration::from_millis(2_800));
        let heard = world.now;
        let lost = Event::Ended { node: node_id(1), parting: Parting::Lost, heard };
        assert!(keeper.take(&world.state, world.now, lost).is_empty());
        let expire = |keeper: &mut Keeper, world: &World| {
            keeper.expire(&world.state, Sight::clear(world.now), |node| (node == node_id(2)).then_some(world.now))
        };
        world.wait(Duration::from_millis(2_800));
        assert!(expire(&mut keeper, &world).is_empty());
        world.wait(Duration::from_millis(150));
        assert_eq!(written(&expire(&mut keeper, &world)), [(node_id(1), NodeState::Down)]);
    }

    #[test]
    fn a_node_that_leaves_is_down_at_once_and_one_that_was_removed_is_told_so() {
        let (mut world, mut keeper) = kept();
        let left = Event::Ended { node: node_id(1), parting: Parting::Leaving, heard: world.now };
        assert_eq!(written(&keeper.take(&world.state, world.now, left)), [(node_id(1), NodeState::Down)]);
        world.remove_node(2);
        let touched = Touched { nodes: [node_id(2)].into(), ..Touched::default() };
        assert_eq!(dismissed(&keeper.look(&world.state, world.now, &touched)), [node_id(2)]);
    }

    /// Places the tasks of another service; how many tasks are on node 1 then.
    fn crowd(world: &mut World, mut spec: skep_proto::model::ServiceSpec) -> usize {
        spec.name = skep_proto::model::ServiceName::new("crowd").unwrap();
        let service = world.create(spec);
        for slot in 1..=8 {
            world.task(service, skep_proto::model::Slot::Replica(slot));
        }
        world.place();
        let there = world.state.tasks_on(node_id(1)).count();
        assert!(there > 1);
        there
    }

    #[test]
    fn what_was_assigned_while_a_node_left_has_not_run_either() {
        let (mut world, mut keeper, _) = guarded();
        let left = Event::Ended { node: node_id(1), parting: Parting::Leaving, heard: world.now };
        assert_eq!(verdicts(&keeper.take(&world.state, world.now, left)), 1);
        let there = crowd(&mut world, crate::fixture::replicated(8));
        world.edit_node(1, |node| node.status = NodeStatus::new(NodeState::Down, fence::LEFT, ""));
        keeper.look(&world.state, world.now, &Touched { nodes: [node_id(1)].into(), ..Touched::default() });
        assert_eq!(keeper.wake_at().map(|at| at <= world.now), Some(true));
        assert_eq!(verdicts(&keeper.expire(&world.state, Sight::clear(world.now), |_| Some(world.now))), there);
        let mut next = Keeper::new(&world.state, world.now, None);
        assert_eq!(
            verdicts(&next.expire(&world.state, Sight::clear(world.now), |_| None)),
            there,
            "nor does another leader forget it"
        );
    }

    #[test]
    fn what_was_assigned_while_a_node_went_down_is_fenced_off_too() {
        let (mut world, mut keeper, fence) = guarded();
        let silent = world.now;
        world.now = keeper.wake_at().unwrap();
        assert_eq!(written(&keeper.expire(&world.state, Sight::clear(world.now), |_| None)).len(), 2);
        let mut spec = crate::fixture::replicated(8);
        spec.task.on_disconnect = skep_proto::model::OnDisconnect::StopAfter(SECOND * 30);
        let there = crowd(&mut world, spec);
        world.turn(1, NodeState::Down);
        keeper.look(&world.state, world.now, &Touched { nodes: [node_id(1)].into(), ..Touched::default() });
        let now = silent + fence;
        assert_eq!(verdicts(&keeper.expire(&world.state, Sight::clear(now), |_| None)), there);
    }

    #[test]
    fn a_node_that_says_what_is_known_writes_nothing() {
        let (world, mut keeper) = kept();
        let known = world.state.node(node_id(1)).unwrap();
        let again = |address: &str| Event::Started {
            node: node_id(1),
            address: address.to_owned(),
            description: Box::new(known.description.clone()),
        };
        assert!(keeper.take(&world.state, world.now, again("")).is_empty());
        assert_eq!(written(&keeper.take(&world.state, world.now, again("a:1"))), [(node_id(1), NodeState::Ready)]);
    }
    /// Verdicts among the effects.
    fn verdicts(effects: &[Effect]) -> usize {
        let count = |effect: &Effect| match effect {
            Effect::Write(Input::Verdict(reported)) => reported.len(),
            _ => 0,
        };
        effects.iter().map(count).sum()
    }

    /// A cluster of two nodes; on each runs a task that stops thirty seconds after the node is cut off.
    fn guarded() -> (World, Keeper, Duration) {
        let (mut world, _) = kept();
        let mut spec = crate::fixture::replicated(2);
        spec.task.on_disconnect = skep_proto::model::OnDisconnect::StopAfter(SECOND * 30);
        let fence = spec.task.fence().unwrap();
        let service = world.create(spec);
        let tasks = [1, 2].map(|slot| world.task(service, skep_proto::model::Slot::Replica(slot)));
        world.place();
        tasks.iter().for_each(|&task| world.report(task, skep_proto::model::TaskState::Running));
        let keeper = Keeper::new(&world.state, world.now, None);
        (world, keeper, fence)
    }

    /// Lets time pass until the keeper wants it, and brings what it writes of nodes into the state.
    fn pass(world: &mut World, keeper: &mut Keeper, heard: Option<Moment>) -> Vec<Effect> {
        world.now = keeper.wake_at().unwrap();
        let effects = keeper.expire(&world.state, Sight::clear(world.now), |_| heard);
        for (node, state) in written(&effects) {
            world.turn(u32::try_from(node.bits()).unwrap(), state);
        }
        effects
    }

    #[test]
    fn a_silent_nodes_single_writers_are_judged_a_fence_after_it_was_heard() {
        let (mut world, mut keeper, fence) = guarded();
        let heard = world.now + SECOND;
        while world.state.nodes().any(|node| node.status.state != NodeState::Down) {
            assert_eq!(verdicts(&pass(&mut world, &mut keeper, Some(heard))), 0);
        }
        let effects = pass(&mut world, &mut keeper, None);
        assert_eq!((world.now, verdicts(&effects)), (heard + fence, 2));
    }

    #[test]
    fn a_new_leader_counts_from_the_beginning_of_its_term() {
        let (mut world, _, fence) = guarded();
        world.turn(1, NodeState::Down);
        world.wait(fence);
        let mut keeper = Keeper::new(&world.state, world.now, None);
        let began = world.now;
        let mut judged = 0;
        while judged == 0 {
            judged = verdicts(&pass(&mut world, &mut keeper, Some(Moment(u64::MAX))));
        }
        assert_eq!((world.now, judged), (began + fence, 1));
    }

    #[test]
    fn a_node_that_is_back_is_not_judged() {
        let (mut world, mut keeper, fence) = guarded();
        while world.state.nodes().any(|node| node.status.state != NodeState::Down) {
            pass(&mut world, &mut keeper, None);
        }
        for node in [1, 2] {
            let (node, address) = (node_id(node), String::new());
            keeper.take(&world.state, world.now, Event::Started { node, address, description: Box::default() });
        }
        world.wait(fence * 2);
        let now = world.now;
        assert_eq!(verdicts(&keeper.expire(&world.state, Sight::clear(now), |_| Some(now))), 0);
    }

    #[test]
    fn a_node_that_leaves_has_nothing_left_that_could_run() {
        let (world, mut keeper, _) = guarded();
        let left = Event::Ended { node: node_id(1), parting: Parting::Leaving, heard: world.now };
        assert_eq!(verdicts(&keeper.take(&world.state, world.now, left)), 1);
    }
}
