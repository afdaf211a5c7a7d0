//! What waits for the next proposal.

use std::collections::BTreeMap;

use skep_proto::model::{Moment, NodeDescription, NodeId, NodeStatus, SessionId};

use crate::store::{Change, ProposeError, Reported, Transaction};

/// Statuses of one proposal. A RUNNING status has some 150 bytes, so a proposal stays below a megabyte; the rest waits
/// for the next one, a few milliseconds later.
pub const BATCH_MAX: usize = 4_096;

/// Bytes of one proposal, roughly. One report, which gRPC holds below 4 MiB, may come on top, and a log entry takes 32 MiB.
pub const BATCH_BYTES_MAX: usize = 8 << 20;

/// Something to be committed.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Of one session.
    Report {
        /// Whose.
        from: Origin,
        /// What.
        reported: Vec<Reported>,
    },
    /// The managers' own word that tasks have stopped. Stays in its place among the others: what counts a node as ready after it
    /// may be proposed with it, never before it.
    Verdict(Vec<Reported>),
    /// How a node is; the newest counts.
    Node {
        /// Which.
        node: NodeId,
        /// How.
        status: NodeStatus,
        /// What it is, when that may have changed.
        description: Option<Box<NodeDescription>>,
    },
}

/// Whom to tell of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Whose session.
    pub node: NodeId,
    /// Which of its sessions.
    pub session: SessionId,
    /// Number of the report.
    pub seq: u64,
}

/// Gathers inputs for one proposal.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    reported: Vec<Reported>,
    bytes: usize,
    origins: Vec<Origin>,
    nodes: BTreeMap<NodeId, (NodeStatus, Option<Box<NodeDescription>>)>,
}

impl Batch {
    /// Takes one more.
    pub fn add(&mut self, input: Input) {
        match input {
            Input::Report { from, reported } => {
                self.bytes += reported.iter().map(size).sum::<usize>();
                self.reported.extend(reported);
                self.origins.push(from);
            }
            Input::Verdict(reported) => {
                self.bytes += reported.iter().map(size).sum::<usize>();
                self.reported.extend(reported);
            }
            Input::Node { node, status, description } => {
                let earlier = self.nodes.remove(&node).and_then(|(_, description)| description);
                self.nodes.insert(node, (status, description.or(earlier)));
            }
        }
    }

    /// The proposal is large enough.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.reported.len() + self.nodes.len() >= BATCH_MAX || self.bytes >= BATCH_BYTES_MAX
    }

    /// Nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.reported.is_empty() && self.origins.is_empty() && self.nodes.is_empty()
    }

    /// What to propose: the reports together, because stale ones among them are passed over; each node alone, because a node that
    /// was removed meanwhile must not hold up the others.
    #[must_use]
    pub fn transactions(&self, at: Moment) -> Vec<Transaction> {
        let reports = (!self.reported.is_empty()).then(|| Change::Report(self.reported.clone()));
        let nodes = self.nodes.iter().map(|(&node, (status, description))| Change::SetNodeStatus {
            node,
            status: status.clone(),
            description: description.clone(),
        });
        nodes.chain(reports).map(|change| Transaction { changes: vec![change], at }).collect()
    }

    /// The proposal ended. What is worth another try stays in the batch.
    pub fn proposed(&mut self, error: Option<&ProposeError>) -> Told {
        match error {
            None => Told::Committed(std::mem::take(self).origins),
            Some(ProposeError::NotLeader) => {
                self.forget_reports();
                Told::Deposed
            }
            Some(_) => Told::Again,
        }
    }

    /// Lets the reports go: some may be committed, some not, and only the agents can tell again, on a new session. Keeps the
    /// nodes, which nobody will repeat.
    fn forget_reports(&mut self) {
        self.reported.clear();
        self.origins.clear();
        self.bytes = 0;
    }
}

/// What the end of a proposal means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// These are to hear that their reports are committed.
    Committed(Vec<Origin>),
    /// It is to be tried again in a moment.
    Again,
    /// This manager does not lead: all sessions are to end.
    Deposed,
}

/// What a report takes in the log, roughly.
fn size(reported: &Reported) -> usize {
    let status = &reported.status;
    128 + status.message.len() + status.error.len() + status.ports.len() * 16
}

#[cfg(test)]
mod tests {
    use skep_proto::model::{NodeState, TaskId, TaskState, TaskStatus};

    use super::*;

    fn node(id: u128, state: NodeState, described: bool) -> Input {
        let status = NodeStatus::new(state, "", "");
        let description = described.then(Box::default);
        Input::Node { node: NodeId::new(id), status, description }
    }

    fn report(seq: u64) -> Input {
        let from = Origin { node: NodeId::new(1), session: SessionId::new(1), seq };
        let status = TaskStatus::new(TaskState::Running, Moment(1), "started");
        Input::Report { from, reported: vec![Reported { task: TaskId::new(1), node: Some(NodeId::new(1)), status }] }
    }

    #[test]
    fn the_newest_state_of_a_node_counts_and_keeps_the_description() {
        let mut batch = Batch::default();
        batch.add(node(1, NodeState::Ready, true));
        batch.add(node(1, NodeState::Down, false));
        let transactions = batch.transactions(Moment(5));
        let [Transaction { changes, .. }] = transactions.as_slice() else { panic!("{transactions:?}") };
        let [Change::SetNodeStatus { status, description, .. }] = changes.as_slice() else { panic!("{changes:?}") };
        assert_eq!(status.state, NodeState::Down);
        assert!(description.is_some());
    }

    #[test]
    fn reports_are_one_transaction_and_each_node_its_own() {
        let mut batch = Batch::default();
        for input in [report(1), report(2), node(1, NodeState::Down, false), node(2, NodeState::Down, false)] {
            batch.add(input);
        }
        assert_eq!(batch.transactions(Moment(5)).len(), 3);
        assert_eq!(batch.proposed(Some(&ProposeError::Busy)), Told::Again);
        assert_eq!(batch.transactions(Moment(5)).len(), 3);
        assert_eq!(batch.proposed(Some(&ProposeError::NotLeader)), Told::Deposed);
        assert_eq!(batch.transactions(Moment(5)).len(), 2);
        assert_eq!(batch.proposed(None), Told::Committed(Vec::new()));
        assert!(batch.is_empty());
    }

    #[test]
    fn each_report_of_a_committed_batch_is_told() {
        let mut batch = Batch::default();
        batch.add(report(1));
        batch.add(report(2));
        let Told::Committed(origins) = batch.proposed(None) else { panic!("it was committed") };
        assert_eq!(origins.iter().map(|origin| origin.seq).collect::<Vec<_>>(), [1, 2]);
    }
}
