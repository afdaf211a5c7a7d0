//! Transactions as they lie in the log, and back.
//!
//! What is applied is always what was read back from the entry, on the leader too, so that no replica can come to another state
//! because a value did not survive the way. A change that this version does not know refuses its transaction; it cannot be passed over,
//! because the rest of the transaction may rely on it.

use prost::Message;

use skep_proto::convert::{ConvertError, required};
use skep_proto::model::{NodeId, ServiceId, ServiceSpec, TaskId, TokenText};
use skep_proto::pb::{self, change::Change as Wire};

use super::change::{Change, Placed, Reported, Transaction};
use super::error::Refusal;

/// An entry's bytes.
#[must_use]
pub fn encode(transactions: &[Transaction]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_behind(&mut bytes, transactions);
    bytes
}

/// Puts an entry's bytes behind those of others: together they read as one entry that has the transactions of all, in order.
pub fn encode_behind(bytes: &mut Vec<u8>, transactions: &[Transaction]) {
    let entry = pb::Entry { transactions: transactions.iter().map(Into::into).collect() };
    bytes.reserve(entry.encoded_len());
    entry.encode_raw(bytes);
}

/// An entry's transactions; one that cannot be understood comes as its refusal.
///
/// # Errors
/// When the bytes are no entry at all.
pub fn decode(bytes: &[u8]) -> Result<Vec<Result<Transaction, Refusal>>, prost::DecodeError> {
    let read = |transaction: pb::Transaction| {
        Transaction::try_from(transaction).map_err(|error: ConvertError| Refusal::Unknown(error.to_string()))
    };
    Ok(pb::Entry::decode(bytes)?.transactions.into_iter().map(read).collect())
}

impl From<&Transaction> for pb::Transaction {
    fn from(transaction: &Transaction) -> Self {
        let change = |change| pb::Change { change: Some(Wire::from(change)) };
        Self { changes: transaction.changes.iter().map(change).collect(), at: transaction.at.0 }
    }
}

impl TryFrom<pb::Transaction> for Transaction {
    type Error = ConvertError;

    fn try_from(transaction: pb::Transaction) -> Result<Self, ConvertError> {
        let change = |change: pb::Change| Change::try_from(required(change.change, "change", "known kind of change")?);
        let changes: Result<_, ConvertError> = transaction.changes.into_iter().map(change).collect();
        Ok(Self { changes: changes?, at: skep_proto::model::Moment(transaction.at) })
    }
}

impl From<&Change> for Wire {
    fn from(change: &Change) -> Self {
        match change {
            Change::PutCluster(cluster) => Self::PutCluster((&**cluster).into()),
            Change::UseToken(token) => Self::UseToken(pb::TokenUse { token: token.0.clone() }),
            Change::PutNode(node) => Self::PutNode((&**node).into()),
            Change::SetNodeSpec { node, if_version, spec } => Self::SetNodeSpec(pb::NodeSpecChange {
                r#ref: refer(node.to_bytes(), *if_version),
                spec: Some(spec.into()),
            }),
            Change::SetNodeStatus { node, status, description } => Self::SetNodeStatus(pb::NodeStatusChange {
                id: node.to_bytes(),
                status: Some(status.into()),
                description: description.as_deref().map(Into::into),
            }),
            Change::RemoveNode { node, if_version } => Self::RemoveNode(reference(node.to_bytes(), *if_version)),
            Change::CreateService { service, spec } => Self::CreateService(create_service(*service, spec)),
            Change::UpdateService { service, if_version, spec } => Self::UpdateService(pb::ServiceUpdate {
                r#ref: refer(service.to_bytes(), *if_version),
                spec: Some((&**spec).into()),
            }),
            Change::RemoveService { service, if_version } => {
                Self::RemoveService(reference(service.to_bytes(), *if_version))
            }
            Change::SetServicePorts { service, if_version, ports } => Self::SetServicePorts(pb::ServicePorts {
                r#ref: refer(service.to_bytes(), *if_version),
                ports: ports.iter().map(Into::into).collect(),
            }),
            Change::SetUpdateStatus { service, if_version, status } => Self::SetUpdateStatus(pb::ServiceUpdateStatus {
                r#ref: refer(service.to_bytes(), *if_version),
                status: status.as_ref().map(Into::into),
            }),
            Change::CreateTask(task) => Self::CreateTask((&**task).into()),
            Change::SetDesired { task, if_version, desired } => Self::SetDesired(pb::Desire {
                r#ref: refer(task.to_bytes(), *if_version),
                desired: pb::DesiredState::from(*desired).into(),
            }),
            Change::Assign(placed) => Self::Assign(pb::Assign { placed: placed.iter().map(Into::into).collect() }),
            Change::Report(reported) => {
                Self::Report(pb::Report { reported: reported.iter().map(Into::into).collect() })
            }
            Change::RemoveTask { task, if_version } => Self::RemoveTask(reference(task.to_bytes(), *if_version)),
        }
    }
}

impl TryFrom<Wire> for Change {
    type Error = ConvertError;

