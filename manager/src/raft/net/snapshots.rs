//! Outgoing snapshots.

use std::sync::Arc;

use raft::eraftpb::Message;
use skep_proto::pb;
use skep_proto::pb::raft_client::RaftClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::links::{Shared, encode};
use crate::dialect::DIALECT;
use crate::raft::disk::{RaftDir, snapshot};
use crate::raft::run::Command;

/// Frames between the file and the connection, some hundred kilobytes each.
const FRAMES_MAX: usize = 4;

/// Sends the snapshot that a message is about and says what became of it.
pub(super) async fn send(shared: Arc<Shared>, dir: Arc<RaftDir>, message: Message) {
    let (to, index) = (message.to, message.get_snapshot().get_metadata().index);
    let arrived = deliver(&shared, dir, message).await;
    match &arrived {
        Ok(()) => tracing::info!(raft.to = to, raft.index = index, "sent a snapshot"),
        Err(why) => {
            tracing::warn!(raft.to = to, raft.index = index, why, "failed to send a snapshot; it is tried again")
        }
    }
    let arrived = arrived.is_ok();
    // Must not be lost: until it is told, the machine sends the member nothing.
    drop(shared.commands.send(Command::SnapshotSent { to, arrived }).await);
}

async fn deliver(shared: &Shared, dir: Arc<RaftDir>, message: Message) -> Result<(), String> {
    let channel = shared.open(message.to).await.ok_or_else(|| "the member was not reached".to_owned())?;
    let (out, parts) = mpsc::channel(FRAMES_MAX);
    let reading = tokio::task::spawn_blocking(move || read(&dir, &message, &out));
    let sent = RaftClient::new(channel).send_state(ReceiverStream::new(parts)).await;
    // A file that could not be read to its end is seen by the other side as cut short; its own error says more.
    reading.await.map_err(|error| error.to_string())??;
    sent.map(drop).map_err(|status| status.to_string())
}

fn read(dir: &RaftDir, message: &Message, out: &mpsc::Sender<pb::SnapshotPart>) -> Result<(), String> {
    let say = |error| skep_proto::chain::chain(&error).to_string();
    let frames = snapshot::frames(dir, message.get_snapshot().get_metadata().index).map_err(say)?;
    let announced = pb::SnapshotPart { message: encode(message), frame: Vec::new(), dialect: DIALECT };
    if out.blocking_send(announced).is_err() {
        return Ok(());
    }
    for frame in frames {
        let part = pb::SnapshotPart { frame: frame.map_err(say)?, ..pb::SnapshotPart::default() };
        if out.blocking_send(part).is_err() {
            return Ok(());
        }
    }
    Ok(())
}
