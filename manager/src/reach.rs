//! Whom this manager's Raft hears.

use std::collections::BTreeSet;

use tokio::sync::watch;

/// Raft ids of the managers that this manager's Raft has heard from within an election timeout, itself counted; empty while that is
/// not known. On the leader these are the members that answer it. Without a leader, those that answer this one's requests for
/// votes, once it has been without one for so long that it has made some: before that nobody is called silent who was not asked. A follower
/// hears its leader and may hear nobody else.
pub type Reachability = watch::Receiver<BTreeSet<u64>>;
