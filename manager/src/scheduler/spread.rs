//! In which order nodes get the tasks of a group: one at a time to the best, so that they fill up level.
//!
//! The best node is the one where this spec version failed least lately, then with the fewest tasks of the service, then with
//! the fewest tasks; what is still equal the seed decides. Preferences come before all of it: they make a tree of label
//! values, and at each fork the branch with the fewest tasks of the service is next. Each choice costs the logarithm of the
//! number of nodes.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeMap, BinaryHeap};

use skep_proto::model::{Seed, label_of};

use super::filter::Need;
use super::node_set::NodeSet;

/// A node that may have room for a task. Fields in the order in which they are compared; the least is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seat {
    penalty: u32,
    here: u32,
    active: u32,
    tie: u32,
    node: u32,
    /// For how many tasks there is room; zero until the node is the best for the first time. Most nodes never are, and need
    /// not be asked whether they satisfy the constraints.
    room: u32,
}

/// The nodes that the group's tasks may go to.
#[derive(Debug)]
pub(super) struct Spread {
    root: Branch,
}

/// Nodes that share a preference's label value, and the values before it.
#[derive(Debug)]
enum Branch {
    Leaf(BinaryHeap<Reverse<Seat>>),
    /// How many tasks of the service each branch has and which it is, and the branches.
    Fork(BinaryHeap<Reverse<(u64, usize)>>, Vec<Branch>),
}

impl Spread {
    /// Puts the nodes in order. `penalties` are by node number.
    pub(super) fn new(nodes: &NodeSet<'_>, need: &Need<'_>, penalties: &BTreeMap<usize, u32>, mut seed: Seed) -> Self {
        let salt = seed.draw();
        let penalty = |index| if penalties.is_empty() { 0 } else { penalties.get(&index).copied().unwrap_or(0) };
        let seat = |index| Seat {
            penalty: penalty(index),
            here: nodes.here(index),
            active: nodes.get(index).active,
            tie: tie(index, salt),
            node: u32::try_from(index).expect("there are fewer nodes than that"),
            room: 0,
        };
        Self { root: grow(nodes, &need.placement.spread, (0..nodes.len()).map(seat).collect()) }
    }

    /// The node for the next task; `None` when there is no room left.
    pub(super) fn take(&mut self, nodes: &NodeSet<'_>, need: &Need<'_>) -> Option<usize> {
        self.root.take(nodes, need)
    }
}

/// A number that differs from node to node and from pass to pass.
fn tie(index: usize, salt: u128) -> u32 {
    let mixed = (salt ^ u128::try_from(index).unwrap_or(0)).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    u32::try_from(mixed >> 96).expect("32 bits are left")
}

/// Sorts seats by the first preference, and each branch by the next ones. Tasks on nodes that take no more count for their
/// branch, too: they are there.
fn grow(nodes: &NodeSet<'_>, keys: &[String], seats: Vec<Seat>) -> Branch {
    let Some((key, deeper)) = keys.split_first() else { return leaf(nodes, seats) };
    let mut values: BTreeMap<&str, Vec<Seat>> = BTreeMap::new();
    for seat in seats {
        values.entry(label_of(key, nodes.get(seat.index()).node)).or_default().push(seat);
    }
    let (mut order, mut branches) = (Vec::new(), Vec::new());
    for seats in values.into_values() {
        let count = seats.iter().map(|seat| u64::from(seat.here)).sum();
        order.push(Reverse((count, branches.len())));
        branches.push(grow(nodes, deeper, seats));
    }
    Branch::Fork(BinaryHeap::from(order), branches)
}

fn leaf(nodes: &NodeSet<'_>, seats: Vec<Seat>) -> Branch {
    let open = seats.into_iter().filter(|seat| nodes.get(seat.index()).open);
    Branch::Leaf(BinaryHeap::from(open.map(Reverse).collect::<Vec<_>>()))
}

impl Seat {
    fn index(self) -> usize {
        usize::try_from(self.node).expect("a number of 32 bits fits")
    }
}

impl Branch {
    fn take(&mut self, nodes: &NodeSet<'_>, need: &Need<'_>) -> Option<usize> {
        match self {
            Self::Leaf(seats) => take_seat(seats, |index| need.room(nodes, index).unwrap_or(0)),
            Self::Fork(order, branches) => take_branch(order, branches, nodes, need),
        }
    }
}

/// Takes from the best node. One that turns out to have no room, or has none left, drops out.
fn take_seat(seats: &mut BinaryHeap<Reverse<Seat>>, room: impl Fn(usize) -> u32) -> Option<usize> {
    loop {
        let mut best = seats.peek_mut()?;
        let index = best.0.index();
        let left = if best.0.room == 0 { room(index) } else { best.0.room };
        if left > 1 {
            let seat = &mut best.0;
            (seat.here, seat.active, seat.room) = (seat.here + 1, seat.active + 1, left - 1);
        } else {
            PeekMut::pop(best);
        }
        if left > 0 {
            return Some(index);
        }
    }
}

/// Takes from the branch with the fewest tasks. One that is full drops out, and its share goes to the others.
fn take_branch(
    order: &mut BinaryHeap<Reverse<(u64, usize)>>,
    branches: &mut [Branch],
    nodes: &NodeSet<'_>,
    need: &Need<'_>,
) -> Option<usize> {
    while let Some(mut least) = order.peek_mut() {
        if let Some(node) = branches[least.0.1].take(nodes, need) {
            least.0.0 += 1;
            return Some(node);
        }
        PeekMut::pop(least);
    }
    None
}
