//! The vault: the lock's file, and the node key once it is known.
#![expect(clippy::disallowed_methods, reason = "driver: owns the lock's file")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use ring::rand::{SecureRandom, SystemRandom};
use skep_proto::model::{Autolock, KeyId, UnlockKey};
use skep_proto::seal::{self, CHANCE_LEN, KEY_LEN, NodeKey};
use zeroize::Zeroizing;

use super::error::VaultError;
use super::file::{LockFile, SealedKey};
use crate::disk::{read_bounded, replace};

/// A machine's vault. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Vault {
    data_dir: PathBuf,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    file: LockFile,
    node_key: Option<NodeKey>,
    /// Version of the change that all files are in line with.
    settled: u64,
}

/// Nobody changes the vault, or a file that is sealed with it, while it is held.
#[derive(Debug)]
pub(crate) struct Held<'a>(MutexGuard<'a, Inner>);

impl Vault {
    /// The vault of that data directory. What is in it is known after [`Vault::read`]; until then it is empty.
    #[must_use]
    pub fn at(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned(), inner: Arc::default() }
    }

    /// The directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Reads the lock's file. A node key that is known already stays known.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged.
    pub fn read(&self) -> Result<(), VaultError> {
        let path = self.path();
        let file = match read_bounded(&path) {
            Ok(bytes) => LockFile::decode(&bytes).map_err(|problem| VaultError::Damaged { path, problem })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => LockFile::default(),
            Err(source) => return Err(VaultError::Read { path, source }),
        };
        self.inner.lock().file = file;
        Ok(())
    }

    /// The unlock key that opens it: while it is on.
    #[must_use]
    pub fn locked_with(&self) -> Option<KeyId> {
        self.inner.lock().file.sealed.as_ref().map(|sealed| sealed.by)
    }

    /// The unlock key without which this machine's keys cannot be used; `None` once it was given, and while the vault is off.
    #[must_use]
    pub fn asks_for(&self) -> Option<KeyId> {
        let inner = self.inner.lock();
        inner.file.sealed.as_ref().filter(|_| inner.node_key.is_none()).map(|sealed| sealed.by)
    }

    /// Opens it: the node key is known from now on.
    ///
    /// # Errors
    /// When it is another key; nothing has changed then.
    pub fn unlock(&self, key: &UnlockKey) -> Result<(), VaultError> {
        let mut inner = self.inner.lock();
        let sealed = inner.file.sealed.as_ref().ok_or(VaultError::NotLocked)?;
        if sealed.by != key.id() {
            return Err(VaultError::WrongKey { asked: sealed.by, given: key.id() });
        }
        let damaged = || VaultError::Damaged {
            path: self.path(),
            problem: "its key does not open, though the unlock key is right",
        };
        let node_key = sealed.open(key).ok_or_else(damaged)?;
        inner.node_key = Some(node_key);
        Ok(())
    }

    /// What to seal with: while the vault is on and open.
    #[must_use]
    pub fn node_key(&self) -> Option<NodeKey> {
        self.inner.lock().node_key.clone()
    }

    /// Version of the managers' change that was followed last.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.inner.lock().file.version
    }

    /// Everything on this machine is in line with the change that was followed last.
    pub fn settle(&self) {
        let mut inner = self.inner.lock();
        inner.settled = inner.file.version;
    }

    /// Version of the change that everything here is in line with.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.inner.lock().settled
    }

    /// Follows the managers into a key that is newer than the one known; anything else it leaves alone. On return it is on disk.
    ///
    /// # Errors
    /// When the disk refuses, or the vault is locked; it is as it was then.
    pub fn engage(&self, lock: &Autolock) -> Result<(), VaultError> {
        let mut inner = self.inner.lock();
        let Some(key) = lock.key.as_ref().filter(|_| lock.version > inner.file.version) else { return Ok(()) };
        let node_key = match (&inner.node_key, &inner.file.sealed) {
            (Some(node_key), _) => node_key.clone(),
            (None, None) => NodeKey::new(*random::<KEY_LEN>()),
            (None, Some(sealed)) => return Err(VaultError::Locked { asked: sealed.by }),
        };
        let sealed = SealedKey::new(&node_key, key, *random());
        let file = LockFile { version: lock.version, sealed: Some(sealed) };
        self.write(&file)?;
        (inner.file, inner.node_key) = (file, Some(node_key));
        Ok(())
    }

    /// Autolock is off: nothing is sealed with the node key any more, and it goes.
    ///
    /// # Errors
    /// When the disk refuses; it is as it was then.
    pub fn disengage(&self, version: u64) -> Result<(), VaultError> {
        let mut inner = self.inner.lock();
        let file = LockFile { version, sealed: None };
        self.write(&file)?;
        (inner.file, inner.node_key) = (file, None);
        Ok(())
    }

    /// The machine is no manager any more, or of no swarm: the lock goes.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn forget(&self) -> Result<(), VaultError> {
        let mut inner = self.inner.lock();
        let path = self.path();
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(VaultError::Write { path, source }),
            _ => *inner = Inner::default(),
        }
        Ok(())
    }

    /// Keeps everybody else from changing the vault or what is sealed with it.
    pub(crate) fn hold(&self) -> Held<'_> {
        Held(self.inner.lock())
    }

    fn path(&self) -> PathBuf {
        self.data_dir.join("lock.json")
    }

    fn write(&self, file: &LockFile) -> Result<(), VaultError> {
        let path = self.path();
        replace(&path, &file.encode(), 0o600).map_err(|source| VaultError::Write { path, source })
    }
}

