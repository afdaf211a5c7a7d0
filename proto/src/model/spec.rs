//! What a user asks of a service.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::disconnect::OnDisconnect;
use super::name::ServiceName;

/// Everything a user says of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSpec {
    /// Its name; it never changes.
    pub name: ServiceName,
    /// Labels of the service, not of its containers.
    pub labels: BTreeMap<String, String>,
    /// What each of its tasks runs.
    pub task: TaskSpec,
    /// How many tasks there are; replicated or global for good.
    pub mode: Mode,
    /// Ports that lead to it.
    pub ports: Vec<PortConfig>,
    /// How its tasks are replaced when the spec changes.
    pub update: UpdateConfig,
    /// How many of its tasks keep running while some are moved on purpose.
    pub min_available: MinAvailable,
}

/// How many tasks of a replicated service keep running while tasks are moved on purpose, as off a node that is drained. A
/// node that dies asks nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MinAvailable {
    /// So many; zero is no demand.
    Tasks(u32),
    /// So many of a hundred replicas, rounded up.
    Percent(u32),
}

impl Default for MinAvailable {
    fn default() -> Self {
        Self::Tasks(0)
    }
}

impl MinAvailable {
    /// How many that is, and never more than there are.
    #[must_use]
    pub fn of(self, replicas: u32) -> u32 {
        match self {
            Self::Tasks(tasks) => tasks.min(replicas),
            Self::Percent(percent) => {
                let exact = (u64::from(replicas) * u64::from(percent)).div_ceil(100);
                u32::try_from(exact).unwrap_or(u32::MAX).min(replicas)
            }
        }
    }
}

/// How many tasks a service has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// So many, wherever they fit.
    Replicated {
        /// How many.
        replicas: u32,
    },
    /// One on each node that fits.
    Global,
}

/// What one task runs, where it may run, and what happens when it ends. Tasks refer to it by service and spec version.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskSpec {
    /// The container.
    pub container: ContainerSpec,
    /// What the kernel lets it use at most; zero is no limit.
    pub limits: Resources,
    /// What the scheduler keeps free for it.
    pub reservations: Resources,
    /// What happens when it ends.
    pub restart: RestartPolicy,
    /// Where it may run.
    pub placement: Placement,
    /// Changed to replace tasks that are otherwise as they should be.
    pub force_update: u64,
    /// What it does when its node is cut off from the managers.
    pub on_disconnect: OnDisconnect,
}

impl TaskSpec {
    /// No two tasks of a slot may run at the same time, whatever happens to the network.
    #[must_use]
    pub fn is_single_writer(&self) -> bool {
        self.on_disconnect != OnDisconnect::Keep
    }

    /// How long after its node was last heard a task of this spec has certainly stopped; `None` when that is never certain.
    #[must_use]
    pub fn fence(&self) -> Option<Duration> {
        self.on_disconnect.fence(self.container.stop_grace)
    }
}

/// A container as a user describes it. Empty means: as the image says.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerSpec {
    /// Image reference.
    pub image: String,
    /// Replaces the image's entrypoint.
    pub command: Vec<String>,
    /// Replaces the image's command.
    pub args: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Labels of the container.
    pub labels: BTreeMap<String, String>,
    /// Working directory.
    pub dir: String,
    /// `user[:group]`.
    pub user: String,
    /// Hostname; may hold templates.
    pub hostname: String,
    /// Mount the root read-only.
    pub read_only: bool,
    /// Signal that asks it to stop.
    pub stop_signal: String,
    /// Time between that signal and SIGKILL.
    pub stop_grace: Duration,
    /// Capabilities on top of the default set.
    pub cap_add: Vec<String>,
    /// Capabilities taken away from it.
    pub cap_drop: Vec<String>,
    /// Lines for /etc/hosts, `IP name`.
    pub hosts: Vec<String>,
    /// Name servers.
    pub dns: Vec<String>,
}

/// Docker's stop grace.
pub const STOP_GRACE_DEFAULT: Duration = Duration::from_secs(10);

impl Default for ContainerSpec {
    fn default() -> Self {
        Self {
            image: String::new(),
            command: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
            labels: BTreeMap::new(),
            dir: String::new(),
            user: String::new(),
            hostname: String::new(),
            read_only: false,
            stop_signal: String::new(),
            stop_grace: STOP_GRACE_DEFAULT,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            hosts: Vec::new(),
            dns: Vec::new(),
        }
    }
}

/// CPU, memory and processes: a limit, a reservation, or what a node has. Zero is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Billionths of one CPU.
    pub nano_cpus: u64,
    /// Bytes.
    pub memory_bytes: u64,
    /// Processes and threads; only as a limit.
    pub pids: u64,
}

/// When a task that ended is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// After which ends.
    pub condition: RestartCondition,
    /// How long the replacement waits.
    pub delay: Duration,
    /// How often a slot is restarted under one spec version; `None` is without limit.
    pub max_attempts: Option<u32>,
    /// Only restarts within this span count; `None` counts for ever.
    pub window: Option<Duration>,
}

/// Docker's restart delay.
pub const RESTART_DELAY_DEFAULT: Duration = Duration::from_secs(5);

impl Default for RestartPolicy {
    fn default() -> Self {
        Self { condition: RestartCondition::Any, delay: RESTART_DELAY_DEFAULT, max_attempts: None, window: None }
    }
}

/// Which ends call for a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartCondition {
    /// None.
    None,
    /// A non-zero exit code or a failure to start.
    OnFailure,
    /// Also an exit with code 0.
    Any,
}

/// Where tasks may and should run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Placement {
    /// All must hold.
    pub constraints: Vec<Constraint>,
    /// Labels over whose values tasks are spread, outermost first, as in `node.labels.zone`.
    pub spread: Vec<String>,
    /// At most so many tasks of the service on one node; `None` is without limit.
    pub max_replicas_per_node: Option<u32>,
}

/// `key == value` or `key != value`; values are compared without regard to case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint {
    /// As in `node.labels.zone`, `node.hostname`, `node.role`, `node.platform.os`.
    pub key: String,
    /// Must be equal, or must differ.
    pub equal: bool,
    /// Value.
    pub value: String,
}

/// A port that leads to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortConfig {
    /// Transport.
    pub protocol: Protocol,
    /// Port in the container, from 1.
    pub target: u16,
    /// Port outside; zero in a spec lets the allocator choose.
    pub published: u16,
    /// Who answers on it.
    pub mode: PublishMode,
}

/// Transport of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Which nodes answer on a published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PublishMode {
    /// The cluster: the number is taken once for all services.
    Ingress,
    /// Each node that runs a task; one such task a node.
    Host,
}

/// How tasks are replaced when the spec changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdateConfig {
    /// Slots at once; zero is all.
    pub parallelism: u32,
    /// Wait between slots.
    pub delay: Duration,
    /// The new task runs before the old one stops.
    pub start_first: bool,
}

impl Default for UpdateConfig {
    fn default() -> Self {
        Self { parallelism: 1, delay: Duration::ZERO, start_first: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_replicas_is_rounded_up() {
        let cases = [
            (MinAvailable::Percent(50), 3, 2),
            (MinAvailable::Percent(100), 7, 7),
            (MinAvailable::Percent(1), 1_000_000, 10_000),
            (MinAvailable::Percent(0), 3, 0),
            (MinAvailable::Tasks(2), 3, 2),
            (MinAvailable::Tasks(9), 3, 3),
            (MinAvailable::default(), 3, 0),
        ];
        for (wanted, replicas, tasks) in cases {
            assert_eq!(wanted.of(replicas), tasks, "{wanted:?} of {replicas}");
        }
    }
}
