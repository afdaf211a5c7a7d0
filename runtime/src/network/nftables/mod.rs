//! The nftables table of one daemon: what it should hold, what the kernel holds, and the batch between the two.
//!
//! [`ruleset`] turns publications into chains of [`rule`]s; [`snapshot`] reads the kernel's lists; [`change`] has the diff as a
//! list of changes and its encoding as one atomic batch. All pure; `network/net.rs` sends.
//!
//! The table, here for a bridge `skep0` and port 8080 with two containers:
//! ```text
//! table ip skep {
//!   map ports { type inet_proto . inet_service : verdict; elements = { tcp . 8080 : goto tcp-8080 } }
//!   chain guard       { hook prerouting, raw:    iifname skep0 ip daddr 127.0.0.0/8 drop }
//!   chain prerouting  { hook prerouting, dstnat: fib daddr type local  meta l4proto . th dport vmap @ports }
//!   chain output      { hook output, dstnat:     the same }
//!   chain postrouting { hook postrouting, srcnat: masquerade what leaves, what comes back, and what comes from 127.0.0.1 }
//!   chain forward     { hook forward, filter:    from the bridge, or asked for: accept; else to the bridge: drop }
//!   chain tcp-8080    { meta l4proto tcp dnat ip to numgen inc mod 2 map { 0 : 10.9.0.2 . 80, 1 : 10.9.0.3 . 80 } }
//! }
//! ```
//! A packet finds its port by one hash lookup, however many there are, and a change of one port rewrites one rule. The map is
//! within the rule, so old and new rule each see a list and a modulus that fit together.
//!
//! **Identity.** The kernel never changes a rule, so each of ours carries a digest of what it says as its comment: a rule
//! with the right comment is the right rule, and comparing needs no decoder for expressions.
//!
//! **IPv6** would take a second table of family ip6 with the same chains, 16-byte addresses in the nat expression (registers
//! for an address take four words), network header offsets 8 and 24, and a prefix for the bridge; `rule.rs` is the one
//! file that would grow a family. There is no route_localnet for ::1: the kernel never lets it leave the loopback.

pub(crate) mod change;
pub(crate) mod rule;
pub(crate) mod ruleset;
pub(crate) mod snapshot;
pub(crate) mod wire;
