//! Containers of this machine, whichever service they belong to.

use std::sync::Arc;

use skep_proto::pb;
use skep_runtime::logs::{LogLine, LogQuery, Stream as LogStream};
use skep_runtime::{ContainerInfo, ContainerStatus, Protocol, PublishedPort, Runtime};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{StreamExt, iter};
use tonic::Status;

use super::image::Listing;
use super::status::runtime_status;

/// Characters of an id that people are shown.
const ID_SHORT: usize = 12;

/// Lines sent in one message when several wait.
const LINES_MAX: usize = 256;

/// The containers, running ones or all.
pub(crate) fn list(runtime: &Runtime, all: bool) -> Listing<pb::Container> {
    let mut found = runtime.list();
    found.retain(|info| all || info.status == ContainerStatus::Running);
    found.sort_by_key(|info| std::cmp::Reverse(info.created_ms));
    Box::pin(iter(found.into_iter().map(|info| Ok(wire(&info)))))
}

/// One container, by id, name or unique prefix of either.
pub(crate) fn inspect(runtime: &Runtime, reference: &str) -> Result<pb::Container, Status> {
    find(runtime, reference).map(|info| wire(&info))
}

/// A container's output.
pub(crate) fn logs(
    runtime: &Arc<Runtime>,
    request: pb::ContainerLogsRequest,
) -> Result<Listing<pb::ContainerLogsReply>, Status> {
    let info = find(runtime, &request.r#ref)?;
    let options = request.options.unwrap_or_default();
    let query = LogQuery {
        tail: usize::try_from(options.tail).ok(),
        since_ms: options.since,
        follow: options.follow,
        stdout: options.stdout,
        stderr: options.stderr,
    };
    let lines = runtime.logs(&info.id, query).map_err(|e| runtime_status(&e))?;
    let batches = ReceiverStream::new(lines).map(wire_line);
    let replies = StreamExt::chunks_timeout(batches, LINES_MAX, std::time::Duration::from_millis(5));
    Ok(Box::pin(replies.map(|lines| Ok(pb::ContainerLogsReply { lines }))))
}

fn find(runtime: &Runtime, reference: &str) -> Result<ContainerInfo, Status> {
    let all = runtime.list();
    let exact = all.iter().find(|info| info.id.as_str() == reference || info.spec.name == reference);
    if let Some(info) = exact {
        return Ok(info.clone());
    }
    let begins = |info: &&ContainerInfo| !reference.is_empty() && info.id.as_str().starts_with(reference);
    let mut found = all.iter().filter(begins);
    match (found.next(), found.next()) {
        (Some(info), None) => Ok(info.clone()),
        (Some(_), Some(_)) => Err(Status::invalid_argument(format!(
            "failed to find container {reference}: several ids begin so; give more of it"
        ))),
        (None, _) => Err(Status::not_found(format!("failed to find container {reference} on this node"))),
    }
}

fn wire_line(line: LogLine) -> pb::LogLine {
    pb::LogLine {
        at: line.at_ms,
        stderr: line.stream == LogStream::Stderr,
        data: line.bytes.into(),
        partial: line.partial,
        ..pb::LogLine::default()
    }
}

fn wire(info: &ContainerInfo) -> pb::Container {
    let (spec, exit) = (info.spec.clone(), info.exit.clone());
    pb::Container {
        id: info.id.to_string(),
        name: spec.name,
        image: spec.image,
        image_id: info.image_id.clone(),
        command: info.command.clone(),
        status: status_word(info.status).to_owned(),
        pid: info.pid.unwrap_or(0),
        address: info.address.map(|address| address.to_string()).unwrap_or_default(),
        created_at: info.created_ms,
        started_at: info.started_ms.unwrap_or(0),
        finished_at: exit.as_ref().map_or(0, |exit| exit.at_ms),
        exit_code: exit.as_ref().map_or(0, |exit| exit.code),
        oom_killed: exit.as_ref().is_some_and(|exit| exit.oom_killed),
        error: exit.and_then(|exit| exit.error).unwrap_or_default(),
        labels: spec.labels,
        ports: spec.ports.iter().map(wire_port).collect(),
        env: spec.env,
        workdir: spec.workdir.unwrap_or_default(),
        user: spec.user.unwrap_or_default(),
        // A container that was given none has the beginning of its id, as in Docker.
        hostname: spec.hostname.unwrap_or_else(|| info.id.as_str().chars().take(ID_SHORT).collect()),
        read_only: spec.read_only,
        limits: Some(pb::Resources {
            nano_cpus: spec.resources.nano_cpus,
            memory_bytes: spec.resources.memory_bytes,
            pids: spec.resources.pids,
        }),
        stop_signal: spec.stop_signal.unwrap_or_default(),
    }
}

fn status_word(status: ContainerStatus) -> &'static str {
    match status {
        ContainerStatus::Created => "created",
        ContainerStatus::Running => "running",
        ContainerStatus::Exited => "exited",
    }
}

fn wire_port(port: &PublishedPort) -> pb::PortConfig {
    let protocol = match port.protocol {
        Protocol::Tcp => pb::Protocol::Tcp,
        Protocol::Udp => pb::Protocol::Udp,
    };
    pb::PortConfig {
        protocol: protocol.into(),
        target: port.target.into(),
        published: port.published.into(),
        mode: pb::PublishMode::Host.into(),
    }
}