    fn try_from(wire: Wire) -> Result<Self, ConvertError> {
        Ok(match wire {
            Wire::PutCluster(cluster) => Self::PutCluster(Box::new(cluster.try_into()?)),
            Wire::UseToken(wire) => Self::UseToken(TokenText(wire.token)),
            Wire::PutNode(node) => Self::PutNode(Box::new(node.try_into()?)),
            Wire::SetNodeSpec(change) => set_node_spec(change)?,
            Wire::SetNodeStatus(change) => set_node_status(change)?,
            Wire::RemoveNode(node) => {
                Self::RemoveNode { node: NodeId::from_bytes(&node.id)?, if_version: node.if_version }
            }
            Wire::CreateService(service) => created_service(service)?,
            Wire::UpdateService(update) => update_service(update)?,
            Wire::RemoveService(service) => {
                Self::RemoveService { service: ServiceId::from_bytes(&service.id)?, if_version: service.if_version }
            }
            Wire::SetServicePorts(ports) => set_service_ports(ports)?,
            Wire::SetUpdateStatus(status) => set_update_status(status)?,
            Wire::CreateTask(task) => Self::CreateTask(Box::new(task.try_into()?)),
            Wire::SetDesired(desire) => set_desired(desire)?,
            Wire::Assign(assign) => Self::Assign(each(assign.placed, placed)?),
            Wire::Report(report) => Self::Report(each(report.reported, reported)?),
            Wire::RemoveTask(task) => {
                Self::RemoveTask { task: TaskId::from_bytes(&task.id)?, if_version: task.if_version }
            }
        })
    }
}

/// A new service is its id and its spec.
fn create_service(id: ServiceId, spec: &ServiceSpec) -> pb::Service {
    let meta = pb::Meta { id: id.to_bytes(), ..pb::Meta::default() };
    pb::Service { meta: Some(meta), spec: Some(spec.into()), ..pb::Service::default() }
}

fn created_service(wire: pb::Service) -> Result<Change, ConvertError> {
    let id = required(wire.meta, "service", "meta")?.id;
    let spec = Box::new(required(wire.spec, "service", "spec")?.try_into()?);
    Ok(Change::CreateService { service: ServiceId::from_bytes(&id)?, spec })
}

impl From<&Placed> for pb::Placed {
    fn from(placed: &Placed) -> Self {
        let (task, node) = (placed.task.to_bytes(), placed.node.to_bytes());
        Self { task, if_version: placed.if_version, node, node_version: 0 }
    }
}

impl From<&Reported> for pb::Reported {
    fn from(reported: &Reported) -> Self {
        let node = reported.node.map(NodeId::to_bytes).unwrap_or_default();
        Self { task: reported.task.to_bytes(), node, status: Some((&reported.status).into()) }
    }
}

fn placed(wire: pb::Placed) -> Result<Placed, ConvertError> {
    let (task, node) = (TaskId::from_bytes(&wire.task)?, NodeId::from_bytes(&wire.node)?);
    Ok(Placed { task, if_version: wire.if_version, node })
}

fn reported(wire: pb::Reported) -> Result<Reported, ConvertError> {
    let node = if wire.node.is_empty() { None } else { Some(NodeId::from_bytes(&wire.node)?) };
    let status = required(wire.status, "report", "status")?.try_into()?;
    Ok(Reported { task: TaskId::from_bytes(&wire.task)?, node, status })
}

fn set_node_spec(wire: pb::NodeSpecChange) -> Result<Change, ConvertError> {
    let (id, if_version) = referred(wire.r#ref)?;
    let spec = required(wire.spec, "node change", "spec")?.try_into()?;
    Ok(Change::SetNodeSpec { node: NodeId::from_bytes(&id)?, if_version, spec })
}

fn set_node_status(wire: pb::NodeStatusChange) -> Result<Change, ConvertError> {
    let status = required(wire.status, "node change", "status")?.try_into()?;
    let description = wire.description.map(|description| Box::new(description.into()));
    Ok(Change::SetNodeStatus { node: NodeId::from_bytes(&wire.id)?, status, description })
}

fn update_service(wire: pb::ServiceUpdate) -> Result<Change, ConvertError> {
    let (id, if_version) = referred(wire.r#ref)?;
    let spec = Box::new(required(wire.spec, "service change", "spec")?.try_into()?);
    Ok(Change::UpdateService { service: ServiceId::from_bytes(&id)?, if_version, spec })
}

fn set_service_ports(wire: pb::ServicePorts) -> Result<Change, ConvertError> {
    let (id, if_version) = referred(wire.r#ref)?;
    let ports = each(wire.ports, TryInto::try_into)?;
    Ok(Change::SetServicePorts { service: ServiceId::from_bytes(&id)?, if_version, ports })
}

fn set_update_status(wire: pb::ServiceUpdateStatus) -> Result<Change, ConvertError> {
    let (id, if_version) = referred(wire.r#ref)?;
    let status = wire.status.map(Into::into);
    Ok(Change::SetUpdateStatus { service: ServiceId::from_bytes(&id)?, if_version, status })
}

fn set_desired(wire: pb::Desire) -> Result<Change, ConvertError> {
    let desired = wire.desired().try_into()?;
    let (id, if_version) = referred(wire.r#ref)?;
    Ok(Change::SetDesired { task: TaskId::from_bytes(&id)?, if_version, desired })
}

fn each<A, B>(items: Vec<A>, read: impl Fn(A) -> Result<B, ConvertError>) -> Result<Vec<B>, ConvertError> {
    items.into_iter().map(read).collect()
}

fn reference(id: Vec<u8>, if_version: u64) -> pb::Ref {
    pb::Ref { id, if_version }
}

fn refer(id: Vec<u8>, if_version: u64) -> Option<pb::Ref> {
    Some(reference(id, if_version))
}

fn referred(wire: Option<pb::Ref>) -> Result<(Vec<u8>, u64), ConvertError> {
    required(wire, "change", "ref").map(|wire| (wire.id, wire.if_version))
}
