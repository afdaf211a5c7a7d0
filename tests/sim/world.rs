//! The world: managers, agents, a user, and whatever lies between them. One event at a time, in one thread, from one seed.

use std::collections::BTreeMap;

use skep_manager::raft::testing::MemoryDisk;
use skep_manager::store::{Change, Store, Transaction};
use skep_proto::model::disconnect::CLOCK_ERROR_PERCENT_MAX;
use skep_proto::model::{Cluster, ClusterSpec, Era, ManagerStatus, Meta, NodeId, NodeRole};

use super::agent::{Agent, News};
use super::asks::{View, new_node};
use super::chance::Chance;
use super::check::{self, Checks, Verdict, Violation, broken};
use super::manager::{Lead, Manager};
use super::net::Net;
use super::queue::{Event, Owner, Queue, Result, Side};
use super::stage::{Record, Rules, Stage};
use super::time::{MS, SECOND, Us};
use super::user::User;
use super::{CLUSTER, raft_id};

/// How long a cluster may take to come to rest once nothing fails any more: rollouts, restart delays and stop graces one after the
/// other, with a margin.
const REST_MAX: Us = 400 * SECOND;

/// It must stay at rest for so long.
const REST_KEPT: Us = 3 * SECOND;

/// Events of one run. The average has some twenty thousand; a hundred nodes have many more.
const EVENTS_MAX: u64 = 5_000_000;

/// The longest time between two troubles, and between two things that a user asks.
pub(crate) const PACE: Us = 3 * SECOND;

/// The same in a restless world.
pub(crate) const PACE_RESTLESS: Us = 500 * MS;

/// How large a world is, how long its trouble lasts, and the longest time between two.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) managers: usize,
    pub(crate) agents: usize,
    pub(crate) trouble: Us,
    pub(crate) pace: Us,
}

/// Everything there is.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) stage: Stage,
    pub(crate) managers: Vec<Manager>,
    pub(crate) agents: Vec<Agent>,
    pub(crate) user: User,
    pub(crate) checks: Checks,
    pub(crate) events: u64,
    /// The newest entry that any manager has applied.
    front: u64,
    /// Who led in each term.
    pub(super) leaders: BTreeMap<u64, usize>,
    /// For whom each member has voted in each term.
    pub(super) votes: BTreeMap<(u64, u64), u64>,
    trouble_until: Us,
    pace: Us,
    violation: Option<Violation>,
    rested_since: Option<Us>,
    is_over: bool,
}

impl World {
    pub(crate) fn new(seed: u64, size: Size, record: Record) -> Self {
        let rules = Rules {
            is_quiet: false,
            step_failures: 10,
            write_failures: 5,
            latency_max: 100 * MS,
            sync_max: 200 * MS,
            losses: 5,
            doubles: 5,
        };
        let stage =
            Stage { now: 0, chance: Chance::new(seed), queue: Queue::default(), net: Net::default(), record, rules };
        let mut world = Self {
            stage,
            managers: Vec::new(),
            agents: Vec::new(),
            user: User::default(),
            checks: Checks::default(),
            events: 0,
            front: 0,
            leaders: BTreeMap::new(),
            votes: BTreeMap::new(),
            trouble_until: size.trouble,
            pace: size.pace,
            violation: None,
            rested_since: None,
            is_over: false,
        };
        world.found(size);
        world
    }

