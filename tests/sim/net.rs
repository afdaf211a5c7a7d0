//! The fake network: streams between agents and managers. A stream is ordered in itself; two streams owe each other nothing.
//!
//! A cut link delivers nothing in that direction and loses nothing either, as TCP: what was under way arrives when it heals, unless one
//! side gave the connection up meanwhile. A reset loses what was under way.

use std::collections::{BTreeMap, VecDeque};

use skep_proto::pb;

use super::queue::{ConnId, Event, Side};
use super::stage::Stage;
use super::time::{MS, SECOND, Us};

/// How long an agent waits for a sign of life before it gives a connection up: its pings, and a margin.
const AGENT_PATIENCE: Us = 5 * SECOND;

/// The same for a manager.
const MANAGER_PATIENCE: Us = 20 * SECOND;

/// Something on its way.
#[derive(Debug)]
pub(crate) enum Packet {
    /// The stream is opened with these words.
    Open(Box<pb::Hello>),
    /// The manager takes the stream.
    Accept,
    /// To the manager.
    Say(Box<pb::AgentMessage>),
    /// To the agent.
    Tell(Box<pb::ManagerMessage>),
    /// That side says nothing more.
    End,
}

#[derive(Debug, Default)]
struct Lane {
    packets: VecDeque<Packet>,
    last: Us,
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) agent: usize,
    pub(crate) manager: usize,
    /// Each side still holds it.
    held: [bool; 2],
    /// It was reset: nothing arrives any more.
    is_broken: bool,
    lanes: [Lane; 2],
}

/// A way between managers on which messages are lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// For so long.
    pub(crate) until: Us,
    /// It comes and goes in spans of this length; without one it stays.
    pub(crate) flaps: Option<Us>,
}

/// All streams, and which links are cut until when.
#[derive(Debug, Default)]
pub(crate) struct Net {
    conns: BTreeMap<ConnId, Conn>,
    opened: ConnId,
    cuts: BTreeMap<(usize, usize), [Us; 2]>,
    /// From which manager to which nothing gets through.
    between: BTreeMap<(usize, usize), Cut>,
}

fn place(side: Side) -> usize {
    match side {
        Side::Agent => 0,
        Side::Manager => 1,
    }
}

fn other(side: Side) -> Side {
    match side {
        Side::Agent => Side::Manager,
        Side::Manager => Side::Agent,
    }
}

impl Net {
    /// A stream that somebody still holds.
    pub(crate) fn conn(&self, id: ConnId) -> Option<&Conn> {
        self.conns.get(&id)
    }

    /// Whether that side still holds the stream.
    pub(crate) fn holds(&self, id: ConnId, side: Side) -> bool {
        self.conns.get(&id).is_some_and(|conn| conn.held[place(side)])
    }

    /// Things on their way to that side.
    pub(crate) fn under_way(&self, id: ConnId, side: Side) -> usize {
        self.conns.get(&id).map_or(0, |conn| conn.lanes[place(side)].packets.len())
    }

    /// Streams of an agent (first) or a manager (second), whoever holds them.
    fn of(&self, agent: Option<usize>, manager: Option<usize>) -> Vec<ConnId> {
        let fits = |conn: &Conn| agent.is_none_or(|a| a == conn.agent) && manager.is_none_or(|m| m == conn.manager);
        self.conns.iter().filter(|(_, conn)| fits(conn)).map(|(id, _)| *id).collect()
    }

    fn cut_until(&self, id: ConnId, side: Side) -> Us {
        let link = self.conns.get(&id).map(|conn| (conn.agent, conn.manager));
        link.and_then(|link| self.cuts.get(&link)).map_or(0, |until| until[place(side)])
    }

    /// Messages from one manager to another are lost.
    pub(crate) fn cut_between(&mut self, from: usize, to: usize, cut: Cut) {
        self.between.insert((from, to), cut);
    }

    /// Whether they are lost now.
    pub(crate) fn is_cut_between(&self, from: usize, to: usize, now: Us) -> bool {
        let is_in = |cut: &Cut| cut.until > now && cut.flaps.is_none_or(|span| (now / span).is_multiple_of(2));
        self.between.get(&(from, to)).is_some_and(is_in)
    }

    fn drop_if_free(&mut self, id: ConnId) {
        if self.conns.get(&id).is_some_and(|conn| conn.held == [false, false]) {
            self.conns.remove(&id);
        }
    }
}

