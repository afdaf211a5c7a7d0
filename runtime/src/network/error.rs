//! Everything that can go wrong on the network, one variant per operation.

use std::io;
use std::path::PathBuf;

use crate::container::{ContainerId, Protocol};

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
    /// The port belongs to a process of this machine.
    #[error("publish port {port}/{protocol}: a process of this machine already uses it; stop that process or choose another port", protocol = text(*protocol))]
    PortInUse {
        /// The port asked for.
        port: u16,
        /// Its transport.
        protocol: Protocol,
    },
    /// Zero is no port.
    #[error("publish port 0/{protocol}: choose a port from 1 to 65535", protocol = text(*protocol))]
    PortZero {
        /// The transport.
        protocol: Protocol,
    },
    /// The port could be neither taken nor said to be in use.
    #[error("reserve port {port}/{protocol}", protocol = text(*protocol))]
    Reserve {
        /// The port asked for.
        port: u16,
        /// Its transport.
        protocol: Protocol,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// No channel to the kernel.
    #[error("open a netlink socket")]
    Socket {
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// An interface that is no bridge has our bridge's name.
    #[error(
        "make bridge {bridge}: an interface that is not a bridge has that name; rename it or configure another name"
    )]
    NameTaken {
        /// The name.
        bridge: String,
    },
    /// The bridge or its address could not be read or changed.
    #[error("{action} bridge {bridge}")]
    Bridge {
        /// What was tried, for example "make".
        action: &'static str,
        /// The bridge's name.
        bridge: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A container's pair of interfaces could not be made, configured or removed.
    #[error("{action} of container {id}")]
    Veth {
        /// What was tried, for example "make the interfaces".
        action: &'static str,
        /// The container.
        id: ContainerId,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Links could not be listed or removed.
    #[error("{action} of bridge {bridge}")]
    Links {
        /// What was tried.
        action: &'static str,
        /// The bridge they hang on.
        bridge: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Our nftables table could not be read.
    #[error("read nftables table {table}")]
    ReadTable {
        /// The table's name.
        table: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A batch was refused whole; nothing of it holds.
    #[error("{change} in nftables table {table}")]
    ChangeTable {
        /// The first change the kernel refused.
        change: String,
        /// The table's name.
        table: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A kernel setting could not be read or written.
    #[error("switch on {}", path.display())]
    Setting {
        /// The file below /proc/sys.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The machine's firewall could not be taught to let the bridge's traffic pass.
    #[error("let traffic of bridge {bridge} pass the FORWARD chain of the machine's firewall")]
    Firewall {
        /// The bridge's name.
        bridge: String,
        /// The kernel's or the program's answer.
        #[source]
        source: io::Error,
    },
    /// Stale connections could not be forgotten.
    #[error("forget connections of published UDP ports")]
    Conntrack {
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

/// The protocol's name as users write it after a port.
pub(crate) const fn text(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}
