//! The task that stands in for Raft.
#![expect(clippy::disallowed_methods, reason = "driver: starts the stand-in for raft")]

use super::super::run::Store;

/// A store whose proposals are applied as they come, each at the next index. The stand-in ends with the test's runtime.
#[must_use]
pub fn start() -> Store {
    let (store, mut proposals) = Store::new();
    let applied = store.clone();
    tokio::spawn(async move {
        while let Some(proposal) = proposals.recv().await {
            let index = applied.read().index() + 1;
            let outcomes = applied.apply(index, proposal.transactions);
            // The proposer may have gone; what it asked for is done all the same.
            drop(proposal.reply.send(Ok(outcomes)));
        }
    });
    store
}
