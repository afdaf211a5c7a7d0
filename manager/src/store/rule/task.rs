//! Single tasks.

use skep_proto::model::{DesiredState, Task, TaskId, TaskState};

use super::super::apply::Work;
use super::super::error::Refusal;
use super::super::slab::Handle;
use super::in_sequence;

impl Work<'_> {
    pub(in super::super) fn create_task(&mut self, given: Task) -> Result<(), Refusal> {
        self.may_create(&given)?;
        let handle = self.write_task(Task { meta: self.stamp(None), ..given });
        self.tell_node(handle);
        Ok(())
    }

    fn may_create(&self, task: &Task) -> Result<(), Refusal> {
        if self.state.tasks.find(task.id).is_some() {
            return Err(Refusal::Exists(format!("task {}", task.id)));
        }
        let service = self.state.service(task.service).filter(|service| !service.removing);
        let service = service.ok_or(Refusal::NoService(task.service))?;
        if !service.revisions.contains_key(&task.spec_version) {
            let what = format!("spec of service {}", service.id);
            return Err(Refusal::Stale { what, is: service.spec_version, was: task.spec_version });
        }
        match task.node.filter(|node| self.state.node(*node).is_none()) {
            Some(node) => Err(Refusal::NoNode(node)),
            None => Ok(()),
        }
    }

    pub(in super::super) fn set_desired(&mut self, id: TaskId, was: u64, desired: DesiredState) -> Result<(), Refusal> {
        let handle = self.task(id, was)?;
        let is = self.state.tasks.get(handle).desired;
        if desired < is {
            return Err(Refusal::Backward(id));
        }
        if desired > is {
            self.edit_task(handle, |task| task.desired = desired);
            self.tell_node(handle);
        }
        Ok(())
    }

    pub(in super::super) fn remove_task(&mut self, id: TaskId, was: u64) -> Result<(), Refusal> {
        let handle = self.task(id, was)?;
        self.tell_node(handle);
        let service = self.take_task(handle);
        self.tidy_service(service);
        Ok(())
    }

    /// What the task's node must do changed. One that only waits for its node is not yet known there.
    pub(super) fn tell_node(&mut self, handle: Handle) {
        let task = self.state.tasks.get(handle);
        let id = task.id;
        if let Some(node) = task.node.filter(|_| task.status.state >= TaskState::Assigned) {
            self.effects.touched.tell(node, id);
        }
    }

    fn task(&self, id: TaskId, was: u64) -> Result<Handle, Refusal> {
        let handle = self.state.tasks.find(id).ok_or(Refusal::NoTask(id))?;
        in_sequence("task", &id, self.state.tasks.get(handle).meta.version, was)?;
        Ok(handle)
    }
}
