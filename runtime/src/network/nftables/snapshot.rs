//! The table as the kernel has it, read from its lists.

use std::collections::BTreeMap;

use super::super::netlink::{Attributes, Message, attribute, attributes, text};
use super::super::ports::PortKey;
use super::rule::{PORTS_MAP, key_from_bytes};
use super::ruleset::Hook;
use super::wire::{
    NFT_MSG_GETCHAIN, NFT_MSG_GETGEN, NFT_MSG_GETRULE, NFT_MSG_GETSETELEM, NFTA_CHAIN_HOOK, NFTA_CHAIN_NAME,
    NFTA_CHAIN_POLICY, NFTA_CHAIN_TABLE, NFTA_CHAIN_TYPE, NFTA_DATA_VALUE, NFTA_DATA_VERDICT, NFTA_GEN_ID,
    NFTA_HOOK_HOOKNUM, NFTA_HOOK_PRIORITY, NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS, NFTA_RULE_HANDLE, NFTA_RULE_TABLE,
    NFTA_RULE_USERDATA, NFTA_SET_ELEM_DATA, NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_SET_ELEM_LIST_SET,
    NFTA_SET_ELEM_LIST_TABLE, NFTA_VERDICT_CHAIN, message,
};

/// A chain of the kernel's: where it hangs, and the comments of its rules in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KernelChain {
    /// Nothing for a chain that others go to.
    pub(crate) hook: Option<Hook>,
    /// A rule without a comment is the empty text, which no rule of ours has.
    pub(crate) tags: Vec<String>,
}

/// The whole table. No table is an empty one without its map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// By name.
    pub(crate) chains: BTreeMap<String, KernelChain>,
    /// Elements of the map of ports: the chain each goes to. Nothing when the map is not there.
    pub(crate) ports: Option<BTreeMap<PortKey, String>>,
}

/// A chain of any table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedChain {
    /// Its table.
    pub(crate) table: String,
    /// Its name.
    pub(crate) name: String,
    /// Where it hangs.
    pub(crate) hook: Option<Hook>,
}

/// A rule of any chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedRule {
    /// Its table.
    pub(crate) table: String,
    /// Its chain.
    pub(crate) chain: String,
    /// The kernel's number for it.
    pub(crate) handle: u64,
    /// Its comment, or the empty text.
    pub(crate) comment: String,
    /// The chain it jumps to without a condition on the verdict's data, or the empty text.
    pub(crate) jumps_to: String,
}

/// Asks for the number of the last change to any table.
pub(crate) fn get_generation() -> Message {
    message(NFT_MSG_GETGEN, 0, &Attributes::new())
}

/// Asks for all chains of the IPv4 family.
pub(crate) fn list_chains() -> Message {
    message(NFT_MSG_GETCHAIN, 0, &Attributes::new())
}

/// Asks for the rules of one table, or of one of its chains.
pub(crate) fn list_rules(table: &str, chain: Option<&str>) -> Message {
    let attributes = Attributes::new().text(NFTA_RULE_TABLE, table);
    let attributes = match chain {
        Some(chain) => attributes.text(NFTA_RULE_CHAIN, chain),
        None => attributes,
    };
    message(NFT_MSG_GETRULE, 0, &attributes)
}

/// Asks for the map of ports.
pub(crate) fn list_ports(table: &str) -> Message {
    let list = Attributes::new().text(NFTA_SET_ELEM_LIST_TABLE, table).text(NFTA_SET_ELEM_LIST_SET, PORTS_MAP);
    message(NFT_MSG_GETSETELEM, 0, &list)
}

/// Reads a generation message's body.
pub(crate) fn parse_generation(body: &[u8]) -> Option<u32> {
    big(attribute(body.get(4..)?, NFTA_GEN_ID)?)
}

/// Reads a chain message's body.
pub(crate) fn parse_chain(body: &[u8]) -> Option<ListedChain> {
    let list = body.get(4..)?;
    Some(ListedChain {
        table: text(attribute(list, NFTA_CHAIN_TABLE)?).to_owned(),
        name: text(attribute(list, NFTA_CHAIN_NAME)?).to_owned(),
        hook: attribute(list, NFTA_CHAIN_HOOK).and_then(|hook| parse_hook(hook, list)),
    })
}

