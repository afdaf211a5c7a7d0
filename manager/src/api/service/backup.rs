//! A backup: the whole state as of one moment, part by part, while the store goes on.

use std::sync::Arc;
use std::time::Duration;

use skep_proto::pb;
use skep_proto::pb::backup_part::Part;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::control::{Answers, ControlService};
use crate::api::ApiError;
use crate::store::{Past, Store};
use crate::sys;

/// Backups that may be taken at once. Each keeps a copy of whatever changes meanwhile.
pub(super) const BACKUPS_MAX: usize = 2;

/// Parts between the state and the connection, some hundred kilobytes each.
const PARTS_MAX: usize = 4;

/// How long a backup may take before its moment is let go. A million tasks are 110 to 200 MB, which whoever reads a third of a megabyte a
/// second has by then; a manager gives them in seconds. The moment costs memory for what changes meanwhile, of each object once: at the
/// worst as much as the state itself, which a reader that stands still must not hold for ever.
const TIME_MAX: Duration = Duration::from_secs(600);

type Out = mpsc::Sender<Result<pb::BackupPart, Status>>;

impl ControlService {
    pub(super) fn back_up(&self) -> Result<Answers<pb::BackupPart>, ApiError> {
        let place = Arc::clone(&self.backups).try_acquire_owned().map_err(|_| ApiError::Backups)?;
        let (out, parts) = mpsc::channel(PARTS_MAX);
        let (store, deadline) = (self.store.clone(), Instant::now() + TIME_MAX);
        tokio::task::spawn_blocking(move || {
            // Whoever asked has gone, or is too slow; then there is nobody to tell.
            let _ = write(&store, &out, deadline);
            drop(place);
        });
        Ok(Box::pin(ReceiverStream::new(parts)))
    }
}

/// `None`: it came to nothing, and the end is missing.
fn write(store: &Store, out: &Out, deadline: Instant) -> Option<()> {
    let say = |part| {
        let sending = out.send(Ok(pb::BackupPart { part: Some(part) }));
        Handle::current().block_on(timeout_at(deadline, sending)).ok()?.ok()
    };
    let mut past = store.hold();
    say(Part::About(about(store, &past)))?;
    let mut end = pb::BackupEnd::default();
    for chunk in past.by_ref() {
        end.nodes += chunk.nodes.len() as u64;
        end.services += chunk.services.len() as u64;
        end.tasks += chunk.tasks.len() as u64;
        say(Part::Chunk(Box::new(chunk)))?;
    }
    if past.is_cut() { None } else { say(Part::End(end)) }
}

fn about(store: &Store, past: &Past) -> pb::BackupAbout {
    let cluster_id = store.read().cluster().map(|cluster| cluster.id.to_bytes()).unwrap_or_default();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    pb::BackupAbout { cluster_id, taken_at: sys::now().0, version, index: past.index() }
}
