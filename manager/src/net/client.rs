//! Connections to other managers: TCP, TLS of our own, HTTP/2.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper_util::rt::TokioIo;
use nix::sys::socket::{setsockopt, sockopt};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use skep_proto::model::NodeId;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use super::error::{DialError, NetError};
use crate::caller::{Identity, MANAGER_OU};

/// How long TCP and TLS may take together. A manager in the same continent needs a tenth.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);

/// How long a manager may leave what was sent to it unacknowledged before the kernel gives the connection up. Heartbeats see to it
/// that something is always sent.
const SILENCE_MS_MAX: u32 = 3_000;

/// A ping after so much silence finds a manager that hangs while its kernel goes on acknowledging.
const PING_AFTER: Duration = Duration::from_secs(5);

/// Connects to other managers with this node's identity, which can be swapped. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Dialer(Arc<ArcSwap<ClientConfig>>);

impl Dialer {
    /// Begins with this configuration, as [`super::client_config`] makes it.
    #[must_use]
    pub fn new(config: Arc<ClientConfig>) -> Self {
        Self(Arc::new(ArcSwap::new(config)))
    }

    /// Connections that begin from now on show this one.
    pub fn swap(&self, config: Arc<ClientConfig>) {
        self.0.store(config);
    }

    /// Connects to the manager at HOST:PORT. Whoever answers has proved to be a manager that the root signed.
    ///
    /// # Errors
    /// When the address is none, nobody answers in time, or somebody else does.
    pub async fn dial(&self, address: &str) -> Result<Channel, NetError> {
        let wrap = |source: tonic::transport::Error| NetError::Dial { address: address.to_owned(), source };
        let (target, config) = (address.to_owned(), self.0.load_full());
        // The address is written as `http` because the TLS is ours and not the transport's.
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(wrap)?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIME_MAX)
            .http2_keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(Duration::from_millis(SILENCE_MS_MAX.into()))
            .keep_alive_while_idle(true);
        let connector = service_fn(move |_| secure(target.clone(), Arc::clone(&config)));
        endpoint.connect_with_connector(connector).await.map_err(wrap)
    }

    /// Connects to HOST:PORT and no further than TLS, and makes sure that it is that manager: addresses pass from one machine to
    /// another.
    ///
    /// # Errors
    /// When nobody answers in time, or somebody else does. Nothing was said then.
    pub async fn reach(&self, address: &str, wanted: NodeId) -> Result<TlsStream<TcpStream>, DialError> {
        let slow = |_| DialError::Slow { address: address.to_owned(), limit: CONNECT_TIME_MAX };
        let connecting = async {
            let owned = || address.to_owned();
            let tcp = open(address).await.map_err(|source| DialError::Connect { address: owned(), source })?;
            shake(tcp, self.0.load_full()).await.map_err(|source| DialError::Tls { address: owned(), source })
        };
        let stream = tokio::time::timeout(CONNECT_TIME_MAX, connecting).await.map_err(slow)??;
        match identity(&stream) {
            Some(found) if found.node == wanted => Ok(stream),
            _ => Err(DialError::Another { address: address.to_owned(), wanted }),
        }
    }
}

async fn secure(address: String, config: Arc<ClientConfig>) -> std::io::Result<TokioIo<TlsStream<TcpStream>>> {
    Ok(TokioIo::new(shake(open(&address).await?, config).await?))
}

async fn open(address: &str) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    setsockopt(&stream, sockopt::TcpUserTimeout, &SILENCE_MS_MAX)?;
    Ok(stream)
}

async fn shake(stream: TcpStream, config: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(MANAGER_OU).expect("a DNS label");
    TlsConnector::from(config).connect(name, stream).await
}

fn identity(stream: &TlsStream<TcpStream>) -> Option<Identity> {
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first)?;
    Identity::of_certificate(certificate).ok()
}
