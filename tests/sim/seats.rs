//! Which nodes have a seat among the managers: a node that the managers call one of them starts a manager, which asks to join; one that
//! they call a worker ends it. What the product's daemon does about it.

use skep_manager::membership::record::seat;
use skep_manager::raft::testing::{MemoryDisk, Rot};
use skep_manager::store::Store;
use skep_proto::model::{NodeId, NodeRole};

use super::agent::Daemon;
use super::asks::Ask;
use super::check::{Verdict, broken};
use super::manager::Manager;
use super::queue::{Event, Owner};
use super::time::{MS, SECOND, Us};
use super::world::World;
use super::{place, raft_id};

/// Nodes that no fault makes leave.
const STAY: usize = 4;

/// Wait before another try to take a seat.
const SEAT_RETRY: Us = 2 * SECOND;

/// How long no leader must be known before somebody is asked.
pub(super) const LEADERLESS: Us = 3 * SECOND;

/// How long a call to demote a manager may be on its way.
const DEMOTION_MAX: Us = 30 * SECOND;

impl World {
    /// A node has renewed its certificate and becomes what that says, which is what was committed by then.
    pub(super) fn take_role(&mut self, agent: usize) {
        let node = self.agents[agent].node;
        // One that is told to leave takes nothing else on.
        let leaves = self.agents[agent].daemon.as_ref().is_some_and(Daemon::is_leaving);
        let has_left = leaves || self.agents[agent].has_left;
        let role = self.truth().map(|store| store.read().node(node).map(|node| node.role));
        let Some(role) = role else { return self.stage.after(SEAT_RETRY, Event::Seat(agent)) };
        let role = role.filter(|_| !has_left).unwrap_or(NodeRole::Worker);
        match (role, self.seat_of(node)) {
            (NodeRole::Manager, None) => self.new_seat(node),
            (NodeRole::Worker, Some(manager)) => self.retire(manager),
            _ => {}
        }
    }

    pub(super) fn seat_of(&self, node: NodeId) -> Option<usize> {
        self.managers.iter().position(|manager| manager.node == node && !manager.is_retired)
    }

    fn new_seat(&mut self, node: NodeId) {
        let manager = self.managers.len();
        self.stage.note(format_args!("node {node} becomes manager {manager}"));
        let mut new = Manager::new(manager, node, MemoryDisk::joined(raft_id(manager)));
        new.error = self.clock_error();
        self.managers.push(new);
        self.start_manager(manager);
    }

    /// The seat is given up, and what was kept there goes.
    pub(super) fn retire(&mut self, manager: usize) {
        self.stage.note(format_args!("manager {manager} gives up its seat"));
        self.end(manager);
        let retired = &mut self.managers[manager];
        (retired.disk, retired.is_retired) = (None, true);
    }

    /// A manager loses what it kept and joins anew, as another member.
    pub(crate) fn lose_disk(&mut self, manager: usize) {
        if self.may_lose_one() {
            self.replace(manager);
        }
    }

    /// A manager finds its log damaged where no write was cut short, and must not go by it: what it lacks may have been acknowledged. A
    /// person makes it join anew.
    pub(crate) fn rot_disk(&mut self, manager: usize) {
        if !self.may_lose_one() || !self.end(manager) {
            return;
        }
        let bit = self.stage.chance.below(1 << 20);
        let rot = self.managers[manager].disk.as_ref().and_then(|disk| disk.rot(bit));
        let Some(rot) = rot else { return self.stage.after(SECOND, Event::Restart(manager)) };
        self.judge(invariant_a_damaged_log_is_refused(manager, rot, bit));
        self.replace(manager);
    }

    fn replace(&mut self, manager: usize) {
        let node = self.managers[manager].node;
        self.retire(manager);
        let agent = self.agents.iter().position(|agent| agent.node == node);
        agent.into_iter().for_each(|agent| self.stage.after(SECOND, Event::Seat(agent)));
    }

