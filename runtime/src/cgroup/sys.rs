//! Carries cgroup plans out on cgroupfs. Every function takes directories, so that tests run it on a temporary one.
#![expect(clippy::disallowed_methods, reason = "driver: reads and writes cgroupfs")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{Group, Setting, Version, cpuset, devices, freezer, memory};

mod guard;

pub use guard::DeviceGuard;

/// What went wrong with a group.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CgroupError {
    /// A directory could not be made.
    #[error("make the cgroup {}", dir.display())]
    Make {
        /// Its directory.
        dir: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A value was refused.
    #[error("write {value} to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The value.
        value: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A file could not be read or opened.
    #[error("open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The device rules could not be made a program.
    #[error("load the device rules into the kernel, which needs CONFIG_CGROUP_BPF where cgroups are version 2")]
    LoadGuard {
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A group did not take that program.
    #[error("put the device rules on the cgroup {}", dir.display())]
    AttachGuard {
        /// Its directory.
        dir: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A directory would not go.
    #[error("remove the cgroup {}", dir.display())]
    Remove {
        /// Its directory.
        dir: PathBuf,
        /// The kernel's answer, in the end.
        #[source]
        source: io::Error,
    },
}

/// How often [`remove`] tries again while dying processes still hold a group. With [`REMOVE_PAUSE`] that is two seconds;
/// then the caller gets the error and the next `open` of the runtime tries again.
const REMOVE_TRIES: u32 = 400;

/// Pause between two tries: about as long as the kernel takes to tear one process down.
const REMOVE_PAUSE: Duration = Duration::from_millis(5);

/// Makes the group's directory and writes its settings.
///
/// # Errors
/// [`CgroupError::Make`] or [`CgroupError::Write`]; a directory that was made stays.
pub fn make(group: &Group) -> Result<(), CgroupError> {
    make_dir(&group.dir)?;
    group.settings.iter().try_for_each(|setting| write(&group.dir, setting))
}

fn make_dir(dir: &Path) -> Result<(), CgroupError> {
    match fs::create_dir(dir) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            Err(CgroupError::Make { dir: dir.to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn write(dir: &Path, setting: &Setting) -> Result<(), CgroupError> {
    match try_write(dir, setting) {
        Err(_) if setting.optional => Ok(()),
        Err(source) => Err(CgroupError::Write { path: dir.join(&setting.file), value: setting.value.clone(), source }),
        Ok(()) => Ok(()),
    }
}

fn try_write(dir: &Path, setting: &Setting) -> io::Result<()> {
    OpenOptions::new().write(true).open(dir.join(&setting.file))?.write_all(setting.value.as_bytes())
}

/// Makes the parent groups and those above them, filled with what children inherit. Doing it again changes nothing.
///
/// # Errors
/// As [`make`], and when a cpuset cannot be copied.
pub fn ensure_parent(parents: &[Group], mounts: &[PathBuf]) -> Result<(), CgroupError> {
    parents.iter().zip(mounts).try_for_each(|(group, mount)| ensure(group, mount))
}

fn ensure(group: &Group, mount: &Path) -> Result<(), CgroupError> {
    for (above, dir) in levels(mount, &group.dir) {
        fs::create_dir_all(&dir).map_err(|source| CgroupError::Make { dir: dir.clone(), source })?;
        match group.version {
            // A controller is on in a group only if it is handed down on the whole way from the root.
            Version::V2 => hand_down(&above, &group.settings)?,
            Version::V1 if group.has("cpuset") => copy_cpuset(&above, &dir)?,
            Version::V1 => {}
        }
    }
    if group.version == Version::V2 {
        return hand_down(&group.dir, &group.settings);
    }
    // The kernel refuses to deny devices to a group that has children, which have its rules. Not whether the group is new is asked:
    // a daemon may have been killed between making it and writing them.
    let list = fs::read_to_string(group.dir.join(devices::LIST)).unwrap_or_default();
    if group.has("devices") && devices::holds(&list) {
        return Ok(());
    }
    group.settings.iter().try_for_each(|setting| write(&group.dir, setting))
}

/// The group that takes the processes of a group that hands controllers down. No container is called so: their names have no dot.
const ASIDE: &str = "skep.host";

/// How often a group's processes are moved away until none is left: each time only those are there that were born meanwhile. At the
/// bound the controller stays off, and the first limit that needs it is refused with the name of its file.
const MOVES_MAX: u32 = 100;

/// Hands controllers of a v2 group down to its children, which only the root of all groups may do while it has processes. A
/// daemon finds itself in another one when its unit or its machine is a container: those processes move aside first. First,
/// because the kernel would take some controllers all the same and make of the group what no process can move out of.
/// *Source:* cgroups(7), the "no internal processes" rule and thread mode.
fn hand_down(group: &Path, settings: &[Setting]) -> Result<(), CgroupError> {
    // Every group has a type but that root.
    let is_root = !group.join("cgroup.type").exists();
    if !settings.is_empty() && !is_root && !members_of(group).is_empty() {
        let aside = group.join(ASIDE);
        fs::create_dir_all(&aside).map_err(|source| CgroupError::Make { dir: aside.clone(), source })?;
        move_members(group, &aside);
    }
    settings.iter().try_for_each(|setting| write(group, setting))
}

fn move_members(from: &Path, to: &Path) {
    for _ in 0..MOVES_MAX {
        let members = members_of(from);
        if members.is_empty() {
            return;
        }
        for pid in members {
            // One that has ended meanwhile needs no move.
            let _ = write(to, &Setting::may("cgroup.procs", pid.as_raw_nonzero()));
        }
    }
}

/// Undoes [`hand_down`] in a group whose processes had to move aside. Returns whether it was such a group: then it was there
/// before this runtime and stays. Where others use the controllers meanwhile, nothing changes.
fn take_back(group: &Path, settings: &[Setting]) -> bool {
    let aside = group.join(ASIDE);
    if !aside.exists() {
        return false;
    }
    for setting in settings {
        let _ = write(group, &Setting::may(&setting.file, setting.value.replace('+', "-")));
    }
    move_members(&aside, group);
    let _ = fs::remove_dir(&aside);
    true
}

/// Every directory from below `mount` down to `dir`, each with the one above it.
fn levels(mount: &Path, dir: &Path) -> Vec<(PathBuf, PathBuf)> {
    let below = dir.ancestors().take_while(|level| *level != mount);
    let mut levels: Vec<(PathBuf, PathBuf)> =
        below.filter_map(|level| Some((level.parent()?.to_owned(), level.to_owned()))).collect();
    levels.reverse();
    levels
}

fn copy_cpuset(above: &Path, group: &Path) -> Result<(), CgroupError> {
    for file in cpuset::COPIED {
        let path = above.join(file);
        let value = fs::read_to_string(&path).map_err(|source| CgroupError::Open { path, source })?;
        write(group, &Setting::must(file, value.trim()))?;
    }
    Ok(())
}

/// Opens the file through which a thread joins the v1 group by writing `0`: `tasks`, because that needs no lock of the machine.
///
/// # Errors
/// [`CgroupError::Open`].
pub fn join_file(group: &Group) -> Result<File, CgroupError> {
    let path = group.dir.join("tasks");
    OpenOptions::new().write(true).open(&path).map_err(|source| CgroupError::Open { path, source })
}

/// Whether the kernel killed a process of the container for memory.
#[must_use]
pub fn oom_killed(groups: &[Group]) -> bool {
    let Some(group) = groups.iter().find(|g| g.has("memory")) else { return false };
    let events = fs::read_to_string(group.dir.join(memory::events_file(group.version)));
    memory::kills(&events.unwrap_or_default()) > 0
}

/// Kills every process in the groups: in one write where the kernel has that (v2 from 5.14), else frozen first, so that a fork
/// bomb cannot outrun it.
pub fn kill_all(groups: &[Group]) {
    let kill = Setting::must("cgroup.kill", 1);
    let groups: Vec<&Group> =
        groups.iter().filter(|g| g.version == Version::V1 || try_write(&g.dir, &kill).is_err()).collect();
    let freezers: Vec<&&Group> = groups.iter().filter(|g| g.version == Version::V2 || g.has("freezer")).collect();
    for group in &freezers {
        let _ = write(&group.dir, &freezer::setting(group.version, true));
    }
    for pid in groups.iter().flat_map(|g| members_of(&g.dir)) {
        let _ = kill_process(pid, Signal::KILL);
    }
    for group in &freezers {
        let _ = write(&group.dir, &freezer::setting(group.version, false));
    }
}

/// Processes of the groups; one that is in several is named as often.
#[must_use]
pub fn members(groups: &[Group]) -> Vec<Pid> {
    groups.iter().flat_map(|group| members_of(&group.dir)).collect()
}

fn members_of(dir: &Path) -> Vec<Pid> {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok().and_then(Pid::from_raw)).collect()
}

/// Removes the groups with everything below them, killing what is still in there. A group that is gone is fine.
///
/// # Errors
/// [`CgroupError::Remove`] after two seconds of trying; the groups after it have been tried too.
pub fn remove(groups: &[Group]) -> Result<(), CgroupError> {
    let mut result = Ok(());
    for group in groups {
        if let Err(source) = remove_tree(group) {
            result = Err(CgroupError::Remove { dir: group.dir.clone(), source });
        }
    }
    result
}

fn remove_tree(group: &Group) -> io::Result<()> {
    let mut last = Ok(());
    for attempt in 0..REMOVE_TRIES {
        last = remove_dirs(&group.dir);
        match &last {
            Ok(()) => return last,
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy || e.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            Err(_) => return last,
        }
        if attempt % 10 == 0 {
            kill_all(std::slice::from_ref(group));
        }
        thread::sleep(REMOVE_PAUSE);
    }
    last
}

/// Removes a directory and its sub-directories; the files of cgroupfs go with their directory.
fn remove_dirs(dir: &Path) -> io::Result<()> {
    match fs::remove_dir(dir) {
        Ok(()) => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) => {}
    }
    for entry in fs::read_dir(dir)?.flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_dirs(&entry.path())?;
        }
    }
    fs::remove_dir(dir)
}

/// Names of the containers that have a group under one of the parents.
#[must_use]
pub fn children(parents: &[Group]) -> Vec<String> {
    let entries = parents.iter().filter_map(|g| fs::read_dir(&g.dir).ok()).flat_map(Iterator::flatten);
    let dirs = entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
    let mut names: Vec<String> = dirs.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Removes the parent groups, and above them the empty groups of a nested parent name. A group that has processes of its own
/// is somebody else's, perhaps this daemon's: nothing in it is killed, and it stays as it was.
///
/// # Errors
/// As [`remove`].
pub fn remove_parent(parents: &[Group], mounts: &[PathBuf]) -> Result<(), CgroupError> {
    for (group, mount) in parents.iter().zip(mounts) {
        let foreign = take_back(&group.dir, &group.settings) || !members_of(&group.dir).is_empty();
        if !foreign {
            remove(std::slice::from_ref(group))?;
        }
        for (above, _) in levels(mount, &group.dir).iter().rev() {
            take_back(above, &group.settings);
            if above != mount {
                // Not empty means somebody else's: it stays.
                let _ = fs::remove_dir(above);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(dir: &Path, settings: Vec<Setting>) -> Group {
        let controllers = vec!["memory".to_owned()];
        Group { version: Version::V2, controllers, dir: dir.to_owned(), label: String::new(), settings }
    }

    #[test]
    fn settings_land_in_their_files_and_optional_ones_may_be_missing() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("web");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("memory.max"), "").unwrap();
        let made = group(&dir, vec![Setting::must("memory.max", 5), Setting::may("memory.swap.max", 5)]);
        make(&made).unwrap();
        assert_eq!(fs::read_to_string(dir.join("memory.max")).unwrap(), "5");
    }

    #[test]
    fn controllers_are_handed_down_on_every_level() {
        let root = tempfile::tempdir().unwrap();
        for level in ["", "a", "a/b"] {
            fs::create_dir_all(root.path().join(level)).unwrap();
            fs::write(root.path().join(level).join("cgroup.subtree_control"), "").unwrap();
        }
        let parent = group(&root.path().join("a/b"), vec![Setting::may("cgroup.subtree_control", "+memory")]);
        ensure_parent(&[parent], &[root.path().to_owned()]).unwrap();
        for level in ["", "a", "a/b"] {
            let text = fs::read_to_string(root.path().join(level).join("cgroup.subtree_control")).unwrap();
            assert_eq!(text, "+memory", "in {level:?}");
        }
    }

    #[test]
    fn refused_setting_names_file_and_value() {
        let root = tempfile::tempdir().unwrap();
        let made = group(&root.path().join("web"), vec![Setting::must("pids.max", 9)]);
        let text = make(&made).unwrap_err().to_string();
        assert!(text.contains("write 9 to") && text.contains("pids.max"), "{text}");
    }

    #[test]
    fn oom_is_read_from_the_memory_group() {
        let root = tempfile::tempdir().unwrap();
        let made = group(root.path(), Vec::new());
        assert!(!oom_killed(std::slice::from_ref(&made)));
        fs::write(root.path().join("memory.events"), "oom 1\noom_kill 1\n").unwrap();
        assert!(oom_killed(&[made]));
    }

    #[test]
    fn parent_with_processes_of_its_own_stays() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("unit");
        fs::create_dir(&dir).unwrap();
        // A process id that cannot be one: whoever tried to kill it would do no harm.
        fs::write(dir.join("cgroup.procs"), "4999999\n").unwrap();
        remove_parent(&[group(&dir, Vec::new())], &[root.path().to_owned()]).unwrap();
        assert!(dir.join("cgroup.procs").exists());
    }

    #[test]
    fn groups_that_moved_aside_come_back() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("unit");
        fs::create_dir_all(dir.join(ASIDE)).unwrap();
        fs::write(dir.join("cgroup.subtree_control"), "").unwrap();
        let settings = vec![Setting::may("cgroup.subtree_control", "+memory")];
        remove_parent(&[group(&dir, settings)], &[root.path().to_owned()]).unwrap();
        assert_eq!(fs::read_to_string(dir.join("cgroup.subtree_control")).unwrap(), "-memory");
        assert!(!dir.join(ASIDE).exists());
    }

    #[test]
    fn removal_takes_nested_groups_and_forgives_missing_ones() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("web");
        fs::create_dir_all(dir.join("inner/most")).unwrap();
        remove(&[group(&dir, Vec::new())]).unwrap();
        assert!(!dir.exists());
        remove(&[group(&dir, Vec::new())]).unwrap();
    }
}
