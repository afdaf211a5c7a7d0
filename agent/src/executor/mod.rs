//! Tasks as containers of this node's runtime.
//!
//! Owns nothing: the runtime's files are the truth. Input is a [`TaskOrder`](crate::order::TaskOrder), output a container whose
//! id is the task's id, so that a task is found again by whoever asks, a new daemon included; no table from one to the other
//! can be lost. Containers whose id is no task's id are somebody else's and are left alone.
//!
//! - Templates in environment and hostname are expanded here and not by the managers: only the node knows its hostname.
//! - A container that an earlier try left is removed before it is made again. What was started is never made again.
//! - Ports of both modes are published on this node; a task whose node-mode port is taken fails and says so.
//!
//! [`template`] expands, [`container`] maps a task to a container, [`describe`] reads what the machine has, [`fault`] says whose
//! fault an error is, [`run`] makes the calls, [`sys`] reads the machine's files.

pub mod container;
pub mod describe;
pub mod fault;
pub mod run;
pub mod sys;
pub mod template;

pub use run::RuntimeExecutor;
