//! Autolock: the key that managers' keys are kept under, `SWMKEY-1-...`, in Docker's form.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::cluster::Era;

/// What every unlock key begins with; the number is the format's version.
pub const UNLOCK_PREFIX: &str = "SWMKEY-1-";

/// Bytes of an unlock key.
pub const UNLOCK_KEY_LEN: usize = 32;

/// Keys of the past that the swarm remembers, for managers that were away when they were replaced. Who replaced more meanwhile has
/// them written down, or lets that manager join anew.
const PAST_MAX: usize = 8;

/// What unlocks managers. Its memory is wiped when it goes; its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct UnlockKey([u8; UNLOCK_KEY_LEN]);

/// Which unlock key: enough to tell keys apart, and nothing to guess one from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId([u8; 4]);

/// Whether managers lock themselves, and with what.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Autolock {
    /// Grows with every change of the key, so that a manager that reads its old log again does not follow what is long over.
    pub version: u64,
    /// The key; `None` while autolock is off.
    pub key: Option<UnlockKey>,
    /// Keys before it, the newest first.
    pub past: Vec<UnlockKey>,
}

/// Why a text is no unlock key. The text itself is never repeated: it may be one, mistyped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnlockKeyError {
    /// It does not begin as one does.
    #[error("read the unlock key: it must look like {UNLOCK_PREFIX}<43 characters>, as `swarm unlock-key` prints it")]
    Shape,
    /// The rest is not 32 bytes in base 64.
    #[error(
        "read the unlock key: after {UNLOCK_PREFIX} there must be 43 characters of A-Z, a-z, 0-9, + and /; was it cut?"
    )]
    Body,
}

/// A text that is no key's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read {text:?} as the id of an unlock key: it has 8 characters of 0-9 and a-f")]
pub struct KeyIdError {
    text: String,
}

impl UnlockKey {
    /// Wraps random bytes that a driver drew from a source fit for secrets.
    #[must_use]
    pub const fn new(bytes: [u8; UNLOCK_KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// Reads it from the wire; `None` when it has another length.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// To seal with, to store, and to send to managers.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; UNLOCK_KEY_LEN] {
        &self.0
    }

    /// Which one it is.
    ///
    /// # Panics
    /// Never: a hash is longer than an id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let hash = Sha256::new().chain_update(b"skep unlock key").chain_update(self.0).finalize();
        KeyId(*hash.first_chunk().expect("a SHA-256 has more than four bytes"))
    }
}

impl Drop for UnlockKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for UnlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnlockKey({})", self.id())
    }
}

impl fmt::Display for UnlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{UNLOCK_PREFIX}{}", Zeroizing::new(STANDARD_NO_PAD.encode(self.0)).as_str())
    }
}

impl FromStr for UnlockKey {
    type Err = UnlockKeyError;

    fn from_str(text: &str) -> Result<Self, UnlockKeyError> {
        let body = text.trim().strip_prefix(UNLOCK_PREFIX).ok_or(UnlockKeyError::Shape)?;
        let bytes = STANDARD_NO_PAD.decode(body).map(Zeroizing::new).map_err(|_| UnlockKeyError::Body)?;
        Self::from_bytes(&bytes).ok_or(UnlockKeyError::Body)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        let number = u32::from_str_radix(text, 16).ok().filter(|_| text.len() == 8 && !text.starts_with('+'));
        number.map(|number| Self(number.to_be_bytes())).ok_or_else(|| KeyIdError { text: text.to_owned() })
    }
}

impl fmt::Debug for Autolock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Autolock").field("version", &self.version).field("key", &self.key).finish_non_exhaustive()
    }
}

impl Autolock {
    /// With another key, or with none: managers then follow.
    #[must_use]
    pub fn with(&self, key: Option<UnlockKey>) -> Self {
        let past = self.key.iter().chain(&self.past).take(PAST_MAX).cloned().collect();
        Self { version: self.version + 1, key, past }
    }

    /// As the user wants it: nothing changes when it is so already. `drawn` becomes the key when autolock goes on.
    #[must_use]
    pub fn turned(&self, on: bool, drawn: UnlockKey) -> Self {
        match (on, self.key.is_some()) {
            (true, false) => self.with(Some(drawn)),
            (false, true) => self.with(None),
            _ => self.clone(),
        }
    }

    /// As it is in a cluster that was made anew in this era: newer than whatever became of it in the life before, elsewhere.
    #[must_use]
    pub fn in_era(&self, era: Era) -> Self {
        Self { version: era.0.max(self.version + 1), ..self.clone() }
    }

    /// The key with that id, the one in force or one of the past.
    #[must_use]
    pub fn find(&self, id: KeyId) -> Option<&UnlockKey> {
        self.key.iter().chain(&self.past).find(|key| key.id() == id)
    }

    /// For a manager, which needs no key of the past.
    #[must_use]
    pub fn without_past(&self) -> Self {
        Self { past: Vec::new(), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_and_key_are_one(bytes: [u8; 32]) {
            let key = UnlockKey::new(bytes);
            let text = key.to_string();
            prop_assert_eq!(text.len(), UNLOCK_PREFIX.len() + 43);
            prop_assert_eq!(text.parse::<UnlockKey>().unwrap(), key.clone());
            prop_assert_eq!(key.id().to_string().parse::<KeyId>().unwrap(), key.id());
            let shown = format!("{key:?}");
            prop_assert!(!shown.contains(&text[UNLOCK_PREFIX.len()..]));
        }

        #[test]
        fn any_text_is_read_or_refused_without_panic(text in ".{0,80}") {
            let _ = text.parse::<UnlockKey>();
            let _ = format!("{UNLOCK_PREFIX}{text}").parse::<UnlockKey>();
            let _ = text.parse::<KeyId>();
        }
    }

    #[test]
    fn a_cut_or_foreign_key_is_refused() {
        let text = UnlockKey::new([7; 32]).to_string();
        assert!(format!(" {text}\n").parse::<UnlockKey>().is_ok());
        assert_eq!(text[..text.len() - 1].parse::<UnlockKey>(), Err(UnlockKeyError::Body));
        assert_eq!("SWMTKN-1-x-y".parse::<UnlockKey>(), Err(UnlockKeyError::Shape));
        assert_eq!("".parse::<UnlockKey>(), Err(UnlockKeyError::Shape));
        for text in ["", "+1234567", "abc", "abcdefgh", "123456789"] {
            assert!(text.parse::<KeyId>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_change_of_the_key_is_a_new_version_and_old_keys_are_remembered() {
        let key = |number| UnlockKey::new([number; 32]);
        let off = Autolock::default();
        assert_eq!(off.turned(false, key(1)), off);
        let on = off.turned(true, key(1));
        assert_eq!((on.version, on.key.clone(), on.past.len()), (1, Some(key(1)), 0));
        assert_eq!(on.turned(true, key(2)), on, "it is on already");
        let rotated = on.with(Some(key(2)));
        let off = rotated.turned(false, key(3));
        assert_eq!((off.version, off.key.clone(), off.past.clone()), (3, None, vec![key(2), key(1)]));
        assert_eq!(off.find(key(1).id()), Some(&key(1)));
        assert_eq!(off.find(key(9).id()), None);
        let many = (10..40).fold(off, |lock, number| lock.with(Some(key(number))));
        assert_eq!((many.past.len(), many.past[0].clone()), (PAST_MAX, key(38)));
        assert!(many.without_past().past.is_empty());
        assert_eq!(many.in_era(Era(1)), Autolock { version: many.version + 1, ..many.clone() });
        assert_eq!(Autolock::default().in_era(Era(9_000)).version, 9_000);
    }
}
