//! The tree of commands.

use clap::{Parser, Subcommand};

use super::connect::HOST_DEFAULT;
use crate::daemon::options::DaemonOptions;
use crate::exit::Exit;

/// A cluster orchestrator in swarm mode, in one binary
#[derive(Debug, Parser)]
#[command(name = "skep", version, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    /// Socket of the daemon to talk to
    #[arg(short = 'H', long, global = true, env = "SKEP_HOST", default_value = HOST_DEFAULT, value_name = "unix://PATH")]
    host: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node in the foreground
    Daemon(DaemonOptions),
}

/// Runs what was asked for.
///
/// # Errors
/// Whatever the command failed at.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<Exit> {
    match arguments.command {
        Command::Daemon(options) => options.node_name().map(|_| Exit::Done),
    }
}
