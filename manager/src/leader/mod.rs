//! Starts everything that only the leader does, and stops it again.
//!
//! - **Owns** the leader-only loops: dispatcher, membership, allocator, scheduler, orchestrator. The only place, with [`crate::run`], that knows
//!   the components by name.
//! - **In:** who leads. **Out:** running loops, or none.
//! - **Invariants.** A loop runs only between winning leadership and losing it, and everything of one term has ended before
//!   anything of the next begins: two generations never plan side by side. What they propose names their term and is refused in another. A loop that ends by itself has seen that this manager
//!   does not lead, perhaps before we have; then all of them end, and begin again if we lead after all.
//! - **Leader change.** Every loop starts from the state and nothing else, so there is no hand-over. The soft state is forgotten:
//!   the agents report it to the next leader.
//! - **Order.** Consumers before producers: the dispatcher first, because agents are knocking already; then allocator and
//!   scheduler, so that both are awake when the orchestrator makes the first tasks. They stop together: without leadership
//!   no order could save a proposal.

pub mod run;

pub use run::{Ground, lead};
