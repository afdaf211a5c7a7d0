//! Outgoing streams.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};
use skep_proto::estranged::is_estranged;
use skep_proto::pb;
use skep_proto::pb::raft_client::RaftClient;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::book::Book;
use super::era::era_of;
use super::snapshots;
use super::strange::not_understood;
use crate::dialect::DIALECT;
use crate::net::Dialer;
use crate::raft::disk::RaftDir;
use crate::raft::run::Command;
use crate::store::Store;

/// Messages to one member that wait. More than the machine lets be on their way; what comes beyond is lost, as on any network.
const QUEUE_MAX: usize = 1024;

/// Messages that share one batch, and bytes after which none is added.
const BATCH_MAX: usize = 64;
const BATCH_BYTES: usize = 256 << 10;

/// Batches between a lane and its connection.
const FLIGHT_MAX: usize = 4;

/// Wait before a member that was not reached is tried again: it doubles, up to a bound that is short beside an election.
const RETRY: Duration = Duration::from_millis(25);
const RETRY_MAX: Duration = Duration::from_millis(400);

/// What links need besides messages.
#[derive(Clone, Debug)]
pub struct Wiring {
    /// Opens connections.
    pub dialer: Dialer,
    /// HOST:PORT that this member is reached at.
    pub address: String,
    /// Where addresses stand.
    pub store: Store,
}

/// What every task of a link shares.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) own: u64,
    pub(super) wiring: Wiring,
    pub(super) book: Book,
    pub(super) commands: mpsc::Sender<Command>,
}

/// Streams to all whom the machine ever wrote to: members, and those that it hears from before it knows that they are. One that is gone
/// costs two sleeping tasks.
#[derive(Debug)]
pub(in crate::raft) struct Links {
    shared: Arc<Shared>,
    runtime: Handle,
    peers: BTreeMap<u64, Peer>,
}

/// Streams to one. When the queues go, the tasks end.
#[derive(Debug)]
struct Peer {
    urgent: mpsc::Sender<Message>,
    entries: mpsc::Sender<Message>,
}

impl Links {
    /// Links that run where this is called.
    pub(in crate::raft) fn new(own: u64, wiring: Wiring, book: Book, commands: mpsc::Sender<Command>) -> Self {
        let shared = Arc::new(Shared { own, wiring, book, commands });
        Self { shared, runtime: Handle::current(), peers: BTreeMap::new() }
    }

    /// Sends, or drops what finds no room.
    pub(in crate::raft) fn send(&mut self, messages: Vec<Message>, dir: &Arc<RaftDir>) {
        for message in messages {
            let to = message.to;
            match message.get_msg_type() {
                MessageType::MsgSnapshot => {
                    let sending = snapshots::send(Arc::clone(&self.shared), Arc::clone(dir), message);
                    drop(self.runtime.spawn(sending));
                }
                MessageType::MsgAppend => drop(self.peer(to).entries.try_send(message)),
                _ => drop(self.peer(to).urgent.try_send(message)),
            }
        }
    }

    fn peer(&mut self, id: u64) -> &Peer {
        let (shared, runtime) = (&self.shared, &self.runtime);
        self.peers.entry(id).or_insert_with(|| {
            let lane = || {
                let (sender, queue) = mpsc::channel(QUEUE_MAX);
                drop(runtime.spawn(lane(Arc::clone(shared), id, queue)));
                sender
            };
            Peer { urgent: lane(), entries: lane() }
        })
    }
}

/// One stream to one member, opened again whenever it ends.
async fn lane(shared: Arc<Shared>, to: u64, mut queue: mpsc::Receiver<Message>) {
    let mut wait = RETRY;
    while let Some(first) = queue.recv().await {
        match shared.open(to).await {
            Some(channel) => {
                wait = RETRY;
                shared.pump(channel, to, first, &mut queue).await;
            }
            None => {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY_MAX);
            }
        }
        // What waited meanwhile is old; the machine is told, and says what is still worth saying.
        while queue.try_recv().is_ok() {}
        drop(shared.commands.try_send(Command::Unreachable(to)));
    }
}

impl Shared {
    /// Connects to a member wherever it may be.
    pub(super) async fn open(&self, to: u64) -> Option<Channel> {
        let places = self.book.places(to, &self.wiring.store.read());
        for place in places {
            match self.wiring.dialer.dial(&place).await {
                Ok(channel) => return Some(channel),
                Err(error) => {
                    self.wiring.store.note_estranged(to, is_estranged(&error));
                    let error = skep_proto::chain::chain(&error).to_string();
                    tracing::debug!(raft.to = to, error, "a member was not reached");
                }
            }
        }
        None
    }

    /// Until the stream ends, or there is nobody to write to any more.
    async fn pump(&self, channel: Channel, to: u64, first: Message, queue: &mut mpsc::Receiver<Message>) {
        let (out, batches) = mpsc::channel(FLIGHT_MAX);
        let mut client = RaftClient::new(channel);
        let call = client.converse(ReceiverStream::new(batches));
        let mut call = std::pin::pin!(call);
        let (address, era) = (self.wiring.address.clone(), self.wiring.store.era().map(|era| era.0));
        let mut next = pb::RaftBatch { address, era, dialect: DIALECT, ..self.batch(first, queue) };
        loop {
            tokio::select! {
                ended = &mut call => {
                    tracing::debug!(?ended, "a stream to a member ended");
                    return self.ended(to, ended.err().as_ref());
                }
                place = out.reserve() => match place {
                    Ok(place) => place.send(next),
                    Err(_) => return,
                }
            }
            next = tokio::select! {
                ended = &mut call => return self.ended(to, ended.err().as_ref()),
                message = queue.recv() => match message {
                    Some(message) => self.batch(message, queue),
                    None => return,
                }
            };
        }
    }

    /// The other side may have refused us for our certificate, for our era, or for our dialect.
    fn ended(&self, to: u64, why: Option<&tonic::Status>) {
        if let Some(why) = why.and_then(not_understood)
            && self.book.is_strange(to)
        {
            tracing::error!(
                raft.to = to,
                why,
                "a manager does not understand this one; neither takes part with the other"
            );
        }
        match why {
            Some(status) if is_estranged(status) => self.wiring.store.note_estranged(to, true),
            // The connection broke, and before the reason for it was heard.
            Some(status) if status.source().is_some() => {}
            _ => self.wiring.store.note_estranged(to, false),
        }
        if let Some(era) = why.and_then(era_of) {
            self.wiring.store.hear_of_era(era);
        }
    }

    fn batch(&self, first: Message, queue: &mut mpsc::Receiver<Message>) -> pb::RaftBatch {
        let mut bytes = 0;
        let mut messages = Vec::new();
        let mut next = Some(first);
        while let Some(message) = next.take() {
            let message = encode(&message);
            bytes += message.len();
            messages.push(message);
            if messages.len() < BATCH_MAX && bytes < BATCH_BYTES {
                next = queue.try_recv().ok();
            }
        }
        pb::RaftBatch { from: self.own, messages, ..pb::RaftBatch::default() }
    }
}

pub(super) fn encode(message: &Message) -> Vec<u8> {
    message.write_to_bytes().expect("writing to memory cannot fail and every field is set")
}
