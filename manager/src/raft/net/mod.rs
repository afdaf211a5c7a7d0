//! The ways between the members.
//!
//! - **Owns** two outgoing streams to each other member, one for what is small and urgent (heartbeats, votes, acknowledgements), one for
//!   entries, so that no large message delays a heartbeat; the snapshots on their way; and the book of addresses.
//! - **In:** messages of the machine, and streams of others. **Out:** commands for the raft thread.
//! - **Invariants.** The thread never waits for the network: what finds no room is dropped, and the machine says it again. A stream that
//!   others opened is read only as fast as the thread takes what comes, so that a flood waits at its sender. A snapshot travels from
//!   file to file in frames; neither side holds it whole, but for the state that it becomes.
//! - **Addresses.** A member is looked for where it said that it is, when it last opened a stream, and where the state says that it is. So
//!   a member that comes back with another address is found by all whom it can reach itself.
//! - **Dialects.** The first word of a stream and of a snapshot is which dialect of the log the sender speaks; with another one it is refused
//!   before anything of it counts ([`crate::dialect`]).
//! - **A broken stream is news.** A process that dies closes its connections, which is known long before its silence is. The machine is
//!   told, and decides what it is worth.
//! - **Crash.** Streams end; messages are lost, which Raft takes for granted.
//!
//! [`book`] (addresses), [`links`] (outgoing), [`snapshots`] (outgoing, large), [`service`] (incoming).

pub(super) mod book;
mod era;
mod links;
pub(super) mod service;
mod snapshots;
mod strange;

pub(super) use book::Book;
pub(super) use links::Links;
pub use links::Wiring;
pub use service::RaftService;
