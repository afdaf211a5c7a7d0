//! The diff against a model of the kernel.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::super::super::bridge::Bridge;
use super::super::super::ports::Publication;
use super::*;
use crate::container::{ContainerId, Protocol, PublishedPort};

fn base() -> BTreeMap<String, Chain> {
    ruleset::base(&Bridge { name: "br0".into(), address: Ipv4Addr::new(10, 9, 0, 1), prefix: 24 })
}

fn publish(ports: &mut Ports, container: u8, published: &[u16]) {
    let id = ContainerId::new(format!("c{container}")).unwrap();
    let port = |&published| PublishedPort { published, target: 80, protocol: Protocol::Tcp };
    let address = Ipv4Addr::new(10, 9, 0, container);
    ports.set(&id, Some(Publication { address, ports: published.iter().map(port).collect() }));
}

fn mend(have: &mut Snapshot, ports: &Ports) {
    diff(&base(), ports, have).iter().for_each(|c| have.apply(c));
}

#[test]
fn an_empty_kernel_gets_the_whole_table_and_then_nothing_more() {
    let mut ports = Ports::default();
    publish(&mut ports, 2, &[80, 81]);
    let mut have = Snapshot::default();
    mend(&mut have, &ports);
    assert_eq!(diff(&base(), &ports, &have), []);
}

#[test]
fn a_second_backend_rewrites_one_rule_and_touches_no_other_port() {
    let mut ports = Ports::default();
    publish(&mut ports, 2, &[80, 81]);
    let mut have = Snapshot::default();
    mend(&mut have, &ports);
    publish(&mut ports, 3, &[80]);
    let changes = diff(&base(), &ports, &have);
    let texts: Vec<_> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["empty chain tcp-80", "add a rule to chain tcp-80"]);
}

#[test]
fn a_rule_deleted_by_hand_is_put_back() {
    let mut have = Snapshot::default();
    mend(&mut have, &Ports::default());
    have.chains.get_mut("postrouting").unwrap().tags.remove(1);
    let changes = diff(&base(), &Ports::default(), &have);
    assert_eq!(changes.first(), Some(&Change::Flush { chain: "postrouting".into() }));
    assert_eq!(changes.len(), 4);
}

#[test]
fn an_unpublished_port_leaves_the_map_before_its_chain_goes() {
    let mut ports = Ports::default();
    publish(&mut ports, 2, &[80]);
    let mut have = Snapshot::default();
    mend(&mut have, &ports);
    publish(&mut ports, 2, &[]);
    let texts: Vec<_> = diff(&base(), &ports, &have).iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["take tcp-80 out of the map of ports", "empty chain tcp-80", "delete chain tcp-80"]);
}

proptest! {
    #[test]
    fn one_diff_is_always_enough(
        before in prop::collection::vec((2_u8..6, prop::collection::vec(80_u16..84, 0..3)), 0..6),
        after in prop::collection::vec((2_u8..6, prop::collection::vec(80_u16..84, 0..3)), 0..6),
        lost in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
    ) {
        let mut ports = Ports::default();
        before.iter().for_each(|(c, p)| publish(&mut ports, *c, p));
        let mut have = Snapshot::default();
        mend(&mut have, &ports);
        for index in lost {
            let name = have.chains.keys().nth(index.index(have.chains.len())).unwrap().clone();
            have.chains.get_mut(&name).unwrap().tags.clear();
        }
        after.iter().for_each(|(c, p)| publish(&mut ports, *c, p));
        mend(&mut have, &ports);
        prop_assert_eq!(diff(&base(), &ports, &have), Vec::new());
    }
}
