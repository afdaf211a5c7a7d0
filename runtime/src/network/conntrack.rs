//! Connections the kernel remembers, where forgetting them matters: UDP.
//!
//! Rules decide about the first packet of a connection only. A UDP client that keeps its port keeps its "connection"
//! for as long as it sends, so it would go on talking to a container that no longer serves the port, or to nobody where
//! the port was published after its first packet. TCP ends by itself, and its connections are meant to go on.

use std::net::Ipv4Addr;

use super::netlink::{Attributes, Message, attribute};
use super::nftables::wire::head;
use super::ports::{Backend, PortKey};
use crate::container::Protocol;

const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const IPCTNL_MSG_CT_GET: u16 = 1;
const IPCTNL_MSG_CT_DELETE: u16 = 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const UDP: u8 = 17;

/// Which UDP connections are stale.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stale {
    /// Through this published port to this backend, which left.
    pub(crate) left: Vec<(PortKey, Backend)>,
    /// To this port but answered by the address that was called: begun before it was published.
    pub(crate) published: Vec<PortKey>,
}

impl Stale {
    /// Whether there is nothing to look for, which saves reading the whole list. TCP is left out here.
    pub(crate) fn is_empty(&self) -> bool {
        let left = self.left.iter().map(|(key, _)| key);
        !left.chain(&self.published).any(|key| key.protocol == Protocol::Udp)
    }

    fn covers(&self, call: &Tuple, answer: &Tuple) -> bool {
        let to = PortKey { protocol: Protocol::Udp, port: call.destination.1 };
        let by = Backend { address: answer.source.0, port: answer.source.1 };
        self.left.contains(&(to, by)) || (self.published.contains(&to) && answer.source == call.destination)
    }
}

/// One direction of a connection.
struct Tuple {
    protocol: u8,
    source: (Ipv4Addr, u16),
    destination: (Ipv4Addr, u16),
}

/// Asks for all IPv4 connections.
pub(crate) fn list() -> Message {
    Message::new((NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_GET, 0, &head(0), &Attributes::new())
}

/// The request that forgets the connection in this message, if it is stale.
pub(crate) fn forget(body: &[u8], stale: &Stale) -> Option<Message> {
    let list = body.get(4..)?;
    let original = attribute(list, CTA_TUPLE_ORIG)?;
    let (call, answer) = (tuple(original)?, tuple(attribute(list, CTA_TUPLE_REPLY)?)?);
    let found = call.protocol == UDP && stale.covers(&call, &answer);
    let kind = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_DELETE;
    found.then(|| Message::new(kind, 0, &head(0), &Attributes::new().nest(CTA_TUPLE_ORIG, &nested(original))))
}

/// The attribute's content as it came: the tuple that names a connection is sent back unchanged.
fn nested(content: &[u8]) -> Attributes {
    super::netlink::attributes(content)
        .fold(Attributes::new(), |list, (kind, payload)| list.bytes(kind | super::netlink::wire::NLA_F_NESTED, payload))
}

fn tuple(list: &[u8]) -> Option<Tuple> {
    let (ip, proto) = (attribute(list, CTA_TUPLE_IP)?, attribute(list, CTA_TUPLE_PROTO)?);
    let address = |kind| Some(Ipv4Addr::from(*attribute(ip, kind)?.first_chunk::<4>()?));
    // Protocols without ports have none here; they are compared with nothing.
    let port = |kind| attribute(proto, kind).and_then(<[u8]>::first_chunk).map_or(0, |b| u16::from_be_bytes(*b));
    Some(Tuple {
        protocol: *attribute(proto, CTA_PROTO_NUM)?.first()?,
        source: (address(CTA_IP_V4_SRC)?, port(CTA_PROTO_SRC_PORT)),
        destination: (address(CTA_IP_V4_DST)?, port(CTA_PROTO_DST_PORT)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);
    const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 9);
    const CONTAINER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
    const DNS: PortKey = PortKey { protocol: Protocol::Udp, port: 53 };

    fn one_way(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), protocol: u8) -> Attributes {
        let ip = Attributes::new().bytes(CTA_IP_V4_SRC, &from.0.octets()).bytes(CTA_IP_V4_DST, &to.0.octets());
        let proto = Attributes::new().u8(CTA_PROTO_NUM, protocol);
        let proto = proto.bytes(CTA_PROTO_SRC_PORT, &from.1.to_be_bytes());
        let proto = proto.bytes(CTA_PROTO_DST_PORT, &to.1.to_be_bytes());
        Attributes::new().nest(CTA_TUPLE_IP, &ip).nest(CTA_TUPLE_PROTO, &proto)
    }

    fn connection(answered_by: (Ipv4Addr, u16), protocol: u8) -> Vec<u8> {
        let call = one_way((CLIENT, 4000), (HOST, 53), protocol);
        let answer = one_way(answered_by, (CLIENT, 4000), protocol);
        let list = Attributes::new().nest(CTA_TUPLE_ORIG, &call).nest(CTA_TUPLE_REPLY, &answer);
        [head(0).as_slice(), list.as_bytes()].concat()
    }

    #[test]
    fn only_udp_through_the_port_to_the_backend_that_left_is_forgotten() {
        let left = Backend { address: CONTAINER, port: 5353 };
        let stale = Stale { left: vec![(DNS, left)], published: vec![] };
        let forgotten = |by, protocol| forget(&connection(by, protocol), &stale).is_some();
        assert!(forgotten((CONTAINER, 5353), 17));
        assert!(!forgotten((CONTAINER, 5353), 6));
        assert!(!forgotten((CONTAINER, 5354), 17));
        assert!(!forgotten((HOST, 53), 17));
    }

    #[test]
    fn what_began_before_the_port_was_published_is_forgotten() {
        let stale = Stale { left: vec![], published: vec![DNS] };
        assert!(forget(&connection((HOST, 53), 17), &stale).is_some());
        assert!(forget(&connection((CONTAINER, 5353), 17), &stale).is_none());
    }
}
