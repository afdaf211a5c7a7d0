//! A manager from its start to its end.
//!
//! - **Owns** what the components share: the store, Raft, the port, the services on it and the leader's loops. With
//!   [`crate::leader`] the only place that knows the components by name.
//! - **In:** where the state lies, where to listen, who this node is. **Out:** a [`Manager`], which the daemon keeps and closes.
//! - **Order.** Raft first, since without a state there is nothing to serve; then the port, because a taken port must be known
//!   before a cluster is founded; then the first transaction. At the end the other way round: services and loops, whose last
//!   proposals still find a log, then Raft.
//! - **Crash.** What was founded is in the log, or it is not; a founding that was cut short is removed by whoever founds again.
//!
//! Files: [`front`] (port, loops), `services` (which one a call is for), [`manager`] (Raft beneath them), `entry` (into a cluster that there
//! is, and out), `keep` (whether the seat is still there), `anew` (on alone), `tell` (who leads and who is heard, for those who ask).

mod anew;
mod entry;
pub mod error;
pub mod front;
mod keep;
pub mod manager;
mod services;
mod tell;
#[cfg(test)]
mod tests;

pub use anew::NewSeat;
pub use error::ManagerError;
pub use front::{Front, Ground};
pub use manager::{Counts, Manager, ManagerConfig, NewCluster};
pub use services::OwnCalls;
