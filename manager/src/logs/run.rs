//! One reader: asks the nodes, passes lines on, sees to it that every part ends.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream};
use skep_proto::model::{NodeId, ServiceId, TaskId};
use skep_proto::pb;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::broker::{Item, LogBroker, Part, PartId, READERS_MAX};
use super::error::LogError;
use super::plan::{Ask, Reading, answers, answers_again, missing, unfinished};
use crate::store::{Subscription, Watch};
use crate::sys;

/// Batches of lines between the agents and the reader. A full queue holds the agents back.
const ITEMS_MAX: usize = 32;
/// Replies between us and the connection.
const OUT_MAX: usize = 4;
/// A node that has not begun to answer by then costs a warning.
const OPEN_TIME_MAX: Duration = Duration::from_secs(5);
/// How often open parts are checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Where replies go.
type Out = mpsc::Sender<Result<pb::ServiceLogsReply, Status>>;

/// The reader has gone.
struct Gone;

impl LogBroker {
    /// Reads logs. The stream ends when every node has said all, or, following, when its reader goes.
    ///
    /// # Errors
    /// When too many read already.
    pub fn read(
        &self,
        services: Vec<ServiceId>,
        tasks: Vec<TaskId>,
        options: pb::LogOptions,
    ) -> Result<impl Stream<Item = Result<pb::ServiceLogsReply, Status>> + Send + use<>, LogError> {
        let full = LogError::Full { max: READERS_MAX };
        let place = self.places.clone().try_acquire_owned().map_err(|_| full)?;
        let (out, replies) = mpsc::channel(OUT_MAX);
        let (items, receiver) = mpsc::channel(ITEMS_MAX);
        let reading = Reading::new(services, tasks, both(options));
        let (open, unheard) = (BTreeMap::new(), BTreeMap::new());
        let reader = Reader { broker: self.clone(), reading, items, out, open, unheard };
        let stop = self.stop.clone();
        let run = async move {
            stop.run_until_cancelled(reader.run(receiver)).await;
            drop(place);
        };
        let nothing = run.into_stream().filter_map(|()| std::future::ready(None));
        Ok(stream::select(ReceiverStream::new(replies), nothing))
    }
}

/// Someone who names no stream wants both.
fn both(options: pb::LogOptions) -> pb::LogOptions {
    let none = !options.stdout && !options.stderr;
    pb::LogOptions { stdout: options.stdout || none, stderr: options.stderr || none, ..options }
}

struct Reader {
    broker: LogBroker,
    reading: Reading,
    items: mpsc::Sender<Item>,
    out: Out,
    open: BTreeMap<PartId, Opening>,
    /// Nodes that did not listen, which the reader was not told yet: after a leader change it may take a moment until they do.
    unheard: BTreeMap<NodeId, Unheard>,
}

/// A node that did not listen when it was asked.
struct Unheard {
    since: Instant,
    tasks: usize,
}

/// A part that has not ended.
struct Opening {
    node: NodeId,
    tasks: Vec<TaskId>,
    asked_at: Instant,
    opened: bool,
}

impl Drop for Reader {
    fn drop(&mut self) {
        for id in self.open.keys() {
            self.broker.close(*id);
        }
    }
}

impl Reader {
    async fn run(mut self, mut items: mpsc::Receiver<Item>) {
        let _ = self.read(&mut items).await;
    }

    async fn read(&mut self, items: &mut mpsc::Receiver<Item>) -> Result<(), Gone> {
        let mut changes = Changes::new(self);
        let mut check = tokio::time::interval(CHECK_INTERVAL);
        self.ask().await?;
        let follow = self.reading.follows();
        while follow || !self.open.is_empty() {
            tokio::select! {
                item = items.recv() => if let Some(item) = item { self.take(item).await? },
                () = changes.next(), if follow => self.ask().await?,
                _ = check.tick() => self.check().await?,
            }
        }
        Ok(())
    }

    /// Asks for what was not asked for yet.
    async fn ask(&mut self) -> Result<(), Gone> {
        let asks = self.reading.next(&self.broker.store.read());
        for warning in asks.warnings {
            self.warn(warning).await?;
        }
        for ask in asks.parts {
            self.begin(ask).await?;
        }
        Ok(())
    }

    async fn begin(&mut self, ask: Ask) -> Result<(), Gone> {
        let Ask { node, tasks, options } = ask;
        let id = sys::random_bits();
        let part = Part { node, tasks: tasks.iter().copied().collect(), out: self.items.clone() };
        if self.broker.ask(id, part, options) {
            self.open.insert(id, Opening { node, tasks, asked_at: Instant::now(), opened: false });
            return Ok(());
        }
        if !self.reading.follows() {
            return self.miss(node, &tasks, "is not connected").await;
        }
        self.wait_for(node, &tasks);
        Ok(())
    }

