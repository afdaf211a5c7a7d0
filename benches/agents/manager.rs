//! The process of the manager: founds the cluster, lets the agents join, asks for tasks, and says what it took.
#![expect(clippy::print_stdout, reason = "a measuring tool: prints what it measured")]

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use skep_manager::run::{Manager, NewCluster};
use skep_manager::store::State;
use skep_proto::model::{
    Availability, ClusterSpec, MinAvailable, Mode, NodeDescription, NodeState, ServiceName, ServiceSpec, TaskSpec,
    TaskState, UpdateConfig,
};
use skep_proto::pb;
use skep_proto::pb::control_client::ControlClient;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::process::Usage;
use crate::{NODES_WORD, Size};

/// Replicas of one service; more tasks are more services, as in a real cluster.
const REPLICAS_MAX: usize = 10_000;

/// Longest wait for one more node or task: many times what the busiest machine takes, and longer than any loop's full scan.
const PATIENCE: Duration = Duration::from_secs(90);

/// Of the manager's time, at most so much is spent on counting what runs: one part in twenty.
const COUNTING_SHARE: u32 = 20;

/// Both processes at one moment.
#[derive(Clone, Copy)]
struct Sample {
    at: Instant,
    manager: Usage,
    agents: Usage,
}

struct Bench {
    size: Size,
    manager: Manager,
    nodes: Child,
}

/// Measures joining, tasks to RUNNING, memory, and rest.
pub(crate) async fn measure(size: Size) -> anyhow::Result<()> {
    // A disk, where the temporary directory may be in memory.
    let dir = tempfile::tempdir_in("/var/tmp").context("make a directory for the state")?;
    let manager = found(&dir.path().join("manager")).await?;
    let begun = Instant::now();
    let nodes = spawn(&manager, size).await?;
    let mut bench = Bench { size, manager, nodes };
    bench.until(ready, size.agents).await?;
    let took = begun.elapsed().as_secs_f64();
    println!("{} agents joined and Ready in {took:.1} s ({:.0}/s)", size.agents, count(size.agents) / took);
    bench.work().await?;
    bench.rest().await?;
    // Closing its input ends the other process.
    drop(bench.nodes.stdin.take());
    bench.nodes.wait().await?;
    bench.manager.shutdown().await;
    Ok(())
}

async fn found(state_dir: &Path) -> anyhow::Result<Manager> {
    let new = NewCluster {
        state_dir: state_dir.to_owned(),
        listen: ([127, 0, 0, 1], 0).into(),
        advertise: "127.0.0.1:2377".to_owned(),
        // It has no agent: its node never becomes Ready.
        availability: Availability::Drain,
        spec: ClusterSpec::default(),
        description: NodeDescription { hostname: "manager".to_owned(), ..NodeDescription::default() },
        lock: skep_proto::model::Autolock::default(),
        node_key: None,
    };
    Ok(Manager::create_cluster(new).await?.0)
}

