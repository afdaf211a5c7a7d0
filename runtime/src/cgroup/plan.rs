//! What a container's groups are and what is written into them: plain values, carried out by [`super::sys`].

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Hierarchy, Version, cpu, cpuset, devices, memory, pids};
use crate::container::Resources;

/// One value for one file of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Name within the group's directory.
    pub file: String,
    /// What to write, in one write.
    pub value: String,
    /// Whether a kernel without that file is fine.
    pub optional: bool,
}

impl Setting {
    /// A setting that must be accepted.
    #[must_use]
    pub fn must(file: &str, value: impl ToString) -> Self {
        Self { file: file.to_owned(), value: value.to_string(), optional: false }
    }

    /// A setting that only some kernels have.
    #[must_use]
    pub fn may(file: &str, value: impl ToString) -> Self {
        Self { file: file.to_owned(), value: value.to_string(), optional: true }
    }
}

/// One group of one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Interface of its hierarchy.
    pub version: Version,
    /// Controllers of its hierarchy.
    pub controllers: Vec<String>,
    /// Its directory.
    pub dir: PathBuf,
    /// Name of its hierarchy's mount point, under which the container sees it in `/sys/fs/cgroup`.
    pub label: String,
    /// Limits, in the order in which to write them.
    pub settings: Vec<Setting>,
}

impl Group {
    /// Whether its hierarchy carries `controller`.
    #[must_use]
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|c| c == controller)
    }
}

/// The groups of container `id` with its limits, one per hierarchy.
#[must_use]
pub fn groups(hierarchies: &[Hierarchy], parent: &str, id: &str, resources: &Resources) -> Vec<Group> {
    let settings = |h: &Hierarchy| limits(h, resources);
    hierarchies.iter().map(|h| group(h, &Path::new(parent).join(id), settings(h))).collect()
}

/// A controller that a limit needs and no hierarchy has: as where a kernel was booted without its memory controller.
#[must_use]
pub fn missing(hierarchies: &[Hierarchy], resources: &Resources) -> Option<&'static str> {
    let limits = [("cpu", resources.nano_cpus), ("memory", resources.memory_bytes), ("pids", resources.pids)];
    let needed = limits.into_iter().filter(|(_, limit)| *limit > 0).map(|(controller, _)| controller);
    needed.into_iter().find(|controller| !hierarchies.iter().any(|h| h.has(controller)))
}

/// The parent group in each hierarchy, with what every child inherits.
#[must_use]
pub fn parents(hierarchies: &[Hierarchy], parent: &str) -> Vec<Group> {
    hierarchies.iter().map(|h| group(h, Path::new(parent), inherited(h))).collect()
}

/// The group on which a program has to keep devices away from its members: the v2 one, unless a v1 hierarchy has the controller
/// for that.
#[must_use]
pub fn guarded(groups: &[Group]) -> Option<&Group> {
    let has_rules = groups.iter().any(|g| g.version == Version::V1 && g.has("devices"));
    groups.iter().find(|g| g.version == Version::V2 && !has_rules)
}

fn group(hierarchy: &Hierarchy, below: &Path, settings: Vec<Setting>) -> Group {
    let label = hierarchy.mount.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let (version, controllers) = (hierarchy.version, hierarchy.controllers.clone());
    Group { version, controllers, dir: hierarchy.mount.join(below), label, settings }
}

fn limits(hierarchy: &Hierarchy, resources: &Resources) -> Vec<Setting> {
    let mut settings = Vec::new();
    if hierarchy.has("cpu") {
        settings.extend(cpu::settings(hierarchy.version, resources.nano_cpus));
    }
    if hierarchy.has("memory") {
        settings.extend(memory::settings(hierarchy.version, resources.memory_bytes));
    }
    if hierarchy.has("pids") {
        settings.extend(pids::settings(resources.pids));
    }
    settings
}

/// The v2 controllers that containers get, handed down through `cgroup.subtree_control`.
const HANDED_DOWN: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

fn inherited(hierarchy: &Hierarchy) -> Vec<Setting> {
    if hierarchy.version == Version::V2 {
        // One write each: a controller that cannot be handed down (cpuset on some machines) must not spoil the others.
        let wanted = HANDED_DOWN.iter().filter(|c| hierarchy.has(c));
        return wanted.map(|c| Setting::may("cgroup.subtree_control", format!("+{c}"))).collect();
    }
    let mut settings = Vec::new();
    if hierarchy.has("cpuset") {
        settings.extend(cpuset::inherited());
    }
    if hierarchy.has("devices") {
        settings.extend(devices::inherited());
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(version: Version, controllers: &[&str], mount: &str) -> Hierarchy {
        let controllers = controllers.iter().map(|c| (*c).to_owned()).collect();
        Hierarchy { version, controllers, mount: PathBuf::from(mount) }
    }

    const LIMITED: Resources = Resources { nano_cpus: 500_000_000, memory_bytes: 1 << 20, pids: 7 };

    #[test]
    fn each_controller_is_limited_where_it_lives() {
        let trees = [tree(Version::V1, &["memory"], "/c/memory"), tree(Version::V2, &["cpu", "pids"], "/c/unified")];
        let made = groups(&trees, "skep", "web", &LIMITED);
        assert_eq!(made[0].dir, PathBuf::from("/c/memory/skep/web"));
        assert_eq!(made[0].settings[0], Setting::must("memory.limit_in_bytes", 1 << 20));
        let unified: Vec<&str> = made[1].settings.iter().map(|s| s.file.as_str()).collect();
        assert_eq!(unified, ["cpu.max", "pids.max"]);
    }

    #[test]
    fn limit_without_its_controller_is_found() {
        let trees = [tree(Version::V1, &["cpu", "pids"], "/c/cpu"), tree(Version::V2, &[], "/c/unified")];
        assert_eq!(missing(&trees, &LIMITED), Some("memory"));
        assert_eq!(missing(&trees, &Resources { memory_bytes: 0, ..LIMITED }), None);
    }

    #[test]
    fn devices_are_guarded_once() {
        let (v1, v2) = (tree(Version::V1, &["devices"], "/c/devices"), tree(Version::V2, &["memory"], "/c/unified"));
        let of = |trees: &[Hierarchy]| groups(trees, "skep", "web", &LIMITED);
        assert_eq!(guarded(&of(&[v1, v2.clone()])), None);
        assert_eq!(guarded(&of(std::slice::from_ref(&v2))).map(|g| g.dir.clone()), Some("/c/unified/skep/web".into()));
    }

    #[test]
    fn no_limit_writes_nothing() {
        let trees = [tree(Version::V2, &["cpu", "memory", "pids"], "/c")];
        assert!(groups(&trees, "skep", "web", &Resources::default())[0].settings.is_empty());
    }

    #[test]
    fn parent_hands_down_only_what_the_tree_has() {
        let trees = [tree(Version::V2, &["memory", "hugetlb"], "/c")];
        assert_eq!(parents(&trees, "skep")[0].settings, [Setting::may("cgroup.subtree_control", "+memory")]);
    }
}
