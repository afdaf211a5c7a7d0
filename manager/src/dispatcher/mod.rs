//! Brings each agent what it is to do, and brings back what became of it.
//!
//! - **Owns** the sessions of the nodes, whether a node counts as alive, and the way of reports into the log.
//! - **In:** one stream a node ([`service`]), and wake-ups of the store. **Out:** differences of assignments to the agents;
//!   reports and node statuses as proposals, as many as have come while the last one was on its way ([`batch`]).
//! - **Invariants.** A node has one session; a newer one ends the older. A session begins with a complete set and then carries
//!   only differences ([`assignments`]). A report is acknowledged when it is committed, never before; what is lost on the way is
//!   sent again by the agent. Only a task's own node may report on it. RUNNING and the ends go to Raft, the states between only
//!   to the leader's memory. A heartbeat costs one store to an atomic and an empty answer, and no timer is kept a node ([`heartbeat`]); it comes less often in a
//!   larger swarm.
//! - **Being late.** Where processors are short, what nodes have said lies unread. Silence is judged only after what had come was read,
//!   and not at all by a leader that was away for a second ([`sight`]). An agent likewise gives its manager up only after several
//!   heartbeats had no answer: all of a large swarm's agents that come back at once because of a busy second would make it a busy minute.
//! - **Slow agents.** A session computes differences only when the last ones are sent, so a slow reader gets fewer, larger
//!   messages, never a backlog. When our own log is slow, a session stops reading and its node is not blamed for the silence.
//! - **Contact.** A node with tasks that stop when it is cut off asks for an answer to its heartbeats. It gets one after a read
//!   barrier, so that only a leader gives it, and after everything that was decided before; what follows when it gets none, and why
//!   no two of those tasks ever run at once, is in [`skep_proto::model::disconnect`] and [`fence`].
//! - **Managers that do not lead** serve nobody. They send an agent to the leader, and hold its stream while there is none: with the
//!   first word of an election's end it is served or sent on ([`elsewhere`]). Agents hear when managers come, go or move.
//! - **Crash, leader change.** Nothing survives, nothing must: agents find the new leader, describe themselves and report every
//!   task anew. Stored node states stay as they are, so that nothing flaps; a node that was alive gets a grace in which
//!   thousands of handshakes fit before it is called Down.
//! - **Why no message for each change:** the state is what counts. A session that is woken looks at its node's tasks and at what it
//!   has sent; start, steady state and recovery are one path. The wake-up says which tasks to look at ([`crate::store::News`]), because a
//!   node may have hundreds; a session that missed too many looks at all.
//!
//! Read next: [`session`] (the machine of one session), [`talk`] (the order of its messages), [`keeper`] (which nodes live), [`run`]
//! (the leader's two loops).

pub mod admission;
pub mod assignments;
pub mod batch;
pub mod elsewhere;
pub mod error;
pub mod fence;
pub mod heartbeat;
pub mod keeper;
pub mod registry;
pub mod run;
pub mod service;
pub mod session;
pub mod sight;
pub mod skew;
pub mod talk;
pub mod trust;

pub use error::DispatchError;
pub use service::Dispatcher;
