//! The one name of content: its SHA-256.

use std::fmt;

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

/// Hex digits of a SHA-256.
const HEX_DIGITS: usize = 64;
/// Docker shows this many digits of an id; so do our messages.
const SHORT_DIGITS: usize = 12;

/// A checked `sha256:…`: always 64 lowercase hex digits, so that it is safe as a file name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Digest {
    hex: String,
}

/// Text that is not `sha256:` and 64 lowercase hex digits.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("read a digest: {text:?} is not sha256: and 64 hex digits")]
pub(crate) struct NotADigest {
    text: String,
}

impl Digest {
    /// Reads `sha256:…`; no other algorithm is known, as no registry uses one.
    pub(crate) fn parse(text: &str) -> Result<Self, NotADigest> {
        match text.strip_prefix("sha256:") {
            Some(hex) if hex.len() == HEX_DIGITS && is_hex(hex) => Ok(Self { hex: hex.to_owned() }),
            _ => Err(NotADigest { text: text.chars().take(100).collect() }),
        }
    }

    /// Reads 64 hex digits without their algorithm, as in the file names of a layout.
    pub(crate) fn from_hex(hex: &str) -> Result<Self, NotADigest> {
        Self::parse(&format!("sha256:{hex}"))
    }

    /// The digest of bytes at hand.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The 64 digits.
    pub(crate) fn hex(&self) -> &str {
        &self.hex
    }

    /// The first digits, as people read them.
    pub(crate) fn short(&self) -> &str {
        &self.hex[..SHORT_DIGITS]
    }
}

/// Whether text is made of lowercase hex digits alone.
pub(crate) fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "sha256:{}", self.hex)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "sha256:{}", self.hex)
    }
}

impl TryFrom<String> for Digest {
    type Error = NotADigest;
    fn try_from(text: String) -> Result<Self, NotADigest> {
        Self::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// Takes content piece by piece. Ring's assembler is as fast in a debug build as in a release build (1 GB/s).
pub(crate) struct Hasher {
    context: Context,
}

impl Hasher {
    pub(crate) fn new() -> Self {
        Self { context: Context::new(&SHA256) }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    pub(crate) fn finish(self) -> Digest {
        let hex = self.context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Digest { hex }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_NOTHING: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn digest_of_nothing_is_the_known_one() {
        assert_eq!(Digest::of(b"").to_string(), OF_NOTHING);
        assert_eq!(Digest::parse(OF_NOTHING).unwrap().short(), "e3b0c44298fc");
    }

    #[test]
    fn what_could_be_another_path_is_no_digest() {
        let upper = OF_NOTHING.to_uppercase();
        let slash = OF_NOTHING.replace("855", "8/5");
        for text in ["", "sha256:", "sha512:00", "e3b0", &OF_NOTHING[..70], &upper, &slash, "sha256:../../etc/passwd"] {
            assert!(Digest::parse(text).is_err(), "{text}");
        }
    }
}
