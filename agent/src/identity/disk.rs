//! `DATA/certificates/`: `node.pem` holds the key and its certificate in one file, so that they are always of one pair;
//! `root.pem` holds the root.

use std::io;
use std::path::{Path, PathBuf};

use super::certificate::Identity;
use super::error::IdentityError;
use crate::disk::{make_private_dir, read_bounded, replace};

/// What the key's part ends with.
const KEY_END: &str = "-----END PRIVATE KEY-----\n";

fn dir(data_dir: &Path) -> PathBuf {
    data_dir.join("certificates")
}

/// Writes the identity; on return it is on disk. The root comes first: a pair without its root could not be used.
///
/// # Errors
/// When the disk is full or broken.
pub fn store(data_dir: &Path, identity: &Identity) -> Result<(), IdentityError> {
    let dir = dir(data_dir);
    make_private_dir(&dir).map_err(|source| IdentityError::Write { path: dir.clone(), source })?;
    write(&dir.join("root.pem"), &identity.root, 0o644)?;
    write(&dir.join("node.pem"), &format!("{}{}", identity.key, identity.certificate), 0o600)
}

/// Reads the identity; `None` when this machine is no node.
///
/// # Errors
/// When the files cannot be read or are damaged.
pub fn load(data_dir: &Path) -> Result<Option<Identity>, IdentityError> {
    let dir = dir(data_dir);
    let Some(pair) = read(&dir.join("node.pem"))? else { return Ok(None) };
    let Some(root) = read(&dir.join("root.pem"))? else { return Ok(None) };
    let at = pair.find(KEY_END).map(|at| at + KEY_END.len());
    let (key, certificate) =
        at.map(|at| pair.split_at(at)).ok_or(IdentityError::Certificate { problem: "it has no key" })?;
    Identity::new(certificate.to_owned(), key.to_owned(), root).map(Some)
}

/// Forgets the identity: the node has left. The key goes first.
///
/// # Errors
/// When the files cannot be removed.
pub fn remove(data_dir: &Path) -> Result<(), IdentityError> {
    let dir = dir(data_dir);
    ["node.pem", "root.pem"].into_iter().map(|name| dir.join(name)).try_for_each(|path| unlink(&path))?;
    // Somebody's own files may be in there; then it stays.
    let _ = std::fs::remove_dir(&dir);
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "driver: owns the certificates' files")]
fn unlink(path: &Path) -> Result<(), IdentityError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(IdentityError::Write { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), IdentityError> {
    replace(path, text.as_bytes(), mode).map_err(|source| IdentityError::Write { path: path.to_owned(), source })
}

fn read(path: &Path) -> Result<Option<String>, IdentityError> {
    let text = read_bounded(path).and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other));
    match text {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IdentityError::Read { path: path.to_owned(), source }),
    }
}
