//! Which container serves which published port: the desired state behind the table's balancing chains.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::container::{ContainerId, Protocol, PublishedPort};

/// A port of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PortKey {
    /// Transport.
    pub(crate) protocol: Protocol,
    /// Its number.
    pub(crate) port: u16,
}

impl From<&PublishedPort> for PortKey {
    fn from(port: &PublishedPort) -> Self {
        Self { protocol: port.protocol, port: port.published }
    }
}

/// Where connections to a published port may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Backend {
    /// The container's address.
    pub(crate) address: Ipv4Addr,
    /// The port in it.
    pub(crate) port: u16,
}

/// What one container publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publication {
    /// The container's address.
    pub(crate) address: Ipv4Addr,
    /// Its ports.
    pub(crate) ports: Vec<PublishedPort>,
}

impl Publication {
    /// Each port with where it leads.
    pub(crate) fn backends(&self) -> impl Iterator<Item = (PortKey, Backend)> {
        self.ports.iter().map(|port| (PortKey::from(port), Backend { address: self.address, port: port.target }))
    }
}

/// All publications of the node, by container and by port.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    by_container: BTreeMap<ContainerId, Publication>,
    /// Counted, since two entries of one container may come to the same; a set would lose one with the other.
    backends: BTreeMap<PortKey, BTreeMap<Backend, usize>>,
}

impl Ports {
    /// Replaces what `id` publishes and returns what it published before. An empty list counts as nothing.
    pub(crate) fn set(&mut self, id: &ContainerId, publication: Option<Publication>) -> Option<Publication> {
        let before = self.by_container.remove(id);
        before.iter().for_each(|p| self.count(p, false));
        let after = publication.filter(|p| !p.ports.is_empty());
        after.iter().for_each(|p| self.count(p, true));
        if let Some(after) = after {
            self.by_container.insert(id.clone(), after);
        }
        before
    }

    /// Where connections to a port go, in order; empty when nobody publishes it.
    pub(crate) fn backends(&self, key: PortKey) -> Vec<Backend> {
        self.backends.get(&key).into_iter().flat_map(|b| b.keys().copied()).collect()
    }

    /// Every published port.
    pub(crate) fn keys(&self) -> impl Iterator<Item = PortKey> {
        self.backends.keys().copied()
    }

    fn count(&mut self, publication: &Publication, more: bool) {
        for (key, backend) in publication.backends() {
            let backends = self.backends.entry(key).or_default();
            let count = backends.entry(backend).or_default();
            *count = if more { *count + 1 } else { *count - 1 };
            backends.retain(|_, count| *count > 0);
        }
        for key in keys(publication) {
            if self.backends.get(&key).is_some_and(BTreeMap::is_empty) {
                self.backends.remove(&key);
            }
        }
    }
}

/// The ports of a publication, each once.
pub(crate) fn keys(publication: &Publication) -> BTreeSet<PortKey> {
    publication.ports.iter().map(PortKey::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: PortKey = PortKey { protocol: Protocol::Tcp, port: 80 };

    fn id(text: &str) -> ContainerId {
        ContainerId::new(text).unwrap()
    }

    fn publication(last: u8, ports: &[(u16, u16)]) -> Option<Publication> {
        let port = |&(published, target)| PublishedPort { published, target, protocol: Protocol::Tcp };
        Some(Publication { address: Ipv4Addr::new(10, 9, 0, last), ports: ports.iter().map(port).collect() })
    }

    #[test]
    fn containers_with_the_same_port_share_it() {
        let mut ports = Ports::default();
        ports.set(&id("a"), publication(2, &[(80, 8080)]));
        ports.set(&id("b"), publication(3, &[(80, 8081)]));
        assert_eq!(ports.backends(WEB).iter().map(|b| b.port).collect::<Vec<_>>(), [8080, 8081]);
        ports.set(&id("a"), None);
        assert_eq!(ports.backends(WEB).iter().map(|b| b.port).collect::<Vec<_>>(), [8081]);
        ports.set(&id("b"), None);
        assert_eq!(ports.keys().count(), 0);
    }

    #[test]
    fn publishing_again_replaces() {
        let mut ports = Ports::default();
        ports.set(&id("a"), publication(2, &[(80, 8080), (80, 8080)]));
        ports.set(&id("a"), publication(2, &[(81, 8080)]));
        assert_eq!(ports.keys().map(|k| k.port).collect::<Vec<_>>(), [81]);
    }
}
