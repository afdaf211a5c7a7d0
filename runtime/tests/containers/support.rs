//! A runtime in temporary directories with a root filesystem of busybox.

use std::future::Future;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use skep_runtime::image::{Image, ImageConfig};
use skep_runtime::logs::{LogLine, LogQuery, Stream};
use skep_runtime::{ContainerId, ContainerSpec, Exit, Runtime, RuntimeConfig};

pub(crate) const BUSYBOX: &str = "/usr/bin/busybox";

const APPLETS: [&str; 23] = [
    "sh", "cat", "echo", "sleep", "id", "true", "false", "grep", "touch", "ls", "mount", "hostname", "dd", "tail",
    "head", "kill", "readlink", "stat", "mkdir", "unshare", "env", "seq", "mknod",
];

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// One test's world.
pub(crate) struct World {
    pub(crate) config: RuntimeConfig,
    pub(crate) image: Image,
    root: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let executable = std::env::current_exe().unwrap();
        let config = RuntimeConfig {
            data_dir: root.path().join("data"),
            run_dir: root.path().join("run"),
            cgroup_parent: format!("skep-shimtest-{}-{number}", std::process::id()),
            shim_command: vec![executable.clone().into(), "shim".into()],
            builtin_executable: executable,
            bridge_name: "unused".to_owned(),
            bridge_address: (Ipv4Addr::LOCALHOST, 8),
            nft_table: "unused".to_owned(),
        };
        let image = image(vec![layer(root.path(), "base")]);
        Self { config, image, root }
    }

    pub(crate) async fn open(&self) -> Arc<Runtime> {
        Runtime::open_bare(self.config.clone(), self.image.clone()).await.unwrap()
    }

    pub(crate) fn path(&self) -> &Path {
        self.root.path()
    }

    /// Fails if anything of this world is left on the machine.
    pub(crate) fn assert_clean(&self) {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.path().to_str().unwrap()), "mounts are left");
        for tree in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            assert!(!tree.path().join(&self.config.cgroup_parent).exists(), "a cgroup is left in {:?}", tree.path());
        }
        wait_for("processes to be gone", || shims(self.path()).is_empty());
        assert!(!self.config.run_dir.exists(), "the run directory is left");
        assert!(std::fs::read_dir(&self.config.data_dir).unwrap().next().is_none(), "data is left");
    }
}

/// Shims of containers with a run directory below `root`.
pub(crate) fn shims(root: &Path) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
    let ours = |pid: &u32| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        // Of a removed directory the kernel says so behind its name.
        name == "skep:shim\n" && std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|dir| dir.starts_with(root))
    };
    pids.filter(ours).collect()
}

fn layer(root: &Path, name: &str) -> PathBuf {
    let layer = root.join("layers").join(name);
    for dir in ["bin", "etc", "tmp"] {
        std::fs::create_dir_all(layer.join(dir)).unwrap();
    }
    std::fs::copy(BUSYBOX, layer.join("bin/busybox")).unwrap();
    for applet in APPLETS {
        std::os::unix::fs::symlink("busybox", layer.join("bin").join(applet)).unwrap();
    }
    std::fs::write(layer.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\napp:x:1000:100::/home/app:/bin/sh\n")
        .unwrap();
    std::fs::write(layer.join("etc/group"), "root:x:0:\nusers:x:100:\naudio:x:29:app\n").unwrap();
    std::fs::write(layer.join("etc/noexec"), "text").unwrap();
    layer
}

fn image(layers: Vec<PathBuf>) -> Image {
    Image {
        id: "sha256:test".to_owned(),
        references: Vec::new(),
        layers,
        config: ImageConfig::default(),
        size_bytes: 0,
        created: String::new(),
        architecture: String::new(),
        os: String::new(),
    }
}

/// Runs a test on tokio in a new world, purges it, and looks for leftovers.
pub(crate) fn in_world<F: Future<Output = ()>>(test: impl FnOnce(Arc<World>) -> F) {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let world = Arc::new(World::new());
    tokio.block_on(async {
        test(Arc::clone(&world)).await;
        world.open().await.purge().await.unwrap();
    });
    drop(tokio);
    world.assert_clean();
}

pub(crate) fn id(name: &str) -> ContainerId {
    ContainerId::new(name).unwrap()
}

pub(crate) fn spec(command: &[&str]) -> ContainerSpec {
    ContainerSpec { args: command.iter().map(|a| (*a).to_owned()).collect(), ..ContainerSpec::default() }
}

pub(crate) fn shell(script: &str) -> ContainerSpec {
    spec(&["sh", "-c", script])
}

/// Creates, starts and waits for the end; returns how it ended and what it printed.
pub(crate) async fn run(runtime: &Arc<Runtime>, name: &str, spec: ContainerSpec) -> (Exit, String) {
    runtime.create(id(name), spec).await.unwrap();
    runtime.start(&id(name)).await.unwrap();
    let exit = tokio::time::timeout(Duration::from_secs(30), runtime.wait(&id(name))).await.unwrap().unwrap();
    (exit, output(runtime, name).await)
}

pub(crate) async fn output(runtime: &Arc<Runtime>, name: &str) -> String {
    let lines = lines(runtime, name, LogQuery::default()).await;
    lines.iter().map(|l| format!("{}\n", String::from_utf8_lossy(&l.bytes))).collect()
}

pub(crate) async fn lines(runtime: &Arc<Runtime>, name: &str, query: LogQuery) -> Vec<LogLine> {
    let mut stream = runtime.logs(&id(name), query).unwrap();
    let mut lines = Vec::new();
    while let Some(line) = stream.recv().await {
        lines.push(line);
    }
    lines
}

/// Waits until the container has printed that line to standard output.
pub(crate) async fn printed(runtime: &Arc<Runtime>, name: &str, wanted: &str) {
    let mut stream = runtime.logs(&id(name), LogQuery { follow: true, ..LogQuery::default() }).unwrap();
    let found = async {
        while let Some(line) = stream.recv().await {
            if line.stream == Stream::Stdout && line.bytes == wanted.as_bytes() {
                return true;
            }
        }
        false
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), found).await.unwrap(), "{name} never printed {wanted}");
}

/// Waits for a condition, at most ten seconds.
pub(crate) fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(10), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
