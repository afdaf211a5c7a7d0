//! The runtime's face: async calls over blocking work.
#![expect(clippy::disallowed_methods, reason = "driver: reads the mount table and the boot id")]

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::backing::Backing;
use super::nursery::Nursery;
use super::registry::{Container, Registry, containers};
use super::{adopt, create, end, follow, foreign, ground, sys, tend};
use crate::cgroup::{self, DeviceGuard, Group, Hierarchy, Version};
use crate::container::{
    ContainerId, ContainerInfo, ContainerSpec, ContainerStatus, Exit, RuntimeConfig, RuntimeError, STOP_GRACE_MAX,
};
use crate::image::{Image, ImageStore};
use crate::lifeline;
use crate::logs::{LogLine, LogQuery};
use crate::network::Network;
use crate::shim::protocol::{Failure, Reply, Request};

/// All containers of one node. Dropping it stops nothing: containers go on, and the next [`Runtime::open`] adopts them.
#[derive(Debug)]
pub struct Runtime {
    pub(crate) config: RuntimeConfig,
    pub(crate) backing: Backing,
    pub(crate) hierarchies: Vec<Hierarchy>,
    pub(crate) boot_id: String,
    pub(crate) registry: Registry,
    /// Whether the directories and groups that containers stand on are there. Made with the first container, so that a node
    /// without any leaves no trace.
    ground: Mutex<bool>,
    /// Keeps devices from containers where the kernel takes a program for that; made with the ground.
    guard: OnceLock<DeviceGuard>,
    /// Where shims are born.
    pub(crate) nursery: Nursery,
    /// Numbers discarded data directories.
    pub(crate) discarded: AtomicU64,
    /// Wakes the sweeper.
    pub(crate) sweeper: Arc<Notify>,
    sweeping: Mutex<Option<JoinHandle<()>>>,
    tending: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Runtime {
    fn drop(&mut self) {
        for task in [&mut self.sweeping, &mut self.tending] {
            if let Some(task) = task.get_mut().take() {
                task.abort();
            }
        }
    }
}

impl Runtime {
    /// Opens or makes the directories, adopts the containers that run, and removes what is half-made or left over.
    ///
    /// # Errors
    /// When the directories, the image store or the cgroup parent cannot be made.
    pub async fn open(config: RuntimeConfig) -> Result<Arc<Self>, RuntimeError> {
        Self::blocking(move || Self::open_with(Backing::full(&config)?, config)).await
    }

    /// A runtime whose containers all have `image` for a root and no network but loopback: what tests and measurements of the
    /// runtime itself use, where neither images nor network are the question.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_bare(config: RuntimeConfig, image: Image) -> Result<Arc<Self>, RuntimeError> {
        Self::blocking(move || Self::open_with(Backing::Bare(Box::new(image)), config)).await
    }

    fn open_with(backing: Backing, config: RuntimeConfig) -> Result<Arc<Self>, RuntimeError> {
        let hierarchies = find_hierarchies()?;
        let boot = Path::new("/proc/sys/kernel/random/boot_id");
        let boot_id = fs::read_to_string(boot).map_err(create::failed("read", boot))?.trim().to_owned();
        let nursery = Nursery::new(config.shim_command.clone(), seal(&config));
        let trash = end::trash(&config.data_dir);
        fs::create_dir_all(&trash).map_err(create::failed("make", &trash))?;
        let runtime = Arc::new(Self {
            config,
            backing,
            hierarchies,
            boot_id,
            registry: Registry::default(),
            ground: Mutex::new(false),
            guard: OnceLock::new(),
            nursery,
            discarded: AtomicU64::new(0),
            sweeper: Arc::default(),
            sweeping: Mutex::default(),
            tending: Mutex::default(),
        });
        adopt::adopt_all(&runtime)?;
        // What an earlier daemon left there has no owner that waits: the sweeper takes it.
        *runtime.sweeping.lock() = Some(tokio::spawn(end::sweep(trash, Arc::clone(&runtime.sweeper))));
        runtime.sweeper.notify_one();
        // Its first look, at once, makes the kernel fit what the adopted containers have.
        *runtime.tending.lock() = Some(tokio::spawn(tend::tend(Arc::downgrade(&runtime))));
        Ok(runtime)
    }

