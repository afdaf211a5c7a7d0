//! The data key's file: 32 bytes in clear, or sealed with the node's key while managers lock themselves.
//!
//! A key that lay there in clear may have been copied, so that sealing it draws another one for all files from then on. The old one stays
//! beside it, sealed too, until no file is under it any more: 32 bytes for each, the newest first.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};
use skep_proto::seal::{self, CHANCE_LEN, NodeKey};
use zeroize::Zeroizing;

use super::super::error::RaftError;
use super::super::seal::{KEY_LEN, Keys};
use super::{list, random, write_file};

/// What a sealed key's file begins with.
const MAGIC: &[u8; 8] = b"skepkey1";

/// What the node's key seals.
const PURPOSE: &str = "skep raft data key";

/// Longest file that is looked at; a sealed key has 68 bytes.
const FILE_LEN_MAX: u64 = 1024;

/// Keys that are kept. Each replacement ends with a snapshot, after which the old ones go; so many of them without one between mean a disk that
/// takes none, and then the newest key is as good as another.
const KEYS_MAX: usize = 16;

/// The keys as they lie there.
#[derive(Debug)]
enum Lying {
    Clear(Zeroizing<Vec<u8>>),
    Sealed(Vec<u8>),
}

/// Reads the data key; makes it if nothing was encrypted yet. With a node's key a new one is sealed from its first byte on.
pub(super) fn open(dir: &Path, node_key: Option<&NodeKey>) -> Result<Keys, RaftError> {
    match read(dir)? {
        Some(lying) => keys(dir, &unsealed(dir, lying, node_key)?),
        None => make(dir, node_key),
    }
}

/// Seals what lies there in clear, and draws another key for all that is written from now on; `None`: it is sealed already.
pub(super) fn replace(dir: &Path, node_key: &NodeKey) -> Result<Option<Keys>, RaftError> {
    let Some(Lying::Clear(before)) = read(dir)? else { return Ok(None) };
    let fresh = if before.len() < KEYS_MAX * KEY_LEN { random().to_vec() } else { Vec::new() };
    let all = Zeroizing::new([fresh.as_slice(), before.as_slice()].concat());
    seal_over(dir, &all, node_key)?;
    keys(dir, &all).map(Some)
}

/// No file is under an old key any more: they go, and the newest lies there as it did.
pub(super) fn retire(dir: &Path, node_key: Option<&NodeKey>) -> Result<Keys, RaftError> {
    let lying = read(dir)?.ok_or(RaftError::Key { path: path(dir), why: "it is missing" })?;
    let is_sealed = matches!(lying, Lying::Sealed(_));
    let mut all = unsealed(dir, lying, node_key)?;
    all.truncate(KEY_LEN);
    match node_key.filter(|_| is_sealed) {
        Some(node_key) => write_file(dir, "key", &encode(&all, node_key))?,
        None => write_file(dir, "key", &all)?,
    }
    keys(dir, &all)
}

fn keys(dir: &Path, bytes: &[u8]) -> Result<Keys, RaftError> {
    Keys::new(bytes)
        .ok_or(RaftError::Key { path: path(dir), why: "what is in it is not 32 bytes long, nor several times that" })
}

/// Whether the key lies there sealed; a directory without one has none that is.
///
/// # Errors
/// When the file cannot be read or is none of ours.
pub fn is_sealed(dir: &Path) -> Result<bool, RaftError> {
    Ok(matches!(read(dir)?, Some(Lying::Sealed(_))))
}

/// Has the keys of a directory that nobody writes to any more lie there sealed or in clear. What was there in clear is overwritten.
///
/// # Errors
/// When the disk is full or broken, or the key was sealed with another node's.
pub fn keep(dir: &Path, node_key: &NodeKey, sealed: bool) -> Result<(), RaftError> {
    match read(dir)? {
        Some(Lying::Clear(all)) if sealed => seal_over(dir, &all, node_key),
        Some(lying @ Lying::Sealed(_)) if !sealed => {
            let key = unsealed(dir, lying, Some(node_key))?;
            write_file(dir, "key", &key)
        }
        _ => Ok(()),
    }
}

/// A rename alone leaves what was there on the device until its blocks are needed.
fn seal_over(dir: &Path, all: &[u8], node_key: &NodeKey) -> Result<(), RaftError> {
    let before = OpenOptions::new().write(true).open(path(dir)).map_err(RaftError::file("open", &path(dir)))?;
    write_file(dir, "key", &encode(all, node_key))?;
    wipe(before).map_err(RaftError::file("overwrite", &path(dir)))
}

fn wipe(mut before: File) -> std::io::Result<()> {
    let len = usize::try_from(before.metadata()?.len().min(FILE_LEN_MAX)).unwrap_or_default();
    before.write_all(&vec![0; len])?;
    before.sync_all()
}

fn path(dir: &Path) -> PathBuf {
    dir.join("key")
}

fn read(dir: &Path) -> Result<Option<Lying>, RaftError> {
    let path = path(dir);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(RaftError::File { action: "open", path, source }),
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(128));
    file.take(FILE_LEN_MAX).read_to_end(&mut bytes).map_err(RaftError::file("read", &path))?;
    if let Some(sealed) = bytes.strip_prefix(MAGIC) {
        return Ok(Some(Lying::Sealed(sealed.to_vec())));
    }
    if bytes.is_empty() || bytes.len() % KEY_LEN != 0 {
        return Err(RaftError::Key { path, why: "it is neither 32 bytes long nor sealed" });
    }
    Ok(Some(Lying::Clear(bytes)))
}

