//! The Session RPC: a task a session, which carries words between the stream, the machine and the leader's loops.

use std::sync::Arc;
use std::time::Duration;

use skep_proto::model::{Era, Moment, NodeId, SessionId};
use skep_proto::pb;
use skep_proto::pb::agent_message::Message as Heard;
use skep_proto::pb::manager_message::Message as Said;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use super::admission::{Admission, admit};
use super::batch::Input;
use super::elsewhere::{elsewhere, leader_address};
use super::error::DispatchError;
use super::keeper::{Event, Parting, Settings};
use super::registry::{Line, Registry};
use super::session::{presented, say};
use super::skew::{Finding, Skew};
use super::talk::{Act, Talk, stamped};
use crate::caller::{Caller, Peer};
use crate::group::{Leadership, Predecessor};
use crate::store::{News, Presented, Store, Watch};
use crate::sys::{self, Clock};

/// A stream whose agent says nothing for so long is closed.
const HELLO_TIME_MAX: Duration = Duration::from_secs(10);
/// Messages between us and the connection; more wait in the session, which then computes nothing new.
const OUT_MAX: usize = 4;
/// Time that parting words get to leave.
const FAREWELL_TIME_MAX: Duration = Duration::from_secs(1);
/// How long a stream waits for somebody to lead, which is longer than an election takes and shorter than agents wait for a welcome.
/// An agent that is told nothing before has not to ask again and again.
const ELECTION_TIME_MAX: Duration = Duration::from_secs(3);

/// What one stream answers with.
type Outgoing = mpsc::Sender<Result<pb::ManagerMessage, Status>>;

/// The Dispatcher service. It is always served; only while [`Dispatcher::run`] runs are sessions accepted.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    pub(super) store: Store,
    pub(super) registry: Registry,
    pub(super) clock: Clock,
    pub(super) desk: watch::Sender<Option<Desk>>,
    own: u64,
    leader: watch::Receiver<Option<u64>>,
    /// Who led before this term.
    pub(super) before: Option<Predecessor>,
}

/// Where sessions leave word for the loops of the term.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    pub(super) inputs: mpsc::Sender<Input>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) settings: watch::Receiver<Settings>,
    pub(super) witness: mpsc::Sender<(Arc<Line>, u64)>,
    pub(super) sessions: TaskTracker,
    /// Ends with the term.
    pub(super) stop: CancellationToken,
}

impl Dispatcher {
    /// Serves the nodes of this state when `own` is the Raft id that leads.
    #[must_use]
    pub fn new(store: Store, own: u64, leader: watch::Receiver<Option<u64>>) -> Self {
        let (registry, desk) = (Registry::default(), watch::Sender::new(None));
        Self { store, registry, clock: Clock::start(), desk, own, leader, before: None }
    }

    /// The same sessions, for the loops of one term.
    #[must_use]
    pub fn in_term(&self, won: Leadership) -> Self {
        Self { store: self.store.in_term(won.term), before: won.before, ..self.clone() }
    }

    fn admit(&self, caller: Caller, leads: bool) -> Result<Admission, DispatchError> {
        Ok(admit(caller, leads, &self.store.read())?)
    }

    /// Only a manager that surely leads opens a session or says that a node was removed. One that was deposed and has not heard of it
    /// may order a task that has ended since and that the node has forgotten, so that it would run again; or know nothing
    /// of a node that has just joined, and the node would leave for good. Whoever asks at the same time shares the round.
    async fn confirm(&self, caller: Caller) -> Result<Admission, DispatchError> {
        match self.store.barrier().await {
            Ok(()) => self.admit(caller, true),
            Err(_) => Ok(Admission::Elsewhere),
        }
    }

    /// Parting words of a manager that does not lead (any more).
    pub(super) fn elsewhere(&self) -> pb::Farewell {
        elsewhere(&self.store.read(), self.own, *self.leader.borrow())
    }

    /// The desk of this term. Waits while nobody is known to lead; `None` when it is another manager, or the wait was in vain.
    async fn desk(&self) -> Option<Desk> {
        let (mut desk, mut leader) = (self.desk.subscribe(), self.leader.clone());
        let decided = async {
            loop {
                let open = desk.borrow_and_update().clone();
                let known = *leader.borrow_and_update();
                let is_elsewhere = leader_address(&self.store.read(), self.own, known).is_some();
                if open.is_some() || is_elsewhere {
                    return open;
                }
                tokio::select! {
                    Ok(()) = desk.changed() => {}
                    Ok(()) = leader.changed() => {}
                    else => return None,
                }
            }
        };
        tokio::time::timeout(ELECTION_TIME_MAX, decided).await.ok().flatten()
    }
}

