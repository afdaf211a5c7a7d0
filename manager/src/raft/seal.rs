//! Encryption at rest: AES-256-GCM under a key of each file's own.
//!
//! A file's key is derived from the manager's data key and 32 random bytes in the file's header, and a record's nonce is its ordinal.
//! Within one file an ordinal is sealed once: after a restart and after any failed write a new file is begun, never an old one
//! continued. So no nonce is used twice under one key, with no counter to be kept across crashes.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};

/// Bytes of the data key and of a file's salt.
pub(super) const KEY_LEN: usize = 32;

/// Bytes that sealing adds.
pub(super) const TAG_LEN: usize = 16;

/// The manager's data key, from which each file's is derived.
pub(super) struct DataKey(Prk);

/// The data keys of a directory: that of files that are begun now, then those that files may still be under, the newest first.
#[derive(Debug)]
pub(super) struct Keys(Vec<DataKey>);

/// One file's key.
pub(super) struct FileKey(LessSafeKey);

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey")
    }
}

impl std::fmt::Debug for FileKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileKey")
    }
}

impl DataKey {
    /// From the bytes of the key file, which are wiped by whoever read them.
    pub(super) fn new(bytes: &[u8; KEY_LEN]) -> Self {
        Self(Salt::new(HKDF_SHA256, b"skep raft data key").extract(bytes))
    }

    /// The key of the file with this salt.
    pub(super) fn file_key(&self, salt: &[u8; KEY_LEN]) -> FileKey {
        let info = [salt.as_slice()];
        let okm = self.0.expand(&info, &AES_256_GCM).expect("one key is within what HKDF gives");
        FileKey(LessSafeKey::new(UnboundKey::from(okm)))
    }
}

impl Keys {
    /// From the bytes of the key file; `None` when they are no keys.
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        let (keys, rest) = bytes.as_chunks::<KEY_LEN>();
        (!keys.is_empty() && rest.is_empty()).then(|| Self(keys.iter().map(DataKey::new).collect()))
    }

    /// The key of a file with this salt that is begun now.
    pub(super) fn file_key(&self, salt: &[u8; KEY_LEN]) -> FileKey {
        self.0[0].file_key(salt)
    }

    /// The keys that a file with this salt may be under, the likeliest first.
    pub(super) fn candidates(&self, salt: &[u8; KEY_LEN]) -> Vec<FileKey> {
        self.0.iter().map(|key| key.file_key(salt)).collect()
    }

    /// Files may be under another key than those that are begun now.
    pub(super) fn has_old(&self) -> bool {
        self.0.len() > 1
    }
}

impl FileKey {
    /// Seals a body in place.
    pub(super) fn seal(&self, ordinal: u64, body: &mut Vec<u8>) {
        self.seal_from(0, ordinal, body);
    }

    /// Seals in place what stands from an offset on.
    pub(super) fn seal_from(&self, from: usize, ordinal: u64, bytes: &mut Vec<u8>) {
        let sealed = self.0.seal_in_place_separate_tag(nonce(ordinal), Aad::empty(), &mut bytes[from..]);
        bytes.extend(sealed.expect("a body is far below what GCM takes").as_ref());
    }

    /// Opens a body in place; `None` when it was sealed with another key or ordinal, or changed.
    pub(super) fn open<'a>(&self, ordinal: u64, body: &'a mut [u8]) -> Option<&'a [u8]> {
        self.0.open_in_place(nonce(ordinal), Aad::empty(), body).ok().map(|plain| &*plain)
    }
}

fn nonce(ordinal: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&ordinal.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_salt_and_ordinal_open() {
        let key = |bits, salt| DataKey::new(&[bits; KEY_LEN]).file_key(&[salt; KEY_LEN]);
        let mut sealed = b"secret".to_vec();
        key(1, 1).seal(5, &mut sealed);
        assert_eq!(sealed.len(), 6 + TAG_LEN);
        for (bits, salt, ordinal, opens) in [(1, 1, 5, true), (2, 1, 5, false), (1, 2, 5, false), (1, 1, 6, false)] {
            let plain = key(bits, salt).open(ordinal, &mut sealed.clone()).map(<[u8]>::to_vec);
            assert_eq!(plain.is_some(), opens, "{bits} {salt} {ordinal}");
        }
    }
}
