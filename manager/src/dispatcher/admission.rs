//! Whether a node's stream is served, and what is said to one that is not.

use skep_proto::model::NodeId;
use skep_proto::pb;

use super::registry::farewell;
use crate::caller::{Caller, CallerError};
use crate::store::State;

/// What becomes of a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Admission {
    /// It is this node's session.
    Served(NodeId),
    /// Another manager may serve it.
    Elsewhere,
    /// Nobody will: it gets these words and ends. To be said only by a manager that has just made sure that it leads.
    Refused(pb::Farewell),
}

/// Looks at who opens a stream. A node that the cluster forgot is told so, however long it was away: otherwise its containers
/// would run for ever. Only the leader says it, since another manager may not have heard of a new node yet.
///
/// # Errors
/// When the caller is no node of this cluster and never was.
pub fn admit(caller: Caller, leads: bool, state: &State) -> Result<Admission, CallerError> {
    match caller.require_node(state) {
        Ok(identity) if leads => Ok(Admission::Served(identity.node)),
        Err(CallerError::Removed { .. }) if leads => Ok(Admission::Refused(removed())),
        Ok(_) | Err(CallerError::Removed { .. }) => Ok(Admission::Elsewhere),
        Err(error) => Err(error),
    }
}

/// The last words to a node that was removed.
pub(super) fn removed() -> pb::Farewell {
    pb::Farewell { removed: true, ..farewell("the node was removed from the swarm") }
}

#[cfg(test)]
mod tests {
    use skep_proto::model::{ClusterId, KeyPrint, NodeRole};

    use super::*;
    use crate::caller::Identity;
    use crate::fixture::{World, node_id};

    fn caller(node: u32, cluster: u128) -> Caller {
        let (role, key) = (NodeRole::Worker, KeyPrint::of_spki(b"key"));
        Caller::Node(Identity { node: node_id(node), role, cluster: ClusterId::new(cluster), key })
    }

    #[test]
    fn a_node_that_was_removed_while_it_was_away_is_told_by_the_leader_alone() {
        let mut world = World::new(1);
        world.history(5);
        assert_eq!(admit(caller(1, 1), true, &world.state), Ok(Admission::Served(node_id(1))));
        world.remove_node(1);
        let told = admit(caller(1, 1), true, &world.state);
        assert!(matches!(told, Ok(Admission::Refused(words)) if words.removed));
        assert_eq!(admit(caller(1, 1), false, &world.state), Ok(Admission::Elsewhere));
    }

    #[test]
    fn whoever_is_no_node_of_the_cluster_is_told_nothing() {
        let mut world = World::new(1);
        world.history(5);
        for stranger in [Caller::Anonymous, Caller::Local, caller(1, 2)] {
            assert!(admit(stranger, true, &world.state).is_err());
        }
    }
}
