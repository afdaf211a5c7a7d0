//! The dispatcher's sessions and loops, driven as the product's `run.rs` and `service.rs` drive them.

use std::collections::VecDeque;
use std::sync::Arc;

use skep_manager::dispatcher::batch::{Input, Told};
use skep_manager::dispatcher::keeper::{Effect, Event as Happening, Parting};
use skep_manager::dispatcher::registry::Line;
use skep_manager::dispatcher::session::say;
use skep_manager::dispatcher::sight::Sight;
use skep_manager::dispatcher::talk::{Act, Talk};
use skep_manager::store::{Store, Watch};
use skep_proto::model::{Moment, NodeId};
use skep_proto::pb;
use skep_proto::pb::agent_message::Message as Heard;
use skep_proto::pb::manager_message::Message as Said;

use super::super::net::Packet;
use super::super::queue::{ConnId, Event, Loop, Owner, Result, Side};
use super::super::stage::Stage;
use super::super::time::{MS, SECOND, Us, alarm};
use super::term::Dispatching;
use super::{Daemon, Manager};

/// Reports that wait for the next proposal; few, so that sessions are held up now and then.
const INPUTS_MAX: usize = 8;

/// Messages on their way to an agent; a session that has so many computes nothing new.
const OUT_MAX: usize = 6;

/// How long the carrier waits after a proposal that came to nothing.
const RETRY: Us = 100 * MS;

/// How long after the loops have ended it is looked whether this manager leads after all.
const RESTART: Us = 50 * MS;

/// One session of a leader.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(super) node: NodeId,
    line: Arc<Line>,
    talk: Talk,
    watch: Watch,
    commits: tokio::sync::watch::Receiver<u64>,
    contacts: tokio::sync::watch::Receiver<u64>,
    arrived: VecDeque<pb::AgentMessage>,
    is_armed: bool,
    /// Which settings it was told of.
    told: u64,
}

impl Visit {
    pub(super) fn new(node: NodeId, line: Arc<Line>, own: &Dispatching, store: &Store) -> Self {
        // Before the first look, so that nothing falls between the two.
        let watch = store.watch_node(node);
        Self {
            node,
            talk: Talk::new(node, line.session, &own.settings, &store.read()),
            watch,
            commits: line.commits(),
            contacts: line.contacts(),
            line,
            arrived: VecDeque::new(),
            is_armed: false,
            told: own.version,
        }
    }

    pub(super) fn arm(&mut self, stage: &mut Stage, conn: ConnId) {
        if !self.is_armed {
            self.is_armed = true;
            let delay = stage.chance.delay(MS, SECOND / 2);
            stage.after(delay, Event::Session(conn));
        }
    }
}

impl Manager {
    /// Something arrives on a stream.
    pub(crate) fn arrive(&mut self, stage: &mut Stage, conn: ConnId, node: NodeId, packet: Packet) {
        match packet {
            Packet::Open(hello) => self.open(stage, conn, node, *hello),
            Packet::Say(message) => {
                let Some(visit) = self.visit(conn) else { return };
                visit.arrived.push_back(*message);
                self.session(stage, conn);
            }
            _ => self.lost(stage, conn),
        }
    }

    fn visit(&mut self, conn: ConnId) -> Option<&mut Visit> {
        self.daemon.as_mut()?.term.as_mut()?.dispatching.visits.get_mut(&conn)
    }

    pub(super) fn arm_all(&mut self, stage: &mut Stage) {
        let Some(term) = self.daemon.as_mut().and_then(|daemon| daemon.term.as_mut()) else { return };
        term.dispatching.visits.iter_mut().for_each(|(id, visit)| visit.arm(stage, *id));
    }

    /// The keeper hears of a session.
    pub(super) fn happened(&mut self, stage: &mut Stage, event: Happening) {
        let Some(daemon) = &mut self.daemon else { return };
        let steady = daemon.steady(stage.now);
        let Some(term) = &mut daemon.term else { return };
        let effects = term.dispatching.keeper.take(&daemon.store.read(), steady, event);
        self.obey(stage, effects);
    }

    /// The keeper looks at what was touched and at who has been silent.
    pub(super) fn keep(&mut self, stage: &mut Stage) {
        let Some(daemon) = &mut self.daemon else { return };
        let steady = daemon.steady(stage.now);
        let Some(term) = &mut daemon.term else { return };
        let own = &mut term.dispatching;
        let touched = own.subscription.take();
        let state = daemon.store.read();
        let mut effects = if touched.is_empty() { Vec::new() } else { own.keeper.look(&state, steady, &touched) };
        effects.extend(own.keeper.expire(&state, Sight::clear(steady), |node| own.registry.last_heard(node, steady)));
        let is_new = own.settings != *own.keeper.settings();
        own.settings = own.keeper.settings().clone();
        own.version += u64::from(is_new);
        drop(state);
        if is_new {
            self.arm_all(stage);
        }
        self.obey(stage, effects);
    }

