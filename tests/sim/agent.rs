//! A node: its daemon, which is the product's machine, and what outlives the daemon.

use std::collections::BTreeMap;

use skep_agent::node::{Effect, NodeMachine};
use skep_agent::record;
use skep_agent::task::Input;
use skep_agent::worker::TaskList;
use skep_proto::convert::required;
use skep_proto::model::{
    Moment, NodeDescription, NodeId, Platform, Resources, SteadyTime, TaskId, TaskState, TaskStatus,
};
use skep_proto::pb;
use skep_proto::pb::agent_message::Message as ToManager;
use skep_proto::pb::manager_message::Message as FromManager;

use super::executor::{Done, Executor};
use super::net::Packet;
use super::queue::{ConnId, Event, Side};
use super::stage::Stage;
use super::time::{MS, SECOND, Us, WallClock, alarm, count};

/// Reports that may be on their way; more wait in the machine.
const ROOM: usize = 16;

/// What a node's file system keeps.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) list: Vec<u8>,
    pub(crate) managers: Vec<String>,
}

/// A daemon that runs.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) machine: NodeMachine,
    time: SteadyTime,
    conn: Option<ConnId>,
    /// The end of the stream that was said goodbye on.
    parting: bool,
    writing: Option<Vec<u8>>,
    armed: Us,
    /// What was reported in this session, by the number of the report.
    told: BTreeMap<u64, Vec<(TaskId, TaskState)>>,
    removed: bool,
}

/// A node.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) place: usize,
    pub(crate) node: NodeId,
    pub(crate) clock: WallClock,
    pub(crate) life: u32,
    pub(crate) daemon: Option<Daemon>,
    pub(crate) executor: Executor,
    pub(crate) disk: Disk,
    pub(crate) labels: BTreeMap<String, String>,
    /// It was removed from the cluster and has left.
    pub(crate) has_left: bool,
    /// Nothing moves before then.
    pub(crate) frozen_until: Us,
}

/// What the world is to look at after an agent did something.
#[derive(Debug, PartialEq)]
pub(crate) enum News {
    /// A program was started.
    Started(TaskId),
    /// The managers acknowledged these.
    Acked(Vec<(TaskId, TaskState)>),
}

/// Memory of every simulated machine.
pub(crate) const MEMORY: u64 = 8 << 30;
/// CPUs of every simulated machine.
pub(crate) const CPUS: u64 = 4_000_000_000;

impl Daemon {
    /// A write of the list is under way.
    pub(crate) fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// It is about to leave the cluster.
    pub(crate) fn is_leaving(&self) -> bool {
        self.machine.ending() == Some(true)
    }
}

impl Agent {
    pub(crate) fn new(place: usize, node: NodeId, managers: Vec<String>) -> Self {
        Self {
            place,
            node,
            clock: WallClock::default(),
            life: 0,
            daemon: None,
            executor: Executor::new(place),
            disk: Disk { list: Vec::new(), managers },
            labels: BTreeMap::new(),
            has_left: false,
            frozen_until: 0,
        }
    }

    fn description(&self) -> NodeDescription {
        NodeDescription {
            hostname: format!("n{}", self.place),
            platform: Platform { os: "linux".into(), architecture: "x86_64".into() },
            resources: Resources { nano_cpus: CPUS, memory_bytes: MEMORY, pids: 0 },
            engine_labels: self.labels.clone(),
            ..NodeDescription::default()
        }
    }

