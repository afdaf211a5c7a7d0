//! Signals, stops and removes containers.
#![expect(clippy::disallowed_methods, reason = "driver: removes files")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::process::{Signal, pidfd_send_signal};
use tokio::sync::Notify;
use tokio::sync::watch::error::RecvError;

use super::create::failed;
use super::facade::Runtime;
use super::registry::{Container, Dirs};
use super::watch;
use crate::cgroup::{self, Group};
use crate::container::{ContainerId, ContainerStatus, Exit, RuntimeError};
use crate::shim::protocol::{Reply, Request};

/// Seconds that the kernel may take to end killed processes. More means that they hang in the kernel, and waiting helps no more.
const KILL_SECONDS: u64 = 20;

/// Sends a signal to the container's init, through the shim.
pub(crate) fn signal(container: &Container, number: i32) -> Result<(), RuntimeError> {
    let id = || container.id.clone();
    if container.status() == ContainerStatus::Exited {
        return Err(RuntimeError::WrongState { id: id(), action: "signal", status: ContainerStatus::Exited });
    }
    match container.ask(Request::Signal(number))? {
        Reply::Failed(failure) => Err(RuntimeError::Refused { id: id(), action: "signal", reason: failure.text }),
        _ => Ok(()),
    }
}

/// SIGKILL: the end of the init takes its whole pid namespace with it. Goes around the shim if that does not answer, and ends it
/// too: one that hangs or was stopped would never say that the init has ended.
fn kill(container: &Container) {
    let Err(error) = signal(container, libc::SIGKILL) else { return };
    if let Some(init) = container.life.lock().init {
        watch::kill(init);
    }
    cgroup::kill_all(&container.groups);
    if let (RuntimeError::Shim { .. }, Some(shim)) = (error, &container.shim) {
        let _ = pidfd_send_signal(shim, Signal::KILL);
    }
}

/// Waits for the end.
pub(crate) async fn ended(container: &Container) -> Result<Exit, RecvError> {
    let mut exit = container.exit.subscribe();
    let exit = exit.wait_for(Option::is_some).await?;
    Ok(exit.clone().expect("waited until it is there"))
}

/// Kills and waits. Does nothing if it has ended.
pub(crate) async fn kill_and_wait(container: &Arc<Container>) -> Result<Exit, RuntimeError> {
    let unkillable = || RuntimeError::Unkillable { id: container.id.clone(), seconds: KILL_SECONDS };
    if container.status() != ContainerStatus::Exited {
        let victim = Arc::clone(container);
        Runtime::blocking(move || kill(&victim)).await;
    }
    let exit = tokio::time::timeout(Duration::from_secs(KILL_SECONDS), ended(container)).await;
    exit.map_err(|_| unkillable())?.map_err(|_| unkillable())
}

/// Stop signal, grace, SIGKILL. Ports are unpublished first, so that no new connection meets a stopping program.
pub(crate) async fn stop(
    runtime: &Arc<Runtime>,
    container: &Arc<Container>,
    grace: Duration,
) -> Result<Exit, RuntimeError> {
    if container.status() == ContainerStatus::Running {
        let (runtime, asked) = (Arc::clone(runtime), Arc::clone(container));
        let sent = Runtime::blocking(move || {
            runtime.backing.unpublish(&asked.id, &asked.record.spec.ports)?;
            signal(&asked, asked.record.stop_signal)
        });
        // A container that ends just now cannot be signalled; what counts is that it ends.
        if let Err(e) = sent.await {
            tracing::debug!(container.id = %container.id, error = %e, "the stop signal was not sent");
        }
        if let Ok(Ok(exit)) = tokio::time::timeout(grace, ended(container)).await {
            return Ok(exit);
        }
    }
    kill_and_wait(container).await
}

/// Removes everything of an ended container from the machine. Doing it again is fine.
pub(crate) fn erase(runtime: &Runtime, id: &ContainerId, dirs: &Dirs, groups: &[Group]) -> Result<(), RuntimeError> {
    // Groups first: removing them kills what might still use the rest. Each is tried even if one before it failed.
    let results = [
        cgroup::remove(groups).map_err(|source| RuntimeError::Cgroup { source }),
        runtime.backing.release(id),
        discard(runtime, &dirs.data),
        // The run directory last: while it is there, the next daemon knows that there is something to remove.
        remove_dir(&dirs.run),
    ];
    runtime.backing.unpin(id);
    results.into_iter().collect()
}

/// Moves a data directory to where the sweeper removes it. A writable layer may hold many files, and a rename is one call; who
/// waits for the removal of a container does not wait for its files. `open` and `purge` finish what a crash left there.
fn discard(runtime: &Runtime, data: &Path) -> Result<(), RuntimeError> {
    let name = runtime.discarded.fetch_add(1, Ordering::Relaxed).to_string();
    let trash = trash(&runtime.config.data_dir);
    let to = trash.join(format!("{}-{name}", std::process::id()));
    // A purge takes the trash along, and the runtime may go on after it. Were it not there, a rename could not be told from one
    // of a directory that is gone already.
    match fs::create_dir_all(&trash).and_then(|()| fs::rename(data, &to)) {
        Ok(()) => {
            runtime.sweeper.notify_one();
            Ok(())
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(_) => remove_dir(data),
    }
}

/// Where data directories wait for their removal.
pub(crate) fn trash(data_dir: &Path) -> PathBuf {
    data_dir.join("trash")
}

/// Removes what waits, until the runtime is dropped.
pub(crate) async fn sweep(trash: PathBuf, asked: Arc<Notify>) {
    loop {
        asked.notified().await;
        let trash = trash.clone();
        if let Err(e) = Runtime::blocking(move || empty(&trash)).await {
            tracing::warn!(error = %e, "the files of removed containers are still there");
        }
    }
}

/// Removes what waits, now.
pub(crate) fn empty(trash: &Path) -> Result<(), RuntimeError> {
    let mut entries = fs::read_dir(trash).into_iter().flatten().flatten();
    entries.try_for_each(|entry| remove_dir(&entry.path()))
}

pub(crate) fn remove_dir(path: &Path) -> Result<(), RuntimeError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(e)),
        _ => Ok(()),
    }
}
