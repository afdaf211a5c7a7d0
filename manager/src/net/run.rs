//! Accepts, shakes hands, serves.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tower::{Service, ServiceExt};

use super::error::NetError;
use crate::caller::{Caller, Peer};
use crate::sys;

/// Connections at once: each of 5,000 nodes has one or two. Further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 16_384;
/// Handshakes at once. A silent one costs some kilobytes for a few seconds, so it takes many of them to keep others waiting.
const HANDSHAKES_MAX: usize = 4_096;
/// A client that has not proved itself by then is dropped, so that silent ones cannot fill the house.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(5);
/// A connection over which nothing came for so long is asked for a sign of life.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// No answer by then: it is closed. Far more than the dispatcher's grace: this only clears away dead sockets.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams of one connection: a session, a log listener, some calls and the logs that are being read.
const STREAMS_MAX: u32 = 1024;
/// Time that open connections get to finish what they do at shutdown; then they are cut.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(1);
/// After accept failed (out of file descriptors): time for connections to close.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The TLS configuration that new connections get; it can be swapped.
#[derive(Clone, Debug)]
pub struct TlsSlot(watch::Sender<Arc<ServerConfig>>);

impl TlsSlot {
    /// Begins with this one.
    #[must_use]
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self(watch::Sender::new(config))
    }

    /// Connections that begin from now on get this one; those that live are left alone.
    pub fn swap(&self, config: Arc<ServerConfig>) {
        self.0.send_replace(config);
    }

    fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0.borrow()))
    }
}

/// Answers calls, whatever service they are for.
pub trait Answer:
    Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Answer for S where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// The port, bound.
#[derive(Debug)]
pub struct Listener<S> {
    tcp: TcpListener,
    tls: TlsSlot,
    service: S,
}

/// What each connection needs.
#[derive(Clone, Debug)]
struct Shared<S> {
    tls: TlsSlot,
    service: S,
    handshakes: Arc<Semaphore>,
    stop: CancellationToken,
}

impl<S: Answer> Listener<S> {
    /// Takes the port.
    ///
    /// # Errors
    /// When it is taken or the address is not ours.
    pub async fn bind(address: SocketAddr, tls: TlsSlot, service: S) -> Result<Self, NetError> {
        let bound = TcpListener::bind(address).await;
        let tcp = bound.map_err(|source| NetError::Listen { address, source })?;
        Ok(Self { tcp, tls, service })
    }

    /// Where it listens; tells the port when it was asked for any.
    ///
    /// # Panics
    /// Never: a bound socket has an address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.tcp.local_addr().expect("a bound socket has an address")
    }

    /// Serves until `stop`, then lets open calls end for a bounded time.
    pub async fn run(self, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        let shared = Shared { tls: self.tls, service: self.service, handshakes, stop: stop.clone() };
        let tasks = TaskTracker::new();
        loop {
            let next = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, accept(&self.tcp).await)
            };
            let (place, stream) = tokio::select! {
                () = stop.cancelled() => break,
                next = next => next,
            };
            let serve = serve(stream, shared.clone());
            tasks.spawn(async move {
                serve.await;
                drop(place);
            });
        }
        tasks.close();
        tasks.wait().await;
    }
}

/// The next connection. Failures are the client's (gone already) or pass (no file descriptor free), so they are waited out.
async fn accept(tcp: &TcpListener) -> TcpStream {
    loop {
        match tcp.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::warn!(%error, "accept failed; trying again");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn serve<S: Answer>(stream: TcpStream, shared: Shared<S>) {
    let Some(tls) = handshake(stream, &shared.tls, &shared.handshakes).await else { return };
    let (caller, peer) = (caller(&tls), tls.get_ref().0.peer_addr().ok().map(Peer));
    let answer = shared.service.clone();
    let service = tower::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(caller);
        peer.map(|peer| request.extensions_mut().insert(peer));
        answer.clone().oneshot(request.map(Body::new))
    });
    let service = hyper_util::service::TowerToHyperService::new(service);
    let connection = builder().serve_connection(TokioIo::new(tls), service);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = shared.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(DRAIN_TIME_MAX, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, ?caller, "connection ended");
    }
}

async fn handshake(stream: TcpStream, tls: &TlsSlot, handshakes: &Semaphore) -> Option<TlsStream<TcpStream>> {
    // Messages are small and somebody waits for each.
    let _ = stream.set_nodelay(true);
    let _slot = handshakes.acquire().await.ok()?;
    let shaken = tokio::time::timeout(HANDSHAKE_TIME_MAX, tls.acceptor().accept(stream)).await;
    match shaken {
        Ok(Ok(tls)) => Some(tls),
        Ok(Err(error)) => {
            tracing::debug!(%error, "handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!("handshake took too long");
            None
        }
    }
}

/// Whoever the handshake was with.
fn caller(tls: &TlsStream<TcpStream>) -> Caller {
    let certificate = tls.get_ref().1.peer_certificates().and_then(<[_]>::first);
    certificate.map_or(Caller::Anonymous, |der| Caller::of_certificate(der, sys::now()))
}

fn builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX);
    builder
}
