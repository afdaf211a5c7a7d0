//! `DATA/certificates/`: `node.pem` holds the key and its certificate in one file, so that they are always of one pair;
//! `root.pem` holds the root. A manager's key is sealed with the vault's key while that is on; a worker's never is.

use std::io;
use std::path::{Path, PathBuf};

use skep_proto::model::NodeRole;

use super::certificate::Identity;
use super::error::IdentityError;
use super::tls::check_trust;
use crate::disk::{make_private_dir, read_bounded, replace, replace_and_wipe};
use crate::vault::Vault;
use crate::vault::disk::Held;
use crate::vault::file::{hex, unhex};

/// What the key's part ends with.
const KEY_END: &str = "-----END PRIVATE KEY-----\n";

/// What stands around a sealed key.
const SEALED: (&str, &str) = ("-----BEGIN SKEP SEALED KEY-----\n", "\n-----END SKEP SEALED KEY-----\n");

/// Stands in the first line of a sealed key that lay in clear before: it is to be replaced, and this outlasts the daemon that has not got to it.
const EXPOSED: &str = "Lay-In-Clear: yes\n";

/// What the vault seals.
const PURPOSE: &str = "skep tls key";

/// The key as it lies in the file.
enum Lying<'a> {
    Clear(&'a str),
    Sealed { bytes: Vec<u8>, exposed: bool },
}

/// How a key is to lie there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Clear,
    Sealed { exposed: bool },
}

fn dir(data_dir: &Path) -> PathBuf {
    data_dir.join("certificates")
}

fn node_path(vault: &Vault) -> PathBuf {
    dir(vault.data_dir()).join("node.pem")
}

/// Writes the identity; on return it is on disk. The root comes first: a pair without its root could not be used.
///
/// # Errors
/// When the disk is full or broken.
pub fn store(vault: &Vault, identity: &Identity) -> Result<(), IdentityError> {
    let dir = dir(vault.data_dir());
    make_private_dir(&dir).map_err(|source| IdentityError::Write { path: dir.clone(), source })?;
    write(&dir.join("root.pem"), &identity.root, 0o644)?;
    let (held, path) = (vault.hold(), node_path(vault));
    let form = if held.seals() && identity.role == NodeRole::Manager {
        Form::Sealed { exposed: lies_exposed(&held, &path, &identity.key) }
    } else {
        Form::Clear
    };
    write_pair(&held, form, &path, (&identity.key, &identity.certificate))
}

/// Whether that key lies or lay there in clear. What cannot be read is replaced in any case.
fn lies_exposed(held: &Held<'_>, path: &Path, key: &str) -> bool {
    let Ok(Some(pair)) = read(path) else { return false };
    match parts(&pair) {
        Ok((Lying::Clear(there), _)) => there == key,
        Ok((Lying::Sealed { bytes, exposed: true }, _)) => {
            held.open(PURPOSE, &bytes).is_some_and(|there| *there == key.as_bytes())
        }
        _ => false,
    }
}

/// Whether the key of the pair is sealed by now and lay in clear before: a copy may be anywhere.
///
/// # Errors
/// When the file cannot be read or is damaged.
pub fn is_exposed(vault: &Vault) -> Result<bool, IdentityError> {
    let _held = vault.hold();
    let Some(pair) = read(&node_path(vault))? else { return Ok(false) };
    Ok(matches!(parts(&pair)?.0, Lying::Sealed { exposed: true, .. }))
}

