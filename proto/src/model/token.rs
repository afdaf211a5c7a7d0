//! Join tokens: `SWMTKN-1-DIGEST-SECRET`, in Docker's form. The digest lets a joiner recognise the cluster before it says the
//! secret; the secret decides what the joiner becomes.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::id::{self, ID_TEXT_LEN};

/// What every token begins with; the number is the format's version.
pub const TOKEN_PREFIX: &str = "SWMTKN-1";

/// Characters of a digest as text: the least that holds 256 bits in base 36.
pub const DIGEST_TEXT_LEN: usize = 50;

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// SHA-256 of the DER form of a root certificate. Not of the PEM text: that has more than one spelling for one certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootDigest([u8; 32]);

/// The secret half of a token: 128 random bits. Its `Debug` does not show it.
#[derive(Clone, Copy)]
pub struct TokenSecret(u128);

/// A join token.
#[derive(Clone, Copy)]
pub struct JoinToken {
    /// Which root the cluster has.
    pub digest: RootDigest,
    /// What proves that the bearer may join.
    pub secret: TokenSecret,
}

/// A token as text, where it must be compared and passed on; its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText(pub String);

/// Why a text is no join token. The text itself is never repeated: it may hold a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not the four parts.
    #[error("read the join token: it must look like {TOKEN_PREFIX}-<digest>-<secret>, as `swarm join-token` prints it")]
    Shape,
    /// The digest is cut or mistyped.
    #[error("read the join token: its third part must be {DIGEST_TEXT_LEN} characters of 0-9 and a-z; was it cut?")]
    Digest,
    /// The secret is cut or mistyped.
    #[error("read the join token: its last part must be {ID_TEXT_LEN} characters of 0-9 and a-z; was it cut?")]
    Secret,
}

impl RootDigest {
    /// The digest of a root certificate.
    #[must_use]
    pub fn of_der(der: &[u8]) -> Self {
        Self::of_ders([der])
    }

    /// The digest of several, in their order.
    #[must_use]
    pub fn of_ders<'a>(ders: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let whole = ders.into_iter().fold(Sha256::new(), |sha, der| sha.chain_update(der));
        Self(whole.finalize().into())
    }

    /// To be sent.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        self.0.to_vec()
    }
}

impl fmt::Display for RootDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [b'0'; DIGEST_TEXT_LEN];
        let mut number = self.0;
        for place in text.iter_mut().rev() {
            *place = DIGITS[usize::from(divide_by_36(&mut number))];
        }
        text.iter().try_for_each(|&b| write!(f, "{}", char::from(b)))
    }
}

impl FromStr for RootDigest {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        if text.len() != DIGEST_TEXT_LEN {
            return Err(TokenError::Digest);
        }
        let mut number = [0u8; 32];
        for byte in text.bytes() {
            let digit = DIGITS.iter().position(|&d| d == byte).and_then(|d| u8::try_from(d).ok());
            append_digit(&mut number, digit.ok_or(TokenError::Digest)?).ok_or(TokenError::Digest)?;
        }
        Ok(Self(number))
    }
}

/// Divides a big-endian number and returns the remainder.
fn divide_by_36(number: &mut [u8; 32]) -> u8 {
    let remainder = number.iter_mut().fold(0u16, |carry, byte| {
        let value = carry * 256 + u16::from(*byte);
        *byte = u8::try_from(value / 36).expect("a carry below 36 keeps the quotient below 256");
        value % 36
    });
    u8::try_from(remainder).expect("a remainder of 36 fits")
}

/// Multiplies a big-endian number by 36 and adds a digit; `None` when it does not fit.
fn append_digit(number: &mut [u8; 32], digit: u8) -> Option<()> {
    let carry = number.iter_mut().rev().fold(u16::from(digit), |carry, byte| {
        let value = u16::from(*byte) * 36 + carry;
        *byte = value.to_be_bytes()[1];
        value >> 8
    });
    (carry == 0).then_some(())
}

impl TokenSecret {
    /// Wraps random bits that a driver drew from a source fit for secrets.
    #[must_use]
    pub const fn new(bits: u128) -> Self {
        Self(bits)
    }

    /// For a comparison in constant time; there is no `PartialEq`, whose time would tell how much was guessed.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(..)")
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText(..)")
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{TOKEN_PREFIX}-{}-..", self.digest)
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{TOKEN_PREFIX}-{}-{}", self.digest, id::to_text(self.secret.0))
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let rest = text.trim().strip_prefix(TOKEN_PREFIX).and_then(|rest| rest.strip_prefix('-'));
        let (digest, secret) = rest.and_then(|rest| rest.split_once('-')).ok_or(TokenError::Shape)?;
        let digest = digest.parse()?;
        let secret = id::from_text(secret).map(TokenSecret).ok_or(TokenError::Secret)?;
        Ok(Self { digest, secret })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_and_token_are_one(digest: [u8; 32], secret: u128) {
            let token = JoinToken { digest: RootDigest(digest), secret: TokenSecret::new(secret) };
            let text = token.to_string();
            prop_assert_eq!(text.len(), TOKEN_PREFIX.len() + 1 + DIGEST_TEXT_LEN + 1 + ID_TEXT_LEN);
            let read: JoinToken = text.parse().unwrap();
            prop_assert_eq!(read.digest, token.digest);
            prop_assert_eq!(read.secret.to_bytes(), token.secret.to_bytes());
        }

        #[test]
        fn any_text_is_read_or_refused_without_panic(text in ".{0,120}") {
            let _ = text.parse::<JoinToken>();
            let _ = format!("{TOKEN_PREFIX}-{text}").parse::<JoinToken>();
        }
    }

    fn refusal(text: &str) -> TokenError {
        text.parse::<JoinToken>().unwrap_err()
    }

    #[test]
    fn a_cut_or_foreign_token_is_refused_by_part() {
        let good = JoinToken { digest: RootDigest::of_der(b"root"), secret: TokenSecret::new(7) }.to_string();
        assert_eq!(refusal(""), TokenError::Shape);
        assert_eq!(refusal("SWMTKN-2-abc-def"), TokenError::Shape);
        assert_eq!(refusal(&good[..40]), TokenError::Shape);
        assert_eq!(refusal(&good[..good.len() - 1]), TokenError::Secret);
        assert_eq!(refusal(&good.replacen("SWMTKN-1-", "SWMTKN-1-a", 1)), TokenError::Digest);
        assert_eq!(refusal(&format!("{TOKEN_PREFIX}-{}-{}", "z".repeat(50), "0".repeat(25))), TokenError::Digest);
        assert!(format!("  {good}\n").parse::<JoinToken>().is_ok());
    }

    #[test]
    fn debug_does_not_tell_the_secret() {
        let token = JoinToken { digest: RootDigest::of_der(b"root"), secret: TokenSecret::new(u128::MAX) };
        let shown = format!("{token:?} {:?} {:?}", token.secret, TokenText(token.to_string()));
        assert!(!shown.contains(&id::to_text(u128::MAX)));
    }
}
