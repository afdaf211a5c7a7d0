//! The node-local network (interface first; the theory comes with the code).

use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;

use crate::container::{ContainerId, PublishedPort};

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

/// Bridge, addresses and published ports of one node. Every call may block for a few milliseconds on netlink.
#[derive(Debug)]
pub struct Network {}

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

/// What went wrong on the network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// Every address is taken.
    #[error("lease an address: all {count} addresses of the node-local network are taken")]
    Exhausted {
        /// How many there are.
        count: usize,
    },
}

impl Network {
    /// Remembers the names; touches the kernel only with the first lease.
    #[must_use]
    pub fn new(_config: NetworkConfig) -> Self {
        unimplemented!()
    }
    /// Takes a free address for `id`, making the bridge and the table if this is the first.
    ///
    /// # Errors
    /// [`NetworkError::Exhausted`], or a kernel refusal.
    pub fn lease(&self, _id: &ContainerId) -> Result<Lease, NetworkError> {
        unimplemented!()
    }
    /// Takes note of a lease that a container from before the daemon's restart still holds.
    pub fn restore(&self, _id: &ContainerId, _lease: Lease) {
        unimplemented!()
    }
    /// Puts one end of a veth pair into `netns` as `eth0` with the lease's address, and brings `lo` up there.
    ///
    /// # Errors
    /// A kernel refusal, with the step that was refused.
    pub fn attach(&self, _id: &ContainerId, _netns: BorrowedFd<'_>, _lease: Lease) -> Result<(), NetworkError> {
        unimplemented!()
    }
    /// Leads `ports` of this machine to the container, beside the others that publish the same ones. Replaces what `id` had.
    ///
    /// # Errors
    /// A port that a process of this machine listens on, or a kernel refusal.
    pub fn publish(&self, _id: &ContainerId, _lease: Lease, _ports: &[PublishedPort]) -> Result<(), NetworkError> {
        unimplemented!()
    }
    /// Leads no port to it any more; connections that exist go on.
    ///
    /// # Errors
    /// A kernel refusal.
    pub fn unpublish(&self, _id: &ContainerId) -> Result<(), NetworkError> {
        unimplemented!()
    }
    /// Gives everything of `id` back: ports, veth pair, address. Does nothing for an unknown one.
    ///
    /// # Errors
    /// A kernel refusal; what could be given back was.
    pub fn release(&self, _id: &ContainerId) -> Result<(), NetworkError> {
        unimplemented!()
    }
    /// Repairs drift: makes the kernel's bridge, table and forwarding settings what they should be.
    ///
    /// # Errors
    /// A kernel refusal.
    pub fn reconcile(&self) -> Result<(), NetworkError> {
        unimplemented!()
    }
    /// Removes bridge, table and every veth pair.
    ///
    /// # Errors
    /// A kernel refusal.
    pub fn remove_all(&self) -> Result<(), NetworkError> {
        unimplemented!()
    }
}
