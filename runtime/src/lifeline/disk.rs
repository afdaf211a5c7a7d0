//! The file.
#![expect(clippy::disallowed_methods, reason = "driver: owns the lifeline's file")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::Kept;

/// Where it is in a run directory.
#[must_use]
pub fn path(run_dir: &Path) -> PathBuf {
    run_dir.join("lifeline")
}

/// Puts it there whole or not at all. It is not synced: it is worth nothing after a reboot.
///
/// # Errors
/// As the system says.
pub fn keep(path: &Path, kept: &Kept) -> io::Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, kept.encode())?;
    fs::rename(&beside, path)
}

/// When it was last kept in this boot; `None` when that cannot be read.
#[must_use]
pub fn read(path: &Path, boot_id: &str) -> Option<Duration> {
    Kept::decode(&fs::read_to_string(path).ok()?)?.in_boot(boot_id)
}

/// The time since the machine's boot. It goes on while the machine sleeps.
#[must_use]
pub fn uptime() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Which boot of the machine this is.
///
/// # Errors
/// As the system says.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_and_damage_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path());
        assert_eq!(read(&path, "b"), None);
        let at = Duration::from_millis(1_234);
        keep(&path, &Kept { boot_id: "b".to_owned(), at }).unwrap();
        assert_eq!((read(&path, "b"), read(&path, "c")), (Some(at), None));
        fs::write(&path, b"\xff").unwrap();
        assert_eq!(read(&path, "b"), None);
        assert!(uptime() > Duration::ZERO && !boot_id().unwrap().is_empty());
    }
}
