//! What the store's state costs at size, in time and memory. `cargo bench -p skep-manager --bench store`.
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "a benchmark owns the clock and fails loudly")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use skep_manager::store::{Change, Placed, Reported, State, Touched, Transaction};
use skep_proto::model::{
    Availability, DesiredState, Meta, MinAvailable, Mode, Moment, Node, NodeDescription, NodeId, NodeRole, NodeSpec,
    NodeState, NodeStatus, Seed, ServiceId, ServiceName, ServiceSpec, Slot, Task, TaskId, TaskSpec, TaskState,
    TaskStatus, UpdateConfig,
};

const PER_SERVICE: u32 = 1_000;

struct Bench {
    state: State,
    index: u64,
    seed: Seed,
    nodes: Vec<NodeId>,
}

impl Bench {
    fn apply(&mut self, changes: Vec<Change>) -> Duration {
        self.index += 1;
        let transaction = vec![Transaction { changes, at: Moment(self.index) }];
        let mut touched = Touched::default();
        let started = processor();
        let outcomes = self.state.apply(self.index, transaction, &mut touched);
        let took = processor().checked_sub(started).unwrap();
        assert!(outcomes.iter().all(Result::is_ok), "{:?}", &outcomes[..1]);
        took
    }

    fn nodes(&mut self, count: u32) {
        self.nodes = (0..count).map(|_| NodeId::new(self.seed.draw())).collect();
        let changes = self.nodes.iter().map(|&id| Change::PutNode(Box::new(node(id)))).collect();
        self.apply(changes);
    }

    fn create(&mut self, service: ServiceId) -> (Vec<TaskId>, Duration) {
        self.apply(vec![self::service(service)]);
        let ids: Vec<TaskId> = (0..PER_SERVICE).map(|_| TaskId::new(self.seed.draw())).collect();
        let tasks = ids.iter().zip(1..).map(|(&id, slot)| Change::CreateTask(Box::new(task(id, service, slot))));
        let took = self.apply(tasks.collect());
        (ids, took)
    }

    fn assign(&mut self, tasks: &[TaskId]) -> Duration {
        let nodes = self.nodes.iter().cycle();
        let place = |(&task, &node)| Placed { task, if_version: self.state.task(task).unwrap().meta.version, node };
        let placed = tasks.iter().zip(nodes).map(place).collect();
        self.apply(vec![Change::Assign(placed)])
    }

    fn report(&mut self, tasks: &[TaskId], state: TaskState) -> Duration {
        let status = |id: TaskId| {
            let mut status = TaskStatus::new(state, Moment(self.index), "started");
            status.container_id = id.to_string().into();
            status
        };
        let report =
            |&task: &TaskId| Reported { task, node: self.state.task(task).unwrap().node, status: status(task) };
        let reported = tasks.iter().map(report).collect();
        self.apply(vec![Change::Report(reported)])
    }
}

fn node(id: NodeId) -> Node {
    let spec = NodeSpec { labels: BTreeMap::new(), availability: Availability::Active, role: NodeRole::Worker };
    let status = NodeStatus::new(NodeState::Ready, "", "");
    let description = NodeDescription::default();
    let role = NodeRole::Worker;
    Node {
        id,
        meta: Meta::default(),
        spec,
        description,
        status,
        role,
        manager: None,
        certificate: String::new(),
        proven_key: None,
    }
}

fn service(id: ServiceId) -> Change {
    let spec = ServiceSpec {
        name: ServiceName::new(format!("s{id}")).unwrap(),
        labels: BTreeMap::new(),
        task: TaskSpec::default(),
        mode: Mode::Replicated { replicas: PER_SERVICE },
        ports: vec![],
        update: UpdateConfig::default(),
        min_available: MinAvailable::default(),
    };
    Change::CreateService { service: id, spec: Box::new(spec) }
}

fn task(id: TaskId, service: ServiceId, slot: u32) -> Task {
    Task {
        id,
        meta: Meta::default(),
        service,
        slot: Slot::Replica(slot),
        spec_version: 1,
        node: None,
        desired: DesiredState::Running,
        status: TaskStatus::new(TaskState::Pending, Moment(0), "pending"),
        start_after: None,
        replaces: None,
        restarts: vec![],
    }
}

/// Time that this thread was given by a processor: others on the machine do not count.
fn processor() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// Resident bytes of this process.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn run(tasks: usize, nodes: u32) {
    let before = resident();
    let mut bench = Bench { state: State::default(), index: 0, seed: Seed::new(7), nodes: vec![] };
    bench.nodes(nodes);
    let mut ids = Vec::with_capacity(tasks);
    let mut creating = Duration::ZERO;
    while ids.len() < tasks {
        let service = ServiceId::new(bench.seed.draw());
        let (created, took) = bench.create(service);
        ids.extend(created);
        creating += took;
    }
    let assigning = bench.assign(&ids);
    let held = resident() - before - ids.len() * size_of::<TaskId>();
    let reporting = bench.report(&ids, TaskState::Running);
    println!("{tasks} tasks on {nodes} nodes: create {creating:?}, assign {assigning:?}, report RUNNING {reporting:?}");
    println!("  about {} resident bytes a task after assigning; a Task is {} bytes", held / tasks, size_of::<Task>());
    let started = Instant::now();
    let seen =
        bench.state.services().flat_map(|s| bench.state.slots(s.id)).map(|(_, tasks)| tasks.len()).sum::<usize>();
    println!("  walking all {seen} slots: {:?}", started.elapsed());
    let ended = bench.report(&ids, TaskState::Failed);
    println!("  report FAILED {ended:?}");
}

fn main() {
    run(100_000, 1_000);
    run(1_000_000, 5_000);
}
