//! A machine's try to join a cluster, known by a secret that only this machine has.
//!
//! The node's id is the secret's digest. So a machine whose daemon or connection was lost before it had the answer asks again with the same
//! secret and is given the same node; nobody else can ask for it, because the id tells nothing of the secret. Once the node has come the
//! secret is worth nothing any more.

use std::fmt;

use sha2::{Digest, Sha256};

use super::id::NodeId;

/// Bytes of the secret.
pub const ATTEMPT_LEN: usize = 32;

/// What the digest is of, besides the secret: no other digest of ours is ever taken for one of these.
const PURPOSE: &[u8] = b"skep join attempt";

/// The secret of one try. Its `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct JoinAttempt([u8; ATTEMPT_LEN]);

impl JoinAttempt {
    /// Wraps bytes that a driver drew from a source fit for secrets.
    #[must_use]
    pub const fn new(secret: [u8; ATTEMPT_LEN]) -> Self {
        Self(secret)
    }

    /// Reads what was kept or sent; `None` unless it has the length.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// To be kept or sent.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        self.0.to_vec()
    }

    /// The node that it makes.
    ///
    /// # Panics
    /// Never: the digest is longer than an id.
    #[must_use]
    pub fn node(self) -> NodeId {
        let digest: [u8; 32] = Sha256::new().chain_update(PURPOSE).chain_update(self.0).finalize().into();
        let half = digest.first_chunk().expect("a digest of 32 bytes begins with 16");
        NodeId::new(u128::from_be_bytes(*half))
    }
}

impl fmt::Debug for JoinAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinAttempt(of {})", self.node())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_try_makes_one_node_and_does_not_show_its_secret() {
        let (first, second) = (JoinAttempt::new([0x5a; ATTEMPT_LEN]), JoinAttempt::new([0x5b; ATTEMPT_LEN]));
        assert_eq!(JoinAttempt::from_bytes(&first.to_bytes()), Some(first));
        assert_eq!(first.node(), JoinAttempt::new([0x5a; ATTEMPT_LEN]).node());
        assert_ne!(first.node(), second.node());
        assert_eq!(JoinAttempt::from_bytes(&[1; ATTEMPT_LEN - 1]), None);
        let shown = format!("{first:?}");
        assert!(
            shown.contains(&first.node().to_string()) && !shown.contains("90") && !shown.contains("5a5a"),
            "{shown}"
        );
    }
}
