//! Names, directories and addresses of the nodes that `up` makes.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::bail;
use serde::{Deserialize, Serialize};

/// Most nodes on one machine: a room for trying things out, not for running a data centre.
pub(crate) const NODES_MAX: u8 = 32;

/// The bridge that stands for the network between the machines, and its address. An unlikely neighbourhood of 10/8, so that
/// it is not somebody's office network.
pub(crate) const BRIDGE: (&str, Ipv4Addr, u8) = ("skep-up", Ipv4Addr::new(10, 117, 0, 1), 24);

/// The nftables table of that network.
pub(crate) const TABLE: &str = "skep-up";

/// What `up` makes, as `up.json` keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The nodes; the first is the manager.
    pub nodes: Vec<Node>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Node {
    /// Its hostname; empty: the machine's.
    pub name: String,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// Its run directory.
    pub run_dir: PathBuf,
    /// Its cgroup parent.
    pub cgroup_parent: String,
    /// Its network namespace and address there; `None`: the machine's own network.
    pub network: Option<Place>,
}

/// A node's place on the bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Name of the network namespace.
    pub namespace: String,
    /// Address there.
    pub address: Ipv4Addr,
}

impl Node {
    /// Where its daemon answers.
    #[must_use]
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.run_dir.join("skep.sock").display())
    }
}

/// Plans `count` nodes under the two directories. The first node's socket is the default one, so that the plain `skep`
/// command talks to it.
///
/// # Errors
/// When the count is absurd.
pub(crate) fn plan(count: u8, data_dir: &Path, run_dir: &Path, cgroup_parent: &str) -> anyhow::Result<Plan> {
    if !(1..=NODES_MAX).contains(&count) {
        bail!("bring up {count} nodes: give a number from 1 to {NODES_MAX}");
    }
    if count == 1 {
        let node = Node {
            name: String::new(),
            data_dir: data_dir.to_owned(),
            run_dir: run_dir.to_owned(),
            cgroup_parent: cgroup_parent.to_owned(),
            network: None,
        };
        return Ok(Plan { nodes: vec![node] });
    }
    let node = |number| in_namespace(number, data_dir, run_dir, cgroup_parent);
    Ok(Plan { nodes: (1..=count).map(node).collect() })
}

fn in_namespace(number: u8, data_dir: &Path, run_dir: &Path, cgroup_parent: &str) -> Node {
    let name = format!("node-{number}");
    let [a, b, c, _] = BRIDGE.1.octets();
    Node {
        data_dir: data_dir.join("nodes").join(&name),
        run_dir: if number == 1 { run_dir.to_owned() } else { run_dir.join("nodes").join(&name) },
        cgroup_parent: format!("{cgroup_parent}/{name}"),
        network: Some(Place { namespace: format!("skep-{name}"), address: Ipv4Addr::new(a, b, c, 10 + number) }),
        name,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn planned(count: u8) -> Vec<Node> {
        plan(count, Path::new("/data"), Path::new("/run/s"), "skep").unwrap().nodes
    }

    #[test]
    fn one_node_lives_on_the_machines_own_network() {
        let nodes = planned(1);
        assert_eq!((nodes.len(), nodes[0].network.clone()), (1, None));
        assert_eq!(nodes[0].host(), "unix:///run/s/skep.sock");
    }

    #[test]
    fn several_nodes_share_nothing_and_the_first_is_the_default() {
        let nodes = planned(NODES_MAX);
        assert_eq!(nodes[0].host(), "unix:///run/s/skep.sock");
        let distinct = |key: fn(&Node) -> String| nodes.iter().map(key).collect::<BTreeSet<_>>().len() == nodes.len();
        assert!(distinct(|n| n.data_dir.display().to_string()));
        assert!(distinct(|n| n.run_dir.display().to_string()));
        assert!(distinct(|n| n.cgroup_parent.clone()));
        assert!(distinct(|n| n.network.clone().unwrap().namespace));
        assert!(distinct(|n| n.network.clone().unwrap().address.to_string()));
    }

    #[test]
    fn an_absurd_count_is_refused() {
        for count in [0, NODES_MAX + 1] {
            assert!(plan(count, Path::new("/d"), Path::new("/r"), "skep").is_err());
        }
    }
}
