//! What `skep daemon` takes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;

use crate::telemetry::LogFormat;

/// Options of `skep daemon`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DaemonOptions {
    /// Where everything that must survive a reboot is kept
    #[arg(long, default_value = "/var/lib/skep", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Where sockets and the state of running containers are kept
    #[arg(long, default_value = "/run/skep", value_name = "DIR")]
    pub run_dir: PathBuf,
    /// The node's name (default: the machine's hostname)
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Label of this engine, for constraints on engine.labels
    #[arg(long, value_name = "KEY=VALUE")]
    pub label: Vec<String>,
    /// Address at which the other nodes reach this one from now on, if it has moved: IP or INTERFACE, with or without :PORT
    #[arg(long, value_name = "ADDR")]
    pub advertise_addr: Option<String>,
    /// Where a manager is now, if this node knows none any more because all of them have moved; may be given several times
    #[arg(long, value_name = "HOST:PORT")]
    pub manager: Vec<String>,
    /// Group in each cgroup hierarchy under which containers live
    #[arg(long, default_value = "skep", value_name = "NAME")]
    pub cgroup_parent: String,
    /// Serve Prometheus metrics at this address
    #[arg(long, value_name = "IP:PORT")]
    pub metrics_addr: Option<SocketAddr>,
    /// Form of the log on standard error
    #[arg(long, value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// Leave the terminal that it was started from
    #[arg(long, hide = true)]
    pub background: bool,
}

/// Longest hostname that the kernel takes (`HOST_NAME_MAX`, Linux).
const HOSTNAME_LEN_MAX: usize = 64;

impl DaemonOptions {
    /// The engine's labels.
    ///
    /// # Errors
    /// When one has no key.
    pub(crate) fn labels(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let pair = |text: &String| {
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            if key.is_empty() {
                bail!("use {text:?} as a label: write KEY=VALUE");
            }
            Ok((key.to_owned(), value.to_owned()))
        };
        self.label.iter().map(pair).collect()
    }

    /// The node's name: as given, else the machine's.
    ///
    /// # Errors
    /// When it is no hostname.
    pub(crate) fn node_name(&self) -> anyhow::Result<String> {
        let name = match &self.hostname {
            Some(name) => name.clone(),
            None => nix::unistd::gethostname().context("read the hostname")?.to_string_lossy().into_owned(),
        };
        let clean = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        if name.is_empty() || name.len() > HOSTNAME_LEN_MAX || !clean {
            bail!("use {name:?} as the hostname: it has 1 to {HOSTNAME_LEN_MAX} letters, digits, '-', '.' or '_'");
        }
        Ok(name)
    }

    /// The cgroup parent without slashes at its ends.
    ///
    /// # Errors
    /// When it is empty or would leave the hierarchy.
    pub(crate) fn checked_cgroup_parent(&self) -> anyhow::Result<String> {
        let name = self.cgroup_parent.trim_matches('/');
        if name.is_empty() || name.split('/').any(|part| matches!(part, "" | "." | "..")) {
            bail!("use {:?} as the cgroup parent: name a group, as in skep or machines/skep", self.cgroup_parent);
        }
        Ok(name.to_owned())
    }
}
