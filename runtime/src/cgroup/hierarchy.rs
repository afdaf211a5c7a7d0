//! Which cgroup hierarchies a machine has, read from its mount table.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The two interfaces of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// One tree for some controllers, many trees.
    V1,
    /// The unified tree.
    V2,
}

/// A mounted tree and the controllers that it carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchy {
    /// Its interface.
    pub version: Version,
    /// As in `memory`; a named v1 tree has `name=systemd`. Empty for a v2 tree whose controllers are all in v1 trees.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mount: PathBuf,
}

impl Hierarchy {
    /// Whether it carries `controller`.
    #[must_use]
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|c| c == controller)
    }
}

/// Options of a v1 superblock that are no controllers.
const PLAIN_OPTIONS: [&str; 8] =
    ["rw", "ro", "noprefix", "clone_children", "cpuset_v2_mode", "xattr", "favordynmods", "none"];

/// Finds every hierarchy in the text of `/proc/self/mountinfo`; `v2_controllers` is what the v2 mount's
/// `cgroup.controllers` says, looked up by mount point.
///
/// A hierarchy that is mounted twice counts once, where it was mounted first. *Source:* proc(5), `mountinfo`.
#[must_use]
pub fn find(mountinfo: &str, v2_controllers: &dyn Fn(&str) -> String) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        if let Some(hierarchy) = parse(line, v2_controllers) {
            let again = found.iter().any(|h| h.version == hierarchy.version && h.controllers == hierarchy.controllers);
            if !again {
                found.push(hierarchy);
            }
        }
    }
    found
}

fn parse(line: &str, v2_controllers: &dyn Fn(&str) -> String) -> Option<Hierarchy> {
    let (left, right) = line.split_once(" - ")?;
    let mount = left.split(' ').nth(4)?;
    let mut fields = right.split(' ');
    let (kind, _source, options) = (fields.next()?, fields.next()?, fields.next()?);
    let (version, controllers) = match kind {
        "cgroup" => (Version::V1, v1_controllers(options)),
        "cgroup2" => (Version::V2, v2_controllers(mount).split_whitespace().map(str::to_owned).collect()),
        _ => return None,
    };
    Some(Hierarchy { version, controllers, mount: PathBuf::from(mount) })
}

fn v1_controllers(options: &str) -> Vec<String> {
    let skip = |o: &&str| !PLAIN_OPTIONS.contains(o) && !o.starts_with("release_agent=");
    options.split(',').filter(skip).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
23 20 0:21 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
24 23 0:22 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
25 23 0:23 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
26 23 0:24 / /sys/fs/cgroup/systemd rw - cgroup systemd rw,xattr,release_agent=/lib/x,name=systemd
27 23 0:25 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
28 23 0:23 / /mnt/again rw,relatime - cgroup cgroup rw,memory
";

    #[test]
    fn hybrid_machine_has_controllers_in_both_versions() {
        let found = find(HYBRID, &|_| "hugetlb\n".to_owned());
        let names: Vec<String> = found.iter().map(|h| h.controllers.join(",")).collect();
        assert_eq!(names, ["cpu,cpuacct", "memory", "name=systemd", "hugetlb"]);
        assert_eq!(found[3].version, Version::V2);
        assert_eq!(found[0].mount, PathBuf::from("/sys/fs/cgroup/cpu"));
    }

    #[test]
    fn other_mounts_are_no_hierarchies() {
        assert!(find("23 20 0:21 / / rw - ext4 /dev/vda rw\nnonsense\n", &|_| String::new()).is_empty());
    }
}
