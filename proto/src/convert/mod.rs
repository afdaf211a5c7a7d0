//! From the wire to checked values and back: the one place where untrusted input becomes something decisions may rely on.
//!
//! `TryFrom<pb::X> for model::X` checks everything that can be checked by looking at the message alone (forms, ranges,
//! known enum values); what needs the state (names taken, nodes that exist) is checked where the state is. `From<&model::X>
//! for pb::X` cannot fail, and the two are inverse: what was written is read back equal.

mod cluster;
mod error;
mod fields;
mod node;
mod service;
mod spec;
mod task;

pub use cluster::raft_timing;
pub use error::ConvertError;
pub use fields::{moment, required};
