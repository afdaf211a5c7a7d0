//! The ordered plan of a container's root, after the pivot into it.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cgroup::{Group, Version};

/// Directories that make the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// The base layer and the image's, lowest first.
    pub layers: Vec<PathBuf>,
    /// What the container writes.
    pub upper: PathBuf,
    /// Overlayfs's own workplace, on the same filesystem as `upper`.
    pub work: PathBuf,
    /// Any directory to mount on: only the container's own mount namespace sees what covers it. The run directory does.
    pub target: PathBuf,
}

/// Whether the overlayfs of a kernel with this release (as in `6.1.0-56-amd64`) takes one layer a call, which came with 6.5.
#[must_use]
pub fn takes_single_layers(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (6, 5)
}

/// What the plan depends on.
#[derive(Clone, Copy, Debug)]
pub struct RootView<'a> {
    /// Whether the root is read-only in the end.
    pub read_only: bool,
    /// The container's groups.
    pub groups: &'a [Group],
}

/// How a mount restricts what is under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restrict {
    /// No execution.
    pub no_exec: bool,
    /// No device nodes.
    pub no_dev: bool,
    /// No writing.
    pub read_only: bool,
}

/// One thing to do; paths are the container's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Mounts a filesystem, making the directory if it is missing. Set-user-id bits never count.
    Mount {
        /// Its type.
        kind: &'static str,
        /// Where.
        at: String,
        /// Its options.
        options: String,
        /// Restrictions.
        restrict: Restrict,
    },
    /// Makes a character device that everyone may use.
    Device {
        /// Its path.
        at: &'static str,
        /// Its numbers.
        numbers: (u32, u32),
    },
    /// Makes a symbolic link.
    Link {
        /// Its path.
        at: String,
        /// Where it leads.
        to: String,
    },
    /// Sets a kernel parameter of the container's own namespaces. A kernel without it is fine.
    Parameter {
        /// Its path.
        at: &'static str,
        /// What to write.
        value: &'static str,
    },
    /// Attaches a generated file, opened before the pivot.
    File {
        /// Its path in the container; the last component is its name among the generated files.
        at: &'static str,
        /// No writing.
        read_only: bool,
    },
    /// Makes a path read-only with all below it. A missing one is fine.
    Freeze {
        /// The path.
        at: &'static str,
    },
    /// Makes a mount of an earlier step read-only.
    Seal {
        /// Where it is.
        at: &'static str,
    },
    /// Hides a path: a file under /dev/null, a directory under an empty read-only one. A missing one is fine.
    Mask {
        /// The path.
        at: &'static str,
    },
}

/// Completes "failed to ...".
impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mount { kind, at, .. } => write!(out, "mount {kind} at {at}"),
            Self::Device { at, .. } => write!(out, "make {at}"),
            Self::Link { at, .. } => write!(out, "make {at}"),
            Self::Parameter { at, value } => write!(out, "write {value} to {at}"),
            Self::File { at, .. } => write!(out, "attach {at}"),
            Self::Freeze { at } | Self::Seal { at } => write!(out, "make {at} read-only"),
            Self::Mask { at } => write!(out, "hide {at}"),
        }
    }
}

/// Files that the runtime generates for each container, in the order of their descriptors.
pub const FILES: [&str; 3] = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];

/// Directories of an image's root that something is mounted on or in.
pub const MOUNT_POINTS: [&str; 4] = ["/dev", "/etc", "/proc", "/sys"];

const PLAIN: Restrict = Restrict { no_exec: false, no_dev: false, read_only: false };
const CLOSED: Restrict = Restrict { no_exec: true, no_dev: true, read_only: false };
const SEALED: Restrict = Restrict { no_exec: true, no_dev: true, read_only: true };

/// Standard nodes. *Source:* OCI runtime specification, "Default Devices".
const DEVICES: [(&str, (u32, u32)); 6] = [
    ("/dev/null", (1, 3)),
    ("/dev/zero", (1, 5)),
    ("/dev/full", (1, 7)),
    ("/dev/random", (1, 8)),
    ("/dev/urandom", (1, 9)),
    ("/dev/tty", (5, 0)),
];

const LINKS: [(&str, &str); 6] = [
    ("/dev/ptmx", "pts/ptmx"),
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
];

/// Paths that tell about or steer the machine. *Source:* Docker's `MaskedPaths`.
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// What any user of the container may do in its own network, which nobody else is in: listen on ports below 1024, and ping.
/// *Source:* Docker since 20.10.
const PARAMETERS: [(&str, &str); 2] =
    [("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"), ("/proc/sys/net/ipv4/ping_group_range", "0 2147483647")];

/// *Source:* Docker's `ReadonlyPaths`.
const FROZEN: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Everything that is done inside the new root, in order: filesystems first (outer before inner), then what is put into them,
/// then what is taken away (parameters are written before they are frozen; masks bind `/dev/null`, so the nodes come first). The root itself is writable until after it, because mount points may have to be
/// made in it.
#[must_use]
pub fn plan(view: &RootView<'_>) -> Vec<Step> {
    let mut steps = filesystems();
    steps.extend(DEVICES.iter().map(|(at, numbers)| Step::Device { at, numbers: *numbers }));
    steps.extend(LINKS.iter().map(|(at, to)| Step::Link { at: (*at).to_owned(), to: (*to).to_owned() }));
    steps.extend(PARAMETERS.iter().map(|(at, value)| Step::Parameter { at, value }));
    steps.extend(FILES.iter().map(|at| Step::File { at, read_only: view.read_only }));
    steps.extend(cgroups(view.groups));
    steps.extend(FROZEN.iter().map(|at| Step::Freeze { at }));
    steps.extend(MASKED.iter().map(|at| Step::Mask { at }));
    steps
}

