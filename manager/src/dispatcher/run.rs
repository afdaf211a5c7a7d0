//! The leader's two loops: one keeps the nodes' states, one brings reports and states into the log.

use std::collections::BTreeSet;
use std::time::Duration;

use skep_proto::model::{Moment, Node, NodeDescription, NodeId, NodeState, NodeStatus};
use skep_proto::pb;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::batch::{Batch, Input};
use super::heartbeat::{Deadlines, grace, return_grace, scaled, seconds};
use super::registry::farewell;
use super::service::{Desk, Dispatcher, Event, NO_LEADER, Parting, Settings};
use crate::store::{ProposeError, Touched};
use crate::sys;

/// Reports and node states that wait for the next proposal. At the bound sessions stop reading, see [`super`].
const INPUTS_MAX: usize = 1_024;
/// Events that the keeper has not looked at. At the bound sessions wait; the keeper never waits for them.
const EVENTS_MAX: usize = 1_024;
/// After a proposal came to nothing: time for the log to recover or for leadership to settle.
const RETRY: Duration = Duration::from_millis(100);
/// How long an agent that said goodbye may take to come back, as after an upgrade, before its tasks are run elsewhere.
const GOODBYE_GRACE: Duration = Duration::from_secs(3);

impl Dispatcher {
    /// Accepts sessions and keeps the nodes' states until `stop`; returns when every session has ended.
    pub async fn run(&self, stop: CancellationToken) {
        let (inputs, waiting) = mpsc::channel(INPUTS_MAX);
        let (events, happening) = mpsc::channel(EVENTS_MAX);
        let mut keeper = Keeper::new(self.clone(), inputs.clone());
        let sessions = TaskTracker::new();
        let settings = keeper.settings.subscribe();
        let desk = Desk { inputs, events, settings, sessions: sessions.clone(), stop: stop.clone() };
        *self.desk.write() = Some(desk);
        tokio::join!(keeper.run(happening, stop.clone()), self.carry(waiting, stop.clone()), async {
            stop.cancelled().await;
            *self.desk.write() = None;
            sessions.close();
            sessions.wait().await;
        });
    }

    /// Proposes what waits, all of it at once, then what has come meanwhile.
    async fn carry(&self, mut waiting: mpsc::Receiver<Input>, stop: CancellationToken) {
        let mut batch = Batch::default();
        loop {
            if batch.is_empty() {
                tokio::select! {
                    () = stop.cancelled() => return,
                    input = waiting.recv() => match input {
                        Some(input) => batch.add(input),
                        None => return,
                    },
                }
            }
            while let (false, Ok(input)) = (batch.is_full(), waiting.try_recv()) {
                batch.add(input);
            }
            if self.commit(&mut batch).await.is_err() {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(RETRY) => {}
                }
            }
        }
    }

    /// Proposes the batch and tells the sessions. What failed stays in it, if it is worth trying again.
    async fn commit(&self, batch: &mut Batch) -> Result<(), ProposeError> {
        match self.store.propose_all(batch.transactions(sys::now())).await {
            Ok(_) => {
                for origin in std::mem::take(batch).origins() {
                    let line = self.registry.get(origin.node).filter(|line| line.session == origin.session);
                    line.into_iter().for_each(|line| line.commit(origin.seq));
                }
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, "reports not committed");
                if error == ProposeError::NotLeader {
                    // Some may be committed, some not: only the agents can tell again, on a new session.
                    batch.forget_reports();
                    self.registry.end_all(&farewell(NO_LEADER));
                }
                Err(error)
            }
        }
    }
}

/// Keeps the nodes' states.
struct Keeper {
    dispatcher: Dispatcher,
    inputs: mpsc::Sender<Input>,
    settings: watch::Sender<Settings>,
    deadlines: Deadlines,
    /// How many nodes there are.
    nodes: usize,
    /// Nodes whose agent said goodbye.
    stopped: BTreeSet<NodeId>,
}

impl Keeper {
    fn new(dispatcher: Dispatcher, inputs: mpsc::Sender<Input>) -> Self {
        let (settings, nodes) = read_settings(&dispatcher);
        let (settings, deadlines) = (watch::Sender::new(settings), Deadlines::default());
        Self { dispatcher, inputs, settings, deadlines, nodes, stopped: BTreeSet::new() }
    }

