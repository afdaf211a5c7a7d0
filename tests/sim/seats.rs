//! Which nodes have a seat among the managers: a node that the managers call one of them starts a manager, which asks to join; one that
//! they call a worker ends it. What the product's daemon does about it.

use skep_manager::raft::testing::MemoryDisk;
use skep_proto::model::{NodeId, NodeRole};

use super::check::{Verdict, broken};
use super::manager::Manager;
use super::queue::Event;
use super::time::{MS, SECOND, Us};
use super::world::World;
use super::{place, raft_id};

/// Wait before another try to take a seat.
const SEAT_RETRY: Us = 2 * SECOND;

impl World {
    /// A node has renewed its certificate and becomes what that says, which is what was committed by then.
    pub(super) fn take_role(&mut self, agent: usize) {
        let (node, has_left) = (self.agents[agent].node, self.agents[agent].has_left);
        let role = self.truth().map(|store| store.read().node(node).map(|node| node.role));
        let Some(role) = role else { return self.stage.after(SEAT_RETRY, Event::Seat(agent)) };
        let role = role.filter(|_| !has_left).unwrap_or(NodeRole::Worker);
        match (role, self.seat_of(node)) {
            (NodeRole::Manager, None) => self.new_seat(node),
            (NodeRole::Worker, Some(manager)) => self.retire(manager),
            _ => {}
        }
    }

    fn seat_of(&self, node: NodeId) -> Option<usize> {
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
