//! The Ca RPCs: check, sign, write, answer. [`joining`]: letting a machine in. [`replacing`]: the root itself.

mod joining;
mod replacing;

use std::sync::Arc;

use skep_proto::model::{Cluster, Node, NodeRole};
use skep_proto::pb;
use skep_proto::pb::ca_server::Ca;
use tonic::{Request, Response, Status};

use super::certificate::{Root, Subject, sign_request};
use super::error::CaError;
use crate::caller::Caller;
use crate::store::{Change, ProposeError, Refusal, Store, Transaction};
use crate::sys;

/// How often a renewal that lost a race for the node object is tried again. Each loss means that someone else's write went
/// through; four in a row do not happen, and then the node tries again later.
const RENEW_TRIES: u32 = 4;

/// The Ca service over the state.
#[derive(Clone, Debug)]
pub struct CaService {
    pub(super) store: Store,
}

impl CaService {
    /// Signs with the root that the state holds.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    pub(super) fn manages(&self, extensions: &http::Extensions) -> Result<(), CaError> {
        Ok(Caller::of(extensions).require_manager(&self.store.read())?)
    }

    pub(super) fn cluster(&self) -> Result<Arc<Cluster>, CaError> {
        self.store.read().cluster().cloned().ok_or(CaError::NoCluster)
    }

    async fn renew_certificate(&self, caller: Caller, csr: &str) -> Result<pb::JoinReply, CaError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let node = self.renewed_node(caller, csr)?;
            let cluster = self.cluster()?;
            let reply = reply(&node, &cluster);
            match self.write(vec![Change::PutNode(Box::new(node))]).await {
                Ok(()) => return Ok(reply),
                Err(CaError::Write(ProposeError::Refused(Refusal::Stale { .. }))) if tries < RENEW_TRIES => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The caller's node object with a new certificate; its role is the state's, not the old certificate's.
    fn renewed_node(&self, caller: Caller, csr: &str) -> Result<Node, CaError> {
        let cluster = self.cluster()?;
        let mut node = {
            let state = self.store.read();
            let identity = caller.require_key(&state)?;
            let node = state.node(identity.node).expect("require_key found it in the same state");
            Node { proven_key: Some(identity.key), ..Node::clone(node) }
        };
        let subject = Subject { node: node.id, role: node.role, cluster: cluster.id };
        node.certificate = sign_request(&Root::of(&cluster), csr, subject, sys::now())?;
        Ok(node)
    }

    pub(super) async fn write(&self, changes: Vec<Change>) -> Result<(), CaError> {
        let written = self.store.propose(Transaction { changes, at: sys::now() }).await;
        match written {
            Ok(_) => Ok(()),
            // Somebody else used the token up since we looked: the same words as if we had seen it.
            Err(ProposeError::Refused(Refusal::Token(error))) => Err(error.into()),
            Err(ProposeError::Refused(Refusal::NoToken)) => Err(CaError::WrongSecret),
            Err(error) => Err(CaError::Write(error)),
        }
    }
}

fn reply(node: &Node, cluster: &Cluster) -> pb::JoinReply {
    pb::JoinReply {
        node_id: node.id.to_bytes(),
        certificate: node.certificate.clone(),
        role: pb::NodeRole::from(node.role).into(),
        trust: cluster.trust(),
        // A manager has everything anyway, this too. It has it first, so that no key of its is ever on its disk in clear.
        lock: (node.role == NodeRole::Manager).then(|| (&cluster.lock.without_past()).into()),
    }
}

#[tonic::async_trait]
impl Ca for CaService {
    async fn get_root(&self, _: Request<pb::GetRootRequest>) -> Result<Response<pb::GetRootReply>, Status> {
        let certificate = self.cluster()?.root_certificate.clone();
        Ok(Response::new(pb::GetRootReply { certificate }))
    }

    async fn join(&self, request: Request<pb::JoinRequest>) -> Result<Response<pb::JoinReply>, Status> {
        Ok(Response::new(self.admit(request.into_inner()).await?))
    }

    async fn withdraw(&self, request: Request<pb::WithdrawRequest>) -> Result<Response<pb::WithdrawReply>, Status> {
        let removed = self.take_back(request.get_ref()).await?;
        Ok(Response::new(pb::WithdrawReply { removed }))
    }

    async fn renew(&self, request: Request<pb::RenewRequest>) -> Result<Response<pb::JoinReply>, Status> {
        let caller = Caller::of(request.extensions());
        let renewed = self.renew_certificate(caller, &request.into_inner().csr).await;
        Ok(Response::new(renewed?))
    }
}
