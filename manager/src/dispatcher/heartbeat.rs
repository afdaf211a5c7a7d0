//! Which nodes have been silent for too long. One ordered set for all of them: a beat does not touch it. A deadline that comes
//! up asks when the node was last heard and moves there, so a node costs one step a grace, not one a beat.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skep_proto::model::moment::millis;
use skep_proto::model::{Moment, NodeId};

use super::sight::Sight;

/// Silence for so many periods is Down: two beats may be lost or late. It is found out a little earlier, by a part of a period, so that it is
/// also written by then and whoever asks is told.
const GRACE_PERIODS: u32 = 3;
const EARLIER_PART: u32 = 10;
/// A leader hears at most so many beats a second. One and its answer cost it some 130 microseconds on a machine that is busy besides, so
/// they are an eighth of a core; beyond, the period grows with the cluster instead of the load.
const BEATS_PER_SECOND: usize = 1_000;
/// Deadlines are rounded up to this, so that thousands of nodes wake the loop twenty times a second at most.
const SLOT_MS: u64 = 50;
/// How long an agent may take to notice that its manager is gone without a word, and to find another one, whatever its period is:
/// with the election before, its ping has gone unanswered by then.
const RETURN_TIME_MIN: Duration = Duration::from_millis(2_900);
/// What one agent's way to a new leader costs us: its TLS handshake and its complete set.
const RETURN_COST: Duration = Duration::from_millis(2);

/// The period of all nodes before jitter: the wanted one, or the least multiple of it that can carry so many nodes. In steps, because
/// every node is told of another period.
#[must_use]
pub fn scaled(wanted: Duration, nodes: usize) -> Duration {
    let least = nodes.saturating_mul(1_000) / BEATS_PER_SECOND;
    let times = u64::try_from(least).unwrap_or(u64::MAX).div_ceil(millis(wanted).max(1)).max(1);
    wanted.saturating_mul(u32::try_from(times).unwrap_or(u32::MAX))
}

/// One node's period: up to a tenth shorter, by its id, so that the beats of many do not fall together.
#[must_use]
pub fn jittered(period: Duration, node: NodeId) -> Duration {
    let tenths_of_percent = u32::try_from(node.bits() % 100).unwrap_or(0);
    period * (1000 - tenths_of_percent) / 1000
}

/// How long a node may be silent.
#[must_use]
pub fn grace(period: Duration) -> Duration {
    period.saturating_mul(GRACE_PERIODS) - period / EARLIER_PART
}

/// What nodes are asked for, and how long they may be silent while the news of another period is on its way to them.
#[derive(Clone, Copy, Debug)]
pub struct Rhythm {
    period: Duration,
    /// The longer grace of before, and until when it holds.
    before: Option<(Duration, Moment)>,
}

impl Rhythm {
    /// One period, and no other before it.
    #[must_use]
    pub fn new(period: Duration) -> Self {
        Self { period, before: None }
    }

    /// Another period is asked for from now on. For one grace of the old one that holds, too: a node may have heard of the new
    /// one only after it had begun to wait for the old.
    pub fn change(&mut self, period: Duration, now: Moment) {
        let grace = self.grace(now);
        if std::mem::replace(&mut self.period, period) != period {
            self.before = Some((grace, now + grace));
        }
    }

    /// How long a node may be silent now.
    #[must_use]
    pub fn grace(&self, now: Moment) -> Duration {
        let longer = self.before.filter(|(_, until)| now < *until).map_or(Duration::ZERO, |(longer, _)| longer);
        grace(self.period).max(longer)
    }

    /// The period that nodes are asked for, before jitter.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }
}

/// How long a node that the last leader saw alive may take to find the new one: the grace, and time for us to receive all.
/// Docker doubles its grace; in a small cluster that only keeps the tasks of a dead leader's machine waiting.
#[must_use]
pub fn return_grace(period: Duration, nodes: usize) -> Duration {
    grace(period).max(RETURN_TIME_MIN) + RETURN_COST.saturating_mul(u32::try_from(nodes).unwrap_or(u32::MAX))
}