    fn obey(&mut self, stage: &mut Stage, effects: Vec<Effect>) {
        let Some(daemon) = &mut self.daemon else { return };
        let steady = daemon.steady(stage.now);
        let Some(term) = &mut daemon.term else { return };
        for effect in effects {
            let own = &mut term.dispatching;
            match effect {
                Effect::Write(input) => {
                    if let Input::Node { node, status, .. } = &input {
                        stage.note(format_args!("keeper: node {node} is {:?} {}", status.state, status.message));
                    }
                    own.inputs.push_back(input);
                    term.arm_soon(stage, Loop::Carrier);
                }
                Effect::Dismiss(node, words) => {
                    own.registry.end(node, words);
                    let theirs = own.visits.iter_mut().filter(|(_, visit)| visit.node == node);
                    theirs.for_each(|(id, visit)| visit.arm(stage, *id));
                }
            }
        }
        if let Some(at) = term.dispatching.keeper.wake_at() {
            term.arm(stage, Loop::Keeper, alarm(stage.now, steady, at));
        }
    }

    /// Proposes all that waits.
    pub(super) fn carry(&mut self, stage: &mut Stage) {
        let wall = self.wall(stage);
        let Some(term) = self.daemon.as_mut().and_then(|daemon| daemon.term.as_mut()) else { return };
        let own = &mut term.dispatching;
        if own.is_carrying {
            return;
        }
        while !own.batch.is_full()
            && let Some(input) = own.inputs.pop_front()
        {
            own.batch.add(input);
        }
        if !own.batch.is_empty() {
            own.is_carrying = true;
            let transactions = own.batch.transactions(wall);
            self.propose(stage, Owner::Carrier, transactions);
        }
        // There is room again.
        self.arm_all(stage);
    }

    pub(super) fn carried(&mut self, stage: &mut Stage, result: &Result) {
        let Some(daemon) = &mut self.daemon else { return };
        let words = daemon.elsewhere(self.place);
        let Some(term) = &mut daemon.term else { return };
        let own = &mut term.dispatching;
        own.is_carrying = false;
        match own.batch.proposed(result.as_ref().err()) {
            Told::Committed(origins) => {
                for origin in origins {
                    let line = own.registry.get(origin.node).filter(|line| line.session == origin.session);
                    line.into_iter().for_each(|line| line.commit(origin.seq));
                }
                term.arm_soon(stage, Loop::Carrier);
            }
            Told::Again => {
                let at = stage.now + RETRY;
                term.arm(stage, Loop::Carrier, at);
            }
            Told::Deposed => {
                own.registry.end_all(&words);
                let at = stage.now + RETRY;
                term.arm(stage, Loop::Carrier, at);
            }
        }
        self.arm_all(stage);
    }

    /// A session does what it can: the branches of the product's loop, tried in turn until none is left.
    pub(crate) fn session(&mut self, stage: &mut Stage, conn: ConnId) {
        let Some(daemon) = &mut self.daemon else { return };
        let Some(visit) = daemon.term.as_mut().and_then(|term| term.dispatching.visits.get_mut(&conn)) else { return };
        visit.is_armed = false;
        loop {
            let Some(daemon) = &mut self.daemon else { return };
            match step(daemon, stage, conn) {
                Progress::None => return self.testify(stage),
                Progress::Some => {}
                Progress::Happened(event) => self.happened(stage, event),
                Progress::Over(parting) => return self.part(stage, conn, &parting),
            }
        }
    }

    /// Makes sure, for all heartbeats that wait, that this manager still leads after it has heard them.
    fn testify(&mut self, stage: &mut Stage) {
        let Some(term) = self.daemon.as_mut().and_then(|daemon| daemon.term.as_mut()) else { return };
        let own = &mut term.dispatching;
        if own.asked.is_empty() && !own.asking.is_empty() {
            own.asked = std::mem::take(&mut own.asking);
            self.propose(stage, Owner::Contact, Vec::new());
        }
    }

    /// This manager led after it had heard those heartbeats, or it could not be made sure.
    pub(super) fn testified(&mut self, stage: &mut Stage, result: &Result) {
        let Some(term) = self.daemon.as_mut().and_then(|daemon| daemon.term.as_mut()) else { return };
        let own = &mut term.dispatching;
        for (conn, seq) in std::mem::take(&mut own.asked) {
            if let Some(visit) = own.visits.get_mut(&conn).filter(|_| result.is_ok()) {
                visit.line.witness(seq);
                visit.arm(stage, conn);
            }
        }
        self.testify(stage);
    }

    /// The stream is no more.
    pub(crate) fn lost(&mut self, stage: &mut Stage, conn: ConnId) {
        if self.visit(conn).is_some() {
            self.part(stage, conn, &Parting::Lost);
        } else {
            stage.close(conn, Side::Manager, false);
        }
    }

