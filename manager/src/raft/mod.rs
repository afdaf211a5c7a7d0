//! How what was agreed on survives: consensus, the log and its snapshots. The only place that names the raft crate.
//!
//! # What it owns
//! The raft directory (`key`, `wal/`, `snap/`, a lock) and one thread, `skep:raft`. At present the group has one voter; the machine is
//! the crate's and takes ticks and messages as a larger group needs them.
//!
//! # In and out
//! Proposals come from the store's queue. Each becomes one log entry, all that wait share one record and one sync, and each gets its own
//! answer after it was applied. [`Raft::leadership`] says whether this manager leads and has applied all that it must know first.
//!
//! # The caller's duties to the machine, in this order
//! Persist, then send, then apply (`machine.rs` has them one by one). A leader's own messages may go before, since followers count
//! their own disks.
//!
//! # What always holds
//! - An acknowledged write was synced. One sync makes exactly one record durable (`record.rs`), hence at a start: a damaged record with
//!   nothing good behind it is a write that nobody was told of, and is dropped; with something good behind it, or in a file that has a
//!   successor, it is damage, and the manager refuses to start and changes nothing.
//! - A record is never written twice under one key and nonce, because no file is continued after a start or a failed write (`seal.rs`).
//!   A new file's header says which ordinal comes next; whatever an older file has from there on does not count.
//! - A file goes only when a durable snapshot holds all its entries and term and vote have been written to a file that stays.
//!
//! # When writing fails
//! After a failed write or sync the pages' state is unknown, so nothing in that file is trusted any more. The manager is read-only: what
//! waits is refused with the reason, the machine is thrown away and built anew from what is durable, exactly as if the process had died,
//! and a new file is tried with growing waits. Reads go on all the while.
//!
//! # Crash and change of leader
//! A start reads the newest snapshot and the log behind it. The commit index is not worth a sync: a new leader's first entry commits what
//! is before it, and until that entry is applied the manager does not say that it leads. A proposer whose leader went is told that the
//! change may or may not have been made.
//!
//! # Why not
//! - *An embedded database*: it would write two to fifty times the bytes for the one access pattern that there is, appending.
//! - *A timer in the proposal's path*, to gather more: while one sync runs the next batch gathers by itself.
//! - *Async file I/O*: the thread has nothing else to do than to wait for the disk. It sleeps without a timer when alone.
//!
//! # Where to read next
//! `machine.rs`, then `run/turn.rs` for one round of it, `record.rs` and `segment.rs` for the files, `disk/` for what happens to them.

mod disk;
mod error;
mod log;
mod machine;
mod pending;
mod record;
pub mod run;
mod saved;
mod seal;
mod segment;
mod snapshot;

pub use error::RaftError;
pub use run::{Leadership, Options, Raft, Status};
