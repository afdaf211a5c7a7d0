//! What can go wrong with the port.

use std::net::SocketAddr;
use std::time::Duration;

use skep_proto::model::NodeId;

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

/// Why another manager was not reached. Nothing was said to it then.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody listens there, or the way is barred.
    #[error("connect to {address}")]
    Connect {
        /// HOST:PORT.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Somebody listens who is no manager of this cluster, or does not take us for one.
    #[error("agree on TLS with {address}")]
    Tls {
        /// HOST:PORT.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No answer.
    #[error("connect to {address}: no answer within {limit:?}")]
    Slow {
        /// HOST:PORT.
        address: String,
        /// How long was waited.
        limit: Duration,
    },
    /// A manager, but another one than was meant: its address has passed to another machine.
    #[error("connect to node {wanted}: another node answers at {address}")]
    Another {
        /// HOST:PORT.
        address: String,
        /// Who was meant.
        wanted: NodeId,
    },
}
