//! The roots that every node is to trust, as sessions tell them.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use skep_proto::model::{Cluster, RootDigest};

/// The cluster's roots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// PEM, one behind the other.
    pub pem: Arc<str>,
    /// What a node that trusts them says; empty before there is a cluster.
    pub digest: Vec<u8>,
}

impl Trust {
    /// What is to be trusted now.
    #[must_use]
    pub fn of(cluster: &Cluster) -> Self {
        let pem = cluster.trust();
        let ders: Vec<CertificateDer<'_>> =
            CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok).collect();
        let digest = RootDigest::of_ders(ders.iter().map(AsRef::as_ref)).to_bytes();
        Self { digest, pem: pem.into() }
    }
}
