//! A file that comes to be under its name only when it is whole and on the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// Being written. Dropped before it is whole, nothing of it stays.
#[derive(Debug)]
pub(super) struct Draft {
    path: PathBuf,
    beside: PathBuf,
    out: Option<BufWriter<File>>,
    force: bool,
}

impl Draft {
    /// Begins it beside its name, readable by its owner alone.
    ///
    /// # Errors
    /// When there is a file already and not `force`, or the disk refuses.
    pub(super) fn begin(path: &Path, force: bool) -> anyhow::Result<Self> {
        if path.is_dir() {
            bail!("write the backup {}: it is a directory; name a file", path.display());
        }
        if path.exists() && !force {
            bail!("{}", taken(path));
        }
        let name = path.file_name().with_context(|| format!("write the backup {}: name a file", path.display()))?;
        let beside = path.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside);
        let file = file.with_context(|| format!("write the backup {}", path.display()))?;
        Ok(Self { path: path.to_owned(), beside, out: Some(BufWriter::new(file)), force })
    }

    /// Gives it its name, and says how large it is.
    ///
    /// # Errors
    /// When the disk refuses, or somebody has taken the name meanwhile.
    pub(super) fn finish(mut self) -> anyhow::Result<u64> {
        let writing = || format!("write the backup {}", self.path.display());
        let out = self.out.take().context("write the backup: it is done already")?;
        let file = out.into_inner().map_err(|error| error.into_error()).with_context(writing)?;
        file.sync_all().with_context(writing)?;
        let bytes = file.metadata().with_context(writing)?.len();
        self.name()?;
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent).and_then(|dir| dir.sync_all()).with_context(writing)?;
        Ok(bytes)
    }

    fn name(&self) -> anyhow::Result<()> {
        let writing = || format!("write the backup {}", self.path.display());
        if self.force {
            return fs::rename(&self.beside, &self.path).with_context(writing);
        }
        match renameat_with(CWD, &self.beside, CWD, &self.path, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => bail!("{}", taken(&self.path)),
            // Not every file system can; there was none a moment ago.
            Err(Errno::INVAL | Errno::NOSYS) => fs::rename(&self.beside, &self.path).with_context(writing),
            Err(error) => Err(error).with_context(writing),
        }
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.out.as_mut().map_or(Ok(0), |out| out.write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Under its name by then, or of no use.
        let _ = fs::remove_file(&self.beside);
    }
}

fn taken(path: &Path) -> String {
    format!(
        "write the backup {}: there is a file already; choose another name, or use --force to replace it",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_there_whole_or_not_at_all_and_replaces_none_by_chance() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("backup");
        let mut draft = Draft::begin(&path, false).unwrap();
        draft.write_all(b"half").unwrap();
        assert!(!path.exists());
        drop(draft);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let mut draft = Draft::begin(&path, false).unwrap();
        draft.write_all(b"whole").unwrap();
        assert_eq!(draft.finish().unwrap(), 5);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Draft::begin(&path, false).unwrap_err().to_string().contains("--force"));
        let mut draft = Draft::begin(&path, true).unwrap();
        draft.write_all(b"other").unwrap();
        draft.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"other");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_name_that_was_taken_meanwhile_and_one_that_is_none_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("backup");
        let draft = Draft::begin(&path, false).unwrap();
        fs::write(&path, b"mine").unwrap();
        assert!(draft.finish().unwrap_err().to_string().contains("there is a file already"));
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        assert!(Draft::begin(dir.path(), true).unwrap_err().to_string().contains("is a directory"));
        assert!(Draft::begin(&dir.path().join("no/such"), false).is_err());
    }
}
