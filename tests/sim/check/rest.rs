//! What must hold once nothing fails any more and time has passed: the cluster is as its users asked.

use skep_manager::dispatcher::fence::LEFT;
use skep_manager::store::{State, Store};
use skep_proto::model::{
    Availability, DesiredState, Mode, Node, NodeState, PublishMode, RestartCondition, Revision, Service, Slot, Task,
    TaskState,
};

use super::super::agent::Agent;
use super::super::executor::Phase;
use super::{Verdict, broken};

/// What becomes of a slot that has nothing left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// One task runs, and it is the right one.
    Serves,
    /// Its last task ended and is not to be followed.
    Finished,
    /// A task waits for room that is not there.
    Waits,
    /// A task of an old spec runs; the update is stuck elsewhere.
    Old,
    /// Nothing is wanted there.
    Empty,
    /// Something is still to be done.
    Unsettled,
}

/// All of it.
pub(crate) fn at_rest(agents: &[Agent], store: &Store) -> Verdict {
    let state = store.read();
    invariant_every_service_has_what_it_asks_for(&state)?;
    for agent in agents {
        invariant_a_node_that_left_runs_nothing(agent, &state)?;
    }
    for agent in agents.iter().filter(|agent| !agent.has_left) {
        invariant_every_node_that_answers_is_ready(agent, &state)?;
        invariant_machines_run_what_is_wanted_and_nothing_else(agent, &state)?;
        invariant_every_report_is_acknowledged(agent)?;
    }
    invariant_history_is_limited(&state)
}

/// The promise of the whole system: what a user asked for is there, or cannot be.
fn invariant_every_service_has_what_it_asks_for(state: &State) -> Verdict {
    const NAME: &str = "every_service_has_what_it_asks_for";
    for service in state.services() {
        if service.removing && waits_for_the_gone(state, service) {
            continue;
        }
        if service.removing {
            return broken(NAME, format!("service {} was removed and is still there", service.id));
        }
        let slots: Vec<(Slot, Vec<&Task>)> = state.slots(service.id).collect();
        let rests: Vec<(Slot, Rest)> = slots.iter().map(|(slot, tasks)| (*slot, rest(state, service, tasks))).collect();
        let stuck = rests.iter().any(|(_, rest)| matches!(rest, Rest::Waits | Rest::Finished));
        let is_wrong = |rest: &Rest| *rest == Rest::Unsettled || (*rest == Rest::Old && !stuck);
        let paused = |slot: &Slot| matches!(slot, Slot::Node(node) if !takes(state, *node));
        if let Some((slot, rest)) = rests.iter().find(|(slot, rest)| is_wrong(rest) && !paused(slot)) {
            return broken(NAME, format!("{slot:?} of {} is {rest:?}: {}", service.id, tell(state, service, *slot)));
        }
        let is_filled = |slot: Slot| rests.iter().any(|(s, rest)| *s == slot && *rest != Rest::Empty);
        match service.spec.mode {
            Mode::Replicated { replicas } => {
                let filled = rests.iter().filter(|(_, rest)| *rest != Rest::Empty).count();
                if u32::try_from(filled) != Ok(replicas) {
                    return broken(NAME, format!("{filled} of {replicas} slots of {}", service.id));
                }
            }
            Mode::Global => {
                let allowed = |node: &Node| service.current().task.placement.allows(node);
                let wanted = state.nodes().filter(|node| node.takes_tasks() && allowed(node));
                if let Some(node) = wanted.map(|node| node.id).find(|node| !is_filled(Slot::Node(*node))) {
                    return broken(NAME, format!("node {node} has no task of {}", service.id));
                }
                let barred =
                    |node: &&std::sync::Arc<Node>| node.spec.availability == Availability::Drain || !allowed(node);
                let lives = |node: &Node| state.slot(service.id, Slot::Node(node.id)).any(Task::is_live);
                if let Some(node) = state.nodes().filter(barred).find(|node| lives(node)) {
                    return broken(NAME, format!("node {} may not have its task of {}", node.id, service.id));
                }
            }
        }
    }
    Ok(())
}

/// Its last tasks are on machines that left without being heard, which the managers cannot know from machines that are off.
fn waits_for_the_gone(state: &State, service: &Service) -> bool {
    let mut tasks = state.slots(service.id).flat_map(|(_, tasks)| tasks);
    tasks.all(|task| {
        let node = task.node.and_then(|node| state.node(node));
        node.is_some_and(|node| node.status.state == NodeState::Down && node.status.message != LEFT)
    })
}

fn newest<'a>(tasks: &[&'a Task]) -> Option<&'a Task> {
    tasks.iter().rev().copied().find(|task| task.desired != DesiredState::Remove)
}

fn takes(state: &State, node: skep_proto::model::NodeId) -> bool {
    state.node(node).is_some_and(|node| node.takes_tasks())
}

