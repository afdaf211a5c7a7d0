//! The Control RPCs: each checks its caller, turns words into checked values, proposes at most one transaction and answers from
//! the state. Decisions are in the pure files beside; this folder only carries.
//!
//! [`control`] is the table of RPCs; `service`, `task`, `node`, `cluster` and `logs` hold what each of them does, by object.

mod backup;
mod cluster;
pub mod control;
mod list;
mod lock;
mod logs;
mod node;
#[expect(clippy::module_inception, reason = "the object is called service, and so is every folder of RPCs")]
mod service;
mod task;

pub use control::{Answers, ControlService, LogSelection, ReadLogs, Seen};
