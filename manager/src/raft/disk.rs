//! The raft directory: `member` (who this is), `key`, `wal/` and `snap/`.
#![expect(clippy::disallowed_methods, reason = "driver: owns the raft directory")]

pub(super) mod anew;
pub(super) mod key;
pub(super) mod snapshot;
pub(super) mod wal;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ring::rand::{SecureRandom, SystemRandom};
use skep_proto::seal::NodeKey;

use super::error::RaftError;
use super::seal::{KEY_LEN, Keys};
use crate::sys;

/// What an empty directory becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Birth {
    /// The first member of a new cluster.
    Found,
    /// A member of a cluster that will be told of it.
    Join,
    /// Nothing: what was written before must be there.
    Resume,
}

/// Who this member is. Written once, before anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// Drawn at random: a number that was never used is never used again, even by a cluster that was taken back to a backup.
    pub(super) raft_id: u64,
    /// It is the one voter that its cluster began with.
    pub(super) founded: bool,
}

/// The directory, locked for this process.
#[derive(Debug)]
pub(super) struct RaftDir {
    path: PathBuf,
    pub(super) member: Identity,
    ring: Mutex<Ring>,
    /// What was written before must be there.
    pub(super) resumes: bool,
    /// Held open: the lock ends with it.
    _lock: Lock,
}

/// What opens its files, and what that lies under.
#[derive(Debug)]
struct Ring {
    keys: Arc<Keys>,
    node_key: Option<NodeKey>,
}

impl RaftDir {
    /// Opens or makes the directory with its key, which lies there sealed with the node's if there is one.
    pub(super) fn open(path: &Path, birth: Birth, node_key: Option<&NodeKey>) -> Result<Self, RaftError> {
        if birth == Birth::Resume && read_member(path)?.is_none() {
            return Err(RaftError::Empty { path: path.to_owned() });
        }
        for dir in [path.to_owned(), path.join("wal"), path.join("snap")] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
            made.map_err(RaftError::file("create", &dir))?;
        }
        let lock = lock(&path.join("lock"))?;
        let ring = Mutex::new(Ring { keys: Arc::new(key::open(path, node_key)?), node_key: node_key.cloned() });
        let member = read_member(path)?.map_or_else(|| make_member(path, birth), Ok)?;
        snapshot::delete_unfinished(&path.join("snap"))?;
        Ok(Self { path: path.to_owned(), member, ring, resumes: birth == Birth::Resume, _lock: lock })
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What its files are under at present.
    pub(super) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.ring.lock().keys)
    }

    /// Has the key lie there sealed or in clear. `true`: files that are begun from now on are under another one, because the old one lay
    /// there in clear; the log is to go on in a new file, and a new snapshot is to be made.
    pub(super) fn keep_key(&self, node_key: &NodeKey, sealed: bool) -> Result<bool, RaftError> {
        let mut ring = self.ring.lock();
        let replaced = if sealed { key::replace(&self.path, node_key)? } else { None };
        if !sealed {
            key::keep(&self.path, node_key, false)?;
        }
        ring.node_key = Some(node_key.clone());
        let is_new = replaced.is_some();
        ring.keys = replaced.map_or_else(|| Arc::clone(&ring.keys), Arc::new);
        Ok(is_new)
    }

    /// Forgets keys that no file is under any more.
    pub(super) fn retire_keys(&self) -> Result<(), RaftError> {
        let mut ring = self.ring.lock();
        ring.keys = Arc::new(key::retire(&self.path, ring.node_key.as_ref())?);
        Ok(())
    }

    /// What is undamaged does not open.
    fn wrong_key(&self) -> RaftError {
        RaftError::Key { path: self.path.join("key"), why: "it is not the one that wrote the log" }
    }

    /// Where the log's files are.
    pub(super) fn wal(&self) -> PathBuf {
        self.path.join("wal")
    }

    /// Where the snapshots are.
    pub(super) fn snap(&self) -> PathBuf {
        self.path.join("snap")
    }
}

/// Who this member is; `None` in a directory that was never used.
fn read_member(dir: &Path) -> Result<Option<Identity>, RaftError> {
    let path = dir.join("member");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(RaftError::File { action: "read", path, source }),
    };
    let member = text.trim_end().split_once(' ').and_then(|(how, id)| {
        let founded = ["joined", "founded"].iter().position(|word| *word == how)? == 1;
        Some(Identity { raft_id: id.parse().ok().filter(|id| *id != 0)?, founded })
    });
    member.map(Some).ok_or(RaftError::Member { path })
}

fn make_member(dir: &Path, birth: Birth) -> Result<Identity, RaftError> {
    if !list(&dir.join("wal"))?.is_empty() || !list(&dir.join("snap"))?.is_empty() {
        return Err(RaftError::Member { path: dir.join("member") });
    }
    let bits = u64::try_from(sys::random_bits() >> 64).expect("the upper half of 128 bits");
    let member = Identity { raft_id: bits.max(1), founded: birth == Birth::Found };
    let how = if member.founded { "founded" } else { "joined" };
    write_file(dir, "member", format!("{how} {}\n", member.raft_id).as_bytes())?;
    Ok(member)
}

/// The lock of a directory.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    /// In so many words, since a process that is being born from this one just now has the open file, too, and would keep it.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// How long whoever had the directory may take to let go of it: a manager that was stopped may still have a snapshot on its way.
const LET_GO_MAX: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

fn lock(path: &Path) -> Result<Lock, RaftError> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = file.map_err(RaftError::file("open", path))?;
    let deadline = Instant::now() + LET_GO_MAX;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock(file)),
            Err(fs::TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOOK_AGAIN),
            Err(fs::TryLockError::WouldBlock) => return Err(RaftError::Locked { path: path.to_owned() }),
            Err(fs::TryLockError::Error(source)) => {
                return Err(RaftError::File { action: "lock", path: path.to_owned(), source });
            }
        }
    }
}

/// Writes a small file so that a crash leaves all of it or nothing.
fn write_file(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), RaftError> {
    let (path, temporary) = (dir.join(name), dir.join(format!("{name}.tmp")));
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary);
    let mut file = file.map_err(RaftError::file("create", &temporary))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(RaftError::file("write", &temporary))?;
    fs::rename(&temporary, &path).map_err(RaftError::file("rename", &temporary))?;
    sync_dir(dir)
}

/// Random bytes for a key or a salt.
fn random() -> [u8; KEY_LEN] {
    let mut bytes = [0; KEY_LEN];
    SystemRandom::new().fill(&mut bytes).expect("the kernel's random source does not fail once it is up");
    bytes
}

/// Makes names in a directory durable.
fn sync_dir(dir: &Path) -> Result<(), RaftError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(RaftError::file("sync", dir))
}

/// Names in a directory, in order.
fn list(dir: &Path) -> Result<Vec<String>, RaftError> {
    let entries = fs::read_dir(dir).map_err(RaftError::file("list", dir))?;
    let names: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.file_name())).collect();
    let names = names.map_err(RaftError::file("list", dir))?;
    let mut names: Vec<String> = names.into_iter().filter_map(|name| name.into_string().ok()).collect();
    names.sort_unstable();
    Ok(names)
}
