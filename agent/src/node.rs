//! What an agent makes of everything that happens: the decisions of a node in one place, the doing left out.
//!
//! It joins the machines ([`Worker`], [`Session`], [`Ledger`], [`Reporter`]): an input goes to the one that it concerns, what comes
//! out either goes to another or is an [`Effect`] for whoever drives the node. Clock, stream, disk and containers are the driver's;
//! the same code runs a real node and a simulated one.

mod ending;
mod writing;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skep_proto::convert::ConvertError;
use skep_proto::model::{Era, Moment, NodeDescription, NodeId, Seed, TaskId};
use skep_proto::pb;
use skep_proto::pb::agent_message::Message as ToManager;
use skep_proto::pb::manager_message::Message as FromManager;

use self::ending::Ending;
use crate::assignment::Orders;
use crate::contact::Contact;
use crate::ledger::Ledger;
use crate::order::{Recovered, TaskOrder};
use crate::report::Reporter;
use crate::session::{self, Session};
use crate::task::Input;
use crate::worker::{self, TaskList, Worker};

/// Heartbeats in the time after which a task stops on a cut-off node: two may be lost or late, and the answer to another.
const BEATS_MIN: u32 = 4;

/// Something to do.
#[derive(Debug)]
pub enum Effect {
    /// Connect to that address and say this.
    Connect(String, Box<pb::Hello>),
    /// Say it, if there is a stream.
    Say(ToManager),
    /// A leader was certainly heard of at that time since the machine's boot: keep it where whoever watches over containers looks,
    /// before anything that follows is done.
    Keep(Duration),
    /// A session began: whoever wants logs may ask now.
    Began,
    /// Remember the era of the cluster.
    Enter(Era),
    /// Remember where managers are.
    Remember(Vec<String>),
    /// Let the stream go.
    Disconnect,
    /// Say nothing more, and let the stream go when the manager does.
    Part,
    /// The cluster removed this node.
    Removed,
    /// The managers say what the node is, whom it is to trust, and whether to renew its certificate.
    Stand(pb::Standing),
    /// A manager refused something that was reported, and why.
    Refused(String),
    /// An order could not be read.
    Unreadable(ConvertError),
    /// Make a task's container.
    Prepare(TaskOrder),
    /// Start it.
    Start(TaskId),
    /// Say when it ends.
    Wait(TaskId),
    /// Stop it.
    Stop(TaskId, Duration),
    /// Remove it.
    Remove(TaskId),
}

/// The machine of one node.
#[derive(Debug)]
pub struct NodeMachine {
    worker: Worker,
    reporter: Reporter,
    ledger: Ledger,
    session: Session,
    address: String,
    description: NodeDescription,
    /// What the manager of this stream was told of the machine.
    described: NodeDescription,
    /// Tasks that are not on disk yet, with the number of the write after which they are.
    unwritten: BTreeMap<TaskId, u64>,
    /// Those of them that are to be started.
    held: BTreeSet<TaskId>,
    ending: Option<Ending>,
}

impl NodeMachine {
    /// A node without tasks that knows these managers and believes to be reached at `address`.
    #[must_use]
    pub fn new(node: NodeId, address: String, managers: Vec<String>, seed: Seed, now: Moment) -> Self {
        Self {
            worker: Worker::new(node),
            reporter: Reporter::default(),
            ledger: Ledger::default(),
            session: Session::new(managers, seed, now),
            address,
            description: NodeDescription::default(),
            described: NodeDescription::default(),
            unwritten: BTreeMap::new(),
            held: BTreeSet::new(),
            ending: None,
        }
    }

    /// Takes note of the era that a process before this one had heard of.
    pub fn find_era(&mut self, era: Era) {
        self.session.meet(era);
    }

    /// The tasks.
    #[must_use]
    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    /// What the managers were not told yet.
    #[must_use]
    pub fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    /// What is not on disk yet.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The session with a manager.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The node was told to end: `Some(true)` when it leaves the cluster.
    #[must_use]
    pub fn ending(&self) -> Option<bool> {
        self.ending.map(|ending| ending.leaving)
    }

