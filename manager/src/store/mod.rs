//! The cluster's state (interface first; the theory comes with the code).

mod apply;
pub mod change;
mod chunk;
pub mod codec;
mod edit;
pub mod error;
pub mod event;
#[cfg(test)]
pub(crate) mod fixture;
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
#[cfg(test)]
mod tests;

pub use change::{Change, Placed, Reported, Transaction};
pub use chunk::{Rebuild, RebuildError};
pub use error::{ProposeError, Refusal};
pub use event::Touched;
pub use index::Usage;
pub use run::{Outcome, Past, Proposal, Store, Subscription, Watch};
pub use soft::Soft;
pub use state::State;
