//! Brings the nodes up and down, in order.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use skep_proto::pb;
use skep_runtime::ContainerId;
use skep_runtime::network::{Lease, Network, NetworkConfig};
use tokio::time::{Instant, sleep};

use super::plan::{self, BRIDGE, Node, Place, Plan, TABLE};
use super::{daemon, namespace};
use crate::cli::connect::Daemon;
use crate::cli::list::collect;
use crate::cli::service;
use crate::cli::wait::{self, WaitFlags};
use crate::daemon::disk;
use crate::daemon::run::leave_no_trace;
use crate::exit::Exit;

/// Name of the service that `up` deploys.
const SERVICE: &str = "hello";

/// Its replicas: enough to see the balancing.
const REPLICAS: u32 = 3;

/// First port that is tried for it, and how many more are when it is taken.
const PORT_FIRST: u16 = 8080;
const PORT_TRIES: u16 = 20;

/// How long the nodes may take until all are ready. They take some milliseconds; the rest is for a machine under load.
const READY_MAX: Duration = Duration::from_secs(30);

/// Between two looks at the nodes.
const LOOK: Duration = Duration::from_millis(5);

/// Options of `skep up`.
#[derive(Args, Clone, Debug)]
pub(crate) struct UpOptions {
    /// Number of nodes; more than one live each in a network namespace of its own
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=i64::from(plan::NODES_MAX)))]
    pub nodes: u8,
    /// Return as soon as the daemons answer, without waiting for the service
    #[arg(short, long)]
    pub detach: bool,
    #[command(flatten)]
    places: Places,
}

/// Options of `skep down`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DownOptions {
    #[command(flatten)]
    places: Places,
}

/// Where the nodes live.
#[derive(Args, Clone, Debug)]
struct Places {
    /// Group in each cgroup hierarchy under which containers live
    #[arg(long, default_value = "skep", value_name = "NAME")]
    cgroup_parent: String,
    /// Where everything that must survive a reboot is kept
    #[arg(long, default_value = "/var/lib/skep", value_name = "DIR")]
    data_dir: PathBuf,
    /// Where sockets and the state of running containers are kept
    #[arg(long, default_value = "/run/skep", value_name = "DIR")]
    run_dir: PathBuf,
}

impl Places {
    fn plan_file(&self) -> PathBuf {
        self.data_dir.join("up.json")
    }

    fn plan(&self, nodes: u8) -> anyhow::Result<Plan> {
        plan::plan(nodes, &self.data_dir, &self.run_dir, &self.cgroup_parent)
    }

    /// What an earlier `up` made, if one did.
    fn read_plan(&self) -> anyhow::Result<Option<Plan>> {
        let path = self.plan_file();
        match fs::read(&path) {
            Ok(text) => {
                serde_json::from_slice(&text).with_context(|| format!("understand {}", path.display())).map(Some)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }
}

/// `skep up`.
///
/// # Errors
/// With the step that failed; `skep down` cleans up after any of them.
pub(crate) async fn up(options: &UpOptions) -> anyhow::Result<Exit> {
    require_root("up")?;
    let plan = settle(options)?;
    make_network(&plan)?;
    let mut daemons = Vec::new();
    for node in &plan.nodes {
        daemons.push(daemon::ensure(node).await?);
        println!("node {} is up ({})", shown_name(node), node.host());
    }
    make_swarm(&plan, &daemons).await?;
    wait_for_nodes(&plan, &daemons[0]).await?;
    let service = deploy(&plan, &daemons[0]).await?;
    let waiting = WaitFlags { detach: options.detach, ..WaitFlags::default() };
    let exit = wait::converge(&daemons[0], &service, &waiting).await?;
    tell(&plan, &service, if options.detach { "will answer soon" } else { "answers" });
    Ok(exit)
}

/// `skep down`.
///
/// # Errors
/// With the first thing that could not be removed; what could be was.
pub(crate) async fn down(options: &DownOptions) -> anyhow::Result<Exit> {
    require_root("down")?;
    let places = &options.places;
    let known = places.read_plan()?;
    let plan = known.map_or_else(|| places.plan(1), Ok)?;
    for node in plan.nodes.iter().rev() {
        take_down(node).await?;
    }
    if plan.nodes.iter().any(|node| node.network.is_some()) {
        network().remove_all().context("remove the nodes' network")?;
    }
    for dir in [&places.run_dir, &places.data_dir] {
        remove_dir(dir)?;
    }
    println!("nothing of skep is left on this machine");
    Ok(Exit::Done)
}

fn require_root(verb: &str) -> anyhow::Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("skep"));
    let words: Vec<String> = std::env::args().skip(1).collect();
    bail!(
        "bring the swarm {verb}: namespaces and cgroups need root; run: sudo {} {}",
        program.display(),
        words.join(" ")
    )
}

