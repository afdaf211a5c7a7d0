//! Brings log lines from the agents to whoever asked a manager.
//!
//! - **Owns** the readers' requests and their parts. No line is kept: logs live on the nodes.
//! - **In:** a selection of services and tasks from a reader; from the agents a standing `Listen`, and one `Publish` stream for
//!   each part. **Out:** to the agents what to read, to the reader lines, the names that belong to them, and warnings.
//! - A *part* is what one node is asked for at once. It has an id of its own, so that one `Publish` stream answers one part.
//!   A reader that follows gets further parts when its services get further tasks.
//! - **Invariants.** A node publishes only lines of the tasks it was asked for; whose lines they are is said by its certificate.
//!   Every queue is bounded, and a slow reader slows the agents down, nobody else. A node that is away, silent or failing
//!   costs the reader a warning, never its patience: every part ends. Who follows goes on where the lines broke off as soon as the
//!   node answers again, without losing or repeating one: the reader's place in each task is kept here, by time and number.
//! - **Crash, leader change.** Readers get an error and ask again.
//! - **Why not push all logs to the managers:** most lines are never read.
//!
//! Read next: [`plan`] (what to ask whom), [`run`] (one reader), [`service`] (the agents' side).

pub mod broker;
pub mod error;
pub mod plan;
pub mod run;
pub mod service;

pub use broker::LogBroker;
pub use error::LogError;
