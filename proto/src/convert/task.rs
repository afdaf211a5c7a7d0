//! Tasks and their statuses.

use super::error::ConvertError;
use super::fields::{each, meta, meta_out, moment, moment_ms, required, unknown};
use crate::model::{DesiredState, Moment, NodeId, ServiceId, Slot, Task, TaskId, TaskState, TaskStatus};
use crate::pb;

impl TryFrom<pb::TaskState> for TaskState {
    type Error = ConvertError;

    fn try_from(state: pb::TaskState) -> Result<Self, ConvertError> {
        let number = i32::from(state);
        let found = Self::ALL.into_iter().find(|s| i32::from(*s as u16) == number);
        found.ok_or_else(|| unknown("task status", "state", number))
    }
}

impl From<TaskState> for pb::TaskState {
    fn from(state: TaskState) -> Self {
        Self::try_from(i32::from(state as u16)).expect("both enums carry the same numbers; a test compares them")
    }
}

impl TryFrom<pb::DesiredState> for DesiredState {
    type Error = ConvertError;

    fn try_from(state: pb::DesiredState) -> Result<Self, ConvertError> {
        match state {
            pb::DesiredState::Ready => Ok(Self::Ready),
            pb::DesiredState::Running => Ok(Self::Running),
            pb::DesiredState::Shutdown => Ok(Self::Shutdown),
            pb::DesiredState::Remove => Ok(Self::Remove),
            pb::DesiredState::Unspecified => Err(unknown("task", "desired state", state.into())),
        }
    }
}

impl From<DesiredState> for pb::DesiredState {
    fn from(state: DesiredState) -> Self {
        match state {
            DesiredState::Ready => Self::Ready,
            DesiredState::Running => Self::Running,
            DesiredState::Shutdown => Self::Shutdown,
            DesiredState::Remove => Self::Remove,
        }
    }
}

impl TryFrom<pb::TaskStatus> for TaskStatus {
    type Error = ConvertError;

    fn try_from(status: pb::TaskStatus) -> Result<Self, ConvertError> {
        let state = pb::TaskState::try_from(status.state).map_err(|_| unknown("task status", "state", status.state))?;
        Ok(Self {
            state: state.try_into()?,
            at: Moment(status.at),
            message: status.message.into(),
            error: status.error.into(),
            exit_code: status.exit_code,
            pid: status.pid,
            container_id: status.container_id.into(),
            applied_at: Moment(status.applied_at),
            ports: each(status.ports)?,
        })
    }
}

impl From<&TaskStatus> for pb::TaskStatus {
    fn from(status: &TaskStatus) -> Self {
        Self {
            state: pb::TaskState::from(status.state).into(),
            at: status.at.0,
            message: status.message.to_string(),
            error: status.error.to_string(),
            exit_code: status.exit_code,
            pid: status.pid,
            container_id: status.container_id.to_string(),
            applied_at: status.applied_at.0,
            ports: status.ports.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::Task> for Task {
    type Error = ConvertError;

    fn try_from(task: pb::Task) -> Result<Self, ConvertError> {
        let desired = task.desired().try_into()?;
        let slot = slot(task.slot, &task.slot_node)?;
        let (id, meta) = meta(task.meta, "task")?;
        Ok(Self {
            id: TaskId::from_bytes(&id)?,
            meta,
            service: ServiceId::from_bytes(&task.service_id)?,
            slot,
            spec_version: task.spec_version,
            node: optional(&task.node_id, NodeId::from_bytes)?,
            desired,
            status: required(task.status, "task", "status")?.try_into()?,
            start_after: moment(task.start_after),
            replaces: optional(&task.replaces, TaskId::from_bytes)?,
            restarts: task.restarts.into_iter().map(Moment).collect(),
        })
    }
}

impl From<&Task> for pb::Task {
    fn from(task: &Task) -> Self {
        let (slot, slot_node) = match task.slot {
            Slot::Replica(number) => (number, Vec::new()),
            Slot::Node(node) => (0, node.to_bytes()),
        };
        Self {
            meta: meta_out(task.id.to_bytes(), &task.meta),
            service_id: task.service.to_bytes(),
            slot,
            slot_node,
            spec_version: task.spec_version,
            node_id: task.node.map(NodeId::to_bytes).unwrap_or_default(),
            desired: pb::DesiredState::from(task.desired).into(),
            status: Some((&task.status).into()),
            start_after: moment_ms(task.start_after),
            replaces: task.replaces.map(TaskId::to_bytes).unwrap_or_default(),
            restarts: task.restarts.iter().map(|m| m.0).collect(),
        }
    }
}

fn slot(number: u32, node: &[u8]) -> Result<Slot, ConvertError> {
    match (number, node) {
        (0, []) => Err(ConvertError::Missing { message: "task", field: "slot" }),
        (0, node) => Ok(Slot::Node(NodeId::from_bytes(node)?)),
        (number, _) => Ok(Slot::Replica(number)),
    }
}

fn optional<T, E>(bytes: &[u8], read: impl Fn(&[u8]) -> Result<T, E>) -> Result<Option<T>, ConvertError>
where
    ConvertError: From<E>,
{
    if bytes.is_empty() { Ok(None) } else { Ok(Some(read(bytes)?)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_the_same_number_on_the_wire() {
        for state in TaskState::ALL {
            assert_eq!(TaskState::try_from(pb::TaskState::from(state)), Ok(state));
        }
    }

    #[test]
    fn a_task_is_read_back_as_it_was_written() {
        let task = Task {
            id: TaskId::new(1),
            meta: crate::model::Meta { version: 9, created_at: Moment(1), updated_at: Moment(2) },
            service: ServiceId::new(2),
            slot: Slot::Node(NodeId::new(3)),
            spec_version: 4,
            node: Some(NodeId::new(3)),
            desired: DesiredState::Ready,
            status: TaskStatus { exit_code: Some(0), ..TaskStatus::new(TaskState::Failed, Moment(5), "ended") },
            start_after: Some(Moment(6)),
            replaces: Some(TaskId::new(7)),
            restarts: vec![Moment(8)],
        };
        assert_eq!(Task::try_from(pb::Task::from(&task)), Ok(task));
    }

    #[test]
    fn a_task_without_a_slot_is_refused() {
        let mut wire = pb::Task::from(&Task {
            id: TaskId::new(1),
            meta: crate::model::Meta::default(),
            service: ServiceId::new(2),
            slot: Slot::Replica(1),
            spec_version: 1,
            node: None,
            desired: DesiredState::Running,
            status: TaskStatus::new(TaskState::Pending, Moment(0), ""),
            start_after: None,
            replaces: None,
            restarts: Vec::new(),
        });
        wire.slot = 0;
        assert!(Task::try_from(wire).is_err());
    }
}
