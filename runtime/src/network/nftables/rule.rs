//! Rules as sentences, and their expressions: small programs over 16-byte registers that the kernel runs on each
//! packet.

use std::net::Ipv4Addr;

use sha2::{Digest, Sha256};

use super::super::netlink::Attributes;
use super::super::ports::{Backend, PortKey};
use super::wire::{self, NFTA_LIST_ELEM, value, verdict};
use crate::container::Protocol;

/// Name of the map from (transport, port) to the chain that balances it.
pub(crate) const PORTS_MAP: &str = "ports";

/// First register, and the 32-bit half that follows its first word.
const REGISTER: u32 = 1;
const SECOND_WORD: u32 = 9;
/// The register that takes verdicts.
const VERDICT: u32 = 0;
/// Comparisons.
const EQUAL: u32 = 0;
const DIFFERENT: u32 = 1;
/// Bits of a connection's status and state: its destination was rewritten; established or related to one that is.
const STATUS_DNAT: u32 = 0x20;
const STATE_KNOWN: u32 = 0x6;

/// One rule. Bridges are named, not numbered, so that the rules outlive a bridge that is made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Packets from containers to 127.0.0.0/8 are dropped: `route_localnet` would let them reach what this machine
    /// serves to itself alone.
    GuardLoopback { bridge: String },
    /// Packets to an address of this machine go on in the chain of their port.
    Dispatch,
    /// A new connection goes to the next backend in turn.
    Balance { key: PortKey, backends: Vec<Backend> },
    /// What containers send out of the bridge has this machine's address.
    MasqueradeOut { bridge: String, network: Ipv4Addr, mask: u32 },
    /// A container that reaches another, or itself, by a published port is answered through this machine.
    MasqueradeBack { bridge: String, network: Ipv4Addr, mask: u32 },
    /// What this machine sends to a container from 127.0.0.1 has the bridge's address: a container could not answer it.
    MasqueradeLoopback { bridge: String },
    /// Containers may send anywhere, as far as this table is asked.
    AcceptFrom { bridge: String },
    /// Anything may be sent to containers: for other people's chains, since this table drops what it must itself.
    AcceptTo { bridge: String },
    /// Connections through a published port may go on, also after it was unpublished.
    AcceptPublished { bridge: String },
    /// Answers to containers may come in.
    AcceptKnown { bridge: String },
    /// Nothing else comes in: a neighbour that routes to the network reaches published ports only.
    DropTo { bridge: String },
}

impl Rule {
    /// The rule's comment in the kernel: a digest of all it says.
    pub(crate) fn tag(&self) -> String {
        let digest = Sha256::digest(format!("{self:?}"));
        digest.iter().take(8).map(|b| format!("{b:02x}")).collect()
    }

    /// The list of expressions. `map` and `set` are name and number of a balancing rule's map.
    pub(crate) fn expressions(&self, map: &str, set: u32) -> Attributes {
        let program = match self {
            Self::GuardLoopback { bridge } => {
                drop_it(address(interface(Expressions::new(), META_IIFNAME, EQUAL, bridge), DESTINATION, LOOPBACK))
            }
            Self::Dispatch => dispatch(),
            Self::Balance { key, backends } => balance(*key, backends.len(), (map, set)),
            Self::MasqueradeOut { bridge, network, mask } => {
                let from = address(Expressions::new(), SOURCE, (*network, *mask));
                masquerade(interface(from, META_OIFNAME, DIFFERENT, bridge))
            }
            Self::MasqueradeBack { bridge, network, mask } => {
                let from = address(Expressions::new(), SOURCE, (*network, *mask));
                masquerade(connection(interface(from, META_OIFNAME, EQUAL, bridge), CT_STATUS, STATUS_DNAT))
            }
            Self::MasqueradeLoopback { bridge } => {
                masquerade(interface(address(Expressions::new(), SOURCE, LOOPBACK), META_OIFNAME, EQUAL, bridge))
            }
            Self::AcceptFrom { bridge } => accept(interface(Expressions::new(), META_IIFNAME, EQUAL, bridge)),
            Self::AcceptTo { bridge } => accept(to(bridge)),
            Self::AcceptPublished { bridge } => accept(connection(to(bridge), CT_STATUS, STATUS_DNAT)),
            Self::AcceptKnown { bridge } => accept(connection(to(bridge), CT_STATE, STATE_KNOWN)),
            Self::DropTo { bridge } => drop_it(to(bridge)),
        };
        program.0
    }
}

const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_L4PROTO: u32 = 16;
const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;
/// Offsets in the IPv4 header.
const SOURCE: u32 = 12;
const DESTINATION: u32 = 16;
const LOOPBACK: (Ipv4Addr, u32) = (Ipv4Addr::new(127, 0, 0, 0), 0xff00_0000);

/// A program in the making.
struct Expressions(Attributes);

impl Expressions {
    fn new() -> Self {
        Self(Attributes::new())
    }

    fn then(self, name: &str, data: &Attributes) -> Self {
        let expression = Attributes::new().text(1, name).nest(2, data);
        Self(self.0.nest(NFTA_LIST_ELEM, &expression))
    }

    /// Loads a fact about the packet into a register.
    fn meta(self, key: u32) -> Self {
        self.then("meta", &Attributes::new().be32(1, REGISTER).be32(2, key))
    }

    /// Loads bytes of a header: `base` 1 is the network's, 2 the transport's.
    fn payload(self, register: u32, base: u32, offset: u32, length: u32) -> Self {
        self.then("payload", &Attributes::new().be32(1, register).be32(2, base).be32(3, offset).be32(4, length))
    }

