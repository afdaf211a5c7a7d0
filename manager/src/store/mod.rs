//! What the cluster has agreed on, what may be proposed to change it, and who is told.
//!
//! # What it owns
//! [`State`]: cluster, nodes, services and tasks, with every index that a decision needs. [`Soft`]: what only the leader knows. The
//! queue of [`Proposal`]s that wait for the log, and the wake-ups. It knows Raft only as whoever empties that queue and calls
//! [`Store::apply`].
//!
//! # In and out
//! Transactions of [`Change`]s go in; an outcome each comes out: the Raft index, which becomes the version of all that was written, or
//! a [`Refusal`]. Readers look at the state under [`Store::read`]. A [`Subscription`] tells a loop whom to look at ([`Touched`], merged
//! while the loop is busy, so that a slow one costs no memory); a [`Watch`] tells about one service or one node.
//!
//! # What always holds
//! - `apply` is deterministic: clocks, ids and choices were made before, and what is applied was read back from the log's bytes.
//! - A transaction is made whole or leaves no trace. A change names the version that it was computed from; two changes of one object
//!   in one transaction do not work, since the second cannot know the version that the first will give.
//! - Observed and desired states only grow. A task's service and revision are there as long as the task. A removed service goes with
//!   its last task.
//! - Every index equals what a count over all objects would give; no step of `apply` walks all tasks. The tests say so of anything that
//!   can be proposed.
//!
//! # Cost
//! A task is a record of 288 bytes in one dense table; indexes hold its four-byte handle (`slab.rs`). A placement costs about a
//! microsecond, so the largest plan, 100,000 of them, holds the write lock for a tenth of a second; a user's change for microseconds.
//!
//! # Crash and change of leader
//! The state is rebuilt from the last snapshot ([`Rebuild`]) and the log. Soft state is lost with the leader: agents send theirs again.
//!
//! # Why not
//! - *A copy-on-write snapshot for every plan*, as the rule "plan on a snapshot" would have it: a million tasks cannot be copied for
//!   each plan, and a persistent tree costs every lookup of every plan. Readers hold a short read guard instead, bounded by what they
//!   look at, and never across an await; versions catch what went stale between plan and apply. Only the writing of a snapshot needs
//!   a moment that holds still for seconds: there what changes is laid aside (`freeze.rs`).
//! - *Events that say what happened*: a lost or merged event would be a lost decision. [`Touched`] only says where to look.
//! - *A lock across the proposal*: then a slow disk stops everyone who wants to read.
//!
//! # Where to read next
//! `change.rs` for what can be said, `apply.rs` and `rule/` for what it demands, `edit.rs` for how the indexes follow, `run.rs` for the
//! handle that everyone else holds, `testing` for a store without Raft.

mod apply;
pub mod backup;
pub mod change;
mod chunk;
pub mod codec;
mod edit;
pub mod error;
pub mod event;
#[cfg(test)]
pub(crate) mod fixture;
mod freeze;
mod index;
mod look;
mod over;
mod port;
mod rotation;
mod rule;
pub mod run;
mod slab;
pub mod soft;
pub mod state;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

pub use backup::{BackupError, Restoration};
pub use change::{Change, Placed, Reported, Transaction};
pub use chunk::{Rebuild, RebuildError};
pub use error::{ProposeError, Refusal};
pub use event::{Topics, Touched};
pub use index::Usage;
pub use look::Look;
pub use over::Over;
pub use rotation::{Presented, RotationProgress};
pub use run::{News, Outcome, Past, Proposal, Store, Subscription, Watch};
pub use soft::Soft;
pub use state::State;
