//! The calls that move containers on.
//!
//! One file per act: [`create`], [`end`] (signal, stop, remove), [`adopt`] (what `open` finds), [`watch`] (the wait for the end),
//! [`link`] (the connection to a shim), [`nursery`] (where shims are born), [`backing`] (images and network, or neither for tests), [`registry`] (who is there),
//! [`tend`] (the network as it should be), [`foreign`] (what is another daemon's), [`ground`] (what all containers stand on).

pub(crate) mod adopt;
pub(crate) mod backing;
pub(crate) mod create;
pub(crate) mod end;
pub(crate) mod facade;
pub(crate) mod follow;
pub(crate) mod foreign;
pub(crate) mod ground;
pub(crate) mod link;
pub(crate) mod nursery;
pub(crate) mod registry;
pub(crate) mod sys;
pub(crate) mod tend;
pub(crate) mod watch;

pub use facade::Runtime;
