//! A backup that comes in part by part. Nothing happens before it is whole.

use std::sync::Arc;

use skep_manager::store::Restoration;
use skep_proto::pb;
use skep_proto::pb::swarm_restore_request::Part;
use tonic::{Status, Streaming};

use super::status::{invalid, membership_status};
use super::swarm::{availability, reply};
use crate::daemon::address;
use crate::daemon::membership::{Membership, RestoreOrder};
use crate::daemon::run::candidates;

/// Reads the backup to its end and takes it over.
pub(crate) async fn restore(
    membership: &Arc<Membership>,
    mut parts: Streaming<pb::SwarmRestoreRequest>,
) -> Result<pb::SwarmInitReply, Status> {
    membership.require_free().await.map_err(|e| membership_status(&e))?;
    let Some(Part::Order(order)) = next(&mut parts).await? else {
        return Err(Status::invalid_argument("failed to restore: the request does not begin with where this node is"));
    };
    let order = settled(&order)?;
    let mut restoration = Restoration::default();
    while let Some(part) = next(&mut parts).await? {
        let Part::Backup(part) = part else {
            return Err(Status::invalid_argument("failed to restore: the request says twice where this node is"));
        };
        restoration.add(part).map_err(|e| invalid(&e))?;
    }
    let state = restoration.finish().map_err(|e| invalid(&e))?;
    let alone = membership.restore(order, state).await.map_err(|e| membership_status(&e))?;
    Ok(reply(membership, alone.advertise, alone.left_behind).await)
}

async fn next(parts: &mut Streaming<pb::SwarmRestoreRequest>) -> Result<Option<Part>, Status> {
    Ok(parts.message().await?.and_then(|request| request.part))
}

fn settled(order: &pb::RestoreOrder) -> Result<RestoreOrder, Status> {
    let listen = address::listen(&order.listen_addr).map_err(|e| membership_status(&e))?;
    let advertise = candidates().and_then(|all| address::advertise(&order.advertise_addr, listen, &all));
    Ok(RestoreOrder {
        listen,
        advertise: advertise.map_err(|e| membership_status(&e))?,
        availability: availability(order.availability())?,
    })
}
