//! What every node does: hold a session with the leader, keep the list of its tasks on its own disk, and move each task on
//! through an [`Executor`](sys::Executor). It decides nothing about the cluster, and works on without managers.
//!
//! An order's way: [`run`] reads it from the stream, [`assignment`] checks it, [`worker`] finds what is new in it, [`task`] says
//! which step is next, [`ledger`] when the list goes to [`disk`], [`run`] takes the step through [`sys`], and [`report`] tells
//! the managers how it went. [`session`] keeps the stream, [`contact`] when a leader was last heard
//! of for certain; [`node`] joins these decisions; [`identity`] is who the node is, [`vault`] what its keys lie under;
//! [`logs`] ships output.

pub mod assignment;
pub mod client;
pub mod contact;
pub mod disk;
mod error;
pub mod executor;
pub mod identity;
pub mod ledger;
pub mod logs;
pub mod node;
pub mod order;
pub mod record;
pub mod report;
pub mod run;
pub mod session;
pub mod sim;
pub mod sys;
pub mod task;
pub mod vault;
pub mod worker;

pub use error::AgentError;
pub use run::{Agent, AgentConfig, AgentView};
