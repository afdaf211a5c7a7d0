//! The RPCs of managers about themselves.

use std::sync::Arc;
use std::time::Duration;

use skep_proto::model::{Era, ManagerStatus, NodeId, NodeRole};
use skep_proto::pb;
use skep_proto::pb::membership_client::MembershipClient;
use skep_proto::pb::membership_server::Membership;
use tonic::{Request, Response, Status};

use super::error::MembershipError;
use super::record::{joined, leaving, seat};
use super::run::TOPICS;
use crate::caller::{Caller, CallerError, Identity, Peer};
use crate::dialect::{DIALECT, understand};
use crate::group::Group;
use crate::net::Dialer;
use crate::store::{Change, ProposeError, Refusal, State, Store, Transaction};
use crate::sys;
use crate::sys::Consensus;

/// How long the loop may take to make what was asked for come about: some elections.
const DONE_TIME_MAX: Duration = Duration::from_secs(15);

/// How often a write that lost a race for the node object is tried again.
const TRIES_MAX: u32 = 8;

/// How long the machine that was called back may take to say who it is.
const PROBE_TIME_MAX: Duration = Duration::from_secs(3);

/// The Membership service of one manager.
#[derive(Clone, Debug)]
pub struct MembershipService {
    store: Store,
    consensus: Arc<dyn Consensus>,
    dialer: Dialer,
    own: NodeId,
}

impl MembershipService {
    /// Serves for this node.
    #[must_use]
    pub fn new(store: Store, consensus: Arc<dyn Consensus>, dialer: Dialer, own: NodeId) -> Self {
        Self { store, consensus, dialer, own }
    }

    fn leads(&self) -> bool {
        self.consensus.group().borrow().leadership.is_leader
    }

    /// A node that asks about itself.
    fn admit(&self, caller: Caller) -> Result<Identity, MembershipError> {
        let identity = caller.require_node(&self.store.read())?;
        if self.leads() { Ok(identity) } else { Err(MembershipError::NotLeader) }
    }

    /// A manager by certificate and by the state, whether or not it is a member yet.
    fn admit_manager(&self, caller: Caller) -> Result<Identity, MembershipError> {
        caller.require_manager(&self.store.read())?;
        self.admit(caller)
    }

    async fn take_in(
        &self,
        node: NodeId,
        request: pb::RaftJoinRequest,
        peer: Option<Peer>,
    ) -> Result<pb::RaftJoinReply, MembershipError> {
        understand(request.dialect)?;
        if request.raft_id == 0 {
            return Err(MembershipError::NoRaftId);
        }
        let address = complete(&request.address, peer)?;
        self.call_back(node, request.raft_id, &address).await?;
        let status = ManagerStatus { raft_id: request.raft_id, address: address.clone() };
        self.consensus.learn(status.raft_id, &status.address);
        self.write(|state| joined(state, node, &status)).await?;
        self.until(|group, _| group.member(request.raft_id).is_some()).await?;
        let managers = |state: &State| {
            let members = state.nodes().filter_map(|node| node.manager.as_ref());
            members.map(|m| pb::RaftMember { raft_id: m.raft_id, address: m.address.clone() }).collect()
        };
        Ok(pb::RaftJoinReply { members: managers(&self.store.read()), address })
    }

    /// Finds out whether the machine is where it says that it is, before anything depends on it. What is left of one that gives up then, it
    /// takes back itself (Ca.Withdraw); one whose daemon was killed meanwhile comes again.
    async fn call_back(&self, node: NodeId, raft_id: u64, address: &str) -> Result<(), MembershipError> {
        let unreachable = |source| MembershipError::Unreachable { address: address.to_owned(), source };
        let channel = self.dialer.dial(address).await.map_err(unreachable)?;
        let mut client = MembershipClient::new(channel);
        let probe = tokio::time::timeout(PROBE_TIME_MAX, client.probe(pb::RaftProbeRequest::default())).await;
        let silent = |why: String| MembershipError::Silent { address: address.to_owned(), why };
        let reply = probe.map_err(|_| silent("it did not answer in time".into()))?;
        let reply = reply.map_err(|status| silent(status.message().to_owned()))?.into_inner();
        if reply.raft_id == raft_id && reply.node_id == node.to_bytes() {
            Ok(())
        } else {
            Err(MembershipError::Another { address: address.to_owned() })
        }
    }

    async fn let_go(&self, node: NodeId, force: bool) -> Result<(), MembershipError> {
        let raft_id = self.store.read().node(node).and_then(|node| node.manager.as_ref()).map(|m| m.raft_id);
        let Some(raft_id) = raft_id else { return Ok(()) };
        if !force {
            self.consensus.group().borrow().can_lose(raft_id)?;
        }
        self.write(|state| Ok(leaving(state, node))).await?;
        self.until(|group, state| {
            let stays = state.node(node).is_some_and(|node| node.manager.is_some());
            !stays && group.member(raft_id).is_none()
        })
        .await
    }