impl Held<'_> {
    /// It is on and open.
    pub(crate) fn seals(&self) -> bool {
        self.0.node_key.is_some()
    }

    /// Seals a secret; `None` while the vault is off or locked.
    pub(crate) fn seal(&self, purpose: &str, secret: &[u8]) -> Option<Vec<u8>> {
        let key = self.0.node_key.as_ref()?;
        Some(seal::seal(key.as_bytes(), purpose, *random(), secret))
    }

    /// Opens a secret.
    pub(crate) fn open(&self, purpose: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        seal::open(self.0.node_key.as_ref()?.as_bytes(), purpose, sealed)
    }
}

/// Bytes that nobody can guess.
pub(crate) fn random<const LEN: usize>() -> Zeroizing<[u8; LEN]> {
    let mut bytes = Zeroizing::new([0; LEN]);
    SystemRandom::new().fill(&mut *bytes).expect("the kernel's random source does not fail once it is up");
    bytes
}

/// A key for a swarm whose managers are to lock themselves.
#[must_use]
pub fn draw_unlock_key() -> UnlockKey {
    UnlockKey::new(*random())
}

// Chance is drawn by length; this is the one that sealing takes.
const _: () = assert!(CHANCE_LEN < KEY_LEN);

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> UnlockKey {
        UnlockKey::new([number; 32])
    }

    fn opened(dir: &Path) -> Vault {
        let vault = Vault::at(dir);
        vault.read().unwrap();
        vault
    }

    #[test]
    fn it_asks_for_the_key_that_is_in_force_and_refuses_others_without_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let vault = opened(dir.path());
        assert_eq!((vault.asks_for(), vault.node_key(), vault.version()), (None, None, 0));
        let first = Autolock::default().with(Some(key(1)));
        vault.engage(&first).unwrap();
        let node_key = vault.node_key().unwrap();
        assert_eq!(vault.asks_for(), None, "who made it knows it");
        vault.engage(&first.with(Some(key(2)))).unwrap();
        assert_eq!(vault.node_key().unwrap(), node_key, "another unlock key seals the same node key");
        let again = opened(dir.path());
        assert_eq!((again.asks_for(), again.node_key()), (Some(key(2).id()), None));
        let before = fs::read(dir.path().join("lock.json")).unwrap();
        let wrong = again.unlock(&key(1)).unwrap_err().to_string();
        assert!(wrong.contains(&key(2).id().to_string()) && wrong.contains(&key(1).id().to_string()), "{wrong}");
        assert!(matches!(again.engage(&first.with(None).with(Some(key(9)))), Err(VaultError::Locked { .. })));
        assert_eq!(fs::read(dir.path().join("lock.json")).unwrap(), before);
        again.unlock(&key(2)).unwrap();
        assert_eq!((again.node_key(), again.asks_for()), (Some(node_key), None));
    }

    #[test]
    fn what_is_long_over_is_not_followed_again() {
        let dir = tempfile::tempdir().unwrap();
        let vault = opened(dir.path());
        let first = Autolock::default().with(Some(key(1)));
        let second = first.with(Some(key(2)));
        vault.engage(&second).unwrap();
        vault.engage(&first).unwrap();
        assert_eq!(vault.locked_with(), Some(key(2).id()));
        vault.disengage(3).unwrap();
        vault.engage(&second).unwrap();
        let again = opened(dir.path());
        assert_eq!((again.locked_with(), again.version()), (None, 3));
        assert!(matches!(again.unlock(&key(2)), Err(VaultError::NotLocked)));
        again.forget().unwrap();
        again.forget().unwrap();
        assert_eq!(opened(dir.path()).version(), 0);
    }

    #[test]
    fn a_damaged_lock_says_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("lock.json"), "{").unwrap();
        let text = Vault::at(dir.path()).read().unwrap_err().to_string();
        assert!(text.contains("leave --force"), "{text}");
    }
}
