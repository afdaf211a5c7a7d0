//! What people ask of the cluster.
//!
//! - **Owns** nothing: each call is checked, proposed as one transaction and answered from the state.
//! - **In:** Control RPCs from the local socket or from a manager's certificate. **Out:** transactions, and streams that are
//!   bounded message by message, so that no list ever grows past a limit of gRPC.
//! - **Invariants.** What [`validate`] lets through can be run somewhere, or waits with a reason that a user can act on. An
//!   update names the version it was computed from, never "whatever is there". A watcher is sent the newest state, never a
//!   backlog: between two messages it may miss states, at the end it never does.
//! - **Crash, leader change.** A call in flight fails with `Unavailable`; whether it was committed is seen by reading again.
//!   Nothing is retried here, because only the caller knows whether asking twice is harmless.
//!
//! Files: [`validate`] (specs beyond their form), [`tokens`] (who may join), [`lookup`] (what a name or prefix means), [`progress`] (has a service
//! converged?), [`moving`] (is a node what its availability says?), [`held`] (tasks that may not run twice), [`service`] (the RPCs).

pub mod error;
pub mod held;
pub mod lookup;
pub mod moving;
pub mod progress;
pub mod service;
pub mod tokens;
pub mod validate;

pub use error::ApiError;
pub use service::{Answers, ControlService, LogSelection, ReadLogs, Seen};
