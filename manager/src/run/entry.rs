//! How this machine becomes a manager of a cluster that there is, tells where it is, and ceases to be one.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use skep_proto::convert::raft_timing;
use skep_proto::estranged::is_estranged;
use skep_proto::model::{Era, Node};
use skep_proto::pb;
use skep_proto::pb::membership_client::MembershipClient;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::error::ManagerError;
use super::manager::{Manager, ManagerConfig};
use crate::ca::NodeIdentity;
use crate::dialect::{DIALECT, understand};
use crate::group::Group;
use crate::net::{Dialer, client_config};
use crate::raft::{Handle, Options};
use crate::store::{Change, Store, Transaction};
use crate::sys;
use crate::sys::Consensus as _;

/// Longest that a joiner or a leaver asks the managers: some elections.
const ASK_TIME_MAX: Duration = Duration::from_secs(20);

/// Longest that a joiner waits for its vote after it was let in: the state of a large cluster takes its time to arrive. Past it the
/// joiner is a manager that still learns.
const VOTE_TIME_MAX: Duration = Duration::from_secs(60);

/// Longest that one manager is asked how members of Raft behave: there is nothing to go on with before.
const BEHAVIOUR_TIME_MAX: Duration = Duration::from_secs(5);

/// Between two rounds over the managers.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Between two tries to tell an address that nobody wanted to hear.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(2);

/// How long whoever is asked who it is may take to say so.
const PROBE_TIME_MAX: Duration = Duration::from_secs(1);

/// What one manager needs to speak of itself to the others.
#[derive(Debug)]
pub(super) struct Crier {
    raft: Handle,
    store: Store,
    dialer: Dialer,
    address: String,
    managers: Vec<String>,
    era: Era,
}

/// A question to one manager.
enum Ask {
    Join(pb::RaftJoinRequest),
    Leave(pb::RaftLeaveRequest),
}

impl Manager {
    pub(super) fn crier(&self) -> Crier {
        Crier {
            raft: self.raft.handle(),
            store: self.store.clone(),
            dialer: self.dialer.clone(),
            address: self.config.advertise.clone(),
            managers: self.config.managers.clone(),
            era: self.config.era,
        }
    }

    /// Whether the swarm lives without this manager: others answer, and do not know its certificate (any more), nor it theirs.
    pub async fn is_estranged(&self) -> bool {
        self.crier().is_estranged().await
    }

    /// Asks to be let in, and waits for the vote.
    pub(super) async fn enter(&self) -> Result<(), ManagerError> {
        let crier = self.crier();
        let reply = crier.ask(&Ask::Join(crier.join_request())).await?;
        for member in &reply.members {
            crier.raft.learn(member.raft_id, &member.address);
        }
        if !votes(&mut crier.raft.group(), crier.raft.own_id()).await {
            tracing::warn!("this manager has not caught up yet; it votes as soon as it has");
        }
        Ok(())
    }

    /// Ceases to be a manager: the others go on without its vote. Without `force` only if they can.
    ///
    /// # Errors
    /// When no leader can be reached, or those that remain could not decide.
    pub async fn leave(&self, force: bool) -> Result<(), ManagerError> {
        let crier = self.crier();
        match crier.ask(&Ask::Leave(pb::RaftLeaveRequest { force })).await {
            // A leader hands over on its way out, and may have to ask its successor for the answer: that it is no manager any more.
            Err(ManagerError::Membership(status)) if status.code() == Code::PermissionDenied => Ok(()),
            left => left.map(drop),
        }
    }
}

/// How the members of that cluster behave, from one that answers. When none does, joining fails in its own words.
///
/// # Errors
/// When this node's identity cannot be used, or they speak another dialect.
pub(super) async fn options(config: &ManagerConfig) -> Result<Options, ManagerError> {
    let NodeIdentity { certificate, key, root, .. } = &config.identity;
    let dialer = Dialer::new(client_config(certificate, key, root).map_err(ManagerError::Port)?);
    for place in &config.managers {
        let asking = async {
            let channel = dialer.dial(place).await.ok()?;
            let reply = MembershipClient::new(channel).probe(pb::RaftProbeRequest::default()).await;
            let reply = reply.ok()?.into_inner();
            Some((reply.dialect, raft_timing(reply.heartbeat_ms, reply.election_ms).ok()?))
        };
        if let Ok(Some((dialect, timing))) = tokio::time::timeout(BEHAVIOUR_TIME_MAX, asking).await {
            understand(dialect).map_err(ManagerError::Dialect)?;
            return Ok(timing.into());
        }
    }
    Ok(Options::default())
}

async fn votes(group: &mut watch::Receiver<Group>, own: u64) -> bool {
    let voting = group.wait_for(|group| group.member(own).is_some_and(|member| member.is_voter));
    tokio::time::timeout(VOTE_TIME_MAX, voting).await.is_ok()
}

impl Crier {
    /// This member.
    pub(super) fn raft(&self) -> &Handle {
        &self.raft
    }

    /// The state.
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Where other managers may be.
    pub(super) fn others(&self) -> Vec<String> {
        let mut places = self.places();
        places.retain(|place| *place != self.address);
        places
    }

    fn join_request(&self) -> pb::RaftJoinRequest {
        let era = self.store.era().unwrap_or_default().max(self.era);
        pb::RaftJoinRequest {
            raft_id: self.raft.own_id(),
            address: self.address.clone(),
            era: Some(era.0),
            dialect: DIALECT,
        }
    }

