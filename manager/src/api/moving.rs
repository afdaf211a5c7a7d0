//! How far a node is from what its availability says: what must still leave it or come to it, and why each of them waits.

use std::collections::BTreeSet;

use skep_proto::model::{Availability, Mode, Node, NodeId, NodeState, Service, Slot, Task, TaskState};
use skep_proto::pb;

use crate::store::{Soft, State};

/// Tasks shown one by one. A terminal has no more lines; the counts are of all.
pub const MOVES_SHOWN_MAX: usize = 64;

/// The progress of a node; a node that is gone is `removed`.
#[must_use]
pub fn moving(state: &State, soft: &Soft, id: NodeId) -> pb::NodeProgress {
    let Some(node) = state.node(id) else {
        return pb::NodeProgress { removed: true, converged: true, ..Default::default() };
    };
    let availability = pb::Availability::from(node.spec.availability).into();
    let mut view = View { state, soft, node, progress: pb::NodeProgress { availability, ..Default::default() } };
    match node.spec.availability {
        Availability::Drain => view.add_leaving(),
        Availability::Active if node.takes_tasks() => view.add_coming(),
        Availability::Active | Availability::Pause => {}
    }
    let converged = view.progress.left == 0 && view.progress.coming == 0;
    pb::NodeProgress { converged, ..view.progress }
}

struct View<'a> {
    state: &'a State,
    soft: &'a Soft,
    node: &'a Node,
    progress: pb::NodeProgress,
}

impl<'a> View<'a> {
    /// What is on the node, and what was moved off it and does not run elsewhere yet.
    fn add_leaving(&mut self) {
        let mut tasks: Vec<&Task> = self.state.tasks_on(self.node.id).collect();
        tasks.sort_by_key(|task| (task.service, task.slot, task.meta.created_at));
        let down = self.node.status.state == NodeState::Down;
        let mut seen = BTreeSet::new();
        for task in tasks {
            self.progress.unheard += u32::from(task.holds_resources() && down);
            if task.holds_resources() && !down {
                self.progress.left += 1;
                let why = self.why_here(task);
                self.show(task, why);
            } else if let Some(next) = self.successor(task).filter(|next| seen.insert(next.id)) {
                self.add_moved(next);
            }
        }
    }

    /// What is to run instead of a task of this node, and does not yet.
    fn successor(&self, task: &Task) -> Option<&'a Task> {
        let next = self.state.slot(task.service, task.slot).find(|next| next.replaces == Some(task.id))?;
        (next.is_live() && next.status.state < TaskState::Running).then_some(next)
    }

    /// A task that the scheduler has found no room for is not on its way: nothing moves until the cluster changes.
    fn add_moved(&mut self, next: &Task) {
        match self.waiting(next) {
            Some(reason) => {
                self.progress.stranded += 1;
                let why = format!("moved, and waits for a node: {reason}");
                self.show(next, why);
            }
            None => {
                self.progress.coming += 1;
                self.show(next, "moved, and does not run elsewhere yet".to_owned());
            }
        }
    }

    /// Why the scheduler has no node for it; `None` when it has one, or has not looked yet.
    fn waiting(&self, task: &Task) -> Option<&'a str> {
        let waits = task.node.is_none();
        waits.then(|| self.soft.waiting(task.service, task.spec_version)).flatten()
    }

    /// Why a task is still there.
    fn why_here(&self, task: &Task) -> String {
        if !task.desired.is_live() || matches!(task.slot, Slot::Node(_)) {
            return "is being stopped".to_owned();
        }
        let newer: Vec<&Task> =
            self.state.slot(task.service, task.slot).skip_while(|other| other.id != task.id).skip(1).collect();
        let next = newer.iter().rev().find(|next| next.is_live());
        let failed = newer.iter().rev().find(|ended| ended.status.state.is_failure());
        // A replacement that is on its way needs nobody to be stopped.
        let is_held = failed.is_some() || next.is_none_or(|next| next.node.is_none());
        let minimum = if is_held { self.minimum(task) } else { None };
        let failed = failed.map(|ended| format!("its replacement failed: {}", ended.status.error));
        let told: Vec<String> = failed.into_iter().chain(next.map(|next| self.describe(next))).chain(minimum).collect();
        if told.is_empty() { "waits to be moved".to_owned() } else { told.join("; ") }
    }

    fn describe(&self, next: &Task) -> String {
        let at = next.node.and_then(|node| self.state.node(node));
        match (at, self.waiting(next)) {
            (Some(node), _) => {
                let state = self.soft.status(next).state.name();
                format!("its replacement on {} is {state}", node.description.hostname)
            }
            (None, Some(reason)) => format!("its replacement has no node: {reason}"),
            (None, None) => "its replacement waits for a node".to_owned(),
        }
    }

    /// The minimum that keeps the task where it is, if it is that.
    fn minimum(&self, task: &Task) -> Option<String> {
        let service = self.state.service(task.service)?;
        let Mode::Replicated { replicas } = service.spec.mode else { return None };
        let least = service.spec.min_available.of(replicas);
        let running = self.running(service);
        let holds = least > 0 && task.status.state == TaskState::Running && running <= least;
        holds.then(|| format!("{} keeps {least} of {replicas} tasks running, and {running} run", service.spec.name))
    }

    fn running(&self, service: &Service) -> u32 {
        let lost = |node| self.state.node(node).is_none_or(|node| node.status.state == NodeState::Down);
        let runs = |task: &&Task| {
            task.desired.is_live() && task.status.state == TaskState::Running && !task.node.is_some_and(lost)
        };
        let slots = self.state.slots(service.id).filter(|(_, tasks)| tasks.iter().any(runs)).count();
        u32::try_from(slots).unwrap_or(u32::MAX)
    }

    /// Global services that have yet to run on a node that takes tasks.
    fn add_coming(&mut self) {
        let wanted = |service: &&std::sync::Arc<Service>| {
            let wants = service.spec.mode == Mode::Global && !service.removing && service.ports_allocated();
            wants && service.spec.task.placement.allows(self.node)
        };
        let services: Vec<_> = self.state.services().filter(wanted).cloned().collect();
        for service in services {
            let newest = self.state.slot(service.id, Slot::Node(self.node.id)).last();
            match newest {
                Some(task) if task.status.state == TaskState::Running && task.desired.is_live() => {}
                Some(task) if has_ended(task) => {}
                Some(task) if task.is_live() => {
                    let why = self.waiting(task).map(str::to_owned);
                    self.progress.coming += 1;
                    let state = self.soft.status(task).state;
                    self.show(task, why.unwrap_or_else(|| format!("is {}", state.name())));
                }
                _ => self.progress.coming += 1,
            }
        }
    }

    fn show(&mut self, task: &Task, why: String) {
        if self.progress.moves.len() == MOVES_SHOWN_MAX {
            return;
        }
        let slot = match task.slot {
            Slot::Replica(number) => number,
            Slot::Node(_) => 0,
        };
        let name = self.state.service(task.service).map(|service| service.spec.name.to_string());
        self.progress.moves.push(pb::MoveProgress {
            task: task.id.to_bytes(),
            service_name: name.unwrap_or_default(),
            slot,
            state: pb::TaskState::from(self.soft.status(task).state).into(),
            why,
        });
    }
}

/// It ended by itself and is not followed: a successor is made in the same moment.
fn has_ended(task: &Task) -> bool {
    matches!(task.status.state, TaskState::Complete | TaskState::Failed | TaskState::Rejected)
}

#[cfg(test)]
mod tests;