    fn ensure_parent(&self) -> Result<(), RuntimeError> {
        let parents = cgroup::parents(&self.hierarchies, &self.config.cgroup_parent);
        cgroup::ensure_parent(&parents, &self.mounts()).map_err(|source| RuntimeError::Cgroup { source })
    }

    fn create_on_ground(
        self: &Arc<Self>,
        id: &ContainerId,
        spec: ContainerSpec,
    ) -> Result<ContainerInfo, RuntimeError> {
        if let Err(e) = self.ensure_ground() {
            self.registry.forget(id);
            return Err(e);
        }
        create::create(self, id, spec).map(|c| c.info())
    }

    fn ensure_ground(&self) -> Result<(), RuntimeError> {
        let mut ground = self.ground.lock();
        if !*ground {
            ground::make(&self.config)?;
            self.ensure_parent()?;
            self.ensure_guard()?;
            *ground = true;
        }
        Ok(())
    }

    fn ensure_guard(&self) -> Result<(), RuntimeError> {
        let parents = cgroup::parents(&self.hierarchies, &self.config.cgroup_parent);
        if cgroup::guarded(&parents).is_some() && self.guard.get().is_none() {
            let guard = DeviceGuard::load().map_err(|source| RuntimeError::Cgroup { source })?;
            let _ = self.guard.set(guard);
        }
        Ok(())
    }

    /// Makes the group of a container on which the guard belongs, and puts it there.
    pub(crate) fn guard_devices(&self, groups: &[Group]) -> Result<(), RuntimeError> {
        let attached = self.guard.get().zip(cgroup::guarded(groups)).map(|(guard, group)| guard.attach(group));
        attached.transpose().map(drop).map_err(|source| RuntimeError::Cgroup { source })
    }

    /// Our containers are gone by now. Should another daemon's be in there, the parent is theirs.
    fn remove_parent(&self) -> Result<(), RuntimeError> {
        let parents = cgroup::parents(&self.hierarchies, &self.config.cgroup_parent);
        if cgroup::children(&parents).iter().any(|name| foreign::lives_in(self, name)) {
            return Ok(());
        }
        cgroup::remove_parent(&parents, &self.mounts()).map_err(|source| RuntimeError::Cgroup { source })
    }

    fn mounts(&self) -> Vec<PathBuf> {
        self.hierarchies.iter().map(|h| h.mount.clone()).collect()
    }

    /// Runs blocking work on a thread for it; a panic there is a panic here.
    pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        match tokio::task::spawn_blocking(work).await {
            Ok(value) => value,
            Err(e) => match e.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Cancelled because tokio shuts down: nobody will ask for the result.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// The image store.
    ///
    /// # Panics
    /// On a runtime of [`Self::open_bare`].
    #[must_use]
    pub fn images(&self) -> &ImageStore {
        match &self.backing {
            Backing::Full { images, .. } => images,
            Backing::Bare(_) => panic!("a bare runtime has no image store"),
        }
    }

    /// The node-local network.
    ///
    /// # Panics
    /// On a runtime of [`Self::open_bare`].
    #[must_use]
    pub fn network(&self) -> &Network {
        self.backing.network().expect("a bare runtime has no network")
    }

    /// Which cgroup interfaces carry the controllers that limits need: `1`, `2`, or `1+2` on a machine that mixes them.
    #[must_use]
    pub fn cgroup_version(&self) -> &'static str {
        let carried_by = |version| self.hierarchies.iter().any(|h| h.version == version && !h.controllers.is_empty());
        match (carried_by(Version::V1), carried_by(Version::V2)) {
            (true, true) => "1+2",
            (false, true) => "2",
            _ => "1",
        }
    }

