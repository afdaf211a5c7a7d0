//! Listens for subscriptions and reads for each of them.
#![expect(clippy::disallowed_methods, reason = "driver: starts a reader for each subscription and ends it")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{SelectAll, StreamExt};
use skep_proto::model::{NodeId, TaskId};
use skep_proto::pb;
use skep_proto::pb::log_broker_client::LogBrokerClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Channel;

use super::batch::{Batch, options};
use crate::sys::{Executor, LogOptions, LogStream};

/// Subscriptions that one node serves at once. More are people who each watch the same service; they are told so.
const SUBSCRIPTIONS_MAX: usize = 64;

/// Messages between the reader and the transport: back-pressure begins here.
const OUTBOUND_MAX: usize = 4;

/// Delay before listening again when the manager would not have it.
const LISTEN_RETRY: Duration = Duration::from_secs(5);

type Readers = BTreeMap<Vec<u8>, AbortOnDropHandle<()>>;

/// Serves subscriptions until it is dropped, which its session does when it ends.
pub(crate) async fn serve(channel: Channel, node: NodeId, executor: Arc<dyn Executor>) {
    loop {
        if let Err(status) = listen(&channel, node, &executor).await {
            tracing::debug!(%status, "the manager ships no logs now; will ask again");
        }
        tokio::time::sleep(LISTEN_RETRY).await;
    }
}

async fn listen(channel: &Channel, node: NodeId, executor: &Arc<dyn Executor>) -> Result<(), tonic::Status> {
    let mut readers = Readers::new();
    let mut stream = LogBrokerClient::new(channel.clone()).listen(pb::ListenRequest {}).await?.into_inner();
    while let Some(subscription) = stream.message().await? {
        readers.retain(|_, reader| !reader.is_finished());
        if subscription.close {
            readers.remove(&subscription.id);
        } else if !readers.contains_key(&subscription.id) {
            let id = subscription.id.clone();
            let crowded = readers.len() >= SUBSCRIPTIONS_MAX;
            let reader = Reader { channel: channel.clone(), node, executor: Arc::clone(executor), subscription };
            readers.insert(id, AbortOnDropHandle::new(tokio::spawn(reader.run(crowded))));
        }
    }
    Ok(())
}

struct Reader {
    channel: Channel,
    node: NodeId,
    executor: Arc<dyn Executor>,
    subscription: pb::LogSubscription,
}

impl Reader {
    /// Publishes until the logs end. Both halves run in one tokio task, so that dropping it ends both.
    async fn run(self, crowded: bool) {
        let (out, messages) = mpsc::channel(OUTBOUND_MAX);
        let mut client = LogBrokerClient::new(self.channel.clone());
        let publish = client.publish(ReceiverStream::new(messages));
        let read = async {
            // The manager may stop listening at any time; then there is nobody to send to.
            let _ = if crowded { self.refuse(out).await } else { self.read(out).await };
        };
        let (published, ()) = tokio::join!(publish, read);
        if let Err(status) = published {
            tracing::debug!(%status, "the manager does not take the log lines");
        }
    }

    async fn refuse(&self, out: mpsc::Sender<pb::PublishRequest>) -> Result<(), Closed> {
        let reason = format!("this node already serves {SUBSCRIPTIONS_MAX} readers of logs; try again later");
        out.send(self.problem(reason)).await.map_err(|_| Closed)
    }

    async fn read(&self, out: mpsc::Sender<pb::PublishRequest>) -> Result<(), Closed> {
        out.send(self.problem(String::new())).await.map_err(|_| Closed)?;
        let wanted = options(self.subscription.options);
        let mut lines = SelectAll::new();
        for id in &self.subscription.tasks {
            match self.open(id, wanted).await {
                Ok((task, stream)) => lines.push(stream.map(move |line| (task, line)).boxed()),
                Err(reason) => out.send(self.problem(reason)).await.map_err(|_| Closed)?,
            }
        }
        self.ship(lines, &out).await
    }

    /// Sends what is there together: lines that are ready share a message, a line that comes alone goes alone.
    async fn ship(&self, mut lines: Lines, out: &mpsc::Sender<pb::PublishRequest>) -> Result<(), Closed> {
        let mut batch = Batch::default();
        let mut ready = (&mut lines).ready_chunks(super::batch::LINES_MAX);
        while let Some(chunk) = ready.next().await {
            for (task, line) in chunk {
                match line {
                    Ok(line) => batch.push(self.node, task, line),
                    Err(error) => out.send(self.problem(told(task, &error))).await.map_err(|_| Closed)?,
                }
                if batch.is_full() {
                    out.send(batch.take(&self.subscription.id)).await.map_err(|_| Closed)?;
                }
            }
            if !batch.is_empty() {
                out.send(batch.take(&self.subscription.id)).await.map_err(|_| Closed)?;
            }
        }
        Ok(())
    }

    async fn open(&self, id: &[u8], wanted: LogOptions) -> Result<(TaskId, LogStream), String> {
        let task = TaskId::from_bytes(id).map_err(|error| error.to_string())?;
        let stream = self.executor.logs(task, wanted).await.map_err(|error| told(task, &error))?;
        Ok((task, stream))
    }

    /// A message without lines: with a reason it tells of a problem, without one it only names the subscription.
    fn problem(&self, error: String) -> pb::PublishRequest {
        pb::PublishRequest { subscription: self.subscription.id.clone(), lines: Vec::new(), error }
    }
}

type Lines =
    SelectAll<futures_util::stream::BoxStream<'static, (TaskId, Result<crate::sys::LogLine, crate::sys::ExecError>)>>;

/// Nobody takes the lines any more.
struct Closed;

fn told(task: TaskId, error: &crate::sys::ExecError) -> String {
    format!("read the log of task {task}: {}", error.fault().reason)
}
