//! What must hold of what the user was promised.

use skep_manager::store::{State, Store, codec};

use super::super::log::Log;
use super::super::user::History;
use super::{Checks, Verdict, broken};

impl Checks {
    /// What a user was told is done must be there for ever, unless somebody asked for something else: a cluster that forgets an
    /// answer cannot be relied upon.
    pub(crate) fn invariant_no_acknowledged_write_is_lost(&self, state: &State, history: &History) -> Verdict {
        const NAME: &str = "no_acknowledged_write_is_lost";
        for (id, version) in &history.services {
            let is = state.service(*id).map(|service| service.meta.version);
            if is.is_none_or(|is| is < *version) && !(is.is_none() && history.removed_services.contains(id)) {
                return broken(NAME, format!("service {id} was acknowledged at {version} and is at {is:?}"));
            }
        }
        for (id, version) in &history.nodes {
            let is = state.node(*id).map(|node| node.meta.version);
            if is.is_none_or(|is| is < *version) && !(is.is_none() && history.removed_nodes.contains(id)) {
                return broken(NAME, format!("node {id} was acknowledged at {version} and is at {is:?}"));
            }
        }
        Ok(())
    }
}

/// Managers that applied the same entries have the same state: otherwise a change of leader would change the past.
pub(crate) fn invariant_replicas_agree(log: &Log, leader: &Store) -> Verdict {
    let (replica, _) = Store::new();
    for index in 1..=log.committed() {
        let transactions = codec::decode(&log.entry(index).data).expect("what was written is read back");
        let known: Vec<_> = transactions.into_iter().filter_map(Result::ok).collect();
        replica.apply(u64::try_from(index).expect("64 bits fit an index"), &known);
    }
    let (ours, theirs) = (replica.read(), leader.read());
    let same = ours.index() == theirs.index()
        && ours.tasks().eq(theirs.tasks())
        && ours.services().eq(theirs.services())
        && ours.nodes().eq(theirs.nodes())
        && ours.cluster() == theirs.cluster();
    if same { Ok(()) } else { broken("replicas_agree", format!("at {} and {}", ours.index(), theirs.index())) }
}
