//! From the table the kernel has to the table it should have: changes, in an order the kernel accepts, and their
//! encoding.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::super::netlink::wire::{NLM_F_APPEND, NLM_F_CREATE};
use super::super::netlink::{Attributes, Message};
use super::super::ports::{Backend, PortKey, Ports};
use super::rule::{PORTS_MAP, Rule, backend_bytes, key_bytes};
use super::ruleset::{self, Chain, Hook};
use super::snapshot::{KernelChain, Snapshot};
use super::wire::{
    NFT_DATA_VERDICT, NFT_GOTO, NFT_MSG_DELCHAIN, NFT_MSG_DELRULE, NFT_MSG_DELSETELEM, NFT_MSG_DELTABLE,
    NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE, NFT_MSG_NEWSET, NFT_MSG_NEWSETELEM, NFT_MSG_NEWTABLE, NFT_SET_ANONYMOUS,
    NFT_SET_CONSTANT, NFT_SET_MAP, NFTA_CHAIN_HOOK, NFTA_CHAIN_NAME, NFTA_CHAIN_POLICY, NFTA_CHAIN_TABLE,
    NFTA_CHAIN_TYPE, NFTA_HOOK_HOOKNUM, NFTA_HOOK_PRIORITY, NFTA_LIST_ELEM, NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS,
    NFTA_RULE_TABLE, NFTA_RULE_USERDATA, NFTA_SET_DATA_LEN, NFTA_SET_DATA_TYPE, NFTA_SET_ELEM_DATA, NFTA_SET_ELEM_KEY,
    NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_SET_ELEM_LIST_SET, NFTA_SET_ELEM_LIST_SET_ID, NFTA_SET_ELEM_LIST_TABLE,
    NFTA_SET_FLAGS, NFTA_SET_ID, NFTA_SET_KEY_LEN, NFTA_SET_KEY_TYPE, NFTA_SET_NAME, NFTA_SET_TABLE, NFTA_SET_USERDATA,
    NFTA_TABLE_NAME, TYPE_BACKEND, TYPE_INTEGER, TYPE_PORTS_KEY, message, value, verdict,
};

/// Elements in one message: 36 bytes each, so that a list stays below the 64 KiB of an attribute.
const ELEMENTS_MAX: usize = 1000;

/// Name of a balancing rule's map. The kernel puts a free number in place of `%d`.
const MAP_NAME: &str = "__map%d";

/// One change of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Makes the table if it is not there.
    AddTable,
    /// Makes the map of ports.
    AddPorts,
    /// Makes a chain.
    AddChain { chain: String, hook: Option<Hook> },
    /// Takes all rules out of a chain.
    Flush { chain: String },
    /// Adds a rule at a chain's end.
    AddRule { chain: String, rule: Rule },
    /// Takes a port out of the map.
    DeletePort { key: PortKey },
    /// Puts a port into the map.
    AddPort { key: PortKey, chain: String },
    /// Removes an empty chain that nothing goes to.
    DeleteChain { chain: String },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddTable => f.write_str("add the table"),
            Self::AddPorts => f.write_str("add the map of ports"),
            Self::AddChain { chain, .. } => write!(f, "add chain {chain}"),
            Self::Flush { chain } => write!(f, "empty chain {chain}"),
            Self::AddRule { chain, .. } => write!(f, "add a rule to chain {chain}"),
            Self::DeletePort { key } => write!(f, "take {} out of the map of ports", ruleset::chain_name(*key)),
            Self::AddPort { chain, .. } => write!(f, "put {chain} into the map of ports"),
            Self::DeleteChain { chain } => write!(f, "delete chain {chain}"),
        }
    }
}

/// Everything that is missing, wrong or too much.
pub(crate) fn diff(base: &BTreeMap<String, Chain>, ports: &Ports, have: &Snapshot) -> Vec<Change> {
    let mut changes = foundation(base, have);
    let known = have.ports.clone().unwrap_or_default();
    let keys: BTreeSet<PortKey> = ports.keys().chain(known.keys().copied()).collect();
    changes.extend(keys.iter().copied().flat_map(|key| diff_port(ports, have, key)));
    let handled: BTreeSet<String> = keys.iter().map(|key| ruleset::chain_name(*key)).collect();
    let orphans = have.chains.keys().filter(|name| !base.contains_key(*name) && !handled.contains(*name));
    changes.extend(orphans.flat_map(|name| delete_chain(name)));
    changes
}

/// What is missing or wrong in the table, its map and its base chains. The map comes before the rules that look into
/// it.
fn foundation(base: &BTreeMap<String, Chain>, have: &Snapshot) -> Vec<Change> {
    let mut changes = Vec::new();
    if have.ports.is_none() {
        changes.extend([Change::AddTable, Change::AddPorts]);
    }
    changes.extend(base.iter().flat_map(|(name, want)| diff_chain(name, want, have.chains.get(name))));
    changes
}

