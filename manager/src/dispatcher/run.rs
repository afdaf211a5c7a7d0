//! The leader's two loops: one keeps the nodes' states, one brings reports and states into the log.

use std::sync::Arc;
use std::time::Duration;

use skep_proto::model::Moment;
use skep_proto::model::moment::millis;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::batch::{Batch, Input, Told};
use super::keeper::{Effect, Event, Keeper, Settings};
use super::registry::Line;
use super::service::{Desk, Dispatcher};
use super::sight::Sight;
use crate::store::{ProposeError, Subscription, Topics};
use crate::sys;

/// Reports and node states that wait for the next proposal. At the bound sessions stop reading, see [`super`].
const INPUTS_MAX: usize = 1_024;
/// Events that the keeper has not looked at. At the bound sessions wait; the keeper never waits for them.
const EVENTS_MAX: usize = 1_024;
/// Heartbeats that wait to be answered. At the bound they are not, and asked again with the next.
const WITNESS_MAX: usize = 4_096;
/// After a proposal came to nothing: time for the log to recover or for leadership to settle.
const RETRY: Duration = Duration::from_millis(100);
/// Rounds of the runtime in which the words of all nodes are read. One takes in a thousand sockets and moves their words by one task, so
/// these are enough for five thousand nodes; where all is quiet they take microseconds.
const CATCH_UP_ROUNDS: usize = 8;
/// Longest sleep of the keeper; nothing hangs on it.
const SLEEP_MAX: Duration = Duration::from_secs(30);

impl Dispatcher {
    /// Accepts sessions and keeps the nodes' states until `stop`; returns when every session has ended.
    pub async fn run(&self, stop: CancellationToken) {
        let (inputs, waiting) = mpsc::channel(INPUTS_MAX);
        let (events, happening) = mpsc::channel(EVENTS_MAX);
        let mut keeping = Keeping::new(self.clone(), inputs.clone());
        let sessions = TaskTracker::new();
        let settings = keeping.settings.subscribe();
        let (witness, asking) = mpsc::channel(WITNESS_MAX);
        let desk = Desk { inputs, events, settings, witness, sessions: sessions.clone(), stop: stop.clone() };
        self.desk.send_replace(Some(desk));
        let witnessing = self.testify(asking, stop.clone());
        tokio::join!(keeping.run(happening, stop.clone()), self.carry(waiting, stop.clone()), witnessing, async {
            stop.cancelled().await;
            self.desk.send_replace(None);
            sessions.close();
            sessions.wait().await;
        });
    }

    /// Makes sure, for all heartbeats that wait at a time, that this manager still leads after it has heard them.
    async fn testify(&self, mut asking: mpsc::Receiver<(Arc<Line>, u64)>, stop: CancellationToken) {
        let mut asked = Vec::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                count = asking.recv_many(&mut asked, WITNESS_MAX) => if count == 0 { return },
            }
            let sure = stop.run_until_cancelled(self.store.barrier()).await;
            for (line, seq) in asked.drain(..).filter(|_| matches!(sure, Some(Ok(())))) {
                line.witness(seq);
            }
        }
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
            fill(&mut batch, &mut waiting);
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
        let result = self.store.propose_all(batch.transactions(sys::now())).await.map(|_| ());
        match batch.proposed(result.as_ref().err()) {
            Told::Committed(origins) => {
                for origin in origins {
                    let line = self.registry.get(origin.node).filter(|line| line.session == origin.session);
                    line.into_iter().for_each(|line| line.commit(origin.seq));
                }
            }
            Told::Again => {}
            Told::Deposed => self.registry.end_all(&self.elsewhere()),
        }
        result.inspect_err(|error| tracing::warn!(%error, "reports not committed"))
    }
}

/// Takes what waits, as far as there is room. What is taken is in the batch: nobody would say it again.
fn fill(batch: &mut Batch, waiting: &mut mpsc::Receiver<Input>) {
    while !batch.is_full() {
        let Ok(input) = waiting.try_recv() else { return };
        batch.add(input);
    }
}

/// What the keeper looks at.
pub const TOPICS: Topics = Topics { nodes: true, cluster: true, ..Topics::NONE };

/// Waits until what lies in our sockets by now is heard. A word goes from its socket to the task of its connection, and from there to
/// that of its session; to yield is to let all tasks run that are ready, and then to have the sockets looked at.
async fn catch_up() {
    for _ in 0..CATCH_UP_ROUNDS {
        tokio::task::yield_now().await;
    }
}