    async fn run(&mut self, mut happening: mpsc::Receiver<Event>, stop: CancellationToken) {
        let mut subscription = self.dispatcher.store.subscribe();
        self.look_at_all();
        loop {
            let next = self.deadlines.next().unwrap_or(Moment(u64::MAX));
            let alarm = self.dispatcher.clock.instant(next.min(self.now() + Duration::from_secs(30)));
            let news = tokio::select! {
                () = stop.cancelled() => return,
                event = happening.recv() => match event {
                    Some(event) => self.take(event),
                    None => return,
                },
                touched = subscription.touched() => {
                    self.look(&touched);
                    Vec::new()
                }
                () = tokio::time::sleep_until(alarm) => self.expire(),
            };
            for input in news {
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = self.inputs.send(input) => {}
                }
            }
        }
    }

    fn now(&self) -> Moment {
        self.dispatcher.clock.now()
    }

    fn period(&self) -> Duration {
        self.settings.borrow().period
    }

    fn take(&mut self, event: Event) -> Vec<Input> {
        match event {
            Event::Started { node, address, description } => {
                self.stopped.remove(&node);
                self.deadlines.set(node, self.now() + grace(self.period()));
                self.ready(node, Some(address), description).into_iter().collect()
            }
            Event::Described { node, description } => self.ready(node, None, description).into_iter().collect(),
            Event::Ended { node, parting } => self.ended(node, &parting).into_iter().collect(),
        }
    }

    /// The change that makes the node Ready and described so, unless it already is.
    fn ready(&self, node: NodeId, address: Option<String>, description: Box<NodeDescription>) -> Option<Input> {
        let state = self.dispatcher.store.read();
        let known = state.node(node)?;
        let address = address.unwrap_or_else(|| known.status.address.clone());
        let status = NodeStatus { state: NodeState::Ready, message: String::new(), address };
        let same = known.status == status && known.description == *description;
        (!same).then(|| log_change(known, status, Some(description)))
    }

    fn ended(&mut self, node: NodeId, parting: &Parting) -> Option<Input> {
        match parting {
            // Silence is what counts: the deadline runs from the last word.
            Parting::Lost | Parting::Dismissed(_) => None,
            Parting::Goodbye => {
                self.stopped.insert(node);
                self.deadlines.set(node, self.now() + GOODBYE_GRACE);
                None
            }
            Parting::Leaving => {
                self.deadlines.clear(node);
                self.down(node, "the node has left the swarm".to_owned())
            }
        }
    }

    fn expire(&mut self) -> Vec<Input> {
        let (now, grace, registry) = (self.now(), grace(self.period()), &self.dispatcher.registry);
        let silent = self.deadlines.expire(now, grace, |node| registry.last_heard(node, now));
        silent.into_iter().filter_map(|node| self.silent(node, grace)).collect()
    }

    fn silent(&mut self, node: NodeId, grace: Duration) -> Option<Input> {
        let message = if self.stopped.remove(&node) {
            "the node was stopped".to_owned()
        } else {
            format!("no heartbeat for {}", seconds(grace))
        };
        self.dispatcher.registry.end(node, farewell(&message));
        self.down(node, message)
    }

    fn down(&self, node: NodeId, message: String) -> Option<Input> {
        let state = self.dispatcher.store.read();
        let known = state.node(node)?;
        let status = NodeStatus { state: NodeState::Down, message, address: known.status.address.clone() };
        Some(log_change(known, status, None))
    }

    fn look(&mut self, touched: &Touched) {
        if touched.all {
            self.look_at_all();
        } else {
            self.look_at(touched.nodes.iter().copied());
        }
        if touched.all || touched.cluster || !touched.nodes.is_empty() {
            let (settings, nodes) = read_settings(&self.dispatcher);
            self.nodes = nodes;
            self.settings.send_if_modified(|known| std::mem::replace(known, settings.clone()) != settings);
        }
    }

    fn look_at_all(&mut self) {
        let nodes: Vec<NodeId> = self.dispatcher.store.read().nodes().map(|node| node.id).collect();
        self.look_at(nodes.into_iter());
    }

    /// Forgets nodes that were removed; watches those that are thought alive and are not watched yet.
    fn look_at(&mut self, nodes: impl Iterator<Item = NodeId>) {
        let by_then = self.now() + return_grace(self.period(), self.nodes);
        for node in nodes {
            let known = self.dispatcher.store.read().node(node).map(|node| node.status.state);
            match known {
                None => self.removed(node),
                Some(NodeState::Down) => {}
                Some(_) if self.deadlines.watches(node) => {}
                Some(_) => self.deadlines.set(node, by_then),
            }
        }
    }

    fn removed(&mut self, node: NodeId) {
        self.deadlines.clear(node);
        let words = pb::Farewell { removed: true, ..farewell("the node was removed from the swarm") };
        self.dispatcher.registry.end(node, words);
    }
}

/// The one place that logs a node's state.
fn log_change(known: &Node, status: NodeStatus, description: Option<Box<NodeDescription>>) -> Input {
    let (from, to, reason) = (known.status.state, status.state, status.message.as_str());
    if from != to {
        tracing::info!(node.id = %known.id, ?from, ?to, reason, "node state");
    }
    Input::Node { node: known.id, status, description }
}

/// What sessions tell their agents, and how many nodes there are.
fn read_settings(dispatcher: &Dispatcher) -> (Settings, usize) {
    let state = dispatcher.store.read();
    let (mut nodes, mut managers) = (0, Vec::new());
    for node in state.nodes() {
        nodes += 1;
        managers.extend(node.manager.as_ref().map(|manager| manager.address.clone()));
    }
    let wanted = state.cluster().map(|cluster| cluster.spec.heartbeat).unwrap_or_default();
    (Settings { managers, period: scaled(wanted, nodes) }, nodes)
}
