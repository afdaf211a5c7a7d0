//! The decisions about one task.

mod lapse;

use std::time::Duration;

use skep_proto::model::{DesiredState, Moment, TaskState, TaskStatus};

use super::message::{Effect, Input};
use super::status::{reason, word};
use crate::order::{Blame, Exited, Fault, Recovered, Started};

/// How often a step that failed for a passing reason is tried again: 10 times a second apart outlives a daemon that is being
/// restarted or a full pipe. At the bound the task fails with the last reason, and the managers place another.
pub const TRIES_MAX: u32 = 10;

/// Time between two tries of a step.
pub const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Longest time between two tries to stop a container. A stop is tried for ever, because a task that may run must not be
/// reported as stopped; a try a minute costs nothing.
pub const STOP_RETRY_DELAY_MAX: Duration = Duration::from_secs(60);

/// The step that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Prepare,
    Start,
    Stop,
    Remove,
}

/// One task.
#[derive(Clone, Debug)]
pub struct TaskMachine {
    desired: DesiredState,
    generation: u64,
    state: TaskState,
    since: Moment,
    error: Box<str>,
    exit_code: Option<i32>,
    run: Option<Box<Started>>,
    step: Option<Step>,
    tries: u32,
    retry_at: Option<Moment>,
    forget: Option<bool>,
    leftover: bool,
    gate: bool,
    lapsed: Option<Box<str>>,
}

impl TaskMachine {
    /// A task that was just assigned. Nothing is begun before the first [`TaskMachine::step`].
    #[must_use]
    pub fn new(desired: DesiredState, generation: u64, now: Moment) -> Self {
        Self {
            desired,
            generation,
            state: TaskState::Accepted,
            since: now,
            error: "".into(),
            exit_code: None,
            run: None,
            step: None,
            tries: 0,
            retry_at: None,
            forget: None,
            leftover: false,
            gate: true,
            lapsed: None,
        }
    }

    /// A task as it was last written down; what had not been started begins again. It waits for [`Input::Recovered`].
    #[must_use]
    pub fn restored(desired: DesiredState, generation: u64, status: &TaskStatus) -> Self {
        let mut task = Self::new(desired, generation, status.at);
        let begun = status.state >= TaskState::Starting;
        task.state = if begun { status.state } else { TaskState::Accepted };
        task.error = status.error.clone();
        task.exit_code = status.exit_code;
        if !status.container_id.is_empty() {
            let (pid, container_id) = (status.pid, status.container_id.to_string());
            task.run = Some(Box::new(Started { pid, container_id, ports: status.ports.clone() }));
        }
        task
    }

    /// What is wanted.
    #[must_use]
    pub fn desired(&self) -> DesiredState {
        self.desired
    }

    /// The newest order's generation.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Where it is.
    #[must_use]
    pub fn state(&self) -> TaskState {
        self.state
    }

    /// The managers know it no more.
    #[must_use]
    pub fn is_forgetting(&self) -> bool {
        self.forget.is_some()
    }

    /// What the managers are told.
    #[must_use]
    pub fn status(&self) -> TaskStatus {
        let mut status = TaskStatus::new(self.state, self.since, word(self.state));
        status.error = self.error.clone();
        status.exit_code = self.exit_code;
        if let Some(run) = &self.run {
            status.pid = if self.state == TaskState::Running { run.pid } else { 0 };
            status.container_id = run.container_id.as_str().into();
            status.ports.clone_from(&run.ports);
        }
        status
    }

    /// Takes one input and says what to do.
    ///
    /// # Panics
    /// When the state would go back: a bug.
    pub fn step(&mut self, now: Moment, input: Input) -> Vec<Effect> {
        let (state, desired) = (self.state, self.desired);
        let mut effects = self.take(now, input);
        self.go_on(now, &mut effects);
        assert!(self.state >= state, "the state of a task went back from {state:?} to {:?}", self.state);
        if self.state != state {
            self.announce(&mut effects);
        } else if self.desired != desired {
            effects.push(Effect::Persist(false));
        }
        effects
    }

    /// An end is written before it is told, since a task that ended must not run again; that it runs is written behind,
    /// since a container found running tells the same.
    fn announce(&self, effects: &mut Vec<Effect>) {
        if self.state >= TaskState::Running {
            effects.push(Effect::Persist(self.state.is_terminal()));
        }
        if self.forget.is_none() {
            effects.push(Effect::Report);
        }
    }

