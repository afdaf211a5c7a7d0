//! Incoming streams.

use std::sync::Arc;

use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};
use skep_proto::model::{ClusterId, Era, NodeId, NodeRole};
use skep_proto::pb;
use skep_proto::pb::raft_server::{Raft, RaftServer};
use tokio::sync::{Semaphore, mpsc};
use tonic::{Request, Response, Status, Streaming};

use super::era::superseded;
use super::strange::refusal;
use crate::caller::{Caller, CallerError, Identity};
use crate::dialect::understand;
use crate::raft::disk::{RaftDir, snapshot};
use crate::raft::error::RaftError;
use crate::raft::run::{Command, Handle, Received};
use crate::store::{State, Store};
use crate::sys::Consensus as _;

/// Largest message: the largest entry, and what is around it.
const MESSAGE_BYTES_MAX: usize = 40 << 20;

/// Snapshots that may come in at once. There is one leader; a second one is that of its successor.
const INTAKES_MAX: usize = 2;

/// Frames between the connection and the file.
const FRAMES_MAX: usize = 4;

/// The Raft service of one member.
#[derive(Clone, Debug)]
pub struct RaftService {
    handle: Handle,
    store: Store,
    cluster: ClusterId,
    intakes: Arc<Semaphore>,
}

impl RaftService {
    /// Serves the managers of this cluster.
    #[must_use]
    pub fn new(handle: Handle, store: Store, cluster: ClusterId) -> Self {
        Self { handle, store, cluster, intakes: Arc::new(Semaphore::new(INTAKES_MAX)) }
    }

