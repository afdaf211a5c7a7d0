//! What certificates say. Time comes in; the signature's nonce is drawn inside the signing library, and nothing here
//! depends on it.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use skep_proto::model::{BACKDATE, Cluster, ClusterId, Moment, NodeId, NodeRole};

use super::error::CaError;
use super::root::name_of;
use crate::caller::{MANAGER_OU, WORKER_OU};

/// The root's name; managers' certificates carry it too, because any manager signs.
pub const CA_NAME: &str = "skep-ca";

/// Docker's life of a root. Replacing it means touching every node, so it outlives the hardware.
pub const ROOT_LIFE: Duration = Duration::from_secs(20 * 365 * 24 * 3600);

/// Longest signing request looked at. A P-256 request has some 400 bytes, a 4096-bit RSA one 1,700.
pub const REQUEST_LEN_MAX: usize = 8 * 1024;

/// Whom a node certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// CN.
    pub node: NodeId,
    /// OU.
    pub role: NodeRole,
    /// O.
    pub cluster: ClusterId,
}

/// The part of the state that signs.
#[derive(Clone, Copy, Debug)]
pub struct Root<'a> {
    /// PEM of the certificate.
    pub certificate: &'a str,
    /// PEM of its key.
    pub key: &'a str,
    /// PEM of what stands between it and a root that is trusted longer; goes along with each certificate. Mostly empty.
    pub chain: &'a str,
    /// How long the certificates that it signs live.
    pub life: Duration,
}

impl<'a> Root<'a> {
    /// The cluster's: the one that comes while it is being replaced.
    #[must_use]
    pub fn of(cluster: &'a Cluster) -> Self {
        let life = cluster.spec.certificate_life;
        match &cluster.rotation {
            Some(next) => Self { certificate: &next.certificate, key: &next.key, chain: &next.cross_signed, life },
            None => Self { certificate: &cluster.root_certificate, key: &cluster.root_key, chain: "", life },
        }
    }
}

/// A certificate for the key that signed the request, with our subject instead of the request's. PEM.
///
/// # Errors
/// When the request or the root cannot be used.
pub fn sign_request(root: &Root<'_>, request: &str, subject: Subject, now: Moment) -> Result<String, CaError> {
    let length = request.len();
    if length > REQUEST_LEN_MAX {
        return Err(CaError::RequestLength { length, max: REQUEST_LEN_MAX });
    }
    let mut request = CertificateSigningRequestParams::from_pem(request).map_err(CaError::Request)?;
    request.params = node_params(subject, root.life, now);
    let key = KeyPair::from_pem(root.key).map_err(CaError::Root)?;
    let issuer = Issuer::from_ca_cert_pem(root.certificate, key).map_err(CaError::Root)?;
    let signed = request.signed_by(&issuer);
    let signed = signed.map_err(|source| CaError::Sign { name: subject.node.to_string(), source })?;
    Ok(signed.pem() + root.chain)
}

/// The same key's next certificate. Whoever has the root's key needs nobody's permission, and a key that is known by others
/// stays known.
///
/// # Errors
/// When the key or the root cannot be used.
pub fn sign_again(root: &Root<'_>, key: &str, subject: Subject, now: Moment) -> Result<String, CaError> {
    let key = KeyPair::from_pem(key).map_err(CaError::Key)?;
    let request = CertificateParams::default().serialize_request(&key).and_then(|request| request.pem());
    sign_request(root, &request.map_err(CaError::Key)?, subject, now)
}

/// The root's own certificate, signed by itself. PEM.
///
/// # Errors
/// When signing fails.
pub fn sign_root(key: &KeyPair, now: Moment) -> Result<String, CaError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, CA_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    lives(&mut params, ROOT_LIFE, now);
    let signed = params.self_signed(key);
    signed.map(|c| c.pem()).map_err(|source| CaError::Sign { name: CA_NAME.to_owned(), source })
}

/// The name and key of the root that comes, signed by the one that goes: whoever trusts only that one takes certificates of the
/// other along with this. PEM.
///
/// # Errors
/// When one of the two cannot be used.
pub fn cross_sign(old: &Root<'_>, next: &str, next_key: &str, now: Moment) -> Result<String, CaError> {
    let key = KeyPair::from_pem(old.key).map_err(CaError::Root)?;
    let issuer = Issuer::from_ca_cert_pem(old.certificate, key).map_err(CaError::Root)?;
    let next_key = KeyPair::from_pem(next_key).map_err(CaError::NewRoot)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = name_of(next).ok_or(CaError::NotARoot("its name cannot be read"))?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    lives(&mut params, ROOT_LIFE, now);
    let signed = params.signed_by(&next_key, &issuer);
    signed.map(|c| c.pem()).map_err(|source| CaError::Sign { name: CA_NAME.to_owned(), source })
}

