//! Connections to managers: TCP, TLS of our own, HTTP/2.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use hyper_util::rt::TokioIo;
use nix::sys::socket::{setsockopt, sockopt};
use rustls::{CertificateError, ClientConfig};
use rustls_pki_types::ServerName;
use skep_proto::estranged::{Estranged, is_estranged};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::identity::certificate::MANAGER_OU;
use crate::identity::{Identity, IdentityError, tls};

/// How long TCP may take. A machine that is off answers nothing, and there may be other managers to try before the leader takes this node
/// for dead.
const TCP_MAX: Duration = Duration::from_secs(1);

/// How long TCP and TLS may take together. A manager in the same continent needs a tenth; one that thousands of agents come to at once
/// needs longer.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// How long a manager may leave what was sent to it unacknowledged before the kernel gives the connection up. A node whose leader lost its
/// power has to be back at the next one within the three seconds that this one waits. Heartbeats see to it that something is always sent.
const SILENCE_MS_MAX: u32 = 2_000;

/// A ping after so much silence clears away what hangs before there is a session. In a session the manager answers heartbeats, so that
/// what this costs it grows no faster than the swarm, and the machine of the session gives it up in time.
const PING_AFTER: Duration = Duration::from_secs(30);

/// How long the answer may take.
const PING_MAX: Duration = Duration::from_secs(30);

/// Why a manager was not reached.
pub type ConnectError = Box<dyn Error + Send + Sync>;

/// Makes connections to managers.
#[async_trait]
pub trait Connect: Send + Sync + 'static {
    /// Connects to HOST:PORT.
    ///
    /// # Errors
    /// When nobody answers, or somebody else.
    async fn connect(&self, address: &str) -> Result<Channel, ConnectError>;

    /// Connects to HOST:PORT to ask for the next certificate and for nothing else, whatever the time of those that are there.
    ///
    /// # Errors
    /// When nobody answers, or somebody else.
    async fn connect_to_renew(&self, address: &str) -> Result<Channel, ConnectError>;

    /// The node has a new certificate: connections made from now on show it.
    ///
    /// # Errors
    /// When it cannot be used.
    fn renew(&self, identity: &Identity) -> Result<(), IdentityError>;
}

/// The real one: mutual TLS with the node's identity.
#[derive(Debug)]
pub struct TlsConnect {
    configs: ArcSwap<Configs>,
}

/// What the identity makes of a connection.
#[derive(Debug)]
struct Configs {
    usual: Arc<ClientConfig>,
    renewal: Arc<ClientConfig>,
}

impl Configs {
    fn new(identity: &Identity) -> Result<Self, IdentityError> {
        Ok(Self { usual: tls::node_config(identity)?, renewal: tls::renewal_config(identity)? })
    }
}

impl TlsConnect {
    /// Connects as that node.
    ///
    /// # Errors
    /// When key and certificate cannot be used.
    pub fn new(identity: &Identity) -> Result<Self, IdentityError> {
        Ok(Self { configs: ArcSwap::from_pointee(Configs::new(identity)?) })
    }
}

#[async_trait]
impl Connect for TlsConnect {
    async fn connect(&self, address: &str) -> Result<Channel, ConnectError> {
        connect_with(address, Arc::clone(&self.configs.load().usual)).await
    }

    async fn connect_to_renew(&self, address: &str) -> Result<Channel, ConnectError> {
        connect_with(address, Arc::clone(&self.configs.load().renewal)).await
    }

    fn renew(&self, identity: &Identity) -> Result<(), IdentityError> {
        self.configs.store(Arc::new(Configs::new(identity)?));
        Ok(())
    }
}

/// Connects with a configuration. The address is written as `http` because the TLS is ours and not the transport's.
///
/// # Errors
/// When nobody answers, or somebody else.
pub async fn connect_with(address: &str, config: Arc<ClientConfig>) -> Result<Channel, ConnectError> {
    let target = address.to_owned();
    let connector = service_fn(move |_| bounded(target.clone(), Arc::clone(&config)));
    let connected = endpoint(address)?.connect_with_connector(connector).await;
    // What the layers between have to add is that they failed, too.
    connected.map_err(|error| if is_estranged(&error) { Estranged::Root.into() } else { root(&error) })
}

/// The deepest cause of an error.
fn root(error: &(dyn Error + 'static)) -> ConnectError {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let tls = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref).and_then(|inner| inner.downcast_ref());
    tls.and_then(by_the_clock).map_or_else(|| cause.to_string(), str::to_owned).into()
}

/// What a certificate's time means to who looks for the fault.
fn by_the_clock(error: &rustls::Error) -> Option<&'static str> {
    let rustls::Error::InvalidCertificate(error) = error else { return None };
    match error {
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Some("its certificate is not valid yet by this machine's clock; one of the two clocks is wrong")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Some(
            "its certificate has expired by this machine's clock; one of the two clocks is wrong, or it was off for long",
        ),
        _ => None,
    }
}

async fn bounded(address: String, config: Arc<ClientConfig>) -> Result<TokioIo<TlsStream<TcpStream>>, ConnectError> {
    let late = || format!("no answer within {} s", CONNECT_MAX.as_secs());
    timeout(CONNECT_MAX, secure(address, config)).await.map_err(|_| late())?
}

fn endpoint(address: &str) -> Result<Endpoint, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    Ok(endpoint.http2_keep_alive_interval(PING_AFTER).keep_alive_timeout(PING_MAX).keep_alive_while_idle(true))
}

async fn secure(address: String, config: Arc<ClientConfig>) -> Result<TokioIo<TlsStream<TcpStream>>, ConnectError> {
    let stream = timeout(TCP_MAX, TcpStream::connect(&address)).await??;
    stream.set_nodelay(true)?;
    setsockopt(&stream, sockopt::TcpUserTimeout, &SILENCE_MS_MAX)?;
    let name = ServerName::try_from(MANAGER_OU).expect("a DNS label");
    let secured = TlsConnector::from(config).connect(name, stream).await?;
    Ok(TokioIo::new(secured))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_clock_is_told_as_such() {
        let told = |why: CertificateError| root(&io::Error::new(io::ErrorKind::InvalidData, rustls::Error::from(why)));
        assert!(told(CertificateError::NotValidYet).to_string().contains("clocks is wrong"));
        assert!(told(CertificateError::Expired).to_string().contains("has expired by this machine's clock"));
        assert!(!told(CertificateError::UnknownIssuer).to_string().contains("clock"));
    }
}