    /// What one manager has acknowledged may be lost: one at a time, because a majority has no other copy.
    fn may_lose_one(&self) -> bool {
        let seats = self.managers.iter().filter(|manager| !manager.is_retired).count();
        let leader = self.leader().and_then(|(leader, _)| self.managers[leader].daemon.as_ref());
        let Some(daemon) = leader.filter(|_| seats >= 3 && !self.may_be_demoting()) else { return false };
        let group = daemon.seat.group();
        let is_full = group.members.len() == seats && group.voters().count() == seats;
        // Nor while one is being taken away: then those that remain are fewer than they seem.
        is_full && daemon.store.read().nodes().all(|node| node.spec.role == node.role)
    }

    /// Somebody asked a moment ago for a manager to be taken away, and has no answer yet.
    fn may_be_demoting(&self) -> bool {
        let is_recent = |begun: Us| self.stage.now - begun < DEMOTION_MAX;
        let open = self.user.calls.values().filter(|call| call.ended.is_none() && is_recent(call.begun));
        open.into_iter().any(|call| matches!(call.ask, Ask::Role(_, NodeRole::Worker)))
    }

    /// A member is gone for good, and the one in its place is not there yet. No group of three survives that and the loss of another one.
    pub(super) fn makes_good(&self) -> bool {
        let groups = self.managers.iter().filter_map(|manager| Some(manager.daemon.as_ref()?.seat.group()));
        let is_gone = |id: u64| place(id).is_some_and(|place| self.managers[place].is_retired);
        groups.into_iter().any(|group| group.voters().any(|voter| is_gone(voter.id)))
    }

    /// A worker leaves the cluster for good.
    pub(crate) fn leave(&mut self, agent: usize) {
        let node = self.agents[agent].node;
        let stays = self.agents.iter().filter(|agent| !agent.has_left).count();
        let is_worker = |store: &Store| store.read().node(node).is_some_and(|node| node.spec.role == NodeRole::Worker);
        if stays > STAY && self.seat_of(node).is_none() && self.truth().is_some_and(is_worker) {
            let news = self.agents[agent].leave(&mut self.stage);
            self.take_news(agent, news);
        }
    }

    /// A node that was cut off while every manager that it knew went can find nobody. A person tells it where they are now.
    pub(super) fn show_the_way(&mut self) {
        let name = |manager: &Manager| format!("m{}", manager.place);
        let seats: Vec<String> = self.managers.iter().filter(|manager| !manager.is_retired).map(name).collect();
        for agent in 0..self.agents.len() {
            let known = &self.agents[agent].disk.managers;
            if !self.agents[agent].has_left && !known.iter().any(|known| seats.contains(known)) {
                let news = self.agents[agent].crash(&mut self.stage, false);
                self.take_news(agent, news);
                self.agents[agent].disk.managers.clone_from(&seats);
            }
        }
    }

    /// A manager that hears of no leader asks some other one what has become of its seat. One whose seat was taken away forgets its log, and
    /// becomes what its node is.
    pub(super) fn keep_seat(&mut self, manager: usize, life: u32) {
        let own = &self.managers[manager];
        if own.is_retired || own.life != life || own.daemon.is_none() {
            return;
        }
        self.stage.after(LEADERLESS, Event::KeepSeat(manager, life));
        if own.is_astray() {
            let (asked, delay) = (self.any_manager(), self.stage.chance.delay(MS, 100 * MS));
            self.stage.after(delay, Event::AskForSeat(asked, manager, life));
        }
    }

    /// Which is for a leader that is sure of it to answer.
    pub(super) fn ask_for_seat(&mut self, asked: usize, manager: usize, life: u32) {
        let hears = |one, other| !self.stage.net.is_cut_between(one, other, self.stage.now);
        if asked == manager || !hears(asked, manager) || !hears(manager, asked) || self.managers[asked].daemon.is_none()
        {
            return;
        }
        let leader = if self.leads(asked) { Some(asked) } else { self.managers[asked].leader() };
        if let Some(leader) = leader {
            self.managers[leader].propose(&mut self.stage, Owner::Seat(manager, life), Vec::new());
        }
    }

