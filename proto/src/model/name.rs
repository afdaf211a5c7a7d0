//! Names of services: one DNS label, because the name will be one.

use std::fmt;

/// Longest name: a DNS label (RFC 1035, section 2.3.4).
pub const NAME_LEN_MAX: usize = 63;

/// A well-formed service name. Two names that differ only in case are the same name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(String);

/// Why a text is no service name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "use {name:?} as a service name: a name has 1 to {NAME_LEN_MAX} letters, digits, '-' or '_', and begins and ends \
     with a letter or digit"
)]
pub struct NameError {
    /// What was given.
    pub name: String,
}

impl ServiceName {
    /// Checks the text.
    ///
    /// # Errors
    /// When it is empty, too long, or has a character or an end that a name may not have.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let name = text.into();
        let bytes = name.as_bytes();
        let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        let inner = bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        let fits = bytes.len() <= NAME_LEN_MAX && inner && ends(bytes.first()) && ends(bytes.last());
        if fits { Ok(Self(name)) } else { Err(NameError { name }) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form under which names are compared.
    #[must_use]
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dns_labels_are_names() {
        for good in ["a", "web", "web-1", "my_app", "9lives", &"x".repeat(63)] {
            assert!(ServiceName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-web", "web-", "we b", "wéb", "a.b", "a/b", &"x".repeat(64)] {
            assert!(ServiceName::new(bad).is_err(), "{bad}");
        }
    }
}