    /// As a gRPC service.
    #[must_use]
    pub fn server(self) -> RaftServer<Self> {
        RaftServer::new(self).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn admit<T>(&self, request: &Request<T>) -> Result<NodeId, Status> {
        let caller = Caller::of(request.extensions());
        admit(caller, self.cluster, self.leader_heard(), &self.store.read()).map_err(refused)
    }

    /// Whoever leads and was heard within an election time, be it this member.
    fn leader_heard(&self) -> Option<u64> {
        let group = self.handle.group();
        let group = group.borrow();
        group.leadership.leader.filter(|leader| group.member(*leader).is_some_and(|leader| leader.is_heard))
    }

    async fn listen(&self, node: NodeId, mut batches: Streaming<pb::RaftBatch>) -> Result<(), Status> {
        let mut from = 0;
        let result = loop {
            let batch = match batches.message().await {
                Ok(Some(batch)) => batch,
                Ok(None) => break Ok(()),
                Err(status) => break Err(status),
            };
            if from == 0 {
                self.understand(&batch)?;
            }
            if let Some(theirs) = batch.era.map(Era) {
                self.live_together(theirs)?;
            }
            if is_removed(node, self.leader_heard(), &self.store.read()) {
                break Err(refused(CallerError::Removed { node }));
            }
            from = batch.from;
            self.handle.book().learn(batch.from, &batch.address);
            let messages = batch.messages.iter().map(|bytes| decode(bytes, batch.from)).collect::<Result<_, _>>()?;
            self.tell(Command::Step(messages)).await?;
        };
        if from != 0 {
            self.tell(Command::Lost(from)).await?;
        }
        result
    }

    /// Before anything of a stream counts.
    fn understand(&self, first: &pb::RaftBatch) -> Result<(), Status> {
        let (from, book) = (first.from, self.handle.book());
        match understand(first.dialect) {
            Ok(()) => book.is_understood(from),
            Err(error) => {
                if book.is_strange(from) {
                    tracing::error!(raft.from = from, address = first.address, %error, "a manager was refused");
                }
                return Err(refusal(&error));
            }
        }
        Ok(())
    }

    /// Whoever has a state lives in the era of its group: with another one there is nothing to be agreed on.
    fn live_together(&self, theirs: Era) -> Result<(), Status> {
        match self.store.era() {
            Some(ours) if theirs < ours => Err(superseded(ours)),
            Some(ours) if theirs > ours => {
                self.store.hear_of_era(theirs);
                Err(Status::unavailable(
                    "failed to take the message: this manager lives in an earlier era of the cluster",
                ))
            }
            _ => Ok(()),
        }
    }

    async fn tell(&self, command: Command) -> Result<(), Status> {
        let sent = self.handle.commands().send(command).await;
        sent.map_err(|_| Status::unavailable("failed to take the message: this manager is stopping"))
    }

    async fn take(&self, mut parts: Streaming<pb::SnapshotPart>) -> Result<(), Status> {
        let place = self.intakes.try_acquire();
        let _place =
            place.map_err(|_| Status::resource_exhausted("failed to take the snapshot: others are coming in"))?;
        let announced = parts.message().await?.ok_or_else(|| malformed("it has no parts"))?;
        understand(announced.dialect).map_err(|error| refusal(&error))?;
        let message = decode(&announced.message, 0)?;
        let index = message.get_snapshot().get_metadata().index;
        if message.get_msg_type() != MessageType::MsgSnapshot || index == 0 {
            return Err(malformed("it is not announced by a snapshot message"));
        }
        if message.to != self.handle.own_id() {
            return Err(malformed("it is for another member"));
        }
        let (frames, coming) = mpsc::channel(FRAMES_MAX);
        let dir = self.handle.dir();
        let writing = tokio::task::spawn_blocking(move || write(&dir, message, coming));
        while let Some(part) = parts.message().await? {
            if frames.send(part.frame).await.is_err() {
                break;
            }
        }
        drop(frames);
        let received = writing.await.map_err(|error| Status::internal(error.to_string()))?;
        let received =
            received.map_err(|error| Status::internal(format!("failed to {}", skep_proto::chain::chain(&error))))?;
        self.tell(Command::Received(Box::new(received))).await
    }
}

/// Puts the frames into a file. On an error, or when they end early, nothing of it stays.
fn write(dir: &RaftDir, message: Message, mut frames: mpsc::Receiver<Vec<u8>>) -> Result<Received, RaftError> {
    let mut intake = snapshot::Intake::begin(dir, message.get_snapshot().get_metadata().index)?;
    while let Some(frame) = frames.blocking_recv() {
        intake.add(frame)?;
    }
    let (path, state, bytes, keys) = intake.finish()?;
    Ok(Received { message, path, state: Box::new(state), bytes, keys })
}

/// A message of the library. `from`: who sent it, unless that is not known yet.
fn decode(bytes: &[u8], from: u64) -> Result<Message, Status> {
    let message = Message::parse_from_bytes(bytes).map_err(|_| malformed("it cannot be read"))?;
    let known = from == 0 || message.from == from;
    if known { Ok(message) } else { Err(malformed("it is another member's")) }
}

fn malformed(why: &str) -> Status {
    Status::invalid_argument(format!("failed to take a message of another manager: {why}"))
}

#[tonic::async_trait]
impl Raft for RaftService {
    async fn converse(&self, request: Request<Streaming<pb::RaftBatch>>) -> Result<Response<pb::RaftDone>, Status> {
        let node = self.admit(&request)?;
        self.listen(node, request.into_inner()).await?;
        Ok(Response::new(pb::RaftDone {}))
    }

