//! The agent's files: the task list, which must be right, and the managers' addresses and the cluster's era, which may be missing.
//!
//! A file is replaced by writing another beside it, syncing that, and renaming it: whatever the moment of a power cut, either
//! the old or the new list is there whole.
#![expect(clippy::disallowed_methods, reason = "driver: owns the agent's files")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use skep_proto::model::Era;

use crate::error::AgentError;
use crate::record;
use crate::worker::TaskList;

/// Largest file that is read: a list of 100,000 tasks is a tenth of it. A larger one was not written by the agent.
const FILE_LEN_MAX: u64 = 256 << 20;

/// Where the agent's files are.
#[derive(Clone, Debug)]
pub struct Files {
    dir: PathBuf,
}

impl Files {
    /// Makes the directory `DATA/agent`, readable by root alone: specs hold environments, and environments hold passwords.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(data_dir: &Path) -> Result<Self, AgentError> {
        let dir = data_dir.join("agent");
        make_private_dir(&dir).map_err(|source| AgentError::Write { path: dir.clone(), source })?;
        Ok(Self { dir })
    }

    /// The task list as it was last written; an empty one when there is none.
    ///
    /// # Errors
    /// When the file cannot be read, or was damaged.
    pub fn read_list(&self) -> Result<TaskList, AgentError> {
        let path = self.list_path();
        match read_bounded(&path) {
            Ok(bytes) => record::decode(&bytes).map_err(|source| AgentError::Corrupt { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(TaskList::default()),
            Err(source) => Err(AgentError::Read { path, source }),
        }
    }

    /// Replaces the task list; on return it is on disk.
    ///
    /// # Errors
    /// When the disk is full or broken; the old list is still there.
    pub fn write_list(&self, list: &TaskList) -> Result<(), AgentError> {
        let path = self.list_path();
        replace(&path, &record::encode(list), 0o600).map_err(|source| AgentError::Write { path, source })
    }

    /// The managers as they were last written. A damaged list is no list: it is only where to look first.
    #[must_use]
    pub fn read_managers(&self) -> Vec<String> {
        let bytes = read_bounded(&self.managers_path()).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Replaces the managers.
    ///
    /// # Errors
    /// When the disk is full or broken; the old list is still there.
    ///
    /// # Panics
    /// Never: a list of texts is always JSON.
    pub fn write_managers(&self, managers: &[String]) -> Result<(), AgentError> {
        let path = self.managers_path();
        let text = serde_json::to_vec_pretty(managers).expect("a list of texts is always JSON");
        replace(&path, &text, 0o600).map_err(|source| AgentError::Write { path, source })
    }

    /// The latest era of the cluster that was heard of. A damaged file is none: the next manager tells it.
    #[must_use]
    pub fn read_era(&self) -> Era {
        let bytes = read_bounded(&self.era_path()).unwrap_or_default();
        let number = String::from_utf8(bytes).ok().and_then(|text| text.trim_end().parse().ok());
        number.map(Era).unwrap_or_default()
    }

    /// Replaces the era.
    ///
    /// # Errors
    /// When the disk is full or broken; the old one is still there.
    pub fn write_era(&self, era: Era) -> Result<(), AgentError> {
        let path = self.era_path();
        replace(&path, format!("{}\n", era.0).as_bytes(), 0o600).map_err(|source| AgentError::Write { path, source })
    }

    /// Forgets everything: the node has left.
    ///
    /// # Errors
    /// When the directory cannot be removed.
    pub fn remove(&self) -> Result<(), AgentError> {
        let path = self.dir.clone();
        fs::remove_dir_all(&path).map_err(|source| AgentError::Write { path, source })
    }

    fn list_path(&self) -> PathBuf {
        self.dir.join("tasks")
    }

    fn era_path(&self) -> PathBuf {
        self.dir.join("era")
    }

    fn managers_path(&self) -> PathBuf {
        self.dir.join("managers.json")
    }
}

/// Makes a directory that only its owner may read.
///
/// # Errors
/// As the system says.
pub(crate) fn make_private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Reads a file of at most [`FILE_LEN_MAX`].
///
/// # Errors
/// As the system says, or that it is too large.
pub(crate) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let length = fs::metadata(path)?.len();
    if length > FILE_LEN_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has {length} bytes")));
    }
    fs::read(path)
}

/// Replaces a file so that a crash leaves the old or the new one whole. The order matters: contents, then name, then directory.
///
/// # Errors
/// As the system says.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let dir = path.parent().unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

/// Replaces a file as [`replace`] does, and overwrites what was there before: a rename alone leaves it on the device until its blocks are
/// needed. (A file system that never overwrites, or a flash memory, may keep a copy all the same.)
///
/// # Errors
/// As the system says. The new content may be there already.
pub(crate) fn replace_and_wipe(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let before = match OpenOptions::new().write(true).open(path) {
        Ok(before) => Some(before),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    replace(path, bytes, mode)?;
    let Some(mut before) = before else { return Ok(()) };
    let length = usize::try_from(before.metadata()?.len()).map_err(io::Error::other)?;
    before.write_all(&vec![0; length])?;
    before.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_is_an_empty_list_and_a_damaged_one_is_an_error_that_says_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path()).unwrap();
        assert_eq!(files.read_list().unwrap(), TaskList::default());
        files.write_list(&TaskList::default()).unwrap();
        assert_eq!(files.read_list().unwrap(), TaskList::default());
        fs::write(dir.path().join("agent/tasks"), b"garbage").unwrap();
        let text = skep_proto::chain::chain(&files.read_list().unwrap_err()).to_string();
        assert!(text.contains("move the file away") && text.contains("no task list"), "{text}");
    }

    #[test]
    fn managers_are_remembered_and_damage_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path()).unwrap();
        assert!(files.read_managers().is_empty());
        files.write_managers(&["a:1".to_owned()]).unwrap();
        assert_eq!(files.read_managers(), ["a:1"]);
        fs::write(dir.path().join("agent/managers.json"), b"[").unwrap();
        assert!(files.read_managers().is_empty());
        assert_eq!(files.read_era(), Era(0));
        files.write_era(Era(7)).unwrap();
        assert_eq!(files.read_era(), Era(7));
    }

    #[test]
    fn what_was_replaced_and_wiped_is_gone_from_its_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("key"), dir.path().join("link"));
        replace_and_wipe(&path, b"first", 0o600).unwrap();
        fs::hard_link(&path, &link).unwrap();
        replace_and_wipe(&path, b"second", 0o600).unwrap();
        assert_eq!((fs::read(&path).unwrap(), fs::read(&link).unwrap()), (b"second".to_vec(), vec![0; 5]));
    }

    #[test]
    fn nobody_else_may_read_what_is_written() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path()).unwrap();
        files.write_list(&TaskList::default()).unwrap();
        let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("agent"), mode("agent/tasks")), (0o700, 0o600));
    }
}
