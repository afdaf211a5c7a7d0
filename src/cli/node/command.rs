//! The commands; those that are short are here as a whole.

use clap::{Args, Subcommand, ValueEnum};
use skep_proto::pb;

use crate::cli::connect::Daemon;
use crate::cli::error::{all, parted, usage};
use crate::cli::json::id_text;
use crate::cli::output::print;
use crate::cli::service::tasks::{TasksFlags, run as run_tasks};
use crate::exit::Exit;

use super::{inspect, list, role, update};

/// Manage swarm nodes
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Demote one or more nodes from manager in the swarm
    Demote(role::RoleFlags),
    /// Display detailed information on one or more nodes
    Inspect(inspect::InspectArguments),
    /// List nodes in the swarm
    #[command(visible_alias = "list")]
    Ls(list::NodesFlags),
    /// Promote one or more nodes to manager in the swarm
    Promote(role::RoleFlags),
    /// List tasks running on one or more nodes, defaults to the current node
    Ps(NodeTasksFlags),
    /// Remove one or more nodes from the swarm
    #[command(visible_alias = "remove")]
    Rm(RemoveFlags),
    /// Update a node
    Update(update::UpdateFlags),
}

/// Flags of `node ps`.
#[derive(Args, Clone, Debug)]
pub(crate) struct NodeTasksFlags {
    #[command(flatten)]
    tasks: TasksFlags,
    /// Names or ids
    #[arg(value_name = "NODE", default_value = "self")]
    nodes: Vec<String>,
}

/// Flags of `node rm`.
#[derive(Args, Clone, Debug)]
pub(crate) struct RemoveFlags {
    /// Force remove a node from the swarm
    #[arg(short, long)]
    force: bool,
    /// Names or ids
    #[arg(required = true, value_name = "NODE")]
    nodes: Vec<String>,
}

/// Whether tasks may run on a node, as a flag takes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, ValueEnum)]
pub(crate) enum AvailabilityWord {
    /// They may.
    #[default]
    Active,
    /// No new ones.
    Pause,
    /// None.
    Drain,
}

impl AvailabilityWord {
    /// As it goes on the wire.
    pub(crate) fn wire(self) -> pb::Availability {
        match self {
            Self::Active => pb::Availability::Active,
            Self::Pause => pb::Availability::Pause,
            Self::Drain => pb::Availability::Drain,
        }
    }
}

/// Runs one of them.
///
/// # Errors
/// Whatever the command failed at.
pub(crate) async fn run(daemon: &Daemon, command: NodeCommand) -> anyhow::Result<Exit> {
    match command {
        NodeCommand::Demote(flags) => role::run(daemon, &flags, pb::NodeRole::Worker).await,
        NodeCommand::Promote(flags) => role::run(daemon, &flags, pb::NodeRole::Manager).await,
        NodeCommand::Inspect(flags) => inspect::run(daemon, &flags).await,
        NodeCommand::Ls(flags) => list::run(daemon, &flags).await,
        NodeCommand::Ps(flags) => tasks(daemon, &flags).await,
        NodeCommand::Rm(flags) => remove(daemon, &flags).await,
        NodeCommand::Update(flags) => update::run(daemon, &flags).await,
    }
}

async fn tasks(daemon: &Daemon, flags: &NodeTasksFlags) -> anyhow::Result<Exit> {
    let mut requests = Vec::new();
    for word in &flags.nodes {
        let node = resolved(daemon, word).await;
        requests.push(node.map(|node| pb::ListTasksRequest { services: Vec::new(), nodes: vec![node] }));
    }
    run_tasks(daemon, &flags.tasks, requests).await
}

async fn remove(daemon: &Daemon, flags: &RemoveFlags) -> anyhow::Result<Exit> {
    let mut results = Vec::new();
    for word in &flags.nodes {
        results.push(remove_one(daemon, word, flags.force).await);
    }
    all(parted(results).1)?;
    Ok(Exit::Done)
}

async fn remove_one(daemon: &Daemon, word: &str, force: bool) -> anyhow::Result<()> {
    let r#ref = resolved(daemon, word).await?;
    daemon.control().remove_node(pb::RemoveNodeRequest { r#ref, force }).await?;
    print(&format!("{word}\n"))
}

/// The word as the managers know it.
///
/// # Errors
/// When it is `self` and the machine is no node.
pub(crate) async fn resolved(daemon: &Daemon, word: &str) -> anyhow::Result<String> {
    if word != "self" {
        return Ok(word.to_owned());
    }
    let own = daemon.local().info(pb::InfoRequest {}).await?.into_inner().node_id;
    if own.is_empty() {
        return Err(usage(
            "failed to find the node self: this machine is not part of a swarm; use skep swarm init or skep swarm join",
        ));
    }
    Ok(id_text(&own))
}
