//! Processor time of this process, of all that it starts, and of their containers: unlike the wall's, it does not count what else
//! the machine does.
//!
//! A cgroup keeps the count, since what a process's own record says of its children leaves out those that it did not wait for.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the kernel counts, and in which file of a group: on cgroup v1 in nanoseconds, on v2 as a line among others.
const TREES: [(&str, &str); 3] = [
    ("/sys/fs/cgroup/cpuacct", "cpuacct.usage"),
    ("/sys/fs/cgroup/cpu,cpuacct", "cpuacct.usage"),
    ("/sys/fs/cgroup", "cpu.stat"),
];

/// A cgroup that this process is in. Dropped, it leaves it; while the containers' are in there, it goes with them.
pub(crate) struct Meter {
    tree: &'static Path,
    group: PathBuf,
    usage: PathBuf,
}

impl Meter {
    /// Joins a new group of that name, which is above those of the containers.
    pub(crate) fn new(name: &str) -> Self {
        let found = TREES.iter().find(|(tree, file)| Path::new(tree).join(file).exists());
        let (tree, file) = found.expect("the kernel counts processor time");
        let group = Path::new(tree).join(name);
        std::fs::create_dir_all(&group).expect("a cgroup is made");
        join(&group);
        Self { tree: Path::new(tree), usage: group.join(file), group }
    }

    /// What was used up to now.
    pub(crate) fn used(&self) -> Duration {
        let text = std::fs::read_to_string(&self.usage).expect("the count is readable");
        let micros = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
        let number = |text: &str| text.trim().parse().expect("it is a number");
        micros.map_or_else(|| Duration::from_nanos(number(&text)), |micros| Duration::from_micros(number(micros)))
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        join(self.tree);
        let _ = std::fs::remove_dir(&self.group);
    }
}

fn join(group: &Path) {
    std::fs::write(group.join("cgroup.procs"), std::process::id().to_string()).expect("a cgroup is joined");
}
