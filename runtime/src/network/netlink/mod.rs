//! The netlink wire format, as values: messages to bytes, bytes to messages.
//!
//! Nothing here talks to the kernel; `network/net.rs` does. The kernel's own numbers stand in `wire.rs`. A message is a
//! 16-byte header, a fixed structure that depends on its kind, and attributes: length, kind, payload, padded to four
//! bytes; attributes nest. Integers are in the machine's byte order, except in netfilter, which wants network order.
//! Source: netlink(7), rtnetlink(7), linux/netlink.h, linux/rtnetlink.h, linux/if_link.h.
//!
//! *Why not a netlink crate:* ours is blocking, small enough to read in one sitting, and covers rtnetlink, nf_tables
//! and conntrack with the same two hundred lines; there is no pure Rust crate for nf_tables with a permissive licence.

mod decode;
mod encode;
pub(crate) mod wire;

pub(crate) use decode::{attribute, attributes, number, replies, text};
pub(crate) use encode::{Attributes, Message};
