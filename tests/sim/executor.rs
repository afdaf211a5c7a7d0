//! A fake machine's containers. They outlive the daemon; a power cut ends them.
//!
//! It keeps the contract of the product's executor and makes use of what that leaves open: a step may fail, may take long, and one
//! that was under way when the daemon died may have been done or not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skep_agent::order::{Blame, Exited, Fault, Recovered, Started, TaskOrder};
use skep_agent::task::Input;
use skep_proto::model::disconnect::BACKSTOP_LAG;
use skep_proto::model::{ServiceId, TaskId};
use skep_runtime::Lifeline;
use skep_runtime::lifeline::Care;

use super::queue::Event;
use super::stage::Stage;
use super::time::{BootClock, MS, SECOND, Us, us};

/// A program that runs until it is stopped.
pub(crate) const STEADY: &str = "steady";
/// One that fails after a while.
pub(crate) const CRASHING: &str = "crashing";
/// One that is done after a while.
pub(crate) const ENDING: &str = "ending";
/// An image that is not there.
pub(crate) const MISSING: &str = "missing";

/// Where a container is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Phase {
    Created,
    Running,
    Ended(Exited),
}

/// One container.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) phase: Phase,
    image: String,
    /// Of a task of which no other of its slot may run at the same time: which slot, and what its life hangs on.
    pub(crate) single: Option<Single>,
    /// Its shim is stopping it, and kills it then.
    kill_at: Option<Duration>,
}

/// What a single writer's container has besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Single {
    pub(crate) slot: (ServiceId, u32),
    line: Lifeline,
}

#[derive(Clone, Debug)]
enum Step {
    Prepare(Box<TaskOrder>),
    Start,
    Stop,
    Remove,
}

/// What the world is to know of a step that ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Done {
    Started,
    Other,
}

/// A machine's containers, and the steps that its daemon waits for.
#[derive(Debug)]
pub(crate) struct Executor {
    agent: usize,
    /// Which life of the daemon it works for.
    pub(crate) life: u32,
    pub(crate) containers: BTreeMap<TaskId, Container>,
    steps: BTreeMap<u64, (TaskId, Step)>,
    count: u64,
    waiting: BTreeSet<TaskId>,
    pub(crate) clock: BootClock,
    /// When the lifeline was last kept.
    pub(crate) kept: Option<Duration>,
}

impl Executor {
    pub(crate) fn new(agent: usize) -> Self {
        let (containers, steps, waiting) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { agent, life: 0, containers, steps, count: 0, waiting, clock: BootClock::default(), kept: None }
    }

