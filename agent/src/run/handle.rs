//! What the loop does with each thing that happens. Every function here returns at once.
#![expect(clippy::disallowed_methods, reason = "driver: looks at the machine beside the loop")]

use std::sync::Arc;
use std::time::Duration;

use skep_proto::model::{Moment, NodeDescription};
use skep_proto::pb;
use skep_proto::pb::agent_message::Message as ToManager;
use skep_proto::pb::manager_message::Message as FromManager;
use tokio::sync::oneshot;

use super::agent::Command;
use super::driver::{DESCRIBE_EVERY, Driver, Ending};
use super::link::LinkEvent;
use crate::assignment::Orders;
use crate::error::AgentError;
use crate::session;
use crate::sys::ExecError;
use crate::worker::Effect;

/// How long an agent that stops waits for steps and writes. A step that takes longer is left to the next daemon, which finds
/// its traces.
const STOP_MAX: Duration = Duration::from_secs(5);

/// How long the manager has to close its side after a goodbye. One that is alive takes a round trip.
const PART_MAX: Duration = Duration::from_millis(500);

/// How long an agent that leaves may take to remove everything: containers are killed at once, so that only the kernel is waited for.
const LEAVE_MAX: Duration = Duration::from_secs(60);

/// Delay before the list is written again after the disk refused.
const REWRITE_DELAY: Duration = Duration::from_secs(1);

impl Driver {
    pub(super) fn command(&mut self, now: Moment, command: Command) {
        match command {
            Command::Renew => self.renewal.hasten(now),
            Command::Stop(answer) => self.end(now, false, answer),
            Command::Leave(answer) => {
                self.end(now, true, answer);
                let effects = self.worker.leave(now);
                self.obey(now, effects);
            }
        }
    }

    fn end(&mut self, now: Moment, leaving: bool, answer: oneshot::Sender<Result<(), AgentError>>) {
        self.link.part(leaving);
        let until = now + if leaving { LEAVE_MAX } else { STOP_MAX };
        self.ending = Some(Ending { until, part_until: now + PART_MAX, leaving, answer: Some(answer) });
    }

    pub(super) fn tick(&mut self, now: Moment) {
        let effects = self.worker.tick(now);
        self.obey(now, effects);
        match &self.ending {
            None => self.converse(now, session::Input::Tick),
            Some(ending) if ending.part_until <= now => self.link.disconnect(),
            Some(_) => {}
        }
        if self.describe_at <= now && self.describing.is_none() {
            let executor = Arc::clone(&self.executor);
            self.describing = Some(tokio::spawn(async move { executor.describe().await }));
        }
    }

    pub(super) fn linked(&mut self, now: Moment, event: LinkEvent) {
        match event {
            LinkEvent::Said(message) => self.heard(now, message),
            LinkEvent::Connected => self.converse(now, session::Input::Connected),
            LinkEvent::Lost(reason) if self.ending.is_some() => {
                tracing::debug!(reason, "session closed");
                self.link.disconnect();
            }
            LinkEvent::Lost(reason) => {
                tracing::info!(manager = self.session.manager(), reason, "no session with the manager; will try again");
                self.converse(now, session::Input::Lost);
            }
        }
    }

    fn heard(&mut self, now: Moment, message: FromManager) {
        match message {
            FromManager::Welcome(welcome) => {
                let heartbeat = Duration::from_millis(welcome.heartbeat_ms);
                self.converse(now, session::Input::Welcome { heartbeat, managers: welcome.managers });
            }
            FromManager::Heartbeat(period) => {
                self.converse(now, session::Input::Heartbeat(Duration::from_millis(period.heartbeat_ms)));
            }
            FromManager::Ack(ack) => self.reporter.ack(ack.seq),
            FromManager::Assignments(message) => self.ordered(now, message),
            FromManager::Farewell(pb::Farewell { reason, removed, leader }) => {
                tracing::info!(manager = self.session.manager(), reason, removed, leader, "the manager said farewell");
                self.converse(now, session::Input::Farewell { removed, leader });
            }
        }
    }