    /// Starts the daemon over what is on disk.
    pub(crate) fn start(&mut self, stage: &mut Stage) -> Vec<News> {
        if self.daemon.is_some() || self.has_left {
            return Vec::new();
        }
        self.life += 1;
        self.executor.life = self.life;
        let mut time = SteadyTime::new(count(stage.now), self.clock.wall(stage.now));
        let now = time.now(count(stage.now), self.clock.wall(stage.now));
        let (managers, seed) = (self.disk.managers.clone(), stage.chance.seed());
        let mut machine = NodeMachine::new(self.node, String::new(), managers, seed, now);
        machine.find_contact(self.executor.kept, self.executor.clock.uptime(stage.now));
        let told = BTreeMap::new();
        let daemon =
            Daemon { machine, time, conn: None, parting: false, writing: None, armed: Us::MAX, told, removed: false };
        self.daemon = Some(daemon);
        stage.note(format_args!("agent {} starts", self.place));
        let list = if self.disk.list.is_empty() { Ok(TaskList::default()) } else { record::decode(&self.disk.list) };
        let list = list.expect("what was written is read back");
        let (found, description) = (self.executor.recover(), self.description());
        self.drive(stage, |machine, now| {
            let mut effects = machine.describe(description);
            effects.extend(machine.restore(now, list, found));
            effects
        })
    }

    /// Lets the machine do something, does what it says, and what follows from the state after every event.
    fn drive(&mut self, stage: &mut Stage, act: impl FnOnce(&mut NodeMachine, Moment) -> Vec<Effect>) -> Vec<News> {
        let wall = self.clock.wall(stage.now);
        let Some(daemon) = &mut self.daemon else { return Vec::new() };
        let now = daemon.time.now(count(stage.now), wall);
        let passed = daemon.machine.pass(now, self.executor.clock.uptime(stage.now));
        self.act(stage, passed);
        let Some(daemon) = &mut self.daemon else { return Vec::new() };
        let effects = act(&mut daemon.machine, now);
        self.act(stage, effects);
        self.settle(stage, now)
    }

    fn act(&mut self, stage: &mut Stage, effects: Vec<Effect>) {
        let place = self.place;
        for effect in effects {
            let Some(daemon) = &mut self.daemon else { return };
            match effect {
                Effect::Connect(address, hello) => {
                    let before = daemon.conn.take();
                    before.into_iter().for_each(|conn| stage.close(conn, Side::Agent, true));
                    let manager = address.strip_prefix('m').and_then(|number| number.parse().ok());
                    daemon.conn = manager.map(|manager| stage.open(place, manager, hello));
                }
                Effect::Say(message) => say(stage, daemon, message),
                Effect::Keep(contact) => self.executor.kept = Some(contact),
                Effect::Began => daemon.told.clear(),
                // Nobody makes a simulated cluster anew.
                Effect::Enter(_) => {}
                Effect::Remember(managers) => self.disk.managers = managers,
                Effect::Disconnect => {
                    let before = daemon.conn.take();
                    before.into_iter().for_each(|conn| stage.close(conn, Side::Agent, true));
                }
                Effect::Part => {
                    daemon.parting = true;
                    daemon.conn.iter().for_each(|conn| stage.send(*conn, Side::Manager, Packet::End));
                }
                Effect::Removed => daemon.removed = true,
                // It renews its certificate, which takes its time.
                Effect::Stand(_) => {
                    let delay = stage.chance.delay(100 * MS, 3 * SECOND);
                    stage.after(delay, Event::Seat(place));
                }
                Effect::Refused(_) => {}
                Effect::Unreadable(error) => panic!("an order cannot be read: {error}"),
                Effect::Prepare(order) => self.executor.prepare(stage, order),
                Effect::Start(task) => self.executor.start(stage, task),
                Effect::Wait(task) => self.executor.wait(stage, task),
                Effect::Stop(task, grace) => self.executor.stop(stage, task, grace),
                Effect::Remove(task) => self.executor.remove(stage, task),
            }
        }
    }

    fn settle(&mut self, stage: &mut Stage, now: Moment) -> Vec<News> {
        let (place, life) = (self.place, self.life);
        let Some(daemon) = &mut self.daemon else { return Vec::new() };
        if let Some(list) = daemon.machine.begin_write(now) {
            daemon.writing = Some(record::encode(&list));
            let delay = stage.chance.delay(3 * MS, SECOND);
            stage.after(delay, Event::Written(place, life));
        }
        while daemon.conn.is_some_and(|conn| !daemon.parting && stage.net.under_way(conn, Side::Manager) < ROOM)
            && let Some(report) = daemon.machine.next_report()
        {
            let said = told(&report);
            stage.note(format_args!("agent {place}: report {} of {} tasks: {said:?}", report.seq, report.tasks.len()));
            daemon.told.insert(report.seq, said);
            say(stage, daemon, ToManager::Report(report));
        }
        if daemon.removed && daemon.machine.ending().is_none() {
            stage.note(format_args!("agent {place} leaves, it was removed"));
            let effects = daemon.machine.leave(now);
            self.act(stage, effects);
        }
        self.end_or_arm(stage, now);
        Vec::new()
    }