    /// The leader says what it knows.
    pub(super) fn told_of_seat(&mut self, leader: usize, manager: usize, life: u32) {
        let Some(daemon) = &self.managers[leader].daemon else { return };
        let (node, own) = (self.managers[manager].node, &self.managers[manager]);
        let told = seat(&daemon.store.read(), &daemon.seat.group(), node, raft_id(manager));
        if !told.gone || own.is_retired || own.life != life {
            return;
        }
        self.replace(manager);
    }

    /// A manager that is no member yet asks any of the others to be let in, until it is.
    pub(super) fn ask_to_join(&mut self, manager: usize) {
        let wants = &self.managers[manager];
        if wants.is_retired || wants.daemon.is_none() || wants.is_member() {
            return;
        }
        self.stage.after(SEAT_RETRY, Event::Ask(manager));
        let (asked, delay) = (self.any_manager(), self.stage.chance.delay(MS, 100 * MS));
        self.stage.after(delay, Event::Join(asked, manager, 0));
    }

    /// Which reaches a manager; one that does not lead passes it on. The leader calls the joiner back.
    pub(super) fn join(&mut self, asked: usize, joiner: usize, hops: u32) {
        let Some(daemon) = &self.managers[asked].daemon else { return };
        if daemon.term.is_none() {
            let leader = self.managers[asked].leader().filter(|_| hops < 2);
            let delay = self.stage.chance.delay(MS, self.stage.rules.latency_max);
            leader.into_iter().for_each(|to| self.stage.after(delay, Event::Join(to, joiner, hops + 1)));
            return;
        }
        let is_there = self.managers[joiner].daemon.is_some();
        let hears = |one, other| !self.stage.net.is_cut_between(one, other, self.stage.now);
        if is_there && hears(asked, joiner) && hears(joiner, asked) {
            let node = self.managers[joiner].node;
            self.managers[asked].take_in(&mut self.stage, node, joiner);
        }
    }

    /// Once all is quiet, the group is who the nodes' records say, each has its seat, and nobody else has one.
    pub(super) fn invariant_the_group_is_what_the_nodes_say(&self, leader: usize) -> Verdict {
        const NAME: &str = "the_group_is_what_the_nodes_say";
        let Some(daemon) = &self.managers[leader].daemon else { return Ok(()) };
        let (group, state) = (daemon.seat.group(), daemon.store.read());
        let mut wanted = Vec::new();
        for node in state.nodes().filter(|node| node.spec.role == NodeRole::Manager) {
            // Whoever left is a node until somebody removes it, and comes to be nothing else; so is one that was let in and never came,
            // behind which there is no machine that could take a seat.
            let machine = self.agents.iter().find(|agent| agent.node == node.id);
            let is_only_written_down = machine.is_none() && self.seat_of(node.id).is_none() && node.manager.is_none();
            if machine.is_some_and(|agent| agent.has_left) || is_only_written_down {
                continue;
            }
            match (&node.manager, self.seat_of(node.id)) {
                (Some(status), Some(seat)) if place(status.raft_id) == Some(seat) => wanted.push(status.raft_id),
                (status, seat) => return broken(NAME, format!("node {}: {status:?}, its seat is {seat:?}", node.id)),
            }
        }
        let seats = self.managers.iter().filter(|manager| !manager.is_retired).count();
        let voters: Vec<u64> = group.members.iter().filter(|member| member.is_voter).map(|member| member.id).collect();
        wanted.sort_unstable();
        if wanted != voters || voters.len() != group.members.len() || seats != voters.len() {
            return broken(NAME, format!("{wanted:?} are wanted, {:?} are there, of {seats} seats", group.members));
        }
        Ok(())
    }
}

/// A log that lacks what was acknowledged, or has something else in its place, would make the others forget it.
fn invariant_a_damaged_log_is_refused(manager: usize, rot: Rot, bit: u64) -> Verdict {
    match rot {
        Rot::Refused => Ok(()),
        Rot::Believed => broken("a_damaged_log_is_refused", format!("manager {manager} starts with bit {bit} flipped")),
    }
}
