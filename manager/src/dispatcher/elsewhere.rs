//! What a manager that does not lead says to agents.

use skep_proto::pb;

use super::registry::farewell;
use crate::store::State;

/// Why a manager that is not the leader serves nobody.
const NO_LEADER: &str = "this manager does not lead the swarm";

/// HOST:PORT of another manager that leads, if there is one and the state knows where.
#[must_use]
pub fn leader_address(state: &State, own: u64, leader: Option<u64>) -> Option<String> {
    let leader = state.manager(leader.filter(|id| *id != own)?)?;
    let address = leader.manager.as_ref().map(|manager| manager.address.clone());
    address.filter(|address| !address.is_empty())
}

/// Parting words that name the leader, if that is known.
#[must_use]
pub fn elsewhere(state: &State, own: u64, leader: Option<u64>) -> pb::Farewell {
    let leader = leader_address(state, own, leader).unwrap_or_default();
    pb::Farewell { leader, ..farewell(NO_LEADER) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::manager_state;

    #[test]
    fn agents_are_sent_to_another_manager_that_leads_and_never_back_here() {
        let state = manager_state(&[(1, "10.0.0.1:2377"), (2, "10.0.0.2:2377"), (3, "")]);
        let hint = |leader| elsewhere(&state, 1, leader).leader;
        assert_eq!(hint(Some(2)), "10.0.0.2:2377");
        for nowhere in [None, Some(1), Some(3), Some(9)] {
            assert_eq!(hint(nowhere), "", "{nowhere:?}");
        }
    }
}
