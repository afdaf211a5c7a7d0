//! The cluster's state (interface first; the theory comes with the code).

pub mod change;
pub mod error;
pub mod event;
pub mod run;
pub mod soft;
pub mod state;

pub use change::{Change, Placed, Reported, Transaction};
pub use error::{ProposeError, Refusal};
pub use event::Touched;
pub use run::{Proposal, Store, Subscription, Watch};
pub use soft::Soft;
pub use state::{State, Usage};