    /// Asks for these again, and tells the reader only if it takes long.
    fn wait_for(&mut self, node: NodeId, tasks: &[TaskId]) {
        let news = self.reading.lose(tasks);
        if news > 0 {
            self.unheard.entry(node).or_insert(Unheard { since: Instant::now(), tasks: 0 }).tasks += news;
        }
    }

    /// A node has no more lines. Tasks that have not ended will have some again: their daemon was stopped, or their end is on its way to
    /// us.
    fn said_all(&mut self, id: PartId) {
        self.broker.close(id);
        let Some(Opening { node, tasks, .. }) = self.open.remove(&id) else { return };
        if self.reading.follows() {
            let unfinished = unfinished(&self.broker.store.read(), tasks);
            self.wait_for(node, &unfinished);
        }
    }

    /// Tells once of nodes that still do not listen.
    async fn tell_unheard(&mut self) -> Result<(), Gone> {
        let late = |unheard: &Unheard| unheard.since.elapsed() > OPEN_TIME_MAX;
        let late: Vec<NodeId> =
            self.unheard.iter().filter(|(_, unheard)| late(unheard)).map(|(node, _)| *node).collect();
        for node in late {
            let Some(Unheard { tasks, .. }) = self.unheard.remove(&node) else { continue };
            let warning = missing(&self.broker.store.read(), node, tasks, "is not connected");
            self.warn(warning).await?;
        }
        Ok(())
    }

    async fn take(&mut self, item: Item) -> Result<(), Gone> {
        match item {
            Item::Opened(id) => self.opened(id).await,
            Item::Lines(lines) => {
                let lines = self.reading.fresh(lines);
                if lines.is_empty() {
                    return Ok(());
                }
                let sources = self.reading.sources(&lines, &self.broker.store.read());
                self.say(pb::ServiceLogsReply { lines, sources, warning: String::new() }).await
            }
            Item::Trouble(warning) => self.warn(warning).await,
            Item::Ended(id, true) => {
                self.said_all(id);
                Ok(())
            }
            Item::Ended(id, false) => self.give_up(id, "broke off").await,
        }
    }

    /// Whoever was told that lines are missing is told that they come now.
    async fn opened(&mut self, id: PartId) -> Result<(), Gone> {
        let Some(opening) = self.open.get_mut(&id) else { return Ok(()) };
        opening.opened = true;
        let node = opening.node;
        let silently = self.unheard.remove(&node).is_some();
        if self.reading.found(&opening.tasks) == 0 || silently {
            return Ok(());
        }
        let words = answers_again(&self.broker.store.read(), node);
        self.warn(words).await
    }

    /// Gives up on nodes that do not begin, or have gone Down meanwhile; asks those again that have failed before.
    async fn check(&mut self) -> Result<(), Gone> {
        let failing: Vec<(PartId, &'static str)> = {
            let state = self.broker.store.read();
            let verdict = |opening: &Opening| match opening {
                Opening { node, .. } if !answers(&state, *node) => Some("went down"),
                Opening { opened: false, asked_at, .. } if asked_at.elapsed() > OPEN_TIME_MAX => {
                    Some("does not answer")
                }
                _ => None,
            };
            self.open.iter().filter_map(|(id, opening)| Some((*id, verdict(opening)?))).collect()
        };
        for (id, why) in failing {
            self.give_up(id, why).await?;
        }
        if self.reading.follows() && self.reading.misses() {
            self.ask().await?;
        }
        self.tell_unheard().await
    }

    async fn give_up(&mut self, id: PartId, why: &str) -> Result<(), Gone> {
        self.broker.close(id);
        let Some(Opening { node, tasks, .. }) = self.open.remove(&id) else { return Ok(()) };
        self.miss(node, &tasks, why).await
    }

    /// Tells once that a node's lines are missing.
    async fn miss(&mut self, node: NodeId, tasks: &[TaskId], why: &str) -> Result<(), Gone> {
        let news = self.reading.lose(tasks);
        if news == 0 {
            return Ok(());
        }
        let warning = missing(&self.broker.store.read(), node, news, why);
        self.warn(warning).await
    }

    async fn warn(&self, warning: String) -> Result<(), Gone> {
        self.say(pb::ServiceLogsReply { warning, ..Default::default() }).await
    }

    async fn say(&self, reply: pb::ServiceLogsReply) -> Result<(), Gone> {
        self.out.send(Ok(reply)).await.map_err(|_| Gone)
    }
}

/// What may bring new tasks: one service is watched alone, more by everything that happens.
enum Changes {
    One(Watch),
    Any(Subscription),
}

impl Changes {
    fn new(reader: &Reader) -> Self {
        let store = &reader.broker.store;
        match (reader.reading.services.as_slice(), reader.reading.tasks.as_slice()) {
            ([one], []) => Self::One(store.watch_service(*one)),
            _ => Self::Any(store.subscribe()),
        }
    }

    async fn next(&mut self) {
        match self {
            Self::One(watch) => watch.changed().await,
            Self::Any(subscription) => drop(subscription.touched().await),
        }
    }
}
