//! The services of a manager behind one door, told apart by the name that a call's path begins with.
//!
//! A router that knows patterns and methods would cost each call more than the service it is for: here a path has one form, and a manager
//! seven services.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use skep_proto::pb::authority_server::{self, AuthorityServer};
use skep_proto::pb::ca_server::{self, CaServer};
use skep_proto::pb::control_server::{self, ControlServer};
use skep_proto::pb::dispatcher_server::{self, DispatcherServer};
use skep_proto::pb::log_broker_server::{self, LogBrokerServer};
use skep_proto::pb::membership_server::{self, MembershipServer};
use skep_proto::pb::raft_server::{self, RaftServer};
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use crate::api::ControlService;
use crate::ca::CaService;
use crate::dispatcher::Dispatcher;
use crate::forward::LocalCalls;
use crate::logs::LogBroker;
use crate::membership::MembershipService;
use crate::raft::RaftService;

/// All of them; cheap to clone.
#[derive(Clone, Debug)]
pub struct Services(pub(super) Arc<Kinds>);

/// The same for a socket that only this machine's administrator reaches, and with the leader's answers.
pub type OwnCalls = LocalCalls<Services>;

/// One of each kind.
#[derive(Debug)]
pub(super) struct Kinds {
    pub(super) authority: AuthorityServer<CaService>,
    pub(super) ca: CaServer<CaService>,
    pub(super) control: ControlServer<ControlService>,
    pub(super) dispatcher: DispatcherServer<Dispatcher>,
    pub(super) logs: LogBrokerServer<LogBroker>,
    pub(super) membership: MembershipServer<MembershipService>,
    /// None where the member has no way to others.
    pub(super) raft: Option<RaftServer<RaftService>>,
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl Service<Request<Body>> for Services {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answering {
        let Kinds { authority, ca, control, dispatcher, logs, membership, raft } = &*self.0;
        match (service_of(request.uri().path()), raft) {
            (control_server::SERVICE_NAME, _) => control.clone().call(request),
            (dispatcher_server::SERVICE_NAME, _) => dispatcher.clone().call(request),
            (raft_server::SERVICE_NAME, Some(raft)) => raft.clone().call(request),
            (log_broker_server::SERVICE_NAME, _) => logs.clone().call(request),
            (membership_server::SERVICE_NAME, _) => membership.clone().call(request),
            (ca_server::SERVICE_NAME, _) => ca.clone().call(request),
            (authority_server::SERVICE_NAME, _) => authority.clone().call(request),
            (unknown, _) => {
                let refusal = Status::unimplemented(format!("there is no service {unknown:?} here"));
                Box::pin(std::future::ready(Ok(refusal.into_http())))
            }
        }
    }
}

fn service_of(path: &str) -> &str {
    path.strip_prefix('/').and_then(|path| path.split_once('/')).map_or(path, |(service, _)| service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_service() {
        assert_eq!(service_of("/skep.v1.Control/ListTasks"), control_server::SERVICE_NAME);
        assert_eq!(["", "/", "/x", "x/y"].map(service_of), ["", "/", "/x", "x/y"], "no service is called so");
    }
}
