//! Tasks that stop when their node is cut off: they start only while a leader is heard of, and are stopped when none was for too
//! long.

use std::time::Duration;

use skep_proto::model::spec::STOP_GRACE_DEFAULT;
use skep_proto::model::{Moment, TaskId};

use super::{Effect, Worker};
use crate::contact::Contact;
use crate::task::Input;

impl Worker {
    /// Takes up what a daemon that ended had heard of a leader; to be called before [`Worker::restore`].
    pub fn find_contact(&mut self, contact: Contact) {
        self.contact = contact;
    }

    /// Takes a task into guard if it is one of those. It is not started before a leader was heard of.
    pub(super) fn guard(&mut self, id: TaskId) {
        if self.stops_after(id).is_some() {
            self.guarded.insert(id);
            self.tasks.get_mut(&id).expect("one that has a time to stop is held").machine.shut();
        }
    }

    /// Time goes on: stops what has been cut off for too long. `uptime` is the time since the machine's boot.
    pub fn pass(&mut self, now: Moment, uptime: Duration) -> Vec<Effect> {
        self.contact.pass(uptime);
        let guarded: Vec<TaskId> = self.guarded.iter().copied().collect();
        guarded
            .into_iter()
            .flat_map(|id| self.stops_after(id).map(|after| self.check(now, id, after)))
            .flatten()
            .collect()
    }

    pub(super) fn check(&mut self, now: Moment, id: TaskId, after: Duration) -> Vec<Effect> {
        if self.contact.holds(after) {
            return Vec::new();
        }
        let reason = format!("no leader was heard of for {}: stopped as its service asks", seconds(after));
        let mut effects = self.step(now, id, Input::Gate(false));
        effects.extend(self.step(now, id, Input::Lapsed(reason)));
        effects
    }

    /// The number of the heartbeat that is said now: zero when no answer is needed.
    pub fn beat(&mut self) -> u64 {
        if self.shortest_stop().is_some() { self.contact.beat() } else { 0 }
    }

    /// The leader answered the heartbeat of that number. The contact when that is news: it is to be kept on the machine before what
    /// follows from it is done.
    pub fn answered(&mut self, now: Moment, seq: u64) -> Option<(Duration, Vec<Effect>)> {
        let contact = self.contact.answered(seq)?;
        let guarded: Vec<TaskId> = self.guarded.iter().copied().collect();
        let open = guarded.into_iter().flat_map(|id| self.open(now, id)).collect();
        Some((contact, open))
    }

    pub(super) fn open(&mut self, now: Moment, id: TaskId) -> Vec<Effect> {
        let open = self.stops_after(id).is_some_and(|after| self.contact.may_start(after));
        self.step(now, id, Input::Gate(open))
    }

    /// Nothing stands against its start now; it may have when the start was decided.
    #[must_use]
    pub fn may_start(&self, id: TaskId) -> bool {
        self.stops_after(id).is_none_or(|after| self.contact.may_start(after))
    }

    /// The shortest time after which one of the tasks stops on a cut-off node, when there is one.
    #[must_use]
    pub fn shortest_stop(&self) -> Option<Duration> {
        self.guarded.iter().filter_map(|id| self.stops_after(*id)).min()
    }

    /// A task waits for a leader to be heard of.
    #[must_use]
    pub fn wants_contact(&self) -> bool {
        self.guarded.iter().filter_map(|id| self.stops_after(*id)).any(|after| !self.contact.may_start(after))
    }

    /// In what time [`Worker::pass`] is wanted at the latest.
    #[must_use]
    pub fn lapse_in(&self) -> Option<Duration> {
        let begun =
            self.guarded.iter().filter(|id| self.tasks.get(id).is_some_and(|held| held.machine.is_running_on()));
        begun.filter_map(|id| self.stops_after(*id)).map(|after| self.contact.left(after)).min()
    }

    /// After which time without a leader the task stops, if it does and has not ended.
    pub(super) fn stops_after(&self, id: TaskId) -> Option<Duration> {
        let held = self.tasks.get(&id).filter(|held| !held.machine.state().is_terminal())?;
        self.template(held)?.spec.on_disconnect.stops_after()
    }