    fn end_or_arm(&mut self, stage: &mut Stage, now: Moment) {
        let (place, life, idle) = (self.place, self.life, self.executor.is_idle());
        let Some(daemon) = &mut self.daemon else { return };
        let parted = daemon.conn.is_none();
        if daemon.machine.has_ended(now, idle && parted) {
            return self.end(stage);
        }
        let at = daemon.machine.wake_at(parted).map_or(Us::MAX, |at| alarm(stage.now, now, at));
        let clock = self.executor.clock;
        let lapse = daemon.machine.lapse_in().map(|left| clock.alarm(stage.now, clock.uptime(stage.now) + left));
        let at = at.min(lapse.unwrap_or(Us::MAX));
        if at < daemon.armed {
            daemon.armed = at;
            stage.at(at, Event::Tick(place, life));
        }
    }

    /// The daemon has come to its orderly end.
    fn end(&mut self, stage: &mut Stage) {
        let Some(daemon) = self.daemon.take() else { return };
        stage.note(format_args!("agent {} has ended", self.place));
        self.life += 1;
        if daemon.machine.ending() == Some(true) {
            // Its identity is gone, also if something could not be removed.
            self.has_left = true;
            stage.after(MS, Event::Seat(self.place));
            self.disk = Disk { list: Vec::new(), managers: std::mem::take(&mut self.disk.managers) };
        } else {
            self.disk.list = record::encode(&daemon.machine.worker().list());
        }
        self.executor.daemon_died(stage);
        stage.hang_up(Side::Agent, self.place, true);
    }

    pub(crate) fn tick(&mut self, stage: &mut Stage) -> Vec<News> {
        if let Some(daemon) = &mut self.daemon {
            daemon.armed = Us::MAX;
        }
        self.drive(stage, NodeMachine::tick)
    }

    pub(crate) fn written(&mut self, stage: &mut Stage) -> Vec<News> {
        let failed = stage.chance.once_in(stage.rules.write_failures);
        let Some(daemon) = &mut self.daemon else { return Vec::new() };
        let bytes = daemon.writing.take().filter(|_| !failed);
        bytes.into_iter().for_each(|bytes| self.disk.list = bytes);
        self.drive(stage, |machine, now| machine.written(now, !failed))
    }

    pub(crate) fn step(&mut self, stage: &mut Stage, step: u64) -> Vec<News> {
        let Some((task, input, done)) = self.executor.finish(stage, step) else { return Vec::new() };
        stage.note(format_args!("agent {}: task {task}: {}", self.place, words(&input)));
        let mut news = self.drive(stage, |machine, now| machine.step(now, task, input));
        news.extend((done == Done::Started).then_some(News::Started(task)));
        news
    }

    pub(crate) fn exited(&mut self, stage: &mut Stage, task: TaskId) -> Vec<News> {
        let exit = self.executor.exit_of(task);
        stage.note(format_args!("agent {}: task {task} exited with {}", self.place, exit.code));
        self.drive(stage, |machine, now| machine.step(now, task, Input::Exited(exit)))
    }

    pub(crate) fn lost(&mut self, stage: &mut Stage, conn: ConnId) -> Vec<News> {
        stage.close(conn, Side::Agent, false);
        if self.daemon.as_ref().is_none_or(|daemon| daemon.conn != Some(conn)) {
            return Vec::new();
        }
        self.drive(stage, NodeMachine::lost)
    }

