//! What every container stands on: the directories, and the layer beneath all images.
#![expect(clippy::disallowed_methods, reason = "driver: makes directories")]

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

use super::create::failed;
use super::registry::containers;
use crate::container::{RuntimeConfig, RuntimeError};
use crate::rootfs::mounts::{FILES, MOUNT_POINTS};

/// Makes the directories that containers lie in, and the base layer. Doing it again changes nothing.
pub(crate) fn make(config: &RuntimeConfig) -> Result<(), RuntimeError> {
    for root in [&config.run_dir, &config.data_dir] {
        let dir = containers(root);
        fs::create_dir_all(&dir).map_err(failed("make", &dir))?;
        // What containers write is for root alone; inside them, mounts lead past this directory.
        fs::set_permissions(&dir, Permissions::from_mode(0o700)).map_err(failed("close", &dir))?;
        spread(&dir);
    }
    let base = base(&config.data_dir);
    make_base(&base).map_err(failed("make", &base))
}

/// Asks the filesystem to put the directories in here far from each other, each with what it holds. Ext4 looks for a new inode
/// among those that were freed in the last minutes and passes over each of them: on a node whose containers come and go in
/// one place, a new one would pay for all that went. Filesystems that have no such places refuse, which is fine.
fn spread(dir: &Path) {
    let Ok(dir) = File::open(dir) else { return };
    if let Ok(flags) = ioctl_getflags(&dir) {
        let _ = ioctl_setflags(&dir, flags | IFlags::TOPDIR);
    }
}

/// The layer beneath every image. It holds the mount points that all containers need and few images have, so that none must be
/// made in a container's writable layer, which takes ten times as long as the mount itself. Whatever an image has lies over it.
pub(crate) fn base(data_dir: &Path) -> PathBuf {
    data_dir.join("base")
}

/// Modes are set and not asked for: this process has a umask.
fn make_base(base: &Path) -> io::Result<()> {
    let below = |at: &str| base.join(at.trim_start_matches('/'));
    for dir in MOUNT_POINTS.map(below) {
        fs::create_dir_all(&dir)?;
        fs::set_permissions(&dir, Permissions::from_mode(0o755))?;
    }
    for file in FILES.map(below) {
        let file = OpenOptions::new().create(true).append(true).open(file)?;
        file.set_permissions(Permissions::from_mode(0o644))?;
    }
    fs::set_permissions(base, Permissions::from_mode(0o755))
}
