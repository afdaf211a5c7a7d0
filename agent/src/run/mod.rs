//! The agent as it runs: one loop that waits for something to happen, lets the machines decide, and does what they say.
//!
//! What is decided stands in [`crate::node`]; this owns the clock, the stream to the manager, the tokio tasks in which steps are taken, and the writes of the task list. Everything
//! that happens becomes an [`driver::Event`] and is handled synchronously, one after the other, so that no two decisions ever
//! meet; everything slow (steps, writes, connecting) runs beside the loop and comes back as an event.
//!
//! - **Before anything else** the list is read and the containers are looked at; an agent that could not do both does not start.
//! - **Crash** at any moment: the list says what was accepted, the containers say how far it is. A step that was under way is done
//!   again or found done.
//! - **Change of leader**: the stream breaks, the session machine finds another manager, everything is told again. No task
//!   notices.
//! - **Stop**: goodbye is said, steps that change a container are waited for, the list is written; containers run on. What they
//!   do until the next daemon comes stands in their files.
//!
//! An idle agent has one loop, one stream, a log listener, and a small future for each task that runs; it wakes up to say
//! that it lives, and once a minute to look whether the machine has changed.
//!
//! [`agent`] is the handle, [`driver`] the loop, [`handle`] what it does with each event, [`steps`] takes steps, [`link`] holds the stream, [`renew`] the certificate,
//! [`clock`] the time.

pub mod agent;
pub(crate) mod clock;
pub mod driver;
pub(crate) mod handle;
pub(crate) mod link;
pub(crate) mod renew;
pub(crate) mod steps;

pub use agent::{Agent, AgentConfig, AgentView};