    /// Takes up the list of a daemon that ended, and the containers that are there now.
    pub fn restore(&mut self, now: Moment, list: TaskList, found: Vec<(TaskId, Recovered)>) -> Vec<Effect> {
        let effects = self.worker.restore(now, list, found);
        self.obey(now, effects)
    }

    /// The machine is as it says; what the manager is to be told of it.
    pub fn describe(&mut self, description: NodeDescription) -> Vec<Effect> {
        let trouble = std::mem::take(&mut self.description.trouble);
        self.description = NodeDescription { trouble, ..description };
        if self.session.is_open() { self.tell_description() } else { Vec::new() }
    }

    /// Something keeps the node from taking tasks on, or nothing does any more: the managers are told why its tasks wait.
    pub fn trouble(&mut self, what: String) -> Vec<Effect> {
        self.description.trouble = what;
        if self.session.is_open() { self.tell_description() } else { Vec::new() }
    }

    /// The machine as it was last described.
    #[must_use]
    pub fn description(&self) -> &NodeDescription {
        &self.description
    }

    fn tell_description(&mut self) -> Vec<Effect> {
        if self.described == self.description {
            return Vec::new();
        }
        self.described.clone_from(&self.description);
        vec![Effect::Say(ToManager::Description((&self.description).into()))]
    }

    /// Takes up what a daemon that ended had heard of a leader, before its list: the times are since the machine's boot.
    pub fn find_contact(&mut self, last: Option<Duration>, uptime: Duration) {
        self.worker.find_contact(Contact::found(last, uptime));
    }

    /// Time goes on, also while the machine sleeps. To be called before anything else is told; `uptime` is the time since the
    /// machine's boot.
    pub fn pass(&mut self, now: Moment, uptime: Duration) -> Vec<Effect> {
        let effects = self.worker.pass(now, uptime);
        self.obey(now, effects)
    }

    /// In what time [`NodeMachine::pass`] is wanted at the latest.
    #[must_use]
    pub fn lapse_in(&self) -> Option<Duration> {
        self.worker.lapse_in()
    }

    /// A task learns something.
    pub fn step(&mut self, now: Moment, task: TaskId, input: Input) -> Vec<Effect> {
        let effects = self.worker.step(now, task, input);
        let mut effects = self.obey(now, effects);
        effects.extend(self.part_when_gone(now));
        effects
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Moment) -> Vec<Effect> {
        let effects = self.worker.tick(now);
        let mut effects = self.obey(now, effects);
        match self.ending {
            None => effects.extend(self.converse(now, session::Input::Tick)),
            Some(Ending { part_until: Some(until), .. }) if until <= now => effects.push(Effect::Disconnect),
            // The node lives until its last container is gone.
            Some(Ending { part_until: None, .. }) if self.session.is_open() => {
                effects.extend(self.converse(now, session::Input::Tick));
            }
            Some(_) => {}
        }
        effects
    }

    /// When [`NodeMachine::tick`] or [`NodeMachine::begin_write`] is wanted next. `parted`: there is no stream.
    #[must_use]
    pub fn wake_at(&self, parted: bool) -> Option<Moment> {
        let ending = self.ending.map(|ending| ending.part_until.filter(|_| !parted).unwrap_or(ending.until));
        let beats = self.ending.is_none_or(|ending| ending.part_until.is_none() && self.session.is_open());
        let session = self.session.wake_at().filter(|_| beats);
        [self.worker.wake_at(), self.ledger.wake_at(), session, ending].into_iter().flatten().min()
    }

    /// The stream is open.
    pub fn connected(&mut self, now: Moment) -> Vec<Effect> {
        self.converse(now, session::Input::Connected)
    }

    /// The stream could not be opened, or is no more.
    pub fn lost(&mut self, now: Moment) -> Vec<Effect> {
        if self.ending.is_some() { vec![Effect::Disconnect] } else { self.converse(now, session::Input::Lost) }
    }

