//! `service logs`.

use clap::Args;
use skep_proto::pb;
use tonic::Code;

use super::prefix::{Prefixes, Style};
use crate::cli::connect::Daemon;
use crate::cli::log::{Lines, LogFlags, sink, written};
use crate::cli::output::{note, now, write};
use crate::exit::Exit;

/// Flags of `service logs`.
#[derive(Args, Clone, Debug)]
pub(crate) struct LogsFlags {
    #[command(flatten)]
    log: LogFlags,
    /// Do not neatly format logs
    #[arg(long)]
    raw: bool,
    /// Do not include task ids in output
    #[arg(long)]
    no_task_ids: bool,
    /// Do not truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Do not map ids to names in output
    #[arg(long)]
    no_resolve: bool,
    /// Name or id of a service or task
    #[arg(value_name = "SERVICE|TASK")]
    target: String,
}

/// Prints the lines as they come.
///
/// # Errors
/// When there is no such service or task, or the stream breaks off.
pub(super) async fn run(daemon: &Daemon, flags: &LogsFlags) -> anyhow::Result<Exit> {
    let options = flags.log.options(now())?;
    let style = Style {
        raw: flags.raw,
        no_task_ids: flags.no_task_ids,
        no_trunc: flags.no_trunc,
        no_resolve: flags.no_resolve,
    };
    let mut prefixes = Prefixes::new(style, digits(daemon, &flags.target).await?);
    let mut lines = Lines::default();
    let request = pb::ServiceLogsRequest { refs: vec![flags.target.clone()], options: Some(options) };
    let mut stream = daemon.control().service_logs(request).await?.into_inner();
    while let Some(reply) = stream.message().await? {
        reply.sources.iter().for_each(|source| prefixes.introduce(source));
        if !reply.warning.is_empty() {
            note(&format!("WARNING: {}", reply.warning))?;
        }
        for piece in &reply.lines {
            if let Some(data) = lines.take(piece) {
                let stamp = flags.log.timestamps.then_some(piece.at);
                write(sink(piece.stderr), &written(stamp, &prefixes.of(piece), &data))?;
            }
        }
    }
    for (task, stderr, data) in lines.rest() {
        write(sink(stderr), &written(None, &prefixes.of_task(&task).unwrap_or_default(), &data))?;
    }
    Ok(Exit::Done)
}

/// How wide the slots of a service are; a task alone needs no padding.
async fn digits(daemon: &Daemon, word: &str) -> anyhow::Result<usize> {
    let request = pb::RefRequest { r#ref: word.to_owned() };
    match daemon.control().get_service(request).await {
        Ok(reply) => Ok(widest_slot(&reply.into_inner())),
        Err(status) if status.code() == Code::NotFound => Ok(0),
        Err(status) => Err(status.into()),
    }
}

fn widest_slot(reply: &pb::ServiceReply) -> usize {
    let mode = reply.service.as_ref().and_then(|service| service.spec.as_ref()).and_then(|spec| spec.mode);
    match mode {
        Some(pb::service_spec::Mode::Replicated(pb::Replicated { replicas })) => replicas.to_string().len(),
        _ => 0,
    }
}
