//! Makes a container: everything but the execution of its program.
#![expect(clippy::disallowed_methods, reason = "driver: makes directories and starts the shim")]

use std::fs::{self, File};
use std::io;
use std::iter;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::facade::Runtime;
use super::link::Link;
use super::registry::{Container, Dirs, Life, Record};
use super::{end, ground, watch};
use crate::cgroup::{self, Group};
use crate::container::{ContainerId, ContainerSpec, RuntimeError, command, files, signal};
use crate::image::Image;
use crate::lifeline::{self, Lifeline};
use crate::network::Lease;
use crate::rootfs::Overlay;
use crate::security::CapabilitySet;
use crate::shim::protocol::{Bundle, Identity, Reply, State, Tether, file};

/// Bytes of the container id that make its hostname, as in Docker.
const HOSTNAME_LENGTH: usize = 12;

/// A container being made.
struct Draft<'a> {
    runtime: &'a Arc<Runtime>,
    id: &'a ContainerId,
    dirs: Dirs,
    groups: Vec<Group>,
}

/// Makes the container and registers it, or leaves nothing of it.
pub(crate) fn create(
    runtime: &Arc<Runtime>,
    id: &ContainerId,
    spec: ContainerSpec,
) -> Result<Arc<Container>, RuntimeError> {
    let groups = cgroup::groups(&runtime.hierarchies, &runtime.config.cgroup_parent, id.as_str(), &spec.resources);
    let dirs = Dirs::new(&runtime.config, id.as_str());
    let draft = Draft { runtime, id, dirs, groups };
    match draft.build(spec) {
        Ok(container) => {
            runtime.registry.put(Arc::clone(&container));
            watch::begin(runtime, &container);
            Ok(container)
        }
        Err(e) => {
            if let Err(leftover) = end::erase(runtime, id, &draft.dirs, &draft.groups) {
                tracing::warn!(container.id = %id, error = %leftover, "a container that could not be made left something behind");
            }
            runtime.registry.forget(id);
            Err(e)
        }
    }
}