fn parse_hook(hook: &[u8], chain: &[u8]) -> Option<Hook> {
    Some(Hook {
        kind: text(attribute(chain, NFTA_CHAIN_TYPE)?).to_owned(),
        number: big(attribute(hook, NFTA_HOOK_HOOKNUM)?)?,
        priority: big(attribute(hook, NFTA_HOOK_PRIORITY)?)?.cast_signed(),
        accepts: attribute(chain, NFTA_CHAIN_POLICY).and_then(big) == Some(1),
    })
}

/// Reads a rule message's body.
pub(crate) fn parse_rule(body: &[u8]) -> Option<ListedRule> {
    let list = body.get(4..)?;
    let handle: [u8; 8] = *attribute(list, NFTA_RULE_HANDLE)?.first_chunk()?;
    Some(ListedRule {
        table: text(attribute(list, NFTA_RULE_TABLE)?).to_owned(),
        chain: text(attribute(list, NFTA_RULE_CHAIN)?).to_owned(),
        handle: u64::from_be_bytes(handle),
        comment: attribute(list, NFTA_RULE_USERDATA).and_then(comment).unwrap_or_default(),
        jumps_to: attribute(list, NFTA_RULE_EXPRESSIONS).and_then(jump).unwrap_or_default(),
    })
}

/// A rule's user data is a list of (kind, length, bytes); kind 0 is the comment, with its final zero.
fn comment(data: &[u8]) -> Option<String> {
    let (&[kind, length], rest) = data.split_first_chunk::<2>()?;
    let payload = rest.get(..usize::from(length))?;
    if kind == 0 { Some(text(payload).to_owned()) } else { comment(&rest[payload.len()..]) }
}

/// The chain that an `immediate` expression sends to.
fn jump(expressions: &[u8]) -> Option<String> {
    attributes(expressions).find_map(|(_, expression)| {
        let immediate = attribute(expression, 1).filter(|name| text(name) == "immediate")?;
        let data = attribute(expression, 2).filter(|_| !immediate.is_empty())?;
        let verdict = attribute(attribute(data, 2)?, NFTA_DATA_VERDICT)?;
        Some(text(attribute(verdict, NFTA_VERDICT_CHAIN)?).to_owned())
    })
}

/// Reads one message of the map's elements. Keys that are no port of ours are left out; nobody else writes there.
pub(crate) fn parse_elements(body: &[u8]) -> Vec<(PortKey, String)> {
    let list = body.get(4..).unwrap_or_default();
    let elements = attribute(list, NFTA_SET_ELEM_LIST_ELEMENTS).unwrap_or_default();
    attributes(elements).filter_map(|(_, element)| parse_element(element)).collect()
}

fn parse_element(element: &[u8]) -> Option<(PortKey, String)> {
    let key = key_from_bytes(attribute(attribute(element, NFTA_SET_ELEM_KEY)?, NFTA_DATA_VALUE)?)?;
    let verdict = attribute(attribute(element, NFTA_SET_ELEM_DATA)?, NFTA_DATA_VERDICT)?;
    Some((key, text(attribute(verdict, NFTA_VERDICT_CHAIN)?).to_owned()))
}

/// The table `name` out of the kernel's lists. `elements` is nothing when the kernel knows no such map.
pub(crate) fn assemble(
    name: &str,
    chains: Vec<ListedChain>,
    rules: Vec<ListedRule>,
    elements: Option<Vec<(PortKey, String)>>,
) -> Snapshot {
    let ours = chains.into_iter().filter(|c| c.table == name);
    let mut by_name: BTreeMap<String, KernelChain> =
        ours.map(|c| (c.name, KernelChain { hook: c.hook, tags: Vec::new() })).collect();
    for rule in rules.into_iter().filter(|r| r.table == name) {
        by_name.entry(rule.chain).or_default().tags.push(rule.comment);
    }
    Snapshot { chains: by_name, ports: elements.map(|e| e.into_iter().collect()) }
}

fn big(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|b| u32::from_be_bytes(*b))
}
