//! Whose the groups below the parent are: another daemon may have been started with the same parent by mistake.
#![expect(clippy::disallowed_methods, reason = "driver: reads /proc")]

use std::fs;

use super::facade::Runtime;
use super::registry::Dirs;
use crate::cgroup;
use crate::container::Resources;

/// Whether another daemon's container lives in the groups of that name. Its shim, which is the parent of its first process, is at home
/// in a run directory that is not ours. Where no shim lives, nobody's container does.
pub(crate) fn lives_in(runtime: &Runtime, name: &str) -> bool {
    let groups = cgroup::groups(&runtime.hierarchies, &runtime.config.cgroup_parent, name, &Resources::default());
    let ours = Dirs::new(&runtime.config, name).run;
    let homes = cgroup::members(&groups).into_iter().filter_map(|pid| shim_home(parent(pid.as_raw_nonzero().get())?));
    homes.into_iter().any(|home| home.trim_end_matches(" (deleted)") != ours.to_string_lossy())
}

fn parent(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

fn shim_home(pid: i32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    let home = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
    (name == "skep:shim\n").then(|| home.to_string_lossy().into_owned())
}