/// Reads the identity; `None` when this machine is no node.
///
/// # Errors
/// When the files cannot be read, are damaged, or the key is sealed and the vault is not open.
pub fn load(vault: &Vault) -> Result<Option<Identity>, IdentityError> {
    let held = vault.hold();
    let Some((pair, root)) = read_files(vault)? else { return Ok(None) };
    let damaged = |error| damaged(vault, error);
    let (lying, certificate) = parts(&pair).map_err(damaged)?;
    let key = match lying {
        Lying::Clear(key) => key.to_owned(),
        Lying::Sealed { bytes, .. } => {
            let opened = held.open(PURPOSE, &bytes).ok_or(IdentityError::Sealed { path: node_path(vault) })?;
            String::from_utf8(opened.to_vec())
                .map_err(|_| IdentityError::Certificate { problem: "its key is no text" })?
        }
    };
    Identity::new(certificate.to_owned(), key, root).map(Some).map_err(damaged)
}

/// What is wrong, with where it is and what to do.
fn damaged(vault: &Vault, error: IdentityError) -> IdentityError {
    match error {
        IdentityError::Certificate { problem } => IdentityError::Damaged { path: node_path(vault), problem },
        other => other,
    }
}

/// Reads who the node is, for which no key is needed: that of the result is empty. `None` when this machine is no node.
///
/// # Errors
/// When the files cannot be read or are damaged.
pub fn load_public(vault: &Vault) -> Result<Option<Identity>, IdentityError> {
    let Some((pair, root)) = read_files(vault)? else { return Ok(None) };
    let damaged = |error| damaged(vault, error);
    let (_, certificate) = parts(&pair).map_err(damaged)?;
    Identity::new(certificate.to_owned(), String::new(), root).map(Some).map_err(damaged)
}

/// Whether the key lies there sealed.
///
/// # Errors
/// When the file cannot be read or is damaged.
pub fn is_sealed(vault: &Vault) -> Result<bool, IdentityError> {
    let Some(pair) = read(&node_path(vault))? else { return Ok(false) };
    Ok(matches!(parts(&pair)?, (Lying::Sealed { .. }, _)))
}

