//! Secrets that lie on a disk encrypted: AES-256-GCM under a key that does not, with what the secret is for authenticated beside it.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a key.
pub const KEY_LEN: usize = 32;

/// Bytes of chance that each sealing takes. A node seals a few hundred times in its life, so that none comes twice.
pub const CHANCE_LEN: usize = NONCE_LEN;

/// What a node's own secrets are sealed with. It lies on the disk only sealed with the unlock key; its memory is wiped when it goes.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeKey([u8; KEY_LEN]);

impl NodeKey {
    /// Wraps random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// To be sealed itself.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }
}

impl Drop for NodeKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodeKey(..)")
    }
}

/// Seals a secret. Only the same key and purpose open it.
///
/// # Panics
/// Never: secrets are far shorter than what GCM takes.
#[must_use]
pub fn seal(key: &[u8; KEY_LEN], purpose: &str, chance: [u8; CHANCE_LEN], secret: &[u8]) -> Vec<u8> {
    let mut sealed = secret.to_vec();
    // Room for the tag, so that no copy of the clear text is left behind by a move to a larger place.
    sealed.reserve_exact(AES_256_GCM.tag_len());
    let nonce = Nonce::assume_unique_for_key(chance);
    cipher(key)
        .seal_in_place_append_tag(nonce, Aad::from(purpose.as_bytes()), &mut sealed)
        .expect("a secret is far shorter than what GCM takes");
    sealed.splice(..0, chance);
    sealed
}

/// Opens it; `None` with another key, for another purpose, or when it was changed.
#[must_use]
pub fn open(key: &[u8; KEY_LEN], purpose: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (chance, body) = sealed.split_first_chunk::<CHANCE_LEN>()?;
    let mut body = Zeroizing::new(body.to_vec());
    let nonce = Nonce::assume_unique_for_key(*chance);
    let len = cipher(key).open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut body).ok()?.len();
    body.truncate(len);
    Some(body)
}

fn cipher(key: &[u8; KEY_LEN]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("the key has the cipher's length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_and_purpose_open_what_was_not_changed() {
        let sealed = seal(&[1; KEY_LEN], "tls", [9; CHANCE_LEN], b"secret");
        assert_eq!(open(&[1; KEY_LEN], "tls", &sealed).unwrap().as_slice(), b"secret");
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        assert!(open(&[2; KEY_LEN], "tls", &sealed).is_none());
        assert!(open(&[1; KEY_LEN], "raft", &sealed).is_none());
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert!(open(&[1; KEY_LEN], "tls", &changed).is_none(), "{place}");
        }
        assert!(
            open(&[1; KEY_LEN], "tls", &sealed[..CHANCE_LEN + 3]).is_none() && open(&[1; KEY_LEN], "", &[]).is_none()
        );
    }
}