fn node_params(subject: Subject, life: Duration, now: Moment) -> CertificateParams {
    let mut params = CertificateParams::default();
    let role = role_ou(subject.role);
    let node = subject.node.to_string();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, subject.cluster.to_string());
    params.distinguished_name.push(DnType::OrganizationalUnitName, role);
    params.distinguished_name.push(DnType::CommonName, node.as_str());
    let manager = (subject.role == NodeRole::Manager).then_some(CA_NAME);
    params.subject_alt_names = [node.as_str(), role].into_iter().chain(manager).map(dns_name).collect();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // Every node is a client of the managers; a worker may also be asked to prove itself as a server.
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    lives(&mut params, life, now);
    params
}

fn dns_name(text: &str) -> SanType {
    SanType::DnsName(text.try_into().expect("ids and role names are plain ASCII"))
}

/// The OU of a role.
#[must_use]
pub fn role_ou(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Manager => MANAGER_OU,
        NodeRole::Worker => WORKER_OU,
    }
}

fn lives(params: &mut CertificateParams, life: Duration, now: Moment) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + (now - BACKDATE).since(Moment(0));
    params.not_after = epoch + (now + life).since(Moment(0));
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;
    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;
    use crate::caller::Identity;

    const NOW: Moment = Moment(1_700_000_000_000);

    fn root() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (sign_root(&key, NOW).unwrap(), key.serialize_pem())
    }

    fn request() -> String {
        let mut params = CertificateParams::new(vec!["attacker.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::OrganizationalUnitName, MANAGER_OU);
        params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
    }

    fn subject(role: NodeRole) -> Subject {
        Subject { node: NodeId::new(7), role, cluster: ClusterId::new(9) }
    }

    fn issue(role: NodeRole) -> CertificateDer<'static> {
        let (certificate, key) = root();
        let root = Root { certificate: &certificate, key: &key, chain: "", life: Duration::from_secs(90 * 24 * 3600) };
        let pem = sign_request(&root, &request(), subject(role), NOW).unwrap();
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
    }

    #[test]
    fn the_subject_is_ours_whatever_the_request_says() {
        let der = issue(NodeRole::Worker);
        let identity = Identity::of_certificate(&der).unwrap();
        let expected = (NodeId::new(7), NodeRole::Worker, ClusterId::new(9));
        assert_eq!((identity.node, identity.role, identity.cluster), expected);
        let (_, parsed) = X509Certificate::from_der(&der).unwrap();
        let names = format!("{:?}", parsed.subject_alternative_name().unwrap().unwrap().value);
        assert!(!names.contains("attacker") && !names.contains(CA_NAME), "{names}");
        assert!(!parsed.is_ca());
    }

    #[test]
    fn a_manager_also_has_the_name_of_the_ca() {
        let der = issue(NodeRole::Manager);
        let (_, parsed) = X509Certificate::from_der(&der).unwrap();
        let names = format!("{:?}", parsed.subject_alternative_name().unwrap().unwrap().value);
        assert!(names.contains(CA_NAME) && names.contains(MANAGER_OU), "{names}");
    }

    #[test]
    fn it_begins_an_hour_ago_and_lives_as_long_as_the_cluster_says() {
        let der = issue(NodeRole::Worker);
        let (_, parsed) = X509Certificate::from_der(&der).unwrap();
        let validity = parsed.validity();
        assert_eq!(validity.not_before.timestamp(), 1_700_000_000 - 3600);
        assert_eq!(validity.not_after.timestamp(), 1_700_000_000 + 90 * 24 * 3600);
    }

    #[test]
    fn a_bad_request_is_refused() {
        let (certificate, key) = root();
        let root = Root { certificate: &certificate, key: &key, chain: "", life: ROOT_LIFE };
        let sign = |request: &str| sign_request(&root, request, subject(NodeRole::Worker), NOW);
        assert!(matches!(sign("nonsense"), Err(CaError::Request(_))));
        assert!(matches!(sign(&certificate), Err(CaError::Request(_))));
        assert!(matches!(sign(&"x".repeat(REQUEST_LEN_MAX + 1)), Err(CaError::RequestLength { .. })));
    }
}