    /// Where managers may be: those that were named, and those that the state knows.
    pub(super) fn places(&self) -> Vec<String> {
        let state = self.store.read();
        let known = state.nodes().filter_map(|node| node.manager.as_ref()).map(|manager| manager.address.clone());
        let mut places = self.managers.clone();
        places.extend(known.filter(|address| !self.managers.contains(address)));
        // A lone manager tells itself.
        places.push(self.address.clone());
        places.retain(|address| !address.starts_with(':'));
        places
    }

    /// Asks one manager after another until one has an answer that counts.
    async fn ask(&self, question: &Ask) -> Result<pb::RaftJoinReply, ManagerError> {
        let deadline = Instant::now() + ASK_TIME_MAX;
        loop {
            let mut last = Status::unavailable("failed to reach any manager: none is known");
            for place in self.places() {
                match timeout_at(deadline, self.ask_at(&place, question)).await {
                    Ok(Ok(reply)) => return Ok(reply),
                    Ok(Err(status)) if is_final(&status) => return Err(ManagerError::Membership(status)),
                    Ok(Err(status)) => last = status,
                    Err(_) => return Err(ManagerError::Membership(last)),
                }
            }
            if Instant::now() + ASK_AGAIN >= deadline {
                return Err(ManagerError::Membership(last));
            }
            sleep(ASK_AGAIN).await;
        }
    }

    async fn ask_at(&self, place: &str, question: &Ask) -> Result<pb::RaftJoinReply, Status> {
        let mut client = MembershipClient::new(self.dial(place).await?);
        match question {
            Ask::Join(request) => client.join(request.clone()).await.map(tonic::Response::into_inner),
            Ask::Leave(request) => client.leave(*request).await.map(|_| pb::RaftJoinReply::default()),
        }
    }

    /// Keeps telling where this manager is until the cluster says the same. An address is not an identity: that it changed is no error.
    /// A member that nobody reaches says it on its streams to the others, too.
    pub(super) async fn announce(self) {
        loop {
            if self.raft.group().borrow().leadership.leader.is_none() {
                self.look_around().await;
            }
            if self.is_known().await {
                return;
            }
            sleep(ANNOUNCE_AGAIN).await;
        }
    }

    /// Asks wherever a manager may be which one it is: when all of them have moved, nobody is where the state says. Whoever is found hears
    /// from us then, and so learns where we are.
    async fn look_around(&self) {
        for place in self.places() {
            match tokio::time::timeout(PROBE_TIME_MAX, self.probe(&place)).await {
                Ok(Ok(raft_id)) if raft_id != self.raft.own_id() => self.raft.learn(raft_id, &place),
                Ok(Err(status)) => tracing::debug!(place, %status, "no manager was found there"),
                _ => {}
            }
        }
    }

    /// Whether any of the others answers while neither takes the other's certificate. Asked of all at once, and again where the connection
    /// breaks before the reason is heard.
    pub(super) async fn is_estranged(&self) -> bool {
        let others = self.others();
        let asked = others.iter().map(|place| tokio::time::timeout(PROBE_TIME_MAX, self.refuses(place)));
        join_all(asked).await.into_iter().any(|refuses| refuses.unwrap_or(false))
    }

    async fn refuses(&self, place: &str) -> bool {
        loop {
            let asked = match self.dialer.dial(place).await {
                Ok(channel) => MembershipClient::new(channel).probe(pb::RaftProbeRequest::default()).await,
                Err(error) => return is_estranged(&error),
            };
            match asked {
                Err(status) if is_estranged(&status) => return true,
                Err(status) if status.source().is_some() => sleep(ASK_AGAIN).await,
                _ => return false,
            }
        }
    }

    async fn probe(&self, place: &str) -> Result<u64, Status> {
        let channel = self.dial(place).await?;
        Ok(MembershipClient::new(channel).probe(pb::RaftProbeRequest::default()).await?.into_inner().raft_id)
    }

    pub(super) async fn dial(&self, place: &str) -> Result<Channel, Status> {
        let dialled = self.dialer.dial(place).await;
        dialled.map_err(|error| Status::unavailable(format!("failed to {}", skep_proto::chain::chain(&error))))
    }

    /// Tells the address once, if the cluster has another one. `false`: to be tried again.
    pub(super) async fn is_known(&self) -> bool {
        let Some(node) = self.moved() else { return self.store.read().nodes().next().is_some() };
        let told = if self.raft.group().borrow().leadership.is_leader {
            let transaction = Transaction { changes: vec![Change::PutNode(Box::new(node))], at: sys::now() };
            self.store.propose(transaction).await.map(drop).map_err(ManagerError::Write)
        } else {
            self.ask(&Ask::Join(self.join_request())).await.map(drop)
        };
        match &told {
            Ok(()) => tracing::info!(address = self.address, "this manager has a new address"),
            Err(error) => {
                let error = skep_proto::chain::chain(error).to_string();
                tracing::warn!(error, "the new address of this manager could not be told yet");
            }
        }
        told.is_ok()
    }

    /// Our node with the new address, if it has another one.
    fn moved(&self) -> Option<Node> {
        let state = self.store.read();
        let own = self.raft.own_id();
        let is_own = |node: &&Arc<Node>| node.manager.as_ref().is_some_and(|manager| manager.raft_id == own);
        let mut node = Node::clone(state.nodes().find(is_own)?);
        let manager = node.manager.as_mut()?;
        if manager.address == self.address || self.address.starts_with(':') {
            return None;
        }
        manager.address.clone_from(&self.address);
        Some(node)
    }
}

/// Whether asking another manager, or later, would give another answer.
fn is_final(status: &Status) -> bool {
    !matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Aborted | Code::DeadlineExceeded
    )
}
