//! Letting a machine in, once: whoever asks again by the same attempt is given the same node back, and whoever gives up leaves nothing behind.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_proto::model::{
    Availability, Cluster, JoinAttempt, Meta, Node, NodeId, NodeRole, NodeSpec, NodeState, NodeStatus,
};
use skep_proto::pb;

use super::super::certificate::{Root, Subject, sign_request};
use super::super::error::CaError;
use super::super::token::{self, Admission, given_back};
use super::{CaService, reply};
use crate::store::{Change, ProposeError, Refusal};
use crate::sys;

/// How often a join or its end is tried again that lost a race: against an earlier request of the same attempt, which is under way once, or
/// against another's use of a token.
const TRIES: u32 = 4;

impl CaService {
    pub(super) async fn admit(&self, request: pb::JoinRequest) -> Result<pb::JoinReply, CaError> {
        let attempt = attempt_of(&request.attempt)?;
        let mut tries = 0;
        loop {
            tries += 1;
            let cluster = self.cluster()?;
            let made = attempt.and_then(|attempt| self.made_by(attempt));
            let (node, changes) = match made {
                Some(there) => again(&cluster, &request, &there)?,
                None => self.anew(&cluster, &request, attempt).await?,
            };
            let (id, role, reply) = (node.id, node.role, reply(&node, &cluster));
            match self.write([changes, vec![Change::PutNode(Box::new(node))]].concat()).await {
                Ok(()) => {
                    tracing::info!(node.id = %id, ?role, "node joined");
                    return Ok(reply);
                }
                // An earlier request of the same attempt came through meanwhile, perhaps with the last use of the token.
                Err(error) if tries < TRIES && self.may_differ(&error, attempt) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn may_differ(&self, error: &CaError, attempt: Option<JoinAttempt>) -> bool {
        let is_stale = matches!(error, CaError::Write(ProposeError::Refused(Refusal::Stale { .. })));
        is_stale || attempt.is_some_and(|attempt| self.made_by(attempt).is_some())
    }

    fn made_by(&self, attempt: JoinAttempt) -> Option<Arc<Node>> {
        self.store.read().node(attempt.node()).cloned()
    }

    /// A node that was not there. Without a token nobody comes anew: that is a machine which has lost its token with its power, and asks
    /// whether an earlier request of it was heard.
    async fn anew(
        &self,
        cluster: &Cluster,
        request: &pb::JoinRequest,
        attempt: Option<JoinAttempt>,
    ) -> Result<(Node, Vec<Change>), CaError> {
        if let Some(attempt) = attempt.filter(|_| request.token.is_empty()) {
            self.settle(attempt.node()).await?;
            let there = self.made_by(attempt).ok_or(CaError::NotLetIn)?;
            return again(cluster, request, &there);
        }
        let Admission { role, token } = token::admit(cluster, &request.token, sys::now())?;
        let id = attempt.map_or_else(|| NodeId::new(sys::random_bits()), JoinAttempt::node);
        Ok((joining_node(cluster, request, id, role)?, vec![Change::UseToken(token)]))
    }

    /// Waits out whatever is under way: a change that is always refused comes behind it in the log.
    async fn settle(&self, node: NodeId) -> Result<(), CaError> {
        match self.write(vec![Change::RemoveNode { node, if_version: 0 }]).await {
            Err(CaError::Write(ProposeError::Refused(_))) | Ok(()) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes what that attempt has made, if it has not come; whether there was such a node.
    pub(super) async fn take_back(&self, request: &pb::WithdrawRequest) -> Result<bool, CaError> {
        let attempt = attempt_of(&request.attempt)?.ok_or(CaError::Attempt)?;
        self.settle(attempt.node()).await?;
        let mut tries = 0;
        loop {
            tries += 1;
            let Some(node) = self.made_by(attempt).filter(|node| node.never_came()) else { return Ok(false) };
            let given_back = given_back(&*self.cluster()?, &request.token, node.role);
            let removal = Change::RemoveNode { node: node.id, if_version: node.meta.version };
            let use_back = given_back.map(|cluster| Change::PutCluster(Box::new(cluster)));
            match self.write(std::iter::once(removal).chain(use_back).collect()).await {
                Ok(()) => {
                    tracing::info!(node.id = %node.id, "a node that had joined and gave up before it came was removed");
                    return Ok(true);
                }
                Err(CaError::Write(ProposeError::Refused(_))) if tries < TRIES => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn attempt_of(bytes: &[u8]) -> Result<Option<JoinAttempt>, CaError> {
    match bytes {
        [] => Ok(None),
        bytes => JoinAttempt::from_bytes(bytes).map(Some).ok_or(CaError::Attempt),
    }
}

/// The same node, as it describes itself now, with a certificate for the key that it has now.
fn again(cluster: &Cluster, request: &pb::JoinRequest, there: &Node) -> Result<(Node, Vec<Change>), CaError> {
    if !there.never_came() {
        return Err(CaError::Came { node: there.id });
    }
    let described = joining_node(cluster, request, there.id, there.role)?;
    let Node { description, certificate, .. } = described;
    Ok((Node { description, certificate, proven_key: None, ..there.clone() }, Vec::new()))
}

fn joining_node(cluster: &Cluster, request: &pb::JoinRequest, id: NodeId, role: NodeRole) -> Result<Node, CaError> {
    // Someone who says nothing wants a node that works.
    let availability = match request.availability() {
        pb::Availability::Unspecified => Availability::Active,
        given => given.try_into()?,
    };
    let subject = Subject { node: id, role, cluster: cluster.id };
    Ok(Node {
        id,
        meta: Meta::default(),
        spec: NodeSpec { labels: BTreeMap::new(), availability, role },
        description: request.description.clone().unwrap_or_default().into(),
        status: NodeStatus::new(NodeState::Unknown, "joined", ""),
        role,
        // A manager is no member of the Raft group yet: it asks for that itself, once it can serve.
        manager: None,
        proven_key: None,
        certificate: sign_request(&Root::of(cluster), &request.csr, subject, sys::now())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_none_or_a_whole_one() {
        assert_eq!(attempt_of(&[]).unwrap(), None);
        assert_eq!(attempt_of(&[7; 32]).unwrap(), Some(JoinAttempt::new([7; 32])));
        assert!(matches!(attempt_of(&[7; 31]), Err(CaError::Attempt)));
    }
}
