//! The machine's own firewall: which accept rules it needs so that it lets the bridge's traffic pass.
//!
//! A verdict "drop" of any table is final, and "accept" only ends the table it stands in. So where another program's
//! FORWARD chain drops by default (Docker leaves it so), rules of ours must stand in that chain. They carry a comment
//! of ours, are put back when somebody flushes them, and are removed with the bridge.

use super::netlink::wire::{NLM_F_APPEND, NLM_F_CREATE};
use super::netlink::{Attributes, Message};
use super::nftables::change::comment;
use super::nftables::rule::Rule;
use super::nftables::snapshot::{ListedChain, ListedRule};
use super::nftables::wire::{
    NF_INET_FORWARD, NFT_MSG_DELRULE, NFT_MSG_NEWRULE, NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS, NFTA_RULE_HANDLE,
    NFTA_RULE_POSITION, NFTA_RULE_TABLE, NFTA_RULE_USERDATA, message,
};

/// The table that `iptables` keeps in nf_tables, and its chain for traffic that passes through.
pub(crate) const TABLE: &str = "filter";
/// See [`TABLE`].
pub(crate) const CHAIN: &str = "FORWARD";
/// The chain in which Docker lets administrators refuse traffic before anybody allows it.
const ADMINISTRATOR: &str = "DOCKER-USER";

/// Our comment in other people's chains.
pub(crate) fn tag(bridge: &str) -> String {
    format!("skep {bridge}")
}

/// Whether `iptables` keeps a FORWARD chain here.
pub(crate) fn concerns(chains: &[ListedChain]) -> bool {
    chains.iter().any(|c| {
        c.table == TABLE && c.name == CHAIN && c.hook.as_ref().is_some_and(|hook| hook.number == NF_INET_FORWARD)
    })
}

/// Our rules among the chain's.
fn ours<'a>(rules: &'a [ListedRule], bridge: &str) -> impl Iterator<Item = &'a ListedRule> {
    let tag = tag(bridge);
    rules.iter().filter(move |rule| rule.comment == tag)
}

/// The requests that put our two rules there, or none when they are. They stand right behind the jump to the
/// administrator's chain, so that its refusals go first, else at the head.
pub(crate) fn repair(rules: &[ListedRule], bridge: &str) -> Vec<Message> {
    if ours(rules, bridge).count() == 2 {
        return Vec::new();
    }
    let behind = rules.iter().find(|rule| rule.jumps_to == ADMINISTRATOR).map(|rule| rule.handle);
    let both = [Rule::AcceptFrom { bridge: bridge.to_owned() }, Rule::AcceptTo { bridge: bridge.to_owned() }];
    let add = both.iter().map(|rule| insert(rule, &tag(bridge), behind));
    remove(rules, bridge).into_iter().chain(add).collect()
}

/// The requests that take our rules away.
pub(crate) fn remove(rules: &[ListedRule], bridge: &str) -> Vec<Message> {
    ours(rules, bridge)
        .map(|rule| {
            let chain = Attributes::new().text(NFTA_RULE_TABLE, TABLE).text(NFTA_RULE_CHAIN, CHAIN);
            let attributes = chain.bytes(NFTA_RULE_HANDLE, &rule.handle.to_be_bytes());
            message(NFT_MSG_DELRULE, 0, &attributes)
        })
        .collect()
}

/// Without the append flag a rule goes before its position, or to the head.
fn insert(rule: &Rule, tag: &str, behind: Option<u64>) -> Message {
    let attributes = Attributes::new()
        .text(NFTA_RULE_TABLE, TABLE)
        .text(NFTA_RULE_CHAIN, CHAIN)
        .nest(NFTA_RULE_EXPRESSIONS, &rule.expressions("", 0))
        .bytes(NFTA_RULE_USERDATA, &comment(tag));
    match behind {
        Some(handle) => {
            let attributes = attributes.bytes(NFTA_RULE_POSITION, &handle.to_be_bytes());
            message(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, &attributes)
        }
        None => message(NFT_MSG_NEWRULE, NLM_F_CREATE, &attributes),
    }
}

/// Whether the old `iptables`, which is not nf_tables, filters in this namespace: the tables it lists.
pub(crate) fn legacy_concerns(ip_tables_names: &str) -> bool {
    ip_tables_names.lines().any(|line| line == TABLE)
}

/// Arguments for `iptables-legacy` that ask for (`-C`), insert (`-I`) or delete (`-D`) our two rules.
pub(crate) fn legacy_rules(verb: &'static str, bridge: &str) -> [Vec<String>; 2] {
    ["-i", "-o"].map(|side| {
        let tag = tag(bridge);
        ["-w", "2", verb, CHAIN, side, bridge, "-m", "comment", "--comment", &tag, "-j", "ACCEPT"]
            .map(str::to_owned)
            .to_vec()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(handle: u64, comment: &str, jumps_to: &str) -> ListedRule {
        let (table, chain) = (TABLE.to_owned(), CHAIN.to_owned());
        ListedRule { table, chain, handle, comment: comment.to_owned(), jumps_to: jumps_to.to_owned() }
    }

    #[test]
    fn two_tagged_rules_are_enough_and_one_is_replaced() {
        let both = [rule(1, "skep br0", ""), rule(2, "skep br0", "")];
        assert_eq!(repair(&both, "br0").len(), 0);
        assert_eq!(repair(&both[..1], "br0").len(), 3);
        assert_eq!(repair(&both, "br1").len(), 2);
    }

    #[test]
    fn our_rules_stand_behind_the_administrators() {
        let rules = [rule(7, "", "DOCKER-USER"), rule(8, "", "DOCKER")];
        let behind = |handle| insert(&Rule::AcceptFrom { bridge: "br0".into() }, "skep br0", handle);
        assert_eq!(repair(&rules, "br0")[0], behind(Some(7)));
        assert_eq!(repair(&rules[1..], "br0")[0], behind(None));
    }
}
