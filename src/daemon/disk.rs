//! What the daemon itself keeps in the data directory: the lock, and whether the machine is part of a swarm.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

/// Holds a directory for this process; another daemon on it is refused until the lock is dropped, by exit or crash.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: Flock<File>,
}

/// What `swarm init` or `swarm join` settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SwarmFile {
    /// Format of this file. A newer one is refused rather than guessed at.
    pub format: u32,
    /// It is a manager.
    pub manager: bool,
    /// Where a manager listens, HOST:PORT.
    pub listen: String,
    /// What the others reach it at, HOST:PORT.
    pub advertise: String,
    /// Managers to turn to first.
    pub managers: Vec<String>,
}

/// The only format there is.
pub(crate) const SWARM_FORMAT: u32 = 1;

/// Makes a directory that only root may enter, with its parents.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn private_dir(path: &Path) -> anyhow::Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("make the directory {}", path.display()))
}

/// Takes the data directory.
///
/// # Errors
/// When another daemon has it, or it cannot be written.
pub(crate) fn lock(data_dir: &Path) -> anyhow::Result<Lock> {
    take(data_dir, "data directory")
}

/// Takes the run directory: a second daemon there would take the first one's socket and containers away from it.
///
/// # Errors
/// As [`lock`].
pub(crate) fn lock_run_dir(run_dir: &Path) -> anyhow::Result<Lock> {
    take(run_dir, "run directory")
}

fn take(dir: &Path, what: &str) -> anyhow::Result<Lock> {
    private_dir(dir)?;
    let path = dir.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.with_context(|| format!("open {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut file) => {
            let pid = std::process::id();
            let written = file.set_len(0).and_then(|()| write!(file, "{pid}"));
            written.with_context(|| format!("write {}", path.display()))?;
            Ok(Lock { _file: file })
        }
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => bail!(
            "start on {}: another skep daemon uses this {what}; stop it first, or give this one its own --data-dir and --run-dir",
            dir.display()
        ),
        Err((_, error)) => Err(error).with_context(|| format!("lock {}", path.display())),
    }
}

/// Process id of the daemon that holds the data directory, if one does.
#[must_use]
pub(crate) fn lock_holder(data_dir: &Path) -> Option<i32> {
    let path = data_dir.join("lock");
    let file = OpenOptions::new().read(true).write(true).open(&path).ok()?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(_) => None,
        Err(_) => fs::read_to_string(&path).ok()?.trim().parse().ok(),
    }
}

fn swarm_path(data_dir: &Path) -> PathBuf {
    data_dir.join("swarm.json")
}

/// Reads whether the machine is part of a swarm.
///
/// # Errors
/// When the file is there and cannot be understood.
pub(crate) fn read_swarm(data_dir: &Path) -> anyhow::Result<Option<SwarmFile>> {
    let path = swarm_path(data_dir);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let file: SwarmFile = serde_json::from_slice(&text).with_context(|| {
        format!("understand {}; put a backup in its place, or run `skep swarm leave --force`", path.display())
    })?;
    if file.format != SWARM_FORMAT {
        bail!("understand {}: it was written by a newer skep (format {})", path.display(), file.format);
    }
    Ok(Some(file))
}

/// Writes it down so that a crash leaves the old or the new.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn write_swarm(data_dir: &Path, swarm: &SwarmFile) -> anyhow::Result<()> {
    let path = swarm_path(data_dir);
    let text = serde_json::to_vec_pretty(swarm).context("write down the swarm's settings")?;
    replace(&path, &text).with_context(|| format!("write {}", path.display()))
}

/// Forgets the swarm.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn forget_swarm(data_dir: &Path) -> anyhow::Result<()> {
    let path = swarm_path(data_dir);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Temporary name, fsync, rename, fsync of the directory: the order in which nothing is ever half there.
///
/// # Errors
/// As the system says.
pub(crate) fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swarm() -> SwarmFile {
        SwarmFile {
            format: SWARM_FORMAT,
            manager: true,
            listen: "0.0.0.0:2377".into(),
            advertise: "10.0.0.1:2377".into(),
            managers: vec!["10.0.0.1:2377".into()],
        }
    }

    #[test]
    fn what_was_written_is_read_back_and_can_be_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_swarm(dir.path()).unwrap(), None);
        write_swarm(dir.path(), &swarm()).unwrap();
        assert_eq!(read_swarm(dir.path()).unwrap(), Some(swarm()));
        forget_swarm(dir.path()).unwrap();
        forget_swarm(dir.path()).unwrap();
        assert_eq!(read_swarm(dir.path()).unwrap(), None);
    }

    #[test]
    fn a_damaged_or_newer_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(swarm_path(dir.path()), "{").unwrap();
        assert!(read_swarm(dir.path()).unwrap_err().to_string().contains("swarm leave --force"));
        write_swarm(dir.path(), &SwarmFile { format: 2, ..swarm() }).unwrap();
        assert!(read_swarm(dir.path()).unwrap_err().to_string().contains("newer"));
    }

    #[test]
    fn a_second_daemon_is_refused_until_the_first_lets_go() {
        let dir = tempfile::tempdir().unwrap();
        let first = lock(dir.path()).unwrap();
        assert!(lock(dir.path()).unwrap_err().to_string().contains("another skep daemon"));
        assert_eq!(lock_holder(dir.path()), i32::try_from(std::process::id()).ok());
        drop(first);
        assert_eq!(lock_holder(dir.path()), None);
        lock(dir.path()).unwrap();
    }

    #[test]
    fn a_run_directory_is_for_one_daemon_too() {
        let dir = tempfile::tempdir().unwrap();
        let _first = lock_run_dir(dir.path()).unwrap();
        assert!(lock_run_dir(dir.path()).unwrap_err().to_string().contains("this run directory"));
    }
}
