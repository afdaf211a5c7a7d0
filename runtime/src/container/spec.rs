//! What a caller asks for and what it is told: plain values, no I/O.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lifeline::Lifeline;

/// Where the runtime lives on this machine. Two runtimes with different values share nothing.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Images, layers, writable layers, logs: survives a reboot.
    pub data_dir: PathBuf,
    /// Sockets and the state of running containers: a tmpfs, empty after a reboot.
    pub run_dir: PathBuf,
    /// Name of the cgroup under which every container's cgroup is made, in each hierarchy. No slashes at either end.
    pub cgroup_parent: String,
    /// Program and leading arguments that re-execute this binary as a shim; the runtime appends its own arguments.
    pub shim_command: Vec<OsString>,
    /// Bytes of the executable that `skep/hello` is made of, read only when that image is first asked for.
    pub builtin_executable: PathBuf,
    /// Name of the bridge that containers of this node hang on, at most 15 bytes.
    pub bridge_name: String,
    /// First address and prefix length of the node-local network, for example 172.30.0.1/16. The bridge takes the address.
    pub bridge_address: (Ipv4Addr, u8),
    /// Name of the nftables table that the runtime owns whole, for example `skep`.
    pub nft_table: String,
}

/// Name of a container, chosen by the caller: 1 to 64 characters of `[a-z0-9-]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerId(String);

impl ContainerId {
    /// Checks the characters and the length.
    ///
    /// # Errors
    /// The text itself when it is empty, too long or has another character.
    pub fn new(text: impl Into<String>) -> Result<Self, String> {
        let text = text.into();
        let fits = (1..=64).contains(&text.len());
        let clean = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits && clean { Ok(Self(text)) } else { Err(text) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One container as its caller wants it. Empty or `None` means: as the image says, else Docker's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Name for people, as in `web.3.x1y2z3`.
    pub name: String,
    /// Image reference as the user wrote it; resolved once, when the container is created.
    pub image: String,
    /// Replaces the image's entrypoint when not empty (and then the image's command is dropped too).
    pub entrypoint: Vec<String>,
    /// Replaces the image's command when not empty.
    pub args: Vec<String>,
    /// `NAME=value`, laid over the image's environment.
    pub env: Vec<String>,
    /// Labels, carried along for whoever lists containers.
    pub labels: BTreeMap<String, String>,
    /// `user[:group]`, names or numbers, looked up in the image's own /etc/passwd and /etc/group.
    pub user: Option<String>,
    /// Working directory, made if it is missing.
    pub workdir: Option<String>,
    /// Hostname; the container id's first 12 characters otherwise.
    pub hostname: Option<String>,
    /// Mounts the root read-only.
    pub read_only: bool,
    /// Capabilities on top of Docker's default set, with or without `CAP_`, or `ALL`.
    pub cap_add: Vec<String>,
    /// Capabilities taken away from it.
    pub cap_drop: Vec<String>,
    /// `IP name [name…]` lines added to /etc/hosts.
    pub hosts: Vec<String>,
    /// Name servers; the host's otherwise.
    pub dns: Vec<String>,
    /// Signal that asks it to stop, as a name or a number; the image's, else SIGTERM.
    pub stop_signal: Option<String>,
    /// Limits that the kernel enforces.
    pub resources: Resources,
    /// Ports of this machine that lead to the container.
    pub ports: Vec<PublishedPort>,
    /// What its life hangs on, if not on itself alone.
    #[serde(default)]
    pub lifeline: Option<Lifeline>,
}

/// Limits; zero means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Billionths of one CPU.
    pub nano_cpus: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
}

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port of the host that leads to a port of containers. Containers that publish the same one share its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PublishedPort {
    /// Port on every local address of the host.
    pub published: u16,
    /// Port in the container.
    pub target: u16,
    /// Transport.
    pub protocol: Protocol,
}

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerStatus {
    /// Namespaces, root and cgroups exist; the program has not been executed.
    Created,
    /// The program runs.
    Running,
    /// The program has ended; its files are still there.
    Exited,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code, or 128 plus the signal's number.
    pub code: i32,
    /// The kernel killed it for memory.
    pub oom_killed: bool,
    /// Unix milliseconds.
    pub at_ms: u64,
    /// Why there is no code of the program's own: the shim died, the program could not be executed.
    pub error: Option<String>,
}

/// What `inspect` and `ps` show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerInfo {
    /// The caller's name for it.
    pub id: ContainerId,
    /// What was asked for.
    pub spec: ContainerSpec,
    /// Digest of the image's configuration, `sha256:…`.
    pub image_id: String,
    /// The program and its arguments after the image's defaults were applied.
    pub command: Vec<String>,
    /// Where it is in its life.
    pub status: ContainerStatus,
    /// Process id of the container's init in the host's pid namespace, while it lives.
    pub pid: Option<u32>,
    /// Address on the node-local network.
    pub address: Option<Ipv4Addr>,
    /// Unix milliseconds.
    pub created_ms: u64,
    /// Unix milliseconds.
    pub started_ms: Option<u64>,
    /// How it ended.
    pub exit: Option<Exit>,
}

/// Longest time between the stop signal and SIGKILL that a caller may ask for: a day. Longer is a typing error.
pub const STOP_GRACE_MAX: Duration = Duration::from_secs(24 * 3600);
