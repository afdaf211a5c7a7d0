//! What a reader asks of whom.

use std::collections::{BTreeMap, BTreeSet};

use skep_proto::model::{NodeId, NodeState, ServiceId, Slot, Task, TaskId, TaskState};
use skep_proto::pb;

use crate::store::State;

/// One reader's request and how far it is.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// All tasks of these.
    pub services: Vec<ServiceId>,
    /// And these.
    pub tasks: Vec<TaskId>,
    /// Which lines the reader wants.
    options: pb::LogOptions,
    /// Tasks whose node was asked and has not failed since.
    asked: BTreeSet<TaskId>,
    /// Tasks whose lines are missing at present; the reader was told so.
    missing: BTreeSet<TaskId>,
    /// How far the reader is with each task it has lines of.
    marks: BTreeMap<TaskId, Mark>,
    /// Tasks whose names the reader has.
    named: BTreeSet<TaskId>,
    /// Tasks that were there when the reader came; all lines of the others are new. `None` before the first look.
    first: Option<BTreeSet<TaskId>>,
}

/// Up to where a reader has a task's lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark {
    /// Time of the last line.
    at: u64,
    /// Lines of that time that it has.
    lines: usize,
    /// Read again from [`Mark::at`] on: so many lines of that time, and all older ones, have been had.
    again: Option<usize>,
}

/// What one node is to be asked for at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// Which.
    pub node: NodeId,
    /// Whose lines.
    pub tasks: Vec<TaskId>,
    /// Which of them.
    pub options: pb::LogOptions,
}

/// What is to be asked, and what cannot be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asks {
    /// For the nodes that can be asked.
    pub parts: Vec<Ask>,
    /// Sentences for the reader.
    pub warnings: Vec<String>,
}

/// Why a task is asked for: each kind has its own options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// It was there when the reader came.
    First,
    /// It came later, so all of its lines are new.
    New,
    /// Its lines broke off.
    Again,
}

impl Reading {
    /// Nothing has been asked yet.
    #[must_use]
    pub fn new(services: Vec<ServiceId>, tasks: Vec<TaskId>, options: pb::LogOptions) -> Self {
        Self { services, tasks, options, ..Self::default() }
    }