    /// A person says where a manager is.
    pub fn told(&mut self, now: Moment, address: String) -> Vec<Effect> {
        self.converse(now, session::Input::Told(address))
    }

    /// The manager said something.
    pub fn heard(&mut self, now: Moment, message: FromManager) -> Vec<Effect> {
        self.session.hear(now);
        match message {
            FromManager::Echo(_) => Vec::new(),
            FromManager::Welcome(welcome) => {
                let (heartbeat, before) = (Duration::from_millis(welcome.heartbeat_ms), self.session.era());
                if !self.session.meet(Era(welcome.era)) {
                    return self.converse(now, session::Input::Lost);
                }
                let mut effects: Vec<Effect> = welcome.standing.map(Effect::Stand).into_iter().collect();
                effects.extend(Some(Effect::Enter(self.session.era())).filter(|_| self.session.era() != before));
                effects.extend(self.converse(now, session::Input::Welcome { heartbeat, managers: welcome.managers }));
                effects
            }
            FromManager::Standing(standing) => vec![Effect::Stand(standing)],
            FromManager::Heartbeat(period) => {
                self.converse(now, session::Input::Heartbeat(Duration::from_millis(period.heartbeat_ms)))
            }
            FromManager::Managers(managers) => self.converse(now, session::Input::Managers(managers.addresses)),
            FromManager::Ack(ack) => {
                self.reporter.ack(ack.seq);
                Some(ack.refused).filter(|why| !why.is_empty()).map(Effect::Refused).into_iter().collect()
            }
            FromManager::Contact(contact) => self.contacted(now, contact.seq),
            FromManager::Assignments(message) => self.ordered(now, message),
            FromManager::Farewell(pb::Farewell { removed, leader, .. }) => {
                self.converse(now, session::Input::Farewell { removed, leader })
            }
        }
    }

    fn contacted(&mut self, now: Moment, seq: u64) -> Vec<Effect> {
        let Some((contact, effects)) = self.worker.answered(now, seq) else { return Vec::new() };
        [Effect::Keep(contact)].into_iter().chain(self.obey(now, effects)).collect()
    }

    /// Tasks that stop on a cut-off node hang on answered heartbeats: several in the time that they have, and one at once when one
    /// of them waits.
    fn stay_in_contact(&mut self, now: Moment) -> Vec<Effect> {
        self.session.limit(now, self.worker.shortest_stop().map(|after| after / BEATS_MIN));
        if self.session.is_open() && self.worker.wants_contact() { vec![self.heartbeat()] } else { Vec::new() }
    }

    fn heartbeat(&mut self) -> Effect {
        Effect::Say(ToManager::Heartbeat(pb::Heartbeat { seq: self.worker.beat(), ..pb::Heartbeat::default() }))
    }

    fn ordered(&mut self, now: Moment, message: pb::Assignments) -> Vec<Effect> {
        if self.ending.is_some() {
            return Vec::new();
        }
        match Orders::try_from(message) {
            Ok(orders) => {
                let effects = self.worker.order(now, orders);
                let mut effects = self.obey(now, effects);
                effects.extend(self.stay_in_contact(now));
                effects
            }
            Err(error) => {
                let mut effects = vec![Effect::Unreadable(error)];
                effects.extend(self.converse(now, session::Input::Resync));
                effects
            }
        }
    }

    fn converse(&mut self, now: Moment, input: session::Input) -> Vec<Effect> {
        let effects = self.session.step(now, input);
        effects.into_iter().flat_map(|effect| self.follow(now, effect)).collect()
    }

    /// Does what the session machine says.
    fn follow(&mut self, now: Moment, effect: session::Effect) -> Vec<Effect> {
        vec![match effect {
            session::Effect::Connect(address) => Effect::Connect(address, Box::new(self.hello())),
            session::Effect::Heartbeat => self.heartbeat(),
            session::Effect::Began => return self.begin_session(now),
            session::Effect::Remember(managers) => Effect::Remember(managers),
            session::Effect::Disconnect => Effect::Disconnect,
            session::Effect::Removed => Effect::Removed,
        }]
    }