impl Stage {
    /// An agent begins to connect.
    pub(crate) fn open(&mut self, agent: usize, manager: usize, hello: Box<pb::Hello>) -> ConnId {
        self.net.opened += 1;
        let id = self.net.opened;
        let conn = Conn { agent, manager, held: [true, true], is_broken: false, lanes: Default::default() };
        self.net.conns.insert(id, conn);
        self.send(id, Side::Manager, Packet::Open(hello));
        id
    }

    /// Sends something to that side.
    pub(crate) fn send(&mut self, id: ConnId, to: Side, packet: Packet) {
        let delay = self.chance.delay(2 * MS, self.rules.latency_max);
        let now = self.now;
        let Some(conn) = self.net.conns.get_mut(&id).filter(|conn| !conn.is_broken) else { return };
        let lane = &mut conn.lanes[place(to)];
        lane.last = lane.last.max(now + delay);
        lane.packets.push_back(packet);
        let at = lane.last;
        self.at(at, Event::Arrive(id, to));
    }

    /// Takes what arrives at that side now; `None` when it is held up, or nobody is there any more.
    pub(crate) fn receive(&mut self, id: ConnId, at: Side) -> Option<Packet> {
        let until = self.net.cut_until(id, at);
        if until > self.now {
            self.at(until + MS, Event::Arrive(id, at));
            return None;
        }
        let conn = self.net.conns.get_mut(&id)?;
        let packet = conn.lanes[place(at)].packets.pop_front()?;
        if conn.held[place(at)] {
            return Some(packet);
        }
        // Nobody listens: the sender is told, unless it knows.
        self.lose(id, other(at), 5 * MS);
        None
    }

    /// That side lets the stream go. With `telling` the other side hears of it, after what is on its way to it.
    pub(crate) fn close(&mut self, id: ConnId, side: Side, telling: bool) {
        let Some(conn) = self.net.conns.get_mut(&id) else { return };
        conn.held[place(side)] = false;
        if telling && conn.held[place(other(side))] {
            self.send(id, other(side), Packet::End);
        }
        self.net.drop_if_free(id);
    }

    /// That side notices after a while that the stream is no more.
    pub(crate) fn lose(&mut self, id: ConnId, side: Side, within: Us) {
        if self.net.holds(id, side) {
            let delay = self.chance.between(0, within);
            self.after(delay, Event::Lost(id, side));
        }
    }

    /// Breaks a stream: what was under way is lost, and both sides notice.
    pub(crate) fn reset(&mut self, id: ConnId) {
        let Some(conn) = self.net.conns.get_mut(&id) else { return };
        conn.is_broken = true;
        conn.lanes.iter_mut().for_each(|lane| lane.packets.clear());
        self.lose(id, Side::Agent, 50 * MS);
        self.lose(id, Side::Manager, 50 * MS);
    }

    /// A process ended: the kernel lets its streams go and tells the other sides; without a kernel they notice in time.
    pub(crate) fn hang_up(&mut self, side: Side, who: usize, has_kernel: bool) {
        let (agent, manager) = if side == Side::Agent { (Some(who), None) } else { (None, Some(who)) };
        for id in self.net.of(agent, manager) {
            self.close(id, side, false);
            let patience = if side == Side::Agent { MANAGER_PATIENCE } else { AGENT_PATIENCE };
            self.lose(id, other(side), if has_kernel { 5 * MS } else { patience });
        }
    }

    /// Cuts a link in the directions given, for so long. Whoever hears nothing for too long gives its streams up.
    pub(crate) fn cut(&mut self, agent: usize, manager: usize, to: &[Side], span: Us) {
        let until = self.now + span;
        for side in to {
            self.net.cuts.entry((agent, manager)).or_default()[place(*side)] = until;
        }
        for id in self.net.of(Some(agent), Some(manager)) {
            for (side, patience) in [(Side::Agent, AGENT_PATIENCE), (Side::Manager, MANAGER_PATIENCE)] {
                if span > patience && self.net.holds(id, side) {
                    self.after(patience, Event::Lost(id, side));
                }
            }
        }
    }

    /// Heals every link now.
    pub(crate) fn heal(&mut self) {
        self.net.cuts.clear();
        self.net.between.clear();
    }

    /// Any stream.
    pub(crate) fn any_conn(&mut self) -> Option<ConnId> {
        let ids: Vec<ConnId> = self.net.conns.keys().copied().collect();
        self.chance.pick(&ids)
    }
}
