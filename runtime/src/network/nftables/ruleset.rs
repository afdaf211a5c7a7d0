//! The table as it should be.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::super::address::{mask, network};
use super::super::bridge::Bridge;
use super::super::error::text;
use super::super::ports::{PortKey, Ports};
use super::rule::Rule;
use super::wire::{NF_INET_FORWARD, NF_INET_LOCAL_OUT, NF_INET_POST_ROUTING, NF_INET_PRE_ROUTING};

/// Where a base chain hangs in the IP stack. All accept what no rule drops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hook {
    /// `nat` or `filter`.
    pub(crate) kind: String,
    /// Which hook.
    pub(crate) number: u32,
    /// Its place among the others of the hook; lower is earlier.
    pub(crate) priority: i32,
    /// Whether it accepts what no rule decides.
    pub(crate) accepts: bool,
}

/// A chain and its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    /// Where it hangs, or nothing for a chain that others go to.
    pub(crate) hook: Option<Hook>,
    /// In order.
    pub(crate) rules: Vec<Rule>,
}

/// Before connection tracking.
const RAW: i32 = -300;
/// Where destinations are rewritten.
const DSTNAT: i32 = -100;
/// Where filters stand.
const FILTER: i32 = 0;
/// Where sources are rewritten.
const SRCNAT: i32 = 100;

/// The chains that are always there.
pub(crate) fn base(bridge: &Bridge) -> BTreeMap<String, Chain> {
    let name = || bridge.name.clone();
    let (network, mask): (Ipv4Addr, u32) = (network(bridge.address, bridge.prefix), mask(bridge.prefix));
    let masquerade = vec![
        Rule::MasqueradeOut { bridge: name(), network, mask },
        Rule::MasqueradeBack { bridge: name(), network, mask },
        Rule::MasqueradeLoopback { bridge: name() },
    ];
    let forward = vec![
        Rule::AcceptFrom { bridge: name() },
        Rule::AcceptPublished { bridge: name() },
        Rule::AcceptKnown { bridge: name() },
        Rule::DropTo { bridge: name() },
    ];
    let guard = vec![Rule::GuardLoopback { bridge: name() }];
    BTreeMap::from([
        hooked("guard", "filter", (NF_INET_PRE_ROUTING, RAW), guard),
        hooked("prerouting", "nat", (NF_INET_PRE_ROUTING, DSTNAT), vec![Rule::Dispatch]),
        hooked("output", "nat", (NF_INET_LOCAL_OUT, DSTNAT), vec![Rule::Dispatch]),
        hooked("postrouting", "nat", (NF_INET_POST_ROUTING, SRCNAT), masquerade),
        hooked("forward", "filter", (NF_INET_FORWARD, FILTER), forward),
    ])
}

/// The chain of a published port, or nothing when nobody serves it.
pub(crate) fn port(ports: &Ports, key: PortKey) -> Option<Chain> {
    let backends = ports.backends(key);
    (!backends.is_empty()).then(|| Chain { hook: None, rules: vec![Rule::Balance { key, backends }] })
}

/// Name of a published port's chain, for example `tcp-8080`.
pub(crate) fn chain_name(key: PortKey) -> String {
    format!("{}-{}", text(key.protocol), key.port)
}

fn hooked(name: &str, kind: &str, (number, priority): (u32, i32), rules: Vec<Rule>) -> (String, Chain) {
    let hook = Hook { kind: kind.to_owned(), number, priority, accepts: true };
    (name.to_owned(), Chain { hook: Some(hook), rules })
}
