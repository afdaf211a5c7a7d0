//! What a manager does: it keeps the cluster's state in Raft and decides what runs where.
//!
//! Life of one request: [`forward`] passes it on to the leader, unless this manager leads; [`api`] checks it and proposes a transaction to the [`store`]; [`raft`] writes it down, group-committed
//! with whatever else waits, and applies it; the store tells whom it concerns. The leader-only loops that [`leader`] starts
//! wake up, look at the state and propose in turn: [`orchestrator`] makes tasks, [`allocator`] gives ports, [`scheduler`] chooses
//! nodes, [`dispatcher`] sends each agent what is new and brings its reports back. [`ca`] says who is who.
//!
//! Every component decides in pure files and acts in `run.rs` or `service.rs`; it may import [`store`] and the model, never a
//! sibling. Only [`run`] and [`leader`] know them all. Between them and the components stand a few files that every component may
//! use: [`caller`] (who asks, and may they), [`net`] (the port, which finds that out), [`status`] (errors to gRPC codes), [`reach`] (whom Raft hears), [`dialect`] (which managers understand each other), [`sys`] (clock and chance for
//! drivers). The daemon sees [`Manager`].

pub mod allocator;
pub mod api;
pub mod ca;
pub mod caller;
pub mod dialect;
pub mod dispatcher;
#[cfg(test)]
mod fixture;
pub mod forward;
pub mod group;
pub mod leader;
pub mod logs;
pub mod membership;
pub mod net;
pub mod orchestrator;
pub mod raft;
pub mod reach;
pub mod run;
pub mod scheduler;
pub mod status;
pub mod store;
pub mod sys;

pub use ca::NodeIdentity;
pub use run::{Counts, Manager, ManagerConfig, ManagerError, NewCluster, OwnCalls};
