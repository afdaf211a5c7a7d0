//! Containers that are only numbers: what thousands of agents run in one process when the managers are measured, and what
//! tests run when the question is not containers.
//!
//! It keeps the contract of [`Executor`](crate::sys::Executor) to the letter, and a running task costs it a map entry. Dropping
//! an agent and starting another over the same [`SimExecutor`] is a restart of a daemon whose containers lived on.
//!
//! [`run`] has all of it.

pub mod run;

pub use run::{SimConfig, SimExecutor};