    /// No step is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.steps.is_empty()
    }

    pub(crate) fn prepare(&mut self, stage: &mut Stage, order: TaskOrder) {
        let delay = stage.chance.delay(30 * MS, 3 * SECOND);
        self.begin(stage, order.task, Step::Prepare(Box::new(order)), delay);
    }

    pub(crate) fn start(&mut self, stage: &mut Stage, task: TaskId) {
        let delay = stage.chance.delay(10 * MS, SECOND);
        self.begin(stage, task, Step::Start, delay);
    }

    /// A program takes its time to end, but no longer than it is given.
    pub(crate) fn stop(&mut self, stage: &mut Stage, task: TaskId, grace: Duration) {
        let grace = us(grace);
        let delay = if stage.chance.once_in(200) { grace } else { stage.chance.delay(50 * MS, SECOND).min(grace) };
        self.begin(stage, task, Step::Stop, delay + MS);
    }

    pub(crate) fn remove(&mut self, stage: &mut Stage, task: TaskId) {
        let delay = stage.chance.delay(5 * MS, SECOND);
        self.begin(stage, task, Step::Remove, delay);
    }

    fn begin(&mut self, stage: &mut Stage, task: TaskId, step: Step, delay: Us) {
        self.count += 1;
        self.steps.insert(self.count, (task, step));
        stage.after(delay, Event::Step(self.agent, self.life, self.count));
    }

    /// Tells the daemon when the task ends.
    pub(crate) fn wait(&mut self, stage: &mut Stage, task: TaskId) {
        self.waiting.insert(task);
        if self.containers.get(&task).is_none_or(|container| container.phase != Phase::Running) {
            self.tell(stage, task);
        }
    }

    fn tell(&mut self, stage: &mut Stage, task: TaskId) {
        if self.waiting.remove(&task) {
            let delay = stage.chance.delay(MS, 100 * MS);
            stage.after(delay, Event::Exited(self.agent, self.life, task));
        }
    }

    /// How a task ended.
    pub(crate) fn exit_of(&self, task: TaskId) -> Exited {
        match self.containers.get(&task).map(|container| &container.phase) {
            Some(Phase::Ended(exit)) => exit.clone(),
            _ => Exited { code: 255, oom: false, error: Some("the container is gone".into()) },
        }
    }

    /// A step ends: what the task learns. `None`: the daemon that began it is no more.
    pub(crate) fn finish(&mut self, stage: &mut Stage, step: u64) -> Option<(TaskId, Input, Done)> {
        let (task, step) = self.steps.remove(&step)?;
        let failed = stage.chance.once_in(stage.rules.step_failures);
        let blame = stage.chance.pick(&[Blame::Task, Blame::Node, Blame::Temporary]).unwrap_or(Blame::Task);
        let fault = failed.then(|| Fault { blame, reason: "chance".into() });
        Some(match step {
            Step::Prepare(order) => (task, Input::Prepared(self.prepared(stage, &order, fault)), Done::Other),
            Step::Start => {
                let result = self.started(stage, task, fault);
                let done = if result.is_ok() { Done::Started } else { Done::Other };
                (task, Input::Started(result), done)
            }
            Step::Stop => (task, Input::Stopped(self.stopped(stage, task, fault)), Done::Other),
            Step::Remove => (task, Input::Removed(self.removed(task, fault)), Done::Other),
        })
    }

    fn prepared(&mut self, stage: &Stage, order: &TaskOrder, fault: Option<Fault>) -> Result<(), Fault> {
        let image = order.template.spec.container.image.clone();
        if image == MISSING && !stage.rules.is_quiet {
            return Err(Fault { blame: Blame::Task, reason: "no such image".into() });
        }
        fault.map_or(Ok(()), Err)?;
        let single = single(order);
        self.containers.insert(order.task, Container { phase: Phase::Created, image, single, kill_at: None });
        Ok(())
    }

    fn started(&mut self, stage: &mut Stage, task: TaskId, fault: Option<Fault>) -> Result<Started, Fault> {
        let missing = Fault { blame: Blame::Node, reason: "no such container".into() };
        let container = self.containers.get_mut(&task).ok_or(missing)?;
        fault.map_or(Ok(()), Err)?;
        let uptime = self.clock.uptime(stage.now);
        if container.single.is_some_and(|single| !single.line.holds(self.kept, uptime)) {
            return Err(Fault { blame: Blame::Temporary, reason: "its lifeline was not kept".into() });
        }
        container.phase = Phase::Running;
        if container.single.is_some() {
            stage.after(0, Event::Care(self.agent, task));
        }
        if container.image != STEADY && !stage.rules.is_quiet {
            let life = stage.chance.between(50 * MS, 8 * SECOND);
            stage.after(life, Event::Exit(self.agent, task));
        }
        Ok(started(task))
    }

    fn stopped(&mut self, stage: &mut Stage, task: TaskId, fault: Option<Fault>) -> Result<Option<Exited>, Fault> {
        fault.map_or(Ok(()), Err)?;
        let Some(container) = self.containers.get_mut(&task) else { return Ok(None) };
        let exit = match &container.phase {
            Phase::Created => return Ok(None),
            Phase::Ended(exit) => exit.clone(),
            Phase::Running => Exited { code: 143, oom: false, error: None },
        };
        container.phase = Phase::Ended(exit.clone());
        self.tell(stage, task);
        Ok(Some(exit))
    }

    fn removed(&mut self, task: TaskId, fault: Option<Fault>) -> Result<(), Fault> {
        fault.map_or(Ok(()), Err)?;
        self.containers.remove(&task);
        Ok(())
    }

    /// The shim of a container looks after its lifeline, whether a daemon is there or not.
    pub(crate) fn care(&mut self, stage: &mut Stage, task: TaskId) {
        let (kept, uptime) = (self.kept, self.clock.uptime(stage.now));
        let running = self.containers.get_mut(&task).filter(|container| container.phase == Phase::Running);
        let Some(container) = running else { return };
        let Some(single) = container.single else { return };
        match single.line.care(kept, container.kill_at, uptime) {
            Care::Look(at) => stage.at(self.clock.alarm(stage.now, at), Event::Care(self.agent, task)),
            Care::Stop(at) => {
                container.kill_at = Some(at);
                stage.at(self.clock.alarm(stage.now, at), Event::Care(self.agent, task));
                if stage.chance.once_in(500) {
                    stage.after(us(single.line.grace) / 2, Event::Exit(self.agent, task));
                }
            }
            Care::Kill => {
                container.phase = Phase::Ended(Exited { code: 137, oom: false, error: Some("lifeline".into()) });
                self.tell(stage, task);
            }
        }
    }

    /// A program ends by itself, whether a daemon is there or not.
    pub(crate) fn exit(&mut self, stage: &mut Stage, task: TaskId) {
        let Some(container) = self.containers.get_mut(&task).filter(|c| c.phase == Phase::Running) else { return };
        let code = if container.image == ENDING { 0 } else { 1 };
        container.phase = Phase::Ended(Exited { code, oom: false, error: None });
        self.tell(stage, task);
    }

    /// The daemon died. Steps under way are done or not; gives the tasks that were started by them.
    pub(crate) fn daemon_died(&mut self, stage: &mut Stage) -> Vec<TaskId> {
        self.waiting.clear();
        let steps: Vec<u64> = self.steps.keys().copied().collect();
        let mut started = Vec::new();
        for step in steps {
            if stage.chance.once_in(500) {
                let done = self.finish(stage, step);
                started.extend(done.filter(|(.., done)| *done == Done::Started).map(|(task, ..)| task));
            }
        }
        self.steps.clear();
        started
    }

    /// The machine lost its power: nothing runs any more. What was written of the containers is found or not.
    pub(crate) fn power_cut(&mut self, stage: &mut Stage) {
        self.waiting.clear();
        self.steps.clear();
        let keeps = stage.chance.once_in(500);
        let lost = Exited { code: 255, oom: false, error: Some("the machine was restarted".into()) };
        self.containers.retain(|_, container| {
            if container.phase == Phase::Running {
                container.phase = Phase::Ended(lost.clone());
            }
            keeps
        });
    }

    /// What a new daemon finds.
    pub(crate) fn recover(&self) -> Vec<(TaskId, Recovered)> {
        let found = |(id, container): (&TaskId, &Container)| {
            let found = match &container.phase {
                Phase::Created => Recovered::Created,
                Phase::Running => Recovered::Running(started(*id)),
                Phase::Ended(exit) => Recovered::Exited(exit.clone()),
            };
            (*id, found)
        };
        self.containers.iter().map(found).collect()
    }
}

fn single(order: &TaskOrder) -> Option<Single> {
    let spec = &order.template.spec;
    let after = spec.on_disconnect.stops_after()? + BACKSTOP_LAG;
    let line = Lifeline { after, grace: spec.container.stop_grace };
    (order.slot > 0).then_some(Single { slot: (order.template.service, order.slot), line })
}

fn started(task: TaskId) -> Started {
    let pid = u32::try_from(task.bits() % 30_000).unwrap_or(0) + 2;
    Started { pid, container_id: task.to_string(), ports: Vec::new() }
}