impl Draft<'_> {
    fn build(&self, spec: ContainerSpec) -> Result<Arc<Container>, RuntimeError> {
        self.check_limits(&spec)?;
        let image = self.runtime.backing.pin(&spec.image, self.id)?;
        let lease = self.runtime.backing.lease(self.id)?;
        let bundle = self.bundle(&spec, &image, lease)?;
        let record = self.record(spec, &image, &bundle, lease)?;
        let (link, far) = Link::pair().map_err(|source| self.spawn_failed(source))?;
        self.runtime.nursery.bear(&self.dirs.run, &far).map_err(|source| self.spawn_failed(source))?;
        drop(far);
        match self.conduct(&link, &bundle, &record) {
            Ok((life, pidfd)) => Ok(self.container(record, life, link, pidfd)),
            Err(e) => {
                // Whoever removes what is left must not meet a shim that still makes something. One that has finished waits for
                // nothing but its init.
                if let Ok(state) = read_state(&self.dirs.run) {
                    watch::kill(state.init);
                }
                link.hang_up();
                Err(e)
            }
        }
    }

    /// A limit that nothing enforces would be a lie.
    fn check_limits(&self, spec: &ContainerSpec) -> Result<(), RuntimeError> {
        let missing = cgroup::missing(&self.runtime.hierarchies, &spec.resources);
        missing.map_or(Ok(()), |controller| Err(RuntimeError::NoController { id: self.id.clone(), controller }))
    }

    fn hostname(&self, spec: &ContainerSpec) -> String {
        let id = self.id.as_str();
        spec.hostname.clone().unwrap_or_else(|| id[..id.len().min(HOSTNAME_LENGTH)].to_owned())
    }

    fn bundle(&self, spec: &ContainerSpec, image: &Image, lease: Option<Lease>) -> Result<Bundle, RuntimeError> {
        let hostname = &self.hostname(spec);
        let command = command::command(spec, &image.config);
        if command.is_empty() {
            return Err(RuntimeError::NoCommand { id: self.id.clone(), image: spec.image.clone() });
        }
        let capabilities = CapabilitySet::tweaked(&spec.cap_add, &spec.cap_drop)
            .map_err(|source| RuntimeError::Capability { id: self.id.clone(), source })?;
        let data = &self.dirs.data;
        Ok(Bundle {
            overlay: Overlay {
                layers: iter::once(ground::base(&self.runtime.config.data_dir))
                    .chain(image.layers.iter().cloned())
                    .collect(),
                upper: data.join("upper"),
                work: data.join("work"),
                target: self.dirs.run.clone(),
            },
            read_only: spec.read_only,
            log_dir: self.dirs.logs(),
            files: generated(spec, hostname, lease),
            command,
            env: command::environment(spec, &image.config, hostname),
            user: spec.user.clone().or_else(|| image.config.user.clone()).unwrap_or_default(),
            workdir: command::workdir(spec, &image.config),
            hostname: hostname.to_owned(),
            capabilities,
            groups: self.groups.clone(),
            tether: spec.lifeline.map(|line| self.tether(line, spec, image)).transpose()?,
        })
    }

    fn tether(&self, line: Lifeline, spec: &ContainerSpec, image: &Image) -> Result<Tether, RuntimeError> {
        let path = lifeline::disk::path(&self.runtime.config.run_dir);
        Ok(Tether { path, boot_id: self.runtime.boot_id.clone(), line, stop_signal: stop_signal(spec, image)? })
    }

    fn record(
        &self,
        spec: ContainerSpec,
        image: &Image,
        bundle: &Bundle,
        lease: Option<Lease>,
    ) -> Result<Record, RuntimeError> {
        Ok(Record {
            boot_id: self.runtime.boot_id.clone(),
            stop_signal: stop_signal(&spec, image)?,
            image_id: image.id.clone(),
            command: bundle.command.clone(),
            lease,
            created_ms: watch::now_ms(),
            spec,
        })
    }

    /// From the order of the shim on. Shim and daemon work side by side: directories are made while the shim is born, the record is
    /// written while it makes the container.
    fn conduct(&self, link: &Link, bundle: &Bundle, record: &Record) -> Result<(Life, OwnedFd), RuntimeError> {
        self.make_dirs(bundle)?;
        self.runtime.guard_devices(&self.groups)?;
        let text = serde_json::to_vec(bundle).expect("a bundle is plain data with text keys");
        link.send_bundle(&text).map_err(|source| RuntimeError::Shim { id: self.id.clone(), source })?;
        let text = serde_json::to_vec(record).expect("a record is plain data with text keys");
        let path = self.dirs.run.join("record.new");
        fs::write(&path, &text).map_err(failed("write", &path))?;
        self.follow(link, record.lease)?;
        self.finish()
    }

    fn make_dirs(&self, bundle: &Bundle) -> Result<(), RuntimeError> {
        let Dirs { run, data } = &self.dirs;
        for dir in [run, data, &bundle.overlay.upper, &bundle.overlay.work] {
            fs::create_dir(dir).map_err(failed("make", dir))?;
        }
        // The writable layer's mode is that of the container's root, whatever this process's umask.
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&bundle.overlay.upper, open).map_err(failed("open", &bundle.overlay.upper))
    }

    fn spawn_failed(&self, source: io::Error) -> RuntimeError {
        RuntimeError::Spawn { id: self.id.clone(), source }
    }

    /// Goes along with the shim until the container is made. The network is attached while the init makes its root. If that could
    /// not be done because the init failed and is gone, what the shim says of it is the reason.
    fn follow(&self, link: &Link, lease: Option<Lease>) -> Result<(), RuntimeError> {
        let mut attached = Ok(());
        loop {
            match link.receive().map_err(|source| RuntimeError::Shim { id: self.id.clone(), source })? {
                Reply::Cloned(pid) => attached = self.attach(pid, lease),
                Reply::Created => return attached,
                Reply::Failed(failure) => return Err(RuntimeError::Make { id: self.id.clone(), reason: failure.text }),
                Reply::Done => {}
            }
        }
    }

    fn attach(&self, pid: u32, lease: Option<Lease>) -> Result<(), RuntimeError> {
        if lease.is_none() {
            return Ok(());
        }
        let path = format!("/proc/{pid}/ns/net");
        let netns = File::open(&path).map_err(failed("open", Path::new(&path)))?;
        self.runtime.backing.attach(self.id, netns.as_fd(), lease)
    }

    /// The record is put in its place last: it says that everything else is there.
    fn finish(&self) -> Result<(Life, OwnedFd), RuntimeError> {
        let state = read_state(&self.dirs.run)?;
        let ended = || RuntimeError::Shim { id: self.id.clone(), source: io::ErrorKind::UnexpectedEof.into() };
        let pidfd = hold(state.shim).ok_or_else(ended)?;
        let path = self.dirs.run.join(file::RECORD);
        fs::rename(self.dirs.run.join("record.new"), &path).map_err(failed("write", &path))?;
        Ok((Life { init: Some(state.init), started_ms: None }, pidfd))
    }

    fn container(&self, record: Record, life: Life, link: Link, pidfd: OwnedFd) -> Arc<Container> {
        Arc::new(Container {
            id: self.id.clone(),
            dirs: self.dirs.clone(),
            record,
            groups: self.groups.clone(),
            life: life.into(),
            link: Some(link).into(),
            shim: Some(pidfd),
            exit: tokio::sync::watch::Sender::new(None),
            watcher: None.into(),
            starting: Mutex::default(),
            removal: tokio::sync::Mutex::new(()),
        })
    }
}

