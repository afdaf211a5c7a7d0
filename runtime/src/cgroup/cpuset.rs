//! The cpuset: membership only. A v1 cpuset without CPUs and memory nodes takes no process, so it must be filled first.

use super::Setting;

/// What the parent group needs so that each child starts as its copy. The runtime fills the parent itself from the root
/// (`cpuset.cpus`, `cpuset.mems`), because a copy of an empty set would be empty.
#[must_use]
pub fn inherited() -> Vec<Setting> {
    vec![Setting::must("cgroup.clone_children", 1)]
}

/// The files that are copied down from the root to the parent group.
pub const COPIED: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];