    /// Keeps the lifeline of all containers that have one: it was good at that time since the machine's boot.
    ///
    /// # Errors
    /// When the file cannot be written; those containers are stopped when their time is up.
    pub fn keep_lifeline(&self, at: Duration) -> Result<(), RuntimeError> {
        let dir = &self.config.run_dir;
        let path = lifeline::disk::path(dir);
        let kept = lifeline::Kept { boot_id: self.boot_id.clone(), at };
        let written = fs::create_dir_all(dir).and_then(|()| lifeline::disk::keep(&path, &kept));
        written.map_err(create::failed("write", &path))
    }

    /// When the lifeline was kept last, in this boot of the machine.
    #[must_use]
    pub fn lifeline(&self) -> Option<Duration> {
        lifeline::disk::read(&lifeline::disk::path(&self.config.run_dir), &self.boot_id)
    }

    /// Makes a container: namespaces, root, cgroups and network exist afterwards, the program is not executed.
    ///
    /// # Errors
    /// When the id is taken, the image missing, the request malformed, or the kernel refuses; then nothing of it is left.
    pub async fn create(self: &Arc<Self>, id: ContainerId, spec: ContainerSpec) -> Result<ContainerInfo, RuntimeError> {
        self.registry.reserve(&id)?;
        let runtime = Arc::clone(self);
        // Registered within the work: a caller that goes away meanwhile leaves no container that nobody knows.
        Self::blocking(move || runtime.create_on_ground(&id, spec)).await
    }

    /// Executes the program and publishes the ports.
    ///
    /// # Errors
    /// [`RuntimeError::Execute`] when the program cannot be executed: the container has exited then. When a port is taken the
    /// container stays as it was.
    pub async fn start(self: &Arc<Self>, id: &ContainerId) -> Result<ContainerInfo, RuntimeError> {
        let (runtime, container) = (Arc::clone(self), self.registry.get(id)?);
        Self::blocking(move || start(&runtime, &container).map(|()| container.info())).await
    }

    /// Waits for the end. Any number may wait, at any time, also after the end.
    ///
    /// # Errors
    /// [`RuntimeError::NotFound`], also when it is removed meanwhile without having ended.
    pub async fn wait(&self, id: &ContainerId) -> Result<Exit, RuntimeError> {
        let container = self.registry.get(id)?;
        end::ended(&container).await.map_err(|_| RuntimeError::NotFound { id: id.clone() })
    }

    /// Unpublishes the ports, sends the stop signal, and after `grace` (at most a day) kills what is left.
    ///
    /// # Errors
    /// [`RuntimeError::NotFound`] or [`RuntimeError::Unkillable`].
    pub async fn stop(self: &Arc<Self>, id: &ContainerId, grace: Duration) -> Result<Exit, RuntimeError> {
        end::stop(self, &self.registry.get(id)?, grace.min(STOP_GRACE_MAX)).await
    }

    /// Sends a signal, by number, to the container's first process.
    ///
    /// # Errors
    /// When it has ended, or the kernel refuses the number.
    pub async fn signal(&self, id: &ContainerId, number: i32) -> Result<(), RuntimeError> {
        let container = self.registry.get(id)?;
        Self::blocking(move || end::signal(&container, number)).await
    }

    /// Kills the container if it runs and removes everything of it: processes, mounts, groups, network, files.
    ///
    /// # Errors
    /// When something would not go; the container is still known then, and removing it again goes on.
    pub async fn remove(self: &Arc<Self>, id: &ContainerId) -> Result<(), RuntimeError> {
        let container = self.registry.get(id)?;
        let _alone = container.removal.lock().await;
        end::kill_and_wait(&container).await?;
        let (runtime, victim) = (Arc::clone(self), Arc::clone(&container));
        Self::blocking(move || {
            end::erase(&runtime, &victim.id, &victim.dirs, &victim.groups)?;
            runtime.registry.forget(&victim.id);
            Ok(())
        })
        .await
    }

