//! Reads the machine's files.
#![expect(clippy::disallowed_methods, reason = "driver: reads /proc and the cgroup's limits")]

use std::fs;
use std::io;
use std::path::Path;
use std::thread;

use super::describe::Facts;

/// Where the limit on the daemon's own memory stands: cgroup v1 first, since a hybrid machine has both and v2 empty.
const MEMORY_LIMITS: [&str; 2] = ["/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max"];

/// What the machine says of itself.
///
/// # Errors
/// When `/proc` is not there.
pub fn facts() -> io::Result<Facts> {
    let limit = MEMORY_LIMITS.into_iter().find_map(|path| fs::read_to_string(Path::new(path)).ok());
    let cpus = thread::available_parallelism().map_or(1, |n| u64::try_from(n.get()).unwrap_or(1));
    Ok(Facts {
        meminfo: fs::read_to_string("/proc/meminfo")?,
        memory_limit: limit.unwrap_or_default(),
        cpus,
        hostname: fs::read_to_string("/proc/sys/kernel/hostname")?,
        architecture: std::env::consts::ARCH.to_owned(),
    })
}