    /// The first entry makes the cluster and its nodes; then everybody starts.
    fn found(&mut self, size: Size) {
        let nodes: Vec<NodeId> = (0..size.agents).map(|_| NodeId::new(self.stage.chance.bits())).collect();
        for (place, node) in nodes.iter().take(size.managers).enumerate() {
            let id = raft_id(place);
            let disk = if place == 0 { MemoryDisk::founded(id) } else { MemoryDisk::joined(id) };
            self.managers.push(Manager::new(place, *node, disk));
        }
        let task_history_limit = i32::try_from(self.stage.chance.below(5)).unwrap_or(1);
        let spec = ClusterSpec { task_history_limit, ..ClusterSpec::default() };
        let [root_certificate, root_key, worker_token, manager_token] = [const { String::new() }; 4];
        let (id, meta) = (CLUSTER, Meta::default());
        let grants = Default::default();
        let cluster = Cluster {
            id,
            meta,
            spec,
            root_certificate,
            root_key,
            worker_token,
            manager_token,
            grants,
            rotation: None,
            lock: skep_proto::model::Autolock::default(),
            era: Era::default(),
            former_managers: Vec::new(),
        };
        let mut changes = vec![Change::PutCluster(Box::new(cluster))];
        changes.extend(nodes.iter().enumerate().map(|(place, node)| {
            let mut node = new_node(*node);
            if place < self.managers.len() {
                node.manager = Some(ManagerStatus { raft_id: raft_id(place), address: format!("m{place}") });
                (node.role, node.spec.role) = (NodeRole::Manager, NodeRole::Manager);
            }
            Change::PutNode(Box::new(node))
        }));
        let at = self.managers[0].wall(&self.stage);
        for place in 0..self.managers.len() {
            self.managers[place].error = self.clock_error();
        }
        self.gather(Transaction { changes, at });
        self.user.begun = self.truth().map(|store| View::of(&store.read())).unwrap_or_default();
        for node in nodes {
            self.add_agent(node);
        }
        self.stage.after(SECOND, Event::User);
        self.stage.after(2 * SECOND, Event::Fault);
    }

    /// Clocks are right, or as wrong as they may be.
    pub(super) fn clock_error(&mut self) -> i64 {
        let most = i64::from(CLOCK_ERROR_PERCENT_MAX) * 10_000;
        self.stage.chance.pick(&[0, most, -most]).unwrap_or(0)
    }

    pub(super) fn add_agent(&mut self, node: NodeId) {
        let place = self.agents.len();
        let known = self.managers.iter().filter(|manager| !manager.is_retired);
        let managers = known.map(|manager| format!("m{}", manager.place)).collect();
        self.agents.push(Agent::new(place, node, managers));
        self.agents[place].executor.clock.error = self.clock_error();
        self.stage.after(MS, Event::Start(place));
    }

    /// Runs to the end, or to the first violation.
    pub(crate) fn run(&mut self) -> Verdict {
        while !self.is_over {
            let Some((at, event)) = self.stage.queue.pop() else { return Ok(()) };
            self.stage.now = at;
            self.checks.now = at;
            self.stage.record.mark(at);
            self.events += 1;
            self.happen(event);
            if let Some(violation) = self.violation.take() {
                return Err(violation);
            }
            self.invariant_the_run_ends()?;
        }
        Ok(())
    }

    /// What spins in one place for ever would otherwise be seen by nobody but whoever waits for the run.
    fn invariant_the_run_ends(&self) -> Verdict {
        if self.events < EVENTS_MAX {
            return Ok(());
        }
        broken("the_run_ends", format!("{} events, and it goes on", self.events))
    }

