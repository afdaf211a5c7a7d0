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
use super::plan::{Reading, answers, missing};
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
        let reading = Reading::new(services, tasks);
        let (open, later) = (BTreeMap::new(), BTreeMap::new());
        let reader = Reader { broker: self.clone(), reading, options: both(options), items, out, open, later };
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
    options: pb::LogOptions,
    items: mpsc::Sender<Item>,
    out: Out,
    open: BTreeMap<PartId, Opening>,
    later: BTreeMap<NodeId, Later>,
}

/// What a node is to be asked as soon as it listens. After a leader change it may take a moment until it does; only who follows waits.
struct Later {
    tasks: Vec<TaskId>,
    since: Instant,
    told: bool,
}

/// A part that has not ended.
struct Opening {
    node: NodeId,
    tasks: usize,
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
        while self.options.follow || !self.open.is_empty() {
            tokio::select! {
                item = items.recv() => if let Some(item) = item { self.take(item).await? },
                () = changes.next(), if self.options.follow => self.ask().await?,
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
        for (node, tasks) in asks.parts {
            if self.asks(node, &tasks) {
                continue;
            }
            if self.options.follow {
                let later = Later { tasks: Vec::new(), since: Instant::now(), told: false };
                self.later.entry(node).or_insert(later).tasks.extend(tasks);
            } else {
                let warning = missing(&self.broker.store.read(), node, tasks.len(), "is not connected");
                self.warn(warning).await?;
            }
        }
        Ok(())
    }

    /// Whether the node could be asked.
    fn asks(&mut self, node: NodeId, tasks: &[TaskId]) -> bool {
        let id = sys::random_bits();
        let part = Part { node, tasks: tasks.iter().copied().collect(), out: self.items.clone() };
        let asked = self.broker.ask(id, part, self.options);
        if asked {
            let opening = Opening { node, tasks: tasks.len(), asked_at: Instant::now(), opened: false };
            self.open.insert(id, opening);
        }
        asked
    }

    /// Asks those that did not listen, and tells once of one that still does not.
    async fn ask_again(&mut self) -> Result<(), Gone> {
        for (node, mut later) in std::mem::take(&mut self.later) {
            if self.asks(node, &later.tasks) {
                continue;
            }
            if !later.told && later.since.elapsed() > OPEN_TIME_MAX {
                later.told = true;
                let warning = missing(&self.broker.store.read(), node, later.tasks.len(), "is not connected");
                self.warn(warning).await?;
            }
            self.later.insert(node, later);
        }
        Ok(())
    }

    async fn take(&mut self, item: Item) -> Result<(), Gone> {
        match item {
            Item::Opened(id) => {
                self.open.get_mut(&id).into_iter().for_each(|opening| opening.opened = true);
                Ok(())
            }
            Item::Lines(lines) => {
                let sources = self.reading.sources(&lines, &self.broker.store.read());
                self.say(pb::ServiceLogsReply { lines, sources, warning: String::new() }).await
            }
            Item::Trouble(warning) => self.warn(warning).await,
            Item::Ended(id, true) => {
                self.open.remove(&id);
                self.broker.close(id);
                Ok(())
            }
            Item::Ended(id, false) => self.give_up(id, "broke off").await,
        }
    }

    /// Gives up on nodes that do not begin, or have gone Down meanwhile.
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
        self.ask_again().await
    }

    async fn give_up(&mut self, id: PartId, why: &str) -> Result<(), Gone> {
        self.broker.close(id);
        let Some(Opening { node, tasks, .. }) = self.open.remove(&id) else { return Ok(()) };
        let warning = missing(&self.broker.store.read(), node, tasks, why);
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
