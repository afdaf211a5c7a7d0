//! The other runtimes: the same container as an OCI bundle.
//!
//! Theirs has our namespaces, mounts, devices, files, masked and read-only paths, capabilities and cgroup parent, and those
//! system calls allowed that ours allows without conditions. What differs: their root is the directory itself where ours is an
//! overlay on it, and their container has no process that stays and keeps its output. Both differences favour them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use skep_runtime::security::CapabilitySet;
use skep_runtime::security::syscalls::{Verdict, verdicts};

/// Where the kernel's headers name the system calls: the specification wants names, and our table has numbers.
const NAMES: [&str; 2] = ["/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm-generic/unistd.h"];

/// Docker's default capabilities.
const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// One of the other runtimes, and its bundle.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    bundle: PathBuf,
    state: PathBuf,
}

impl Peer {
    /// Writes a bundle over `rootfs` whose cgroup is under `cgroup_parent`.
    pub(crate) fn new(name: &'static str, dir: &Path, rootfs: &Path, cgroup_parent: &str) -> Self {
        let (bundle, state) = (dir.join(name), Path::new("/dev/shm").join(format!("{cgroup_parent}-{name}")));
        std::fs::create_dir_all(&bundle).expect("a directory is made");
        let text = serde_json::to_vec(&config(rootfs, &format!("/{cgroup_parent}/{name}"))).expect("it is plain data");
        std::fs::write(bundle.join("config.json"), text).expect("the bundle is written");
        Self { name, bundle, state }
    }

    /// Creates, starts, waits for and deletes one container, as one command.
    pub(crate) fn run(&self, id: &str) {
        let mut command = Command::new(self.name);
        command.arg("--root").arg(&self.state).args(["run", "--bundle"]).arg(&self.bundle).arg(id);
        let done = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output();
        let done = done.expect("the runtime is installed");
        assert!(done.status.success(), "{}: {}", self.name, String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Peer {
    /// Removes what it keeps about its containers.
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.state);
    }
}

fn config(rootfs: &Path, cgroup: &str) -> Value {
    let sets = ["bounding", "effective", "permitted"].map(|set| (set.to_owned(), json!(CAPABILITIES)));
    let spaces = ["pid", "network", "ipc", "uts", "mount", "cgroup"].map(|kind| json!({ "type": kind }));
    let mut linux = json!({
        "namespaces": spaces,
        "cgroupsPath": cgroup,
        "maskedPaths": ["/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
            "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    });
    if let Some(profile) = profile() {
        linux["seccomp"] = profile;
    }
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": ["true"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=measure"],
            "cwd": "/",
            "capabilities": serde_json::Map::from_iter(sets),
        },
        "root": { "path": rootfs },
        "hostname": "measure",
        "mounts": mounts(rootfs),
        "linux": linux,
    })
}

fn mounts(rootfs: &Path) -> Vec<Value> {
    let closed = ["nosuid", "noexec", "nodev"];
    let with = |more: &[&'static str]| [&closed[..], more].concat();
    let mount = |kind: &str, at: &str, options: &[&str]| json!({ "type": kind, "source": kind, "destination": at, "options": options });
    let mut mounts = vec![
        mount("proc", "/proc", &closed),
        mount("tmpfs", "/dev", &["nosuid", "mode=755", "size=65536k"]),
        mount("devpts", "/dev/pts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        mount("mqueue", "/dev/mqueue", &closed),
        mount("tmpfs", "/dev/shm", &with(&["mode=1777", "size=65536k"])),
        mount("sysfs", "/sys", &with(&["ro"])),
        mount("cgroup", "/sys/fs/cgroup", &with(&["ro"])),
    ];
    for name in ["hostname", "hosts", "resolv.conf"] {
        let source = rootfs.join("etc").join(name);
        mounts.push(
            json!({ "type": "bind", "source": source, "destination": format!("/etc/{name}"), "options": ["rbind"] }),
        );
    }
    mounts
}

/// Our table by names; `None` without the headers.
fn profile() -> Option<Value> {
    let header = NAMES.iter().find_map(|path| std::fs::read_to_string(path).ok())?;
    let numbers: std::collections::BTreeMap<u32, &str> = header.lines().filter_map(named).collect();
    let capabilities = CapabilitySet::tweaked(&[], &[]).expect("the default names only what is known");
    let allowed = verdicts(capabilities).into_iter().filter(|(_, verdict)| *verdict == Verdict::Allow);
    // What this distribution's library is too old to know would stop it.
    let known: Vec<&str> =
        allowed.filter(|(number, _)| *number < 440).filter_map(|(n, _)| numbers.get(&n).copied()).collect();
    let conditional = ["clone", "socket", "personality"];
    let names = [&known[..], &conditional].concat();
    Some(json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{ "names": names, "action": "SCMP_ACT_ALLOW" }],
    }))
}

/// A line as in `#define __NR_read 0`.
fn named(line: &str) -> Option<(u32, &str)> {
    let (name, number) = line.strip_prefix("#define __NR_")?.split_once(' ')?;
    Some((number.trim().parse().ok()?, name))
}

/// Whether a container of theirs gets a filter.
pub(crate) fn has_profile() -> bool {
    profile().is_some()
}
