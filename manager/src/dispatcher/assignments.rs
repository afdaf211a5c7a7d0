//! What a node is to do, against what its session was told: the difference goes out, in messages of bounded size.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use skep_proto::model::{DesiredState, NodeId, Service, ServiceId, Slot, Task, TaskId, TaskState};
use skep_proto::pb;

use crate::store::{News, State};

/// Tasks of one message: some 40 KiB without their specs.
pub const PAGE_TASKS_MAX: usize = 512;
/// Specs of one message, in bytes; a single larger spec goes alone. Far below what gRPC accepts.
pub const PAGE_BYTES_MAX: usize = 1 << 20;

/// What one session was told.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// Tasks and what was last said to be wanted of them.
    tasks: BTreeMap<TaskId, DesiredState>,
    /// Ended tasks that the agent keeps for their logs.
    kept: BTreeSet<TaskId>,
    /// Tasks of which the agent itself has said in this session that they ended.
    ended: BTreeSet<TaskId>,
    /// Specs, by service and revision.
    templates: BTreeSet<(ServiceId, u64)>,
    /// The complete set is out.
    complete: bool,
}

/// What a task means for its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Duty {
    /// Bring it to what is desired, or keep it there.
    Act(DesiredState),
    /// It has ended; its logs may still be asked for.
    Keep,
    /// Nothing, and nothing of it is to remain.
    Forget,
}

fn duty(task: &Task) -> Duty {
    let state = task.status.state;
    if state < TaskState::Assigned || state == TaskState::Orphaned {
        // Given up while its node was away: should it still run there, it must go.
        return Duty::Forget;
    }
    match (state.is_terminal(), task.desired) {
        (true, DesiredState::Remove) => Duty::Forget,
        (true, _) => Duty::Keep,
        (false, desired) => Duty::Act(desired),
    }
}

impl Sent {
    /// The messages that bring the session up to date: at first the complete set (one message at least), then differences
    /// (none when there are none). They count as sent.
    pub fn refresh(&mut self, node: NodeId, state: &State) -> Vec<pb::Assignments> {
        let complete = !self.complete;
        let mut pages = Pages::new(complete);
        let mut gone = self.known();
        for task in state.tasks_on(node) {
            let duty = duty(task);
            if duty != Duty::Forget {
                gone.remove(&task.id);
            }
            self.tell(task, duty, state, &mut pages);
        }
        for id in gone {
            self.drop_task(id, &mut pages);
        }
        self.complete = true;
        self.forget_templates(state);
        pages.finish()
    }

    /// The same, when it is known which tasks may differ from what was said: a node with hundreds of tasks costs no more than one with a
    /// handful.
    pub fn follow(&mut self, node: NodeId, state: &State, news: &News) -> Vec<pb::Assignments> {
        let News::Tasks(changed) = news else { return self.refresh(node, state) };
        if !self.complete || state.node(node).is_none() {
            return self.refresh(node, state);
        }
        let (mut pages, mut has_gone) = (Pages::new(false), false);
        for &id in changed {
            match state.task(id).filter(|task| task.node == Some(node)).map(|task| (task, duty(task))) {
                Some((task, duty)) if duty != Duty::Forget => self.tell(task, duty, state, &mut pages),
                _ => has_gone |= self.drop_task(id, &mut pages),
            }
        }
        if has_gone {
            self.forget_templates(state);
        }
        pages.finish()
    }

    /// The task is none of the node's any more. Tells whether the agent had heard of it.
    fn drop_task(&mut self, id: TaskId, pages: &mut Pages) -> bool {
        let is_known = self.tasks.remove(&id).is_some() | self.kept.remove(&id);
        self.ended.remove(&id);
        if is_known {
            pages.removed(id);
        }
        is_known
    }

    /// The agent says that the task has ended.
    pub fn hear_end(&mut self, task: TaskId) {
        if !self.complete || self.tasks.contains_key(&task) {
            self.ended.insert(task);
        }
    }

    fn known(&self) -> BTreeSet<TaskId> {
        self.tasks.keys().chain(&self.kept).copied().collect()
    }