    /// Ends the rule unless the register holds, or does not hold, these bytes.
    fn compare(self, how: u32, bytes: &[u8]) -> Self {
        self.then("cmp", &Attributes::new().be32(1, REGISTER).be32(2, how).nest(3, &value(bytes)))
    }

    /// Keeps only the bits of `mask`, which is in memory order.
    fn mask(self, mask: [u8; 4]) -> Self {
        let attributes = Attributes::new().be32(1, REGISTER).be32(2, REGISTER).be32(3, 4);
        self.then("bitwise", &attributes.nest(4, &value(&mask)).nest(5, &value(&[0; 4])))
    }
}

/// The interface's name as a whole register: shorter would compare as a prefix.
fn interface(program: Expressions, key: u32, how: u32, name: &str) -> Expressions {
    let mut bytes = [0; 16];
    let length = name.len().min(15);
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    program.meta(key).compare(how, &bytes)
}

fn to(bridge: &str) -> Expressions {
    interface(Expressions::new(), META_OIFNAME, EQUAL, bridge)
}

fn address(program: Expressions, offset: u32, (network, mask): (Ipv4Addr, u32)) -> Expressions {
    program.payload(REGISTER, 1, offset, 4).mask(mask.to_be_bytes()).compare(EQUAL, &network.octets())
}

/// Some of these bits of the connection's state or status are set.
fn connection(program: Expressions, key: u32, bits: u32) -> Expressions {
    let loaded = program.then("ct", &Attributes::new().be32(1, REGISTER).be32(2, key));
    loaded.mask(bits.to_ne_bytes()).compare(DIFFERENT, &[0; 4])
}

fn masquerade(program: Expressions) -> Expressions {
    program.then("masq", &Attributes::new())
}

fn accept(program: Expressions) -> Expressions {
    program.then("immediate", &Attributes::new().be32(1, VERDICT).nest(2, &verdict(wire::NF_ACCEPT, None)))
}

fn drop_it(program: Expressions) -> Expressions {
    program.then("immediate", &Attributes::new().be32(1, VERDICT).nest(2, &verdict(wire::NF_DROP, None)))
}

/// The routing table (`fib`) knows the machine's own addresses, so an address that comes or goes needs no change here.
fn dispatch() -> Expressions {
    const ADDRESS_TYPE: u32 = 3;
    const OF_DESTINATION: u32 = 2;
    const LOCAL: u32 = 2;
    let fib = Attributes::new().be32(1, REGISTER).be32(2, ADDRESS_TYPE).be32(3, OF_DESTINATION);
    let lookup = Attributes::new().text(1, PORTS_MAP).be32(2, REGISTER).be32(3, VERDICT);
    Expressions::new()
        .then("fib", &fib)
        .compare(EQUAL, &LOCAL.to_ne_bytes())
        .meta(META_L4PROTO)
        .payload(SECOND_WORD, 2, 2, 2)
        .then("lookup", &lookup)
}

/// A counter in turn (`numgen inc`) rather than a hash of the client: connections from one client spread as evenly as
/// those from many. Both hooks go to the same chain, hence share the counter.
fn balance(key: PortKey, backends: usize, (map, set): (&str, u32)) -> Expressions {
    let modulus = u32::try_from(backends).unwrap_or(u32::MAX);
    let number = Attributes::new().be32(1, REGISTER).be32(2, modulus).be32(3, 0).be32(4, 0);
    let lookup = Attributes::new().text(1, map).be32(2, REGISTER).be32(3, REGISTER).be32(4, set);
    // Type 1 rewrites the destination; family 2 is IPv4; the address lies in the first word, the port in the second.
    let nat = Attributes::new().be32(1, 1).be32(2, 2).be32(3, REGISTER).be32(5, SECOND_WORD);
    Expressions::new()
        .meta(META_L4PROTO)
        .compare(EQUAL, &[protocol_number(key.protocol)])
        .then("numgen", &number)
        .then("lookup", &lookup)
        .then("nat", &nat)
}

/// A backend as data of the map: address and port, a word each, in network order.
pub(crate) fn backend_bytes(backend: Backend) -> [u8; 8] {
    let ([a, b, c, d], [high, low]) = (backend.address.octets(), backend.port.to_be_bytes());
    [a, b, c, d, high, low, 0, 0]
}

/// A published port as key of the map of ports: transport and port, a word each.
pub(crate) fn key_bytes(key: PortKey) -> [u8; 8] {
    let [high, low] = key.port.to_be_bytes();
    [protocol_number(key.protocol), 0, 0, 0, high, low, 0, 0]
}

/// The published port that a key of the map stands for.
pub(crate) fn key_from_bytes(bytes: &[u8]) -> Option<PortKey> {
    let bytes: &[u8; 8] = bytes.first_chunk()?;
    let protocol = [Protocol::Tcp, Protocol::Udp].into_iter().find(|p| protocol_number(*p) == bytes[0])?;
    Some(PortKey { protocol, port: u16::from_be_bytes([bytes[4], bytes[5]]) })
}

/// The transport's number in the IP header.
pub(crate) const fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_from_the_map() {
        for key in [PortKey { protocol: Protocol::Tcp, port: 8080 }, PortKey { protocol: Protocol::Udp, port: 53 }] {
            assert_eq!(key_from_bytes(&key_bytes(key)), Some(key));
        }
    }

    #[test]
    fn tags_differ_when_anything_in_the_rule_does() {
        let key = PortKey { protocol: Protocol::Tcp, port: 80 };
        let backend = Backend { address: Ipv4Addr::new(10, 0, 0, 2), port: 80 };
        let one = Rule::Balance { key, backends: vec![backend] };
        let two = Rule::Balance { key, backends: vec![backend, Backend { port: 81, ..backend }] };
        assert_ne!(one.tag(), two.tag());
        assert_eq!(one.tag(), one.clone().tag());
    }
}
