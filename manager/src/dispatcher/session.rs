//! The machine of one node's session: what it hears becomes effects, what it has sent decides what it sends.

use skep_proto::convert::required;
use skep_proto::model::{NodeDescription, NodeId, NodeRole, NodeState, SessionId, TaskId, TaskState, TaskStatus};
use skep_proto::pb;
use skep_proto::pb::agent_message::Message as Heard;
use skep_proto::pb::manager_message::Message as Said;

use super::assignments::Sent;
use super::error::DispatchError;
use super::trust::Trust;
use crate::store::{News, Presented, Reported, State};

/// One session.
#[derive(Debug)]
pub struct Session {
    node: NodeId,
    sent: Sent,
    /// The roots that it is to trust.
    trust: Trust,
    /// What it proves itself with, as it said.
    presented: Option<Presented>,
    /// It is to get another certificate now.
    is_to_renew: bool,
    /// What it was told of its standing: role, digest of the roots if it did not trust them, and whether to renew.
    told: Option<(NodeRole, Vec<u8>, bool)>,
    /// What the next acknowledgement says was refused.
    refused: String,
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
    /// It told of a task that is another node's: nothing was done about that.
    Foreign(TaskId),
    /// Keep these in memory.
    Note(Vec<(TaskId, TaskStatus)>),
    /// It proves itself with something else.
    Present(Presented),
    /// Make sure that this manager still leads, then say [`Session::contact`] of that heartbeat.
    Witness(u64),
    /// The machine has changed.
    Describe(Box<NodeDescription>),
    /// The agent goes on purpose.
    Part {
        /// And takes its containers with it.
        leaving: bool,
    },
}

/// What an agent says of its credentials.
#[must_use]
pub fn presented(said: pb::Credentials) -> Presented {
    Presented { root: said.root, trust: said.trust, lock: said.lock }
}

/// Wraps a part of the manager's side of the stream.
#[must_use]
pub fn say(message: Said) -> pb::ManagerMessage {
    pb::ManagerMessage { message: Some(message) }
}

impl Session {
    /// A session that has said and heard nothing.
    #[must_use]
    pub fn new(node: NodeId) -> Self {
        Self {
            node,
            sent: Sent::default(),
            trust: Trust::default(),
            presented: None,
            is_to_renew: false,
            told: None,
            refused: String::new(),
            heard_seq: 0,
            storing_seq: 0,
            stored_seq: 0,
        }
    }

    /// The agent is to trust these roots; it is told if it does not.
    pub fn demand(&mut self, trust: &Trust) {
        self.trust.clone_from(trust);
    }

    /// What the agent proves itself with.
    pub fn presents(&mut self, presented: Presented) {
        self.presented = Some(presented);
    }

    /// Whether it is to get another certificate now.
    pub fn ask_renewal(&mut self, renew: bool) {
        self.is_to_renew = renew;
    }

    /// The first message of the manager.
    pub fn welcome(
        &mut self,
        state: &State,
        session: SessionId,
        heartbeat_ms: u64,
        managers: Vec<String>,
    ) -> pb::ManagerMessage {
        let standing = self.standing(state);
        let session = session.to_bytes();
        let era = state.cluster().map_or(0, |cluster| cluster.era.0);
        // Whoever sends it says what time it is.
        say(Said::Welcome(pb::Welcome { session, heartbeat_ms, managers, standing, era, ..pb::Welcome::default() }))
    }

    /// What is to be said now of the node's standing and its assignments; it counts as said.
    pub fn refresh(&mut self, state: &State) -> Vec<pb::ManagerMessage> {
        self.follow(state, &News::Anything)
    }

    /// The same, when it is known which tasks have changed.
    pub fn follow(&mut self, state: &State, news: &News) -> Vec<pb::ManagerMessage> {
        let standing = self.standing(state).map(Said::Standing);
        let pages = self.sent.follow(self.node, state, news).into_iter().map(Said::Assignments);
        standing.into_iter().chain(pages).map(say).collect()
    }

    /// What the node is, unless it was told. An agent that does not say whom it trusts cannot be told whom to trust.
    fn standing(&mut self, state: &State) -> Option<pb::Standing> {
        let role = state.node(self.node)?.role;
        let other = self.presented.as_ref().is_some_and(|presented| presented.trust != self.trust.digest);
        let digest = if other { self.trust.digest.clone() } else { Vec::new() };
        let now = (role, digest, self.is_to_renew);
        if self.told.as_ref() == Some(&now) {
            return None;
        }
        self.told = Some(now);
        let trust = if other { self.trust.pem.to_string() } else { String::new() };
        Some(pb::Standing { role: pb::NodeRole::from(role).into(), trust, renew: self.is_to_renew })
    }

