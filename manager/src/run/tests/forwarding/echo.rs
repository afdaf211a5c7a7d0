//! Managers whose only service is one that the test looks into, so that the way alone is seen.
#![expect(clippy::disallowed_methods, reason = "callers and services of the test run beside it")]

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;
use tonic::body::Body;
use tower::{Service, ServiceExt};

use super::super::client::{Member, PATIENCE, channel};
use super::group::{Common, Raft};
use crate::ca::NodeIdentity;
use crate::caller::{Caller, Peer, Via};
use crate::forward::{Bearings, Forward};
use crate::net::{Dialer, Listener, TlsSlot, client_config, server_config};

/// What a service was asked, by method.
#[derive(Debug, Default)]
pub(super) struct Seen {
    begun: AtomicUsize,
    open: AtomicUsize,
    changed: Notify,
}

impl Seen {
    /// Calls that have reached the service.
    pub(super) fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    /// Waits until so many calls are in the service's hands.
    pub(super) async fn until_open(&self, count: usize) {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                if self.open.load(Ordering::SeqCst) == count {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("calls begin and end in time");
    }
}

/// A call in the service's hands.
struct Held(Arc<Seen>);

impl Held {
    fn new(seen: &Arc<Seen>) -> Self {
        seen.begun.fetch_add(1, Ordering::SeqCst);
        seen.open.fetch_add(1, Ordering::SeqCst);
        seen.changed.notify_waiters();
        Self(Arc::clone(seen))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

/// Answers by the last word of the path.
#[derive(Clone, Debug, Default)]
pub(super) struct Echo(Arc<Seen>);

impl Service<Request<Body>> for Echo {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let held = Held::new(&self.0);
        Box::pin(async move { Ok(answer(request, held).await) })
    }
}

async fn answer(request: Request<Body>, held: Held) -> Response<Body> {
    let word = request.uri().path().rsplit('/').next().unwrap().to_owned();
    match word.as_str() {
        "GetEcho" => echo(request, held),
        "GetWho" => who(&request),
        "GetMuch" => much(held),
        "CreateRefused" => {
            let mut status = Status::failed_precondition("failed to create: a – dash");
            status.metadata_mut().insert("x-detail", "kept".parse().unwrap());
            status.into_http()
        }
        // Reads all that it is sent, and never answers.
        "CreateHang" | "GetHang" => {
            let _ = request.into_body().collect().await;
            std::future::pending::<()>().await;
            drop(held);
            Response::default()
        }
        "WatchHang" => {
            let body = futures_util::stream::once(async move {
                std::future::pending::<()>().await;
                drop(held);
                Ok::<_, Status>(Frame::data(Bytes::new()))
            });
            Response::new(Body::new(StreamBody::new(body)))
        }
        other => panic!("no test asks for {other}"),
    }
}

/// Gives back each piece as it comes, then the end with something in the trailers.
fn echo(request: Request<Body>, held: Held) -> Response<Body> {
    let (out, frames) = mpsc::channel(1);
    let mut body = request.into_body();
    tokio::spawn(async move {
        while let Some(Ok(frame)) = body.frame().await {
            if out.send(Ok::<_, Status>(frame)).await.is_err() {
                return;
            }
        }
        let trailers = [("grpc-status", "0"), ("x-trailer", "kept")].map(|(name, value)| {
            (name.parse::<http::HeaderName>().unwrap(), value.parse::<http::HeaderValue>().unwrap())
        });
        let _ = out.send(Ok(Frame::trailers(HeaderMap::from_iter(trailers)))).await;
        drop(held);
    });
    let mut response = Response::new(Body::new(StreamBody::new(ReceiverStream::new(frames))));
    response.headers_mut().insert("x-header", "kept".parse().unwrap());
    response
}

fn who(request: &Request<Body>) -> Response<Body> {
    let extensions = request.extensions();
    let (caller, via) = (Caller::of(extensions), Via::of(extensions));
    let peer = Peer::of(extensions).map(|peer| peer.0.ip());
    let leaked = request.headers().contains_key("skep-caller");
    let mut response = Response::new(Body::empty());
    let text = format!("{caller:?} {via:?} {peer:?} {leaked}");
    response.headers_mut().insert("x-who", text.parse().unwrap());
    response
}

/// More than anybody's windows hold.
fn much(held: Held) -> Response<Body> {
    let chunk = Bytes::from(vec![7; 16 << 10]);
    let chunks = futures_util::stream::iter((0..1024).map(move |_| {
        let _ = &held;
        Ok::<_, Status>(Frame::data(chunk.clone()))
    }));
    Response::new(Body::new(StreamBody::new(chunks)))
}

/// A manager of which only the way is real.
pub(super) struct Waypoint {
    pub(super) raft: Raft,
    pub(super) identity: NodeIdentity,
    pub(super) address: SocketAddr,
    pub(super) calls: Forward<Echo>,
    pub(super) seen: Arc<Seen>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

pub(super) struct Ways {
    pub(super) common: Common,
    pub(super) points: Vec<Waypoint>,
}

impl Ways {
    /// So many, with Raft ids from 1; the first one leads.
    pub(super) async fn new(count: u64) -> Self {
        let common = Common::found().await;
        let mut points = Vec::new();
        for id in 1..=count {
            let point = Waypoint::start(&common, id, common.identity(id).await).await;
            common.place(point.identity.node, id, point.address).await;
            points.push(point);
        }
        Self { common, points }
    }