    fn take(&mut self, now: Moment, input: Input) -> Vec<Effect> {
        match input {
            Input::Desired(desired, generation) => self.order(desired, generation),
            Input::Forget(hurry) => return self.forget(hurry),
            Input::Refused(reason) => self.refuse(now, reason),
            Input::Prepared(result) => return self.prepared(now, result),
            Input::Started(result) => return self.started(now, result),
            Input::Exited(exit) if self.state == TaskState::Running => self.ended(now, &exit),
            Input::Exited(_) => {}
            Input::Stopped(result) => return self.stopped(now, result),
            Input::Removed(result) => return self.removed(now, result),
            Input::Recovered(found) => return self.recovered(now, found),
            Input::Gate(open) => self.gate = open,
            Input::Lapsed(reason) => self.lapse(reason),
            Input::Tick => self.retry_at = self.retry_at.filter(|at| *at > now),
        }
        Vec::new()
    }

    fn order(&mut self, desired: DesiredState, generation: u64) {
        if generation < self.generation {
            return;
        }
        self.generation = generation;
        if desired > self.desired {
            self.desired = desired;
            self.retry_at = None;
        }
    }

    fn forget(&mut self, hurry: bool) -> Vec<Effect> {
        let hurried = self.forget == Some(true);
        self.forget = Some(hurry || hurried);
        self.retry_at = None;
        let again = hurry && !hurried && self.step == Some(Step::Stop);
        if again { vec![Effect::Stop(true)] } else { Vec::new() }
    }

    fn refuse(&mut self, now: Moment, reason: String) {
        if self.state < TaskState::Starting && self.step.is_none() {
            self.end(now, TaskState::Rejected, reason);
        }
    }

    fn prepared(&mut self, now: Moment, result: Result<(), Fault>) -> Vec<Effect> {
        if !self.finish(Step::Prepare) {
            return Vec::new();
        }
        match result {
            Ok(()) => self.raise(now, TaskState::Ready),
            Err(fault) => return self.failed(now, fault, TaskState::Rejected),
        }
        Vec::new()
    }

    fn started(&mut self, now: Moment, result: Result<Started, Fault>) -> Vec<Effect> {
        if !self.finish(Step::Start) {
            return Vec::new();
        }
        match result {
            Ok(started) => self.running(now, started),
            Err(fault) => self.failed(now, fault, TaskState::Failed),
        }
    }

    fn running(&mut self, now: Moment, started: Started) -> Vec<Effect> {
        self.run = Some(Box::new(started));
        self.raise(now, TaskState::Running);
        vec![Effect::Wait]
    }

    /// A prepare or a start failed. When the task is not wanted any more that does not matter: it is wound down.
    fn failed(&mut self, now: Moment, fault: Fault, state: TaskState) -> Vec<Effect> {
        if self.unwanted() {
            return Vec::new();
        }
        if fault.blame == Blame::Temporary && self.tries < TRIES_MAX {
            return self.retry(now, RETRY_DELAY);
        }
        self.leftover = state == TaskState::Failed;
        self.end(now, state, fault.reason);
        Vec::new()
    }

    fn retry(&mut self, now: Moment, delay: Duration) -> Vec<Effect> {
        self.tries += 1;
        self.retry_at = Some(now + delay);
        vec![Effect::WakeAt(now + delay)]
    }

    fn ended(&mut self, now: Moment, exit: &Exited) {
        if self.state.is_terminal() {
            return;
        }
        self.exit_code = Some(exit.code);
        let state = match (self.unwanted(), exit) {
            (true, _) => TaskState::Shutdown,
            (false, Exited { code: 0, error: None, .. }) => TaskState::Complete,
            (false, _) => TaskState::Failed,
        };
        let error = if state == TaskState::Failed { reason(exit) } else { self.why_stopped() };
        self.end(now, state, error);
    }

    fn stopped(&mut self, now: Moment, result: Result<Option<Exited>, Fault>) -> Vec<Effect> {
        if !self.finish(Step::Stop) {
            return Vec::new();
        }
        match result {
            Ok(Some(exit)) => self.ended(now, &exit),
            Ok(None) if !self.state.is_terminal() => self.end(now, TaskState::Shutdown, self.why_stopped()),
            Ok(None) => {}
            Err(_) => return self.retry(now, stop_delay(self.tries)),
        }
        self.leftover = false;
        Vec::new()
    }