/// Starts the process of the agents and waits until each of them has joined.
async fn spawn(manager: &Manager, size: Size) -> anyhow::Result<Child> {
    let token = manager.worker_token().context("read the token")?;
    let mut child = Command::new(std::env::current_exe()?)
        .args([NODES_WORD, &manager.address().to_string(), &token, &size.agents.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("start the agents")?;
    let out = child.stdout.take().context("read from the agents")?;
    let line = BufReader::new(out).lines().next_line().await?;
    ensure!(line.as_deref() == Some("joined"), "start the agents: {}", line.unwrap_or_default());
    Ok(child)
}

impl Bench {
    /// Waits until so many of something are there.
    async fn until(&self, number: fn(&State) -> usize, wanted: usize) -> anyhow::Result<()> {
        let (mut most, mut grew) = (0, Instant::now());
        loop {
            let looked = Instant::now();
            let there = number(&self.manager.store().read());
            if there >= wanted {
                return Ok(());
            }
            if there > most {
                (most, grew) = (there, looked);
            }
            ensure!(grew.elapsed() < PATIENCE, "wait for {wanted} of them: there are {there}; {}", self.census());
            let pause = (looked.elapsed() * COUNTING_SHARE).max(Duration::from_millis(2));
            tokio::time::sleep(pause).await;
        }
    }

    /// How many nodes and tasks are in which state, to see what is waited for.
    fn census(&self) -> String {
        let mut counts = std::collections::BTreeMap::<String, usize>::new();
        let state = self.manager.store().read();
        let nodes = state.nodes().map(|node| format!("{:?} nodes", node.status.state));
        let tasks = state.tasks().map(|task| format!("{:?} tasks to be {:?}", task.status.state, task.desired));
        nodes.chain(tasks).for_each(|what| *counts.entry(what).or_default() += 1);
        format!("{counts:?}")
    }

    async fn work(&self) -> anyhow::Result<()> {
        let tasks = self.size.agents * self.size.tasks_each;
        let before = self.sample()?;
        let mut left = tasks;
        while left > 0 {
            let replicas = left.min(REPLICAS_MAX);
            self.create(tasks - left, replicas).await?;
            left -= replicas;
        }
        self.until(running, tasks).await?;
        let took = self.sample()?.since(before);
        println!("{tasks} tasks to RUNNING in {:.2} s: {:.0} tasks/s", took.seconds(), count(tasks) / took.seconds());
        took.print(tasks);
        Ok(())
    }

    async fn create(&self, number: usize, replicas: usize) -> anyhow::Result<()> {
        let mut task = TaskSpec::default();
        task.container.image = "simulated".to_owned();
        let spec = ServiceSpec {
            name: ServiceName::new(format!("s{number}"))?,
            labels: std::collections::BTreeMap::new(),
            task,
            mode: Mode::Replicated { replicas: u32::try_from(replicas)? },
            ports: Vec::new(),
            update: UpdateConfig::default(),
            min_available: MinAvailable::default(),
        };
        let request = pb::CreateServiceRequest { spec: Some((&spec).into()) };
        ControlClient::new(self.manager.control()).create_service(request).await.context("create a service")?;
        Ok(())
    }

    /// What heartbeats and sessions cost when nothing happens.
    async fn rest(&self) -> anyhow::Result<()> {
        // The last acknowledgements and lazy writes are not rest.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let before = self.sample()?;
        tokio::time::sleep(Duration::from_secs(self.size.idle_s)).await;
        let took = self.sample()?.since(before);
        let percent = |cpu: Duration| 100.0 * cpu.as_secs_f64() / took.seconds();
        println!(
            "at rest over {:.0} s: manager {:.1} % of one core, all agents {:.1} %",
            took.seconds(),
            percent(took.manager.cpu),
            percent(took.agents.cpu),
        );
        // Fewer means that this machine was too busy to let every agent say within three periods that it is there.
        println!("{} of {} nodes are Ready after it", ready(&self.manager.store().read()), self.size.agents);
        Ok(())
    }

    fn sample(&self) -> anyhow::Result<Sample> {
        let nodes = self.nodes.id().context("find the agents' process: it has ended")?;
        Ok(Sample { at: Instant::now(), manager: Usage::of(std::process::id())?, agents: Usage::of(nodes)? })
    }
}

/// What was used between two moments.
struct Span {
    time: Duration,
    manager: Usage,
    agents: Usage,
    manager_rss: u64,
}

impl Sample {
    fn since(self, before: Self) -> Span {
        Span {
            time: self.at - before.at,
            manager: self.manager.since(before.manager),
            agents: self.agents.since(before.agents),
            manager_rss: self.manager.rss,
        }
    }
}

impl Span {
    fn seconds(&self) -> f64 {
        self.time.as_secs_f64()
    }

    fn print(&self, tasks: usize) {
        let tasks_u64 = u64::try_from(tasks).unwrap_or(u64::MAX).max(1);
        let each = |usage: Usage| (usage.cpu.as_micros() / u128::from(tasks_u64), usage.rss / tasks_u64);
        let ((manager_us, manager_bytes), (agents_us, agents_bytes)) = (each(self.manager), each(self.agents));
        println!(
            "manager: {manager_us} us of CPU and {manager_bytes} bytes a task; {} MiB resident",
            self.manager_rss >> 20
        );
        println!("agents: {agents_us} us of CPU and {agents_bytes} bytes a task");
    }
}

fn ready(state: &State) -> usize {
    state.nodes().filter(|node| node.status.state == NodeState::Ready).count()
}

fn running(state: &State) -> usize {
    state.tasks().filter(|task| task.status.state == TaskState::Running).count()
}

fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::INFINITY, f64::from)
}
