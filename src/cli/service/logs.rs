//! `service logs`.

use std::time::Duration;

use clap::Args;
use skep_proto::pb;
use tokio::time::sleep;
use tonic::{Code, Status};

use super::prefix::{Prefixes, Style};
use super::resume::Shown;
use crate::cli::connect::Daemon;
use crate::cli::log::{Lines, LogFlags, sink, written};
use crate::cli::output::{note, now, write};
use crate::exit::Exit;

/// How often in a row a lost stream is taken up again. Each time the daemon itself waits some seconds for a leader; after that its words
/// are the error.
const RETRIES_MAX: u32 = 10;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(250);

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

/// Prints the lines as they come. When it follows and a leader is lost on the way, it goes on with the next.
///
/// # Errors
/// When there is no such service or task, or the stream breaks off.
pub(super) async fn run(daemon: &Daemon, flags: &LogsFlags) -> anyhow::Result<Exit> {
    let now = now();
    let options = flags.log.options(now)?;
    let style = Style {
        raw: flags.raw,
        no_task_ids: flags.no_task_ids,
        no_trunc: flags.no_trunc,
        no_resolve: flags.no_resolve,
    };
    let prefixes = Prefixes::new(style, digits(daemon, &flags.target).await?);
    let mut reader = Reader { flags, prefixes, lines: Lines::default(), shown: Shown::new(options, now.0), tries: 0 };
    let mut request = pb::ServiceLogsRequest { refs: vec![flags.target.clone()], options: Some(options) };
    let mut is_resumed = false;
    while let Err(error) = reader.read(daemon, request.clone(), is_resumed).await {
        let heals = error.downcast_ref::<Status>().is_some_and(|status| status.code() == Code::Unavailable);
        if !options.follow || !heals || reader.tries >= RETRIES_MAX {
            return Err(error);
        }
        reader.tries += 1;
        sleep(PAUSE).await;
        request.options = Some(reader.shown.resume());
        is_resumed = true;
    }
    reader.finish()
}

/// What has come so far.
struct Reader<'a> {
    flags: &'a LogsFlags,
    prefixes: Prefixes,
    lines: Lines,
    shown: Shown,
    /// Streams in a row that brought nothing.
    tries: u32,
}

impl Reader<'_> {
    async fn read(&mut self, daemon: &Daemon, request: pb::ServiceLogsRequest, is_resumed: bool) -> anyhow::Result<()> {
        let mut stream = daemon.control().service_logs(request).await?.into_inner();
        while let Some(reply) = stream.message().await? {
            self.tries = 0;
            reply.sources.iter().for_each(|source| self.prefixes.introduce(source));
            if !reply.warning.is_empty() {
                note(&format!("WARNING: {}", reply.warning))?;
            }
            for piece in &reply.lines {
                if is_resumed && !self.shown.is_new(piece) {
                    continue;
                }
                if !is_resumed {
                    self.shown.note(piece);
                }
                self.show(piece)?;
            }
        }
        Ok(())
    }

    fn show(&mut self, piece: &pb::LogLine) -> anyhow::Result<()> {
        let Some(data) = self.lines.take(piece) else { return Ok(()) };
        let stamp = self.flags.log.timestamps.then_some(piece.at);
        write(sink(piece.stderr), &written(stamp, &self.prefixes.of(piece), &data))
    }

    fn finish(self) -> anyhow::Result<Exit> {
        for (task, stderr, data) in self.lines.rest() {
            write(sink(stderr), &written(None, &self.prefixes.of_task(&task).unwrap_or_default(), &data))?;
        }
        Ok(Exit::Done)
    }
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
