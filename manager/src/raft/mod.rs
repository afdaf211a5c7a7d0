//! How what was agreed on survives: consensus, the log and its snapshots. The only place that names the raft crate.
//!
//! # What it owns
//! The raft directory (`member`, `key`, which is sealed while managers lock themselves, `wal/`, `snap/`, a lock), one thread, `skep:raft`, and the streams to the other members.
//!
//! # In and out
//! Proposals come from the store's queue. Each becomes one log entry, all that wait share one record and one sync, and each gets its own
//! answer after it was applied. A proposal without changes is a read: it is answered when this member has made sure that it still
//! leads and has applied everything acknowledged before. A proposal may name the term that it was computed in; in another one it
//! is refused, which is what fences off the loops of a leader that was. [`Raft::leadership`] says who leads; this member is named only
//! once it has applied all that it must know first. The group itself changes one member at a time ([`crate::sys::Consensus`]); who
//! belongs to it is not decided here.
//!
//! # The caller's duties to the machine, in this order
//! Send what a leader sends, persist, send what promises what was persisted, apply (`machine.rs` has them one by one). A leader's own
//! messages go first, since followers count their own disks.
//!
//! # What always holds
//! - An acknowledged write was synced. One sync makes exactly one record durable (`record.rs`), hence at a start: a damaged record with
//!   nothing good behind it is a write that nobody was told of, and is dropped; with something good behind it, or in a file that has a
//!   successor, it is damage, and the manager refuses to start and changes nothing.
//! - A record is never written twice under one key and nonce, because no file is continued after a start or a failed write (`seal.rs`).
//!   A new file's header says which ordinal comes next; whatever an older file has from there on does not count.
//! - A key that lay on the disk in clear seals nothing any more once it is sealed itself: another one takes its place (`disk/key.rs`), the log goes
//!   on in a new file, and a snapshot puts an end to what is under the old one, which stays readable until then.
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
//! change may or may not have been made. A leader that stops, or whose disk has become slow, hands over to the member that is furthest. A
//! connection that breaks is taken for the end of whoever was at its other end, and shortens the election. A member whose disk is full
//! hears and says nothing, so that the others go on without it. One whose disk lost what it had acknowledged gets it again, and votes
//! for nobody who may lack it, too ([`loss`]).
//!
//! # A member far behind
//! Entries before the last snapshot are kept in memory for a while; a member that needs older ones is sent the snapshot, from file to
//! file. A new cluster's log begins behind an entry that nobody has, so that whoever joins is sent a snapshot and knows the founder.
//!
//! # A new life
//! When the others are lost for good, a member goes on alone ([`Heritage`]): from its snapshot and its whole log a new directory is made
//! beside the old one and takes its place in one step. It has one voter, under a number never used, so that no message of the old group is
//! for it; its index and term are beyond all that were; and the state's era is a later one, of which old members are told when they
//! open a stream. One that hears of it is inert from then on (`part` in `run/driver.rs`), as is one that hears that its seat was taken away while it was not there.
//!
//! # Why not
//! - *An embedded database*: it would write two to fifty times the bytes for the one access pattern that there is, appending.
//! - *A timer in the proposal's path*, to gather more: while one sync runs the next batch gathers by itself.
//! - *Async file I/O*: the thread has nothing else to do than to wait for the disk. It sleeps without a timer when alone.
//!
//! # Where to read next
//! `machine.rs`, then `member.rs` (what waits on it), `run/turn.rs` for one round of it, `net/` for the ways to the others, `record.rs` and
//! `segment.rs` for the files, `disk/` for what happens to them, `testing/` for members that the simulator drives.

mod disk;
mod error;
mod gathered;
mod log;
mod loss;
mod machine;
mod member;
mod net;
mod pending;
mod reads;
mod record;
pub mod run;
mod saved;
mod seal;
mod segment;
mod snapshot;
mod stall;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod timing;

pub use disk::Birth;
pub use disk::anew::{Heritage, put_aside, siblings};
pub use disk::key::{is_sealed, keep as keep_key};
pub use error::RaftError;
pub use net::{RaftService, Wiring};
pub use run::{Handle, Home, Options, Raft, Status};
