//! What can go wrong with the port.

use std::net::SocketAddr;

/// Why the port is not served.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The port is taken, or the address is not this machine's.
    #[error("listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Text that is no PEM of the kind.
    #[error("read the PEM of the {what}")]
    Pem {
        /// Which part.
        what: &'static str,
        /// Why.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// The root cannot be trusted.
    #[error("trust the cluster's root")]
    Root(#[source] rustls::Error),
    /// The verifier could not be made of the root.
    #[error("verify clients with the cluster's root")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
    /// Certificate and key do not fit.
    #[error("use the node's certificate and key")]
    Identity(#[source] rustls::Error),
    /// Another manager was not reached.
    #[error("reach the manager at {address}")]
    Dial {
        /// HOST:PORT.
        address: String,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
}