    /// The reader wants what comes, too.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.options.follow
    }

    /// Lines are missing that their node may give later.
    #[must_use]
    pub fn misses(&self) -> bool {
        !self.missing.is_empty()
    }

    /// What to ask now that was not asked before, or broke off.
    pub fn next(&mut self, state: &State) -> Asks {
        let mut wanted: BTreeMap<(NodeId, Kind), Vec<TaskId>> = BTreeMap::new();
        let mut away: BTreeMap<NodeId, usize> = BTreeMap::new();
        let unasked = self.unasked(state);
        self.first.get_or_insert_with(|| unasked.keys().copied().collect());
        for (task, node) in unasked {
            if answers(state, node) {
                wanted.entry((node, self.kind(task))).or_default().push(task);
            } else if self.missing.insert(task) {
                *away.entry(node).or_default() += 1;
            }
        }
        let parts = wanted.into_iter().map(|((node, kind), tasks)| self.ask(node, kind, tasks)).collect();
        let warnings = away.into_iter().map(|(node, tasks)| missing(state, node, tasks, "is down")).collect();
        Asks { parts, warnings }
    }

    fn unasked(&self, state: &State) -> BTreeMap<TaskId, NodeId> {
        let of_services = self.services.iter().flat_map(|&id| state.slots(id)).flat_map(|(_, tasks)| tasks);
        let named = self.tasks.iter().filter_map(|&id| state.task(id));
        let new = |task: &&Task| has_logs(task) && !self.asked.contains(&task.id);
        of_services.chain(named).filter(new).filter_map(|task| Some((task.id, task.node?))).collect()
    }

    fn kind(&self, task: TaskId) -> Kind {
        let first = self.first.as_ref().is_some_and(|first| first.contains(&task));
        match (self.marks.contains_key(&task), first) {
            (true, _) => Kind::Again,
            (false, true) => Kind::First,
            (false, false) => Kind::New,
        }
    }

    fn ask(&mut self, node: NodeId, kind: Kind, tasks: Vec<TaskId>) -> Ask {
        self.asked.extend(&tasks);
        let options = match kind {
            Kind::First => self.options,
            Kind::New => pb::LogOptions { tail: -1, ..self.options },
            Kind::Again => pb::LogOptions { tail: -1, since: self.rewind(&tasks), ..self.options },
        };
        Ask { node, tasks, options }
    }

    /// The earliest time up to which the reader has all; what it has from there on is left out when it comes again.
    fn rewind(&mut self, tasks: &[TaskId]) -> u64 {
        for task in tasks {
            self.marks.entry(*task).and_modify(|mark| mark.again = Some(mark.lines));
        }
        tasks.iter().filter_map(|task| self.marks.get(task)).map(|mark| mark.at).min().unwrap_or(0)
    }

    /// The tasks' lines broke off, or could not be had; they are asked for again. How many of them had not been missed before.
    pub fn lose(&mut self, tasks: &[TaskId]) -> usize {
        self.asked.retain(|task| !tasks.contains(task));
        tasks.iter().filter(|task| self.missing.insert(**task)).count()
    }

    /// The tasks' node has begun to answer. How many of them had been missed.
    pub fn found(&mut self, tasks: &[TaskId]) -> usize {
        tasks.iter().filter(|task| self.missing.remove(task)).count()
    }

    /// Keeps the lines that the reader has not got yet.
    #[must_use]
    pub fn fresh(&mut self, lines: Vec<pb::LogLine>) -> Vec<pb::LogLine> {
        lines.into_iter().filter(|line| self.is_fresh(line)).collect()
    }

    fn is_fresh(&mut self, line: &pb::LogLine) -> bool {
        let Ok(task) = TaskId::from_bytes(&line.task) else { return true };
        let mark = self.marks.entry(task).or_default();
        let had = match &mut mark.again {
            Some(_) if line.at < mark.at => true,
            Some(left) if line.at == mark.at && *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        };
        if !had {
            let lines = if line.at == mark.at { mark.lines + 1 } else { 1 };
            *mark = Mark { at: line.at, lines, again: None };
        }
        !had
    }

    /// Names for the tasks of these lines that the reader has not got yet.
    pub fn sources(&mut self, lines: &[pb::LogLine], state: &State) -> Vec<pb::LogSource> {
        let ids = lines.iter().filter_map(|line| TaskId::from_bytes(&line.task).ok());
        let new: BTreeSet<TaskId> = ids.filter(|id| !self.named.contains(id)).collect();
        self.named.extend(&new);
        new.into_iter().filter_map(|id| source(state, id)).collect()
    }
}

/// Whether a node can be asked at all.
#[must_use]
pub fn answers(state: &State, node: NodeId) -> bool {
    state.node(node).is_some_and(|node| node.status.state != NodeState::Down)
}

/// Those of the tasks that have not ended.
#[must_use]
pub fn unfinished(state: &State, mut tasks: Vec<TaskId>) -> Vec<TaskId> {
    tasks.retain(|&task| state.task(task).is_some_and(|task| !task.status.state.is_terminal()));
    tasks
}

/// The sentence for logs that can be had again.
#[must_use]
pub fn answers_again(state: &State, node: NodeId) -> String {
    format!("node {} answers again: its logs go on", name(state, node))
}

fn name(state: &State, node: NodeId) -> String {
    state.node(node).map_or_else(|| node.to_string(), |node| node.description.hostname.clone())
}

/// The sentence for logs that cannot be had.
#[must_use]
pub fn missing(state: &State, node: NodeId, tasks: usize, why: &str) -> String {
    let name = name(state, node);
    let tasks = if tasks == 1 { "a task".to_owned() } else { format!("{tasks} tasks") };
    format!("incomplete logs: node {name} {why}; it has those of {tasks}")
}

/// It has run, or does.
fn has_logs(task: &Task) -> bool {
    task.node.is_some()
        && matches!(
            task.status.state,
            TaskState::Running | TaskState::Complete | TaskState::Shutdown | TaskState::Failed
        )
}