    fn ordered(&mut self, now: Moment, message: pb::Assignments) {
        if self.ending.is_some() {
            return;
        }
        match Orders::try_from(message) {
            Ok(orders) => {
                let effects = self.worker.order(now, orders);
                self.obey(now, effects);
            }
            Err(error) => {
                tracing::error!(error = %skep_proto::chain::chain(&error), "an order cannot be read; asking for a new set");
                self.converse(now, session::Input::Resync);
            }
        }
    }

    /// Does what the session machine says.
    fn converse(&mut self, now: Moment, input: session::Input) {
        for effect in self.session.step(now, input) {
            match effect {
                session::Effect::Connect(address) => self.link.connect(address, self.hello()),
                session::Effect::Heartbeat => self.link.say(ToManager::Heartbeat(pb::Heartbeat {})),
                session::Effect::Began => self.begin_session(),
                session::Effect::Remember(managers) => self.remember(&managers),
                session::Effect::Disconnect => self.link.disconnect(),
                session::Effect::Removed => self.view.send_modify(|view| view.removed = true),
            }
        }
    }

    fn begin_session(&mut self) {
        tracing::info!(manager = self.session.manager(), "session opened");
        self.worker.begin_session();
        self.reporter.begin_session(self.worker.ids());
        self.link.serve_logs(self.config.identity.node, Arc::clone(&self.executor));
    }

    fn hello(&self) -> pb::Hello {
        pb::Hello { description: Some((&self.description).into()), address: self.config.address.clone() }
    }

    /// A list that cannot be written is no reason to stop: the next daemon only looks for a manager a little longer.
    fn remember(&self, managers: &[String]) {
        if let Err(error) = self.files.write_managers(managers) {
            tracing::warn!(error = %skep_proto::chain::chain(&error), "the managers' addresses are not remembered");
        }
    }

    /// Does what the worker says. An agent that stops begins nothing more, but goes on writing; one that leaves goes on removing.
    pub(super) fn obey(&mut self, now: Moment, effects: Vec<Effect>) {
        let stopping = self.ending.as_ref().is_some_and(|ending| !ending.leaving);
        for effect in effects {
            match effect {
                Effect::Report(task, ended) => {
                    let write = if ended { self.ledger.covering() } else { 0 };
                    self.reporter.note(task, write);
                }
                Effect::Forget(task) => {
                    self.reporter.forget(task);
                    self.ledger.change(now, false);
                }
                Effect::Persist(soon) => self.ledger.change(now, soon),
                Effect::Resync => self.converse(now, session::Input::Resync),
                Effect::Prepare(_) | Effect::Start(_) | Effect::Stop(..) | Effect::Remove(_) if stopping => {}
                Effect::Prepare(order) => self.steps.prepare(order),
                Effect::Start(task) => self.steps.start(task),
                Effect::Wait(task) => self.steps.wait(task),
                Effect::Stop(task, grace) => self.steps.stop(task, grace),
                Effect::Remove(task) => self.steps.remove(task),
            }
        }
    }

    pub(super) fn written(&mut self, now: Moment, result: Result<(), AgentError>) {
        match result {
            Ok(()) => self.ledger.end(),
            Err(error) => {
                tracing::error!(error = %skep_proto::chain::chain(&error), "the task list is not on disk; will try again");
                self.ledger.fail(now + REWRITE_DELAY);
            }
        }
    }

    pub(super) fn described(&mut self, result: Result<NodeDescription, ExecError>) {
        self.describe_at = self.clock.now() + DESCRIBE_EVERY;
        match result.map(|description| self.overlay(description)) {
            Ok(description) if description != self.description => {
                self.link.say(ToManager::Description((&description).into()));
                self.description = description;
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(error = %skep_proto::chain::chain(&error), "this machine cannot be described"),
        }
    }
}
