//! Small objects for tests: everything that a test does not name is the plainest there is.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_proto::model::{
    Availability, DesiredState, Meta, MinAvailable, Mode, Moment, Node, NodeDescription, NodeId, NodeRole, NodeSpec,
    NodeState, NodeStatus, PortConfig, Protocol, PublishMode, Revision, Service, ServiceId, ServiceName, ServiceSpec,
    Slot, Task, TaskId, TaskSpec, TaskState, TaskStatus, UpdateConfig,
};

use super::{Change, Transaction};

pub(crate) fn node_id(number: u128) -> NodeId {
    NodeId::new(number)
}

pub(crate) fn service_id(number: u128) -> ServiceId {
    ServiceId::new(number)
}

pub(crate) fn task_id(number: u128) -> TaskId {
    TaskId::new(number)
}

/// A ready, active worker.
pub(crate) fn node(number: u128) -> Node {
    let spec = NodeSpec { labels: BTreeMap::new(), availability: Availability::Active, role: NodeRole::Worker };
    Node {
        id: node_id(number),
        meta: Meta::default(),
        spec,
        description: NodeDescription::default(),
        status: status(NodeState::Ready),
        role: NodeRole::Worker,
        manager: None,
        certificate: String::new(),
        proven_key: None,
    }
}

pub(crate) fn status(state: NodeState) -> NodeStatus {
    NodeStatus::new(state, "", "")
}

pub(crate) fn spec(name: &str, mode: Mode) -> ServiceSpec {
    let name = ServiceName::new(name).unwrap();
    let (mut task, update) = (TaskSpec::default(), UpdateConfig::default());
    task.container.image = "skep/hello".into();
    ServiceSpec {
        name,
        labels: BTreeMap::new(),
        task,
        mode,
        ports: vec![],
        update,
        min_available: MinAvailable::default(),
    }
}

/// A replicated service.
pub(crate) fn service(number: u128, name: &str) -> Service {
    let spec = spec(name, Mode::Replicated { replicas: 1 });
    let revision = Revision { task: spec.task.clone(), ports: vec![] };
    Service {
        id: service_id(number),
        meta: Meta::default(),
        spec,
        spec_version: 1,
        previous_spec: None,
        ports: vec![],
        revisions: BTreeMap::from([(1, Arc::new(revision))]),
        removing: false,
        update_status: None,
    }
}

/// Makes that service.
pub(crate) fn create(service: Service) -> Change {
    Change::CreateService { service: service.id, spec: Box::new(service.spec) }
}

/// A pending task of the first revision.
pub(crate) fn task(number: u128, service: u128, slot: u32) -> Task {
    Task {
        id: task_id(number),
        meta: Meta::default(),
        service: service_id(service),
        slot: Slot::Replica(slot),
        spec_version: 1,
        node: None,
        desired: DesiredState::Running,
        status: TaskStatus::new(TaskState::Pending, Moment(0), "pending"),
        start_after: None,
        replaces: None,
        restarts: vec![],
    }
}

pub(crate) fn port(target: u16, published: u16, mode: PublishMode) -> PortConfig {
    PortConfig { protocol: Protocol::Tcp, target, published, mode }
}

pub(crate) fn transaction(at: u64, changes: Vec<Change>) -> Transaction {
    Transaction { changes, at: Moment(at) }
}
