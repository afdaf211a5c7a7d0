//! What can be said of the swarm's managers while none leads.

use std::collections::BTreeSet;
use std::fmt;

use skep_proto::model::Node;

use crate::store::State;

/// Managers named one by one. With more missing, the number says enough.
const NAMED_MAX: usize = 5;

/// How many managers there are, and which of them this one hears.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outlook {
    managers: usize,
    heard: usize,
    silent: Vec<String>,
    /// A manager that starts again waits for the unlock key.
    locking: bool,
    estranged: bool,
}

impl Outlook {
    /// From the state, and from whom Raft has heard, this manager counted. An empty set knows nothing.
    #[must_use]
    pub fn new(state: &State, heard: &BTreeSet<u64>) -> Self {
        let is_heard = |node: &Node| node.manager.as_ref().is_some_and(|manager| heard.contains(&manager.raft_id));
        let managers = state.managers().count();
        if heard.is_empty() {
            return Self { managers, heard: managers, ..Self::default() };
        }
        let silent: Vec<String> = state.managers().filter(|node| !is_heard(node)).map(|node| name(node)).collect();
        let locking = state.cluster().is_some_and(|cluster| cluster.lock.key.is_some());
        Self { managers, heard: managers - silent.len(), silent, locking, estranged: false }
    }

    /// The same, when this node knows that managers answer and neither takes the other's certificate.
    #[must_use]
    pub fn estranged(self, estranged: bool) -> Self {
        Self { estranged, ..self }
    }

    /// Managers that an election needs.
    fn quorum(&self) -> usize {
        self.managers / 2 + 1
    }

    fn silent(&self) -> String {
        let named: Vec<&str> = self.silent.iter().take(NAMED_MAX).map(String::as_str).collect();
        let more = if self.silent.len() > NAMED_MAX { ", ..." } else { "" };
        format!("{}{more}", named.join(", "))
    }
}

fn name(node: &Node) -> String {
    let address = node.manager.as_ref().map_or("", |manager| manager.address.as_str());
    format!("{} at {address}", node.description.hostname)
}

impl Outlook {
    /// For whoever asks this manager how it is: what is lost, what goes on, and what to type.
    #[must_use]
    pub fn explain(&self) -> String {
        let Self { managers, heard, .. } = self;
        let (quorum, lost) = (self.quorum(), self.managers - self.heard);
        if self.estranged {
            return LEFT_BEHIND.to_owned();
        }
        if *heard >= quorum {
            return NOT_YET.to_owned();
        }
        format!(
            "the swarm has lost its quorum: {lost} of its {managers} managers do not answer ({}), and {quorum} are needed to decide \
             anything; running tasks go on, but nothing can be changed or listed, and no task is started or moved; {}",
            self.silent(),
            self.way_out()
        )
    }

    /// Which of the two it is, only a person can know.
    fn way_out(&self) -> String {
        let unlock = if self.locking { " and unlock them with `skep swarm unlock` there" } else { "" };
        format!(
            "start the missing managers again{unlock}, or, if they are gone for good, go on from this one with `skep swarm init \
             --force-new-cluster`"
        )
    }
}

/// While an election is under way, and in the first moments of a manager.
const NOT_YET: &str =
    "this manager hears of no leader at present: the managers elect one, or this one has not found them yet";

/// What a manager is told that was away while the root was replaced.
pub const LEFT_BEHIND: &str = "the other managers answer, but do not know this one's certificate (any more): it was left behind when the \
                               swarm's root certificate was replaced; its tasks run on; to bring it back, leave with `skep swarm leave \
                               --force` here and join again with a new token";

impl fmt::Display for Outlook {
    /// Why there is no leader, and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { managers, heard, .. } = self;
        let (quorum, lost) = (self.quorum(), self.managers - self.heard);
        if self.estranged {
            return f.write_str(LEFT_BEHIND);
        }
        if *managers == 0 {
            return write!(f, "this manager has no state of the swarm yet; try again in a moment");
        }
        if *heard >= quorum {
            return write!(
                f,
                "none was elected in time among its {managers} managers; nothing was changed; try again in a moment, and read \
                 the managers' logs if it stays so"
            );
        }
        write!(
            f,
            "{lost} of its {managers} managers do not answer ({}) and {quorum} are needed to elect one; nothing was changed, and \
             tasks run on; {}",
            self.silent(),
            self.way_out()
        )
    }
}

