//! What the loop does with each thing that happens. Every function here returns at once.
#![expect(clippy::disallowed_methods, reason = "driver: looks at the machine beside the loop")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use skep_proto::estranged::Estranged;
use skep_proto::model::moment::millis;
use skep_proto::model::{Era, Moment, NodeDescription};
use skep_proto::pb;
use skep_proto::pb::agent_message::Message as ToManager;
use skep_proto::pb::manager_message::Message as FromManager;

use super::agent::Command;
use super::clock::wall;
use super::driver::{Answer, DESCRIBE_EVERY, Driver};
use super::link::LinkEvent;
use crate::error::AgentError;
use crate::node::Effect;
use crate::sys::ExecError;
use skep_proto::model::time::{Comparison, compare};

/// Words of the manager that are heard before its silence is judged; each is one message, and a busy agent has a handful.
const CATCH_UP_MAX: usize = 64;

/// From here on logs of two machines cannot be compared any more.
const CLOCK_OFF_MS: u64 = 1_000;

impl Driver {
    pub(super) fn command(&mut self, now: Moment, command: Command) {
        match command {
            // What follows from every event follows from this one.
            Command::Look => {}
            Command::Renew => self.renewal.hasten(now),
            Command::Meet(address) => {
                let effects = self.machine.told(now, address);
                self.act(now, effects);
            }
            Command::Adopt(identity) => self.renewal.adopt(now, *identity, &*self.connector),
            Command::Stop(answer) => {
                let effects = self.machine.stop(now);
                self.end(now, answer, effects);
            }
            Command::Leave(answer) => {
                let effects = self.machine.leave(now);
                self.end(now, answer, effects);
            }
        }
    }

    fn end(&mut self, now: Moment, answer: Answer, effects: Vec<Effect>) {
        self.answer = Some(answer);
        self.act(now, effects);
    }

    /// What the manager has said by now comes first: should we be late, it is not the manager that is silent.
    pub(super) fn tick(&mut self, now: Moment) {
        for _ in 0..CATCH_UP_MAX {
            let Some(event) = self.link.next().now_or_never() else { break };
            self.linked(now, event);
        }
        let was_open = self.machine.session().is_open();
        let effects = self.machine.tick(now);
        if was_open && !self.machine.session().is_open() {
            self.log_loss("it answers no heartbeat");
        }
        self.act(now, effects);
        if self.describe_at <= now && self.describing.is_none() {
            let executor = Arc::clone(&self.executor);
            self.describing = Some(tokio::spawn(async move { executor.describe().await }));
        }
    }

    pub(super) fn linked(&mut self, now: Moment, event: LinkEvent) {
        let effects = match event {
            LinkEvent::Said(message) => {
                self.log_farewell(&message);
                if let FromManager::Welcome(welcome) = &message {
                    self.compare_clocks(welcome);
                }
                self.machine.heard(now, message)
            }
            LinkEvent::Connected => self.machine.connected(now),
            LinkEvent::Lost(reason) => self.lost(now, &reason),
            LinkEvent::Estranged => {
                self.estranged.insert(self.machine.session().manager().to_owned());
                self.lost(now, &Estranged::Root.to_string())
            }
            LinkEvent::Unreached(reason) => {
                self.estranged.remove(self.machine.session().manager());
                self.lost(now, &reason)
            }
        };
        self.act(now, effects);
    }

    fn lost(&mut self, now: Moment, reason: &str) -> Vec<Effect> {
        self.log_loss(reason);
        self.machine.lost(now)
    }

    fn log_farewell(&self, message: &FromManager) {
        if let FromManager::Farewell(pb::Farewell { reason, removed, leader }) = message {
            let manager = self.machine.session().manager();
            tracing::info!(manager, reason, removed, leader, "the manager said farewell");
        }
    }

    fn compare_clocks(&mut self, welcome: &pb::Welcome) {
        let Some((sent, round)) = self.link.greeted() else { return };
        let (came, left) = (Moment(welcome.hello_ms), Moment(welcome.clock_ms));
        let Some(Comparison { ahead_ms, delay }) = compare(sent, round, came, left) else { return };
        self.delay = delay;
        if ahead_ms.unsigned_abs() >= CLOCK_OFF_MS {
            let manager = self.machine.session().manager();
            tracing::warn!(manager, ahead_ms, "this machine's clock differs from the manager's by more than a second");
        }
    }

