//! The cluster's calls on the local socket: served while this node is a manager, refused with the reason while it is not.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};

use skep_manager::OwnCalls;
use skep_proto::pb::authority_server;
use skep_proto::pb::control_server::SERVICE_NAME;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;

/// Stands before the manager, which comes and goes while the socket stays. What only the leader can answer, the manager passes on.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    behind: Arc<RwLock<Behind>>,
}

#[derive(Debug)]
enum Behind {
    Open(OwnCalls),
    Closed(String),
}

impl Gate {
    /// A gate that refuses with `reason`.
    #[must_use]
    pub(crate) fn closed(reason: &str) -> Self {
        Self { behind: Arc::new(RwLock::new(Behind::Closed(reason.to_owned()))) }
    }

    /// Lets calls through to the manager.
    pub(crate) fn open(&self, manager: OwnCalls) {
        self.set(Behind::Open(manager));
    }

    /// Refuses calls from now on; those under way go on.
    pub(crate) fn close(&self, reason: &str) {
        self.set(Behind::Closed(reason.to_owned()));
    }

    fn set(&self, behind: Behind) {
        *self.behind.write().unwrap_or_else(PoisonError::into_inner) = behind;
    }

    fn manager(&self) -> Result<OwnCalls, String> {
        match &*self.behind.read().unwrap_or_else(PoisonError::into_inner) {
            Behind::Open(manager) => Ok(manager.clone()),
            Behind::Closed(reason) => Err(reason.clone()),
        }
    }
}

impl NamedService for Gate {
    const NAME: &'static str = SERVICE_NAME;
}

/// The same for the calls about the root, which are a service of their own.
#[derive(Clone, Debug)]
pub(crate) struct AuthorityGate(pub Gate);

impl NamedService for AuthorityGate {
    const NAME: &'static str = authority_server::SERVICE_NAME;
}

impl Service<http::Request<Body>> for AuthorityGate {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        self.0.call(request)
    }
}

impl Service<http::Request<Body>> for Gate {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match self.manager() {
            Ok(mut manager) => manager.call(request),
            Err(reason) => Box::pin(std::future::ready(Ok(Status::failed_precondition(reason).into_http()))),
        }
    }
}
