//! The cluster's calls on the local socket: served while this node is a manager, refused with the reason while it is not.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};

use skep_proto::pb::control_server::{Control, ControlServer, SERVICE_NAME};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;

/// Stands before the manager's [`Control`], which comes and goes while the socket stays.
#[derive(Debug)]
pub(crate) struct Gate<T> {
    behind: Arc<RwLock<Behind<T>>>,
}

#[derive(Debug)]
enum Behind<T> {
    Open(ControlServer<T>),
    Closed(String),
}

impl<T> Clone for Gate<T> {
    fn clone(&self) -> Self {
        Self { behind: Arc::clone(&self.behind) }
    }
}

impl<T: Control> Gate<T> {
    /// A gate that refuses with `reason`.
    #[must_use]
    pub(crate) fn closed(reason: &str) -> Self {
        Self { behind: Arc::new(RwLock::new(Behind::Closed(reason.to_owned()))) }
    }

    /// Lets calls through to `control`.
    pub(crate) fn open(&self, control: T) {
        self.set(Behind::Open(ControlServer::new(control)));
    }

    /// Refuses calls from now on; those under way go on.
    pub(crate) fn close(&self, reason: &str) {
        self.set(Behind::Closed(reason.to_owned()));
    }

    fn set(&self, behind: Behind<T>) {
        *self.behind.write().unwrap_or_else(PoisonError::into_inner) = behind;
    }

    fn server(&self) -> Result<ControlServer<T>, String> {
        match &*self.behind.read().unwrap_or_else(PoisonError::into_inner) {
            Behind::Open(server) => Ok(server.clone()),
            Behind::Closed(reason) => Err(reason.clone()),
        }
    }
}

impl<T> NamedService for Gate<T> {
    const NAME: &'static str = SERVICE_NAME;
}

impl<T: Control> Service<http::Request<Body>> for Gate<T> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match self.server() {
            Ok(mut server) => server.call(request),
            Err(reason) => Box::pin(std::future::ready(Ok(Status::failed_precondition(reason).into_http()))),
        }
    }
}