    fn happen(&mut self, event: Event) {
        if let Some(until) = self.frozen_until(&event) {
            return self.stage.at(until, event);
        }
        match event {
            Event::Tick(..) | Event::Written(..) | Event::Step(..) | Event::Exited(..) => self.at_agent(event),
            Event::Exit(agent, task) => {
                let agent = &mut self.agents[agent];
                if !self.stage.rules.is_quiet {
                    agent.executor.exit(&mut self.stage, task);
                }
            }
            Event::Start(agent) => {
                let news = self.agents[agent].start(&mut self.stage);
                self.take_news(agent, news);
            }
            Event::Arrive(..) | Event::Lost(..) => self.on_stream(event),
            Event::Turn(manager, term, which) => {
                if self.has_term(manager, term) {
                    self.managers[manager].turn(&mut self.stage, which);
                }
            }
            Event::Session(conn) => {
                if let Some(manager) = self.stage.net.conn(conn).map(|conn| conn.manager) {
                    self.managers[manager].session(&mut self.stage, conn);
                }
            }
            Event::Care(agent, task) => self.agents[agent].executor.care(&mut self.stage, task),
            Event::Reply(life, lead, owner, result) => {
                if self.managers[lead.manager].life == life {
                    self.replied(lead, owner, result);
                }
            }
            Event::Beat(manager, life) => self.beat(manager, life),
            Event::Drive(manager, life) => self.drive(manager, life),
            Event::Revive(manager, life) => {
                if self.managers[manager].life == life {
                    self.revive(manager, life);
                }
            }
            Event::Parcel(parcel) => self.delivered(parcel),
            Event::Lead(manager, life) => {
                if self.managers[manager].life == life {
                    self.managers[manager].lead(&mut self.stage);
                }
            }
            Event::Seat(agent) => self.take_role(agent),
            Event::Ask(manager) => self.ask_to_join(manager),
            Event::Join(asked, joiner, hops) => self.join(asked, joiner, hops),
            Event::KeepSeat(manager, life) => self.keep_seat(manager, life),
            Event::AskForSeat(asked, manager, life) => self.ask_for_seat(asked, manager, life),
            Event::HandOn(times) => self.hand_on(times),
            Event::User => self.ask(),
            Event::Call(manager, number, hops) => self.call(manager, number, hops),
            Event::Fault => self.fault(),
            Event::Restart(manager) => self.start_manager(manager),
            Event::Waited(manager, conn) => self.managers[manager].waited(&mut self.stage, conn),
            Event::Check => self.look_whether_at_rest(),
        }
    }

    /// A frozen process does nothing; what is meant for it waits.
    fn frozen_until(&self, event: &Event) -> Option<Us> {
        let until = match event {
            Event::Tick(agent, _) | Event::Written(agent, _) | Event::Step(agent, ..) | Event::Exited(agent, ..) => {
                self.agents[*agent].frozen_until
            }
            Event::Arrive(conn, side) | Event::Lost(conn, side) => {
                let conn = self.stage.net.conn(*conn)?;
                if *side == Side::Agent {
                    self.agents[conn.agent].frozen_until
                } else {
                    self.managers[conn.manager].frozen_until
                }
            }
            Event::Session(conn) => self.managers[self.stage.net.conn(*conn)?.manager].frozen_until,
            Event::Turn(manager, ..)
            | Event::Reply(_, Lead { manager, .. }, ..)
            | Event::Call(manager, ..)
            | Event::Join(manager, ..)
            | Event::Ask(manager)
            | Event::KeepSeat(manager, _)
            | Event::AskForSeat(manager, ..)
            | Event::Beat(manager, _)
            | Event::Drive(manager, _)
            | Event::Revive(manager, _)
            | Event::Lead(manager, _) => self.managers[*manager].frozen_until,
            _ => 0,
        };
        (until > self.stage.now).then_some(until)
    }

    fn at_agent(&mut self, event: Event) {
        let (place, life) = match event {
            Event::Tick(agent, life) | Event::Written(agent, life) | Event::Step(agent, life, _) => (agent, life),
            Event::Exited(agent, life, _) => (agent, life),
            _ => return,
        };
        let agent = &mut self.agents[place];
        if agent.life != life {
            return;
        }
        let news = match event {
            Event::Tick(..) => agent.tick(&mut self.stage),
            Event::Written(..) => agent.written(&mut self.stage),
            Event::Step(.., step) => agent.step(&mut self.stage, step),
            Event::Exited(.., task) => agent.exited(&mut self.stage, task),
            _ => return,
        };
        self.take_news(place, news);
    }