    pub(super) fn point(&self, id: u64) -> &Waypoint {
        self.points.iter().find(|point| point.raft.id == id).unwrap()
    }

    pub(super) fn lead(&self, leader: Option<u64>) {
        for point in &self.points {
            point.raft.tell(leader);
        }
    }

    /// A call at that manager's socket.
    pub(super) async fn local(&self, id: u64, method: &str) -> Response<Body> {
        self.point(id).calls.local().oneshot(call(method, Body::empty())).await.unwrap()
    }

    /// A call over TCP.
    pub(super) async fn remote(&self, id: u64, by: Option<&Member>, request: Request<Body>) -> Response<Body> {
        let channel = channel(self.point(id).address, &self.common.root, by).await;
        channel.oneshot(request).await.unwrap()
    }
}

impl Waypoint {
    pub(super) async fn start(common: &Common, id: u64, identity: NodeIdentity) -> Self {
        let NodeIdentity { certificate, key, root, .. } = &identity;
        let (stop, tasks, raft) = (CancellationToken::new(), TaskTracker::new(), Raft::new(id, Some(1)));
        let bearings = Bearings {
            store: common.store.clone(),
            own: id,
            leader: raft.leader.subscribe(),
            heard: raft.heard.subscribe(),
            dialer: Dialer::new(client_config(certificate, key, root).unwrap()),
        };
        let echo = Echo::default();
        let seen = Arc::clone(&echo.0);
        let calls = Forward::new(echo, bearings, tasks.clone(), stop.clone());
        let tls = TlsSlot::new(server_config(certificate, key, root).unwrap());
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), tls, calls.clone()).await.unwrap();
        let address = listener.address();
        tasks.spawn(listener.run(stop.clone()));
        Self { raft, identity, address, calls, seen, stop, tasks }
    }

    /// As if the process had ended: the port is closed and every connection is cut.
    pub(super) async fn kill(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// A call of a method that is the leader's.
pub(super) fn call(method: &str, body: Body) -> Request<Body> {
    let uri = format!("http://manager/skep.v1.Control/{method}");
    let request = Request::builder().method("POST").uri(uri).header("te", "trailers");
    request.header("content-type", "application/grpc").body(body).unwrap()
}

/// The status of an answer that is nothing else.
pub(super) fn status(response: &Response<Body>) -> Status {
    Status::from_header_map(response.headers()).expect("an answer that is a status")
}

/// The status at the end of an answer.
pub(super) async fn ending(response: Response<Body>) -> Status {
    let body = tokio::time::timeout(PATIENCE, response.into_body().collect()).await.expect("an end in time").unwrap();
    Status::from_header_map(body.trailers().expect("trailers")).expect("a status in the trailers")
}

/// What `GetWho` said.
pub(super) fn told(response: &Response<Body>) -> String {
    response.headers().get("x-who").map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}