/// When each watched node is to be looked at.
#[derive(Clone, Debug, Default)]
pub struct Deadlines {
    due: BTreeSet<(Moment, NodeId)>,
    of: BTreeMap<NodeId, Moment>,
}

impl Deadlines {
    /// Looks at the node then, and not at another time.
    pub fn set(&mut self, node: NodeId, at: Moment) {
        self.clear(node);
        let at = Moment(at.0.div_ceil(SLOT_MS).saturating_mul(SLOT_MS));
        self.of.insert(node, at);
        self.due.insert((at, node));
    }

    /// Watches the node no more.
    pub fn clear(&mut self, node: NodeId) {
        if let Some(at) = self.of.remove(&node) {
            self.due.remove(&(at, node));
        }
    }

    /// Whether the node is watched.
    #[must_use]
    pub fn watches(&self, node: NodeId) -> bool {
        self.of.contains_key(&node)
    }

    /// When the next node is to be looked at.
    #[must_use]
    pub fn next(&self) -> Option<Moment> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the nodes whose time is up. `heard` tells when a node with a session was last heard; one that was heard within the
    /// grace is looked at again when that ends. Whoever cannot see judges nobody.
    pub fn expire(&mut self, sight: Sight, grace: Duration, heard: impl Fn(NodeId) -> Option<Moment>) -> Vec<NodeId> {
        let now = sight.as_of;
        let mut silent = Vec::new();
        while let Some((_, node)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            let again = if sight.is_dim() { Some(now + grace) } else { heard(node).map(|at| at + grace) };
            match again.filter(|at| *at > now) {
                Some(at) => self.set(node, at),
                None => {
                    self.clear(node);
                    silent.push(node);
                }
            }
        }
        silent
    }
}