    pub(super) fn grace(&self, id: TaskId, hurry: bool) -> Duration {
        if hurry {
            return Duration::ZERO;
        }
        let held = self.tasks.get(&id);
        let template = held.and_then(|held| self.template(held));
        let grace = template.map_or(STOP_GRACE_DEFAULT, |template| template.spec.container.stop_grace);
        // Its time began to run out when it was to stop, not when somebody came to do it.
        let after = template.and_then(|template| template.spec.on_disconnect.stops_after());
        let overdue = after.filter(|after| !self.contact.holds(*after)).map(|after| self.contact.overdue(after));
        grace.saturating_sub(overdue.unwrap_or_default())
    }
}

fn seconds(span: Duration) -> String {
    let ms = skep_proto::model::moment::millis(span);
    if ms.is_multiple_of(1_000) { format!("{} s", ms / 1_000) } else { format!("{ms} ms") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use skep_proto::model::{
        ContainerSpec, DesiredState, NodeId, OnDisconnect, ServiceId, TaskSpec, TaskState, TaskStatus,
    };

    use super::*;
    use crate::assignment::{Orders, TaskAssignment};
    use crate::order::{Exited, Recovered, Started, Template};
    use crate::worker::TaskList;

    const NOW: Moment = Moment(1_000);
    const SECOND: Duration = Duration::from_secs(1);
    const TASK: TaskId = TaskId::new(1);

    /// A task that stops after thirty seconds, with ten seconds of grace.
    fn orders(desired: DesiredState) -> Orders {
        let container = ContainerSpec { stop_grace: SECOND * 10, ..ContainerSpec::default() };
        let on_disconnect = OnDisconnect::StopAfter(SECOND * 30);
        let template = Template {
            service: ServiceId::new(1),
            spec_version: 1,
            service_name: "db".into(),
            service_labels: BTreeMap::new(),
            spec: TaskSpec { container, on_disconnect, ..TaskSpec::default() },
            ports: Vec::new(),
        };
        let task = TaskAssignment { task: TASK, template: template.key(), slot: 1, desired, generation: 1 };
        let templates = vec![(template.key(), Ok(template))];
        Orders { complete: true, complete_end: true, templates, tasks: vec![task], ..Orders::default() }
    }

    /// A worker whose task is prepared; a leader was last heard of a hundred seconds after the boot, if at all.
    fn prepared(in_contact: bool) -> Worker {
        let mut worker = Worker::new(NodeId::new(9));
        worker.find_contact(Contact::found(None, SECOND * 100));
        worker.order(NOW, orders(DesiredState::Running));
        if in_contact {
            let seq = worker.beat();
            assert_eq!(worker.answered(NOW, seq).map(|(contact, _)| contact), Some(SECOND * 100));
        }
        worker
    }

    fn running() -> Worker {
        let mut worker = prepared(true);
        let effects = worker.step(NOW, TASK, Input::Prepared(Ok(())));
        assert!(effects.contains(&Effect::Start(TASK)));
        worker.step(NOW, TASK, Input::Started(Ok(Started::default())));
        worker
    }

    fn stops(effects: &[Effect]) -> Vec<Duration> {
        let grace = |effect: &Effect| if let Effect::Stop(_, grace) = effect { Some(*grace) } else { None };
        effects.iter().filter_map(grace).collect()
    }

    #[test]
    fn it_is_prepared_at_once_and_started_when_a_leader_answers() {
        let mut worker = prepared(false);
        let effects = worker.step(NOW, TASK, Input::Prepared(Ok(())));
        assert!(!effects.contains(&Effect::Start(TASK)) && worker.wants_contact());
        worker.pass(NOW, SECOND * 5_000);
        assert_eq!(worker.status(TASK).unwrap().state, TaskState::Ready, "waiting is no failure");
        let seq = worker.beat();
        let (contact, effects) = worker.answered(NOW, seq).unwrap();
        assert_eq!((contact, effects.contains(&Effect::Start(TASK))), (SECOND * 5_000, true));
    }

    #[test]
    fn it_is_stopped_when_no_leader_was_heard_of_for_too_long_and_says_so() {
        let mut worker = running();
        assert_eq!((worker.shortest_stop(), worker.lapse_in()), (Some(SECOND * 30), Some(SECOND * 30)));
        assert!(worker.pass(NOW, SECOND * 129).is_empty());
        let effects = worker.pass(NOW, SECOND * 130);
        assert_eq!(stops(&effects), [SECOND * 10]);
        assert_eq!(worker.lapse_in(), None);
        let seq = worker.beat();
        worker.answered(NOW, seq);
        worker.step(NOW, TASK, Input::Stopped(Ok(Some(Exited { code: 143, ..Exited::default() }))));
        let status = worker.status(TASK).unwrap();
        assert_eq!(status.state, TaskState::Shutdown, "nothing takes it back");
        assert_eq!(&*status.error, "no leader was heard of for 30 s: stopped as its service asks");
    }

    #[test]
    fn answered_heartbeats_keep_it_running() {
        let mut worker = running();
        for second in 101..400 {
            let seq = worker.beat();
            assert!(worker.pass(NOW, SECOND * second).is_empty());
            worker.answered(NOW, seq);
        }
        assert_eq!(worker.status(TASK).unwrap().state, TaskState::Running);
    }

    #[test]
    fn a_machine_that_slept_gives_only_what_is_left_of_the_grace() {
        assert_eq!(stops(&running().pass(NOW, SECOND * 134)), [SECOND * 6]);
        assert_eq!(stops(&running().pass(NOW, SECOND * 9_000)), [Duration::ZERO]);
    }

    #[test]
    fn a_task_that_is_just_being_started_is_stopped_too() {
        let mut worker = prepared(true);
        worker.step(NOW, TASK, Input::Prepared(Ok(())));
        assert!(stops(&worker.pass(NOW, SECOND * 131)).is_empty(), "one step at a time");
        let effects = worker.step(NOW, TASK, Input::Started(Ok(Started::default())));
        assert_eq!(stops(&effects), [SECOND * 9]);
    }

    /// A daemon that begins at that time after the boot, and finds the task running and that contact.
    fn restarted(contact: Option<Duration>, now: Duration) -> (Worker, Vec<Effect>) {
        let mut list: TaskList = running().list();
        list.records[0].status = TaskStatus::new(TaskState::Running, NOW, "started");
        let mut worker = Worker::new(NodeId::new(9));
        worker.find_contact(Contact::found(contact, now));
        let effects = worker.restore(NOW, list, vec![(TASK, Recovered::Running(Started::default()))]);
        (worker, effects)
    }

    #[test]
    fn a_restart_of_the_daemon_neither_forgets_nor_forgives() {
        let (mut worker, effects) = restarted(Some(SECOND * 100), SECOND * 120);
        assert!(stops(&effects).is_empty());
        assert_eq!((worker.lapse_in(), stops(&worker.pass(NOW, SECOND * 130))), (Some(SECOND * 10), vec![SECOND * 10]));
        let (_, effects) = restarted(Some(SECOND * 100), SECOND * 133);
        assert_eq!(stops(&effects), [SECOND * 7]);
        let (_, effects) = restarted(None, SECOND * 101);
        assert_eq!(stops(&effects), [Duration::ZERO], "nobody knows for how long");
    }

    #[test]
    fn what_a_contact_of_an_earlier_daemon_allows_is_not_to_start() {
        let list = prepared(true).list();
        let mut worker = Worker::new(NodeId::new(9));
        worker.find_contact(Contact::found(Some(SECOND * 100), SECOND * 101));
        let effects = worker.restore(NOW, list, vec![(TASK, Recovered::Created)]);
        assert!(!effects.contains(&Effect::Start(TASK)));
        let seq = worker.beat();
        assert!(worker.answered(NOW, seq).unwrap().1.contains(&Effect::Start(TASK)));
    }

    #[test]
    fn a_task_that_the_managers_stopped_gives_no_other_reason() {
        let mut worker = running();
        worker.order(NOW, orders(DesiredState::Shutdown));
        worker.pass(NOW, SECOND * 200);
        worker.step(NOW, TASK, Input::Stopped(Ok(None)));
        let status = worker.status(TASK).unwrap();
        assert_eq!((status.state, &*status.error), (TaskState::Shutdown, ""));
        assert_eq!((worker.beat(), worker.shortest_stop()), (0, None), "nothing hangs on an answer any more");
    }
}