/// What is missing or wrong about one port: the changes do not depend on the other ports. The chain comes before the
/// element that leads to it, and goes after it.
pub(crate) fn diff_port(ports: &Ports, have: &Snapshot, key: PortKey) -> Vec<Change> {
    let name = ruleset::chain_name(key);
    let listed = have.ports.as_ref().and_then(|p| p.get(&key));
    let kernel = have.chains.get(&name);
    match ruleset::port(ports, key) {
        Some(want) => {
            let mut changes = diff_chain(&name, &want, kernel);
            if listed != Some(&name) {
                changes.extend(listed.map(|_| Change::DeletePort { key }));
                changes.push(Change::AddPort { key, chain: name });
            }
            changes
        }
        None => {
            let mut changes: Vec<Change> = listed.map(|_| Change::DeletePort { key }).into_iter().collect();
            changes.extend(kernel.into_iter().flat_map(|_| delete_chain(&name)));
            changes
        }
    }
}

fn diff_chain(name: &str, want: &Chain, have: Option<&KernelChain>) -> Vec<Change> {
    let chain = || name.to_owned();
    let same_place = have.is_some_and(|h| h.hook == want.hook);
    let same_rules =
        have.is_some_and(|h| h.tags.iter().eq(want.rules.iter().map(Rule::tag).collect::<Vec<_>>().iter()));
    if same_place && same_rules {
        return Vec::new();
    }
    let mut changes = Vec::new();
    if have.is_some_and(|h| !h.tags.is_empty()) {
        changes.push(Change::Flush { chain: chain() });
    }
    if !same_place {
        changes.extend(have.map(|_| Change::DeleteChain { chain: chain() }));
        changes.push(Change::AddChain { chain: chain(), hook: want.hook.clone() });
    }
    changes.extend(want.rules.iter().map(|rule| Change::AddRule { chain: chain(), rule: rule.clone() }));
    changes
}

/// A chain must be empty before it goes.
fn delete_chain(name: &str) -> [Change; 2] {
    [Change::Flush { chain: name.to_owned() }, Change::DeleteChain { chain: name.to_owned() }]
}

impl Snapshot {
    /// Does to this picture what the kernel did to the table.
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::AddTable => {}
            Change::AddPorts => self.ports = Some(BTreeMap::new()),
            Change::AddChain { chain, hook } => {
                self.chains.insert(chain.clone(), KernelChain { hook: hook.clone(), tags: Vec::new() });
            }
            Change::Flush { chain } => self.chains.entry(chain.clone()).or_default().tags.clear(),
            Change::AddRule { chain, rule } => self.chains.entry(chain.clone()).or_default().tags.push(rule.tag()),
            Change::DeletePort { key } => {
                self.ports.get_or_insert_default().remove(key);
            }
            Change::AddPort { key, chain } => {
                self.ports.get_or_insert_default().insert(*key, chain.clone());
            }
            Change::DeleteChain { chain } => {
                self.chains.remove(chain);
            }
        }
    }
}

/// The messages of one change to table `table`. `set` numbers the map that a balancing rule brings along: within a
/// batch the kernel finds it by that number, so each change needs its own.
pub(crate) fn encode(table: &str, change: &Change, set: u32) -> Vec<Message> {
    match change {
        Change::AddTable => vec![new_table(table)],
        Change::AddPorts => vec![new_ports(table, set)],
        Change::AddChain { chain, hook } => vec![new_chain(table, chain, hook.as_ref())],
        Change::Flush { chain } => {
            let attributes = Attributes::new().text(NFTA_RULE_TABLE, table).text(NFTA_RULE_CHAIN, chain);
            vec![message(NFT_MSG_DELRULE, 0, &attributes)]
        }
        Change::AddRule { chain, rule } => new_rule(table, chain, rule, set),
        Change::DeletePort { key } => vec![port_element(NFT_MSG_DELSETELEM, table, *key, None)],
        Change::AddPort { key, chain } => vec![port_element(NFT_MSG_NEWSETELEM, table, *key, Some(chain))],
        Change::DeleteChain { chain } => {
            let attributes = Attributes::new().text(NFTA_CHAIN_TABLE, table).text(NFTA_CHAIN_NAME, chain);
            vec![message(NFT_MSG_DELCHAIN, 0, &attributes)]
        }
    }
}

/// Makes a table, or leaves the one there is.
pub(crate) fn new_table(table: &str) -> Message {
    message(NFT_MSG_NEWTABLE, NLM_F_CREATE, &Attributes::new().text(NFTA_TABLE_NAME, table))
}

/// Removes a table with all it holds.
pub(crate) fn delete_table(table: &str) -> Message {
    message(NFT_MSG_DELTABLE, 0, &Attributes::new().text(NFTA_TABLE_NAME, table))
}

fn new_ports(table: &str, set: u32) -> Message {
    let attributes = Attributes::new()
        .text(NFTA_SET_TABLE, table)
        .text(NFTA_SET_NAME, PORTS_MAP)
        .be32(NFTA_SET_FLAGS, NFT_SET_MAP)
        .be32(NFTA_SET_KEY_TYPE, TYPE_PORTS_KEY)
        .be32(NFTA_SET_KEY_LEN, 8)
        .be32(NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT)
        .be32(NFTA_SET_ID, set);
    message(NFT_MSG_NEWSET, NLM_F_CREATE, &attributes)
}

