//! The cluster's state (interface first; the theory comes with the code).

mod apply;
pub mod change;
pub mod codec;
mod edit;
pub mod error;
pub mod event;
mod freeze;
mod index;
mod port;
mod rule;
pub mod run;
mod slab;
pub mod soft;
pub mod state;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use change::{Change, Placed, Reported, Transaction};
pub use error::{ProposeError, Refusal};
pub use event::Touched;
pub use freeze::Frozen;
pub use index::Usage;
pub use run::{Outcome, Proposal, Store, Subscription, Watch};
pub use soft::Soft;
pub use state::State;
