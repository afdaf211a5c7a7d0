//! The agents' side: they listen for what to read, and publish what they have read.

use skep_proto::model::{NodeId, ParseIdError, TaskId};
use skep_proto::pb;
use skep_proto::pb::log_broker_server;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::broker::{Item, LogBroker, Part, PartId};
use super::error::LogError;
use crate::caller::Caller;

/// Subscriptions that an agent has not taken yet. At the bound the reader gets a warning instead of the node's lines.
const SUBSCRIPTIONS_MAX: usize = 64;

impl LogBroker {
    fn sign_in<T>(&self, request: &Request<T>) -> Result<NodeId, LogError> {
        Ok(Caller::of(request.extensions()).require_node(&self.store.read())?.node)
    }

    /// The part that the first message names.
    fn open(&self, first: &pb::PublishRequest, node: NodeId) -> Result<(PartId, Part), LogError> {
        let id: [u8; 16] = first.subscription.as_slice().try_into().map_err(|_| LogError::NoSubscription)?;
        let id = PartId::from_be_bytes(id);
        self.part(id, node).map(|part| (id, part)).ok_or(LogError::UnknownSubscription)
    }
}

/// Sets whose lines they are, and refuses those that were not asked for.
fn checked(part: &Part, mut lines: Vec<pb::LogLine>) -> Result<Vec<pb::LogLine>, LogError> {
    for line in &mut lines {
        let task = TaskId::from_bytes(&line.task).map_err(|error: ParseIdError| LogError::Message(error))?;
        if !part.tasks.contains(&task) {
            return Err(LogError::ForeignTask { task });
        }
        line.node = part.node.to_bytes();
    }
    Ok(lines)
}

/// Passes one message on; waits while the reader is slow.
async fn pass(part: &Part, message: pb::PublishRequest) -> Result<(), LogError> {
    let lines = checked(part, message.lines)?;
    let lines = (!lines.is_empty()).then_some(Item::Lines(lines));
    let trouble = (!message.error.is_empty()).then_some(Item::Trouble(message.error));
    for item in lines.into_iter().chain(trouble) {
        part.out.send(item).await.map_err(|_| LogError::UnknownSubscription)?;
    }
    Ok(())
}

/// Passes all messages on. `Ok(false)` when the stream broke.
async fn pass_all(
    part: &Part,
    first: pb::PublishRequest,
    mut rest: Streaming<pb::PublishRequest>,
) -> Result<bool, LogError> {
    pass(part, first).await?;
    loop {
        match rest.message().await {
            Ok(Some(message)) => pass(part, message).await?,
            Ok(None) => return Ok(true),
            Err(_) => return Ok(false),
        }
    }
}

#[tonic::async_trait]
impl log_broker_server::LogBroker for LogBroker {
    type ListenStream = ReceiverStream<Result<pb::LogSubscription, Status>>;

    async fn listen(&self, request: Request<pb::ListenRequest>) -> Result<Response<Self::ListenStream>, Status> {
        let node = self.sign_in(&request)?;
        let (sender, receiver) = mpsc::channel(SUBSCRIPTIONS_MAX);
        // The listener before, if any, ends with this: its sender is dropped.
        self.listen(node, sender);
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn publish(
        &self,
        request: Request<Streaming<pb::PublishRequest>>,
    ) -> Result<Response<pb::PublishReply>, Status> {
        let node = self.sign_in(&request)?;
        let mut stream = request.into_inner();
        let first = stream.message().await?.ok_or(LogError::NoSubscription)?;
        let (id, part) = self.open(&first, node)?;
        let _ = part.out.send(Item::Opened(id)).await;
        let passed = tokio::select! {
            passed = pass_all(&part, first, stream) => passed,
            () = self.stop.cancelled() => Ok(false),
        };
        let _ = part.out.send(Item::Ended(id, passed == Ok(true))).await;
        passed?;
        Ok(Response::new(pb::PublishReply {}))
    }
}