    fn on_stream(&mut self, event: Event) {
        match event {
            Event::Arrive(id, side) => {
                let Some((agent, manager)) = self.stage.net.conn(id).map(|conn| (conn.agent, conn.manager)) else {
                    return;
                };
                let Some(packet) = self.stage.receive(id, side) else { return };
                if side == Side::Agent {
                    let news = self.agents[agent].arrive(&mut self.stage, id, packet);
                    self.take_news(agent, news);
                } else if self.managers[manager].daemon.is_none() {
                    self.refuse(id);
                } else {
                    let node = self.agents[agent].node;
                    self.managers[manager].arrive(&mut self.stage, id, node, packet);
                }
            }
            Event::Lost(id, Side::Agent) => {
                let Some(agent) = self.stage.net.conn(id).map(|conn| conn.agent) else { return };
                let news = self.agents[agent].lost(&mut self.stage, id);
                self.take_news(agent, news);
            }
            Event::Lost(id, Side::Manager) => {
                let Some(manager) = self.stage.net.conn(id).map(|conn| conn.manager) else { return };
                self.managers[manager].lost(&mut self.stage, id);
            }
            _ => {}
        }
    }

    /// Looks at what an agent did.
    pub(crate) fn take_news(&mut self, agent: usize, news: Vec<News>) {
        let node = self.agents[agent].node;
        for one in news {
            let verdict = match one {
                News::Started(task) => self
                    .checks
                    .started(node, task)
                    .and_then(|()| check::invariant_a_single_writer_runs_once(&self.agents, task)),
                News::Acked(reports) => match self.truth() {
                    Some(store) => check::invariant_acknowledged_reports_are_stored(node, &store.read(), &reports),
                    None => Ok(()),
                },
            };
            self.judge(verdict);
        }
    }

    pub(crate) fn judge(&mut self, verdict: Verdict) {
        if let (Err(violation), None) = (verdict, &self.violation) {
            self.violation = Some(violation);
        }
    }

    /// The store of a manager that has applied all that any has.
    pub(super) fn truth(&self) -> Option<&Store> {
        let daemons = self.managers.iter().filter_map(|manager| manager.daemon.as_ref());
        daemons.filter(|daemon| daemon.seat.applied() == self.front).map(|daemon| &daemon.store).next()
    }

    fn leads_so(&self, lead: Lead) -> bool {
        let own = self.managers[lead.manager].daemon.as_ref().and_then(|daemon| daemon.term.as_ref());
        own.is_some_and(|own| own.lead == lead)
    }

    fn has_term(&self, manager: usize, term: u64) -> bool {
        let own = self.managers[manager].daemon.as_ref().and_then(|daemon| daemon.term.as_ref());
        own.is_some_and(|own| own.lead.term == term)
    }

    /// Wakes whom the newest entries concern, and looks whether all is well with them.
    pub(super) fn applied(&mut self, manager: usize) {
        let touched = self.managers[manager].wake(&mut self.stage);
        let Some(daemon) = &self.managers[manager].daemon else { return };
        if daemon.seat.applied() <= self.front {
            return;
        }
        self.front = daemon.seat.applied();
        let state = daemon.store.read();
        let verdict = self.checks.applied(&state, &touched).and_then(|ended| {
            ended
                .into_iter()
                .try_for_each(|task| check::invariant_a_task_that_ended_does_not_run(&self.agents, &state, task))?;
            self.checks.invariant_no_acknowledged_write_is_lost(&state, &self.user.history)
        });
        drop(state);
        self.judge(verdict);
    }

    fn replied(&mut self, lead: Lead, owner: Owner, result: Result) {
        let manager = lead.manager;
        match owner {
            Owner::User(number) => self.changed(number, result),
            Owner::Read(number) if result.is_ok() => self.looked(manager, number),
            Owner::Seat(who, life) if result.is_ok() => self.told_of_seat(manager, who, life),
            Owner::Read(_) | Owner::Seat(..) => {}
            // Also when its term is over: whoever waits is told so.
            Owner::Admit(_) => self.managers[manager].replied(&mut self.stage, owner, result),
            _ if self.leads_so(lead) => self.managers[manager].replied(&mut self.stage, owner, result),
            _ => {}
        }
    }

    fn fault(&mut self) {
        if self.stage.now >= self.trouble_until {
            return self.calm();
        }
        self.trouble();
        let next = self.any_pause();
        self.stage.after(next, Event::Fault);
    }

