//! Who may join, and as what: decided by the secret in the token.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use skep_proto::model::{Cluster, Grant, JoinToken, Moment, NodeRole, RootDigest, TokenText};

use super::error::CaError;

/// What a good token gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// What its bearer becomes.
    pub role: NodeRole,
    /// The token as the cluster knows it, for [`crate::store::Change::UseToken`].
    pub token: TokenText,
}

/// What a token gives. `apply` looks again, because somebody else may use it up meanwhile.
///
/// # Errors
/// When it is malformed, of another swarm, its secret is none of this cluster's, or it is past its limits.
pub fn admit(cluster: &Cluster, token: &str, now: Moment) -> Result<Admission, CaError> {
    let token: JoinToken = token.parse()?;
    if digest(&cluster.root_certificate) != Some(token.digest) {
        return Err(CaError::OtherSwarm);
    }
    // All are compared whatever the first say, so that the time does not tell which one was nearly right.
    let standing = [(&cluster.worker_token, NodeRole::Worker), (&cluster.manager_token, NodeRole::Manager)];
    let granted = cluster.grants.iter().map(|grant| (&grant.token, grant.role));
    let mut found = None;
    for (ours, role) in standing.into_iter().chain(granted) {
        if same_secret(&token, ours) {
            found = Some(Admission { role, token: TokenText(ours.clone()) });
        }
    }
    let admission = found.ok_or(CaError::WrongSecret)?;
    let grant = cluster.grants.iter().find(|grant| grant.token == admission.token.0);
    grant.map_or(Ok(()), |grant| grant.check(now))?;
    Ok(admission)
}

/// The cluster with one use more of a limited token, which somebody joined with who never came; `None` when that token's uses are not
/// counted.
#[must_use]
pub fn given_back(cluster: &Cluster, token: &str, role: NodeRole) -> Option<Cluster> {
    let token: JoinToken = token.parse().ok()?;
    let mut cluster = cluster.clone();
    let is_it = |grant: &&mut Grant| grant.role == role && grant.used > 0 && same_secret(&token, &grant.token);
    let grant = cluster.grants.iter_mut().find(is_it)?;
    grant.used -= 1;
    Some(cluster)
}

/// The digest that tokens of this root carry; `None` when the text is no certificate.
#[must_use]
pub fn digest(root_pem: &str) -> Option<RootDigest> {
    let der = CertificateDer::from_pem_slice(root_pem.as_bytes()).ok()?;
    Some(RootDigest::of_der(&der))
}

/// What a node that trusts exactly these roots says.
#[must_use]
pub fn trust_digest(pem: &str) -> RootDigest {
    let ders: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok).collect();
    RootDigest::of_ders(ders.iter().map(AsRef::as_ref))
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
    use std::time::Duration;

    use rcgen::KeyPair;
    use skep_proto::model::{ClusterId, ClusterSpec, Era, GrantError, Meta, TokenError, TokenSecret};

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
            grants: Vec::new(),
            rotation: None,
            lock: skep_proto::model::Autolock::default(),
            era: Era::default(),
            former_managers: Vec::new(),
        };
        (cluster, digest)
    }

    const NOW: Moment = Moment(1_700_000_000_000);

    fn role_of(cluster: &Cluster, token: &str) -> Result<NodeRole, CaError> {
        admit(cluster, token, NOW).map(|admission| admission.role)
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

    #[test]
    fn limits_hold_for_the_standing_token_and_for_others() {
        let (mut cluster, digest) = cluster();
        let grant = |secret, role| Grant {
            token: token(digest, secret),
            role,
            expires_at: Some(NOW + Duration::from_secs(1)),
            uses: Some(1),
            used: 0,
            is_rotated: false,
        };
        cluster.grants = vec![grant(5, NodeRole::Worker), grant(8, NodeRole::Manager)];
        assert_eq!(role_of(&cluster, &token(digest, 5)).unwrap(), NodeRole::Worker);
        assert_eq!(role_of(&cluster, &token(digest, 8)).unwrap(), NodeRole::Manager);
        let late = admit(&cluster, &token(digest, 8), NOW + Duration::from_secs(1));
        assert!(matches!(late, Err(CaError::Grant(GrantError::Expired { .. }))), "{late:?}");
        cluster.grants[0].used = 1;
        let spent = admit(&cluster, &token(digest, 5), NOW);
        assert!(matches!(spent, Err(CaError::Grant(GrantError::UsedUp { uses: 1, .. }))), "{spent:?}");
        assert_eq!(role_of(&cluster, &token(digest, 6)).unwrap(), NodeRole::Manager, "it has no limit");
        let again = given_back(&cluster, &token(digest, 5), NodeRole::Worker).unwrap();
        assert_eq!(role_of(&again, &token(digest, 5)).unwrap(), NodeRole::Worker);
        for (cluster, secret, role) in
            [(&again, 5, NodeRole::Worker), (&cluster, 5, NodeRole::Manager), (&cluster, 6, NodeRole::Manager)]
        {
            assert_eq!(given_back(cluster, &token(digest, secret), role), None, "{secret} {role:?}");
        }
    }
}