    /// The last try's failure is as good as success: what stayed is found and removed when the daemon starts again.
    fn removed(&mut self, now: Moment, result: Result<(), Fault>) -> Vec<Effect> {
        if self.step != Some(Step::Remove) {
            return Vec::new();
        }
        if result.is_err() && self.tries < TRIES_MAX {
            self.step = None;
            return self.retry(now, RETRY_DELAY);
        }
        vec![Effect::Forgotten]
    }

    fn recovered(&mut self, now: Moment, found: Option<Recovered>) -> Vec<Effect> {
        match found {
            Some(Recovered::Running(_)) if self.state.is_terminal() => self.leftover = true,
            Some(Recovered::Running(started)) if self.state == TaskState::Running => {
                self.run = Some(Box::new(started));
                return vec![Effect::Wait, Effect::Report];
            }
            Some(Recovered::Running(started)) => return self.running(now, started),
            Some(Recovered::Exited(exit)) => self.ended(now, &exit),
            Some(Recovered::Created) if self.state < TaskState::Ready => self.raise(now, TaskState::Ready),
            Some(Recovered::Created) if self.state == TaskState::Starting => {}
            Some(Recovered::Created) | None => self.lost(now),
        }
        vec![Effect::Report]
    }

    /// There is no container that was started. One that had not been started is made again.
    fn lost(&mut self, now: Moment) {
        if (TaskState::Starting..=TaskState::Running).contains(&self.state) {
            let state = if self.unwanted() { TaskState::Shutdown } else { TaskState::Failed };
            self.end(
                now,
                state,
                "the container is gone: the machine was restarted, or the container was removed".into(),
            );
        }
    }

    /// Chooses the next step, if none is under way and none is waited for.
    fn go_on(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.step.is_some() || self.retry_at.is_some() {
            return;
        }
        if self.state.is_terminal() {
            self.clean_up(effects);
        } else if self.unwanted() {
            self.wind_down(now, effects);
        } else {
            self.bring_up(now, effects);
        }
    }

    fn bring_up(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        match self.state {
            TaskState::Accepted | TaskState::Preparing => {
                self.raise(now, TaskState::Preparing);
                self.begin(Step::Prepare, Effect::Prepare, effects);
            }
            TaskState::Ready if self.desired >= DesiredState::Running && self.gate => {
                self.raise(now, TaskState::Starting);
                self.begin(Step::Start, Effect::Start, effects);
            }
            TaskState::Starting if self.gate => self.begin(Step::Start, Effect::Start, effects),
            _ => {}
        }
    }

    fn wind_down(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.state > TaskState::Accepted {
            self.begin(Step::Stop, Effect::Stop(self.forget == Some(true)), effects);
        } else {
            self.end(now, TaskState::Shutdown, String::new());
            self.clean_up(effects);
        }
    }

    fn clean_up(&mut self, effects: &mut Vec<Effect>) {
        if self.leftover {
            self.begin(Step::Stop, Effect::Stop(true), effects);
        } else if self.forget.is_some() {
            self.begin(Step::Remove, Effect::Remove, effects);
        }
    }

    fn unwanted(&self) -> bool {
        self.forget.is_some() || !self.desired.is_live() || self.lapsed.is_some()
    }

    fn begin(&mut self, step: Step, effect: Effect, effects: &mut Vec<Effect>) {
        self.step = Some(step);
        effects.push(effect);
    }

    /// Notes that a step ended. `false`: that step was not under way, and its end says nothing.
    fn finish(&mut self, step: Step) -> bool {
        let expected = self.step == Some(step);
        if expected {
            self.step = None;
        }
        expected
    }

    /// Moves to a state that is not an end. A step done is a new start for the count of tries.
    fn raise(&mut self, now: Moment, state: TaskState) {
        if self.state != state {
            (self.state, self.since, self.tries) = (state, now, 0);
        }
    }

    fn end(&mut self, now: Moment, state: TaskState, error: String) {
        self.raise(now, state);
        self.error = error.into();
        self.retry_at = None;
    }
}

/// One second, doubled with every try.
fn stop_delay(tries: u32) -> Duration {
    RETRY_DELAY.saturating_mul(1 << tries.min(6)).min(STOP_RETRY_DELAY_MAX)
}
