//! Which nodes a service has failed on lately. A node on which things fail at once has the fewest tasks of all, so without
//! a memory of it every replacement would go there again.

use std::collections::BTreeMap;
use std::time::Duration;

use skep_proto::model::{Moment, ServiceId, Task};

use super::node_set::NodeSet;
use crate::store::State;

/// After so long a failure weighs half. A minute is longer than most restart delays, so that the second attempt goes
/// elsewhere, and short enough that a node repaired is soon as good as any.
const HALF_LIFE: Duration = Duration::from_secs(60);

/// What a failure weighs at first: it is forgotten after as many halvings as this has bits, which is four minutes.
const WEIGHT: u32 = 8;

/// Adds what the slot's earlier tasks say of the nodes. Asked only for tasks that replace others: the memory is the slots'
/// history, in the state, and every leader has the same.
pub(super) fn add_penalties(
    state: &State,
    task: &Task,
    now: Moment,
    nodes: &NodeSet<'_>,
    penalties: &mut BTreeMap<usize, u32>,
) {
    for earlier in
        state.slot(task.service, task.slot).filter(|earlier| counts(earlier, task.service, task.spec_version))
    {
        let weight = weight(now.since(earlier.status.applied_at));
        let node = earlier.node.and_then(|node| nodes.find(node));
        if let Some(node) = node.filter(|_| weight > 0) {
            *penalties.entry(node).or_default() += weight;
        }
    }
}

fn counts(task: &Task, service: ServiceId, spec_version: u64) -> bool {
    task.service == service && task.spec_version == spec_version && task.status.state.is_failure()
}

/// What a failure so long ago weighs.
fn weight(age: Duration) -> u32 {
    let halvings = u32::try_from(age.as_secs() / HALF_LIFE.as_secs()).unwrap_or(u32::MAX);
    WEIGHT.checked_shr(halvings).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_weighs_half_every_minute_and_nothing_after_four() {
        let table = [(0, 8), (59, 8), (60, 4), (120, 2), (180, 1), (240, 0), (86_400_000, 0)];
        for (seconds, expected) in table {
            assert_eq!(weight(Duration::from_secs(seconds)), expected, "{seconds} s");
        }
    }
}
