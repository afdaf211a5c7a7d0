//! The next step from the group that is to the group that is wanted.

use skep_proto::model::{ManagerStatus, Node, NodeId, NodeRole};

use crate::group::{Group, MemberChange, QuorumLoss};
use crate::store::{Change, State};

/// Entries that a learner may be behind when it is given its vote: what a round trip brings on a busy cluster.
const LAG_MAX: u64 = 1_000;

/// What is to be done. At most one step, because each changes what the next is computed from.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Both lists agree.
    Nothing,
    /// The group is to change.
    Group(MemberChange),
    /// This manager is to go, and leads: another is to lead first.
    HandOver,
    /// The state is to say what has come about.
    Write(Box<Change>),
}

/// A step, and why others wait.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What is to be done now.
    pub step: Step,
    /// For the log: what waits for what.
    pub reasons: Vec<String>,
}

/// Plans for the leader, whose Raft id is `own`.
#[must_use]
pub fn plan(state: &State, group: &Group, own: u64) -> Plan {
    let mut reasons = Vec::new();
    let managers: Vec<&Node> = state.nodes().map(AsRef::as_ref).filter(|node| concerns(node)).collect();
    let step = managers
        .iter()
        .find_map(|node| next_for(node, group, own, &mut reasons))
        .or_else(|| stranger(&managers, group, own, &mut reasons))
        .unwrap_or(Step::Nothing);
    Plan { step, reasons }
}

fn concerns(node: &Node) -> bool {
    node.manager.is_some() || node.role != node.spec.role
}

fn next_for(node: &Node, group: &Group, own: u64, reasons: &mut Vec<String>) -> Option<Step> {
    match (node.spec.role, &node.manager) {
        (NodeRole::Manager, Some(status)) => comes(status, group),
        // It has its certificate renewed when it hears of this, and then asks to join.
        (NodeRole::Manager, None) => write(node, NodeRole::Manager, None),
        (NodeRole::Worker, Some(status)) => goes(node, status, group, own, reasons),
        (NodeRole::Worker, None) => write(node, NodeRole::Worker, None),
    }
}

fn write(node: &Node, role: NodeRole, manager: Option<ManagerStatus>) -> Option<Step> {
    let changed = Node { role, manager, ..node.clone() };
    (changed != *node).then(|| Step::Write(Box::new(Change::PutNode(Box::new(changed)))))
}

fn comes(status: &ManagerStatus, group: &Group) -> Option<Step> {
    let id = status.raft_id;
    match group.member(id) {
        None => Some(Step::Group(MemberChange::AddLearner(id))),
        Some(member) if member.is_voter => None,
        Some(member) => {
            let caught_up = member.is_heard && member.matched + LAG_MAX >= group.committed;
            caught_up.then_some(Step::Group(MemberChange::Promote(id)))
        }
    }
}

fn goes(node: &Node, status: &ManagerStatus, group: &Group, own: u64, reasons: &mut Vec<String>) -> Option<Step> {
    let id = status.raft_id;
    if group.member(id).is_none() {
        return write(node, NodeRole::Worker, None);
    }
    if let Err(loss) = group.can_lose(id) {
        reasons.push(waits(node.id, loss));
        return None;
    }
    Some(if id == own { Step::HandOver } else { Step::Group(MemberChange::Remove(id)) })
}

fn waits(node: NodeId, loss: QuorumLoss) -> String {
    format!("manager {node} cannot go yet: failed to {loss}")
}

/// A member that no node is: its node was removed, or has joined anew under another id.
fn stranger(managers: &[&Node], group: &Group, own: u64, reasons: &mut Vec<String>) -> Option<Step> {
    let known = |id: u64| managers.iter().any(|node| node.manager.as_ref().is_some_and(|m| m.raft_id == id));
    let strangers = group.members.iter().map(|member| member.id).filter(|&id| id != own && !known(id));
    for id in strangers {
        match group.can_lose(id) {
            Ok(()) => return Some(Step::Group(MemberChange::Remove(id))),
            Err(loss) => reasons.push(format!("member {id} that is no node cannot go yet: failed to {loss}")),
        }
    }
    None
}

#[cfg(test)]
mod tests;
