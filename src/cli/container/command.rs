//! The commands; those that are short are here as a whole.

use clap::{Args, Subcommand};
use skep_proto::pb;

use crate::cli::connect::Daemon;
use crate::cli::json;
use crate::cli::list::InspectFlags;
use crate::exit::Exit;

use super::{ContainersFlags, LogsFlags, list, logs};

/// Manage containers
#[derive(Debug, Subcommand)]
pub(crate) enum ContainerCommand {
    /// Display detailed information on one or more containers
    Inspect(InspectArguments),
    /// Fetch the logs of a container
    Logs(LogsFlags),
    /// List containers
    #[command(visible_aliases = ["list", "ps"])]
    Ls(ContainersFlags),
}

/// Flags of `container inspect`.
#[derive(Args, Clone, Debug)]
pub(crate) struct InspectArguments {
    #[command(flatten)]
    inspect: InspectFlags,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Runs one of them.
///
/// # Errors
/// Whatever the command failed at.
pub(crate) async fn run(daemon: &Daemon, command: ContainerCommand) -> anyhow::Result<Exit> {
    match command {
        ContainerCommand::Inspect(flags) => inspect(daemon, &flags).await,
        ContainerCommand::Logs(flags) => logs(daemon, &flags).await,
        ContainerCommand::Ls(flags) => list(daemon, &flags).await,
    }
}

async fn inspect(daemon: &Daemon, flags: &InspectArguments) -> anyhow::Result<Exit> {
    let mut found = Vec::new();
    for word in &flags.containers {
        let reply = daemon.local().inspect_container(pb::ContainerRef { r#ref: word.clone() }).await;
        found.push(reply.map(|container| json::container::container(container.get_ref())).map_err(Into::into));
    }
    flags.inspect.show(found)?;
    Ok(Exit::Done)
}
