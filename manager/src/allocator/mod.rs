//! Gives out what is one for the whole cluster: for now, published ports.
//!
//! **Owns** `Service::ports`. It reads services and who has which port; it proposes one change a service. Tasks are made only
//! once their service has all its ports, so a single task never waits for anything but a node.
//!
//! **Invariants.** An ingress port belongs to one service that is not being removed: `apply` refuses a second one, so two
//! proposals that crossed do no harm. A service keeps its number over updates as long as it asks for no other.
//!
//! **Crash and leader change.** Nothing is remembered: which ports are taken is in the state, and which services still need one
//! is read from them.
//!
//! **Why not** at once when the service is made? The request may be checked on any manager, and only the state at the
//! moment of applying knows what is free; a number in the proposal would be refused under load for no fault of the user.
//!
//! **Read next**: [`port`].

mod plan;
pub mod port;
mod run;
mod turn;

pub use plan::{Plan, plan, waiting};
pub use run::{TOPICS, run};
pub use turn::{FULL_SCAN_EVERY, RETRY_AFTER, Turn};
