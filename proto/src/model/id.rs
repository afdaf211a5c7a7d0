//! Ids: 128 random bits, shown as 25 characters of base 36 so that their order as text is their order as numbers.

use std::fmt;
use std::str::FromStr;

/// Characters of an id as text: the least that holds 128 bits in base 36.
pub const ID_TEXT_LEN: usize = 25;

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// Text or bytes that are no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parse id {text:?}: an id is {ID_TEXT_LEN} characters of 0-9 and a-z")]
pub struct ParseIdError {
    /// What was given.
    pub text: String,
}

/// Writes the number as an id's text.
#[must_use]
pub fn to_text(mut number: u128) -> String {
    let mut text = [b'0'; ID_TEXT_LEN];
    for place in text.iter_mut().rev() {
        *place = usize::try_from(number % 36).map_or(b'0', |digit| DIGITS[digit]);
        number /= 36;
    }
    text.iter().map(|&b| char::from(b)).collect()
}

/// Reads an id's text back.
pub(super) fn from_text(text: &str) -> Option<u128> {
    if text.len() != ID_TEXT_LEN {
        return None;
    }
    text.bytes().try_fold(0u128, |number, byte| {
        let digit = DIGITS.iter().position(|&d| d == byte)?;
        number.checked_mul(36)?.checked_add(u128::try_from(digit).ok()?)
    })
}

/// The smallest and the largest number whose text begins with `prefix`, or `None` when no id can begin so.
#[must_use]
pub fn prefix_range(prefix: &str) -> Option<(u128, u128)> {
    let digits: Option<Vec<u128>> =
        prefix.bytes().map(|b| DIGITS.iter().position(|&d| d == b).and_then(|d| u128::try_from(d).ok())).collect();
    let digits = digits.filter(|d| !d.is_empty() && d.len() <= ID_TEXT_LEN)?;
    let fill = |rest: u128| -> u128 {
        let padded = digits.iter().copied().chain(std::iter::repeat(rest)).take(ID_TEXT_LEN);
        padded.fold(0u128, |number, digit| number.saturating_mul(36).saturating_add(digit))
    };
    Some((fill(0), fill(35)))
}

/// The bits of an id as two words, the upper first, so that the derived order is the number's. A `u128` must lie on a multiple
/// of 16 bytes, which would cost every task 40 bytes of padding, and there are a million of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Halves(u64, u64);

impl Halves {
    #[expect(clippy::cast_possible_truncation, reason = "takes the lower word; `try_from` is not const")]
    const fn of(bits: u128) -> Self {
        Self((bits >> 64) as u64, bits as u64)
    }

    const fn join(self) -> u128 {
        ((self.0 as u128) << 64) | self.1 as u128
    }
}

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Halves);

        impl $name {
            /// Wraps random bits that a driver drew.
            #[must_use]
            pub const fn new(bits: u128) -> Self {
                Self(Halves::of(bits))
            }

            /// The bits.
            #[must_use]
            pub const fn bits(self) -> u128 {
                self.0.join()
            }

            /// As it goes on the wire: 16 bytes, big-endian.
            #[must_use]
            pub fn to_bytes(self) -> Vec<u8> {
                self.bits().to_be_bytes().to_vec()
            }

            /// Reads the wire form.
            ///
            /// # Errors
            /// When it is not 16 bytes.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, ParseIdError> {
                let array: [u8; 16] = bytes.try_into().map_err(|_| ParseIdError { text: format!("{bytes:02x?}") })?;
                Ok(Self::new(u128::from_be_bytes(array)))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&to_text(self.bits()))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&to_text(self.bits()))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                from_text(text).map(Self::new).ok_or_else(|| ParseIdError { text: text.to_owned() })
            }
        }
    };
}

typed_id!(
    /// A cluster: the O of its certificates.
    ClusterId
);
typed_id!(
    /// A node: the CN of its certificate.
    NodeId
);
typed_id!(
    /// A service.
    ServiceId
);
typed_id!(
    /// A task.
    TaskId
);
typed_id!(
    /// An agent's session with the leader.
    SessionId
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_and_number_are_one(bits: u128) {
            let id = TaskId::new(bits);
            prop_assert_eq!(id.to_string().parse::<TaskId>(), Ok(id));
            prop_assert_eq!(TaskId::from_bytes(&id.to_bytes()), Ok(id));
        }

        #[test]
        fn text_order_is_number_order(a: u128, b: u128) {
            prop_assert_eq!(to_text(a).cmp(&to_text(b)), a.cmp(&b));
        }

        #[test]
        fn a_prefix_range_holds_exactly_the_ids_with_that_prefix(bits: u128, other: u128, length in 1usize..=25) {
            let prefix = to_text(bits)[..length].to_owned();
            let (low, high) = prefix_range(&prefix).unwrap();
            prop_assert!((low..=high).contains(&bits));
            prop_assert_eq!((low..=high).contains(&other), to_text(other).starts_with(&prefix));
        }
    }

    #[test]
    fn text_that_is_no_id_is_refused() {
        for text in ["", "abc", "A000000000000000000000000", "zzzzzzzzzzzzzzzzzzzzzzzzz", "-000000000000000000000000"] {
            assert!(text.parse::<NodeId>().is_err(), "{text}");
        }
    }
}