    async fn send_state(
        &self,
        request: Request<Streaming<pb::SnapshotPart>>,
    ) -> Result<Response<pb::RaftDone>, Status> {
        self.admit(&request)?;
        self.take(request.into_inner()).await?;
        Ok(Response::new(pb::RaftDone {}))
    }
}

fn refused(error: CallerError) -> Status {
    Status::permission_denied(format!("failed to {error}"))
}

/// Managers only. A member that has no state yet takes the certificate's word; one that has it knows who was demoted, and who was removed.
fn admit(caller: Caller, cluster: ClusterId, leader: Option<u64>, state: &State) -> Result<NodeId, CallerError> {
    let Identity { node, role, cluster: theirs, .. } = match caller {
        Caller::Node(identity) => identity,
        Caller::Lapsed(Identity { node, .. }) => return Err(CallerError::Lapsed { node }),
        Caller::Local => return Err(CallerError::NotANode),
        Caller::Anonymous => return Err(CallerError::Anonymous),
    };
    if theirs != cluster {
        return Err(CallerError::OtherCluster { node, theirs });
    }
    if is_removed(node, leader, state) {
        return Err(CallerError::Removed { node });
    }
    let now = state.node(node).map_or(role, |node| node.role);
    if role.min(now) == NodeRole::Manager { Ok(node) } else { Err(CallerError::NotAManager { node }) }
}

/// Whether a member that hears that leader need not listen to a node that it does not know. The node may have come after what the state has,
/// and lead by now: whoever follows a leader whom it does not know, or none, listens to everybody. While it follows one whom it knows it
/// misses nothing by that, and one that has just come is known in a moment.
fn is_removed(node: NodeId, leader: Option<u64>, state: &State) -> bool {
    let is_led = || leader.is_some_and(|leader| state.manager(leader).is_some());
    state.cluster().is_some() && state.node(node).is_none() && is_led()
}

#[cfg(test)]
mod tests {
    use skep_proto::model::{KeyPrint, ManagerStatus, Node};

    use super::*;
    use crate::fixture::World;
    use crate::store::fixture::{node, node_id, transaction};
    use crate::store::{Change, Touched};

    #[test]
    fn only_managers_of_this_cluster_are_heard() {
        let mut state = State::default();
        let demoted = Node { role: NodeRole::Worker, ..node(2) };
        let put = |node| Change::PutNode(Box::new(node));
        let manager = Node { role: NodeRole::Manager, ..node(1) };
        let changes = vec![put(manager), put(demoted)];
        state.apply(1, vec![transaction(1, changes)], &mut Touched::default())[0].clone().unwrap();
        let (ours, theirs) = (ClusterId::new(1), ClusterId::new(2));
        let key = KeyPrint::of_spki(b"key");
        let caller = |number, role, cluster| Caller::Node(Identity { node: node_id(number), role, cluster, key });
        let cases = [
            (caller(1, NodeRole::Manager, ours), true),
            (caller(1, NodeRole::Worker, ours), false),
            (caller(1, NodeRole::Manager, theirs), false),
            (caller(2, NodeRole::Manager, ours), false),
            (caller(3, NodeRole::Manager, ours), true),
            (caller(3, NodeRole::Worker, ours), false),
            (Caller::Anonymous, false),
            (Caller::Local, false),
        ];
        for (caller, heard) in cases {
            for leader in [None, Some(1)] {
                assert_eq!(admit(caller, ours, leader, &state).is_ok(), heard, "{caller:?}");
            }
        }
    }

    #[test]
    fn who_was_removed_is_not_heard_and_who_is_not_known_yet_may_lead() {
        let mut world = World::new(2);
        world.history(5);
        let leads = ManagerStatus { raft_id: 7, address: String::new() };
        let leader = Node { manager: Some(leads), ..node(50) };
        world.state.apply(6, vec![transaction(1, vec![Change::PutNode(Box::new(leader))])], &mut Touched::default());
        let state = &world.state;
        let (ours, key) = (state.cluster().unwrap().id, KeyPrint::of_spki(b"key"));
        let unknown = crate::fixture::node_id(99);
        let caller = Caller::Node(Identity { node: unknown, role: NodeRole::Manager, cluster: ours, key });
        assert_eq!(admit(caller, ours, Some(7), state), Err(CallerError::Removed { node: unknown }));
        assert_eq!(admit(caller, ours, None, state), Ok(unknown), "nobody else leads");
        assert_eq!(admit(caller, ours, Some(8), state), Ok(unknown), "it may be the leader");
        assert_eq!(admit(caller, ours, Some(7), &State::default()), Ok(unknown), "a joiner that knows nothing");
    }
}