    fn hello(&mut self) -> pb::Hello {
        self.described.clone_from(&self.description);
        // Whoever sends it says what time it is, and what it proves itself with.
        pb::Hello {
            description: Some((&self.description).into()),
            address: self.address.clone(),
            era: self.session.era().0,
            managers: self.session.managers().to_vec(),
            ..pb::Hello::default()
        }
    }

    /// The machine may have changed since the hello was said.
    fn begin_session(&mut self, now: Moment) -> Vec<Effect> {
        self.worker.begin_session();
        self.reporter.begin_session(self.worker.ids());
        let mut effects = vec![Effect::Began];
        effects.extend(self.tell_description());
        effects.extend(self.stay_in_contact(now));
        effects
    }

    /// Does what the worker says. An agent that stops begins nothing more, but goes on writing; one that leaves goes on removing.
    fn obey(&mut self, now: Moment, effects: Vec<worker::Effect>) -> Vec<Effect> {
        let stopping = self.ending.is_some_and(|ending| !ending.leaving);
        let mut out = Vec::new();
        for effect in effects {
            match effect {
                worker::Effect::Report(task, after_write) => {
                    let write = if after_write { self.ledger.covering() } else { 0 };
                    self.reporter.note(task, write);
                    if after_write {
                        self.unwritten.insert(task, write);
                    }
                }
                worker::Effect::Forget(task) => {
                    self.reporter.forget(task);
                    self.ledger.change(now, false);
                }
                worker::Effect::Persist(soon) => self.ledger.change(now, soon),
                worker::Effect::Resync => out.extend(self.converse(now, session::Input::Resync)),
                worker::Effect::Wait(task) => out.push(Effect::Wait(task)),
                _ if stopping => {}
                worker::Effect::Prepare(order) => out.push(Effect::Prepare(order)),
                worker::Effect::Start(task) => out.extend(self.start(task)),
                worker::Effect::Stop(task, grace) => out.push(Effect::Stop(task, grace)),
                worker::Effect::Remove(task) => out.push(Effect::Remove(task)),
            }
        }
        out
    }

