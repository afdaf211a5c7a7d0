//! The machine of one task: a pure function of what was wanted, what was tried and how it went.
//!
//! It takes one [`Input`] at a time and answers with [`Effect`]s. After every input it asks the same question anew - given the
//! state, what is wanted, and whether a step is under way, which step is next? - so that an order which comes in the middle
//! of a step, a repeated order, and a restart of the daemon need no case of their own.
//!
//! - At most one step (prepare, start, stop, remove) is under way. An order to stop waits for it, then undoes it.
//! - The state only grows; a step back is a bug and panics. What is desired only grows, and an older generation is ignored.
//! - A container is removed only after it was stopped, and only when the task is to be forgotten: until then its log can be read.
//! - A task runs once. Whoever wants it to run again makes another task.
//!
//! [`message`] has what goes in and out, [`machine`] the decisions, [`status`] the words that users read.

pub mod machine;
pub mod message;
pub mod status;

pub use machine::{RETRY_DELAY, STOP_RETRY_DELAY_MAX, TRIES_MAX, TaskMachine};
pub use message::{Effect, Input};

#[cfg(test)]
mod tests;
