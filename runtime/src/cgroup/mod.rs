//! Control groups: which ones a container is a member of, and what they hold it to.
//!
//! **Owns** one group per container in every hierarchy of this machine, `MOUNT/PARENT/ID`, all under one parent group that
//! the runtime makes once and [`remove_parent`] takes away. Input: the kernel's mount table and [`crate::Resources`].
//! Output: a list of [`Group`] values, plain data that the shim carries out before it clones.
//!
//! **The version is found per controller, not per host.** A hybrid machine has most controllers in v1 hierarchies and an
//! almost empty v2 tree beside them. So [`find`] lists every hierarchy with its controllers, and each controller's file
//! ([`cpu`], [`memory`], [`pids`], [`freezer`], [`devices`]) says which file to write in either version.
//!
//! **Joining costs nothing if it is done right.** Writing a process id to `cgroup.procs` takes a lock of the whole machine
//! and waits 7 to 12 ms for an RCU grace period when the machine was idle. The kernel skips that lock in two cases: a
//! thread that moves only itself (`0` written to a v1 `tasks` file), and a process born in its group (`CLONE_INTO_CGROUP`,
//! v2 only). The container's init is single-threaded, so the two together cover every hierarchy. *Source:*
//! `cgroup_procs_write_start` in the kernel, and cgroups(7).
//!
//! **What children inherit is written once.** On v1, device rules and the cpuset come down from the parent group (the latter by
//! `cgroup.clone_children`), which saves some twenty writes per container. On v2 there is no file for device rules: they are a
//! [`program`] that the kernel runs. It is loaded once ([`DeviceGuard`]) and put on each container's own group before the shim
//! starts: the parent group may have members that are no containers, and would bind them too.
//!
//! **Who sits in the way makes room.** A v2 group other than the root hands controllers to its children only while it has no process
//! itself. A daemon in a container, or one whose parent group is its own unit's, finds processes there: they move into a group
//! beside the containers', and back when the parent is removed. Processes that are no container's are never killed.
//!
//! **Crash**: groups survive every process. The runtime, when it opens, kills and removes each child of the parent group that
//! no adopted container owns.
//!
//! Read next: [`plan`], then [`sys`].

pub mod cpu;
pub mod cpuset;
pub mod devices;
pub mod freezer;
pub mod hierarchy;
pub mod memory;
pub mod pids;
pub mod plan;
pub mod program;
pub mod sys;

pub use hierarchy::{Hierarchy, Version, find};
pub use plan::{Group, Setting, groups, guarded, missing, parents};
pub use sys::{
    CgroupError, DeviceGuard, children, ensure_parent, join_file, kill_all, make, members, oom_killed, remove,
    remove_parent,
};