fn mount(kind: &'static str, at: &str, options: &str, restrict: Restrict) -> Step {
    Step::Mount { kind, at: at.to_owned(), options: options.to_owned(), restrict }
}

fn filesystems() -> Vec<Step> {
    vec![
        mount("proc", "/proc", "", CLOSED),
        mount("tmpfs", "/dev", "mode=755,size=65536k", PLAIN),
        // Group 5 is tty: terminals belong to it, so that other users cannot write to them.
        mount("devpts", "/dev/pts", "newinstance,ptmxmode=0666,mode=0620,gid=5", Restrict { no_dev: false, ..CLOSED }),
        mount("mqueue", "/dev/mqueue", "", CLOSED),
        mount("tmpfs", "/dev/shm", "mode=1777,size=65536k", CLOSED),
        mount("sysfs", "/sys", "", SEALED),
    ]
}

/// The container's own groups, read-only, so that programs can find their limits (the Java and Go runtimes do).
fn cgroups(groups: &[Group]) -> Vec<Step> {
    let mut v1 = groups.iter().filter(|g| g.version == Version::V1).peekable();
    if v1.peek().is_none() {
        return groups.iter().take(1).map(|_| mount("cgroup2", "/sys/fs/cgroup", "", SEALED)).collect();
    }
    // Not sealed before the directories are in it; nothing but the container's init can write there meanwhile.
    let mut steps = vec![mount("tmpfs", "/sys/fs/cgroup", "mode=755,size=64k", CLOSED)];
    for group in v1 {
        let at = format!("/sys/fs/cgroup/{}", group.label);
        steps.extend(
            group
                .controllers
                .iter()
                .filter(|c| **c != group.label && !c.contains('='))
                .map(|controller| Step::Link { at: format!("/sys/fs/cgroup/{controller}"), to: group.label.clone() }),
        );
        steps.push(Step::Mount { kind: "cgroup", at, options: v1_options(group), restrict: SEALED });
    }
    steps.push(Step::Seal { at: "/sys/fs/cgroup" });
    steps
}

fn v1_options(group: &Group) -> String {
    let named = group.controllers.iter().any(|c| c.starts_with("name="));
    format!("{}{}", if named { "none," } else { "" }, group.controllers.join(","))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn group(version: Version, controllers: &[&str], label: &str) -> Group {
        let controllers = controllers.iter().map(|c| (*c).to_owned()).collect();
        Group { version, controllers, dir: PathBuf::new(), label: label.to_owned(), settings: Vec::new() }
    }

    fn position(steps: &[Step], wanted: impl Fn(&Step) -> bool) -> usize {
        steps.iter().position(wanted).unwrap()
    }

    #[test]
    fn single_layers_came_with_6_5() {
        for (release, takes) in [
            ("6.5.0-rc1", true),
            ("6.18.2", true),
            ("7.0", true),
            ("6.4.16-200.fc38", false),
            ("5.15.0", false),
            ("", false),
        ] {
            assert_eq!(takes_single_layers(release), takes, "{release}");
        }
    }

    #[test]
    fn nodes_exist_before_masks_bind_them() {
        let steps = plan(&RootView { read_only: true, groups: &[] });
        let null = position(&steps, |s| matches!(s, Step::Device { at: "/dev/null", .. }));
        let mask = position(&steps, |s| matches!(s, Step::Mask { .. }));
        assert!(null < mask);
    }

    #[test]
    fn outer_mounts_come_before_inner_ones() {
        let groups = [group(Version::V1, &["cpu", "cpuacct"], "cpu,cpuacct")];
        let steps = plan(&RootView { read_only: false, groups: &groups });
        let at = |path: &str| position(&steps, |s| matches!(s, Step::Mount { at, .. } if at == path));
        assert!(at("/dev") < at("/dev/pts") && at("/sys") < at("/sys/fs/cgroup"));
        assert!(at("/sys/fs/cgroup") < at("/sys/fs/cgroup/cpu,cpuacct"));
        assert!(steps.contains(&Step::Link { at: "/sys/fs/cgroup/cpu".to_owned(), to: "cpu,cpuacct".to_owned() }));
    }

    #[test]
    fn parameters_are_written_before_they_are_frozen() {
        let steps = plan(&RootView { read_only: false, groups: &[] });
        let last = steps.iter().rposition(|s| matches!(s, Step::Parameter { .. })).unwrap();
        assert!(last < position(&steps, |s| matches!(s, Step::Freeze { at: "/proc/sys" })));
    }

    #[test]
    fn generated_files_are_as_read_only_as_the_root() {
        for read_only in [true, false] {
            let steps = plan(&RootView { read_only, groups: &[] });
            assert!(steps.contains(&Step::File { at: "/etc/hosts", read_only }));
        }
    }

    #[test]
    fn unified_machine_shows_one_tree() {
        let steps = plan(&RootView { read_only: false, groups: &[group(Version::V2, &["memory"], "cgroup")] });
        assert!(steps.iter().any(|s| matches!(s, Step::Mount { kind: "cgroup2", at, .. } if at == "/sys/fs/cgroup")));
    }

    #[test]
    fn named_tree_is_mounted_without_controllers() {
        assert_eq!(v1_options(&group(Version::V1, &["name=systemd"], "systemd")), "none,name=systemd");
    }

    #[test]
    fn everything_is_mounted_on_a_mount_point() {
        let at = |step: &Step| match step {
            Step::Mount { at, .. } => Some(at.clone()),
            Step::File { at, .. } => Some((*at).to_owned()),
            _ => None,
        };
        let steps = plan(&RootView { read_only: false, groups: &[] });
        for at in steps.iter().filter_map(at) {
            assert!(MOUNT_POINTS.iter().any(|point| Path::new(&at).starts_with(point)), "{at}");
        }
    }
}
