//! Flags that say one thing about a service, the same for `service create` and `service update`: what is not given stays
//! as it is. Pure.

use std::time::Duration;

use clap::{Args, ValueEnum};
use skep_proto::model::disconnect::{STOP_AFTER_MAX, STOP_AFTER_MIN};
use skep_proto::model::{
    ContainerSpec, MinAvailable, Mode, OnDisconnect, Resources, RestartCondition, RestartPolicy, ServiceSpec,
    UpdateConfig,
};

use crate::cli::error::usage;
use crate::cli::flags::words::words;
use crate::cli::format::units::{parse_cpus, parse_duration, parse_size};

/// All of them.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Settings {
    /// Number of tasks
    #[arg(long, value_name = "NUMBER")]
    replicas: Option<u32>,
    /// Maximum number of tasks per node (0: no limit)
    #[arg(long, value_name = "NUMBER")]
    replicas_max_per_node: Option<u32>,
    #[command(flatten)]
    container: ContainerSettings,
    #[command(flatten)]
    resources: ResourceSettings,
    #[command(flatten)]
    restart: RestartSettings,
    #[command(flatten)]
    update: UpdateSettings,
    /// Tasks that keep running while others are moved off a drained node, as a number or as in 50% (default: 0)
    #[arg(long, value_name = "NUMBER|PERCENT%", value_parser = parse_min_available)]
    min_available: Option<MinAvailable>,
    /// What a task does when its node is cut off from the managers: keep running, or stop after a while, in which case no other is
    /// ever run beside it (default: keep)
    #[arg(long, value_name = "keep|stop-after=DURATION", value_parser = parse_on_disconnect)]
    on_disconnect: Option<OnDisconnect>,
}

#[derive(Args, Clone, Debug, Default)]
struct ContainerSettings {
    /// Overwrite the entrypoint of the image
    #[arg(long, value_name = "COMMAND")]
    entrypoint: Option<String>,
    /// Working directory inside the container
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Username or UID, as in NAME|UID[:GROUP|GID]
    #[arg(short, long)]
    user: Option<String>,
    /// Container hostname
    #[arg(long)]
    hostname: Option<String>,
    /// Mount the container's root filesystem as read only
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    read_only: Option<bool>,
    /// Signal to stop the container
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// Time to wait before force killing a container (default: 10s)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    stop_grace_period: Option<Duration>,
}

#[derive(Args, Clone, Debug, Default)]
struct ResourceSettings {
    /// Limit CPUs
    #[arg(long, value_name = "CPUS", value_parser = parse_cpus)]
    limit_cpu: Option<u64>,
    /// Limit memory
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    limit_memory: Option<u64>,
    /// Limit the number of processes (0: no limit)
    #[arg(long, value_name = "NUMBER")]
    limit_pids: Option<u64>,
    /// Reserve CPUs
    #[arg(long, value_name = "CPUS", value_parser = parse_cpus)]
    reserve_cpu: Option<u64>,
    /// Reserve memory
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    reserve_memory: Option<u64>,
}

#[derive(Args, Clone, Debug, Default)]
struct RestartSettings {
    /// Restart when the condition is met (default: any)
    #[arg(long, value_enum, value_name = "CONDITION")]
    restart_condition: Option<ConditionWord>,
    /// Delay between restart attempts (default: 5s)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    restart_delay: Option<Duration>,
    /// Maximum number of restarts before giving up (0: no limit)
    #[arg(long, value_name = "NUMBER")]
    restart_max_attempts: Option<u32>,
    /// Window in which restarts are counted (0: for ever)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    restart_window: Option<Duration>,
}