    /// All containers, by id.
    #[must_use]
    pub fn list(&self) -> Vec<ContainerInfo> {
        self.registry.all().iter().map(|c| c.info()).collect()
    }

    /// One container.
    ///
    /// # Errors
    /// [`RuntimeError::NotFound`].
    pub fn inspect(&self, id: &ContainerId) -> Result<ContainerInfo, RuntimeError> {
        Ok(self.registry.get(id)?.info())
    }

    /// The lines that the container printed, oldest first. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// [`RuntimeError::NotFound`].
    pub fn logs(&self, id: &ContainerId, query: LogQuery) -> Result<mpsc::Receiver<LogLine>, RuntimeError> {
        Ok(follow::logs(self.registry.get(id)?, query))
    }

    /// Leaves no trace: removes every container, the cgroup parent, the containers' directories, bridge and table.
    ///
    /// # Errors
    /// The first thing that would not go; everything else was tried.
    pub async fn purge(self: &Arc<Self>) -> Result<(), RuntimeError> {
        let mut result = Ok(());
        for container in self.registry.all() {
            result = result.and(self.remove(&container.id).await);
        }
        let runtime = Arc::clone(self);
        result.and(Self::blocking(move || runtime.purge_machine()).await)
    }

    fn purge_machine(&self) -> Result<(), RuntimeError> {
        let mut ground = self.ground.lock();
        *ground = false;
        self.nursery.close();
        let results = [
            self.backing.remove_all(),
            self.remove_parent(),
            end::remove_dir(&containers(&self.config.data_dir)),
            end::remove_dir(&containers(&self.config.run_dir)),
            end::remove_dir(&end::trash(&self.config.data_dir)),
            end::remove_dir(&ground::base(&self.config.data_dir)),
        ];
        let _ = fs::remove_file(lifeline::disk::path(&self.config.run_dir));
        // The caller's own files may be in there; then it stays.
        let _ = fs::remove_dir(&self.config.run_dir);
        results.into_iter().collect()
    }
}

fn seal(config: &RuntimeConfig) -> Option<OwnedFd> {
    let program = Path::new(config.shim_command.first()?);
    let sealed = sys::sealed(program);
    if let Err(e) = &sealed {
        tracing::warn!(error = %e, "the shim's program cannot be protected from containers: the kernel is older than 5.12");
    }
    sealed.ok()
}

fn find_hierarchies() -> Result<Vec<Hierarchy>, RuntimeError> {
    let path = Path::new("/proc/self/mountinfo");
    let text = fs::read_to_string(path).map_err(create::failed("read", path))?;
    let controllers = |mount: &str| fs::read_to_string(Path::new(mount).join("cgroup.controllers")).unwrap_or_default();
    Ok(cgroup::find(&text, &controllers))
}

/// Publishes first: a taken port is found out before the program runs.
fn start(runtime: &Runtime, container: &Container) -> Result<(), RuntimeError> {
    let id = || container.id.clone();
    let _alone = container.starting.lock();
    let status = container.status();
    if status != ContainerStatus::Created {
        return Err(RuntimeError::WrongState { id: id(), action: "start", status });
    }
    let ports = &container.record.spec.ports;
    runtime.backing.publish(&container.id, container.record.lease, ports)?;
    let result = execute(container);
    if result.is_err()
        && let Err(e) = runtime.backing.unpublish(&container.id, ports)
    {
        tracing::warn!(container.id = %container.id, error = %e, "the ports of a container that did not start are still published");
    }
    result
}

fn execute(container: &Container) -> Result<(), RuntimeError> {
    let id = || container.id.clone();
    match container.ask(Request::Start)? {
        Reply::Failed(Failure { code: Some(code), text }) => {
            Err(RuntimeError::Execute { id: id(), reason: text, code })
        }
        Reply::Failed(failure) => Err(RuntimeError::Refused { id: id(), action: "start", reason: failure.text }),
        _ => {
            container.life.lock().started_ms = create::read_state(&container.dirs.run)?.started_ms;
            Ok(())
        }
    }
}
