//! The tree of commands, and the one place where the client's runtime is made.

use anyhow::Context;
use clap::{Parser, Subcommand};
use tokio::runtime::Builder;

use super::backup::{self, BackupFlags, RestoreFlags};
use super::completion::{self, CompletionFlags};
use super::connect::{Daemon, HOST_DEFAULT};
use super::container::{self, ContainerCommand, ContainersFlags, LogsFlags};
use super::image::{self, ImageCommand, ImagesFlags, ImportFlags, LoadFlags, RemoveFlags};
use super::info::{self, InfoFlags};
use super::inspect::{self, InspectArguments};
use super::node::{self, NodeCommand};
use super::service::{self, ServiceCommand};
use super::swarm::{self, SwarmCommand};
use super::version::{self, VersionFlags};
use crate::daemon::options::DaemonOptions;
use crate::exit::Exit;
use crate::up::run::{DownOptions, UpOptions};

/// A cluster orchestrator in swarm mode, in one binary
#[derive(Debug, Parser)]
#[command(name = "skep", version, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    /// Socket of the daemon to talk to
    #[arg(short = 'H', global = true, env = "SKEP_HOST", default_value = HOST_DEFAULT, value_name = "unix://PATH")]
    socket: String,
    /// The same; only before the command, since `service create` has a `--host` of its own
    #[arg(long, value_name = "unix://PATH")]
    host: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node in the foreground
    Daemon(DaemonOptions),
    /// Make this machine a running swarm, with a service to look at
    Up(UpOptions),
    /// Remove every trace of what `up` made
    Down(DownOptions),
    /// Print a script that completes commands in a shell
    Completion(CompletionFlags),
    /// Show the version of client and daemon
    Version(VersionFlags),
    #[command(flatten)]
    Client(ClientCommand),
}

/// Commands that talk to a daemon.
#[derive(Debug, Subcommand)]
enum ClientCommand {
    /// Manage services
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Manage swarm nodes
    #[command(subcommand)]
    Node(NodeCommand),
    /// Manage the swarm
    #[command(subcommand)]
    Swarm(SwarmCommand),
    /// Write everything that the swarm's managers keep into one encrypted file
    Backup(BackupFlags),
    /// Make this machine the only manager of the swarm that a backup is of
    Restore(RestoreFlags),
    /// Manage images
    #[command(subcommand)]
    Image(ImageCommand),
    /// Manage containers
    #[command(subcommand)]
    Container(ContainerCommand),
    /// List containers
    Ps(ContainersFlags),
    /// Fetch the logs of a container
    Logs(LogsFlags),
    /// Return low-level information on objects
    Inspect(InspectArguments),
    /// List images
    Images(ImagesFlags),
    /// Load an image from a tar archive or STDIN
    Load(LoadFlags),
    /// Import the contents from a tarball to create a filesystem image
    Import(ImportFlags),
    /// Remove one or more images
    Rmi(RemoveFlags),
    /// Display system-wide information
    Info(InfoFlags),
}

/// Runs what was asked for.
///
/// # Errors
/// Whatever the command failed at.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<Exit> {
    let host = arguments.host.unwrap_or(arguments.socket);
    // A variable that is set to nothing is as good as not set.
    let host = if host.is_empty() { HOST_DEFAULT.to_owned() } else { host };
    match arguments.command {
        Command::Daemon(options) => crate::daemon::run::main(&options),
        Command::Up(options) => block_on(crate::up::run::up(&options)),
        Command::Down(options) => block_on(crate::up::run::down(&options)),
        Command::Completion(flags) => completion::run(&flags),
        Command::Version(flags) => block_on(version::run(&host, &flags)),
        Command::Client(command) => block_on(call(&host, command)),
    }
}

/// One thread is enough for one call, and quicker to start than several.
fn block_on(work: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    let runtime = Builder::new_current_thread().enable_all().build().context("start the client's runtime")?;
    let done = runtime.block_on(work);
    // A thread that still waits for standard input must not keep a finished command from ending.
    runtime.shutdown_background();
    done
}

async fn call(host: &str, command: ClientCommand) -> anyhow::Result<Exit> {
    let daemon = &Daemon::connect(host).await?;
    match command {
        ClientCommand::Service(command) => service::run(daemon, command).await,
        ClientCommand::Node(command) => node::run(daemon, command).await,
        ClientCommand::Swarm(command) => swarm::run(daemon, command).await,
        ClientCommand::Backup(flags) => backup::take(daemon, &flags).await,
        ClientCommand::Restore(flags) => backup::restore(daemon, &flags).await,
        ClientCommand::Image(command) => image::run(daemon, command).await,
        ClientCommand::Container(command) => container::run(daemon, command).await,
        ClientCommand::Ps(flags) => container::list(daemon, &flags).await,
        ClientCommand::Logs(flags) => container::logs(daemon, &flags).await,
        ClientCommand::Inspect(flags) => inspect::run(daemon, &flags).await,
        ClientCommand::Images(flags) => image::list(daemon, &flags).await,
        ClientCommand::Load(flags) => image::load(daemon, &flags).await,
        ClientCommand::Import(flags) => image::import(daemon, &flags).await,
        ClientCommand::Rmi(flags) => image::remove(daemon, &flags).await,
        ClientCommand::Info(flags) => info::run(daemon, &flags).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_tree_of_commands_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_host_may_be_named_before_and_behind_the_command() {
        for line in [
            ["skep", "-H", "/a.sock", "info"],
            ["skep", "--host", "/a.sock", "info"],
            ["skep", "info", "-H", "/a.sock"],
        ] {
            let read = Arguments::try_parse_from(line).unwrap();
            assert_eq!(read.host.unwrap_or(read.socket), "/a.sock", "{line:?}");
        }
    }

    #[test]
    fn docker_names_and_aliases_are_known() {
        let lines = [
            "service list",
            "service remove web",
            "service ps web",
            "node ls -q",
            "node ps",
            "swarm join-token worker",
            "image list",
            "images busybox",
            "rmi -f x",
            "container ls -a",
            "ps --no-trunc",
            "logs -f -n 10 x",
            "service logs --tail 3 web",
            "import - x:1 -c CMD",
            "load -i x.tar",
            "inspect --type node self",
            "service create --host db:10.0.0.1 x",
            "service scale a=1 b=2",
            "service update --force web",
        ];
        for line in lines {
            let words = ["skep"].into_iter().chain(line.split_whitespace());
            assert!(Arguments::try_parse_from(words).is_ok(), "{line}");
        }
    }
}
