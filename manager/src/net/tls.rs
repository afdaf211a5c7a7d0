//! What a connection must prove. The only place of this crate that names a cryptography provider.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig,
    SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use skep_proto::estranged::Estranged;
use skep_proto::model::{ClusterId, Moment};

use super::error::NetError;
use crate::caller::{Identity, MANAGER_OU, validity};

/// gRPC is HTTP/2 and nothing else.
const ALPN: &[u8] = b"h2";

/// Whether a manager with that chain is taken by whoever trusts these roots.
#[must_use]
pub fn leads_to(chain: &str, roots: &str, now: Moment) -> bool {
    leads_to_as(MANAGER_OU, chain, roots, now)
}

/// The same for a certificate of that OU, which is the name that it is good for.
#[must_use]
pub fn leads_to_as(ou: &'static str, chain: &str, roots: &str, now: Moment) -> bool {
    let verify = || {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(trust(roots).ok()?), provider).build().ok()?;
        let chain = certificates(chain, "chain").ok()?;
        let (leaf, between) = chain.split_first()?;
        let name = ServerName::try_from(ou).ok()?;
        let now = UnixTime::since_unix_epoch(Duration::from_millis(now.0));
        verifier.verify_server_cert(leaf, between, &name, &[], now).ok()
    };
    verify().is_some()
}

/// The server's side: our certificate, and clients either without one or with one that the root signed.
///
/// # Errors
/// When a part cannot be read or does not fit the others.
pub fn server_config(certificate: &str, key: &str, root: &str) -> Result<Arc<ServerConfig>, NetError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(trust(root)?), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .map_err(NetError::Verifier)?;
    let verifier = Arc::new(WhateverTheTime(verifier));
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
    let key = key.map_err(|source| NetError::Pem { what: "node's key", source })?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(NetError::Identity)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(certificate, "node's certificate")?, key)
        .map_err(NetError::Identity)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// The client's side: our certificate, and servers with one that the root signed.
///
/// # Errors
/// When a part cannot be read or does not fit the others.
pub fn client_config(certificate: &str, key: &str, root: &str) -> Result<Arc<ClientConfig>, NetError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(trust(root)?), Arc::clone(&provider));
    let inner = verifier.build().map_err(NetError::Verifier)?;
    let chain = certificates(certificate, "node's certificate")?;
    let own = chain.first().and_then(|own| Identity::of_certificate(own).ok()).map(|own| own.cluster);
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
    let key = key.map_err(|source| NetError::Pem { what: "node's key", source })?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(NetError::Identity)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(KnowsItsOwn { inner, own }))
        .with_client_auth_cert(chain, key)
        .map_err(NetError::Identity)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// Takes servers that the root signed, and knows a manager of its own cluster that another root has signed for what it says that it is.
#[derive(Debug)]
struct KnowsItsOwn {
    inner: Arc<WebPkiServerVerifier>,
    own: Option<ClusterId>,
}

impl ServerCertVerifier for KnowsItsOwn {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let is_ours = || Identity::of_certificate(end_entity).is_ok_and(|theirs| Some(theirs.cluster) == self.own);
        let verified = self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        verified.map_err(|error| match error {
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)
                if is_ours() =>
            {
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

/// Takes client certificates that are good but for their time. Who shows one is told apart by [`crate::caller::Caller::Lapsed`].
#[derive(Debug)]
struct WhateverTheTime(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for WhateverTheTime {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.0.verify_client_cert(end_entity, intermediates, within(end_entity, now))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// The moment of the certificate's life that is nearest to now.
fn within(certificate: &CertificateDer<'_>, now: UnixTime) -> UnixTime {
    let Some((from, until)) = validity(certificate) else { return now };
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX).min(until).max(from);
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

fn trust(root: &str) -> Result<RootCertStore, NetError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(root, "cluster's root")? {
        store.add(certificate).map_err(NetError::Root)?;
    }
    Ok(store)
}

fn certificates(pem: &str, what: &'static str) -> Result<Vec<CertificateDer<'static>>, NetError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|source| NetError::Pem { what, source })
}
