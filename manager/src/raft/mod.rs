//! Raft.

mod disk;
mod error;
mod log;
mod machine;
mod pending;
mod record;
pub mod run;
mod saved;
mod seal;
mod segment;
mod snapshot;

pub use error::RaftError;
pub use run::{Leadership, Options, Raft, Status};