#[tonic::async_trait]
impl pb::dispatcher_server::Dispatcher for Dispatcher {
    type SessionStream = ReceiverStream<Result<pb::ManagerMessage, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<pb::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let caller = Caller::of(request.extensions());
        self.admit(caller, false)?;
        let desk = self.desk().await;
        // Not before the wait: the node may have been removed meanwhile.
        let mut admission = self.admit(caller, desk.is_some())?;
        if !matches!(admission, Admission::Elsewhere) {
            admission = self.confirm(caller).await?;
        }
        let (out, stream) = mpsc::channel(OUT_MAX);
        match (admission, desk) {
            (Admission::Served(node), Some(desk)) => {
                let peer = Peer::of(request.extensions());
                let visit = Visit { dispatcher: self.clone(), desk: desk.clone(), node, peer };
                desk.sessions.spawn(visit.run(request.into_inner(), out));
            }
            (Admission::Refused(words), _) => refuse(&out, words),
            (Admission::Served(_) | Admission::Elsewhere, _) => refuse(&out, self.elsewhere()),
        }
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// Says the only words of a stream that is not served.
fn refuse(out: &Outgoing, words: pb::Farewell) {
    out.try_send(Ok(say(Said::Farewell(words)))).expect("the channel is new and has room");
}

/// A stream from its opening to its end.
struct Visit {
    dispatcher: Dispatcher,
    desk: Desk,
    node: NodeId,
    peer: Option<Peer>,
}

impl Visit {
    async fn run(self, mut inbound: Streaming<pb::AgentMessage>, out: Outgoing) {
        let hello = match self.desk.stop.run_until_cancelled(greeted(&mut inbound)).await {
            Some(Ok(hello)) => hello,
            Some(Err(error)) => {
                let _ = out.try_send(Err(error.into()));
                return;
            }
            None => return,
        };
        if self.dispatcher.store.hear_rumor(Era(hello.era), hello.managers.clone()) {
            tracing::warn!(node.id = %self.node, "a node says that it has heard of a later era of the cluster than this manager lives in");
            return refuse(&out, self.dispatcher.elsewhere());
        }
        let presented = hello.credentials.clone().map(presented);
        let greeted = Greeted { at: sys::now(), clock: hello.clock_ms, presented };
        let session = SessionId::new(sys::random_bits());
        let line = Arc::new(Line::new(session, self.dispatcher.clock.now()));
        self.dispatcher.registry.enter(self.node, Arc::clone(&line));
        self.announce(hello).await;
        tracing::debug!(node.id = %self.node, %session, "session opened");
        let parting = Talking::new(&self, Arc::clone(&line), (inbound, out), greeted).run().await;
        tracing::debug!(node.id = %self.node, %session, ?parting, "session ended");
        let heard = line.last_heard(self.dispatcher.clock.now());
        if self.dispatcher.registry.leave(self.node, session) {
            let _ = self.desk.events.send(Event::Ended { node: self.node, parting, heard }).await;
        }
    }

    async fn announce(&self, hello: pb::Hello) {
        let seen = self.peer.map(|peer| peer.0.ip().to_string()).unwrap_or_default();
        let address = if hello.address.is_empty() { seen } else { hello.address };
        let description = Box::new(hello.description.unwrap_or_default().into());
        let started = Event::Started { node: self.node, address, description };
        // The loop is gone when leadership is lost; then the session ends by its line.
        let _ = self.desk.events.send(started).await;
    }
}

/// Whatever is to be said now of what the node is and does.
fn refresh(talk: &mut Talk, dispatcher: &Dispatcher, node: NodeId, news: &News) {
    let state = dispatcher.store.read();
    talk.ask_renewal(dispatcher.store.soft().is_to_renew(node));
    talk.update(&state, news);
}

async fn greeted(inbound: &mut Streaming<pb::AgentMessage>) -> Result<pb::Hello, DispatchError> {
    let first = tokio::time::timeout(HELLO_TIME_MAX, inbound.message()).await.map_err(|_| DispatchError::Silent)?;
    match first {
        Ok(Some(pb::AgentMessage { message: Some(Heard::Hello(hello)) })) => Ok(*hello),
        Ok(Some(_)) => Err(DispatchError::Hello),
        Ok(None) | Err(_) => Err(DispatchError::Broken),
    }
}

/// What the hello said, and when it came.
struct Greeted {
    at: Moment,
    clock: u64,
    /// What the agent proves itself with.
    presented: Option<Presented>,
}

/// An open session and its stream.
struct Talking {
    talk: Talk,
    greeted: Greeted,
    skew: Skew,
    node: NodeId,
    line: Arc<Line>,
    dispatcher: Dispatcher,
    desk: Desk,
    inbound: Streaming<pb::AgentMessage>,
    out: Outgoing,
    watch: Watch,
    commits: watch::Receiver<u64>,
    contacts: watch::Receiver<u64>,
}

impl Talking {
    fn new(
        visit: &Visit,
        line: Arc<Line>,
        (inbound, out): (Streaming<pb::AgentMessage>, Outgoing),
        greeted: Greeted,
    ) -> Self {
        let store = &visit.dispatcher.store;
        // The watch before the first look, so that nothing falls between the two.
        let (mut desk, watch) = (visit.desk.clone(), store.watch_node(visit.node));
        let mut talk = Talk::new(visit.node, line.session, &desk.settings.borrow_and_update(), &store.read());
        if let Some(presented) = &greeted.presented {
            talk.presents(presented.clone());
            visit.dispatcher.store.note_presented(visit.node, presented.clone());
        }
        Self {
            talk,
            greeted,
            skew: Skew::default(),
            node: visit.node,
            watch,
            commits: line.commits(),
            contacts: line.contacts(),
            dispatcher: visit.dispatcher.clone(),
            line,
            desk,
            inbound,
            out,
        }
    }

