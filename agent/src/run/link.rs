//! The stream between this agent and one manager.
#![expect(
    clippy::disallowed_methods,
    reason = "driver: starts the log listener, which ends with the link, and owns the stream's clock"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use skep_proto::estranged::is_estranged;
use skep_proto::model::{Moment, NodeId};
use skep_proto::pb;
use skep_proto::pb::agent_message::Message as ToManager;
use skep_proto::pb::dispatcher_client::DispatcherClient;
use skep_proto::pb::manager_message::Message as FromManager;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::clock::wall;
use crate::client::{Connect, ConnectError};
use crate::logs;
use crate::sys::Executor;

/// Messages on their way to the transport. Reports are bounded by their acknowledgements, so a full channel means a transport that
/// stands still; heartbeats are dropped then, and the transport gives up soon.
const OUTBOUND_MAX: usize = 32;

/// What the link has to say.
pub(crate) enum LinkEvent {
    /// The stream is open.
    Connected,
    /// The manager said something.
    Said(FromManager),
    /// The stream could not be opened or has ended, and why.
    Lost(String),
    /// Whoever is there is a manager of ours, and neither takes the other's certificate.
    Estranged,
    /// Nobody was reached, and why.
    Unreached(String),
}

/// An open stream.
struct Stream {
    outbound: Option<mpsc::Sender<pb::AgentMessage>>,
    inbound: Streaming<pb::ManagerMessage>,
    channel: Channel,
    /// When the hello was said, by both clocks.
    greeted: (Moment, Instant),
    logs: Option<AbortOnDropHandle<()>>,
}

enum State {
    Idle,
    Connecting(BoxFuture<'static, Result<Stream, ConnectError>>),
    Open(Box<Stream>),
}

/// At most one stream, or one attempt at it.
pub(crate) struct Link {
    connector: Arc<dyn Connect>,
    state: State,
}

impl Link {
    pub(crate) fn new(connector: Arc<dyn Connect>) -> Self {
        Self { connector, state: State::Idle }
    }

    /// Begins to connect; what was there before is dropped.
    pub(crate) fn connect(&mut self, address: String, hello: pb::Hello) {
        let connector = Arc::clone(&self.connector);
        self.state = State::Connecting(open(connector, address, hello).boxed());
    }

    pub(crate) fn disconnect(&mut self) {
        self.state = State::Idle;
    }

    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Room for another report.
    pub(crate) fn has_room(&self) -> bool {
        self.outbound().is_some_and(|out| out.capacity() > OUTBOUND_MAX / 2)
    }

    /// Says something, if there is a stream with room. Whoever must not lose it asks [`Link::has_room`] first.
    pub(crate) fn say(&self, message: ToManager) {
        if let Some(out) = self.outbound() {
            // A full or closed channel is a stream that is about to be lost; then everything is told anew.
            let _ = out.try_send(pb::AgentMessage { message: Some(message) });
        }
    }

    /// Closes this side after the last word; the manager closes the other.
    pub(crate) fn part(&mut self) {
        match &mut self.state {
            State::Open(stream) => stream.outbound = None,
            _ => self.state = State::Idle,
        }
    }

    /// Listens for whoever wants logs, over the same connection.
    pub(crate) fn serve_logs(&mut self, node: NodeId, executor: Arc<dyn Executor>) {
        if let State::Open(stream) = &mut self.state {
            let listener = tokio::spawn(logs::run::serve(stream.channel.clone(), node, executor));
            stream.logs = Some(AbortOnDropHandle::new(listener));
        }
    }

    /// When the hello was said by the machine's clock, and how long ago that is.
    pub(crate) fn greeted(&self) -> Option<(Moment, Duration)> {
        match &self.state {
            State::Open(stream) => Some((stream.greeted.0, stream.greeted.1.elapsed())),
            _ => None,
        }
    }

    /// The connection, for other calls.
    pub(crate) fn channel(&self) -> Option<Channel> {
        match &self.state {
            State::Open(stream) => Some(stream.channel.clone()),
            _ => None,
        }
    }

    fn outbound(&self) -> Option<&mpsc::Sender<pb::AgentMessage>> {
        match &self.state {
            State::Open(stream) => stream.outbound.as_ref(),
            _ => None,
        }
    }

    /// What happens next. Nothing is lost when the call is dropped.
    pub(crate) async fn next(&mut self) -> LinkEvent {
        match &mut self.state {
            State::Idle => std::future::pending().await,
            State::Connecting(attempt) => {
                let result = attempt.await;
                self.opened(result)
            }
            State::Open(stream) => match stream.inbound.message().await {
                Ok(Some(pb::ManagerMessage { message: Some(message) })) => LinkEvent::Said(message),
                Ok(Some(_)) => LinkEvent::Lost("the manager said something that this version does not know".into()),
                Ok(None) => LinkEvent::Lost("the manager closed the session".into()),
                Err(status) => LinkEvent::Lost(status.to_string()),
            },
        }
    }

    fn opened(&mut self, result: Result<Stream, ConnectError>) -> LinkEvent {
        match result {
            Ok(stream) => {
                self.state = State::Open(Box::new(stream));
                LinkEvent::Connected
            }
            Err(error) => {
                self.state = State::Idle;
                let reason = skep_proto::chain::chain(&*error).to_string();
                match error.downcast_ref::<Status>() {
                    _ if is_estranged(&*error) => LinkEvent::Estranged,
                    Some(_) => LinkEvent::Lost(reason),
                    None => LinkEvent::Unreached(reason),
                }
            }
        }
    }
}

/// The hello goes into the stream before it is opened, since a manager may answer only when it has heard it.
async fn open(connector: Arc<dyn Connect>, address: String, mut hello: pb::Hello) -> Result<Stream, ConnectError> {
    let channel = connector.connect(&address).await?;
    let greeted = (wall(), Instant::now());
    hello.clock_ms = greeted.0.0;
    let (outbound, messages) = mpsc::channel(OUTBOUND_MAX);
    let hello = pb::AgentMessage { message: Some(ToManager::Hello(Box::new(hello))) };
    outbound.try_send(hello).expect("the channel is new and has room");
    let mut client = DispatcherClient::new(channel.clone()).max_decoding_message_size(MESSAGE_LEN_MAX);
    let inbound = client.session(ReceiverStream::new(messages)).await?.into_inner();
    Ok(Stream { outbound: Some(outbound), inbound, channel, greeted, logs: None })
}

/// Largest message taken from a manager. Its pages are a hundredth of it, but a single large spec goes alone.
const MESSAGE_LEN_MAX: usize = 64 << 20;