fn rest(state: &State, service: &Service, tasks: &[&Task]) -> Rest {
    let wanted: Vec<&Task> = tasks.iter().copied().filter(|task| task.desired.is_live()).collect();
    match wanted.as_slice() {
        [] => match newest(tasks) {
            Some(last) if is_finished(service, last) => Rest::Finished,
            None => Rest::Empty,
            // A node keeps its history while it has no task; a number that nobody needs does not.
            Some(last) if last.status.state.is_terminal() && matches!(last.slot, Slot::Node(_)) => Rest::Empty,
            Some(_) => Rest::Unsettled,
        },
        [only] if only.status.state == TaskState::Pending && !has_room(state, service, only) => Rest::Waits,
        [only] if is_running(only) && is_held(state, service, only) => Rest::Waits,
        [only] if !runs(state, only) => Rest::Unsettled,
        [only] if is_current(state, service, only) => Rest::Serves,
        // The update failed here: the task of the new spec ended and is not followed.
        [_] if newest(tasks).is_some_and(|last| !last.desired.is_live() && is_finished(service, last)) => {
            Rest::Finished
        }
        [_] => Rest::Old,
        // Also on a drained node, if the service's minimum forbids to stop it first.
        [old, new] if is_running(old) && new.status.state == TaskState::Pending && !has_room(state, service, new) => {
            Rest::Waits
        }
        _ => Rest::Unsettled,
    }
}

fn runs(state: &State, task: &Task) -> bool {
    let node = task.node.and_then(|node| state.node(node));
    let kept = node.is_some_and(|n| n.status.state != NodeState::Down && n.spec.availability != Availability::Drain);
    is_running(task) && kept
}

/// On a drained node, the only one that may write: it can leave only by being stopped, and the service's minimum forbids that.
fn is_held(state: &State, service: &Service, task: &Task) -> bool {
    let Mode::Replicated { replicas } = service.spec.mode else { return false };
    let node = task.node.and_then(|node| state.node(node));
    let drained = node.is_some_and(|n| n.status.state != NodeState::Down && n.spec.availability == Availability::Drain);
    let revision = service.revisions.get(&task.spec_version);
    let single = revision.is_none_or(|own| own.task.is_single_writer()) || service.current().task.is_single_writer();
    let slots: Vec<Vec<&Task>> = state.slots(service.id).map(|(_, tasks)| tasks).collect();
    let finished = |tasks: &&Vec<&Task>| {
        !tasks.iter().any(|task| task.desired.is_live()) && newest(tasks).is_some_and(|last| is_finished(service, last))
    };
    let finished = u32::try_from(slots.iter().filter(finished).count()).unwrap_or(u32::MAX);
    let least = service.spec.min_available.of(replicas.saturating_sub(finished));
    let available = slots.iter().filter(|tasks| tasks.iter().any(|task| is_running(task))).count();
    drained && single && u32::try_from(available).is_ok_and(|available| available <= least)
}

fn is_running(task: &Task) -> bool {
    task.desired == DesiredState::Running && task.status.state == TaskState::Running
}

fn is_finished(service: &Service, last: &Task) -> bool {
    let policy = &service.current().task.restart;
    let declines = match policy.condition {
        RestartCondition::None => true,
        RestartCondition::OnFailure if last.status.state == TaskState::Complete => true,
        _ => policy.max_attempts.is_some() && last.spec_version == service.spec_version,
    };
    let ended = matches!(last.status.state, TaskState::Complete | TaskState::Failed | TaskState::Rejected);
    ended && declines
}

/// It runs what the spec says now, or differs only in where it may run and may be there.
fn is_current(state: &State, service: &Service, task: &Task) -> bool {
    let current = service.current();
    let Some(revision) = service.revisions.get(&task.spec_version) else { return false };
    let mut moved = Revision::clone(revision);
    moved.task.placement = current.task.placement.clone();
    let node = task.node.and_then(|node| state.node(node));
    revision == current || (moved == **current && node.is_some_and(|node| current.task.placement.allows(node)))
}

/// Whether any node would take the task: counted anew, without the scheduler.
fn has_room(state: &State, service: &Service, task: &Task) -> bool {
    let Some(revision) = service.revisions.get(&task.spec_version) else { return true };
    let mut nodes = state.nodes().filter(|node| task.node.is_none_or(|own| own == node.id));
    nodes.any(|node| node.takes_tasks() && revision.task.placement.allows(node) && fits(state, service, revision, node))
}

fn fits(state: &State, service: &Service, revision: &Revision, node: &Node) -> bool {
    let (mut memory, mut copies) = (revision.task.reservations.memory_bytes, 0);
    let mut ports = Vec::new();
    for task in state.tasks_on(node.id).filter(|task| task.holds_resources()) {
        let held = state.service(task.service).and_then(|service| service.revisions.get(&task.spec_version));
        let Some(held) = held else { continue };
        memory += held.task.reservations.memory_bytes;
        copies += u32::from(task.service == service.id && task.desired.is_live());
        ports.extend(held.ports.iter().filter(|port| port.mode == PublishMode::Host).map(|port| port.published));
    }
    let wanted = revision.ports.iter().filter(|port| port.mode == PublishMode::Host);
    memory <= node.description.resources.memory_bytes
        && revision.task.placement.max_replicas_per_node.is_none_or(|max| copies < max)
        && wanted.map(|port| port.published).all(|port| !ports.contains(&port))
}

