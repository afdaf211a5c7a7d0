//! A store without Raft, for tests: `let store = testing::start();` inside a tokio runtime gives one whose proposals are applied in
//! order as they come, the first at index 1. Where no runtime is at hand, [`super::Store::apply`] with an index of one's own does the
//! same at once.

mod run;

pub use run::start;
