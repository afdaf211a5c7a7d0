//! What placing tasks costs at size: `cargo run --release -p skep-manager --example schedule`.
//!
//! Each shape is run several times from an empty cluster; the medians are printed. Placing is planning and applying, pass
//! after pass, as the leader does it; the commit between the two is the disk's and not measured here. The clock is the
//! thread's CPU time, so that other work on the machine does not count.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use skep_manager::store::{Change, State, Touched, Transaction};
use skep_manager::{orchestrator, scheduler};
use skep_proto::model::{
    Availability, Constraint, Meta, MinAvailable, Mode, Moment, Node, NodeDescription, NodeId, NodeRole, NodeSpec,
    NodeState, NodeStatus, Resources, Seed, ServiceId, ServiceName, ServiceSpec, TaskSpec, UpdateConfig,
};

const RUNS: usize = 5;
const TASKS: u32 = 100_000;

/// One thing to measure.
struct Shape {
    what: &'static str,
    nodes: u32,
    services: u32,
    constrained: bool,
    spread: bool,
}

/// What one run took.
#[derive(Default)]
struct Took {
    making: Duration,
    planning: Duration,
    applying: Duration,
    resting: Duration,
}

struct Bench {
    state: State,
    index: u64,
    seed: Seed,
}

const SHAPES: [Shape; 6] = [
    Shape { what: "one service", nodes: 1_000, services: 1, constrained: false, spread: false },
    Shape { what: "one service, constraints", nodes: 5_000, services: 1, constrained: true, spread: false },
    Shape { what: "one service, constraints, spread", nodes: 5_000, services: 1, constrained: true, spread: true },
    Shape { what: "100 services", nodes: 1_000, services: 100, constrained: false, spread: false },
    Shape { what: "100 services, constraints", nodes: 5_000, services: 100, constrained: true, spread: false },
    Shape { what: "1,000 services, constraints", nodes: 5_000, services: 1_000, constrained: true, spread: false },
];

fn main() {
    println!(
        "{TASKS} tasks, median of {RUNS} runs; make and rest are the orchestrator's, plan and apply the scheduler's"
    );
    println!(
        "{:<34} {:>6} {:>9} {:>9} {:>9} {:>12} {:>12}",
        "shape", "nodes", "make", "plan", "apply", "placements/s", "rest/service"
    );
    for shape in &SHAPES {
        let runs: Vec<Took> = (0..RUNS).map(|run| measure(shape, run)).collect();
        report(shape, &runs);
    }
}

fn report(shape: &Shape, runs: &[Took]) {
    let median = |of: fn(&Took) -> Duration| {
        let mut times: Vec<Duration> = runs.iter().map(of).collect();
        times.sort_unstable();
        times[times.len() / 2]
    };
    let placing = median(|took| took.planning + took.applying);
    println!(
        "{:<34} {:>6} {:>9.1?} {:>9.1?} {:>9.1?} {:>12.0} {:>12.1?}",
        shape.what,
        shape.nodes,
        median(|took| took.making),
        median(|took| took.planning),
        median(|took| took.applying),
        f64::from(TASKS) / placing.as_secs_f64(),
        median(|took| took.resting) / shape.services,
    );
}

fn measure(shape: &Shape, run: usize) -> Took {
    let mut bench = Bench { state: State::default(), index: 0, seed: Seed::new(run as u128) };
    bench.apply(vec![Transaction { changes: (0..shape.nodes).map(node).collect(), at: Moment(1) }]);
    let services: Vec<ServiceId> = (0..shape.services).map(|number| bench.create(shape, number)).collect();
    let mut took = Took::default();
    bench.make(&services, &mut took);
    bench.place(&mut took);
    bench.rest(&services, &mut took);
    took
}

impl Bench {
    fn apply(&mut self, transactions: Vec<Transaction>) -> Duration {
        self.index += 1;
        let started = clock();
        let outcomes = self.state.apply(self.index, transactions, &mut Touched::default());
        let took = clock() - started;
        assert!(outcomes.iter().all(Result::is_ok), "a transaction was refused");
        took
    }

    fn create(&mut self, shape: &Shape, number: u32) -> ServiceId {
        let id = ServiceId::new(self.seed.draw());
        let change = service(id, shape, number);
        self.apply(vec![Transaction { changes: vec![change], at: Moment(1) }]);
        id
    }

    fn make(&mut self, services: &[ServiceId], took: &mut Took) {
        for &service in services {
            loop {
                let started = clock();
                let plan = orchestrator::plan(&self.state, service, Moment(2), Seed::new(self.seed.draw()));
                took.making += clock() - started;
                if plan.transactions.is_empty() {
                    break;
                }
                took.making += self.apply(plan.transactions);
            }
        }
    }

    fn place(&mut self, took: &mut Took) {
        loop {
            let started = clock();
            let plan = scheduler::plan(&self.state, Moment(3), Seed::new(self.seed.draw()));
            took.planning += clock() - started;
            let Some(transaction) = scheduler::Plan::transaction(plan.placed, Moment(3)) else { break };
            took.applying += self.apply(vec![transaction]);
        }
        assert!(self.state.tasks().all(|task| task.node.is_some()), "every task has a node");
    }

    /// A look at services that need nothing.
    fn rest(&mut self, services: &[ServiceId], took: &mut Took) {
        for &service in services {
            let started = clock();
            let plan = orchestrator::plan(&self.state, service, Moment(4), Seed::new(self.seed.draw()));
            took.resting += clock() - started;
            assert!(plan.transactions.is_empty(), "a service at rest needs nothing");
        }
    }
}

/// CPU time of this thread.
fn clock() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("CPU time is not negative")
}

fn node(number: u32) -> Change {
    let label = |key: &str, value: String| (key.to_owned(), value);
    let labels = [
        label("zone", format!("z{}", number % 3)),
        label("disk", if number.is_multiple_of(5) { "hdd" } else { "ssd" }.into()),
    ];
    Change::PutNode(Box::new(Node {
        id: NodeId::new(Seed::new(u128::from(number)).draw()),
        meta: Meta::default(),
        spec: NodeSpec { labels: BTreeMap::from(labels), availability: Availability::Active, role: NodeRole::Worker },
        description: NodeDescription {
            hostname: format!("node-{number}"),
            resources: Resources { nano_cpus: 64_000_000_000, memory_bytes: 256 << 30, pids: 0 },
            ..NodeDescription::default()
        },
        status: NodeStatus::new(NodeState::Ready, "", ""),
        role: NodeRole::Worker,
        manager: None,
        certificate: String::new(),
        proven_key: None,
    }))
}

fn service(id: ServiceId, shape: &Shape, number: u32) -> Change {
    let constraint = |key: &str, equal, value: &str| Constraint { key: key.to_owned(), equal, value: value.to_owned() };
    let reservations = Resources { nano_cpus: 10_000_000, memory_bytes: 64 << 20, pids: 0 };
    let mut task = TaskSpec { reservations, ..TaskSpec::default() };
    if shape.constrained {
        task.placement.constraints =
            vec![constraint("node.labels.disk", true, "ssd"), constraint("node.role", false, "manager")];
    }
    if shape.spread {
        task.placement.spread = vec!["node.labels.zone".to_owned()];
    }
    let spec = ServiceSpec {
        name: ServiceName::new(format!("s{number}")).expect("it is a well-formed name"),
        labels: BTreeMap::new(),
        task,
        mode: Mode::Replicated { replicas: TASKS / shape.services },
        ports: Vec::new(),
        update: UpdateConfig::default(),
        min_available: MinAvailable::default(),
    };
    Change::CreateService { service: id, spec: Box::new(spec) }
}