/// Settles what is to be there and writes it down before the first of it is made.
fn settle(options: &UpOptions) -> anyhow::Result<Plan> {
    let places = &options.places;
    let wanted = places.plan(options.nodes)?;
    if let Some(there) = places.read_plan()?.filter(|there| *there != wanted) {
        let (wanted, there) = (counted(options.nodes.into()), counted(there.nodes.len()));
        bail!("bring up {wanted}: a swarm of {there} is up already; run `skep down` first");
    }
    disk::private_dir(&places.data_dir)?;
    let text = serde_json::to_vec_pretty(&wanted).context("write down the plan")?;
    fs::write(places.plan_file(), text).with_context(|| format!("write {}", places.plan_file().display()))?;
    Ok(wanted)
}

fn counted(nodes: usize) -> String {
    if nodes == 1 { "1 node".to_owned() } else { format!("{nodes} nodes") }
}

fn network() -> Network {
    let (bridge_name, address, prefix) = BRIDGE;
    let config = NetworkConfig {
        bridge_name: bridge_name.to_owned(),
        bridge_address: (address, prefix),
        nft_table: TABLE.to_owned(),
    };
    Network::new(config)
}

/// Gives each node its namespace and its address on the bridge.
fn make_network(plan: &Plan) -> anyhow::Result<()> {
    let network = network();
    for node in &plan.nodes {
        if let Some(place) = &node.network {
            connect(&network, node, place).with_context(|| format!("connect {} to the others", node.name))?;
        }
    }
    Ok(())
}

fn connect(network: &Network, node: &Node, place: &Place) -> anyhow::Result<()> {
    let lease = Lease { address: place.address, prefix: BRIDGE.2, gateway: BRIDGE.1 };
    let id = ContainerId::new(node.name.clone()).expect("node names are made of letters, digits and '-'");
    network.restore(&id, lease);
    network.reconcile()?;
    namespace::ensure(&place.namespace)?;
    let connected = namespace::inside(&place.namespace, || Ok(Path::new("/sys/class/net").exists() && has_address()))?;
    if !connected {
        network.attach(&id, namespace::enter_file(&place.namespace)?.as_fd(), lease)?;
    }
    Ok(())
}

/// Whether the namespace of the calling thread already has its `eth0`.
fn has_address() -> bool {
    fs::read_to_string("/proc/thread-self/net/dev").is_ok_and(|text| text.contains("eth0:"))
}

/// The first node starts the swarm, the others join it; who is part of it already stays as it is.
async fn make_swarm(plan: &Plan, daemons: &[Daemon]) -> anyhow::Result<()> {
    let (first, others) = plan.nodes.split_first().context("bring up no node")?;
    let manager = &daemons[0];
    if !is_member(manager).await? {
        let advertise = first.network.as_ref().map(|place| place.address.to_string());
        let request = pb::SwarmInitRequest {
            advertise_addr: advertise.unwrap_or_else(own_address),
            availability: pb::Availability::Active.into(),
            ..pb::SwarmInitRequest::default()
        };
        manager.local().swarm_init(request).await?;
    }
    for (node, daemon) in others.iter().zip(&daemons[1..]) {
        join(manager, node, daemon).await?;
    }
    Ok(())
}

/// The machine's address if it has just one, else loopback: a one-node swarm must not depend on which network is plugged in.
fn own_address() -> String {
    crate::daemon::run::only_address().map_or_else(|| "127.0.0.1".to_owned(), |address| address.to_string())
}

async fn is_member(daemon: &Daemon) -> anyhow::Result<bool> {
    let info = daemon.local().info(pb::InfoRequest {}).await?.into_inner();
    Ok(info.swarm() != pb::SwarmState::Inactive)
}

async fn join(manager: &Daemon, node: &Node, daemon: &Daemon) -> anyhow::Result<()> {
    if is_member(daemon).await? {
        return Ok(());
    }
    let cluster = manager.control().get_cluster(pb::Empty {}).await?.into_inner();
    let token = cluster.cluster.unwrap_or_default().worker_token;
    let request = pb::SwarmJoinRequest {
        remote: cluster.manager_addresses.first().cloned().unwrap_or_default(),
        token,
        advertise_addr: node.network.as_ref().map(|place| place.address.to_string()).unwrap_or_default(),
        availability: pb::Availability::Active.into(),
        ..pb::SwarmJoinRequest::default()
    };
    daemon.local().swarm_join(request).await?;
    Ok(())
}

