//! TLS configurations. The provider of the cryptography is named here and nowhere else in the agent.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use skep_proto::estranged::Estranged;
use skep_proto::model::{ClusterId, NodeRole, RootDigest};
use skep_proto::pb;

use super::certificate::{Identity, MANAGER_OU, Subject, WORKER_OU, first};
use super::error::IdentityError;

/// Protocol that is agreed on: gRPC is HTTP/2.
const ALPN_H2: &[u8] = b"h2";

/// The provider.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// For a node: it shows its certificate and trusts its root.
///
/// # Errors
/// When key, certificate and root cannot be used together.
pub fn node_config(identity: &Identity) -> Result<Arc<ClientConfig>, IdentityError> {
    of_ours(identity, Time::Now)
}

/// For a node that asks for its next certificate because the time of its own, or of its managers', is over: it shows what it has, and
/// trusts a manager of its cluster that its root signed, whatever the time. Nothing else may be said over it.
///
/// # Errors
/// When key, certificate and root cannot be used together.
pub fn renewal_config(identity: &Identity) -> Result<Arc<ClientConfig>, IdentityError> {
    of_ours(identity, Time::Any)
}

fn of_ours(identity: &Identity, time: Time) -> Result<Arc<ClientConfig>, IdentityError> {
    let (chain, key) = proof(identity)?;
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions().map_err(IdentityError::Tls)?;
    let verifier = Arc::new(OfOurs { inner: verifier(&identity.root)?, cluster: identity.cluster, time });
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    Ok(with_h2(builder.with_client_auth_cert(chain, key).map_err(IdentityError::Tls)?))
}

/// For a joiner that has checked the root against its token: it shows nothing and trusts that root.
///
/// # Errors
/// When the root is no certificate.
pub fn joiner_config(root: &str) -> Result<Arc<ClientConfig>, IdentityError> {
    Ok(with_h2(verified(root)?.with_no_client_auth()))
}

/// For a joiner that knows nothing yet: it trusts whoever answers, so nothing secret may be said over it.
///
/// # Errors
/// Never in practice: the provider knows the protocol's versions.
pub fn stranger_config() -> Result<Arc<ClientConfig>, IdentityError> {
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions().map_err(IdentityError::Tls)?;
    let verifier = Arc::new(TrustAnybody { provider: provider() });
    Ok(with_h2(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
}

/// Checks roots before they take the place of others.
///
/// # Errors
/// When there is none, or one cannot be read.
pub fn check_trust(roots: &str) -> Result<(), IdentityError> {
    verifier(roots).map(drop)
}

/// What the managers are told of the identity: which of the roots it trusts signed its certificate with nothing between, and all of them.
#[must_use]
pub fn credentials(identity: &Identity) -> pb::Credentials {
    let roots: Vec<CertificateDer<'_>> =
        CertificateDer::pem_slice_iter(identity.root.as_bytes()).filter_map(Result::ok).collect();
    let trust = RootDigest::of_ders(roots.iter().map(AsRef::as_ref)).to_bytes();
    let signer = first(&identity.certificate).ok().and_then(|leaf| roots.iter().find(|root| signed(root, &leaf)));
    pb::Credentials { root: signer.map(|root| RootDigest::of_der(root).to_bytes()).unwrap_or_default(), trust, lock: 0 }
}

/// Whether that root signed that certificate, whatever the time.
fn signed(root: &CertificateDer<'_>, leaf: &CertificateDer<'_>) -> bool {
    let verify = || {
        let mut roots = RootCertStore::empty();
        roots.add(root.clone().into_owned()).ok()?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().ok()?;
        let subject = Subject::of(leaf).ok()?;
        let ou = if subject.role == NodeRole::Manager { MANAGER_OU } else { WORKER_OU };
        let name = ServerName::try_from(ou).ok()?;
        let then = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(subject.until).ok()?));
        verifier.verify_server_cert(leaf, &[], &name, &[], then).ok()
    };
    verify().is_some()
}

/// What the node shows.
type Proof = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn proof(identity: &Identity) -> Result<Proof, IdentityError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect();
    let chain = chain.map_err(|_| IdentityError::Certificate { problem: "it is not in PEM" })?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes());
    let key = key.map_err(|_| IdentityError::Certificate { problem: "its key is not in PEM" })?;
    Ok((chain, key))
}

type Verified = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn verified(root: &str) -> Result<Verified, IdentityError> {
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions().map_err(IdentityError::Tls)?;
    Ok(builder.with_webpki_verifier(verifier(root)?))
}

fn verifier(root: &str) -> Result<Arc<WebPkiServerVerifier>, IdentityError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(root.as_bytes()) {
        let certificate = certificate.map_err(|_| IdentityError::Certificate { problem: "the root is not in PEM" })?;
        roots.add(certificate).map_err(IdentityError::Tls)?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    verifier.map_err(|_| IdentityError::Certificate { problem: "there is no root" })
}

fn with_h2(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    Arc::new(config)
}

/// What is asked of the time of a manager's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Time {
    Now,
    Any,
}

/// Accepts managers of one cluster, and knows one that another root has signed for what it says that it is.
#[derive(Debug)]
struct OfOurs {
    inner: Arc<WebPkiServerVerifier>,
    cluster: ClusterId,
    time: Time,
}

impl ServerCertVerifier for OfOurs {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let subject = Subject::of(end_entity).map_err(|_| rustls::Error::from(CertificateError::BadEncoding))?;
        if (subject.cluster, subject.role) != (self.cluster, NodeRole::Manager) {
            return Err(Estranged::Swarm.into());
        }
        let then = if self.time == Time::Any { within(&subject, now) } else { now };
        let verified = self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, then);
        verified.map_err(|error| match error {
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
                Estranged::Root.into()
            }
            other => other,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// The moment of the certificate's life that is nearest to now.
fn within(subject: &Subject, now: UnixTime) -> UnixTime {
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX).min(subject.until).max(subject.from);
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// Accepts every server certificate. The signatures of the handshake are checked all the same: they cost nothing here.
#[derive(Debug)]
struct TrustAnybody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for TrustAnybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
