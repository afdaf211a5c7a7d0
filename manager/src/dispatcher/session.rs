//! The machine of one node's session: what it hears becomes effects, what it has sent decides what it sends.

use skep_proto::convert::required;
use skep_proto::model::{NodeDescription, NodeId, SessionId, TaskId, TaskState, TaskStatus};
use skep_proto::pb;
use skep_proto::pb::agent_message::Message as Heard;
use skep_proto::pb::manager_message::Message as Said;

use super::assignments::Sent;
use super::error::DispatchError;
use crate::store::{Reported, State};

/// One session.
#[derive(Debug)]
pub struct Session {
    node: NodeId,
    sent: Sent,
    /// Newest report heard.
    heard_seq: u64,
    /// Newest report of which something went to Raft.
    storing_seq: u64,
    /// Newest report of which everything that had to is committed.
    stored_seq: u64,
}

/// What is to be done about a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send it.
    Send(pb::ManagerMessage),
    /// Propose these; tell [`Session::committed`] the number.
    Store {
        /// Of the report.
        seq: u64,
        /// What Raft keeps.
        reported: Vec<Reported>,
    },
    /// Keep these in memory.
    Note(Vec<(TaskId, TaskStatus)>),
    /// The machine has changed.
    Describe(Box<NodeDescription>),
    /// The agent goes on purpose.
    Part {
        /// And takes its containers with it.
        leaving: bool,
    },
}

/// Wraps a part of the manager's side of the stream.
#[must_use]
pub fn say(message: Said) -> pb::ManagerMessage {
    pb::ManagerMessage { message: Some(message) }
}

/// The first message of the manager.
#[must_use]
pub fn welcome(session: SessionId, heartbeat_ms: u64, managers: Vec<String>) -> pb::ManagerMessage {
    say(Said::Welcome(pb::Welcome { session: session.to_bytes(), heartbeat_ms, managers }))
}

impl Session {
    /// A session that has said and heard nothing.
    #[must_use]
    pub fn new(node: NodeId) -> Self {
        Self { node, sent: Sent::default(), heard_seq: 0, storing_seq: 0, stored_seq: 0 }
    }

    /// What is to be said of assignments now; it counts as said.
    pub fn refresh(&mut self, state: &State) -> Vec<pb::ManagerMessage> {
        let pages = self.sent.refresh(self.node, state);
        pages.into_iter().map(|page| say(Said::Assignments(page))).collect()
    }

    /// Takes one message.
    ///
    /// # Errors
    /// When it is malformed or has no place here; the session is then to be ended.
    pub fn hear(&mut self, message: pb::AgentMessage, state: &State) -> Result<Vec<Effect>, DispatchError> {
        match required(message.message, "agent message", "part")? {
            Heard::Hello(_) => Err(DispatchError::Hello),
            Heard::Heartbeat(_) => Ok(Vec::new()),
            Heard::Report(report) => self.hear_report(report, state),
            Heard::Goodbye(goodbye) => Ok(vec![Effect::Part { leaving: goodbye.leaving }]),
            Heard::Description(description) => Ok(vec![Effect::Describe(Box::new(description.into()))]),
        }
    }

    /// What was proposed for the report of that number is committed.
    pub fn committed(&mut self, seq: u64) -> pb::ManagerMessage {
        self.stored_seq = self.stored_seq.max(seq);
        // Reports with nothing to store may have come after the last one that had.
        let upto = if self.stored_seq == self.storing_seq { self.heard_seq } else { seq };
        say(Said::Ack(pb::Ack { seq: upto }))
    }

    fn hear_report(&mut self, report: pb::StatusReport, state: &State) -> Result<Vec<Effect>, DispatchError> {
        let seq = report.seq;
        let (stored, noted) = self.sort(report.tasks, state)?;
        self.heard_seq = self.heard_seq.max(seq);
        let mut effects = Vec::new();
        if !noted.is_empty() {
            effects.push(Effect::Note(noted));
        }
        if !stored.is_empty() {
            self.storing_seq = seq;
            effects.push(Effect::Store { seq, reported: stored });
        } else if self.stored_seq == self.storing_seq {
            effects.push(Effect::Send(say(Said::Ack(pb::Ack { seq }))));
        }
        Ok(effects)
    }

    /// Splits a report into what Raft keeps and what only the leader's memory does. Other nodes' tasks, unknown ones and
    /// news that is none are left out: a new session repeats everything, and most of that is known.
    fn sort(&self, reports: Vec<pb::TaskReport>, state: &State) -> Result<Sorted, DispatchError> {
        let (mut stored, mut noted) = (Vec::new(), Vec::new());
        for report in reports {
            let id = TaskId::from_bytes(&report.task).map_err(|e| DispatchError::Message(e.into()))?;
            let status = TaskStatus::try_from(required(report.status, "task report", "status")?)?;
            let known = state.task(id).filter(|task| task.node == Some(self.node));
            let news = known.is_some_and(|task| status.state > task.status.state);
            match (news, status.state >= TaskState::Running) {
                (false, _) => {}
                (true, true) => stored.push(Reported { task: id, node: Some(self.node), status }),
                (true, false) => noted.push((id, status)),
            }
        }
        Ok((stored, noted))
    }
}

/// For Raft, and for memory.
type Sorted = (Vec<Reported>, Vec<(TaskId, TaskStatus)>);

#[cfg(test)]
mod tests;
