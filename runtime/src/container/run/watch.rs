//! Waits for each container's end and finds out how it ended.
#![expect(clippy::disallowed_methods, reason = "driver: owns the clock, the waiting tasks and the exit records")]

use std::fs;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::create::{is_alive, pid};
use super::facade::Runtime;
use super::registry::Container;
use super::sys;
use crate::cgroup;
use crate::container::Exit;
use crate::shim::protocol::Identity;

/// Exit code of a container whose shim was killed: that of SIGKILL.
const KILLED: i32 = 137;

/// What is said of it.
const SHIM_KILLED: &str = "the shim was killed";

/// Starts the task that waits for the shim's end. It holds the container weakly, so that a dropped runtime ends it.
pub(crate) fn begin(runtime: &Arc<Runtime>, container: &Arc<Container>) {
    let Some(shim) = container.shim.as_ref().and_then(|fd| fd.try_clone().ok()) else {
        settle(runtime, container);
        return;
    };
    let (runtime, held) = (Arc::downgrade(runtime), Arc::downgrade(container));
    let task = tokio::spawn(async move {
        wait_for(shim).await;
        let (Some(runtime), Some(container)) = (runtime.upgrade(), held.upgrade()) else { return };
        // A small file, a dead process, and at most one exchange with the kernel's network: not worth another thread's wake-up.
        settle(&runtime, &container);
    });
    *container.watcher.lock() = Some(task);
}

/// A pidfd is readable when its process has ended.
async fn wait_for(shim: OwnedFd) {
    match sys::watched(shim) {
        Ok(watched) => drop(watched.readable().await),
        Err(e) => tracing::error!(error = %e, "the end of a container cannot be watched"),
    }
}

/// The shim has ended: what it wrote is how the container ended; if it wrote nothing, it was killed.
pub(crate) fn settle(runtime: &Runtime, container: &Container) {
    let recorded = fs::read(container.dirs.exit()).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let exit: Exit = recorded.unwrap_or_else(|| bury(container));
    container.link.lock().take();
    if let Err(e) = runtime.backing.unpublish(&container.id, &container.record.spec.ports) {
        tracing::warn!(container.id = %container.id, error = %e, "the ports of an ended container are still published");
    }
    tracing::info!(container.id = %container.id, exit.code = exit.code, "container has ended");
    container.exit.send_replace(Some(exit));
}

/// Ends what a killed shim left, and writes down what it could not.
fn bury(container: &Container) -> Exit {
    if let Some(init) = container.life.lock().init {
        kill(init);
    }
    cgroup::kill_all(&container.groups);
    let oom_killed = cgroup::oom_killed(&container.groups);
    let exit = Exit { code: KILLED, oom_killed, at_ms: now_ms(), error: Some(SHIM_KILLED.to_owned()) };
    let path = container.dirs.exit();
    let text = serde_json::to_vec(&exit).expect("an exit is plain data with text keys");
    if let Err(e) = fs::write(&path, text) {
        tracing::warn!(container.id = %container.id, error = %e, "the exit record cannot be written");
    }
    exit
}

/// Kills that process and no later one with its id: the pidfd is opened first, then the start time compared.
pub(crate) fn kill(who: Identity) {
    let pidfd = pid(who.pid).and_then(|p| pidfd_open(p, PidfdFlags::empty()).ok());
    if let Some(pidfd) = pidfd
        && is_alive(who)
    {
        let _ = pidfd_send_signal(pidfd, Signal::KILL);
    }
}

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
