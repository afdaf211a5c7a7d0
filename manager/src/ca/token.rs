//! Who may join, and as what: decided by the secret in the token.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use skep_proto::model::{Cluster, JoinToken, NodeRole, RootDigest};

use super::error::CaError;

/// The role that a token gives.
///
/// # Errors
/// When it is malformed, of another swarm, or its secret is not (or no longer) one of this cluster's.
pub fn role_of(cluster: &Cluster, token: &str) -> Result<NodeRole, CaError> {
    let token: JoinToken = token.parse()?;
    if digest(&cluster.root_certificate) != Some(token.digest) {
        return Err(CaError::OtherSwarm);
    }
    // Both are compared whatever the first says, so that the time does not tell which one was nearly right.
    let manager = same_secret(&token, &cluster.manager_token);
    let worker = same_secret(&token, &cluster.worker_token);
    match (manager, worker) {
        (true, _) => Ok(NodeRole::Manager),
        (_, true) => Ok(NodeRole::Worker),
        _ => Err(CaError::WrongSecret),
    }
}

/// The digest that tokens of this root carry; `None` when the text is no certificate.
#[must_use]
pub fn digest(root_pem: &str) -> Option<RootDigest> {
    let der = CertificateDer::from_pem_slice(root_pem.as_bytes()).ok()?;
    Some(RootDigest::of_der(&der))
}

/// Compares in a time that does not depend on where the two differ.
fn same_secret(given: &JoinToken, ours: &str) -> bool {
    let Ok(ours) = ours.parse::<JoinToken>() else { return false };
    let pairs = given.secret.to_bytes().into_iter().zip(ours.secret.to_bytes());
    let difference = pairs.fold(0u8, |seen, (a, b)| std::hint::black_box(seen | (a ^ b)));
    difference == 0
}

#[cfg(test)]
mod tests {
    use rcgen::KeyPair;
    use skep_proto::model::{ClusterId, ClusterSpec, Meta, Moment, TokenError, TokenSecret};

    use super::super::certificate::sign_root;
    use super::*;

    fn token(digest: RootDigest, secret: u128) -> String {
        JoinToken { digest, secret: TokenSecret::new(secret) }.to_string()
    }

    fn cluster() -> (Cluster, RootDigest) {
        let key = KeyPair::generate().unwrap();
        let root = sign_root(&key, Moment(1_700_000_000_000)).unwrap();
        let digest = digest(&root).unwrap();
        let cluster = Cluster {
            id: ClusterId::new(1),
            meta: Meta::default(),
            spec: ClusterSpec::default(),
            root_certificate: root,
            root_key: key.serialize_pem(),
            worker_token: token(digest, 5),
            manager_token: token(digest, 6),
        };
        (cluster, digest)
    }

    #[test]
    fn the_secret_decides_the_role() {
        let (cluster, digest) = cluster();
        assert_eq!(role_of(&cluster, &token(digest, 5)).unwrap(), NodeRole::Worker);
        assert_eq!(role_of(&cluster, &token(digest, 6)).unwrap(), NodeRole::Manager);
        assert!(matches!(role_of(&cluster, &token(digest, 7)), Err(CaError::WrongSecret)));
    }

    #[test]
    fn a_token_of_another_swarm_is_told_apart_from_a_wrong_one() {
        let (cluster, _) = cluster();
        let foreign = token(RootDigest::of_der(b"another root"), 5);
        assert!(matches!(role_of(&cluster, &foreign), Err(CaError::OtherSwarm)));
        assert!(matches!(role_of(&cluster, "SWMTKN-1-x"), Err(CaError::Token(TokenError::Shape))));
    }
}
