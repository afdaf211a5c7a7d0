//! Starts and stops the daemons of `up`.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use super::namespace;
use super::plan::Node;
use crate::cli::connect::Daemon;
use crate::daemon::disk;

/// How long a daemon may take until it answers. It takes a tenth of a second; the rest is for a machine under load.
const START_MAX: Duration = Duration::from_secs(20);

/// How long it may take to stop before it is killed. Its containers do not depend on it.
const STOP_MAX: Duration = Duration::from_secs(20);

/// How often is looked whether something has come about that has no event.
const LOOK: Duration = Duration::from_millis(5);

/// The daemon of `node`, started if it does not answer.
///
/// # Errors
/// When it cannot be started or ends at once; the end of its log is in the error.
pub(crate) async fn ensure(node: &Node) -> anyhow::Result<Daemon> {
    if let Ok(daemon) = Daemon::connect(&node.host()).await {
        return Ok(daemon);
    }
    let mut child = start(node)?;
    let deadline = Instant::now() + START_MAX;
    loop {
        match Daemon::connect(&node.host()).await {
            Ok(daemon) => return Ok(daemon),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => sleep(LOOK).await,
        }
        if let Some(status) = child.try_wait().context("look after the daemon")? {
            bail!(
                "start the daemon: it ended with {status}; its log {} ends with: {}",
                log_path(node).display(),
                last_words(node)
            );
        }
    }
}

fn log_path(node: &Node) -> PathBuf {
    node.data_dir.join("daemon.log")
}

fn last_words(node: &Node) -> String {
    let text = fs::read_to_string(log_path(node)).unwrap_or_default();
    text.lines().last().unwrap_or("(nothing)").to_owned()
}

fn start(node: &Node) -> anyhow::Result<Child> {
    disk::private_dir(&node.data_dir)?;
    let mut command = command(node)?;
    let mut spawn = move || command.spawn().context("start the daemon");
    match &node.network {
        None => spawn(),
        Some(place) => namespace::inside(&place.namespace, spawn),
    }
}

fn command(node: &Node) -> anyhow::Result<Command> {
    let log = log_path(node);
    let log: File =
        OpenOptions::new().create(true).append(true).open(&log).with_context(|| format!("open {}", log.display()))?;
    let mut command = Command::new(env::current_exe().context("find this program's own file")?);
    command.arg("daemon").arg("--background");
    command.arg("--data-dir").arg(&node.data_dir).arg("--run-dir").arg(&node.run_dir);
    command.arg("--cgroup-parent").arg(&node.cgroup_parent);
    if !node.name.is_empty() {
        command.arg("--hostname").arg(&node.name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    Ok(command)
}

/// Stops the daemon that holds the node's data directory, if there is one.
///
/// # Errors
/// When it can be neither asked nor killed.
pub(crate) async fn stop(node: &Node) -> anyhow::Result<()> {
    let Some(pid) = disk::lock_holder(&node.data_dir) else { return Ok(()) };
    let pid = Pid::from_raw(pid);
    for (signal, patience) in [(Signal::SIGTERM, STOP_MAX), (Signal::SIGKILL, STOP_MAX)] {
        match kill(pid, signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error).with_context(|| format!("stop the daemon (process {pid})")),
        }
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if disk::lock_holder(&node.data_dir).is_none() {
                return Ok(());
            }
            sleep(LOOK).await;
        }
    }
    bail!("stop the daemon (process {pid}): it is still there after SIGKILL")
}