    pub(crate) fn arrive(&mut self, stage: &mut Stage, conn: ConnId, packet: Packet) -> Vec<News> {
        let Some(daemon) = self.daemon.as_mut().filter(|daemon| daemon.conn == Some(conn)) else { return Vec::new() };
        match packet {
            Packet::Accept => self.drive(stage, NodeMachine::connected),
            Packet::Tell(message) => {
                let Some(message) = message.message else { return Vec::new() };
                let acked = acked(daemon, &message);
                if !acked.is_empty() {
                    stage.note(format_args!("agent {}: acknowledged: {acked:?}", self.place));
                }
                let mut news = self.drive(stage, |machine, now| machine.heard(now, message));
                news.extend((!acked.is_empty()).then_some(News::Acked(acked)));
                news
            }
            _ => self.lost(stage, conn),
        }
    }

    /// An orderly stop, as before an upgrade.
    pub(crate) fn stop(&mut self, stage: &mut Stage) -> Vec<News> {
        stage.note(format_args!("agent {} is told to stop", self.place));
        self.drive(stage, NodeMachine::stop)
    }

    /// It leaves the cluster for good.
    pub(crate) fn leave(&mut self, stage: &mut Stage) -> Vec<News> {
        stage.note(format_args!("agent {} is told to leave", self.place));
        self.drive(stage, NodeMachine::leave)
    }

    /// The daemon is killed, or the whole machine loses its power. Gives the tasks that a step of the dead daemon started.
    pub(crate) fn crash(&mut self, stage: &mut Stage, with_power: bool) -> Vec<News> {
        let Some(daemon) = self.daemon.take() else { return Vec::new() };
        stage.note(format_args!("agent {} {}", self.place, if with_power { "loses its power" } else { "is killed" }));
        // The file that was being written replaced the old one, or not.
        let bytes = daemon.writing.filter(|_| stage.chance.once_in(500));
        bytes.into_iter().for_each(|bytes| self.disk.list = bytes);
        self.life += 1;
        let started = if with_power { Vec::new() } else { self.executor.daemon_died(stage) };
        if with_power {
            self.executor.power_cut(stage);
            (self.executor.kept, self.executor.clock.booted) = (None, stage.now);
        }
        stage.hang_up(Side::Agent, self.place, !with_power);
        started.into_iter().map(News::Started).collect()
    }

    /// Labels of the engine change with the machine.
    pub(crate) fn relabel(&mut self, stage: &mut Stage, labels: BTreeMap<String, String>) -> Vec<News> {
        self.labels = labels;
        let description = self.description();
        self.drive(stage, |machine, _| machine.describe(description))
    }
}

fn say(stage: &mut Stage, daemon: &Daemon, message: ToManager) {
    if let Some(conn) = daemon.conn.filter(|_| !daemon.parting) {
        let message = pb::AgentMessage { message: Some(message) };
        stage.send(conn, Side::Manager, Packet::Say(Box::new(message)));
    }
}

/// What a report says, of states that the managers keep.
fn told(report: &pb::StatusReport) -> Vec<(TaskId, TaskState)> {
    let read = |task: &pb::TaskReport| {
        let status = required(task.status.clone(), "report", "status").ok()?;
        let state = TaskStatus::try_from(status).ok()?.state;
        Some((TaskId::from_bytes(&task.task).ok()?, state))
    };
    report.tasks.iter().filter_map(read).filter(|(_, state)| *state >= TaskState::Running).collect()
}

fn acked(daemon: &mut Daemon, message: &FromManager) -> Vec<(TaskId, TaskState)> {
    let FromManager::Ack(ack) = message else { return Vec::new() };
    let later = daemon.told.split_off(&(ack.seq + 1));
    std::mem::replace(&mut daemon.told, later).into_values().flatten().collect()
}

fn words(input: &Input) -> String {
    match input {
        Input::Prepared(Ok(())) => "prepared".into(),
        Input::Started(Ok(_)) => "started".into(),
        Input::Stopped(Ok(exit)) => format!("stopped, {:?}", exit.as_ref().map(|exit| exit.code)),
        Input::Removed(Ok(())) => "removed".into(),
        other => format!("{other:?}"),
    }
}