fn source(state: &State, id: TaskId) -> Option<pb::LogSource> {
    let task = state.task(id)?;
    let node = task.node.and_then(|node| state.node(node));
    Some(pb::LogSource {
        task: id.to_bytes(),
        service_name: state.service(task.service).map(|s| s.spec.name.to_string()).unwrap_or_default(),
        slot: match task.slot {
            Slot::Replica(number) => number,
            Slot::Node(_) => 0,
        },
        node: task.node.map(NodeId::to_bytes).unwrap_or_default(),
        node_name: node.map(|node| node.description.hostname.clone()).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{World, node_id, replicated};

    /// Two nodes, and a service of two tasks that run.
    fn running() -> (World, ServiceId) {
        let mut world = World::new(2);
        let service = world.create(replicated(2));
        (1..=2).for_each(|slot| run(&mut world, service, slot));
        (world, service)
    }

    fn run(world: &mut World, service: ServiceId, slot: u32) {
        world.task(service, Slot::Replica(slot));
        world.place();
        world.agents();
    }

    fn follow(service: ServiceId, tail: i64) -> Reading {
        Reading::new(vec![service], Vec::new(), pb::LogOptions { follow: true, tail, ..Default::default() })
    }

    fn line(task: TaskId, at: u64, text: &str) -> pb::LogLine {
        pb::LogLine { task: task.to_bytes(), at, data: text.to_owned().into(), ..Default::default() }
    }

    fn texts(lines: &[pb::LogLine]) -> Vec<String> {
        lines.iter().map(|line| String::from_utf8_lossy(&line.data).into_owned()).collect()
    }

    #[test]
    fn each_node_is_asked_once_for_its_tasks() {
        let (world, service) = running();
        let mut reading = follow(service, 10);
        let asks = reading.next(&world.state);
        let tasks: usize = asks.parts.iter().map(|ask| ask.tasks.len()).sum();
        assert_eq!((tasks, asks.warnings.len()), (2, 0));
        assert!(asks.parts.iter().all(|ask| ask.options.tail == 10));
        assert_eq!(reading.next(&world.state), Asks::default());
    }

    #[test]
    fn a_task_that_comes_later_is_read_from_its_first_line() {
        let (mut world, service) = running();
        let mut reading = follow(service, 0);
        reading.next(&world.state);
        run(&mut world, service, 3);
        let asks = reading.next(&world.state);
        assert_eq!(asks.parts.iter().map(|ask| (ask.tasks.len(), ask.options.tail)).collect::<Vec<_>>(), [(1, -1)]);
    }

    #[test]
    fn what_broke_off_goes_on_where_it_was() {
        let (world, service) = running();
        let mut reading = follow(service, -1);
        let first = reading.next(&world.state).parts.remove(0);
        let task = first.tasks[0];
        let lines = |times: &[(u64, &str)]| times.iter().map(|(at, text)| line(task, *at, text)).collect::<Vec<_>>();
        assert_eq!(reading.fresh(lines(&[(1, "a"), (2, "b"), (2, "c")])).len(), 3);
        reading.lose(&first.tasks);
        assert!(reading.misses());
        let again = reading.next(&world.state).parts.remove(0);
        assert_eq!((again.node, again.options.since, again.options.tail), (first.node, 2, -1));
        assert_eq!(reading.found(&again.tasks), first.tasks.len());
        assert!(!reading.misses());
        let fresh = reading.fresh(lines(&[(1, "a"), (2, "b"), (2, "c"), (2, "d"), (3, "e"), (1, "clock set back")]));
        assert_eq!(texts(&fresh), ["d", "e", "clock set back"]);
    }

    #[test]
    fn a_task_without_lines_is_read_again_as_it_was_wanted_at_first() {
        let (world, service) = running();
        let mut reading = follow(service, 0);
        let first = reading.next(&world.state).parts.remove(0);
        reading.lose(&first.tasks);
        assert_eq!(reading.next(&world.state).parts, [first]);
    }

    #[test]
    fn a_node_that_is_down_is_told_of_once_and_asked_when_it_is_back() {
        let (mut world, service) = running();
        world.turn(1, NodeState::Down);
        let mut reading = follow(service, -1);
        let asks = reading.next(&world.state);
        assert_eq!((asks.parts.len(), asks.warnings.len()), (1, 1));
        assert_eq!(reading.next(&world.state), Asks::default());
        world.turn(1, NodeState::Ready);
        let asks = reading.next(&world.state);
        assert_eq!(asks.parts.iter().map(|ask| ask.node).collect::<Vec<_>>(), [node_id(1)]);
    }
}
