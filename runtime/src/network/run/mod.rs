//! The part of the network that acts: [`network`] is the face, [`links`] owns bridge and interface pairs, [`table`] the
//! nftables table and what depends on it, [`reserved`] the held ports, [`cleaner`] the removals nobody waits for.
//!
//! One lock guards it all. The kernel takes its own around every change of links and another around every change of
//! tables, so a finer one here would only move the queue.

mod cleaner;
mod links;
mod network;
mod reserved;
mod table;

pub use network::Network;
