//! What the process tests share: machines made of network namespaces, real daemons on them, and waiting for a condition.
//!
//! Nothing here sleeps for a fixed time and hopes: [`wait_for`] looks again until the condition holds or its bound is over.

pub(crate) mod disk;
pub(crate) mod swarm;

use std::fs;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Bound on everything that should take milliseconds: generous, because the machine may be busy with other things.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// How often a condition without an event is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The binary under test.
pub(crate) const SKEP: &str = env!("CARGO_BIN_EXE_skep");

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Whether a test that needs root can run. Says SKIP and why when not, and fails when nothing may be skipped.
pub(crate) fn can_run() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        assert!(std::env::var_os("SKEP_REQUIRE_ALL").is_none(), "this test needs root");
        eprintln!("SKIP: this test makes containers and needs root");
    }
    root
}

/// Looks until `condition` gives a value.
///
/// # Panics
/// When the bound is over; the panic says what was waited for.
pub(crate) fn wait_for<T>(what: &str, bound: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + bound;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {bound:?} in vain for: {what}");
        thread::sleep(LOOK);
    }
}

/// A network of machines, each a network namespace, on one bridge in a namespace of its own.
#[derive(Debug)]
pub(crate) struct World {
    name: String,
    machines: AtomicU32,
}

impl World {
    /// An empty network.
    pub(crate) fn new() -> Self {
        let name = format!("sktest-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        ip(&format!("netns add {name}"));
        ip(&format!("-n {name} link add br0 type bridge"));
        ip(&format!("-n {name} addr add 10.99.0.1/24 dev br0"));
        ip(&format!("-n {name} link set br0 up"));
        ip(&format!("-n {name} link set lo up"));
        Self { name, machines: AtomicU32::new(0) }
    }

    /// A machine with a running daemon.
    pub(crate) fn machine(&self) -> Machine {
        self.machine_with(|_| {})
    }

    /// A machine with a running daemon, of which something was prepared before that started.
    pub(crate) fn machine_with(&self, prepare: impl FnOnce(&mut Machine)) -> Machine {
        let number = self.machines.fetch_add(1, Ordering::Relaxed) + 1;
        let name = format!("{}-{number}", self.name);
        let address = format!("10.99.0.{}", 10 + number);
        ip(&format!("netns add {name}"));
        ip(&format!("-n {} link add p{number} type veth peer name eth0 netns {name}", self.name));
        ip(&format!("-n {} link set p{number} master br0 up", self.name));
        ip(&format!("-n {name} addr add {address}/24 dev eth0"));
        for device in ["lo", "eth0"] {
            ip(&format!("-n {name} link set {device} up"));
        }
        ip(&format!("-n {name} route add default via 10.99.0.1"));
        let dir = tempfile::tempdir().expect("make a directory for the machine");
        let (hostname, binary) = (format!("m{number}"), PathBuf::from(SKEP));
        let mut machine =
            Machine { name, address, hostname, binary, options: Vec::new(), disk: None, dir, daemon: None };
        prepare(&mut machine);
        machine.start();
        machine
    }

    /// Runs a command in the network between the machines, as somebody outside them.
    pub(crate) fn run(&self, command: &[&str]) -> Output {
        in_namespace(&self.name, command).output().expect("run a command")
    }

    /// The same, not run yet.
    pub(crate) fn command(&self, command: &[&str]) -> Command {
        in_namespace(&self.name, command)
    }

    /// Cuts or mends a machine's cable.
    pub(crate) fn cable(&self, machine: &Machine, up: bool) {
        let number = machine.name.rsplit('-').next().expect("names end with a number");
        ip(&format!("-n {} link set p{number} {}", self.name, if up { "up" } else { "down" }));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

/// A machine: a network namespace, directories, and a daemon that can be killed and started again.
#[derive(Debug)]
pub(crate) struct Machine {
    /// Name of its network namespace and of its cgroup parent.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Its hostname.
    pub hostname: String,
    /// What its daemon is started from.
    pub binary: PathBuf,
    /// More options of its daemon.
    pub options: Vec<String>,
    /// What its data lies on, if it is not the disk of everything else.
    pub disk: Option<disk::Disk>,
    dir: tempfile::TempDir,
    daemon: Option<Child>,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// The output of a command that must have succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// The one sentence of a command that must have failed with `code`.
    #[track_caller]
    pub(crate) fn refused(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        let sentence = self.err.trim().to_owned();
        assert!(!sentence.is_empty() && !sentence.contains("panicked"), "{sentence}");
        sentence
    }
}

impl Machine {
    /// Where it keeps what survives a reboot.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Where it keeps what does not.
    pub(crate) fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    /// A scratch file's path.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts the daemon and waits until it answers.
    pub(crate) fn start(&mut self) {
        assert!(self.daemon.is_none(), "the daemon runs already");
        let log = fs::OpenOptions::new().create(true).append(true).open(self.scratch("log")).expect("open the log");
        let binary = self.binary.display().to_string();
        let mut command = in_namespace(&self.name, &[&binary, "daemon", "--hostname", &self.hostname]);
        command.args(&self.options).arg("--data-dir").arg(self.data_dir()).arg("--run-dir").arg(self.run_dir());
        command.arg("--cgroup-parent").arg(&self.name);
        self.daemon = Some(command.stdin(Stdio::null()).stderr(log).spawn().expect("start the daemon"));
        wait_for("the daemon to answer", SOON, || {
            let ended = self.daemon.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(ended.is_none(), "the daemon ended: {}", self.log());
            (self.skep(&["version"]).code == 0).then_some(())
        });
    }

    /// The daemon's log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.scratch("log")).unwrap_or_default()
    }

    /// Its daemon was started and not killed or stopped.
    pub(crate) fn runs(&self) -> bool {
        self.daemon.is_some()
    }

    /// The daemon's process id.
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.daemon.as_ref().expect("the daemon runs").id()).expect("process ids fit")
    }

