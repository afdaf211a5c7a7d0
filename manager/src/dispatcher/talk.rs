//! One session between its messages: what it has to say, what it heard and could not hand on yet, and when it listens.
//!
//! The machine of the session ([`Session`]) knows what to say; this keeps the order. Nothing new is computed while something is
//! still to be said, so a slow reader gets fewer, larger messages; nothing is read while a report waits for room, so a slow
//! log slows its agents down instead of filling memory.

use std::collections::VecDeque;

use skep_proto::model::moment::millis;
use skep_proto::model::{Moment, NodeDescription, NodeId, SessionId, TaskId, TaskStatus};
use skep_proto::pb;
use skep_proto::pb::manager_message::Message as Said;

use super::batch::{Input, Origin};
use super::error::DispatchError;
use super::heartbeat::jittered;
use super::keeper::{Parting, Settings};
use super::session::{Effect, Session, say};
use crate::store::{News, Presented, State};

/// What a message asks of whoever drives the session.
#[derive(Debug, PartialEq)]
pub enum Act {
    /// Keep these in the leader's memory.
    Note(Vec<(TaskId, TaskStatus)>),
    /// It proves itself with something else.
    Present(Presented),
    /// Make sure that this manager leads, then tell [`Talk::contact`].
    Witness(u64),
    /// The machine has changed.
    Describe(Box<NodeDescription>),
    /// A report waits for room ([`Talk::take_report`]): until then its node's silence is ours.
    Hold,
    /// It told of a task that is another node's: nothing was done about that.
    Foreign(TaskId),
    /// End the session.
    Part(Parting),
}

/// The welcome says when it left; what it waited for before must not look like a slow network.
#[must_use]
pub fn stamped(mut message: pb::ManagerMessage, greeted: Moment, now: Moment) -> pb::ManagerMessage {
    if let Some(Said::Welcome(welcome)) = &mut message.message {
        (welcome.clock_ms, welcome.hello_ms) = (now.0, greeted.0);
    }
    message
}

/// An open session.
#[derive(Debug)]
pub struct Talk {
    machine: Session,
    node: NodeId,
    session: SessionId,
    /// Never longer than one answer.
    queue: VecDeque<pb::ManagerMessage>,
    /// A report that the log has no room for yet.
    report: Option<Input>,
    /// As the agent was told.
    told: Settings,
}

impl Talk {
    /// A session that has a welcome to say.
    #[must_use]
    pub fn new(node: NodeId, session: SessionId, settings: &Settings, state: &State) -> Self {
        let period = millis(jittered(settings.period, node));
        let mut machine = Session::new(node);
        machine.demand(&settings.trust);
        let welcome = machine.welcome(state, session, period, settings.managers.to_vec());
        Self { machine, node, session, queue: VecDeque::from([welcome]), report: None, told: settings.clone() }
    }

    /// Everything was said: the next thing may be computed.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// The next message may be heard.
    #[must_use]
    pub fn listens(&self) -> bool {
        self.report.is_none()
    }

    /// The next thing to say.
    pub fn next_message(&mut self) -> Option<pb::ManagerMessage> {
        self.queue.pop_front()
    }

    /// The report that waits; to be called when there is room for it.
    pub fn take_report(&mut self) -> Option<Input> {
        self.report.take()
    }

    /// What the agent proves itself with, as its hello says.
    pub fn presents(&mut self, presented: Presented) {
        self.machine.presents(presented);
    }

    /// Whether the node is to get another certificate; [`Talk::refresh`] tells it.
    pub fn ask_renewal(&mut self, renew: bool) {
        self.machine.ask_renewal(renew);
    }

    /// What the node is to do may have changed.
    pub fn refresh(&mut self, state: &State) {
        self.queue.extend(self.machine.refresh(state));
    }

    /// The same of these tasks.
    pub fn update(&mut self, state: &State, news: &News) {
        self.queue.extend(self.machine.follow(state, news));
    }

    /// The report of that number is committed.
    pub fn committed(&mut self, seq: u64) {
        self.queue.push_back(self.machine.committed(seq));
    }

    /// This manager led after the heartbeat of that number had been heard.
    pub fn contact(&mut self, seq: u64, state: &State) {
        self.queue.extend(self.machine.contact(seq, state));
    }

    /// A heartbeat was heard. An agent that is about to hear something else needs no answer besides, so that the queue stays short
    /// however slowly it reads.
    pub fn echo(&mut self) {
        if self.is_idle() {
            self.queue.push_back(say(Said::Echo(pb::Echo {})));
        }
    }

    /// The rhythm or the managers may have changed; so may the roots, of which [`Talk::refresh`] tells.
    pub fn settled(&mut self, settings: &Settings) {
        let told = std::mem::replace(&mut self.told, settings.clone());
        self.machine.demand(&settings.trust);
        if told.period != settings.period {
            let heartbeat_ms = millis(jittered(settings.period, self.node));
            self.queue.push_back(say(Said::Heartbeat(pb::HeartbeatPeriod { heartbeat_ms })));
        }
        if told.managers != settings.managers {
            let addresses = settings.managers.to_vec();
            self.queue.push_back(say(Said::Managers(pb::Managers { addresses })));
        }
    }

    /// Hears a message.
    ///
    /// # Errors
    /// When it is malformed or has no place here; the session is then to be ended.
    pub fn hear(&mut self, message: pb::AgentMessage, state: &State) -> Result<Vec<Act>, DispatchError> {
        let effects = self.machine.hear(message, state)?;
        Ok(effects.into_iter().filter_map(|effect| self.follow(effect)).collect())
    }

    fn follow(&mut self, effect: Effect) -> Option<Act> {
        Some(match effect {
            Effect::Send(message) => {
                self.queue.push_back(message);
                return None;
            }
            Effect::Note(statuses) => Act::Note(statuses),
            Effect::Store { seq, reported } => {
                let from = Origin { node: self.node, session: self.session, seq };
                self.report = Some(Input::Report { from, reported });
                Act::Hold
            }
            Effect::Foreign(task) => Act::Foreign(task),
            Effect::Present(presented) => Act::Present(presented),
            Effect::Witness(seq) => Act::Witness(seq),
            Effect::Describe(description) => Act::Describe(description),
            Effect::Part { leaving: true } => Act::Part(Parting::Leaving),
            Effect::Part { leaving: false } => Act::Part(Parting::Goodbye),
        })
    }
}