/// For messages: `3.0 s`.
#[must_use]
pub fn seconds(span: Duration) -> String {
    let ms = millis(span);
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn silence_for_three_periods_is_down_when_they_are_over() {
        let mut deadlines = Deadlines::default();
        deadlines.set(NodeId::new(1), Moment(0) + grace(SECOND));
        assert!(deadlines.expire(Sight::clear(Moment(2_899)), grace(SECOND), |_| Some(Moment(0))).is_empty());
        assert_eq!(deadlines.expire(Sight::clear(Moment(2_950)), grace(SECOND), |_| Some(Moment(0))), [NodeId::new(1)]);
        assert!(!deadlines.watches(NodeId::new(1)));
    }

    #[test]
    fn a_node_that_was_heard_gets_a_whole_grace_from_then() {
        let mut deadlines = Deadlines::default();
        deadlines.set(NodeId::new(1), Moment(3_000));
        let now = Sight::clear(Moment(3_000));
        assert!(deadlines.expire(now, grace(SECOND), |_| Some(Moment(2_500))).is_empty());
        assert_eq!(deadlines.next(), Some(Moment(5_400)));
    }

    #[test]
    fn what_was_read_while_we_caught_up_counts_and_nobody_is_judged_beyond_it() {
        let mut deadlines = Deadlines::default();
        [1, 2, 3]
            .into_iter()
            .for_each(|node| deadlines.set(NodeId::new(node), Moment(3_000 + u64::from(node == 3) * 100)));
        // Node 2's word lay unread; the deadline of node 3 came up while we read.
        let sight = Sight::caught_up(Moment(3_000), Moment(3_050), Moment(3_900));
        let heard = |node| Some(if node == NodeId::new(2) { Moment(3_400) } else { Moment(0) });
        assert_eq!(deadlines.expire(sight, grace(SECOND), heard), [NodeId::new(1)]);
        assert_eq!(deadlines.next(), Some(Moment(3_100)));
    }

    #[test]
    fn our_own_sleep_is_nobodys_silence() {
        let mut deadlines = Deadlines::default();
        deadlines.set(NodeId::new(1), Moment(3_000));
        let asleep = Sight::caught_up(Moment(3_000), Moment(60_000), Moment(60_001));
        assert!(deadlines.expire(asleep, grace(SECOND), |_| Some(Moment(0))).is_empty());
        let awake = Sight::clear(Moment(63_000));
        assert_eq!(deadlines.expire(awake, grace(SECOND), |_| Some(Moment(0))), [NodeId::new(1)]);
    }

    #[test]
    fn the_period_grows_with_the_cluster_and_differs_by_node() {
        assert_eq!(scaled(SECOND, 1), SECOND);
        assert_eq!(scaled(SECOND, 1_000), SECOND);
        assert_eq!(scaled(SECOND, 1_001), SECOND * 2);
        assert_eq!(scaled(SECOND, 5_000), SECOND * 5);
        assert_eq!(scaled(SECOND * 2, 5_000), SECOND * 6);
        assert_eq!(scaled(SECOND * 10, 5_000), SECOND * 10, "one that is slow enough is left alone");
        assert_eq!(scaled(SECOND / 10, 101), SECOND / 5);
        assert_eq!(scaled(Duration::ZERO, 5), Duration::ZERO, "before there is a cluster");
        assert_eq!(jittered(SECOND, NodeId::new(0)), SECOND);
        assert_eq!(jittered(SECOND, NodeId::new(99)), Duration::from_millis(901));
        assert_eq!(return_grace(SECOND, 3), Duration::from_millis(2_906));
        assert_eq!(return_grace(SECOND / 10, 0), RETURN_TIME_MIN, "a quick heartbeat is noticed to be gone no sooner");
    }

    #[test]
    fn a_quicker_rhythm_counts_once_everybody_can_know_of_it() {
        let mut rhythm = Rhythm::new(SECOND * 10);
        rhythm.change(SECOND, Moment(1_000));
        assert_eq!(rhythm.period(), SECOND);
        assert_eq!(rhythm.grace(Moment(29_999)), grace(SECOND * 10));
        assert_eq!(rhythm.grace(Moment(30_000)), grace(SECOND));
        rhythm.change(SECOND, Moment(40_000));
        assert_eq!(rhythm.grace(Moment(40_000)), grace(SECOND), "the same again is no change");
    }

    #[test]
    fn a_slower_rhythm_counts_at_once() {
        let mut rhythm = Rhythm::new(SECOND);
        rhythm.change(SECOND * 10, Moment(0));
        assert_eq!(rhythm.grace(Moment(0)), grace(SECOND * 10));
        rhythm.change(SECOND, Moment(1));
        rhythm.change(SECOND / 2, Moment(2));
        assert_eq!(rhythm.grace(Moment(28_000)), grace(SECOND * 10), "what was long before both changes still holds");
    }

    proptest! {
        #[test]
        fn nobody_is_lost_and_nobody_expires_early(beats in prop::collection::vec((0u128..20, 0u64..10_000), 1..200)) {
            let mut deadlines = Deadlines::default();
            let mut last = BTreeMap::new();
            for (node, at) in beats {
                let node = NodeId::new(node);
                let heard = last.entry(node).or_insert(Moment(at));
                *heard = (*heard).max(Moment(at));
                deadlines.set(node, Moment(at) + grace(SECOND));
            }
            let mut expired = BTreeMap::new();
            for tick in (0..20_000).step_by(50) {
                for node in deadlines.expire(Sight::clear(Moment(tick)), grace(SECOND), |n| last.get(&n).copied()) {
                    expired.insert(node, Moment(tick));
                }
            }
            for (node, heard) in last {
                let silence = expired[&node].since(heard);
                prop_assert!(silence >= grace(SECOND) && silence <= grace(SECOND) + SECOND, "{silence:?}");
            }
        }
    }
}