#[cfg(test)]
mod tests {
    use skep_proto::model::{Cluster, UnlockKey};

    use super::*;
    use crate::fixture::{World, manager_state};
    use crate::store::Change;

    fn outlook(managers: &[u64], heard: &[u64]) -> String {
        let managers: Vec<(u64, String)> = managers.iter().map(|id| (*id, format!("10.0.0.{id}:2377"))).collect();
        let managers: Vec<(u64, &str)> = managers.iter().map(|(id, address)| (*id, address.as_str())).collect();
        Outlook::new(&manager_state(&managers), &heard.iter().copied().collect()).to_string()
    }

    #[test]
    fn a_lost_quorum_is_told_with_the_arithmetic_and_the_way_out() {
        let text = outlook(&[1, 2, 3], &[1]);
        for words in ["2 of its 3 managers do not answer", "m2 at 10.0.0.2:2377, m3 at 10.0.0.3:2377", "2 are needed"] {
            assert!(text.contains(words), "{text}");
        }
        assert!(text.contains("start the missing managers") && text.contains("tasks run on"), "{text}");
        assert!(text.contains("`skep swarm init --force-new-cluster`"), "{text}");
    }

    #[test]
    fn a_manager_that_is_asked_how_it_is_tells_what_goes_on_without_a_quorum() {
        let state = manager_state(&[(1, "10.0.0.1:2377"), (2, "10.0.0.2:2377"), (3, "10.0.0.3:2377")]);
        let text = |heard: &[u64]| Outlook::new(&state, &heard.iter().copied().collect()).explain();
        for words in ["2 of its 3 managers do not answer (m1 at", "running tasks go on", "--force-new-cluster"] {
            assert!(text(&[2]).contains(words), "{}", text(&[2]));
        }
        assert!(text(&[1, 2]).starts_with("this manager hears of no leader at present"));
        assert_eq!(text(&[]), text(&[1, 2]), "it has not had the time to hear anybody");
    }

    #[test]
    fn an_election_that_takes_long_is_no_lost_quorum() {
        for heard in [&[1, 2][..], &[]] {
            let text = outlook(&[1, 2, 3], heard);
            assert!(text.contains("none was elected in time") && !text.contains("missing"), "{text}");
        }
        assert!(outlook(&[], &[1]).contains("no state of the swarm yet"));
    }

    #[test]
    fn managers_that_lock_themselves_may_only_be_waiting_for_their_key() {
        let mut world = World { state: manager_state(&[(1, "a:1"), (2, "b:1"), (3, "c:1")]), ..World::new(0) };
        world.history(5);
        let alone = BTreeSet::from([1]);
        let text = Outlook::new(&world.state, &alone).explain();
        assert!(!text.contains("unlock"), "{text}");
        let cluster = world.state.cluster().unwrap();
        let lock = cluster.lock.with(Some(UnlockKey::new([7; 32])));
        let locking = Cluster { lock, ..Cluster::clone(cluster) };
        world.apply(vec![Change::PutCluster(Box::new(locking))]);
        let text = Outlook::new(&world.state, &alone).explain();
        assert!(text.contains("again and unlock them with `skep swarm unlock` there, or, if"), "{text}");
    }

    #[test]
    fn a_manager_that_was_left_behind_is_not_told_to_go_on_alone() {
        let state = manager_state(&[(1, "10.0.0.1:2377"), (2, "10.0.0.2:2377"), (3, "10.0.0.3:2377")]);
        let outlook = Outlook::new(&state, &BTreeSet::from([1])).estranged(true);
        for text in [outlook.explain(), outlook.to_string()] {
            assert!(text.contains("left behind") && text.contains("`skep swarm leave --force`"), "{text}");
            assert!(!text.contains("--force-new-cluster"), "{text}");
        }
    }

    #[test]
    fn not_every_one_of_many_is_named() {
        let text = outlook(&[1, 2, 3, 4, 5, 6, 7, 8, 9], &[1]);
        assert!(text.contains("8 of its 9") && text.contains(", ...)"), "{text}");
    }
}