    /// Sends the daemon a signal.
    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()), signal).expect("signal the daemon");
    }

    /// Gives the machine another address in place of the one that it has.
    pub(crate) fn move_to(&mut self, address: &str) {
        ip(&format!("-n {} addr del {}/24 dev eth0", self.name, self.address));
        ip(&format!("-n {} addr add {address}/24 dev eth0", self.name));
        ip(&format!("-n {} route replace default via 10.99.0.1", self.name));
        self.address = address.to_owned();
    }

    /// Kills the daemon as a crash would.
    pub(crate) fn kill(&mut self) {
        let mut child = self.daemon.take().expect("the daemon runs");
        child.kill().expect("kill the daemon");
        child.wait().expect("wait for the daemon");
    }

    /// Stops the daemon as an operator would; it must end with 0.
    pub(crate) fn stop(&mut self) {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        let status = self.daemon.take().expect("the daemon runs").wait().expect("wait for the daemon");
        assert!(status.success(), "the daemon ended with {status}: {}", self.log());
    }

    /// Runs `skep` against this machine's daemon.
    pub(crate) fn skep(&self, arguments: &[&str]) -> Said {
        self.skep_with(arguments, b"")
    }

    /// The same with something for it to read.
    pub(crate) fn skep_with(&self, arguments: &[&str], input: &[u8]) -> Said {
        let host = format!("unix://{}", self.run_dir().join("skep.sock").display());
        let mut file = tempfile::tempfile().expect("make a file for the input");
        file.write_all(input).and_then(|()| file.rewind()).expect("write the input");
        let output = Command::new(SKEP).args(["-H", &host]).args(arguments).stdin(file).output();
        let output = output.expect("run skep");
        Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a command on this machine.
    pub(crate) fn run(&self, command: &[&str]) -> Output {
        in_namespace(&self.name, command).output().expect("run a command")
    }

    /// Makes it a swarm of its own.
    pub(crate) fn init(&self) {
        self.skep(&["swarm", "init", "--advertise-addr", &self.address]).ok();
    }

    /// Makes it a worker of `manager`'s swarm.
    pub(crate) fn join(&self, manager: &Self) {
        let token = manager.skep(&["swarm", "join-token", "-q", "worker"]).ok();
        let remote = format!("{}:2377", manager.address);
        self.skep(&["swarm", "join", "--token", token.trim(), &remote]).ok();
    }

    /// Imports a root filesystem of one static busybox under `reference`.
    pub(crate) fn import_busybox(&self, reference: &str) {
        let tar = self.scratch("busybox.tar");
        busybox_tar(&tar);
        self.skep(&["image", "import", &tar.display().to_string(), reference]).ok();
    }

    /// Values of one column of a listing, as a template.
    pub(crate) fn column(&self, listing: &[&str], template: &str) -> Vec<String> {
        let mut arguments = listing.to_vec();
        arguments.extend(["--format", template]);
        self.skep(&arguments).ok().lines().map(str::to_owned).collect()
    }

    /// Process ids of the service's running containers on this machine, by container name, in order of name.
    pub(crate) fn container_pids(&self) -> Vec<(String, String)> {
        let ids = self.skep(&["ps", "-q", "--no-trunc"]).ok();
        if ids.is_empty() {
            return Vec::new();
        }
        let mut arguments = vec!["inspect", "--format", "{{.Name}} {{.State.Pid}}"];
        arguments.extend(ids.lines());
        // One that ends between the two questions is told of as an error beside the others.
        let text = self.skep(&arguments).out;
        let pair = |line: &str| {
            let (name, pid) = line.trim().split_once(' ').expect("a name and a process id");
            (name.to_owned(), pid.to_owned())
        };
        let mut found: Vec<_> = text.lines().map(pair).collect();
        found.sort();
        found
    }
}

impl Drop for Machine {
    /// Leaves nothing behind, whatever state the test was left in.
    fn drop(&mut self) {
        self.disk.iter().for_each(disk::Disk::let_go);
        if let Some(mut child) = self.daemon.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let mut down = in_namespace(&self.name, &[SKEP, "down"]);
        down.arg("--data-dir").arg(self.data_dir()).arg("--run-dir").arg(self.run_dir());
        let _ = down.arg("--cgroup-parent").arg(&self.name).output();
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

/// A command inside a network namespace, with the mounts as they are: `ip netns exec` would hide the cgroups.
fn in_namespace(name: &str, command: &[&str]) -> Command {
    let mut nsenter = Command::new("nsenter");
    nsenter.arg(format!("--net=/run/netns/{name}")).arg("--").args(command);
    nsenter
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("run ip");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Writes a root filesystem of one static busybox.
pub(crate) fn busybox_tar(path: &Path) {
    let dir = tempfile::tempdir().expect("make a directory");
    for part in ["bin", "tmp", "etc"] {
        fs::create_dir(dir.path().join(part)).expect("make a directory");
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    fs::copy(busybox.expect("busybox is installed"), dir.path().join("bin/busybox")).expect("copy busybox");
    for word in
        ["sh", "sleep", "true", "false", "cat", "echo", "id", "hostname", "kill", "seq", "nc", "wget", "httpd", "head"]
    {
        std::os::unix::fs::symlink("busybox", dir.path().join("bin").join(word)).expect("make a link");
    }
    fs::write(dir.path().join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
        .expect("write");
    fs::write(dir.path().join("etc/group"), "root:x:0:\nnogroup:x:65534:\n").expect("write");
    let status = Command::new("tar").arg("-C").arg(dir.path()).arg("-cf").arg(path).arg(".").status();
    assert!(status.expect("run tar").success());
}
