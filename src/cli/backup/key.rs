//! The secret that a backup is encrypted with: a recovery key that is drawn, or whatever text a user keeps in a file.

use std::fs::File;
use std::io::Read;
use std::num::NonZeroU32;
use std::path::Path;

use anyhow::{Context, bail};
use ring::pbkdf2::{PBKDF2_HMAC_SHA256, derive as pbkdf2};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

/// Bytes of a salt.
pub(super) const SALT_LEN: usize = 32;

/// Rounds of the derivation, which make guessing a passphrase dear. *Source*: OWASP's recommendation for PBKDF2 with SHA-256; a
/// third of a second.
const ROUNDS: u32 = 600_000;

/// Rounds for a drawn key: nobody guesses 160 bits.
const ROUNDS_DRAWN: u32 = 1_000;

/// What a drawn key begins with.
const PREFIX: &str = "skepbak";

/// Digits and letters that nobody takes for one another.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Digits of a drawn key, of five bits each.
const DIGITS: usize = 32;

/// Shortest secret that is taken.
const SECRET_LEN_MIN: usize = 12;

/// Longest file that is looked at.
const FILE_LEN_MAX: u64 = 64 << 10;

/// The secret as text. Its memory is wiped when it goes, and nothing prints it but who made it.
pub(super) struct Secret(Zeroizing<String>);

/// What is made of it for one file.
pub(super) struct Derived {
    /// Encrypts.
    pub(super) key: Zeroizing<[u8; 32]>,
    /// Tells it from others.
    pub(super) check: [u8; 16],
}

impl Secret {
    /// As it was given. A drawn key may have been copied by hand.
    pub(super) fn new(text: &str) -> Self {
        let text = text.trim();
        let lower = text.to_ascii_lowercase();
        match lower.strip_prefix(PREFIX) {
            Some(rest) => {
                let rest: String = rest.chars().filter(char::is_ascii_alphanumeric).map(familiar).collect();
                Self(Zeroizing::new(format!("{PREFIX}{rest}")))
            }
            None => Self(Zeroizing::new(text.to_owned())),
        }
    }

    /// Rounds of the derivation that it needs.
    pub(super) fn rounds(&self) -> u32 {
        let is_drawn = self.0.strip_prefix(PREFIX).is_some_and(|digits| digits.len() == DIGITS);
        if is_drawn { ROUNDS_DRAWN } else { ROUNDS }
    }

    /// Draws a recovery key, 160 bits, in groups.
    pub(super) fn draw() -> (Self, String) {
        let mut bytes = Zeroizing::new([0; DIGITS]);
        SystemRandom::new().fill(&mut *bytes).expect("the kernel's random source does not fail once it is up");
        let digits: String = bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
        let groups: Vec<&str> = (0..DIGITS).step_by(8).map(|at| &digits[at..at + 8]).collect();
        let text = format!("{PREFIX}-{}", groups.join("-"));
        (Self::new(&text), text)
    }

    /// Reads it from a file.
    pub(super) fn from_file(path: &Path) -> anyhow::Result<Self> {
        let mut text = Zeroizing::new(String::new());
        let opened = File::open(path).with_context(|| format!("read the key file {}", path.display()))?;
        let read = opened.take(FILE_LEN_MAX).read_to_string(&mut text);
        read.with_context(|| format!("read the key file {}", path.display()))?;
        Self::checked(&text).with_context(|| format!("use the key in {}", path.display()))
    }

    /// One that is long enough.
    pub(super) fn checked(text: &str) -> anyhow::Result<Self> {
        let length = text.trim().chars().count();
        if length < SECRET_LEN_MIN {
            bail!("it has {length} characters, and at least {SECRET_LEN_MIN} are needed");
        }
        Ok(Self::new(text))
    }
}

/// Letters that are no digit of a key stand for the digit that they look like.
fn familiar(letter: char) -> char {
    match letter {
        'o' => '0',
        'i' | 'l' => '1',
        other => other,
    }
}

/// The salt of a new file.
pub(super) fn draw_salt() -> [u8; SALT_LEN] {
    let mut salt = [0; SALT_LEN];
    SystemRandom::new().fill(&mut salt).expect("the kernel's random source does not fail once it is up");
    salt
}

/// A file's key.
pub(super) fn derive(secret: &Secret, salt: &[u8; SALT_LEN], rounds: u32) -> Derived {
    let mut bytes = Zeroizing::new([0; 48]);
    let rounds = NonZeroU32::new(rounds).unwrap_or(NonZeroU32::MIN);
    pbkdf2(PBKDF2_HMAC_SHA256, rounds, salt, secret.0.as_bytes(), &mut *bytes);
    let (key, check) = bytes.split_at(32);
    Derived {
        key: Zeroizing::new(key.try_into().expect("32 bytes")),
        check: check.try_into().expect("the other 16 bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_key_may_be_copied_by_hand() {
        let (secret, text) = Secret::draw();
        assert_eq!(text.len(), PREFIX.len() + 4 * 9);
        let by_hand = text.to_uppercase().replace('-', " ").replace('0', "O").replace('1', "l");
        assert_eq!(Secret::new(&by_hand).0, secret.0, "{text}");
        assert_ne!(Secret::draw().0.0, secret.0);
        assert_eq!((secret.rounds(), Secret::new("skepbak-hunter2").rounds()), (ROUNDS_DRAWN, ROUNDS));
    }

    #[test]
    fn another_secret_or_salt_is_another_key_and_a_passphrase_is_taken_as_it_is() {
        let key = |text: &str, salt| derive(&Secret::new(text), &[salt; SALT_LEN], 2).key;
        assert_eq!(key("correct horse\n", 1), key(" correct horse", 1));
        assert_ne!(key("correct horse", 1), key("Correct horse", 1));
        assert_ne!(key("correct horse", 1), key("correct horse", 2));
    }

    #[test]
    fn a_key_that_is_too_short_or_not_there_is_refused_with_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let say = |path: &Path| format!("{:#}", Secret::from_file(path).err().unwrap());
        assert!(say(&path).contains("read the key file"));
        std::fs::write(&path, "short\n").unwrap();
        assert!(say(&path).contains("5 characters, and at least 12"), "{}", say(&path));
        std::fs::write(&path, "long enough a text\n").unwrap();
        assert!(Secret::from_file(&path).is_ok());
    }
}
