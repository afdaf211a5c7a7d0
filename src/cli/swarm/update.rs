//! `swarm update`: what holds for the whole cluster.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use skep_proto::model::moment::millis;
use skep_proto::pb;
use tonic::Code;

use super::lock;
use crate::cli::connect::Daemon;
use crate::cli::error::usage;
use crate::cli::format::units::parse_duration;
use crate::cli::output::print;

/// How often an update is worked out anew because the cluster was written in between; then the user is told.
const TRIES_MAX: u32 = 5;

/// Flags of `swarm update`. What is not given stays as it is.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct UpdateFlags {
    /// How often a node says that it lives; one that is silent for three times that is down
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    dispatcher_heartbeat: Option<Duration>,
    /// Task history retention limit: tasks kept for each slot, the live one counted (negative: all)
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    task_history_limit: Option<i32>,
    /// Validity period for node certificates, at least 1h; each node has it from its next renewal on
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    cert_expiry: Option<Duration>,
    /// Whether managers lock themselves: one that starts again then waits for an unlock key
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    autolock: Option<bool>,
}

/// Updates the cluster.
///
/// # Errors
/// When nothing to change was given, or the managers refuse it.
pub(super) async fn run(daemon: &Daemon, flags: &UpdateFlags) -> anyhow::Result<()> {
    if !flags.changes_anything() {
        return Err(usage("failed to update the swarm: no change was given; see skep swarm update --help"));
    }
    change(daemon, flags).await?;
    print("Swarm updated.\n")?;
    if flags.autolock == Some(true) {
        lock::show(daemon).await?;
    }
    if flags.autolock.is_some() { lock::follow(daemon, false).await } else { Ok(()) }
}

async fn change(daemon: &Daemon, flags: &UpdateFlags) -> anyhow::Result<()> {
    let mut tries = 1;
    loop {
        let cluster = daemon.control().get_cluster(pb::Empty {}).await?.into_inner().cluster;
        let cluster =
            cluster.context("read the daemon's answer: it holds no cluster; are both of the same version?")?;
        let version = cluster.meta.map_or(0, |meta| meta.version);
        let spec = flags.edit(cluster.spec.unwrap_or_default());
        let request = pb::UpdateClusterRequest { version, spec: Some(spec) };
        match daemon.control().update_cluster(request).await {
            Ok(_) => return Ok(()),
            Err(status) if status.code() == Code::Aborted && tries < TRIES_MAX => tries += 1,
            Err(status) => return Err(status.into()),
        }
    }
}

impl UpdateFlags {
    fn changes_anything(&self) -> bool {
        self.dispatcher_heartbeat.is_some()
            || self.task_history_limit.is_some()
            || self.cert_expiry.is_some()
            || self.autolock.is_some()
    }

    /// The spec with what was asked for.
    fn edit(&self, mut spec: pb::ClusterSpec) -> pb::ClusterSpec {
        if let Some(period) = self.dispatcher_heartbeat {
            spec.heartbeat_ms = millis(period);
        }
        if let Some(limit) = self.task_history_limit {
            spec.task_history_limit = limit;
        }
        if let Some(life) = self.cert_expiry {
            spec.certificate_life_ms = millis(life);
        }
        if let Some(autolock) = self.autolock {
            spec.autolock = autolock;
        }
        spec
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        flags: UpdateFlags,
    }

    fn flags(line: &str) -> UpdateFlags {
        Line::try_parse_from(["update"].into_iter().chain(line.split_whitespace())).unwrap().flags
    }

    #[test]
    fn what_is_given_is_changed_and_nothing_else() {
        let spec = || pb::ClusterSpec {
            task_history_limit: 5,
            heartbeat_ms: 1_000,
            certificate_life_ms: 7,
            ..Default::default()
        };
        let changed = flags("--dispatcher-heartbeat 10s").edit(spec());
        assert_eq!(changed, pb::ClusterSpec { heartbeat_ms: 10_000, ..spec() });
        let changed = flags("--task-history-limit -1").edit(spec());
        assert_eq!(changed, pb::ClusterSpec { task_history_limit: -1, ..spec() });
        let changed = flags("--cert-expiry 720h").edit(spec());
        assert_eq!(changed, pb::ClusterSpec { certificate_life_ms: 2_592_000_000, ..spec() });
        for line in ["--autolock", "--autolock=true"] {
            assert_eq!(flags(line).edit(spec()), pb::ClusterSpec { autolock: true, ..spec() });
        }
        assert!(!flags("--autolock=false").edit(pb::ClusterSpec { autolock: true, ..spec() }).autolock);
        assert!(flags("--task-history-limit 0").changes_anything() && !flags("").changes_anything());
    }
}