/// Waits until tasks can be placed on every node: then they are spread over all, and each address answers.
async fn wait_for_nodes(plan: &Plan, manager: &Daemon) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY_MAX;
    loop {
        let nodes = collect(manager.control().list_nodes(pb::ListNodesRequest::default()).await?.into_inner()).await?;
        let ready = |entry: &&pb::NodeEntry| {
            let node = entry.node.as_ref();
            node.and_then(|node| node.status.as_ref()).is_some_and(|status| status.state() == pb::NodeState::Ready)
        };
        let count = nodes.iter().filter(ready).count();
        if count >= plan.nodes.len() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("see all nodes ready: {count} of {} are; `skep node ls` tells more", plan.nodes.len());
        }
        sleep(LOOK).await;
    }
}

/// Deploys the service unless it is there.
async fn deploy(plan: &Plan, manager: &Daemon) -> anyhow::Result<pb::Service> {
    if let Ok(there) = service::get(manager, SERVICE).await {
        return Ok(there);
    }
    let request = pb::CreateServiceRequest { spec: Some(hello_spec(free_port(plan))) };
    manager.control().create_service(request).await?;
    service::get(manager, SERVICE).await
}

/// A port that nobody on this machine listens on; nodes in namespaces have all of them.
fn free_port(plan: &Plan) -> u16 {
    let own_network = plan.nodes.iter().any(|node| node.network.is_none());
    let free = |port: &u16| !own_network || TcpListener::bind(("0.0.0.0", *port)).is_ok();
    (PORT_FIRST..PORT_FIRST + PORT_TRIES).find(free).unwrap_or(PORT_FIRST)
}

fn hello_spec(published: u16) -> pb::ServiceSpec {
    let container = pb::ContainerSpec {
        image: "skep/hello".to_owned(),
        // The page has nothing to finish: it goes as soon as it is asked to.
        stop_grace_ms: 2_000,
        ..pb::ContainerSpec::default()
    };
    let port = pb::PortConfig {
        protocol: pb::Protocol::Tcp.into(),
        target: 80,
        published: published.into(),
        mode: pb::PublishMode::Ingress.into(),
    };
    pb::ServiceSpec {
        name: SERVICE.to_owned(),
        task: Some(pb::TaskSpec { container: Some(container), ..pb::TaskSpec::default() }),
        mode: Some(pb::service_spec::Mode::Replicated(pb::Replicated { replicas: REPLICAS })),
        ports: vec![port],
        ..pb::ServiceSpec::default()
    }
}

fn tell(plan: &Plan, service: &pb::Service, how: &str) {
    let port = service.ports.first().map_or(PORT_FIRST.into(), |port| port.published);
    let address = |node: &Node| node.network.as_ref().map_or_else(|| "127.0.0.1".to_owned(), |p| p.address.to_string());
    println!("\nThe service {SERVICE} {how} at:");
    for node in &plan.nodes {
        println!("  http://{}:{port}", address(node));
    }
    let skep = std::env::current_exe().map_or_else(|_| "skep".to_owned(), |path| path.display().to_string());
    println!("\nTry next:");
    println!("  curl http://{}:{port}", plan.nodes.first().map(address).unwrap_or_default());
    for words in ["service ls", "service ps hello", "service scale hello=5", "service logs hello", "node ls", "down"] {
        println!("  {skep} {words}");
    }
}

fn shown_name(node: &Node) -> &str {
    if node.name.is_empty() { "1" } else { &node.name }
}

/// Asks the node to leave, stops its daemon, and removes what neither did.
async fn take_down(node: &Node) -> anyhow::Result<()> {
    if let Ok(daemon) = Daemon::connect(&node.host()).await {
        // A daemon that cannot leave is stopped all the same; what it leaves behind is removed below.
        let _ = daemon.local().swarm_leave(pb::SwarmLeaveRequest { force: true }).await;
    }
    daemon::stop(node).await?;
    let (data_dir, run_dir, parent) = (node.data_dir.clone(), node.run_dir.clone(), node.cgroup_parent.clone());
    let purge = move || leave_no_trace(&data_dir, &run_dir, &parent);
    match &node.network {
        None => std::thread::spawn(purge).join().expect("the purge does not panic")?,
        Some(place) if namespace::enter_file(&place.namespace).is_ok() => {
            namespace::inside(&place.namespace, purge)?;
            namespace::remove(&place.namespace)?;
        }
        Some(_) => purge()?,
    }
    println!("node {} is gone", shown_name(node));
    Ok(())
}

fn remove_dir(dir: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}