    fn tell(&mut self, task: &Task, duty: Duty, state: &State, pages: &mut Pages) {
        match duty {
            Duty::Forget => {}
            Duty::Keep if self.complete => {
                // One that it was never told of, it does not have.
                if self.tasks.remove(&task.id).is_some() {
                    self.kept.insert(task.id);
                    // One that the managers ended over its head, it still runs.
                    if !self.ended.remove(&task.id) {
                        pages.task(assignment(task, task.desired.max(DesiredState::Shutdown)), None);
                    }
                }
            }
            Duty::Keep => {
                self.kept.insert(task.id);
                pages.kept(task.id);
            }
            Duty::Act(desired) => {
                if self.tasks.insert(task.id, desired) != Some(desired) {
                    let key = (task.service, task.spec_version);
                    let fresh = self.templates.insert(key);
                    let template = fresh.then(|| state.service(key.0).and_then(|s| template(s, key.1))).flatten();
                    pages.task(assignment(task, desired), template);
                }
            }
        }
    }

    /// A revision that the state has dropped can come no more; without this a long session would remember every one.
    fn forget_templates(&mut self, state: &State) {
        let exists = |(service, version): &(ServiceId, u64)| {
            state.service(*service).is_some_and(|s| s.revisions.contains_key(version))
        };
        self.templates.retain(exists);
    }
}

fn assignment(task: &Task, desired: DesiredState) -> pb::Assignment {
    let slot = match task.slot {
        Slot::Replica(number) => number,
        Slot::Node(_) => 0,
    };
    pb::Assignment {
        task: task.id.to_bytes(),
        service_id: task.service.to_bytes(),
        spec_version: task.spec_version,
        slot,
        desired: pb::DesiredState::from(desired).into(),
        generation: task.meta.version,
    }
}

fn template(service: &Service, spec_version: u64) -> Option<pb::TaskTemplate> {
    let revision = service.revisions.get(&spec_version)?;
    Some(pb::TaskTemplate {
        service_id: service.id.to_bytes(),
        spec_version,
        service_name: service.spec.name.as_str().to_owned(),
        service_labels: service.spec.labels.clone(),
        spec: Some((&revision.task).into()),
        ports: revision.ports.iter().map(Into::into).collect(),
    })
}

/// Cuts what is to be said into messages.
struct Pages {
    done: Vec<pb::Assignments>,
    open: pb::Assignments,
    bytes: usize,
}

impl Pages {
    fn new(complete: bool) -> Self {
        Self { done: Vec::new(), open: pb::Assignments { complete, ..Default::default() }, bytes: 0 }
    }

    /// Begins a new message when the open one cannot take so many bytes more.
    fn room(&mut self, bytes: usize) {
        let count = self.open.tasks.len() + self.open.removed.len() + self.open.kept.len();
        if count > 0 && (count >= PAGE_TASKS_MAX || self.bytes + bytes > PAGE_BYTES_MAX) {
            let next = pb::Assignments { complete: self.open.complete, ..Default::default() };
            self.done.push(std::mem::replace(&mut self.open, next));
            self.bytes = 0;
        }
        self.bytes += bytes;
    }

    fn task(&mut self, task: pb::Assignment, template: Option<pb::TaskTemplate>) {
        self.room(template.as_ref().map_or(0, Message::encoded_len));
        self.open.templates.extend(template);
        self.open.tasks.push(task);
    }

    fn kept(&mut self, task: TaskId) {
        self.room(0);
        self.open.kept.push(task.to_bytes());
    }

    fn removed(&mut self, task: TaskId) {
        self.room(0);
        self.open.removed.push(task.to_bytes());
    }

    fn finish(mut self) -> Vec<pb::Assignments> {
        let empty = self.open.tasks.is_empty() && self.open.removed.is_empty() && self.open.kept.is_empty();
        self.open.complete_end = self.open.complete;
        if self.open.complete || !empty {
            self.done.push(self.open);
        }
        self.done
    }
}

#[cfg(test)]
mod tests;