fn tell(state: &State, service: &Service, slot: Slot) -> String {
    let line = |task: &Task| {
        let (desired, status) = (task.desired, &task.status);
        let node = task.node.and_then(|node| state.node(node));
        let node = node.map(|node| (node.id, node.status.state, node.spec.availability));
        format!("{} v{} {desired:?} {:?} {:?} on {node:?}", task.id, task.spec_version, status.state, status.message)
    };
    let tasks: Vec<String> = state.slot(service.id, slot).map(line).collect();
    format!("{tasks:?}; spec v{} {:?}", service.spec_version, service.update_status)
}

/// A node whose daemon runs and reaches a leader is not to be shown as lost: its tasks would be moved for nothing.
fn invariant_every_node_that_answers_is_ready(agent: &Agent, state: &State) -> Verdict {
    let known = state.node(agent.node).map(|node| node.status.state);
    match known {
        None | Some(NodeState::Ready) => Ok(()),
        Some(other) => broken("every_node_that_answers_is_ready", format!("node {} is {other:?}", agent.node)),
    }
}

/// Whoever left said that nothing runs there any more, and successors were started on that word.
fn invariant_a_node_that_left_runs_nothing(agent: &Agent, state: &State) -> Verdict {
    let was_heard = state.node(agent.node).is_some_and(|node| node.status.message == LEFT);
    let runs = agent.executor.containers.iter().find(|(_, container)| container.phase == Phase::Running);
    match runs {
        Some((task, _)) if was_heard => {
            broken("a_node_that_left_runs_nothing", format!("task {task} runs on {}", agent.node))
        }
        _ => Ok(()),
    }
}

/// A program that nobody asked for runs for ever; one that is told to run and does not is an outage that nobody sees.
fn invariant_machines_run_what_is_wanted_and_nothing_else(agent: &Agent, state: &State) -> Verdict {
    const NAME: &str = "machines_run_what_is_wanted_and_nothing_else";
    let is_known = state.node(agent.node).is_some();
    if !is_known && !agent.has_left {
        return broken(NAME, format!("node {} was removed and does not know", agent.node));
    }
    for (id, container) in &agent.executor.containers {
        let task = state.task(*id).filter(|task| is_known && task.node == Some(agent.node));
        let Some(task) = task else {
            return broken(NAME, format!("node {} has a container of task {id}, which is not its own", agent.node));
        };
        if container.phase == Phase::Running && task.status.state != TaskState::Running {
            let status = &task.status;
            return broken(
                NAME,
                format!("task {id} runs on {} and is {:?} {}", agent.node, status.state, status.message),
            );
        }
    }
    let told = state.tasks_on(agent.node).filter(|task| task.status.state == TaskState::Running);
    for task in told {
        let container = agent.executor.containers.get(&task.id);
        if container.is_none_or(|container| container.phase != Phase::Running) {
            return broken(NAME, format!("task {} is said to run on {} and does not", task.id, agent.node));
        }
    }
    Ok(())
}

/// A report that is never acknowledged, or a list that is never written, is a machine that waits for ever.
fn invariant_every_report_is_acknowledged(agent: &Agent) -> Verdict {
    let Some(daemon) = &agent.daemon else { return Ok(()) };
    let machine = &daemon.machine;
    let quiet = machine.reporter().is_quiet() && machine.ledger().is_clean() && machine.session().is_open();
    if quiet { Ok(()) } else { broken("every_report_is_acknowledged", format!("node {}", agent.node)) }
}

/// History is bounded, or a service that fails for a month fills the managers' memory.
fn invariant_history_is_limited(state: &State) -> Verdict {
    let limit = state.cluster().map_or(5, |cluster| cluster.spec.task_history_limit);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    for service in state.services() {
        for (slot, tasks) in state.slots(service.id) {
            let over = |task: &&Task| !task.desired.is_live() && task.status.state.is_terminal();
            let live = tasks.len() - tasks.iter().copied().filter(|task| over(task)).count();
            // What may still run on a machine that is off is no history yet.
            let off = |task: &&&Task| {
                let node = task.node.and_then(|node| state.node(node));
                task.holds_resources() && node.is_some_and(|node| node.status.state == NodeState::Down)
            };
            let kept =
                tasks.len() - tasks.iter().filter(|task| task.desired == DesiredState::Remove).filter(off).count();
            // The last task of a slot that ended for good is the record of that, whatever the limit.
            let record = usize::from(newest(&tasks).is_some_and(|last| !last.desired.is_live()));
            if kept > limit.max(live + record) {
                let what = format!("{kept} tasks in {slot:?} of {}: {}", service.id, tell(state, service, slot));
                return broken("history_is_limited", what);
            }
        }
    }
    Ok(())
}
