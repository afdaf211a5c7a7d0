//! Chooses a node for each task that waits for one.
//!
//! **Owns** the step from PENDING to ASSIGNED and the words that say why a task waits. It reads tasks, nodes and what the
//! store counts of each node's use; it proposes one bulk change a pass, and notes the explanations as soft state.
//!
//! **Shape.** Tasks of one service and spec version need the same, so they are placed together: [`filter`] asks each node once
//! for how many of them it has room, [`spread`] orders the nodes that have any, and each task then costs the logarithm of
//! the number of nodes. [`node_set`] keeps what the pass has taken, so that groups do not take the same room twice. Tasks
//! of global services come with their node; they are only checked.
//!
//! **Invariants.**
//! - Nothing reserved is given twice: a pass counts what it gives, and `apply` refuses a node that no longer takes tasks and a
//!   task that has changed. Only this loop assigns, and it proposes one pass at a time.
//! - A task that is left over has an explanation.
//! - The same state, time and seed give the same plan.
//!
//! **Crash and leader change.** Nothing is remembered. Assignments that were proposed but not committed are planned again;
//! explanations are made anew; failures that speak against a node are read from the tasks' history.
//!
//! **Why not** score each node by free memory and CPU? Counting tasks is what people know from Swarm and can predict; the
//! reservations decide what fits. **Why not** wait a moment to gather work? The commit is the moment.
//!
//! **Read next**: `plan.rs`, then [`spread`].

mod failure;
mod filter;
mod node_set;
mod plan;
mod run;
mod spread;
#[cfg(test)]
mod tests;
mod turn;

pub use plan::{Group, PLACED_MAX, Plan, plan};
pub use run::{TOPICS, run};
pub use turn::{FULL_SCAN_EVERY, Placer, RETRY_AFTER, Turn};