    /// Writes what `change` makes of the newest state, again when someone else wrote in between.
    async fn write(
        &self,
        change: impl Fn(&State) -> Result<Option<Change>, MembershipError>,
    ) -> Result<(), MembershipError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let Some(change) = change(&self.store.read())? else { return Ok(()) };
            let written = self.store.propose(Transaction { changes: vec![change], at: sys::now() }).await;
            match written {
                Ok(_) => return Ok(()),
                Err(ProposeError::Refused(Refusal::Stale { .. })) if tries < TRIES_MAX => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits until the loop has made it so.
    async fn until(&self, is_so: impl Fn(&Group, &State) -> bool) -> Result<(), MembershipError> {
        let (mut group, mut subscription) = (self.consensus.group(), self.store.subscribe_to(TOPICS));
        let waiting = async {
            loop {
                if is_so(&group.borrow_and_update(), &self.store.read()) {
                    return Ok(());
                }
                if !self.leads() {
                    return Err(MembershipError::NotLeader);
                }
                tokio::select! {
                    changed = group.changed() => changed.map_err(|_| MembershipError::NotLeader)?,
                    _ = subscription.touched() => {}
                }
            }
        };
        let slow = MembershipError::Slow { seconds: DONE_TIME_MAX.as_secs() };
        tokio::time::timeout(DONE_TIME_MAX, waiting).await.unwrap_or(Err(slow))
    }
}

/// HOST:PORT with the connection's address where the host was left open.
fn complete(address: &str, peer: Option<Peer>) -> Result<String, MembershipError> {
    let malformed = || MembershipError::Address { address: address.to_owned() };
    let (host, port) = address.rsplit_once(':').ok_or_else(malformed)?;
    port.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(malformed)?;
    match (host, peer) {
        ("" | "0.0.0.0" | "[::]", Some(Peer(from))) if from.is_ipv6() => Ok(format!("[{}]:{port}", from.ip())),
        ("" | "0.0.0.0" | "[::]", Some(Peer(from))) => Ok(format!("{}:{port}", from.ip())),
        ("" | "0.0.0.0" | "[::]", None) => Err(malformed()),
        _ => Ok(address.to_owned()),
    }
}

#[tonic::async_trait]
impl Membership for MembershipService {
    async fn join(&self, request: Request<pb::RaftJoinRequest>) -> Result<Response<pb::RaftJoinReply>, Status> {
        let (caller, peer) = (Caller::of(request.extensions()), Peer::of(request.extensions()));
        let node = self.admit_manager(caller)?.node;
        let request = request.into_inner();
        if request.era.is_some_and(|era| self.store.hear_of_era(Era(era))) {
            return Err(MembershipError::NotLeader.into());
        }
        Ok(Response::new(self.take_in(node, request, peer).await?))
    }

    async fn leave(&self, request: Request<pb::RaftLeaveRequest>) -> Result<Response<pb::RaftDone>, Status> {
        let node = self.admit(Caller::of(request.extensions()))?.node;
        self.let_go(node, request.into_inner().force).await?;
        Ok(Response::new(pb::RaftDone {}))
    }

    async fn get_seat(&self, request: Request<pb::RaftSeatRequest>) -> Result<Response<pb::RaftSeatReply>, Status> {
        let caller = Caller::of(request.extensions());
        let node = self.admit(caller)?.node;
        let pb::RaftSeatRequest { raft_id, era } = request.into_inner();
        let is_manager = is_manager(caller, &self.store.read());
        if era.filter(|_| is_manager).is_some_and(|era| self.store.hear_of_era(Era(era))) {
            return Err(MembershipError::NotLeader.into());
        }
        Ok(Response::new(seat(&self.store.read(), &self.consensus.group().borrow(), node, raft_id)))
    }

    /// A manager that is about to join has no state yet, and is asked all the same: who holds a certificate of the root may know.
    async fn probe(&self, request: Request<pb::RaftProbeRequest>) -> Result<Response<pb::RaftProbeReply>, Status> {
        let caller = Caller::of(request.extensions());
        let pb::RaftProbeRequest { era: theirs, managers } = request.into_inner();
        may_probe(caller, theirs.is_some(), &self.store.read()).map_err(MembershipError::from)?;
        let era = self.store.era();
        let is_manager = is_manager(caller, &self.store.read());
        if let Some(theirs) = theirs.filter(|_| is_manager) {
            self.store.hear_of_era_at(Era(theirs), managers);
        }
        let leader = self.consensus.group().borrow().leadership.leader.unwrap_or_default();
        let spec = self.store.read().cluster().map(|cluster| pb::ClusterSpec::from(&cluster.spec)).unwrap_or_default();
        Ok(Response::new(pb::RaftProbeReply {
            raft_id: self.consensus.own_id(),
            node_id: self.own.to_bytes(),
            leader,
            heartbeat_ms: spec.raft_heartbeat_ms,
            election_ms: spec.raft_election_ms,
            era: era.map(|era| era.0),
            dialect: DIALECT,
        }))
    }
}

/// By its certificate, unless the state knows better.
fn is_manager(caller: Caller, state: &State) -> bool {
    let Caller::Node(Identity { node, role, .. }) = caller else { return false };
    state.node(node).map_or(role, |there| there.role).min(role) == NodeRole::Manager
}

/// Nodes of the cluster, and to tell its era a manager by its certificate that the state does not know: it may have come in that era.
fn may_probe(caller: Caller, tells_era: bool, state: &State) -> Result<(), CallerError> {
    match caller.require_node(state) {
        Ok(_) | Err(CallerError::NoState) => Ok(()),
        Err(CallerError::Removed { .. }) if tells_era && is_manager(caller, state) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_host_is_the_connections() {
        let peer = Some(Peer("10.0.0.7:41234".parse().unwrap()));
        for (given, expected) in [
            (":2377", "10.0.0.7:2377"),
            ("0.0.0.0:99", "10.0.0.7:99"),
            ("host:2377", "host:2377"),
            ("[::1]:5", "[::1]:5"),
        ] {
            assert_eq!(complete(given, peer).unwrap(), expected);
        }
        for given in ["", "host", "host:", "host:0", "host:70000"] {
            assert!(complete(given, peer).is_err(), "{given}");
        }
        assert!(complete(":2377", None).is_err());
    }
}