    /// Takes one message.
    ///
    /// # Errors
    /// When it is malformed or has no place here; the session is then to be ended.
    pub fn hear(&mut self, message: pb::AgentMessage, state: &State) -> Result<Vec<Effect>, DispatchError> {
        match required(message.message, "agent message", "part")? {
            Heard::Hello(_) => Err(DispatchError::Hello),
            Heard::Heartbeat(beat) => {
                Ok(Some(beat.seq).filter(|seq| *seq > 0).map(Effect::Witness).into_iter().collect())
            }
            Heard::Report(report) => self.hear_report(report, state),
            Heard::Goodbye(goodbye) => Ok(vec![Effect::Part { leaving: goodbye.leaving }]),
            Heard::Credentials(credentials) => {
                let presented = presented(credentials);
                self.presents(presented.clone());
                Ok(vec![Effect::Present(presented)])
            }
            Heard::Description(description) => Ok(vec![Effect::Describe(Box::new(description.into()))]),
        }
    }

    /// This manager led after it had heard that heartbeat: what to say. Everything that was decided by then goes first. A node that
    /// does not count as ready may have tasks that were given up, and gets nothing.
    pub fn contact(&mut self, seq: u64, state: &State) -> Vec<pb::ManagerMessage> {
        if state.node(self.node).is_none_or(|node| node.status.state != NodeState::Ready) {
            return Vec::new();
        }
        let contact = say(Said::Contact(pb::Contact { seq }));
        self.refresh(state).into_iter().chain([contact]).collect()
    }

    /// What was proposed for the report of that number is committed.
    pub fn committed(&mut self, seq: u64) -> pb::ManagerMessage {
        self.stored_seq = self.stored_seq.max(seq);
        // Reports with nothing to store may have come after the last one that had.
        let upto = if self.stored_seq == self.storing_seq { self.heard_seq } else { seq };
        self.ack(upto)
    }

    fn ack(&mut self, seq: u64) -> pb::ManagerMessage {
        say(Said::Ack(pb::Ack { seq, refused: std::mem::take(&mut self.refused) }))
    }

    fn hear_report(&mut self, report: pb::StatusReport, state: &State) -> Result<Vec<Effect>, DispatchError> {
        let seq = report.seq;
        let Sorted { stored, noted, foreign } = self.sort(report.tasks, state)?;
        self.heard_seq = self.heard_seq.max(seq);
        let mut effects: Vec<Effect> = foreign.iter().copied().map(Effect::Foreign).collect();
        if let Some(task) = foreign.first() {
            self.refused = DispatchError::ForeignTask { task: *task, node: self.node }.to_string();
        }
        if !noted.is_empty() {
            effects.push(Effect::Note(noted));
        }
        if !stored.is_empty() {
            self.storing_seq = seq;
            effects.push(Effect::Store { seq, reported: stored });
        } else if self.stored_seq == self.storing_seq {
            effects.push(Effect::Send(self.ack(seq)));
        }
        Ok(effects)
    }

    /// Splits a report into what Raft keeps and what only the leader's memory does. Unknown tasks and news that is none are left
    /// out: a new session repeats everything, and most of that is known. So are other nodes' tasks, each for itself: after a
    /// restore an honest agent may tell of a task that was meanwhile placed elsewhere, and must not be shut out for it.
    fn sort(&mut self, reports: Vec<pb::TaskReport>, state: &State) -> Result<Sorted, DispatchError> {
        let mut sorted = Sorted::default();
        for report in reports {
            let id = TaskId::from_bytes(&report.task).map_err(|e| DispatchError::Message(e.into()))?;
            let status = TaskStatus::try_from(required(report.status, "task report", "status")?)?;
            if status.state.is_terminal() {
                self.sent.hear_end(id);
            }
            let Some(task) = state.task(id) else { continue };
            match (task.node == Some(self.node), status.state > task.status.state) {
                (false, _) => sorted.foreign.push(id),
                (true, false) => {}
                (true, true) if status.state >= TaskState::Running => {
                    sorted.stored.push(Reported { task: id, node: Some(self.node), status });
                }
                (true, true) => sorted.noted.push((id, status)),
            }
        }
        Ok(sorted)
    }
}

/// A report's parts.
#[derive(Debug, Default)]
struct Sorted {
    /// For Raft.
    stored: Vec<Reported>,
    /// For memory.
    noted: Vec<(TaskId, TaskStatus)>,
    /// For nobody: not this node's.
    foreign: Vec<TaskId>,
}

#[cfg(test)]
mod tests;
