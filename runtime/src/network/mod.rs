//! The node-local network: a bridge, an address for each container, and the ports of this machine that lead to them.
//!
//! **Owns**, in the network namespace the daemon runs in: one bridge, the interface pairs on it, one nftables table,
//! two commented rules in the FORWARD chain of the machine's own firewall, the setting `route_localnet` of the bridge
//! (which ends with it), and one bound socket for each published port. `net.ipv4.ip_forward` is switched on and left
//! on: others may have come to rely on it.
//!
//! **Input** are calls for one container at a time: lease, attach, publish, unpublish, release. **Output** is kernel
//! state. Between them stand values: `address` who has which address, `ports` who serves which port, `nftables` the
//! table that follows from it, `bridge` and `veth` the links. Each is compared with what the kernel has, and the
//! difference is sent. [`Network::reconcile`] does this for everything, the other calls for what they touch.
//!
//! **Invariants**
//! - An address belongs to one container, rests as long as possible after it was given back, and always has the same
//!   hardware address.
//! - A change of a port is one atomic batch. A packet sees the old backends or the new, never neither. What we compute and
//!   send does not grow with the other ports; the kernel checks the whole table's jumps each time, which costs about
//!   0.6 us for each published port.
//! - Connections are balanced in turn. New ones never go to an unpublished container; TCP connections that exist go on
//!   until it ends; UDP has no end, so the kernel is made to forget its connections.
//! - What failed changed nothing that matters: a refused batch holds not at all, and memory goes back with it.
//! - From outside, published ports and answers are all that reaches a container. From a container, 127.0.0.1 of the
//!   machine is out of reach, although `route_localnet` would let it through.
//!
//! **Crash and restart.** The kernel goes on without the daemon. A new one calls [`Network::restore`] for each
//! container it finds, then [`Network::publish`], which only remembers until the first [`Network::reconcile`]: only
//! then is the picture complete, and acting on half of it would cut off the other half. Pairs are found again by the
//! text they carry, rules by their comments.
//!
//! **Quiet seconds are cheap.** A socket hears of changes to links and addresses, and the kernel counts changes to
//! tables; while neither moves, reconciling is four short system calls and two settings read: 40 us.
//!
//! **A published port is held** by a socket that is bound but does not listen, as users of Docker expect: a server
//! started later on the same port is told "address already in use" instead of starting and never hearing anything, and
//! a port in use is refused here. It does not listen, so that a connection which misses the table (over IPv6, or while
//! somebody else flushed it) is refused at once rather than left hanging. When the daemon is down nothing holds the
//! port, though the rules still serve it.
//!
//! **A firewall that drops by default.** With `bridge-nf-call-iptables` even frames between two ports of the bridge
//! pass the machine's FORWARD chain. No table can overrule another's drop, so two rules go into that chain: see
//! `firewall`. Only iptables' own chain is touched; an administrator who drops in a table of their own must let the
//! bridge pass there.
//!
//! **Why not** a proxy process for each port: it costs memory and copies, and hides the client's address. Why not IPVS:
//! it is a module that many kernels lack, and its own world beside the firewall. Why not the `ip`, `nft` and `iptables`
//! programs: 9 ms each against 0.1 ms, and they need not be installed (the old iptables is the exception, and then it
//! is there).
//!
//! **Not here:** IPv6 (what it would take stands in `nftables`), networks that span nodes, names.
//!
//! **Read next:** `run/network.rs` for the calls, then `nftables/mod.rs` for the table as text, then `veth.rs`.

mod address;
mod bridge;
mod conntrack;
mod disk;
mod error;
mod firewall;
mod link;
mod net;
mod netlink;
mod nftables;
mod ports;
mod run;
mod spec;
mod sys;
mod veth;

pub use error::NetworkError;
pub use run::Network;
pub use spec::{Lease, NetworkConfig};
