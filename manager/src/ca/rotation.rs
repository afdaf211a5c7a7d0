//! The replacement of the root: whom to tell to renew, whom it waits for, when it is done.
//!
//! The order is what makes it safe. Certificates are signed by the new root from the first moment, and carry the cross-signed
//! certificate along, so that whoever trusts only the old root takes them. Every node is told to trust both; one that does is told to
//! renew, some at a time. When all have, the old root goes, and the tokens with it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skep_proto::model::{Cluster, Moment, NodeId, NodeState};

use crate::store::{RotationProgress, Soft, State};

/// Nodes that renew at the same time. Each costs the leader a signature and a share of an fsync, some milliseconds.
pub const BATCH: usize = 30;

/// A node that was told to renew and has not for so long does not keep others waiting any more: it tries on by itself.
pub const TURN: Duration = Duration::from_secs(10);

/// A node as the rotation sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Which.
    pub id: NodeId,
    /// It does not answer.
    pub is_down: bool,
    /// It trusts both roots.
    pub trusts: bool,
    /// Its certificate is of the new one.
    pub is_certified: bool,
    /// It is not waited for.
    pub is_abandoned: bool,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Nodes that are to renew now, with when each was told.
    pub told: BTreeMap<NodeId, Moment>,
    /// Everybody is there.
    pub is_done: bool,
    /// For people.
    pub progress: RotationProgress,
    /// When to look again if nothing happens before.
    pub wake_at: Option<Moment>,
}

/// What the new root and both together are called by agents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    /// Digest of the new root.
    pub root: Vec<u8>,
    /// Digest of both.
    pub trust: Vec<u8>,
}

/// The nodes as the rotation sees them; none when there is no rotation.
#[must_use]
pub fn members(state: &State, soft: &Soft, goal: &Goal) -> Vec<Member> {
    let Some(rotation) = state.cluster().and_then(|cluster| cluster.rotation.as_ref()) else { return Vec::new() };
    let member = |node: &skep_proto::model::Node| {
        let presented = soft.presented(node.id);
        let trusts = presented.is_some_and(|presented| presented.trust == goal.trust);
        Member {
            id: node.id,
            is_down: node.status.state == NodeState::Down,
            trusts,
            is_certified: trusts && presented.is_some_and(|presented| presented.root == goal.root),
            is_abandoned: rotation.abandoned.contains(&node.id),
        }
    };
    state.nodes().map(|node| member(node)).collect()
}

/// Decides. `told` is what the last plan said of whom it told.
#[must_use]
pub fn plan(members: &[Member], told: &BTreeMap<NodeId, Moment>, now: Moment) -> Plan {
    let ready = |member: &&Member| member.trusts && !member.is_certified && !member.is_down;
    let mut plan = Plan { progress: progress(members), ..Plan::default() };
    plan.is_done = plan.progress.certified == plan.progress.nodes && !members.is_empty();
    let waits = |at: &Moment| *at + TURN > now;
    plan.told = members.iter().filter(ready).filter_map(|member| Some((member.id, *told.get(&member.id)?))).collect();
    let mut room = BATCH.saturating_sub(plan.told.values().filter(|at| waits(at)).count());
    for member in members.iter().filter(ready) {
        if room > 0 && !plan.told.contains_key(&member.id) {
            plan.told.insert(member.id, now);
            room -= 1;
        }
    }
    plan.wake_at = plan.told.values().filter(|at| waits(at)).map(|at| *at + TURN).min();
    plan
}

fn progress(members: &[Member]) -> RotationProgress {
    let counted: Vec<&Member> = members.iter().filter(|member| !member.is_abandoned || member.is_certified).collect();
    let count = |has: fn(&Member) -> bool| counted.iter().filter(|member| has(member)).count();
    RotationProgress {
        nodes: counted.len(),
        trusting: count(|member| member.trusts),
        certified: count(|member| member.is_certified),
        waiting: counted.iter().filter(|m| !m.is_certified).map(|m| (m.id, m.is_down)).collect(),
    }
}

