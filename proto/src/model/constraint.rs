//! Whether a node satisfies a placement constraint. It stands with the model because three components ask it: the scheduler
//! before it places, the orchestrator when a node or a spec changes, and the API when it checks what a user wrote.

use std::net::IpAddr;

use super::node::{Node, NodeRole};
use super::spec::{Constraint, Placement};

/// What a constraint's key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attribute<'a> {
    Id,
    Hostname,
    Ip,
    Role,
    Os,
    Arch,
    Label(&'a str),
    EngineLabel(&'a str),
}

impl Placement {
    /// Whether every constraint holds for the node.
    #[must_use]
    pub fn allows(&self, node: &Node) -> bool {
        self.constraints.iter().all(|constraint| constraint.holds(node))
    }
}

impl Constraint {
    /// Whether it names something that nodes have; any other constraint never holds.
    #[must_use]
    pub fn is_known(&self) -> bool {
        attribute(&self.key).is_some()
    }

    /// Whether it holds for the node. A label that the node lacks counts as empty text, so `!=` holds for it.
    #[must_use]
    pub fn holds(&self, node: &Node) -> bool {
        attribute(&self.key).is_some_and(|attribute| matches(attribute, &self.value, node) == self.equal)
    }
}

/// The value that a node has under a key such as `node.labels.zone`; empty when it has none.
#[must_use]
pub fn label_of<'a>(key: &str, node: &'a Node) -> &'a str {
    let labels = match attribute(key) {
        Some(Attribute::Label(name)) => node.spec.labels.get(name),
        Some(Attribute::EngineLabel(name)) => node.description.engine_labels.get(name),
        Some(Attribute::Hostname) => Some(&node.description.hostname),
        _ => None,
    };
    labels.map_or("", String::as_str)
}

fn attribute(key: &str) -> Option<Attribute<'_>> {
    match key {
        "node.id" => Some(Attribute::Id),
        "node.hostname" => Some(Attribute::Hostname),
        "node.ip" => Some(Attribute::Ip),
        "node.role" => Some(Attribute::Role),
        "node.platform.os" => Some(Attribute::Os),
        "node.platform.arch" => Some(Attribute::Arch),
        _ => labelled(key),
    }
}

fn labelled(key: &str) -> Option<Attribute<'_>> {
    let node = key.strip_prefix("node.labels.").map(Attribute::Label);
    node.or_else(|| key.strip_prefix("engine.labels.").map(Attribute::EngineLabel))
}

fn matches(attribute: Attribute<'_>, value: &str, node: &Node) -> bool {
    let same = |is: &str| is.eq_ignore_ascii_case(value);
    let label = |found: Option<&String>| same(found.map_or("", String::as_str));
    match attribute {
        Attribute::Id => same(&node.id.to_string()),
        Attribute::Hostname => same(&node.description.hostname),
        Attribute::Ip => within(value, &node.status.address),
        Attribute::Role => same(role_name(node.role)),
        Attribute::Os => same(&node.description.platform.os),
        Attribute::Arch => {
            architecture(&node.description.platform.architecture).eq_ignore_ascii_case(architecture(value))
        }
        Attribute::Label(name) => label(node.spec.labels.get(name)),
        Attribute::EngineLabel(name) => label(node.description.engine_labels.get(name)),
    }
}

fn role_name(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Worker => "worker",
        NodeRole::Manager => "manager",
    }
}

/// The kernel's and the image world's names of the same machine are one.
fn architecture(name: &str) -> &str {
    let known = [("amd64", "x86_64"), ("arm64", "aarch64")];
    known.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name)).map_or(name, |&(_, canonical)| canonical)
}

/// Whether an address, with or without a port, is the given one or in the given block such as `10.0.0.0/8`.
fn within(block: &str, address: &str) -> bool {
    let Some(ip) = parse_ip(address) else { return false };
    let Some((base, bits)) = block.split_once('/') else { return parse_ip(block) == Some(ip) };
    match (base.parse(), bits.parse::<u32>()) {
        (Ok(base), Ok(bits)) => in_block(ip, base, bits),
        _ => false,
    }
}

fn parse_ip(address: &str) -> Option<IpAddr> {
    let with_port = || address.parse::<std::net::SocketAddr>().ok().map(|a| a.ip());
    address.parse().ok().or_else(with_port)
}

fn in_block(ip: IpAddr, base: IpAddr, bits: u32) -> bool {
    match (ip, base) {
        (IpAddr::V4(ip), IpAddr::V4(base)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            (ip.to_bits() ^ base.to_bits()) & mask == 0
        }
        (IpAddr::V6(ip), IpAddr::V6(base)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            (ip.to_bits() ^ base.to_bits()) & mask == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{Availability, Meta, NodeDescription, NodeId, NodeSpec, NodeState, NodeStatus, Platform};

    fn node() -> Node {
        let labels = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        Node {
            id: NodeId::new(7),
            meta: Meta::default(),
            spec: NodeSpec {
                labels: labels("zone", "East"),
                availability: Availability::Active,
                role: NodeRole::Worker,
            },
            description: NodeDescription {
                hostname: "bee1".to_owned(),
                platform: Platform { os: "linux".to_owned(), architecture: "x86_64".to_owned() },
                engine_labels: labels("disk", "ssd"),
                ..NodeDescription::default()
            },
            status: NodeStatus::new(NodeState::Ready, "", "10.1.2.3:2377"),
            role: NodeRole::Worker,
            manager: None,
            certificate: String::new(),
            proven_key: None,
        }
    }

    fn holds(key: &str, equal: bool, value: &str) -> bool {
        Constraint { key: key.to_owned(), equal, value: value.to_owned() }.holds(&node())
    }

    #[test]
    fn each_key_is_compared_without_regard_to_case() {
        let id = NodeId::new(7).to_string();
        let table = [
            ("node.id", id.as_str()),
            ("node.hostname", "BEE1"),
            ("node.role", "Worker"),
            ("node.platform.os", "Linux"),
            ("node.platform.arch", "x86_64"),
            ("node.platform.arch", "amd64"),
            ("node.labels.zone", "east"),
            ("engine.labels.disk", "SSD"),
        ];
        for (key, value) in table {
            assert!(holds(key, true, value), "{key}=={value}");
            assert!(!holds(key, false, value), "{key}!={value}");
            assert!(!holds(key, true, "other"), "{key}==other");
            assert!(holds(key, false, "other"), "{key}!=other");
        }
    }

    #[test]
    fn an_address_matches_itself_and_its_blocks() {
        let table = [
            ("10.1.2.3", true),
            ("10.1.2.4", false),
            ("10.1.0.0/16", true),
            ("10.2.0.0/16", false),
            ("0.0.0.0/0", true),
            ("10.1.2.3/32", true),
            ("10.1.0.0/33", false),
            ("fd00::/8", false),
            ("nonsense", false),
        ];
        for (block, expected) in table {
            assert_eq!(holds("node.ip", true, block), expected, "{block}");
        }
    }

    #[test]
    fn a_missing_label_is_empty_and_an_unknown_key_never_holds() {
        assert!(holds("node.labels.rack", false, "r1"));
        assert!(!holds("node.labels.rack", true, "r1"));
        assert!(!holds("node.colour", true, "red"));
        assert!(!holds("node.colour", false, "red"));
    }
}
