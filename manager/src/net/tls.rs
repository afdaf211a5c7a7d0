//! What a connection must prove. The only place of this crate that names a cryptography provider.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::error::NetError;

/// gRPC is HTTP/2 and nothing else.
const ALPN: &[u8] = b"h2";

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
    let verifier = verifier.build().map_err(NetError::Verifier)?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
    let key = key.map_err(|source| NetError::Pem { what: "node's key", source })?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(NetError::Identity)?
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(certificates(certificate, "node's certificate")?, key)
        .map_err(NetError::Identity)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
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
