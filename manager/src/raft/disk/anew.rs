//! A raft directory that begins a new life: everything that another one or a backup tells, one voter under a number never used, and an
//! index and a term beyond all that were.
//!
//! The new directory is made whole beside the old one and takes its place in one step, so that a crash at any moment leaves the old or
//! the new. The old one stays as `NAME.before`, until the next time or until the node leaves.
#![expect(clippy::disallowed_methods, reason = "driver: owns the raft directory")]

use std::fs;
use std::path::{Path, PathBuf};

use raft::eraftpb::{ConfState, Entry, EntryType, SnapshotMetadata};
use raft::storage::{GetEntriesContext, Storage};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::super::error::RaftError;
use super::super::log::{Log, founded_by};
use super::super::run::Home;
use super::{Birth, RaftDir, snapshot, sync_dir, wal};
use crate::store::{State, Store, Transaction, codec};

/// How far the first index of a new life lies beyond the last that is known. Other managers may have gone on for as long as a cluster
/// takes changes, and the versions of objects, by which agents tell newer orders from older ones, are indexes: four thousand millions
/// are a thousand changes a second for fifty days.
const LEAP: u64 = 1 << 32;

/// What a new life begins with.
#[derive(Debug)]
pub struct Heritage {
    store: Store,
    term: u64,
    /// The directory that it is from, locked.
    _dir: Option<RaftDir>,
}

impl Heritage {
    /// Reads all that a member has: the snapshot and every entry behind it. An entry that this member does not know to be committed
    /// counts, too: it may have been acknowledged by those who are gone. Changes nothing.
    ///
    /// # Errors
    /// When the directory is in use, empty or damaged.
    pub fn read(home: &Home) -> Result<Self, RaftError> {
        let path = &home.dir;
        let dir = RaftDir::open(path, Birth::Resume, home.node_key.as_ref())?;
        let loaded = snapshot::read_newest(&dir)?;
        let past = wal::Past::read(&dir, loaded.is_some())?;
        let begun = match &loaded {
            Some(loaded) => loaded.about.clone(),
            None if dir.member.founded => founded_by(dir.member.raft_id),
            None => SnapshotMetadata::default(),
        };
        let index = begun.index;
        let gap = || RaftError::Gap { dir: path.clone(), index };
        let log = Log::recover(begun, past.saved).ok_or_else(gap)?;
        let (store, _) = Store::new();
        if let Some(loaded) = loaded {
            store.install(loaded.state);
        }
        let entries = log.entries(index + 1, log.last() + 1, None, GetEntriesContext::empty(false));
        entries.map_err(|_| gap())?.iter().for_each(|entry| replay(&store, entry));
        Ok(Self { store, term: log.hard_state().term, _dir: Some(dir) })
    }

    /// A state that came from elsewhere, as of a term.
    #[must_use]
    pub fn of(state: State, term: u64) -> Self {
        let (store, _) = Store::new();
        store.install(state);
        Self { store, term, _dir: None }
    }

    /// The state, to decide what is to become of it.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Makes the new directory, with what `first` says for the number that was drawn as its first change; what was there
    /// before is put aside. On an error nothing has changed.
    ///
    /// # Errors
    /// When the disk refuses, or `first` has nothing to say for this state.
    pub fn begin(self, home: &Home, first: impl FnOnce(&State, u64) -> Option<Transaction>) -> Result<(), RaftError> {
        let beside = sibling(&home.dir, "new");
        remove(&beside)?;
        let made = self.write(home, &beside, first);
        made.and_then(|()| put(&beside, &home.dir)).inspect_err(|_| drop(fs::remove_dir_all(&beside)))
    }

    fn write(
        &self,
        home: &Home,
        beside: &Path,
        first: impl FnOnce(&State, u64) -> Option<Transaction>,
    ) -> Result<(), RaftError> {
        let dir = RaftDir::open(beside, Birth::Join, home.node_key.as_ref())?;
        let voter = dir.member.raft_id;
        let foreign = || RaftError::Foreign { path: home.dir.clone() };
        let transaction = first(&self.store.read(), voter).ok_or_else(foreign)?;
        let index = self.store.read().index().saturating_add(LEAP);
        self.store
            .apply(index, vec![transaction])
            .into_iter()
            .try_for_each(|made| made.map(drop))
            .map_err(|_| foreign())?;
        let mut about = SnapshotMetadata { index, term: self.term + 1, ..SnapshotMetadata::default() };
        about.set_conf_state(ConfState { voters: vec![voter], ..ConfState::default() });
        snapshot::write(&dir, &about, self.store.hold()).map(drop)
    }
}

/// As every member applies it: what cannot be read changes nothing.
fn replay(store: &Store, entry: &Entry) {
    let holds_changes = entry.get_entry_type() == EntryType::EntryNormal && !entry.data.is_empty();
    let transactions = if holds_changes { codec::decode(&entry.data).unwrap_or_default() } else { Vec::new() };
    let known: Vec<Transaction> = transactions.into_iter().flatten().collect();
    store.apply(entry.index, known);
}

/// Puts a directory into the place of another, or where none is.
fn put(beside: &Path, path: &Path) -> Result<(), RaftError> {
    let parent = path.parent().unwrap_or(Path::new("."));
    if !path.exists() {
        fs::rename(beside, path).map_err(RaftError::file("rename", beside))?;
        return sync_dir(parent);
    }
    let before = sibling(path, "before");
    remove(&before)?;
    match renameat_with(CWD, beside, CWD, path, RenameFlags::EXCHANGE) {
        // The new one is in its place already; the old one may lie under either name.
        Ok(()) => drop(fs::rename(beside, &before)),
        // Some file systems cannot exchange. A crash between the two steps leaves both directories, neither under its name.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            fs::rename(path, &before).map_err(RaftError::file("rename", path))?;
            fs::rename(beside, path).map_err(RaftError::file("rename", beside))?;
        }
        Err(error) => return Err(RaftError::file("rename", beside)(error.into())),
    }
    sync_dir(parent)
}

/// Puts a raft directory aside: this member takes no part any more. What it holds stays as `NAME.before`.
///
/// # Errors
/// When the disk refuses.
pub fn put_aside(path: &Path) -> Result<(), RaftError> {
    let before = sibling(path, "before");
    remove(&before)?;
    fs::rename(path, &before).map_err(RaftError::file("rename", path))?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// What lies beside a raft directory, on purpose or after a crash.
#[must_use]
pub fn siblings(path: &Path) -> [PathBuf; 2] {
    [sibling(path, "new"), sibling(path, "before")]
}

fn sibling(path: &Path, word: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(word);
    path.with_file_name(name)
}

fn remove(dir: &Path) -> Result<(), RaftError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(RaftError::file("remove", dir)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