    /// The next report, if one is to be made and a session is open. The caller asks only while its stream has room for it.
    pub fn next_report(&mut self) -> Option<pb::StatusReport> {
        let batch = self.session.is_open().then(|| self.reporter.next_batch(self.ledger.written())).flatten()?;
        let reports = batch.tasks.into_iter().filter_map(|id| {
            let status = self.worker.status(id)?;
            Some(pb::TaskReport { task: id.to_bytes(), status: Some((&status).into()) })
        });
        Some(pb::StatusReport { seq: batch.seq, tasks: reports.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn welcome() -> FromManager {
        FromManager::Welcome(pb::Welcome { heartbeat_ms: 1_000, ..pb::Welcome::default() })
    }

    fn described(hostname: &str) -> NodeDescription {
        NodeDescription { hostname: hostname.into(), ..NodeDescription::default() }
    }

    fn tells(effects: &[Effect]) -> bool {
        effects.iter().any(|effect| matches!(effect, Effect::Say(ToManager::Description(_))))
    }

    #[test]
    fn a_machine_that_changed_while_the_hello_was_on_its_way_is_described_again() {
        let (now, managers) = (Moment(0), vec!["a:1".to_owned()]);
        let mut machine = NodeMachine::new(NodeId::new(1), String::new(), managers, Seed::new(1), now);
        machine.describe(described("old"));
        assert!(matches!(machine.tick(now).as_slice(), [Effect::Connect(..)]));
        assert!(machine.describe(described("new")).is_empty());
        assert!(tells(&machine.heard(now, welcome())));
        assert!(!tells(&machine.describe(described("new"))));
        assert!(tells(&machine.describe(described("newer"))));
    }

    #[test]
    fn what_keeps_a_node_from_taking_tasks_on_is_told_once_and_stays_while_the_machine_is_described_anew() {
        let (now, managers) = (Moment(0), vec!["a:1".to_owned()]);
        let mut machine = NodeMachine::new(NodeId::new(1), String::new(), managers, Seed::new(1), now);
        assert!(machine.trouble("full".into()).is_empty(), "nobody is there to be told");
        machine.tick(now);
        machine.heard(now, welcome());
        assert!(tells(&machine.describe(described("new"))));
        assert_eq!(machine.description().trouble, "full");
        assert!(!tells(&machine.trouble("full".into())));
        assert!(tells(&machine.trouble(String::new())));
    }

    fn ordered(task: u128, desired: pb::DesiredState) -> FromManager {
        let spec = pb::TaskSpec {
            container: Some(pb::ContainerSpec { image: "skep/hello".into(), ..pb::ContainerSpec::default() }),
            ..pb::TaskSpec::default()
        };
        let (service_id, spec_version) = (1u128.to_be_bytes().to_vec(), 1);
        let template =
            pb::TaskTemplate { service_id: service_id.clone(), spec: Some(spec), spec_version, ..Default::default() };
        let (task, desired) = (task.to_be_bytes().to_vec(), desired.into());
        let order = pb::Assignment { task, service_id, spec_version, slot: 1, desired, generation: 1 };
        FromManager::Assignments(pb::Assignments {
            complete: true,
            complete_end: true,
            templates: vec![template],
            tasks: vec![order],
            ..pb::Assignments::default()
        })
    }

    /// A machine whose task is prepared, while the list that has it is being written.
    fn prepared() -> (NodeMachine, TaskId) {
        let (now, task) = (Moment(0), TaskId::new(7));
        let mut machine = NodeMachine::new(NodeId::new(1), String::new(), Vec::new(), Seed::new(1), now);
        let effects = machine.heard(now, ordered(7, pb::DesiredState::Running));
        assert!(matches!(effects.as_slice(), [Effect::Prepare(_)]), "{effects:?}");
        assert!(machine.begin_write(now).is_some());
        (machine, task)
    }

    #[test]
    fn a_task_is_not_started_before_it_is_on_disk() {
        let (mut machine, task) = prepared();
        assert!(machine.step(Moment(0), task, Input::Prepared(Ok(()))).is_empty());
        let effects = machine.written(Moment(0), true);
        assert!(matches!(effects.as_slice(), [Effect::Start(_)]), "{effects:?}");
    }

    #[test]
    fn a_task_that_cannot_be_written_down_is_tried_again_and_may_be_stopped() {
        let (mut machine, task) = prepared();
        machine.step(Moment(0), task, Input::Prepared(Ok(())));
        assert!(machine.written(Moment(0), false).is_empty());
        let again = Moment(1_000);
        assert!(machine.tick(again).is_empty(), "the start waits for the next write");
        assert!(machine.begin_write(again).is_some());
        assert!(machine.written(again, false).is_empty());
        let effects = machine.step(again, task, Input::Forget(false));
        assert!(matches!(effects.as_slice(), [Effect::Stop(..)]), "{effects:?}");
    }

    #[test]
    fn an_agent_that_stops_begins_no_step_and_ends_when_its_list_is_written() {
        let now = Moment(0);
        let mut machine = NodeMachine::new(NodeId::new(1), String::new(), Vec::new(), Seed::new(1), now);
        let stray = vec![(TaskId::new(1), Recovered::Created)];
        assert!(matches!(machine.restore(now, TaskList::default(), stray).as_slice(), [Effect::Stop(..)]));
        assert!(matches!(machine.stop(now).as_slice(), [Effect::Say(ToManager::Goodbye(_)), Effect::Part]));
        assert!(machine.step(now, TaskId::new(1), Input::Stopped(Ok(None))).is_empty());
        assert!(!machine.has_ended(now, false));
        assert!(machine.has_ended(now, true));
        assert!(machine.has_ended(now + ending::STOP_MAX, false));
    }

    /// A node in a session, which was given a task of a service that stops when it is cut off.
    fn guarded() -> (NodeMachine, Vec<Effect>) {
        let (now, managers) = (Moment(0), vec!["a:1".to_owned()]);
        let mut machine = NodeMachine::new(NodeId::new(1), String::new(), managers, Seed::new(1), now);
        machine.find_contact(None, Duration::from_secs(100));
        machine.tick(now);
        machine.heard(now, welcome());
        let container = pb::ContainerSpec { image: "db".into(), stop_grace_ms: 1, ..Default::default() };
        let spec = pb::TaskSpec { container: Some(container), stop_after_ms: 8_000, ..Default::default() };
        let service_id = vec![0; 16];
        let template = pb::TaskTemplate {
            service_id: service_id.clone(),
            spec_version: 1,
            spec: Some(spec),
            ..Default::default()
        };
        let task = pb::Assignment {
            task: TaskId::new(7).to_bytes(),
            service_id,
            spec_version: 1,
            slot: 1,
            desired: pb::DesiredState::Running.into(),
            generation: 1,
        };
        let (templates, tasks) = (vec![template], vec![task]);
        let set = pb::Assignments { complete: true, complete_end: true, templates, tasks, ..Default::default() };
        let effects = machine.heard(now, FromManager::Assignments(set));
        (machine, effects)
    }

    fn beats(effects: &[Effect]) -> Vec<u64> {
        let seq = |effect: &Effect| match effect {
            Effect::Say(ToManager::Heartbeat(beat)) => Some(beat.seq),
            _ => None,
        };
        effects.iter().filter_map(seq).collect()
    }

    #[test]
    fn a_node_whose_tasks_hang_on_it_asks_for_answers_often_enough() {
        let (mut machine, effects) = guarded();
        assert_eq!(beats(&effects), [1], "at once, since a task waits for it");
        machine.heard(Moment(0), FromManager::Heartbeat(pb::HeartbeatPeriod { heartbeat_ms: 600_000 }));
        let next = machine.session().wake_at().unwrap();
        assert!(next <= Moment(2_000), "{next}");
        assert_eq!(beats(&machine.tick(next)), [2]);
    }

    #[test]
    fn a_contact_is_kept_before_anything_follows_from_it() {
        let (mut machine, _) = guarded();
        machine.step(Moment(0), TaskId::new(7), Input::Prepared(Ok(())));
        assert!(machine.begin_write(Moment(0)).is_some());
        machine.written(Moment(0), true);
        machine.pass(Moment(50), Duration::from_millis(100_050));
        let effects = machine.heard(Moment(50), FromManager::Contact(pb::Contact { seq: 1 }));
        let [Effect::Keep(at), Effect::Start(_)] = effects.as_slice() else { panic!("{effects:?}") };
        assert_eq!(*at, Duration::from_secs(100));
    }

    #[test]
    fn answers_of_an_earlier_session_say_nothing() {
        let (mut machine, _) = guarded();
        machine.lost(Moment(0));
        machine.tick(Moment(60_000));
        let effects = machine.heard(Moment(60_000), welcome());
        assert_eq!(beats(&effects), [1], "numbers begin anew");
        assert!(machine.heard(Moment(60_000), FromManager::Contact(pb::Contact { seq: 2 })).is_empty());
    }

    #[test]
    fn an_agent_that_leaves_says_goodbye_when_nothing_is_left() {
        let (mut machine, _) = guarded();
        machine.step(Moment(0), TaskId::new(7), Input::Prepared(Ok(())));
        let effects = machine.leave(Moment(0));
        assert!(matches!(effects.as_slice(), [Effect::Stop(..)]), "{effects:?}");
        assert!(!beats(&machine.tick(machine.session().wake_at().unwrap())).is_empty(), "it lives until then");
        machine.step(Moment(0), TaskId::new(7), Input::Stopped(Ok(None)));
        let effects = machine.step(Moment(0), TaskId::new(7), Input::Removed(Ok(())));
        let [Effect::Say(ToManager::Goodbye(goodbye)), Effect::Part] = effects.as_slice() else {
            panic!("{effects:?}")
        };
        assert!(goodbye.leaving && machine.has_ended(Moment(0), true));
    }
}
