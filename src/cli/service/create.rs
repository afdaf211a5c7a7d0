//! `service create`.

use std::env;
use std::fs;

use anyhow::Context;
use clap::{Args, ValueEnum};
use skep_proto::model::{MinAvailable, Mode, ServiceName, ServiceSpec, TaskSpec, UpdateConfig};
use skep_proto::pb;
use uuid::Uuid;

use super::settings::Settings;
use crate::cli::connect::Daemon;
use crate::cli::error::usage;
use crate::cli::flags::env::{Lookup, file_lines, variables};
use crate::cli::flags::labels::labels;
use crate::cli::flags::placement::{capability, constraint, host, name_server, preference};
use crate::cli::flags::ports::ports;
use crate::cli::output::{note, print};
use crate::cli::wait::{WaitFlags, converge};
use crate::cli::{names, service};
use crate::exit::Exit;

/// Flags of `service create`.
#[derive(Args, Clone, Debug)]
#[command(override_usage = "skep service create [OPTIONS] IMAGE [COMMAND] [ARG...]")]
pub(crate) struct CreateFlags {
    /// Service name
    #[arg(long)]
    name: Option<String>,
    /// Service labels
    #[arg(short, long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Service mode
    #[arg(long, value_enum, default_value = "replicated")]
    mode: ModeWord,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    container: ContainerFlags,
    /// Placement constraints, as in node.role==worker
    #[arg(long, value_name = "CONSTRAINT")]
    constraint: Vec<String>,
    /// Placement preferences, as in spread=node.labels.zone
    #[arg(long, value_name = "PREFERENCE")]
    placement_pref: Vec<String>,
    /// Publish a port, as in 8080:80
    #[arg(short, long, value_name = "PORT")]
    publish: Vec<String>,
    #[command(flatten)]
    wait: WaitFlags,
    #[command(flatten)]
    registry: RegistryFlags,
    /// Image, and what to run in it instead of its own command
    #[arg(required = true, trailing_var_arg = true, value_name = "IMAGE")]
    words: Vec<String>,
}

/// Lists of the container, which `service update` edits with other flags.
#[derive(Args, Clone, Debug, Default)]
struct ContainerFlags {
    /// Container labels
    #[arg(long, value_name = "KEY=VALUE")]
    container_label: Vec<String>,
    /// Set environment variables
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long, value_name = "FILE")]
    env_file: Vec<String>,
    /// Set host-to-IP mappings
    #[arg(long, value_name = "NAME:IP")]
    host: Vec<String>,
    /// Set custom DNS servers
    #[arg(long, value_name = "IP")]
    dns: Vec<String>,
    /// Add Linux capabilities
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// Drop Linux capabilities
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
}

/// Flags that say how Docker talks to a registry. Images are on the nodes already, so these are true whatever they say.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct RegistryFlags {
    #[arg(long, hide = true)]
    with_registry_auth: bool,
    #[arg(long, hide = true)]
    no_resolve_image: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum ModeWord {
    Replicated,
    Global,
}

/// What of the client's machine goes into a spec.
pub(super) struct Surroundings<'a> {
    /// Its environment.
    pub(super) lookup: Lookup<'a>,
    /// The lines of the env files.
    pub(super) file_variables: Vec<String>,
    /// The name for a service that was given none.
    pub(super) fallback_name: String,
}

impl CreateFlags {
    /// The spec that the flags describe.
    ///
    /// # Errors
    /// When a flag's text cannot be read, or two flags contradict each other.
    pub(super) fn spec(&self, around: Surroundings<'_>) -> anyhow::Result<ServiceSpec> {
        let name = self.name.clone().unwrap_or(around.fallback_name);
        let mut spec = ServiceSpec {
            name: ServiceName::new(name).map_err(|error| usage(format!("failed to {error}")))?,
            labels: labels(&self.label)?,
            task: TaskSpec::default(),
            mode: match self.mode {
                ModeWord::Replicated => Mode::Replicated { replicas: 1 },
                ModeWord::Global => Mode::Global,
            },
            ports: self.publish.iter().map(|text| ports(text)).collect::<anyhow::Result<Vec<_>>>()?.concat(),
            update: UpdateConfig::default(),
            min_available: MinAvailable::default(),
        };
        let mut words = self.words.iter().cloned();
        spec.task.container.image = words.next().unwrap_or_default();
        spec.task.container.args = words.collect();
        spec.task.placement.constraints =
            self.constraint.iter().map(|text| constraint(text)).collect::<Result<_, _>>()?;
        spec.task.placement.spread =
            self.placement_pref.iter().map(|text| preference(text)).collect::<Result<_, _>>()?;
        // What is on the command line wins over what is in a file.
        let written = [around.file_variables, self.container.env.clone()].concat();
        spec.task.container.env = variables(&written, around.lookup)?;
        self.container.apply(&mut spec)?;
        self.settings.apply(&mut spec)?;
        Ok(spec)
    }
}

impl ContainerFlags {
    fn apply(&self, spec: &mut ServiceSpec) -> anyhow::Result<()> {
        let container = &mut spec.task.container;
        container.labels = labels(&self.container_label)?;
        container.hosts = self.host.iter().map(|text| host(text)).collect::<Result<_, _>>()?;
        container.dns = self.dns.iter().map(|text| name_server(text)).collect::<Result<_, _>>()?;
        container.cap_add = self.cap_add.iter().map(|text| capability(text)).collect();
        // Adding wins over dropping, as in Docker.
        let dropped = self.cap_drop.iter().map(|text| capability(text));
        container.cap_drop = dropped.filter(|name| !container.cap_add.contains(name)).collect();
        Ok(())
    }
}

/// Creates the service, prints its id and waits.
///
/// # Errors
/// When it is refused or does not converge in time.
pub(super) async fn run(daemon: &Daemon, flags: &CreateFlags) -> anyhow::Result<Exit> {
    let spec = flags.spec(Surroundings {
        lookup: &client_variable,
        file_variables: read_files(&flags.container.env_file)?,
        fallback_name: names::name(Uuid::new_v4().as_u128()),
    })?;
    let spec = pb::ServiceSpec::from(&spec);
    let request = pb::CreateServiceRequest { spec: Some(spec.clone()) };
    let reply = daemon.control().create_service(request).await?.into_inner();
    for warning in &reply.warnings {
        note(&format!("WARNING: {warning}"))?;
    }
    let created = service::created(reply, spec)?;
    print(&format!("{}\n", service::id(&created)))?;
    converge(daemon, &created, &flags.wait).await
}

/// A variable of the client's own environment.
pub(super) fn client_variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

fn read_files(paths: &[String]) -> anyhow::Result<Vec<String>> {
    let mut all = Vec::new();
    for path in paths {
        let text = fs::read_to_string(path).with_context(|| format!("read the env file {path}"))?;
        all.extend(file_lines(&text));
    }
    Ok(all)
}

#[cfg(test)]
#[path = "create/tests.rs"]
mod tests;