#[derive(Args, Clone, Debug, Default)]
struct UpdateSettings {
    /// Maximum number of tasks updated at once, 0 for all (default: 1)
    #[arg(long, value_name = "NUMBER")]
    update_parallelism: Option<u32>,
    /// Delay between updates (default: 0s)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    update_delay: Option<Duration>,
    /// Which goes first: the end of the old task or the start of the new one (default: stop-first)
    #[arg(long, value_enum, value_name = "ORDER")]
    update_order: Option<OrderWord>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum ConditionWord {
    None,
    OnFailure,
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum OrderWord {
    StartFirst,
    StopFirst,
}

impl Settings {
    /// Writes what was given into the spec.
    ///
    /// # Errors
    /// When a text cannot be read, or replicas are asked of a global service.
    pub(crate) fn apply(&self, spec: &mut ServiceSpec) -> anyhow::Result<()> {
        if let Some(wanted) = self.replicas {
            set_replicas(spec, wanted)?;
        }
        if let Some(most) = self.replicas_max_per_node {
            spec.task.placement.max_replicas_per_node = (most != 0).then_some(most);
        }
        self.container.apply(&mut spec.task.container)?;
        self.resources.apply(&mut spec.task.limits, &mut spec.task.reservations);
        self.restart.apply(&mut spec.task.restart);
        self.update.apply(&mut spec.update);
        set(&mut spec.min_available, self.min_available.as_ref());
        set(&mut spec.task.on_disconnect, self.on_disconnect.as_ref());
        Ok(())
    }
}

/// A number of tasks, or a percentage of them.
fn parse_min_available(text: &str) -> Result<MinAvailable, String> {
    let number = |digits: &str| digits.parse::<u32>().ok();
    let read = match text.strip_suffix('%') {
        Some(digits) => number(digits).filter(|percent| *percent <= 100).map(MinAvailable::Percent),
        None => number(text).map(MinAvailable::Tasks),
    };
    read.ok_or_else(|| "it must be a number of tasks, or a percentage from 0% to 100%".to_owned())
}

/// `keep`, or `stop-after=30s`.
fn parse_on_disconnect(text: &str) -> Result<OnDisconnect, String> {
    if text == "keep" {
        return Ok(OnDisconnect::Keep);
    }
    let span =
        text.strip_prefix("stop-after=").ok_or("it must be keep, or stop-after=DURATION as in stop-after=30s")?;
    match parse_duration(span).map_err(|error| error.to_string())? {
        after if (STOP_AFTER_MIN..=STOP_AFTER_MAX).contains(&after) => Ok(OnDisconnect::StopAfter(after)),
        _ => Err("a cut-off node stops its tasks after 5s at the earliest and 24h at the latest".to_owned()),
    }
}

/// Sets the number of tasks.
///
/// # Errors
/// When the service is global.
pub(crate) fn set_replicas(spec: &mut ServiceSpec, wanted: u32) -> anyhow::Result<()> {
    match &mut spec.mode {
        Mode::Replicated { replicas } => *replicas = wanted,
        Mode::Global => {
            let name = &spec.name;
            return Err(usage(format!(
                "failed to set the replicas of {name}: only a replicated service has them, and it is global"
            )));
        }
    }
    Ok(())
}

impl ContainerSettings {
    fn apply(&self, spec: &mut ContainerSpec) -> anyhow::Result<()> {
        if let Some(text) = &self.entrypoint {
            spec.command = words(text)?;
        }
        set(&mut spec.dir, self.workdir.as_ref());
        set(&mut spec.user, self.user.as_ref());
        set(&mut spec.hostname, self.hostname.as_ref());
        set(&mut spec.read_only, self.read_only.as_ref());
        set(&mut spec.stop_signal, self.stop_signal.as_ref());
        set(&mut spec.stop_grace, self.stop_grace_period.as_ref());
        Ok(())
    }
}

impl ResourceSettings {
    fn apply(&self, limits: &mut Resources, reservations: &mut Resources) {
        set(&mut limits.nano_cpus, self.limit_cpu.as_ref());
        set(&mut limits.memory_bytes, self.limit_memory.as_ref());
        set(&mut limits.pids, self.limit_pids.as_ref());
        set(&mut reservations.nano_cpus, self.reserve_cpu.as_ref());
        set(&mut reservations.memory_bytes, self.reserve_memory.as_ref());
    }
}

impl RestartSettings {
    fn apply(&self, policy: &mut RestartPolicy) {
        let condition = self.restart_condition.map(|word| match word {
            ConditionWord::None => RestartCondition::None,
            ConditionWord::OnFailure => RestartCondition::OnFailure,
            ConditionWord::Any => RestartCondition::Any,
        });
        set(&mut policy.condition, condition.as_ref());
        set(&mut policy.delay, self.restart_delay.as_ref());
        if let Some(most) = self.restart_max_attempts {
            policy.max_attempts = (most != 0).then_some(most);
        }
        if let Some(window) = self.restart_window {
            policy.window = (!window.is_zero()).then_some(window);
        }
    }
}

impl UpdateSettings {
    fn apply(&self, config: &mut UpdateConfig) {
        set(&mut config.parallelism, self.update_parallelism.as_ref());
        set(&mut config.delay, self.update_delay.as_ref());
        set(&mut config.start_first, self.update_order.map(|word| word == OrderWord::StartFirst).as_ref());
    }
}

fn set<T: Clone>(place: &mut T, given: Option<&T>) {
    if let Some(value) = given {
        place.clone_from(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_that_stay_available_are_counted_or_shared_out() {
        assert_eq!(parse_min_available("2"), Ok(MinAvailable::Tasks(2)));
        assert_eq!(parse_min_available("50%"), Ok(MinAvailable::Percent(50)));
        for bad in ["", "%", "-1", "101%", "two", "5 %", "1.5"] {
            assert!(parse_min_available(bad).is_err(), "{bad}");
        }
    }
    #[test]
    fn a_cut_off_task_runs_on_or_stops_after_a_while() {
        assert_eq!(parse_on_disconnect("keep"), Ok(OnDisconnect::Keep));
        assert_eq!(parse_on_disconnect("stop-after=1m"), Ok(OnDisconnect::StopAfter(Duration::from_secs(60))));
        for bad in ["", "stop", "stop-after", "stop-after=", "stop-after=1s", "stop-after=25h", "stop-after=x"] {
            assert!(parse_on_disconnect(bad).is_err(), "{bad}");
        }
    }
}
