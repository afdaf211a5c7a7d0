//! The node-local network of one daemon.

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
