//! Nodes.

use super::error::ConvertError;
use super::fields::{meta, meta_out, required, unknown};
use crate::model::{
    Availability, KeyPrint, ManagerStatus, Moment, Node, NodeDescription, NodeId, NodeRole, NodeSpec, NodeState,
    NodeStatus, Platform,
};
use crate::pb;

impl TryFrom<pb::Node> for Node {
    type Error = ConvertError;

    fn try_from(node: pb::Node) -> Result<Self, ConvertError> {
        let role = node.role().try_into()?;
        let (id, meta) = meta(node.meta, "node")?;
        Ok(Self {
            id: NodeId::from_bytes(&id)?,
            meta,
            spec: required(node.spec, "node", "spec")?.try_into()?,
            description: node.description.unwrap_or_default().into(),
            status: required(node.status, "node", "status")?.try_into()?,
            role,
            manager: node.manager.map(|m| ManagerStatus { raft_id: m.raft_id, address: m.address }),
            certificate: node.certificate,
            proven_key: KeyPrint::from_bytes(&node.proven_key),
        })
    }
}

impl From<&Node> for pb::Node {
    fn from(node: &Node) -> Self {
        let manager = |m: &ManagerStatus| pb::ManagerStatus { raft_id: m.raft_id, address: m.address.clone() };
        Self {
            meta: meta_out(node.id.to_bytes(), &node.meta),
            spec: Some((&node.spec).into()),
            description: Some((&node.description).into()),
            status: Some((&node.status).into()),
            role: pb::NodeRole::from(node.role).into(),
            manager: node.manager.as_ref().map(manager),
            certificate: node.certificate.clone(),
            proven_key: node.proven_key.map(KeyPrint::to_bytes).unwrap_or_default(),
        }
    }
}

impl TryFrom<pb::NodeSpec> for NodeSpec {
    type Error = ConvertError;

    fn try_from(spec: pb::NodeSpec) -> Result<Self, ConvertError> {
        Ok(Self { availability: spec.availability().try_into()?, role: spec.role().try_into()?, labels: spec.labels })
    }
}

impl From<&NodeSpec> for pb::NodeSpec {
    fn from(spec: &NodeSpec) -> Self {
        Self {
            labels: spec.labels.clone(),
            availability: pb::Availability::from(spec.availability).into(),
            role: pb::NodeRole::from(spec.role).into(),
        }
    }
}

impl TryFrom<pb::NodeStatus> for NodeStatus {
    type Error = ConvertError;

    fn try_from(status: pb::NodeStatus) -> Result<Self, ConvertError> {
        let state = match status.state() {
            pb::NodeState::Unknown => NodeState::Unknown,
            pb::NodeState::Ready => NodeState::Ready,
            pb::NodeState::Down => NodeState::Down,
            pb::NodeState::Disconnected => NodeState::Disconnected,
        };
        Ok(Self { state, message: status.message, address: status.address, since: Moment(status.since) })
    }
}

impl From<&NodeStatus> for pb::NodeStatus {
    fn from(status: &NodeStatus) -> Self {
        let state = match status.state {
            NodeState::Unknown => pb::NodeState::Unknown,
            NodeState::Ready => pb::NodeState::Ready,
            NodeState::Down => pb::NodeState::Down,
            NodeState::Disconnected => pb::NodeState::Disconnected,
        };
        let (message, address) = (status.message.clone(), status.address.clone());
        Self { state: state.into(), message, address, since: status.since.0 }
    }
}

impl From<pb::NodeDescription> for NodeDescription {
    fn from(part: pb::NodeDescription) -> Self {
        let platform = part.platform.unwrap_or_default();
        Self {
            hostname: part.hostname,
            platform: Platform { os: platform.os, architecture: platform.architecture },
            resources: part.resources.unwrap_or_default().into(),
            engine_version: part.engine_version,
            engine_labels: part.engine_labels,
            trouble: part.trouble,
        }
    }
}

impl From<&NodeDescription> for pb::NodeDescription {
    fn from(part: &NodeDescription) -> Self {
        let Platform { os, architecture } = part.platform.clone();
        Self {
            hostname: part.hostname.clone(),
            platform: Some(pb::Platform { os, architecture }),
            resources: Some(part.resources.into()),
            engine_version: part.engine_version.clone(),
            engine_labels: part.engine_labels.clone(),
            trouble: part.trouble.clone(),
        }
    }
}

impl TryFrom<pb::NodeRole> for NodeRole {
    type Error = ConvertError;

    fn try_from(role: pb::NodeRole) -> Result<Self, ConvertError> {
        match role {
            pb::NodeRole::Worker => Ok(Self::Worker),
            pb::NodeRole::Manager => Ok(Self::Manager),
            pb::NodeRole::Unspecified => Err(unknown("node", "role", role.into())),
        }
    }
}

impl From<NodeRole> for pb::NodeRole {
    fn from(role: NodeRole) -> Self {
        match role {
            NodeRole::Worker => Self::Worker,
            NodeRole::Manager => Self::Manager,
        }
    }
}

impl TryFrom<pb::Availability> for Availability {
    type Error = ConvertError;

    fn try_from(availability: pb::Availability) -> Result<Self, ConvertError> {
        match availability {
            pb::Availability::Active => Ok(Self::Active),
            pb::Availability::Pause => Ok(Self::Pause),
            pb::Availability::Drain => Ok(Self::Drain),
            pb::Availability::Unspecified => Err(unknown("node", "availability", availability.into())),
        }
    }
}

impl From<Availability> for pb::Availability {
    fn from(availability: Availability) -> Self {
        match availability {
            Availability::Active => Self::Active,
            Availability::Pause => Self::Pause,
            Availability::Drain => Self::Drain,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_node_is_read_back_as_it_was_written() {
        let node = Node {
            id: NodeId::new(4),
            meta: crate::model::Meta::default(),
            spec: NodeSpec {
                labels: BTreeMap::from([("zone".into(), "a".into())]),
                availability: Availability::Pause,
                role: NodeRole::Worker,
            },
            description: NodeDescription {
                hostname: "one".into(),
                trouble: "full".into(),
                ..NodeDescription::default()
            },
            status: NodeStatus { since: Moment(9), ..NodeStatus::new(NodeState::Down, "gone", "10.0.0.1") },
            role: NodeRole::Manager,
            manager: Some(ManagerStatus { raft_id: 1, address: "10.0.0.1:2377".into() }),
            certificate: "PEM".into(),
            proven_key: Some(KeyPrint::of_spki(b"key")),
        };
        assert_eq!(Node::try_from(pb::Node::from(&node)), Ok(node));
    }
}
