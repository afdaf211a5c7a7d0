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

/// A node with room for a task. Fields in the order in which they are compared; the least is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seat {
    penalty: u32,
    here: u32,
    active: u32,
    tie: u32,
    node: u32,
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
    /// How many tasks of the service each branch has, which is drawn first among equals, and the branches.
    Fork(BinaryHeap<Reverse<(u64, usize)>>, Vec<Branch>),
}

/// A node on its way into the tree, with the tasks of the service there; without a seat when it takes none.
type Entry = (usize, u32, Option<Seat>);

impl Spread {
    /// Sorts the nodes that have room. `penalties` are by node number.
    pub(super) fn new(nodes: &NodeSet<'_>, need: &Need<'_>, penalties: &BTreeMap<usize, u32>, seed: Seed) -> Self {
        let (mut salt, plain) = (seed, need.placement.spread.is_empty());
        let salt = salt.draw();
        let entries = (0..nodes.len()).filter_map(|index| {
            let entry = entry(nodes, need, penalties, (index, salt));
            (!plain || entry.2.is_some()).then_some(entry)
        });
        let root = if plain { leaf(entries) } else { grow(nodes, &need.placement.spread, entries.collect()) };
        Self { root }
    }

    /// The node for the next task; `None` when there is no room left.
    pub(super) fn take(&mut self) -> Option<usize> {
        self.root.take()
    }
}

fn entry(nodes: &NodeSet<'_>, need: &Need<'_>, penalties: &BTreeMap<usize, u32>, which: (usize, u128)) -> Entry {
    let (index, salt) = which;
    let room = need.room(nodes, index);
    let counts = room.is_ok() || !need.placement.spread.is_empty();
    let here = if counts { nodes.here(index, need.service) } else { 0 };
    let seat = room.ok().map(|room| Seat {
        penalty: penalties.get(&index).copied().unwrap_or(0),
        here,
        active: nodes.get(index).active,
        tie: tie(index, salt),
        node: u32::try_from(index).expect("there are fewer nodes than that"),
        room,
    });
    (index, here, seat)
}

/// A number that differs from node to node and from pass to pass.
fn tie(index: usize, salt: u128) -> u32 {
    let mixed = (salt ^ u128::try_from(index).unwrap_or(0)).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    u32::try_from(mixed >> 96).expect("32 bits are left")
}

fn leaf(entries: impl Iterator<Item = Entry>) -> Branch {
    let seats: Vec<Reverse<Seat>> = entries.filter_map(|(_, _, seat)| seat.map(Reverse)).collect();
    Branch::Leaf(BinaryHeap::from(seats))
}

/// Sorts entries by the first preference, and each branch by the next ones. Tasks on nodes that take no more count for
/// their branch, too: they are there.
fn grow(nodes: &NodeSet<'_>, keys: &[String], entries: Vec<Entry>) -> Branch {
    let Some((key, deeper)) = keys.split_first() else { return leaf(entries.into_iter()) };
    let mut values: BTreeMap<&str, Vec<Entry>> = BTreeMap::new();
    for entry in entries {
        values.entry(label_of(key, nodes.get(entry.0).node)).or_default().push(entry);
    }
    let (mut order, mut branches) = (Vec::new(), Vec::new());
    for entries in values.into_values() {
        let count = entries.iter().map(|(_, here, _)| u64::from(*here)).sum();
        order.push(Reverse((count, branches.len())));
        branches.push(grow(nodes, deeper, entries));
    }
    Branch::Fork(BinaryHeap::from(order), branches)
}

impl Branch {
    fn take(&mut self) -> Option<usize> {
        match self {
            Self::Leaf(seats) => take_seat(seats),
            Self::Fork(order, branches) => take_branch(order, branches),
        }
    }
}

fn take_seat(seats: &mut BinaryHeap<Reverse<Seat>>) -> Option<usize> {
    let mut best = seats.peek_mut()?;
    let node = best.0.node;
    if best.0.room == 1 {
        PeekMut::pop(best);
    } else {
        let seat = &mut best.0;
        (seat.here, seat.active, seat.room) = (seat.here + 1, seat.active + 1, seat.room - 1);
    }
    Some(usize::try_from(node).expect("a number of 32 bits fits"))
}

/// Takes from the branch with the fewest tasks. One that is full drops out, and its share goes to the others.
fn take_branch(order: &mut BinaryHeap<Reverse<(u64, usize)>>, branches: &mut [Branch]) -> Option<usize> {
    while let Some(mut least) = order.peek_mut() {
        if let Some(node) = branches[least.0.1].take() {
            least.0.0 += 1;
            return Some(node);
        }
        PeekMut::pop(least);
    }
    None
}
