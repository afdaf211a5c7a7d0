//! What a new daemon finds: containers of the one before it, and leftovers.
#![expect(clippy::disallowed_methods, reason = "driver: reads the run directory")]

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::create::{hold, pid, read_state};
use super::facade::Runtime;
use super::link::Link;
use super::registry::{Container, Dirs, Life, Record, containers};
use super::{end, foreign, ground, watch};
use crate::cgroup;
use crate::container::{ContainerId, RuntimeError};
use crate::shim::protocol::{SHIM_NAME, file};

/// Takes over what is whole and removes the rest.
pub(crate) fn adopt_all(runtime: &Arc<Runtime>) -> Result<(), RuntimeError> {
    ground::make(&runtime.config)?;
    for name in names(&containers(&runtime.config.run_dir)) {
        match adopt(runtime, &name) {
            Some(container) => {
                tracing::info!(container.id = %container.id, status = ?container.status(), "container adopted");
                runtime.registry.put(Arc::clone(&container));
                watch::begin(runtime, &container);
            }
            None => sweep(runtime, &name),
        }
    }
    let groups = cgroup::children(&cgroup::parents(&runtime.hierarchies, &runtime.config.cgroup_parent));
    for name in names(&containers(&runtime.config.data_dir)).into_iter().chain(groups) {
        let known = ContainerId::new(name.as_str()).is_ok_and(|id| runtime.registry.get(&id).is_ok());
        if !known {
            sweep(runtime, &name);
        }
    }
    Ok(())
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().into_string().ok()).collect()
}

/// The container of that directory, unless it is half-made or from before a reboot.
fn adopt(runtime: &Arc<Runtime>, name: &str) -> Option<Arc<Container>> {
    let id = ContainerId::new(name).ok()?;
    let dirs = Dirs::new(&runtime.config, name);
    let record: Record = serde_json::from_slice(&fs::read(dirs.run.join(file::RECORD)).ok()?).ok()?;
    if record.boot_id != runtime.boot_id {
        return None;
    }
    let state = read_state(&dirs.run).ok()?;
    if let Err(e) = runtime.backing.pin(&record.image_id, &id) {
        // It runs on its layers all the same: no trouble with images ends a container.
        tracing::warn!(container.id = %id, error = %e, "the image of a container cannot be pinned");
    }
    runtime.backing.restore(&id, record.lease);
    let shim = hold(state.shim);
    if shim.is_some() && state.started_ms.is_some() {
        republish(runtime, &id, &record);
    }
    let link = shim.as_ref().and_then(|_| Link::connect(&dirs.run).ok());
    let resources = &record.spec.resources;
    Some(Arc::new(Container {
        groups: cgroup::groups(&runtime.hierarchies, &runtime.config.cgroup_parent, name, resources),
        life: Life { init: Some(state.init), started_ms: state.started_ms }.into(),
        link: link.into(),
        exit: tokio::sync::watch::Sender::new(None),
        watcher: None.into(),
        starting: Mutex::default(),
        removal: tokio::sync::Mutex::new(()),
        id,
        dirs,
        record,
        shim,
    }))
}

/// The network of this process knows of no port yet.
fn republish(runtime: &Runtime, id: &ContainerId, record: &Record) {
    if let Err(e) = runtime.backing.publish(id, record.lease, &record.spec.ports) {
        tracing::warn!(container.id = %id, error = %e, "the ports of an adopted container cannot be published");
    }
}

/// Removes whatever there is under that name.
fn sweep(runtime: &Arc<Runtime>, name: &str) {
    let dirs = Dirs::new(&runtime.config, name);
    let Ok(id) = ContainerId::new(name) else { return };
    if foreign::lives_in(runtime, name) {
        let parent = &runtime.config.cgroup_parent;
        tracing::warn!(container.id = %id, cgroup.parent = %parent, "another daemon's container lives in this one's cgroup parent; give each its own");
        return;
    }
    let run_dir = fs::File::open(&dirs.run).ok();
    let foreign = fs::read(dirs.run.join(file::RECORD)).is_ok();
    if let (Ok(state), false) = (read_state(&dirs.run), foreign) {
        watch::kill(state.shim);
        watch::kill(state.init);
    }
    let groups = cgroup::groups(&runtime.hierarchies, &runtime.config.cgroup_parent, name, &Default::default());
    let mut erased = end::erase(runtime, &id, &dirs, &groups);
    if run_dir.is_some_and(|dir| end_young_shim(&dir)) {
        erased = erased.and(end::erase(runtime, &id, &dirs, &groups));
    }
    match erased {
        Ok(()) => tracing::info!(container.id = %id, "leftovers removed"),
        Err(e) => tracing::warn!(container.id = %id, error = %e, "leftovers cannot be removed"),
    }
}

/// Longest wait for a killed shim; past it what it still makes is found at the next start.
const YOUNG_SHIM_SECONDS: i64 = 5;

/// Ends the shim that works in a directory and has not written down yet who it is: it might make groups after they were removed. One
/// that comes later finds no directory to work in, since that is gone by now. Returns whether there was one.
fn end_young_shim(dir: &fs::File) -> bool {
    let Ok(home) = dir.metadata() else { return false };
    let works_there = |pid: &str| {
        let cwd = fs::metadata(format!("/proc/{pid}/cwd"))
            .is_ok_and(|cwd| (cwd.dev(), cwd.ino()) == (home.dev(), home.ino()));
        cwd && fs::read(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.starts_with(SHIM_NAME))
    };
    let shim = names(Path::new("/proc")).into_iter().find(|name| works_there(name));
    let number = shim.as_ref().and_then(|name| pid(name.parse().ok()?));
    let Some(pidfd) = number.and_then(|number| pidfd_open(number, PidfdFlags::empty()).ok()) else { return false };
    // Looked at again, so that the id has not passed to another in between.
    if shim.is_some_and(|name| works_there(&name)) && pidfd_send_signal(pidfd.as_fd(), Signal::KILL).is_ok() {
        let wait = Timespec { tv_sec: YOUNG_SHIM_SECONDS, tv_nsec: 0 };
        let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&wait));
    }
    true
}