/// The loop around the machine that keeps the nodes' states.
struct Keeping {
    dispatcher: Dispatcher,
    keeper: Keeper,
    subscription: Subscription,
    inputs: mpsc::Sender<Input>,
    settings: watch::Sender<Settings>,
}

impl Keeping {
    fn new(dispatcher: Dispatcher, inputs: mpsc::Sender<Input>) -> Self {
        let subscription = dispatcher.store.subscribe_to(TOPICS);
        let keeper = Keeper::new(&dispatcher.store.read(), dispatcher.clock.now(), dispatcher.before);
        let settings = watch::Sender::new(keeper.settings().clone());
        Self { dispatcher, keeper, subscription, inputs, settings }
    }

    async fn run(&mut self, mut happening: mpsc::Receiver<Event>, stop: CancellationToken) {
        let Dispatcher { store, clock, .. } = self.dispatcher.clone();
        loop {
            let alarm = self.keeper.wake_at().unwrap_or(Moment(u64::MAX)).min(clock.now() + SLEEP_MAX);
            let effects = tokio::select! {
                () = stop.cancelled() => return,
                event = happening.recv() => match event {
                    Some(event) => self.keeper.take(&store.read(), clock.now(), event),
                    None => return,
                },
                touched = self.subscription.touched() => self.keeper.look(&store.read(), clock.now(), &touched),
                () = tokio::time::sleep_until(clock.instant(alarm)) => self.judge(alarm, &mut happening).await,
            };
            let settings = self.keeper.settings();
            self.settings.send_if_modified(|known| std::mem::replace(known, settings.clone()) != *settings);
            for effect in effects {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.act(effect) => {}
                }
            }
        }
    }

    /// Looks for nodes that are silent, once everything that they have said by now was heard. A session that ended meanwhile has left
    /// word of when that was.
    async fn judge(&mut self, due: Moment, happening: &mut mpsc::Receiver<Event>) -> Vec<Effect> {
        let Dispatcher { store, registry, clock, .. } = self.dispatcher.clone();
        let began = clock.now();
        catch_up().await;
        let sight = Sight::caught_up(due, began, clock.now());
        if sight.is_dim() {
            let late_ms = millis(sight.late());
            tracing::warn!(late_ms, "this manager is late: no node is taken for silent for now");
        }
        let events: Vec<Event> = std::iter::from_fn(|| happening.try_recv().ok()).collect();
        let mut effects = Vec::new();
        for event in events {
            effects.extend(self.keeper.take(&store.read(), clock.now(), event));
        }
        effects.extend(self.keeper.expire(&store.read(), sight, |node| registry.last_heard(node, began)));
        effects
    }

    async fn act(&self, effect: Effect) {
        match effect {
            Effect::Dismiss(node, words) => self.dispatcher.registry.end(node, words),
            Effect::Write(input) => {
                self.log_change(&input);
                // Nobody takes it any more when leadership is lost; the next leader sees for itself.
                let _ = self.inputs.send(input).await;
            }
        }
    }

    /// The one place that logs a node's state.
    fn log_change(&self, input: &Input) {
        let Input::Node { node, status, .. } = input else { return };
        let from = self.dispatcher.store.read().node(*node).map(|known| known.status.state);
        let (to, reason) = (status.state, status.message.as_str());
        if from.is_some_and(|from| from != to) {
            tracing::info!(node.id = %node, ?from, ?to, reason, "node state");
        }
    }
}

#[cfg(test)]
mod tests {
    use skep_proto::model::{NodeId, SessionId, TaskId, TaskState, TaskStatus};

    use super::super::batch::{BATCH_MAX, Origin};
    use super::*;
    use crate::store::Reported;

    #[test]
    fn what_a_full_batch_has_no_room_for_goes_on_waiting() {
        let (inputs, mut waiting) = mpsc::channel(8);
        let (node, session) = (NodeId::new(1), SessionId::new(1));
        let status = TaskStatus::new(TaskState::Running, Moment(1), "started");
        let reported = Reported { task: TaskId::new(1), node: Some(node), status };
        for seq in 1..=3 {
            let (from, reported) = (Origin { node, session, seq }, vec![reported.clone(); BATCH_MAX]);
            inputs.try_send(Input::Report { from, reported }).unwrap();
        }
        let mut told = Vec::new();
        for _ in 0..3 {
            let mut batch = Batch::default();
            fill(&mut batch, &mut waiting);
            let Told::Committed(origins) = batch.proposed(None) else { panic!("it was committed") };
            told.extend(origins.into_iter().map(|origin| origin.seq));
        }
        assert_eq!(told, [1, 2, 3]);
    }
}
