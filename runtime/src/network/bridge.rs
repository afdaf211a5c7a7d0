//! The bridge: what it should be, and the next request that brings the kernel nearer.
//!
//! [`repair`] answers one step at a time and is asked again with what the kernel then has, so making the bridge, and
//! mending one that lost its address, are the same code.

use std::net::Ipv4Addr;

use super::address::broadcast;
use super::link::{self, Link};
use super::netlink::wire::{
    AF_INET, IFA_ADDRESS, IFA_BROADCAST, IFA_LOCAL, IFLA_ADDRESS, IFLA_IFNAME, IFLA_INFO_KIND, IFLA_LINKINFO, IFLA_MTU,
    NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, RTA_DST, RTA_OIF, RTM_GETADDR, RTM_GETROUTE, RTM_NEWADDR, RTM_NEWLINK,
};
use super::netlink::{Attributes, Message, attribute, number};

/// Longest packet where no default route says otherwise: Ethernet's.
pub(crate) const MTU_DEFAULT: u32 = 1500;

/// The bridge as it should be.
#[derive(Clone, Debug)]
pub(crate) struct Bridge {
    /// Its name, at most 15 bytes.
    pub(crate) name: String,
    /// Its address, the containers' gateway.
    pub(crate) address: Ipv4Addr,
    /// Length of the network's prefix.
    pub(crate) prefix: u8,
}

/// A request and what it does to the bridge, for an error's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// For example "make".
    pub(crate) action: &'static str,
    /// The request.
    pub(crate) message: Message,
}

/// The next step, or nothing when the bridge is as it should be. `addresses` are the (link number, address) of the
/// namespace.
pub(crate) fn repair(want: &Bridge, have: Option<&Link>, addresses: &[(u32, Ipv4Addr)], mtu: u32) -> Option<Step> {
    let Some(have) = have else {
        return Some(Step { action: "make", message: create(want, mtu) });
    };
    // The address comes before "up": a bridge that is up is one that works.
    if !addresses.contains(&(have.index, want.address)) {
        let message = assign(have.index, want.address, want.prefix);
        return Some(Step { action: "give its address to", message });
    }
    (!have.up).then(|| Step { action: "switch on", message: link::up(have.index) })
}

/// A fixed hardware address keeps the bridge from taking its lowest port's, which would change as containers come and
/// go and leave every container with a wrong gateway until its neighbour entry ends.
fn create(want: &Bridge, mtu: u32) -> Message {
    let info = Attributes::new().text(IFLA_INFO_KIND, "bridge");
    let attributes = Attributes::new()
        .text(IFLA_IFNAME, &want.name)
        .u32(IFLA_MTU, mtu)
        .bytes(IFLA_ADDRESS, &hardware(want.address))
        .nest(IFLA_LINKINFO, &info);
    Message::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link::head(0, false), &attributes)
}

/// Gives a link an address.
pub(crate) fn assign(index: u32, address: Ipv4Addr, prefix: u8) -> Message {
    let [a, b, c, d] = index.to_ne_bytes();
    let attributes = Attributes::new()
        .bytes(IFA_LOCAL, &address.octets())
        .bytes(IFA_ADDRESS, &address.octets())
        .bytes(IFA_BROADCAST, &broadcast(address, prefix).octets());
    Message::new(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &[AF_INET, prefix, 0, 0, a, b, c, d], &attributes)
}

/// Asks for all IPv4 addresses of the namespace.
pub(crate) fn list_addresses() -> Message {
    Message::new(RTM_GETADDR, 0, &[AF_INET, 0, 0, 0, 0, 0, 0, 0], &Attributes::new())
}

/// Reads the body of an address message: the link's number and the address.
pub(crate) fn parse_address(body: &[u8]) -> Option<(u32, Ipv4Addr)> {
    let (head, list) = body.split_at_checked(8)?;
    let octets: &[u8; 4] = attribute(list, IFA_LOCAL)?.first_chunk()?;
    Some((number(&head[4..])?, Ipv4Addr::from(*octets)))
}

/// Asks which way a packet to the world would go, which costs the same however long the routing table is. The
/// destination is reserved for documentation (RFC 5737): nobody routes it specially.
pub(crate) fn default_route() -> Message {
    let attributes = Attributes::new().bytes(RTA_DST, &[192, 0, 2, 1]);
    Message::new(RTM_GETROUTE, 0, &[AF_INET, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &attributes)
}

/// Reads the body of a route message: the number of the link it leads through.
pub(crate) fn parse_route(body: &[u8]) -> Option<u32> {
    number(attribute(body.get(12..)?, RTA_OIF)?)
}

/// The hardware address that goes with an address of the network: locally administered (02), then "S", then the
/// address. So an address that changes hands keeps its hardware address, and no neighbour entry is ever stale.
pub(crate) fn hardware(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, b'S', a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want() -> Bridge {
        Bridge { name: "br0".into(), address: Ipv4Addr::new(10, 9, 0, 1), prefix: 24 }
    }

    fn action(have: Option<&Link>, addresses: &[(u32, Ipv4Addr)]) -> Option<&'static str> {
        repair(&want(), have, addresses, 1500).map(|s| s.action)
    }

    #[test]
    fn a_missing_bridge_is_made_addressed_and_switched_on_in_this_order() {
        let down = Link { index: 4, ..Link::default() };
        let up = Link { up: true, ..down.clone() };
        let mine = [(4, want().address)];
        assert_eq!(action(None, &[]), Some("make"));
        assert_eq!(action(Some(&down), &[]), Some("give its address to"));
        assert_eq!(action(Some(&down), &mine), Some("switch on"));
        assert_eq!(action(Some(&up), &mine), None);
    }

    #[test]
    fn the_address_on_another_link_does_not_count() {
        let up = Link { index: 4, up: true, ..Link::default() };
        assert_eq!(action(Some(&up), &[(5, want().address)]), Some("give its address to"));
    }
}
