//! Every task of this node, and what to do for them: a pure function of orders and of what executors report.
//!
//! - Orders come as a complete set in pages, then as differences. Tasks on a page are acted on at once; a task that no page
//!   named is forgotten when the last page has come, and not before.
//! - A template is kept while a task refers to it, and through the session in which it was sent, since the manager sends it once.
//! - After a restart the tasks come from disk and are matched with the containers that are there. A container that no task
//!   claims is removed; a task that is assigned meanwhile waits until it is gone.
//! - Nothing is ever restarted here, and nothing needs a manager, with one exception: a task that its service wants stopped when its
//!   node is cut off starts only while a leader is heard of, and is stopped when none was for too long ([`Contact`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use skep_proto::convert::ConvertError;
use skep_proto::model::{DesiredState, Moment, NodeId, PublishMode, TaskId, TaskState, TaskStatus};

use crate::assignment::{Orders, TaskAssignment};
use crate::contact::Contact;
use crate::order::{Recovered, TaskOrder, Template, TemplateKey};
use crate::task::{self, Input, TaskMachine};
use stray::Strays;

/// Templates that no task refers to, kept for the rest of the session. A service that is updated every minute reaches it in four
/// hours; the oldest spec versions are dropped then, and if the manager names one, a new session fetches it.
pub const IDLE_TEMPLATES_MAX: usize = 256;

/// Something to do for a task.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Make its container.
    Prepare(TaskOrder),
    /// Start it.
    Start(TaskId),
    /// Send [`Input::Exited`] when it ends.
    Wait(TaskId),
    /// Stop it.
    Stop(TaskId, Duration),
    /// Remove it.
    Remove(TaskId),
    /// Tell the managers its status; with `true` not before the list is on disk.
    Report(TaskId, bool),
    /// It is gone: tell nothing more of it.
    Forget(TaskId),
    /// Write the list; with `true` soon, because a report waits for it.
    Persist(bool),
    /// The manager named a spec that is not here: begin a new session. A complete set that does so is refused task by task
    /// instead, since another one would say the same.
    Resync,
}

/// A task as it is written to disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The order.
    pub assignment: TaskAssignment,
    /// How far it is.
    pub status: TaskStatus,
}

/// The whole list as it is written to disk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskList {
    /// Specs that the tasks refer to.
    pub templates: Vec<Arc<Template>>,
    /// The tasks.
    pub records: Vec<Record>,
}

#[derive(Debug)]
struct Held {
    machine: TaskMachine,
    slot: u32,
    template: TemplateKey,
}

#[derive(Debug)]
struct Spec {
    body: Result<Arc<Template>, ConvertError>,
    uses: usize,
}

/// The tasks of one node.
#[derive(Debug)]
pub struct Worker {
    node: NodeId,
    tasks: BTreeMap<TaskId, Held>,
    specs: BTreeMap<TemplateKey, Spec>,
    named: Option<BTreeSet<TaskId>>,
    timers: BTreeSet<(Moment, TaskId)>,
    strays: Strays,
    contact: Contact,
    /// Tasks that stop on a cut-off node.
    guarded: BTreeSet<TaskId>,
}

impl Worker {
    /// A node without tasks.
    #[must_use]
    pub fn new(node: NodeId) -> Self {
        Self {
            node,
            tasks: BTreeMap::new(),
            specs: BTreeMap::new(),
            named: None,
            timers: BTreeSet::new(),
            strays: Strays::default(),
            contact: Contact::default(),
            guarded: BTreeSet::new(),
        }
    }

    /// Takes up the list of a daemon that ended, and the containers that are there now.
    pub fn restore(&mut self, now: Moment, list: TaskList, found: Vec<(TaskId, Recovered)>) -> Vec<Effect> {
        for template in list.templates {
            self.specs.insert(template.key(), Spec { body: Ok(template), uses: 0 });
        }
        for record in list.records {
            let TaskAssignment { desired, generation, .. } = record.assignment;
            self.hold(&record.assignment, TaskMachine::restored(desired, generation, &record.status));
        }
        let mut found: BTreeMap<TaskId, Recovered> = found.into_iter().collect();
        let ids: Vec<TaskId> = self.tasks.keys().copied().collect();
        let mut effects: Vec<Effect> =
            ids.into_iter().flat_map(|id| self.recover(now, id, found.remove(&id))).collect();
        effects.extend(found.into_keys().map(|id| self.drop_stray(id)));
        effects
    }