/// Has the key lie there sealed or in clear; what was there in clear is overwritten.
///
/// # Errors
/// When the disk is full or broken, or the vault is not open.
pub fn keep(vault: &Vault, sealed: bool) -> Result<(), IdentityError> {
    let held = vault.hold();
    let path = node_path(vault);
    let Some(pair) = read(&path)? else { return Ok(()) };
    match parts(&pair)? {
        (Lying::Clear(key), certificate) if sealed => {
            write_pair(&held, Form::Sealed { exposed: true }, &path, (key, certificate))
        }
        (Lying::Sealed { bytes, .. }, certificate) if !sealed => {
            let key = held.open(PURPOSE, &bytes).ok_or(IdentityError::Sealed { path: path.clone() })?;
            let key =
                std::str::from_utf8(&key).map_err(|_| IdentityError::Certificate { problem: "its key is no text" })?;
            write_pair(&held, Form::Clear, &path, (key, certificate))
        }
        _ => Ok(()),
    }
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

/// The pair and the root.
fn read_files(vault: &Vault) -> Result<Option<(String, String)>, IdentityError> {
    let Some(pair) = read(&node_path(vault))? else { return Ok(None) };
    let path = dir(vault.data_dir()).join("root.pem");
    let Some(root) = read(&path)? else { return Ok(None) };
    check_trust(&root).map_err(|_| IdentityError::Damaged { path, problem: "it holds no root certificate" })?;
    Ok(Some((pair, root)))
}

/// The key and the certificate of a pair.
fn parts(pair: &str) -> Result<(Lying<'_>, &str), IdentityError> {
    if let Some((sealed, certificate)) = pair.strip_prefix(SEALED.0).and_then(|rest| rest.split_once(SEALED.1)) {
        let (sealed, exposed) = sealed.strip_prefix(EXPOSED).map_or((sealed, false), |sealed| (sealed, true));
        let bytes = unhex(&sealed.replace('\n', ""))
            .ok_or(IdentityError::Certificate { problem: "its sealed key is damaged" })?;
        return Ok((Lying::Sealed { bytes, exposed }, certificate));
    }
    let end = pair.find(KEY_END).map(|at| at + KEY_END.len());
    let (key, certificate) =
        end.map(|end| pair.split_at(end)).ok_or(IdentityError::Certificate { problem: "it has no key" })?;
    Ok((Lying::Clear(key), certificate))
}

fn write_pair(held: &Held<'_>, form: Form, path: &Path, (key, certificate): (&str, &str)) -> Result<(), IdentityError> {
    let failed = |source| IdentityError::Write { path: path.to_owned(), source };
    let Form::Sealed { exposed } = form else {
        return replace(path, format!("{key}{certificate}").as_bytes(), 0o600).map_err(failed);
    };
    let bytes = held.seal(PURPOSE, key.as_bytes()).ok_or(IdentityError::Sealed { path: path.to_owned() })?;
    let mark = if exposed { EXPOSED } else { "" };
    let text = format!("{}{mark}{}{}{certificate}", SEALED.0, lines(&hex(&bytes)), SEALED.1);
    replace_and_wipe(path, text.as_bytes(), 0o600).map_err(failed)
}

/// In lines of 64 characters, as keys are written.
fn lines(text: &str) -> String {
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap_or_default()).collect();
    lines.join("\n")
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

#[cfg(test)]
mod tests {
    use skep_proto::model::{Autolock, ClusterId, NodeId, UnlockKey};

    use super::*;

    fn identity(key: &str, certificate: &str) -> Identity {
        Identity {
            node: NodeId::new(1),
            cluster: ClusterId::new(2),
            role: NodeRole::Manager,
            certificate: format!("-----BEGIN CERTIFICATE-----\n{certificate}\n-----END CERTIFICATE-----\n"),
            key: format!("-----BEGIN PRIVATE KEY-----\n{key}\n{KEY_END}"),
            root: "-----BEGIN CERTIFICATE-----\nroot\n-----END CERTIFICATE-----\n".to_owned(),
        }
    }

    #[test]
    fn a_key_that_lay_in_clear_is_marked_until_another_one_takes_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::at(dir.path());
        store(&vault, &identity("one", "a")).unwrap();
        assert!(!is_exposed(&vault).unwrap(), "it lies in clear, and is meant to");
        vault.engage(&Autolock::default().with(Some(UnlockKey::new([1; 32])))).unwrap();
        keep(&vault, true).unwrap();
        assert!(is_exposed(&vault).unwrap() && is_sealed(&vault).unwrap());
        keep(&vault, true).unwrap();
        // The same key with another certificate, as when other roots are trusted, or a manager made it itself.
        store(&vault, &identity("one", "b")).unwrap();
        assert!(is_exposed(&vault).unwrap());
        store(&vault, &identity("two", "c")).unwrap();
        assert!(!is_exposed(&vault).unwrap() && is_sealed(&vault).unwrap());
        keep(&vault, false).unwrap();
        keep(&vault, true).unwrap();
        assert!(is_exposed(&vault).unwrap(), "it lay in clear again");
        let worker = Identity { role: NodeRole::Worker, ..identity("two", "d") };
        store(&vault, &worker).unwrap();
        assert!(!is_exposed(&vault).unwrap() && !is_sealed(&vault).unwrap());
    }

    #[test]
    fn what_is_damaged_is_named_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::at(dir.path());
        let key = rcgen::KeyPair::generate().unwrap();
        let root = rcgen::CertificateParams::default().self_signed(&key).unwrap().pem();
        let whole = Identity { root, ..identity("key", "certificate") };
        for (file, left) in [("node.pem", "garbage"), ("node.pem", ""), ("root.pem", "garbage"), ("root.pem", "")] {
            store(&vault, &whole).unwrap();
            let path = dir.path().join("certificates").join(file);
            write(&path, left, 0o600).unwrap();
            for text in [load(&vault).unwrap_err().to_string(), load_public(&vault).unwrap_err().to_string()] {
                assert!(text.contains(file) && text.contains("`skep swarm leave --force`"), "{text}");
            }
        }
    }
}