    /// What leaves with the time on it gets it here: decisions are made by a clock that never goes back, which may not be the time.
    fn stamped(&self, message: ToManager) -> ToManager {
        match message {
            ToManager::Heartbeat(pb::Heartbeat { seq, .. }) => {
                ToManager::Heartbeat(pb::Heartbeat { clock_ms: wall().0, delay_ms: millis(self.delay), seq })
            }
            other => other,
        }
    }

    fn log_loss(&self, reason: &str) {
        if self.machine.ending().is_some() {
            tracing::debug!(reason, "session closed");
        } else {
            let manager = self.machine.session().manager();
            tracing::info!(manager, reason, "no session with the manager; will try again");
        }
    }

    /// Does what was decided.
    pub(super) fn act(&mut self, now: Moment, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Connect(address, mut hello) => {
                    self.told = self.renewal.credentials();
                    hello.credentials = Some(self.told.clone());
                    self.link.connect(address, *hello);
                }
                Effect::Say(message) => self.link.say(self.stamped(message)),
                Effect::Keep(contact) => self.keep(contact),
                Effect::Began => self.serve_logs(),
                Effect::Enter(era) => self.enter(era),
                Effect::Remember(managers) => self.remember(&managers),
                Effect::Disconnect => self.link.disconnect(),
                Effect::Part => self.link.part(),
                Effect::Removed => self.view.send_modify(|view| view.removed = true),
                Effect::Stand(standing) => self.renewal.told(now, standing),
                Effect::Refused(reason) => {
                    let manager = self.machine.session().manager();
                    tracing::warn!(manager, reason, "the manager refused a report");
                }
                Effect::Unreadable(error) => {
                    let error = skep_proto::chain::chain(&error).to_string();
                    tracing::error!(%error, "an order cannot be read; asking for a new set");
                }
                Effect::Prepare(order) => self.steps.prepare(order),
                Effect::Start(task) => self.steps.start(task),
                Effect::Wait(task) => self.steps.wait(task),
                Effect::Stop(task, grace) => self.steps.stop(task, grace),
                Effect::Remove(task) => self.steps.remove(task),
            }
        }
    }

    /// Containers that hang on it are stopped when it cannot be kept: too soon rather than too late.
    fn keep(&self, contact: Duration) {
        if let Err(error) = self.executor.keep_contact(contact) {
            tracing::error!(error = %skep_proto::chain::chain(&error), "the contact with the leader is not kept");
        }
    }

    fn serve_logs(&mut self) {
        self.estranged.clear();
        tracing::info!(manager = self.machine.session().manager(), "session opened");
        self.link.serve_logs(self.config.identity.node, Arc::clone(&self.executor));
    }

    /// A list that cannot be written is no reason to stop: the next daemon only looks for a manager a little longer.
    fn remember(&self, managers: &[String]) {
        if let Err(error) = self.files.write_managers(managers) {
            tracing::warn!(error = %skep_proto::chain::chain(&error), "the managers' addresses are not remembered");
        }
    }

    fn enter(&self, era: Era) {
        tracing::info!(era = era.0, "the cluster was made anew; managers of earlier eras are not listened to any more");
        if let Err(error) = self.files.write_era(era) {
            tracing::warn!(error = %skep_proto::chain::chain(&error), "the cluster's era is not remembered");
        }
    }

    pub(super) fn written(&mut self, now: Moment, result: Result<(), AgentError>) {
        let trouble = result.as_ref().err().map(|error| format!("failed to {}", skep_proto::chain::chain(error)));
        self.trouble(now, trouble.unwrap_or_default());
        let effects = self.machine.written(now, result.is_ok());
        self.act(now, effects);
    }

    /// Said once when it begins, and once when it is over.
    fn trouble(&mut self, now: Moment, what: String) {
        if self.machine.description().trouble == what {
            return;
        }
        match what.as_str() {
            "" => tracing::info!("the task list is on disk again"),
            error => {
                tracing::error!(error, "the task list is not on disk, so no task can begin; will try again each second")
            }
        }
        let effects = self.machine.trouble(what);
        self.act(now, effects);
    }

    pub(super) fn described(&mut self, result: Result<NodeDescription, ExecError>) {
        let now = self.clock.now();
        self.describe_at = now + DESCRIBE_EVERY;
        match result.map(|description| self.overlay(description)) {
            Ok(description) => {
                let effects = self.machine.describe(description);
                self.act(now, effects);
            }
            Err(error) => tracing::warn!(error = %skep_proto::chain::chain(&error), "this machine cannot be described"),
        }
    }
}