    /// A task whose spec is not on disk cannot be begun again: a damaged list, which the managers will replace.
    fn recover(&mut self, now: Moment, id: TaskId, found: Option<Recovered>) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.tasks.get(&id).is_some_and(|held| self.template(held).is_none()) {
            effects = self.step(now, id, Input::Refused("its spec is not on this node's disk".to_owned()));
        }
        let begun = self.tasks.get(&id).is_some_and(|held| held.machine.is_begun());
        if let Some(after) = self.stops_after(id).filter(|_| begun) {
            // One that ran on past its time is stopped, whatever is found of it.
            effects.extend(self.check(now, id, after));
        }
        effects.extend(self.step(now, id, Input::Recovered(found)));
        effects
    }

    /// A new session begins: the next complete set is read from its first page.
    pub fn begin_session(&mut self) {
        self.named = None;
        self.specs.retain(|_, spec| spec.uses > 0);
        self.contact.begin_session();
    }

    /// Takes a message of orders.
    pub fn order(&mut self, now: Moment, orders: Orders) -> Vec<Effect> {
        for (key, body) in orders.templates {
            let uses = self.specs.get(&key).map_or(0, |spec| spec.uses);
            self.specs.insert(key, Spec { body: body.map(Arc::new), uses });
        }
        if orders.complete {
            let named = self.named.get_or_insert_default();
            named.extend(orders.tasks.iter().map(|t| t.task).chain(orders.kept.iter().copied()));
        }
        let mut effects: Vec<Effect> = orders.tasks.iter().flat_map(|task| self.assign(now, task)).collect();
        effects.extend(orders.kept.into_iter().flat_map(|id| self.end(now, id)));
        let mut gone: Vec<TaskId> = orders.removed;
        if orders.complete_end {
            gone.extend(self.unnamed());
        }
        effects.extend(gone.into_iter().flat_map(|id| self.step(now, id, Input::Forget(false))));
        self.drop_idle_specs();
        effects
    }

    /// The managers know that task as ended. Should it not have, because they ended it over our head, it is stopped.
    fn end(&mut self, now: Moment, id: TaskId) -> Vec<Effect> {
        let lives = self.tasks.get(&id).filter(|held| !held.machine.state().is_terminal());
        let generation = lives.map(|held| held.machine.generation());
        let order = generation.map(|generation| Input::Desired(DesiredState::Shutdown, generation));
        order.map(|order| self.step(now, id, order)).unwrap_or_default()
    }

    /// Tasks that the complete set did not name.
    fn unnamed(&mut self) -> Vec<TaskId> {
        let named = self.named.take().unwrap_or_default();
        self.tasks.keys().filter(|id| !named.contains(id)).copied().collect()
    }

    fn assign(&mut self, now: Moment, order: &TaskAssignment) -> Vec<Effect> {
        if self.tasks.contains_key(&order.task) {
            return self.step(now, order.task, Input::Desired(order.desired, order.generation));
        }
        let input = match self.specs.get(&order.template).map(|spec| &spec.body) {
            Some(Ok(_)) => Input::Desired(order.desired, order.generation),
            Some(Err(error)) => Input::Refused(error.to_string()),
            None if self.named.is_none() => return vec![Effect::Resync],
            None => Input::Refused("the manager did not send its spec".to_owned()),
        };
        self.hold(order, TaskMachine::new(order.desired, order.generation, now));
        let mut effects = vec![Effect::Persist(true), Effect::Report(order.task, true)];
        if self.guarded.contains(&order.task) {
            effects.extend(self.open(now, order.task));
        }
        effects.extend(self.step(now, order.task, input));
        effects
    }

    fn hold(&mut self, order: &TaskAssignment, machine: TaskMachine) {
        if let Some(spec) = self.specs.get_mut(&order.template) {
            spec.uses += 1;
        }
        self.tasks.insert(order.task, Held { machine, slot: order.slot, template: order.template });
        self.guard(order.task);
    }

    /// Forgets every task at once, killing what runs: the node leaves.
    pub fn leave(&mut self, now: Moment) -> Vec<Effect> {
        let ids: Vec<TaskId> = self.tasks.keys().copied().collect();
        ids.into_iter().flat_map(|id| self.step(now, id, Input::Forget(true))).collect()
    }

    /// Gives one task one input. What a stray has taken is for the stray; an input for a task that is not held is too late.
    pub fn step(&mut self, now: Moment, id: TaskId, input: Input) -> Vec<Effect> {
        if let Some(effects) = self.stray_step(id, &input) {
            return effects;
        }
        let Some(held) = self.tasks.get_mut(&id) else { return Vec::new() };
        let effects = held.machine.step(now, input);
        effects.into_iter().filter_map(|effect| self.translate(id, effect)).collect()
    }

    fn translate(&mut self, id: TaskId, effect: task::Effect) -> Option<Effect> {
        if self.waits_for_stray(id, effect) {
            return None;
        }
        Some(match effect {
            task::Effect::Prepare => return self.prepare(id),
            task::Effect::Start => Effect::Start(id),
            task::Effect::Wait => Effect::Wait(id),
            task::Effect::Stop(hurry) => Effect::Stop(id, self.grace(id, hurry)),
            task::Effect::Remove => Effect::Remove(id),
            task::Effect::Report => Effect::Report(id, self.ended(id)),
            task::Effect::Persist(soon) => Effect::Persist(soon),
            task::Effect::WakeAt(at) => {
                self.timers.insert((at, id));
                return None;
            }
            task::Effect::Forgotten => {
                self.release(id);
                Effect::Forget(id)
            }
        })
    }

    fn ended(&self, id: TaskId) -> bool {
        self.tasks.get(&id).is_some_and(|held| held.machine.state().is_terminal())
    }

    fn prepare(&self, id: TaskId) -> Option<Effect> {
        let held = self.tasks.get(&id)?;
        let template = self.template(held)?;
        Some(Effect::Prepare(TaskOrder { task: id, slot: held.slot, node: self.node, template: Arc::clone(template) }))
    }

    fn template(&self, held: &Held) -> Option<&Arc<Template>> {
        self.specs.get(&held.template).and_then(|spec| spec.body.as_ref().ok())
    }

    fn release(&mut self, id: TaskId) {
        self.guarded.remove(&id);
        let Some(held) = self.tasks.remove(&id) else { return };
        if let Some(spec) = self.specs.get_mut(&held.template) {
            spec.uses -= 1;
        }
    }

    fn drop_idle_specs(&mut self) {
        if self.specs.len() <= IDLE_TEMPLATES_MAX {
            return;
        }
        let mut idle: Vec<(u64, TemplateKey)> =
            self.specs.iter().filter(|(_, spec)| spec.uses == 0).map(|(key, _)| (key.1, *key)).collect();
        idle.sort_unstable();
        let excess = idle.len().saturating_sub(IDLE_TEMPLATES_MAX);
        for (_, key) in idle.into_iter().take(excess) {
            self.specs.remove(&key);
        }
    }

    /// Wakes the tasks whose time has come.
    pub fn tick(&mut self, now: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(&(at, id)) = self.timers.first().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, id));
            effects.extend(self.step(now, id, Input::Tick));
        }
        effects
    }

    /// When [`Worker::tick`] is wanted next.
    #[must_use]
    pub fn wake_at(&self) -> Option<Moment> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The status to tell of a task, with the host-mode ports of one that runs; `None` when nobody wants to know it any more.
    #[must_use]
    pub fn status(&self, id: TaskId) -> Option<TaskStatus> {
        let held = self.tasks.get(&id).filter(|held| !held.machine.is_forgetting())?;
        let mut status = held.machine.status();
        if status.state == TaskState::Running && status.ports.is_empty() {
            let ports = self.template(held).map(|template| template.ports.iter());
            status.ports = ports.into_iter().flatten().filter(|port| port.mode == PublishMode::Host).copied().collect();
        }
        Some(status)
    }

    /// All tasks, in order of their ids.
    pub fn ids(&self) -> impl Iterator<Item = TaskId> {
        self.tasks.keys().copied()
    }

    /// How many tasks there are, ended ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// No task and no stray container is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.strays.is_empty()
    }

    /// What is to be on disk.
    #[must_use]
    pub fn list(&self) -> TaskList {
        let used = self.specs.values().filter(|spec| spec.uses > 0);
        let templates = used.filter_map(|spec| spec.body.as_ref().ok().cloned()).collect();
        let records = self.tasks.iter().map(|(id, held)| record(*id, held)).collect();
        TaskList { templates, records }
    }
}

fn record(task: TaskId, held: &Held) -> Record {
    let Held { machine, slot, template } = held;
    let (desired, generation) = (machine.desired(), machine.generation());
    let assignment = TaskAssignment { task, template: *template, slot: *slot, desired, generation };
    Record { assignment, status: machine.status() }
}

mod guard;
mod stray;
#[cfg(test)]
mod tests;
