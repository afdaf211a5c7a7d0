//! Makes, replaces, stops and forgets tasks, so that each service has what its spec says.
//!
//! **Owns** the number of tasks and what is desired of them. It reads services, tasks and nodes; it proposes new tasks, desired
//! states, the progress of updates, and the managers' own verdicts (REJECTED where a task may not be, ORPHANED where its node
//! is gone). Where a task runs is the scheduler's, what it is seen doing the agents'.
//!
//! **Shape.** [`plan()`] looks at one service and says what to do next; `run.rs` proposes that and looks again until there is
//! nothing left to do. Each slot takes one step at a time, in one transaction: the next is planned from the state that
//! this one led to. A service has slots: numbers ([`replicated`]) or nodes ([`global`]). What a slot needs by itself (a successor, a
//! start, an end) is in [`slot`], which the policy of [`restart`] serves; [`courtesy`] is what it needs on a node that is
//! drained; [`update`] says which slots leave the old spec next; [`enforcer`] rejects tasks that may not be where they are;
//! [`reaper`] forgets.
//!
//! **Invariants.**
//! - A slot has one task desired RUNNING; two only while an update starts first or a node is down or drained, see [`slot`].
//! - A drain stops no running task of which the service would then have fewer than it asks to keep, see [`courtesy`].
//! - A task desired READY starts when its delay is over and everything stopped in its slot has stopped (or the stop grace
//!   and a margin have passed, or the node is down).
//! - A task that ended and its successor are one transaction; a slot is never seen with neither, unless it is finished.
//! - A service that is being removed gets no task; one whose ports are not given out yet gets none either.
//! - A plan made on the result of a plan comes to nothing in the end, until something happens.
//!
//! **Crash and leader change.** Nothing is remembered here. Counters are in the tasks, delays are moments in the tasks, an
//! update's progress is what the slots run. The new leader's first look at a service is like any other.
//!
//! **Why not** react to each event with its own handler? Because every event that was missed would need another handler. What
//! woke the loop only says which service to look at.
//!
//! **Read next**: [`slot`], then [`update`].

mod agenda;
mod courtesy;
mod enforcer;
mod global;
mod plan;
mod reaper;
mod replicated;
mod restart;
mod run;
mod slot;
#[cfg(test)]
mod tests;
mod turn;
mod update;
mod view;

pub use agenda::{FULL_SCAN_EVERY, REST_FACTOR, REST_FROM, REST_MAX};
pub use courtesy::PLACE_TIME_MAX;
pub use plan::{CHANGES_MAX, PROPOSED_MAX, Plan, REASONS_MAX, plan};
pub use reaper::{ORPHANED_AFTER, plan_nodes};
pub use run::{TOPICS, run};
pub use slot::STOP_MARGIN;
pub use turn::{Look, Planner, Proposal, RETRY_AFTER, Turn};