/// The process id as the kernel's wrappers want it.
pub(crate) fn pid(number: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(number).ok()?)
}

/// A pidfd of exactly that process: opened first, then compared, so that the id cannot pass to another in between.
pub(crate) fn hold(who: Identity) -> Option<OwnedFd> {
    let pidfd = pidfd_open(pid(who.pid)?, PidfdFlags::empty()).ok()?;
    is_alive(who).then_some(pidfd)
}

/// Whether that process still runs.
pub(crate) fn is_alive(who: Identity) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", who.pid)).unwrap_or_default();
    crate::shim::protocol::start_ticks(&stat) == Some(who.start_ticks)
}

pub(crate) fn read_state(run_dir: &Path) -> Result<State, RuntimeError> {
    let path = run_dir.join(file::STATE);
    let bytes = fs::read(&path).map_err(failed("read", &path))?;
    serde_json::from_slice(&bytes).map_err(|e| failed("read", &path)(e.into()))
}

pub(crate) fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> RuntimeError + 'a {
    move |source| RuntimeError::File { action, path: path.to_owned(), source }
}

/// The files that every container has of its own, in the order of the rootfs's list.
fn generated(spec: &ContainerSpec, hostname: &str, lease: Option<Lease>) -> [String; 3] {
    let machine = if spec.dns.is_empty() { fs::read_to_string("/etc/resolv.conf") } else { Ok(String::new()) };
    [
        format!("{hostname}\n"),
        files::hosts(hostname, lease.map(|l| l.address), &spec.hosts),
        files::resolv_conf(&spec.dns, &machine.unwrap_or_default()),
    ]
}

/// The signal that asks the program to stop.
fn stop_signal(spec: &ContainerSpec, image: &Image) -> Result<i32, RuntimeError> {
    let name = spec.stop_signal.as_deref().or(image.config.stop_signal.as_deref()).unwrap_or("SIGTERM");
    signal::number(name).ok_or_else(|| RuntimeError::UnknownSignal { name: name.to_owned() })
}