    async fn run(mut self) -> Parting {
        self.look_at_clock(self.greeted.clock, 0, self.greeted.at);
        loop {
            if let Err(parting) = self.turn().await {
                self.part(&parting).await;
                return parting;
            }
        }
    }

    /// Waits for one thing and does it.
    async fn turn(&mut self) -> Result<(), Parting> {
        let (idle, listens) = (self.talk.is_idle(), self.talk.listens());
        let message = tokio::select! {
            words = self.line.farewell() => return Err(Parting::Dismissed(words)),
            () = self.desk.stop.cancelled() => return Err(Parting::Dismissed(self.dispatcher.elsewhere())),
            place = self.out.reserve(), if !idle => {
                let place = place.map_err(|_| Parting::Lost)?;
                if let Some(message) = self.talk.next_message() {
                    place.send(Ok(stamped(message, self.greeted.at, sys::now())));
                }
                None
            }
            place = self.desk.inputs.reserve(), if !listens => {
                let place = place.map_err(|_| Parting::Dismissed(self.dispatcher.elsewhere()))?;
                if let Some(input) = self.talk.take_report() {
                    place.send(input);
                }
                self.line.heard(self.dispatcher.clock.now());
                None
            }
            message = self.inbound.message(), if listens => {
                self.line.heard(self.dispatcher.clock.now());
                Some(message.ok().flatten().ok_or(Parting::Lost)?)
            }
            () = self.watch.changed(), if idle => {
                refresh(&mut self.talk, &self.dispatcher, self.node, &self.watch.news());
                None
            }
            Ok(()) = self.commits.changed(), if idle => {
                self.talk.committed(*self.commits.borrow_and_update());
                None
            }
            Ok(()) = self.contacts.changed(), if idle => {
                self.talk.contact(*self.contacts.borrow_and_update(), &self.dispatcher.store.read());
                None
            }
            Ok(()) = self.desk.settings.changed(), if idle => {
                self.talk.settled(&self.desk.settings.borrow_and_update());
                refresh(&mut self.talk, &self.dispatcher, self.node, &News::Anything);
                None
            }
        };
        match message {
            Some(message) => self.hear(message).await,
            None => Ok(()),
        }
    }

    async fn hear(&mut self, message: pb::AgentMessage) -> Result<(), Parting> {
        if let Some(Heard::Heartbeat(beat)) = message.message {
            // Nearly all messages: nothing to look up, nothing to lock.
            self.talk.echo();
            self.look_at_clock(beat.clock_ms, beat.delay_ms, sys::now());
            if beat.seq == 0 {
                return Ok(());
            }
        }
        let acts = self.talk.hear(message, &self.dispatcher.store.read());
        match acts {
            Ok(acts) => {
                for act in acts {
                    self.act(act).await?;
                }
                Ok(())
            }
            Err(error) => {
                let _ = self.out.try_send(Err(error.into()));
                Err(Parting::Lost)
            }
        }
    }

    fn look_at_clock(&mut self, theirs: u64, delay_ms: u64, ours: Moment) {
        let Some(Finding { ahead_ms, turned }) = self.skew.hear(theirs, delay_ms, ours) else { return };
        self.dispatcher.store.note_clock(self.node, ahead_ms);
        match turned {
            Some(true) => {
                tracing::warn!(node.id = %self.node, ahead_ms, "the node's clock differs from the leader's by more than a second");
            }
            Some(false) => tracing::info!(node.id = %self.node, ahead_ms, "the node's clock is right again"),
            None => {}
        }
    }

    async fn act(&mut self, act: Act) -> Result<(), Parting> {
        match act {
            Act::Note(statuses) => self.dispatcher.store.note_statuses(statuses),
            Act::Hold => self.line.hold(),
            Act::Foreign(task) => {
                tracing::warn!(node.id = %self.node, task.id = %task, "a node reported on another node's task; refused");
            }
            Act::Present(presented) => {
                self.dispatcher.store.note_presented(self.node, presented);
                refresh(&mut self.talk, &self.dispatcher, self.node, &News::Anything);
            }
            Act::Describe(description) => {
                let _ = self.desk.events.send(Event::Described { node: self.node, description }).await;
            }
            Act::Witness(seq) => {
                // When there is no room, the next heartbeat asks again.
                let _ = self.desk.witness.try_send((Arc::clone(&self.line), seq));
            }
            Act::Part(parting) => return Err(parting),
        }
        Ok(())
    }

    async fn part(&mut self, parting: &Parting) {
        if let Parting::Dismissed(words) = parting {
            let words = self.out.send(Ok(say(Said::Farewell(words.clone()))));
            let _ = tokio::time::timeout(FAREWELL_TIME_MAX, words).await;
        }
    }
}