    fn part(&mut self, stage: &mut Stage, conn: ConnId, parting: &Parting) {
        let Some(daemon) = &mut self.daemon else { return };
        let steady = daemon.steady(stage.now);
        let Some(term) = &mut daemon.term else { return };
        let own = &mut term.dispatching;
        let Some(visit) = own.visits.remove(&conn) else { return };
        stage.note(format_args!("manager {}: stream {conn} of {} ends: {parting:?}", self.place, visit.node));
        if let Parting::Dismissed(words) = parting {
            stage.send(conn, Side::Agent, tell(say(Said::Farewell(words.clone()))));
        }
        stage.close(conn, Side::Manager, true);
        let heard = visit.line.last_heard(steady);
        if own.registry.leave(visit.node, visit.line.session) {
            self.happened(stage, Happening::Ended { node: visit.node, parting: parting.clone(), heard });
        }
    }

    /// Leads no more: every session ends, and what only a leader knows is forgotten.
    pub(crate) fn end_term(&mut self, stage: &mut Stage) {
        let Some(daemon) = &mut self.daemon else { return };
        let words = daemon.elsewhere(self.place);
        let Some(term) = &mut daemon.term else { return };
        stage.note(format_args!("manager {} leads no more", self.place));
        let conns: Vec<ConnId> = term.dispatching.visits.keys().copied().collect();
        for conn in conns {
            self.part(stage, conn, &Parting::Dismissed(words.clone()));
        }
        if let Some(daemon) = &mut self.daemon {
            daemon.term = None;
            daemon.store.forget_soft();
            // A loop may have seen the end before the news came, or what was none: then all begin again.
            stage.after(RESTART, Event::Lead(self.place, self.life));
        }
    }
}

/// What one step of a session came to.
enum Progress {
    None,
    Some,
    Happened(Happening),
    Over(Parting),
}

pub(super) fn tell(message: pb::ManagerMessage) -> Packet {
    Packet::Tell(Box::new(message))
}

fn step(daemon: &mut Daemon, stage: &mut Stage, conn: ConnId) -> Progress {
    let steady = daemon.steady(stage.now);
    let Some(term) = &mut daemon.term else { return Progress::None };
    let Some(visit) = term.dispatching.visits.get_mut(&conn) else { return Progress::None };
    if let Some(words) = visit.line.parting() {
        return Progress::Over(Parting::Dismissed(words));
    }
    let version = term.dispatching.version;
    let idle = visit.talk.is_idle();
    if !idle {
        if stage.net.under_way(conn, Side::Agent) >= OUT_MAX {
            visit.arm(stage, conn);
            return Progress::None;
        }
        let message = visit.talk.next_message();
        message.into_iter().for_each(|message| stage.send(conn, Side::Agent, tell(message)));
    } else if visit.watch.take() {
        let news = visit.watch.news();
        visit.talk.update(&daemon.store.read(), &news);
    } else if visit.commits.has_changed().unwrap_or(false) {
        visit.talk.committed(*visit.commits.borrow_and_update());
    } else if visit.contacts.has_changed().unwrap_or(false) {
        visit.talk.contact(*visit.contacts.borrow_and_update(), &daemon.store.read());
    } else if visit.told != version {
        visit.told = version;
        visit.talk.settled(&term.dispatching.settings);
        visit.talk.refresh(&daemon.store.read());
    } else {
        return listen(daemon, stage, conn, steady);
    }
    Progress::Some
}

fn listen(daemon: &mut Daemon, stage: &mut Stage, conn: ConnId, steady: Moment) -> Progress {
    let Some(term) = &mut daemon.term else { return Progress::None };
    let own = &mut term.dispatching;
    let Some(visit) = own.visits.get_mut(&conn) else { return Progress::None };
    if !visit.talk.listens() {
        if own.inputs.len() >= INPUTS_MAX {
            return Progress::None;
        }
        own.inputs.extend(visit.talk.take_report());
        visit.line.heard(steady);
        term.arm_soon(stage, Loop::Carrier);
        return Progress::Some;
    }
    let Some(message) = visit.arrived.pop_front() else { return Progress::None };
    visit.line.heard(steady);
    if let Some(Heard::Heartbeat(beat)) = &message.message {
        visit.talk.echo();
        if beat.seq == 0 {
            return Progress::Some;
        }
    }
    let (progress, asked) = hear(visit, message, &daemon.store);
    own.asking.extend(asked.map(|seq| (conn, seq)));
    progress
}

/// The acts of one message. Only one of them concerns the keeper. With the heartbeat that asks for an answer.
fn hear(visit: &mut Visit, message: pb::AgentMessage, store: &Store) -> (Progress, Option<u64>) {
    let acts = visit.talk.hear(message, &store.read()).expect("agents say nothing malformed");
    let (mut progress, mut asked) = (Progress::Some, None);
    for act in acts {
        match act {
            Act::Note(statuses) => store.note_statuses(statuses),
            Act::Hold => visit.line.hold(),
            Act::Foreign(_) | Act::Present(_) => {}
            Act::Describe(description) => {
                progress = Progress::Happened(Happening::Described { node: visit.node, description });
            }
            Act::Witness(seq) => asked = Some(seq),
            Act::Part(parting) => return (Progress::Over(parting), None),
        }
    }
    (progress, asked)
}