/// The cluster with the new root in the place of the old one. Tokens are of the old root's digest, so there must be new ones; those with
/// limits end.
#[must_use]
pub fn finished(cluster: &Cluster, worker_token: String, manager_token: String) -> Option<Cluster> {
    let mut after = cluster.clone();
    let next = after.rotation.take()?;
    (after.root_certificate, after.root_key) = (next.certificate, next.key);
    (after.worker_token, after.manager_token) = (worker_token, manager_token);
    after.grants.clear();
    Some(after)
}

/// Nodes that are left behind by a rotation that is done.
#[must_use]
pub fn left_behind(members: &[Member]) -> BTreeSet<NodeId> {
    members.iter().filter(|member| !member.is_certified).map(|member| member.id).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Moment = Moment(1_000_000);

    fn member(id: u128) -> Member {
        Member { id: NodeId::new(id), is_down: false, trusts: false, is_certified: false, is_abandoned: false }
    }

    fn trusting(id: u128) -> Member {
        Member { trusts: true, ..member(id) }
    }

    fn certified(id: u128) -> Member {
        Member { is_certified: true, ..trusting(id) }
    }

    #[test]
    fn who_does_not_trust_the_new_root_is_not_told_to_renew() {
        let plan = plan(&[member(1), trusting(2), certified(3)], &BTreeMap::new(), NOW);
        assert_eq!(plan.told, BTreeMap::from([(NodeId::new(2), NOW)]));
        assert!(!plan.is_done);
        assert_eq!((plan.progress.trusting, plan.progress.certified, plan.progress.nodes), (2, 1, 3));
    }

    #[test]
    fn a_down_node_is_waited_for_by_name_until_it_is_left_behind() {
        let down = Member { is_down: true, ..member(2) };
        let waiting = plan(&[certified(1), down], &BTreeMap::new(), NOW);
        assert_eq!((waiting.is_done, waiting.progress.waiting), (false, vec![(NodeId::new(2), true)]));
        let left = Member { is_abandoned: true, ..down };
        let done = plan(&[certified(1), left], &BTreeMap::new(), NOW);
        assert!(done.is_done && done.progress.waiting.is_empty());
        assert_eq!(left_behind(&[certified(1), left]), BTreeSet::from([NodeId::new(2)]));
    }

    #[test]
    fn nodes_renew_some_at_a_time_and_a_stuck_one_holds_nobody_up_for_long() {
        let all: Vec<Member> = (1..=100).map(trusting).collect();
        let first = plan(&all, &BTreeMap::new(), NOW);
        assert_eq!((first.told.len(), first.wake_at), (BATCH, Some(NOW + TURN)));
        assert_eq!(plan(&all, &first.told, NOW).told, first.told, "nobody else before some are done");
        let mut some = all.clone();
        (0..10).for_each(|i| some[i] = certified(all[i].id.bits()));
        let next = plan(&some, &first.told, NOW);
        assert_eq!(next.told.len(), BATCH, "ten are done and ten more are told");
        assert_eq!(plan(&all, &first.told, NOW + TURN).told.len(), BATCH * 2);
    }

    proptest! {
        #[test]
        fn it_ends_when_all_that_are_up_renew_and_never_before(count in 1usize..200, down in 0usize..3) {
            let mut members: Vec<Member> = (1..=count).map(|id| member(u128::try_from(id).unwrap())).collect();
            (0..down.min(count - 1)).for_each(|i| (members[i].is_down, members[i].is_abandoned) = (true, true));
            let (mut told, mut now, mut turns) = (BTreeMap::new(), NOW, 0);
            loop {
                let plan = plan(&members, &told, now);
                prop_assert_eq!(plan.is_done, members.iter().all(|m| m.is_certified || m.is_abandoned));
                if plan.is_done {
                    break;
                }
                let fresh = plan.told.values().filter(|at| **at + TURN > now).count();
                prop_assert!(fresh <= BATCH);
                for member in members.iter_mut().filter(|member| !member.is_down) {
                    member.is_certified |= plan.told.contains_key(&member.id);
                    member.trusts = true;
                }
                (told, now, turns) = (plan.told, now + Duration::from_millis(50), turns + 1);
                prop_assert!(turns < 20, "it goes on");
            }
        }
    }
}