fn unsealed(dir: &Path, lying: Lying, node_key: Option<&NodeKey>) -> Result<Zeroizing<Vec<u8>>, RaftError> {
    let sealed = match lying {
        Lying::Clear(key) => return Ok(key),
        Lying::Sealed(sealed) => sealed,
    };
    let wrong = |why| RaftError::Key { path: path(dir), why };
    let node_key = node_key.ok_or(wrong("it is sealed, and this manager is not unlocked"))?;
    seal::open(node_key.as_bytes(), PURPOSE, &sealed).ok_or(wrong("it was sealed on another machine, or damaged"))
}

fn make(dir: &Path, node_key: Option<&NodeKey>) -> Result<Keys, RaftError> {
    if !list(&dir.join("wal"))?.is_empty() || !list(&dir.join("snap"))?.is_empty() {
        return Err(RaftError::Key { path: path(dir), why: "it is missing" });
    }
    let bytes = Zeroizing::new(random());
    match node_key {
        Some(node_key) => write_file(dir, "key", &encode(&*bytes, node_key))?,
        None => write_file(dir, "key", &*bytes)?,
    }
    keys(dir, &*bytes)
}

fn encode(key: &[u8], node_key: &NodeKey) -> Vec<u8> {
    let mut chance = [0; CHANCE_LEN];
    SystemRandom::new().fill(&mut chance).expect("the kernel's random source does not fail once it is up");
    [MAGIC.as_slice(), &seal::seal(node_key.as_bytes(), PURPOSE, chance, key)].concat()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::super::disk::{Birth, RaftDir};
    use super::*;

    fn bytes(dir: &Path) -> Vec<u8> {
        fs::read(path(dir)).unwrap()
    }

    fn why(dir: &Path, node_key: Option<&NodeKey>) -> String {
        RaftDir::open(dir, Birth::Resume, node_key).unwrap_err().to_string()
    }

    #[test]
    fn a_key_is_sealed_and_unsealed_where_it_lies_and_stays_the_same_key() {
        let temp = tempfile::tempdir().unwrap();
        let (dir, node_key) = (temp.path(), NodeKey::new([7; 32]));
        drop(RaftDir::open(dir, Birth::Found, None).unwrap());
        let clear = bytes(dir);
        fs::hard_link(path(dir), dir.join("old")).unwrap();
        keep(dir, &node_key, true).unwrap();
        assert!(is_sealed(dir).unwrap() && !bytes(dir).windows(KEY_LEN).any(|part| part == clear));
        assert_eq!(fs::read(dir.join("old")).unwrap(), [0; KEY_LEN], "what was there in clear is overwritten");
        assert!(why(dir, None).contains("not unlocked"));
        assert!(why(dir, Some(&NodeKey::new([8; 32]))).contains("another machine"));
        drop(RaftDir::open(dir, Birth::Resume, Some(&node_key)).unwrap());
        let sealed = bytes(dir);
        keep(dir, &node_key, true).unwrap();
        assert_eq!(bytes(dir), sealed, "it is as it should be");
        assert!(keep(dir, &NodeKey::new([8; 32]), false).is_err());
        keep(dir, &node_key, false).unwrap();
        assert_eq!(bytes(dir), clear);
        drop(RaftDir::open(dir, Birth::Resume, Some(&node_key)).unwrap());
    }

    #[test]
    fn what_lay_in_clear_is_replaced_when_it_is_sealed_and_stays_until_it_is_not_needed() {
        let temp = tempfile::tempdir().unwrap();
        let (dir, node_key) = (temp.path(), NodeKey::new([7; 32]));
        drop(RaftDir::open(dir, Birth::Found, None).unwrap());
        let first = bytes(dir);
        let lies = |sealed: bool| {
            let lying = read(dir).unwrap().unwrap();
            assert_eq!(matches!(lying, Lying::Sealed(_)), sealed);
            unsealed(dir, lying, Some(&node_key)).unwrap().to_vec()
        };
        assert!(replace(dir, &node_key).unwrap().unwrap().has_old());
        let second = lies(true);
        assert!(second.len() == 64 && second[32..] == first && second[..32] != first);
        assert!(replace(dir, &node_key).unwrap().is_none(), "it is sealed");
        keep(dir, &node_key, false).unwrap();
        assert_eq!(lies(false), second);
        replace(dir, &node_key).unwrap();
        let third = lies(true);
        assert!(third.len() == 96 && third[32..] == second);
        assert!(!retire(dir, Some(&node_key)).unwrap().has_old());
        assert_eq!(lies(true), third[..32]);
        keep(dir, &node_key, false).unwrap();
        retire(dir, Some(&node_key)).unwrap();
        assert_eq!(lies(false), third[..32]);
        for _ in 0..2 * KEYS_MAX {
            replace(dir, &node_key).unwrap();
            keep(dir, &node_key, false).unwrap();
        }
        assert_eq!(lies(false).len(), KEYS_MAX * KEY_LEN);
        drop(RaftDir::open(dir, Birth::Resume, None).unwrap());
    }

    #[test]
    fn a_new_key_is_sealed_from_its_first_byte_on() {
        let temp = tempfile::tempdir().unwrap();
        assert!(!is_sealed(temp.path()).unwrap());
        drop(RaftDir::open(temp.path(), Birth::Join, Some(&NodeKey::new([7; 32]))).unwrap());
        assert!(is_sealed(temp.path()).unwrap());
        fs::write(path(temp.path()), b"skepkey1").unwrap();
        assert!(why(temp.path(), Some(&NodeKey::new([7; 32]))).contains("damaged"));
        fs::write(path(temp.path()), b"x").unwrap();
        assert!(why(temp.path(), None).contains("32 bytes"));
    }
}
