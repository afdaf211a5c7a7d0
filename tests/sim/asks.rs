//! What a user asks for and how it is answered: calls, what each makes of an object, and the change that the API proposes for it.

use std::collections::BTreeMap;

use skep_manager::api::held::removable;
use skep_manager::api::validate;
use skep_manager::group::Group;
use skep_manager::store::{Change, State};
use skep_proto::model::{
    Availability, Constraint, Meta, Mode, Moment, Node, NodeDescription, NodeId, NodeRole, NodeSpec, NodeState,
    NodeStatus, PortConfig, Protocol, PublishMode, ServiceId, ServiceSpec, UpdateConfig,
};

use super::time::Us;

/// Something that the user asks for.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Create(ServiceId, Box<ServiceSpec>),
    Scale(ServiceId, u32),
    Edit(ServiceId, Edit),
    Remove(ServiceId),
    Availability(NodeId, Availability),
    Label(NodeId, String),
    Role(NodeId, NodeRole),
    AddNode(NodeId),
    RemoveNode(NodeId),
    Look,
}

/// A change of a spec that is not its size.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Image(&'static str),
    Force,
    Env(u64),
    Zone(Option<&'static str>),
    Rollout(UpdateConfig),
    Memory(u64),
    HostPort(u16),
    Max(Option<u32>),
}

/// What a look sees.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct View {
    pub(crate) services: BTreeMap<ServiceId, ServiceSpec>,
    pub(crate) nodes: BTreeMap<NodeId, NodeSpec>,
}

/// What a call came to, as its caller knows.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Done,
    /// The API found nothing to do it to, or would have made something that it does not allow.
    Refused,
    /// It was not done, for a reason that lies elsewhere.
    Failed,
    Saw(Box<View>),
}

/// A call: when it began, when it was answered, and how. Without an answer it was done, or will be, or never.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) ask: Ask,
    pub(crate) begun: Us,
    pub(crate) ended: Option<(Us, Answer)>,
}

impl View {
    pub(crate) fn of(state: &State) -> Self {
        let services = state.services().filter(|service| !service.removing);
        Self {
            services: services.map(|service| (service.id, service.spec.clone())).collect(),
            nodes: state.nodes().map(|node| (node.id, node.spec.clone())).collect(),
        }
    }
}

impl Ask {
    /// What it makes of a service; `None` when it is nothing that the API allows, or makes none of it.
    pub(crate) fn edit_service(&self, spec: &ServiceSpec) -> Option<ServiceSpec> {
        let mut spec = spec.clone();
        match self {
            Self::Scale(_, count) => {
                if let Mode::Replicated { replicas } = &mut spec.mode {
                    *replicas = *count;
                }
            }
            Self::Edit(_, edit) => apply(edit, &mut spec),
            _ => return None,
        }
        validate::service(&spec).ok().map(|()| spec)
    }

    /// What it makes of a node.
    pub(crate) fn edit_node(&self, spec: &NodeSpec) -> Option<NodeSpec> {
        let mut spec = spec.clone();
        match self {
            Self::Availability(_, availability) => spec.availability = *availability,
            Self::Role(_, role) => spec.role = *role,
            Self::Label(_, zone) => drop(spec.labels.insert("zone".into(), zone.clone())),
            _ => return None,
        }
        Some(spec)
    }
}

/// The change that a call makes of the newest state. Otherwise why there is none.
pub(crate) fn change(ask: &Ask, state: &State, group: &Group) -> Result<Change, Answer> {
    let refused = Answer::Refused;
    match ask {
        Ask::Create(id, spec) => {
            validate::service(spec).map_err(|_| Answer::Failed)?;
            Ok(Change::CreateService { service: *id, spec: spec.clone() })
        }
        Ask::Scale(id, _) | Ask::Edit(id, _) => {
            let service = state.service(*id).filter(|service| !service.removing).ok_or(refused.clone())?;
            let spec = Box::new(ask.edit_service(&service.spec).ok_or(refused)?);
            Ok(Change::UpdateService { service: *id, if_version: service.meta.version, spec })
        }
        Ask::Remove(id) => {
            let service = state.service(*id).filter(|service| !service.removing).ok_or(refused)?;
            Ok(Change::RemoveService { service: *id, if_version: service.meta.version })
        }
        Ask::Availability(id, _) | Ask::Label(id, _) | Ask::Role(id, _) => {
            let node = state.node(*id).ok_or(refused.clone())?;
            let spec = ask.edit_node(&node.spec).ok_or(refused)?;
            may_demote(node, &spec, group)?;
            Ok(Change::SetNodeSpec { node: *id, if_version: node.meta.version, spec })
        }
        Ask::Look => Err(Answer::Failed),
        Ask::AddNode(id) => Ok(Change::PutNode(Box::new(new_node(*id)))),
        Ask::RemoveNode(id) => {
            let node = state.node(*id).ok_or(refused)?;
            // Force on a node that is down is the word of somebody who sees that the machine is off.
            removable(state, node, node.status.state != NodeState::Down).map_err(|_| Answer::Failed)?;
            Ok(Change::RemoveNode { node: *id, if_version: node.meta.version })
        }
    }
}

/// Not while those that remain could not decide without its vote.
fn may_demote(node: &Node, spec: &NodeSpec, group: &Group) -> Result<(), Answer> {
    let goes = (node.spec.role, spec.role) == (NodeRole::Manager, NodeRole::Worker);
    let manager = node.manager.as_ref().filter(|_| goes);
    manager.map_or(Ok(()), |manager| group.can_lose(manager.raft_id)).map_err(|_| Answer::Failed)
}

fn apply(edit: &Edit, spec: &mut ServiceSpec) {
    match edit {
        Edit::Image(image) => spec.task.container.image = (*image).to_owned(),
        Edit::Force => spec.task.force_update += 1,
        Edit::Env(value) => spec.task.container.env = vec![format!("V={value}")],
        Edit::Zone(value) => spec.task.placement.constraints = zone(*value).into_iter().collect(),
        Edit::Rollout(update) => spec.update = *update,
        Edit::Memory(bytes) => spec.task.reservations.memory_bytes = *bytes,
        Edit::HostPort(0) => spec.ports.clear(),
        Edit::HostPort(number) => spec.ports = vec![port(*number, PublishMode::Host)],
        Edit::Max(max) => spec.task.placement.max_replicas_per_node = *max,
    }
}

/// A node that was just let in.
pub(crate) fn new_node(id: NodeId) -> Node {
    Node {
        id,
        meta: Meta::default(),
        spec: NodeSpec { labels: BTreeMap::new(), availability: Availability::Active, role: NodeRole::Worker },
        description: NodeDescription::default(),
        status: NodeStatus {
            state: NodeState::Unknown,
            message: "joined".into(),
            address: String::new(),
            since: Moment(0),
        },
        role: NodeRole::Worker,
        manager: None,
        certificate: String::new(),
        proven_key: None,
    }
}

pub(crate) fn port(published: u16, mode: PublishMode) -> PortConfig {
    PortConfig { protocol: Protocol::Tcp, target: 80, published, mode }
}

pub(crate) fn zone(value: Option<&str>) -> Option<Constraint> {
    let value = value?.to_owned();
    Some(Constraint { key: "node.labels.zone".into(), equal: true, value })
}
