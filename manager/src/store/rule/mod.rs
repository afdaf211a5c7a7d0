//! What each kind of change demands and does. Each rule checks everything first and then acts: a refused change has done nothing.

mod bulk;
mod node;
mod service;
mod task;

use super::error::Refusal;

/// Refuses a change that was computed from another version.
fn in_sequence(kind: &str, id: &dyn std::fmt::Display, is: u64, was: u64) -> Result<(), Refusal> {
    if is == was { Ok(()) } else { Err(Refusal::Stale { what: format!("{kind} {id}"), is, was }) }
}