fn new_chain(table: &str, chain: &str, hook: Option<&Hook>) -> Message {
    let attributes = Attributes::new().text(NFTA_CHAIN_TABLE, table).text(NFTA_CHAIN_NAME, chain);
    let attributes = match hook {
        None => attributes,
        Some(hook) => {
            let place = Attributes::new()
                .be32(NFTA_HOOK_HOOKNUM, hook.number)
                .be32(NFTA_HOOK_PRIORITY, hook.priority.cast_unsigned());
            let attributes = attributes.nest(NFTA_CHAIN_HOOK, &place);
            attributes.be32(NFTA_CHAIN_POLICY, u32::from(hook.accepts)).text(NFTA_CHAIN_TYPE, &hook.kind)
        }
    };
    message(NFT_MSG_NEWCHAIN, NLM_F_CREATE, &attributes)
}

/// A balancing rule brings its map along, which the kernel removes with it.
fn new_rule(table: &str, chain: &str, rule: &Rule, set: u32) -> Vec<Message> {
    let attributes = Attributes::new()
        .text(NFTA_RULE_TABLE, table)
        .text(NFTA_RULE_CHAIN, chain)
        .nest(NFTA_RULE_EXPRESSIONS, &rule.expressions(MAP_NAME, set))
        .bytes(NFTA_RULE_USERDATA, &comment(&rule.tag()));
    let add = message(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, &attributes);
    let mut messages = match rule {
        Rule::Balance { backends, .. } => balance_map(table, set, backends),
        _ => Vec::new(),
    };
    messages.push(add);
    messages
}

fn balance_map(table: &str, set: u32, backends: &[Backend]) -> Vec<Message> {
    // For `nft` alone: keys are numbers in the machine's byte order (1), data in network order (2).
    let byte_orders = [[0, 4], [1, 0], [0, 0], [1, 4], [2, 0], [0, 0]].concat();
    let attributes = Attributes::new()
        .text(NFTA_SET_TABLE, table)
        .text(NFTA_SET_NAME, MAP_NAME)
        .be32(NFTA_SET_FLAGS, NFT_SET_ANONYMOUS | NFT_SET_CONSTANT | NFT_SET_MAP)
        .be32(NFTA_SET_KEY_TYPE, TYPE_INTEGER)
        .be32(NFTA_SET_KEY_LEN, 4)
        .be32(NFTA_SET_DATA_TYPE, TYPE_BACKEND)
        .be32(NFTA_SET_DATA_LEN, 8)
        .be32(NFTA_SET_ID, set)
        .bytes(NFTA_SET_USERDATA, &byte_orders);
    let numbered: Vec<(u32, Backend)> = (0..).zip(backends.iter().copied()).collect();
    let elements = numbered.chunks(ELEMENTS_MAX).map(|chunk| balance_elements(table, set, chunk));
    std::iter::once(message(NFT_MSG_NEWSET, NLM_F_CREATE, &attributes)).chain(elements).collect()
}

fn balance_elements(table: &str, set: u32, backends: &[(u32, Backend)]) -> Message {
    let list = backends.iter().fold(Attributes::new(), |list, (number, backend)| {
        let key = value(&number.to_ne_bytes());
        let data = value(&backend_bytes(*backend));
        let element = Attributes::new().nest(NFTA_SET_ELEM_KEY, &key).nest(NFTA_SET_ELEM_DATA, &data);
        list.nest(NFTA_LIST_ELEM, &element)
    });
    let attributes = Attributes::new()
        .text(NFTA_SET_ELEM_LIST_TABLE, table)
        .text(NFTA_SET_ELEM_LIST_SET, MAP_NAME)
        .nest(NFTA_SET_ELEM_LIST_ELEMENTS, &list)
        .be32(NFTA_SET_ELEM_LIST_SET_ID, set);
    message(NFT_MSG_NEWSETELEM, NLM_F_CREATE, &attributes)
}

fn port_element(kind: u16, table: &str, key: PortKey, chain: Option<&str>) -> Message {
    let element = Attributes::new().nest(NFTA_SET_ELEM_KEY, &value(&key_bytes(key)));
    let element = match chain {
        Some(chain) => element.nest(NFTA_SET_ELEM_DATA, &verdict(NFT_GOTO, Some(chain))),
        None => element,
    };
    let attributes = Attributes::new()
        .text(NFTA_SET_ELEM_LIST_TABLE, table)
        .text(NFTA_SET_ELEM_LIST_SET, PORTS_MAP)
        .nest(NFTA_SET_ELEM_LIST_ELEMENTS, &Attributes::new().nest(NFTA_LIST_ELEM, &element));
    message(kind, if chain.is_some() { NLM_F_CREATE } else { 0 }, &attributes)
}

/// User data that `nft` and `iptables` show as a comment.
pub(crate) fn comment(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len() + 1).unwrap_or(u8::MAX);
    let kept = &text.as_bytes()[..usize::from(length - 1)];
    [&[0, length], kept, &[0]].concat()
}

#[cfg(test)]
mod tests;
