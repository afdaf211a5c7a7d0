//! Nodes that were let in and never came: their join was answered by nobody, as when the quorum was lost in that moment, and the machine
//! has given up and could not say so, or is gone. Nobody else would ever remove them.

use std::collections::BTreeMap;
use std::time::Duration;

use skep_proto::model::{Moment, NodeId};

use crate::store::{Change, State};

/// How long a node may take to its first word, while one manager leads all the time. A join that took ten seconds to it has told its user
/// that it failed; the rest is for a machine that was switched off meanwhile, and goes on with its join when it is on again. One that comes
/// later is told that it was removed.
const FIRST_WORD_TIME_MAX: Duration = Duration::from_secs(3600);

/// Since when each is waited for, as this leader has seen: an earlier one may have been away for hours.
#[derive(Debug, Default)]
pub struct Unheard(BTreeMap<NodeId, Moment>);

impl Unheard {
    /// Those whose time is up.
    pub fn look(&mut self, state: &State, now: Moment) -> Vec<Change> {
        let there: BTreeMap<NodeId, u64> =
            state.nodes().filter(|node| node.never_came()).map(|node| (node.id, node.meta.version)).collect();
        self.0.retain(|node, _| there.contains_key(node));
        for &node in there.keys() {
            self.0.entry(node).or_insert(now);
        }
        let late = self.0.iter().filter(|(_, since)| now.since(**since) >= FIRST_WORD_TIME_MAX);
        late.map(|(&node, _)| Change::RemoveNode { node, if_version: there[&node] }).collect()
    }
}

#[cfg(test)]
mod tests {
    use skep_proto::model::{ManagerStatus, Meta, Node, NodeState, NodeStatus};

    use super::*;
    use crate::fixture::{World, node_id};

    fn world() -> World {
        let mut world = World::new(1);
        world.history(5);
        let known = world.state.nodes().next().unwrap().clone();
        let put = |number, state, address: &str, manager| {
            let (meta, status) = (Meta::default(), NodeStatus::new(state, "", address));
            Change::PutNode(Box::new(Node { id: node_id(number), meta, status, manager, ..Node::clone(&known) }))
        };
        let seat = Some(ManagerStatus { raft_id: 9, address: "a:1".to_owned() });
        world.apply(vec![
            put(11, NodeState::Unknown, "", None),
            put(12, NodeState::Down, "", None),
            put(13, NodeState::Down, "10.0.0.3", None),
            put(14, NodeState::Unknown, "", seat),
        ]);
        world
    }

    #[test]
    fn who_never_came_is_removed_after_an_hour_and_nobody_else() {
        let mut world = world();
        let (mut unheard, begun) = (Unheard::default(), Moment(1_000));
        assert_eq!(unheard.look(&world.state, begun), []);
        assert_eq!(unheard.look(&world.state, begun + FIRST_WORD_TIME_MAX / 2), []);
        let gone = unheard.look(&world.state, begun + FIRST_WORD_TIME_MAX);
        let nodes = |changes: &[Change]| {
            let node = |change: &Change| match change {
                Change::RemoveNode { node, .. } => *node,
                other => panic!("{other:?}"),
            };
            changes.iter().map(node).collect::<Vec<_>>()
        };
        assert_eq!(nodes(&gone), [node_id(11), node_id(12)]);
        world.apply(gone);
        assert_eq!(unheard.look(&world.state, begun + FIRST_WORD_TIME_MAX * 2), []);
        assert_eq!(world.state.nodes().count(), 3);
    }

    #[test]
    fn who_comes_just_in_time_stays() {
        let mut world = world();
        let (mut unheard, begun) = (Unheard::default(), Moment(1_000));
        unheard.look(&world.state, begun);
        let there = world.state.node(node_id(11)).unwrap();
        let status = NodeStatus::new(NodeState::Ready, "", "10.0.0.9");
        let came = Node { status, ..Node::clone(there) };
        world.apply(vec![Change::PutNode(Box::new(came))]);
        assert_eq!(unheard.look(&world.state, begun + FIRST_WORD_TIME_MAX).len(), 1);
    }
}
