//! Disks that are full, or hang.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system of its own for a machine's data.
#[derive(Debug)]
pub(crate) struct Disk {
    at: PathBuf,
    /// The file that holds it, where a disk is to hang; else it is memory.
    image: Option<tempfile::NamedTempFile>,
}

impl Disk {
    /// Of memory: fills up, never hangs.
    pub(crate) fn small(at: &Path, megabytes: u32) -> Self {
        fs::create_dir_all(at).expect("make a directory");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "skep-test"]).arg(at));
        Self { at: at.to_owned(), image: None }
    }

    /// Of a file: it can be frozen. `None` where a machine has no loop devices.
    pub(crate) fn freezable(at: &Path, megabytes: u64) -> Option<Self> {
        fs::create_dir_all(at).expect("make a directory");
        let image = tempfile::NamedTempFile::new().expect("make a file");
        image.as_file().set_len(megabytes << 20).expect("make it large");
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image.path()));
        let mounted = Command::new("mount").args(["-o", "loop"]).arg(image.path()).arg(at).output();
        mounted.is_ok_and(|mounted| mounted.status.success()).then(|| Self { at: at.to_owned(), image: Some(image) })
    }

    /// Leaves no room on it.
    pub(crate) fn fill(&self) {
        let mut ballast = fs::File::create(self.at.join("ballast")).expect("make a file");
        for size in [64 << 10, 1] {
            while ballast.write_all(&vec![1; size]).is_ok() {}
        }
    }

    /// Makes room again.
    pub(crate) fn empty(&self) {
        fs::remove_file(self.at.join("ballast")).expect("remove a file");
    }

    /// Every write hangs from now on, as on a disk that does not answer.
    pub(crate) fn freeze(&self) {
        run(Command::new("fsfreeze").arg("--freeze").arg(&self.at));
    }

    /// What hung goes on.
    pub(crate) fn thaw(&self) {
        run(Command::new("fsfreeze").arg("--unfreeze").arg(&self.at));
    }

    /// The same, whether or not anything hung: a process cannot even be killed while it waits for a frozen disk.
    pub(crate) fn let_go(&self) {
        if self.image.is_some() {
            drop(Command::new("fsfreeze").arg("--unfreeze").arg(&self.at).output());
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.let_go();
        drop(Command::new("umount").arg("-l").arg(&self.at).output());
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("run a command");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
