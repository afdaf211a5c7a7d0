//! `service update`.

use clap::Args;
use skep_proto::model::ServiceSpec;
use skep_proto::pb;
use tonic::Code;

use super::create::{RegistryFlags, client_variable};
use super::get;
use super::settings::Settings;
use crate::cli::connect::Daemon;
use crate::cli::output::{note, print};
use crate::cli::service;
use crate::cli::wait::{WaitFlags, converge};
use crate::exit::Exit;

/// How often an update is worked out anew because somebody else was quicker. Each try takes a round trip; whoever loses this
/// often is told so, and may try again.
const TRIES_MAX: u32 = 5;

/// Flags of `service update`.
#[derive(Args, Clone, Debug)]
pub(crate) struct UpdateFlags {
    /// Service image
    #[arg(long)]
    pub(super) image: Option<String>,
    /// Command to run in place of the image's own
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true)]
    pub(super) args: Option<String>,
    /// Replace all tasks, even if nothing changed
    #[arg(long)]
    pub(super) force: bool,
    #[command(flatten)]
    pub(super) settings: Settings,
    #[command(flatten)]
    pub(super) lists: ListEdits,
    #[command(flatten)]
    wait: WaitFlags,
    #[command(flatten)]
    registry: RegistryFlags,
    /// Name or id
    #[arg(value_name = "SERVICE")]
    service: String,
}

/// What is added to lists, and what is taken away first.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ListEdits {
    /// Add or update a service label
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) label_add: Vec<String>,
    /// Remove a service label by its key
    #[arg(long, value_name = "KEY")]
    pub(super) label_rm: Vec<String>,
    /// Add or update a container label
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) container_label_add: Vec<String>,
    /// Remove a container label by its key
    #[arg(long, value_name = "KEY")]
    pub(super) container_label_rm: Vec<String>,
    /// Add or update an environment variable
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(super) env_add: Vec<String>,
    /// Remove an environment variable
    #[arg(long, value_name = "NAME")]
    pub(super) env_rm: Vec<String>,
    /// Add or update a placement constraint
    #[arg(long, value_name = "CONSTRAINT")]
    pub(super) constraint_add: Vec<String>,
    /// Remove a constraint
    #[arg(long, value_name = "CONSTRAINT")]
    pub(super) constraint_rm: Vec<String>,
    /// Add a placement preference
    #[arg(long, value_name = "PREFERENCE")]
    pub(super) placement_pref_add: Vec<String>,
    /// Remove a placement preference
    #[arg(long, value_name = "PREFERENCE")]
    pub(super) placement_pref_rm: Vec<String>,
    /// Add or update a published port
    #[arg(long, value_name = "PORT")]
    pub(super) publish_add: Vec<String>,
    /// Remove a published port by its target port
    #[arg(long, value_name = "PORT")]
    pub(super) publish_rm: Vec<String>,
    /// Add a Linux capability
    #[arg(long, value_name = "CAPABILITY")]
    pub(super) cap_add: Vec<String>,
    /// Drop a Linux capability
    #[arg(long, value_name = "CAPABILITY")]
    pub(super) cap_drop: Vec<String>,
}

/// Updates the service, prints its id and waits.
///
/// # Errors
/// When it is refused or does not converge in time.
pub(super) async fn run(daemon: &Daemon, flags: &UpdateFlags) -> anyhow::Result<Exit> {
    let updated = change(daemon, &flags.service, &|spec| flags.edit(spec, &client_variable)).await?;
    print(&format!("{}\n", flags.service))?;
    converge(daemon, &updated, &flags.wait).await
}

/// Reads the service, changes its spec and writes it back; anew when somebody else has written in between.
///
/// # Errors
/// When there is no such service, the change cannot be made, or the daemon refuses it.
pub(super) async fn change(
    daemon: &Daemon,
    word: &str,
    edit: &dyn Fn(&mut ServiceSpec) -> anyhow::Result<()>,
) -> anyhow::Result<pb::Service> {
    let mut tries = 1;
    loop {
        let current = get(daemon, word).await?;
        let version = current.meta.as_ref().map_or(0, |meta| meta.version);
        let mut spec = ServiceSpec::try_from(current.spec.clone().unwrap_or_default())?;
        edit(&mut spec)?;
        let request = pb::UpdateServiceRequest { r#ref: service::id(&current), version, spec: Some((&spec).into()) };
        match daemon.control().update_service(request).await {
            Ok(reply) => return accepted(reply.into_inner()),
            Err(status) if status.code() == Code::Aborted && tries < TRIES_MAX => tries += 1,
            Err(status) => return Err(status.into()),
        }
    }
}

fn accepted(reply: pb::ServiceReply) -> anyhow::Result<pb::Service> {
    for warning in &reply.warnings {
        note(&format!("WARNING: {warning}"))?;
    }
    service::required(reply)
}