    /// The time until the next trouble, or until a user asks for the next thing.
    pub(super) fn any_pause(&mut self) -> Us {
        self.stage.chance.between(self.pace / 60, self.pace)
    }

    /// Managers fail several times a second.
    pub(super) fn is_restless(&self) -> bool {
        self.pace < PACE
    }

    /// Trouble ends: everything is repaired, and nothing fails any more.
    fn calm(&mut self) {
        self.stage.note(format_args!("trouble is over"));
        self.stage.rules = Rules {
            is_quiet: true,
            step_failures: 0,
            write_failures: 0,
            latency_max: 20 * MS,
            sync_max: 20 * MS,
            losses: 0,
            doubles: 0,
        };
        self.stage.heal();
        for place in 0..self.managers.len() {
            (self.managers[place].frozen_until, self.managers[place].slow_until) = (0, 0);
            self.managers[place].dies = None;
            self.start_manager(place);
        }
        for place in 0..self.agents.len() {
            self.agents[place].frozen_until = 0;
            self.stage.after(SECOND, Event::Start(place));
        }
        self.stage.after(SECOND, Event::Check);
    }

    fn look_whether_at_rest(&mut self) {
        self.show_the_way();
        // A daemon that was told to stop a moment before has ended by now and starts again.
        for place in 0..self.agents.len() {
            let news = self.agents[place].start(&mut self.stage);
            self.take_news(place, news);
        }
        let verdict = match self.leader() {
            Some((leader, store)) => check::at_rest(&self.agents, &store)
                .and_then(|()| self.invariant_the_group_is_what_the_nodes_say(leader)),
            None => broken("somebody_leads_and_all_follow", format!("{:?}", self.standings())),
        };
        let now = self.stage.now;
        match verdict {
            Ok(()) if now - *self.rested_since.get_or_insert(now) >= REST_KEPT => self.finish(),
            Ok(()) => {}
            Err(violation) if now > self.trouble_until + REST_MAX => self.judge(Err(violation)),
            Err(_) => self.rested_since = None,
        }
        self.stage.after(SECOND, Event::Check);
    }

    /// The leader and its store, once every manager has what it has.
    pub(super) fn leader(&self) -> Option<(usize, Store)> {
        let seats = || self.managers.iter().filter(|manager| !manager.is_retired);
        let has_all = |manager: &Manager| manager.daemon.as_ref().is_some_and(|d| d.seat.applied() == self.front);
        let leads = |manager: &&Manager| {
            let daemon = manager.daemon.as_ref();
            daemon.is_some_and(|daemon| daemon.term.is_some() && daemon.seat.leadership().is_leader)
        };
        let leader = seats().find(leads).filter(|_| seats().all(has_all))?;
        Some((leader.place, leader.daemon.as_ref()?.store.clone()))
    }

    fn standings(&self) -> Vec<Option<(u64, bool, u64)>> {
        let standing = |manager: &Manager| {
            let daemon = manager.daemon.as_ref()?;
            let leadership = daemon.seat.leadership();
            Some((leadership.term, leadership.is_leader, daemon.seat.applied()))
        };
        self.managers.iter().map(standing).collect()
    }

    fn finish(&mut self) {
        let verdict = check::invariant_replicas_agree(&self.managers)
            .and_then(|()| check::invariant_the_control_api_is_linearizable(&self.user.calls, &self.user.begun));
        self.judge(verdict);
        self.is_over = true;
    }

    /// Numbers for people.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        let starts = u64::try_from(self.checks.starts.len()).unwrap_or(0);
        let answered = self.user.calls.values().filter(|call| call.ended.is_some()).count();
        let answered = u64::try_from(answered).unwrap_or(0);
        let terms = u64::try_from(self.leaders.len()).unwrap_or(0);
        BTreeMap::from([
            ("events", self.events),
            ("entries", self.front),
            ("terms", terms),
            ("calls answered", answered),
            ("tasks started", starts),
        ])
    }
}
