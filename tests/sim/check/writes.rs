//! What must hold of what the user was promised.

use skep_manager::store::State;

use super::super::manager::Manager;
use super::super::user::{History, Promises};
use super::{Checks, Verdict, broken};

impl Checks {
    /// What a user was told is done must be there for ever, unless somebody asked for something else: a cluster that forgets an
    /// answer cannot be relied upon. A manager that is behind need not have it yet.
    pub(crate) fn invariant_no_acknowledged_write_is_lost(&self, state: &State, history: &History) -> Verdict {
        let promised = history.promised.upto(state.index());
        kept("no_acknowledged_write_is_lost", state, &promised, history)
    }
}

/// A look that begins after something was acknowledged, or was seen by another look, must see it: the control API is linearizable.
pub(crate) fn invariant_reads_see_what_was_acknowledged(state: &State, begun: &Promises, history: &History) -> Verdict {
    kept("reads_see_what_was_acknowledged", state, begun, history)
}

fn kept(name: &'static str, state: &State, promised: &Promises, history: &History) -> Verdict {
    for (id, version) in &promised.services {
        let is = state.service(*id).map(|service| service.meta.version);
        if is.is_none_or(|is| is < *version) && !(is.is_none() && history.removed_services.contains(id)) {
            return broken(name, format!("service {id} was at {version} and is at {is:?}"));
        }
    }
    for (id, version) in &promised.nodes {
        let is = state.node(*id).map(|node| node.meta.version);
        if is.is_none_or(|is| is < *version) && !(is.is_none() && history.removed_nodes.contains(id)) {
            return broken(name, format!("node {id} was at {version} and is at {is:?}"));
        }
    }
    Ok(())
}

/// Managers that applied the same entries have the same state: otherwise a change of leader would change the past.
pub(crate) fn invariant_replicas_agree(managers: &[Manager]) -> Verdict {
    let stores: Vec<_> = managers.iter().filter_map(|manager| Some(&manager.daemon.as_ref()?.store)).collect();
    for pair in stores.windows(2) {
        let (one, other) = (pair[0].read(), pair[1].read());
        let same = one.tasks().eq(other.tasks())
            && one.services().eq(other.services())
            && one.nodes().eq(other.nodes())
            && one.cluster() == other.cluster();
        if one.index() == other.index() && !same {
            return broken("replicas_agree", format!("at {}", one.index()));
        }
    }
    Ok(())
}
