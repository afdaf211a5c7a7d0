//! What the state says first when a cluster goes on with one manager, after the others were lost or from a backup.

use skep_proto::model::{Cluster, ManagerStatus, Moment, Node, NodeId, NodeRole};

use crate::store::{Change, State, Transaction};

/// Addresses that are kept: more managers than any Raft group has, over several lives.
const FORMER_MAX: usize = 64;

/// The first change of the new life: a later era, and this node as the only member. The other managers stay nodes that are wanted as
/// managers, without a seat: one that comes back asks for one, as any that lost its log. Whoever is gone for good is to be demoted and
/// removed by a person, as any node. `None`: there is no cluster, or it does not know this node.
#[must_use]
pub fn alone(state: &State, node: NodeId, seat: &ManagerStatus, now: Moment) -> Option<Transaction> {
    let own = seated(state.node(node)?, seat);
    with_one_manager(state, own, now)
}

/// The same for a cluster that is taken from a backup by a machine that was no node of it.
#[must_use]
pub fn restored(state: &State, newcomer: &Node, seat: &ManagerStatus, now: Moment) -> Option<Transaction> {
    with_one_manager(state, seated(newcomer, seat), now)
}

fn with_one_manager(state: &State, own: Node, now: Moment) -> Option<Transaction> {
    let cluster = state.cluster()?;
    let era = cluster.era.next(now);
    // Managers that were left behind may have another unlock key by now; they are to follow this cluster again.
    let lock = cluster.lock.in_era(era);
    let others = || state.managers().filter(|other| other.id != own.id);
    let former_managers = former(others().filter_map(|other| other.manager.as_ref()), cluster, &own);
    let cluster = Change::PutCluster(Box::new(Cluster { era, lock, former_managers, ..Cluster::clone(cluster) }));
    let others = others().map(|other| Node { manager: None, ..Node::clone(other) });
    let nodes = std::iter::once(own.clone()).chain(others).map(|node| Change::PutNode(Box::new(node)));
    let changes = std::iter::once(cluster).chain(nodes).collect();
    Some(Transaction { changes, at: now })
}

/// Where those who may still live in an earlier era are told of this one: the newest first. Nobody else is where this manager is now.
fn former<'a>(others: impl Iterator<Item = &'a ManagerStatus>, cluster: &Cluster, own: &Node) -> Vec<String> {
    let here = own.manager.as_ref().map(|seat| &seat.address);
    let mut all: Vec<String> = Vec::new();
    for address in others.map(|other| &other.address).chain(&cluster.former_managers) {
        // One that never told its host is nowhere.
        if Some(address) != here && !address.starts_with(':') && !all.contains(address) {
            all.push(address.clone());
        }
    }
    all.truncate(FORMER_MAX);
    all
}

/// Whatever else was wanted of it: nobody else can do it now.
fn seated(own: &Node, seat: &ManagerStatus) -> Node {
    let mut node = own.clone();
    (node.role, node.spec.role, node.manager) = (NodeRole::Manager, NodeRole::Manager, Some(seat.clone()));
    node
}

#[cfg(test)]
mod tests {
    use skep_proto::model::{Era, Meta};

    use super::*;
    use crate::fixture::{World, manager_state, node_id};
    use crate::store::Touched;

    fn seat() -> ManagerStatus {
        ManagerStatus { raft_id: 77, address: "10.0.9.9:2377".into() }
    }

    #[test]
    fn one_manager_remains_and_the_others_stay_nodes_that_may_come_back() {
        let state = manager_state(&[(1, "10.0.0.1:2377"), (2, "10.0.0.2:2377"), (3, "10.0.0.3:2377")]);
        let mut world = World { state, ..World::new(0) };
        world.history(5);
        let mut state = world.state;
        let own = state.manager(2).unwrap().id;
        let now = Moment(5_000);
        let first = alone(&state, own, &seat(), now).unwrap();
        let index = state.index() + 100;
        assert!(state.apply(index, vec![first], &mut Touched::default())[0].is_ok());
        assert_eq!(state.managers().map(|node| node.id).collect::<Vec<_>>(), [own]);
        assert_eq!(state.node(own).unwrap().manager, Some(seat()));
        assert_eq!(state.nodes().filter(|node| node.spec.role == NodeRole::Manager).count(), 3);
        assert_eq!(state.cluster().unwrap().era, Era(5_000));
        assert_eq!(state.cluster().unwrap().lock.version, 5_000, "newer than any in the life before");
        assert_eq!(state.cluster().unwrap().former_managers, ["10.0.0.1:2377", "10.0.0.3:2377"]);
        let again = alone(&state, own, &seat(), Moment(1)).unwrap();
        state.apply(index + 1, vec![again], &mut Touched::default())[0].clone().unwrap();
        assert_eq!(state.cluster().unwrap().era, Era(5_001), "a clock that is behind makes no earlier era");
        assert_eq!(state.cluster().unwrap().former_managers, ["10.0.0.1:2377", "10.0.0.3:2377"], "they still may live");
    }

    #[test]
    fn a_state_that_does_not_know_this_node_is_not_gone_on_with() {
        let state = manager_state(&[(1, "10.0.0.1:2377")]);
        assert_eq!(alone(&state, node_id(99), &seat(), Moment(1)), None);
        assert_eq!(alone(&State::default(), node_id(1), &seat(), Moment(1)), None);
    }

    #[test]
    fn a_backup_gets_a_newcomer_for_its_only_manager() {
        let state = manager_state(&[(1, "10.0.0.1:2377"), (2, "10.0.0.2:2377")]);
        let mut world = World { state, ..World::new(0) };
        world.history(5);
        let mut state = world.state;
        let known = state.nodes().next().unwrap();
        let newcomer = Node { id: node_id(9), meta: Meta::default(), manager: None, ..Node::clone(known) };
        let first = restored(&state, &newcomer, &seat(), Moment(7)).unwrap();
        let index = state.index() + 1;
        assert!(state.apply(index, vec![first], &mut Touched::default())[0].is_ok());
        assert_eq!(state.managers().map(|node| node.id).collect::<Vec<_>>(), [newcomer.id]);
        assert_eq!(state.nodes().count(), 3);
    }
}
