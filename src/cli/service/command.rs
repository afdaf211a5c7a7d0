//! The commands, and the small steps that several of them take.

use anyhow::Context;
use clap::Subcommand;
use skep_proto::pb;

use crate::cli::connect::Daemon;
use crate::cli::json::meta_id;
use crate::exit::Exit;

use super::{create, inspect, list, logs, remove, scale, tasks, update};

/// Manage services
#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// Create a new service
    Create(Box<create::CreateFlags>),
    /// Display detailed information on one or more services
    Inspect(inspect::InspectArguments),
    /// Fetch the logs of services or tasks
    Logs(logs::LogsFlags),
    /// List services
    #[command(visible_alias = "list")]
    Ls(list::ServicesFlags),
    /// List the tasks of one or more services
    Ps(tasks::ServiceTasksFlags),
    /// Remove one or more services
    #[command(visible_alias = "remove")]
    Rm(remove::RemoveFlags),
    /// Scale one or multiple replicated services
    Scale(scale::ScaleFlags),
    /// Update a service
    Update(Box<update::UpdateFlags>),
}

/// Runs one of them.
///
/// # Errors
/// Whatever the command failed at.
pub(crate) async fn run(daemon: &Daemon, command: ServiceCommand) -> anyhow::Result<Exit> {
    match command {
        ServiceCommand::Create(flags) => create::run(daemon, &flags).await,
        ServiceCommand::Inspect(flags) => inspect::run(daemon, &flags).await,
        ServiceCommand::Logs(flags) => logs::run(daemon, &flags).await,
        ServiceCommand::Ls(flags) => list::run(daemon, &flags).await,
        ServiceCommand::Ps(flags) => tasks::run_for_services(daemon, flags).await,
        ServiceCommand::Rm(flags) => remove::run(daemon, &flags).await,
        ServiceCommand::Scale(flags) => scale::run(daemon, &flags).await,
        ServiceCommand::Update(flags) => update::run(daemon, &flags).await,
    }
}

/// The service of a reply.
///
/// # Errors
/// When the daemon sent none.
pub(crate) fn required(reply: pb::ServiceReply) -> anyhow::Result<pb::Service> {
    reply.service.context("read the daemon's answer: it holds no service; are both of the same version?")
}

/// The service that was just made as that spec says.
///
/// # Errors
/// When the daemon did not say which.
pub(crate) fn created(reply: pb::CreateServiceReply, spec: pb::ServiceSpec) -> anyhow::Result<pb::Service> {
    let meta = reply.meta.context("read the daemon's answer: it names no service; are both of the same version?")?;
    Ok(pb::Service { meta: Some(meta), spec: Some(spec), spec_version: 1, ..pb::Service::default() })
}

/// Its id.
pub(crate) fn id(service: &pb::Service) -> String {
    meta_id(service.meta.as_ref())
}

/// Its name.
pub(crate) fn name(service: &pb::Service) -> &str {
    service.spec.as_ref().map_or("", |spec| &spec.name)
}

/// Asks for a service.
///
/// # Errors
/// When there is none.
pub(crate) async fn get(daemon: &Daemon, word: &str) -> anyhow::Result<pb::Service> {
    let request = pb::RefRequest { r#ref: word.to_owned() };
    required(daemon.control().get_service(request).await?.into_inner())
}
