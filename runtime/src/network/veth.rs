//! A container's pair of interfaces: names, and the requests that make and configure it.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use sha2::{Digest, Sha256};

use super::Lease;
use super::bridge::hardware;
use super::link::{self, Link};
use super::netlink::wire::{
    AF_INET, AF_INET6, IFLA_ADDRESS, IFLA_AF_SPEC, IFLA_BRPORT_MODE, IFLA_GROUP, IFLA_IFALIAS, IFLA_IFNAME,
    IFLA_INET6_ADDR_GEN_MODE, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_INFO_SLAVE_DATA, IFLA_INFO_SLAVE_KIND,
    IFLA_LINKINFO, IFLA_MASTER, IFLA_MTU, IFLA_NET_NS_FD, IN6_ADDR_GEN_MODE_NONE, NLM_F_CREATE, NLM_F_EXCL,
    RT_TABLE_MAIN, RTA_GATEWAY, RTA_OIF, RTM_DELLINK, RTM_NEWLINK, RTM_NEWROUTE, RTN_UNICAST, RTPROT_BOOT,
    VETH_INFO_PEER,
};
use super::netlink::{Attributes, Message};
use crate::container::ContainerId;

/// Name of the container's end.
pub(crate) const INSIDE: &str = "eth0";

/// Number of the loopback interface: the kernel gives it to each namespace's first.
pub(crate) const LOOPBACK: u32 = 1;

/// How many names are tried for a host end. Two containers of one machine share the first name with a chance of 1 in
/// 2^44; a pair that is still being taken down holds one more. When all are taken, attaching fails with "exists".
pub(crate) const NAMES: u8 = 8;

/// The group of links about to go, "sk" in ASCII: deleting the group waits once for all of them instead of 15 ms for
/// each.
pub(crate) const DOOMED: u32 = 0x736b;

/// The `attempt`th name for the host end: `sk` and a hash of both: 13 bytes of the
/// 15 that the kernel allows.
pub(crate) fn host_name(id: &ContainerId, attempt: u8) -> String {
    let digest = Sha256::digest(format!("{id} {attempt}"));
    let hex: String = digest.iter().take(6).map(|b| format!("{b:02x}")).collect();
    format!("sk{}", &hex[..11])
}

/// The free text on a host end, which tells whose it is after the daemon forgot.
pub(crate) fn alias(bridge: &str, id: &ContainerId) -> String {
    format!("{}{id}", alias_prefix(bridge))
}

/// What the free text of every host end of `bridge` starts with.
pub(crate) fn alias_prefix(bridge: &str) -> String {
    format!("skep {bridge} ")
}

/// Makes the pair with the container's end already in its namespace: moving it there afterwards costs 16 ms. It is born
/// down, since the driver refuses to switch on an end whose other does not exist yet.
pub(crate) fn create(name: &str, netns: BorrowedFd<'_>, lease: Lease, mtu: u32) -> Message {
    let inside = Attributes::new()
        .text(IFLA_IFNAME, INSIDE)
        .u32(IFLA_MTU, mtu)
        .bytes(IFLA_ADDRESS, &hardware(lease.address))
        .u32(IFLA_NET_NS_FD, netns.as_raw_fd().cast_unsigned());
    let peer = [link::head(0, false).as_slice(), inside.as_bytes()].concat();
    let data = Attributes::new().bytes(VETH_INFO_PEER, &peer);
    let info = Attributes::new().text(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA, &data);
    let outside = Attributes::new().text(IFLA_IFNAME, name).u32(IFLA_MTU, mtu).nest(IFLA_LINKINFO, &info);
    Message::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link::head(0, false), &outside)
}

/// Marks the host end as ours, makes it a port of the bridge and switches it on. It gets no IPv6 address of its own,
/// which would only send router and listener packets to every other container.
pub(crate) fn join(index: u32, bridge: u32, alias: &str) -> Message {
    let quiet = Attributes::new().u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
    let families = Attributes::new().nest(AF_INET6, &quiet);
    let attributes = Attributes::new().bytes(IFLA_IFALIAS, alias.as_bytes()).u32(IFLA_MASTER, bridge);
    Message::new(RTM_NEWLINK, 0, &link::head(index, true), &attributes.nest(IFLA_AF_SPEC, &families))
}

/// Lets the bridge send a frame back through the port it came from: a container that calls its own published port,
/// where the firewall rewrites bridged frames (`bridge-nf-call-iptables`). The port must be the bridge's already.
pub(crate) fn hairpin(index: u32) -> Message {
    let data = Attributes::new().u8(IFLA_BRPORT_MODE, 1);
    let info = Attributes::new().text(IFLA_INFO_SLAVE_KIND, "bridge").nest(IFLA_INFO_SLAVE_DATA, &data);
    Message::new(RTM_NEWLINK, 0, &link::head(index, false), &Attributes::new().nest(IFLA_LINKINFO, &info))
}

/// The default route inside, through the bridge.
pub(crate) fn default_route(gateway: Ipv4Addr, index: u32) -> Message {
    let head = [AF_INET, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST, 0, 0, 0, 0];
    let attributes = Attributes::new().bytes(RTA_GATEWAY, &gateway.octets()).u32(RTA_OIF, index);
    Message::new(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &head, &attributes)
}

/// Puts a link among those about to go.
pub(crate) fn doom(index: u32) -> Message {
    Message::new(RTM_NEWLINK, 0, &link::head(index, false), &Attributes::new().u32(IFLA_GROUP, DOOMED))
}

/// Removes all links about to go.
pub(crate) fn delete_doomed() -> Message {
    Message::new(RTM_DELLINK, 0, &link::head(0, false), &Attributes::new().u32(IFLA_GROUP, DOOMED))
}

/// Host ends of `bridge` that are not its ports any more, as after it was deleted by hand and made again.
pub(crate) fn strays<'a>(links: &'a [Link], bridge: &'a Link) -> impl Iterator<Item = &'a Link> {
    let prefix = alias_prefix(&bridge.name);
    links.iter().filter(move |l| l.alias.starts_with(&prefix) && (l.master != bridge.index || !l.up))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_kernel_and_differ_by_container_and_attempt() {
        let id = |s: &str| ContainerId::new(s).unwrap();
        let names = [host_name(&id("a"), 0), host_name(&id("a"), 1), host_name(&id("b"), 0)];
        assert!(names.iter().all(|n| n.len() <= 15 && n.starts_with("sk")));
        assert!(names[0] != names[1] && names[0] != names[2] && names[1] != names[2]);
    }

    #[test]
    fn only_our_bridges_own_ports_are_led_back_to_it() {
        let bridge = Link { index: 9, name: "br0".into(), ..Link::default() };
        let port = |alias: &str, master| Link { alias: alias.into(), master, up: true, ..Link::default() };
        let links = [port("skep br0 a", 0), port("skep br0 b", 9), port("skep br01 c", 0), port("", 0)];
        let found: Vec<_> = strays(&links, &bridge).map(|l| l.alias.as_str()).collect();
        assert_eq!(found, ["skep br0 a"]);
    }
}
