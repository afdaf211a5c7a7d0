//! `logs`.

use clap::Args;
use skep_proto::pb;

use crate::cli::connect::Daemon;
use crate::cli::log::{Lines, LogFlags, sink, written};
use crate::cli::output::{now, write};
use crate::exit::Exit;

/// Flags of `logs`.
#[derive(Args, Clone, Debug)]
pub(crate) struct LogsFlags {
    #[command(flatten)]
    log: LogFlags,
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// Prints the lines as they come.
///
/// # Errors
/// When there is no such container, or its log cannot be read.
pub(crate) async fn run(daemon: &Daemon, flags: &LogsFlags) -> anyhow::Result<Exit> {
    let options = flags.log.options(now())?;
    let request = pb::ContainerLogsRequest { r#ref: flags.container.clone(), options: Some(options) };
    let mut stream = daemon.local().container_logs(request).await?.into_inner();
    let mut lines = Lines::default();
    while let Some(reply) = stream.message().await? {
        for piece in &reply.lines {
            if let Some(data) = lines.take(piece) {
                write(sink(piece.stderr), &written(flags.log.timestamps.then_some(piece.at), "", &data))?;
            }
        }
    }
    for (_, stderr, data) in lines.rest() {
        write(sink(stderr), &written(None, "", &data))?;
    }
    Ok(Exit::Done)
}
