//! What the daemon's runtime hands in and gets back.

use std::net::Ipv4Addr;

/// Names and addresses the network may take on this machine.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// The bridge, at most 15 bytes.
    pub bridge_name: String,
    /// Its address and the prefix length of the node-local network.
    pub bridge_address: (Ipv4Addr, u8),
    /// The nftables table owned whole.
    pub nft_table: String,
}

/// An address of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Lease {
    /// The container's.
    pub address: Ipv4Addr,
    /// Length of the network's prefix.
    pub prefix: u8,
    /// The bridge's.
    pub gateway: Ipv4Addr,
}
