//! The data key's file: 32 bytes in clear, or sealed with the node's key while managers lock themselves.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};
use skep_proto::seal::{self, CHANCE_LEN, NodeKey};
use zeroize::Zeroizing;

use super::super::error::RaftError;
use super::super::seal::{DataKey, KEY_LEN};
use super::{list, random, write_file};

/// What a sealed key's file begins with.
const MAGIC: &[u8; 8] = b"skepkey1";

/// What the node's key seals.
const PURPOSE: &str = "skep raft data key";

/// Longest file that is looked at; a sealed key has 68 bytes.
const FILE_LEN_MAX: u64 = 1024;

/// The key as it lies there.
#[derive(Debug)]
enum Lying {
    Clear(Zeroizing<[u8; KEY_LEN]>),
    Sealed(Vec<u8>),
}

/// Reads the data key; makes it if nothing was encrypted yet. With a node's key a new one is sealed from its first byte on.
pub(super) fn open(dir: &Path, node_key: Option<&NodeKey>) -> Result<DataKey, RaftError> {
    match read(dir)? {
        Some(lying) => Ok(DataKey::new(&*unsealed(dir, lying, node_key)?)),
        None => make(dir, node_key),
    }
}

/// Whether the key lies there sealed; a directory without one has none that is.
///
/// # Errors
/// When the file cannot be read or is none of ours.
pub fn is_sealed(dir: &Path) -> Result<bool, RaftError> {
    Ok(matches!(read(dir)?, Some(Lying::Sealed(_))))
}

/// Has the key lie there sealed or in clear. The log that is open goes on with it. What was there in clear is overwritten.
///
/// # Errors
/// When the disk is full or broken, or the key was sealed with another node's.
pub fn keep(dir: &Path, node_key: &NodeKey, sealed: bool) -> Result<(), RaftError> {
    match read(dir)? {
        Some(Lying::Clear(key)) if sealed => {
            let before = OpenOptions::new().write(true).open(path(dir)).map_err(RaftError::file("open", &path(dir)))?;
            write_file(dir, "key", &encode(&key, node_key))?;
            wipe(before).map_err(RaftError::file("overwrite", &path(dir)))
        }
        Some(lying @ Lying::Sealed(_)) if !sealed => {
            let key = unsealed(dir, lying, Some(node_key))?;
            write_file(dir, "key", &*key)
        }
        _ => Ok(()),
    }
}

/// A rename alone leaves what was there on the device until its blocks are needed.
fn wipe(mut before: File) -> std::io::Result<()> {
    before.write_all(&[0; KEY_LEN])?;
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
    let key: Result<[u8; KEY_LEN], _> = bytes.as_slice().try_into();
    let key = key.map_err(|_| RaftError::Key { path, why: "it is neither 32 bytes long nor sealed" })?;
    Ok(Some(Lying::Clear(Zeroizing::new(key))))
}

fn unsealed(dir: &Path, lying: Lying, node_key: Option<&NodeKey>) -> Result<Zeroizing<[u8; KEY_LEN]>, RaftError> {
    let sealed = match lying {
        Lying::Clear(key) => return Ok(key),
        Lying::Sealed(sealed) => sealed,
    };
    let wrong = |why| RaftError::Key { path: path(dir), why };
    let node_key = node_key.ok_or(wrong("it is sealed, and this manager is not unlocked"))?;
    let key = seal::open(node_key.as_bytes(), PURPOSE, &sealed)
        .ok_or(wrong("it was sealed on another machine, or damaged"))?;
    let key = key.as_slice().try_into().map_err(|_| wrong("what is sealed in it is not 32 bytes long"))?;
    Ok(Zeroizing::new(key))
}

fn make(dir: &Path, node_key: Option<&NodeKey>) -> Result<DataKey, RaftError> {
    if !list(&dir.join("wal"))?.is_empty() || !list(&dir.join("snap"))?.is_empty() {
        return Err(RaftError::Key { path: path(dir), why: "it is missing" });
    }
    let bytes = Zeroizing::new(random());
    match node_key {
        Some(node_key) => write_file(dir, "key", &encode(&bytes, node_key))?,
        None => write_file(dir, "key", &*bytes)?,
    }
    Ok(DataKey::new(&bytes))
}

fn encode(key: &[u8; KEY_LEN], node_key: &NodeKey) -> Vec<u8> {
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
