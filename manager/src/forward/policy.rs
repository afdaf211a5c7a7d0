//! Which calls are the leader's, which may be asked twice, and what to do with one now.

use skep_proto::model::NodeId;
use skep_proto::pb::{authority_server, ca_server, control_server, membership_server};

use crate::store::State;

/// Calls that any manager answers although their service is the leader's: a joiner may ask whomever it reaches for the root, which never
/// changes without every manager knowing; and whoever asks who is at an address means that one.
const ANYWHERE: [(&str, &str); 2] = [(ca_server::SERVICE_NAME, "GetRoot"), (membership_server::SERVICE_NAME, "Probe")];

/// The leader, as the state knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Of its Raft member.
    pub raft_id: u64,
    /// Its node.
    pub node: NodeId,
    /// HOST:PORT.
    pub address: String,
    /// For messages: hostname and address.
    pub name: String,
}

/// What to do with a call that is the leader's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Answer it here.
    Serve,
    /// Pass it on.
    Pass(Target),
    /// It was passed on to the wrong manager; that one leads.
    Decline(u64),
}

/// Whether only the leader can answer the call: all that people ask of the cluster, and joining and leaving.
#[must_use]
pub fn is_the_leaders(path: &str) -> bool {
    let (service, method) = parts(path);
    let leaders = [
        authority_server::SERVICE_NAME,
        ca_server::SERVICE_NAME,
        control_server::SERVICE_NAME,
        membership_server::SERVICE_NAME,
    ];
    leaders.contains(&service) && !ANYWHERE.contains(&(service, method))
}

/// Whether the call changes nothing, so that it may be asked again whatever became of it. Its name says so.
#[must_use]
pub fn only_looks(path: &str) -> bool {
    let (_, method) = parts(path);
    ["Get", "List", "Watch"].iter().any(|word| method.starts_with(word)) || method.ends_with("Logs")
}

/// Whether a manager that finds no leader answers the call from what it knows itself: the unlock key is wanted most when the others are
/// locked, which are then too few to elect anybody. Its id tells whether it is the one that they ask for.
#[must_use]
pub fn is_better_old_than_never(path: &str) -> bool {
    parts(path) == (control_server::SERVICE_NAME, "GetUnlockKey")
}

/// Whether this manager makes sure that it still leads before it answers the call: whoever looks must see all that was acknowledged to
/// anybody before, and whoever asks for a change of the cluster is judged by what they may do now.
#[must_use]
pub fn needs_the_newest(path: &str) -> bool {
    parts(path).0 == control_server::SERVICE_NAME || only_looks(path)
}

fn parts(path: &str) -> (&str, &str) {
    path.trim_start_matches('/').split_once('/').unwrap_or_default()
}

/// What to do, given who leads. `passed_on`: another manager sent it here. `None`: wait, because nobody is known to lead, or not where.
#[must_use]
pub fn turn(own: u64, leader: Option<u64>, passed_on: bool, state: &State) -> Option<Turn> {
    match leader? {
        leader if leader == own => Some(Turn::Serve),
        leader if passed_on => Some(Turn::Decline(leader)),
        leader => target(state, leader).map(Turn::Pass),
    }
}

/// Where that leader is, once the state knows.
fn target(state: &State, leader: u64) -> Option<Target> {
    let node = state.manager(leader)?;
    let address = node.manager.as_ref()?.address.clone();
    let name = format!("{} at {address}", node.description.hostname);
    Some(Target { raft_id: leader, node: node.id, address, name })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::manager_state;

    #[test]
    fn the_leader_is_asked_about_the_cluster_and_by_joiners() {
        for path in [
            "/skep.v1.Control/CreateService",
            "/skep.v1.Control/ServiceLogs",
            "/skep.v1.Ca/Join",
            "/skep.v1.Membership/Join",
        ] {
            assert!(is_the_leaders(path), "{path}");
        }
        for path in [
            "/skep.v1.Ca/GetRoot",
            "/skep.v1.Dispatcher/Session",
            "/skep.v1.Raft/Converse",
            "/skep.v1.Membership/Probe",
            "/x",
            "",
            "//",
        ] {
            assert!(!is_the_leaders(path), "{path}");
        }
    }

    #[test]
    fn what_only_looks_may_be_asked_again() {
        for path in ["/skep.v1.Control/GetNode", "/skep.v1.Control/ListTasks", "/skep.v1.Control/ServiceLogs"] {
            assert!(only_looks(path), "{path}");
        }
        for path in ["/skep.v1.Control/CreateService", "/skep.v1.Ca/Renew", "/skep.v1.Control/RemoveNode", ""] {
            assert!(!only_looks(path), "{path}");
        }
    }

    #[test]
    fn what_people_ask_is_answered_by_who_certainly_leads() {
        for path in ["/skep.v1.Control/GetNode", "/skep.v1.Control/UpdateNode", "/skep.v1.Authority/GetRoot"] {
            assert!(needs_the_newest(path), "{path}");
        }
        for path in ["/skep.v1.Ca/Renew", "/skep.v1.Membership/Leave", ""] {
            assert!(!needs_the_newest(path), "{path}");
        }
    }

    #[test]
    fn only_the_unlock_key_is_told_without_a_leader() {
        assert!(is_better_old_than_never("/skep.v1.Control/GetUnlockKey"));
        for path in ["/skep.v1.Control/RotateUnlockKey", "/skep.v1.Control/GetCluster", "/skep.v1.Ca/GetUnlockKey"] {
            assert!(!is_better_old_than_never(path), "{path}");
        }
    }

    #[test]
    fn a_call_is_passed_on_once_and_only_to_a_leader_whose_place_is_known() {
        let state = manager_state(&[(1, "10.0.0.1:2377"), (2, "10.0.0.2:2377")]);
        assert_eq!(turn(1, Some(1), false, &state), Some(Turn::Serve));
        assert_eq!(turn(1, Some(1), true, &state), Some(Turn::Serve));
        assert_eq!(turn(1, Some(2), true, &state), Some(Turn::Decline(2)));
        assert_eq!(turn(1, Some(9), false, &state), None);
        assert_eq!(turn(1, None, true, &state), None);
        let Some(Turn::Pass(target)) = turn(1, Some(2), false, &state) else { panic!("it is passed on") };
        assert_eq!(
            (target.raft_id, target.address.as_str(), target.name.as_str()),
            (2, "10.0.0.2:2377", "m2 at 10.0.0.2:2377")
        );
    }
}
