//! Swarm calls: addresses are settled here, the rest is the membership's.

use std::sync::Arc;

use skep_agent::identity::client::JoinOrder;
use skep_proto::convert::ConvertError;
use skep_proto::model::moment::millis;
use skep_proto::model::{Availability, ClusterSpec, NodeRole, UnlockKey, UnlockKeyError};
use skep_proto::pb;
use skep_runtime::{ContainerStatus, Runtime};
use tonic::Status;

use super::status::{invalid, membership_status};
use crate::daemon::address;
use crate::daemon::membership::{Membership, NewPlace};
use crate::daemon::run::candidates;
use crate::daemon::standing::{InitOrder, Place, Standing};

/// Makes a swarm.
pub(crate) async fn init(
    membership: &Arc<Membership>,
    request: pb::SwarmInitRequest,
) -> Result<pb::SwarmInitReply, Status> {
    let (advertise_addr, left_behind) = if request.force_new_cluster {
        let place = NewPlace { listen: request.listen_addr, advertise: request.advertise_addr };
        let alone = membership.go_on_alone(&place).await.map_err(|e| membership_status(&e))?;
        (alone.advertise, alone.left_behind)
    } else {
        let order = init_order(&request)?;
        let advertise = order.advertise.to_string();
        membership.init(order).await.map_err(|e| membership_status(&e))?;
        (advertise, Vec::new())
    };
    Ok(reply(membership, advertise_addr, left_behind).await)
}

/// What a machine that has become the only manager of a swarm tells.
pub(super) async fn reply(
    membership: &Membership,
    advertise_addr: String,
    left_behind: Vec<String>,
) -> pb::SwarmInitReply {
    let node_id = match membership.standing().await {
        Standing::Active { identity, .. } => identity.node.to_bytes(),
        _ => Vec::new(),
    };
    let worker_token = membership.worker_token().await.unwrap_or_default();
    let unlock_key = membership.unlock_key().await.map(|key| key.to_string()).unwrap_or_default();
    pb::SwarmInitReply { node_id, worker_token, advertise_addr, unlock_key, left_behind }
}

fn init_order(request: &pb::SwarmInitRequest) -> Result<InitOrder, Status> {
    let listen = address::listen(&request.listen_addr).map_err(|e| membership_status(&e))?;
    let advertise = candidates().and_then(|all| address::advertise(&request.advertise_addr, listen, &all));
    Ok(InitOrder {
        listen,
        advertise: advertise.map_err(|e| membership_status(&e))?,
        availability: availability(request.availability())?,
        spec: cluster_spec(request).map_err(|e| invalid(&e))?,
    })
}

/// The defaults with what was asked for laid over them, checked as any spec from outside.
fn cluster_spec(request: &pb::SwarmInitRequest) -> Result<ClusterSpec, ConvertError> {
    let mut spec = pb::ClusterSpec::from(&ClusterSpec::default());
    if request.has_task_history_limit {
        spec.task_history_limit = request.task_history_limit;
    }
    if request.heartbeat_ms != 0 {
        spec.heartbeat_ms = request.heartbeat_ms;
    }
    if request.certificate_life_ms != 0 {
        spec.certificate_life_ms = request.certificate_life_ms;
    }
    (spec.raft_heartbeat_ms, spec.raft_election_ms) = (request.raft_heartbeat_ms, request.raft_election_ms);
    spec.autolock = request.autolock;
    spec.try_into()
}

/// Joins one.
pub(crate) async fn join(
    membership: &Arc<Membership>,
    request: pb::SwarmJoinRequest,
) -> Result<pb::SwarmJoinReply, Status> {
    let listen = address::listen(&request.listen_addr).map_err(|e| membership_status(&e))?;
    let advertise = match request.advertise_addr.as_str() {
        // The manager sees where the connection comes from, which is right more often than a guess.
        "" => String::new(),
        asked => candidates()
            .and_then(|all| address::advertise(asked, listen, &all))
            .map(|address| address.ip().to_string())
            .map_err(|e| membership_status(&e))?,
    };
    let remote = address::remote(&request.remote).map_err(|e| membership_status(&e))?;
    let order = JoinOrder {
        availability: availability(request.availability())?,
        description: membership.description().await.map_err(|e| membership_status(&e))?,
        ..membership.new_join(&remote, &request.token).await.map_err(|e| membership_status(&e))?
    };
    if let Some(met) = membership.meet_again(&order).await {
        let identity = met.map_err(|e| membership_status(&e))?;
        let (node_id, role) = (identity.node.to_bytes(), pb::NodeRole::from(identity.role).into());
        return Ok(pb::SwarmJoinReply { node_id, role, again: true });
    }
    let place = Place { listen, advertise };
    let identity = membership.join(place, order).await.map_err(|e| membership_status(&e))?;
    Ok(pb::SwarmJoinReply {
        node_id: identity.node.to_bytes(),
        role: pb::NodeRole::from(identity.role).into(),
        again: false,
    })
}

pub(super) fn availability(wire: pb::Availability) -> Result<Availability, Status> {
    match wire {
        pb::Availability::Unspecified => Ok(Availability::Active),
        other => Availability::try_from(other).map_err(|e| invalid(&e)),
    }
}

/// Leaves it.
pub(crate) async fn leave(
    membership: &Membership,
    request: pb::SwarmLeaveRequest,
) -> Result<pb::SwarmLeaveReply, Status> {
    membership.leave(request.force).await.map_err(|e| membership_status(&e))?;
    Ok(pb::SwarmLeaveReply {})
}

/// Unlocks its manager.
pub(crate) async fn unlock(
    membership: &Arc<Membership>,
    request: pb::SwarmUnlockRequest,
) -> Result<pb::SwarmUnlockReply, Status> {
    let key: UnlockKey = request.key.parse().map_err(|e: UnlockKeyError| invalid(&e))?;
    membership.unlock(&key).await.map_err(|e| membership_status(&e))?;
    Ok(pb::SwarmUnlockReply {})
}

/// Everything about this daemon on one page.
pub(crate) async fn info(membership: &Membership, runtime: &Runtime) -> pb::InfoReply {
    let setting = membership.setting();
    let description = membership.description().await.unwrap_or_default();
    let containers = runtime.list();
    let running = containers.iter().filter(|info| info.status == ContainerStatus::Running).count();
    let kernel = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned());
    let reply = pb::InfoReply {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        hostname: setting.hostname.clone(),
        pid: std::process::id().into(),
        data_dir: setting.data_dir.display().to_string(),
        resources: Some(description.resources.into()),
        platform: pb::NodeDescription::from(&description).platform,
        kernel: kernel.unwrap_or_default(),
        operating_system: operating_system(),
        containers_running: count(running),
        containers_stopped: count(containers.len() - running),
        images: count(runtime.images().list().len()),
        cgroup_version: runtime.cgroup_version().to_owned(),
        labels: setting.labels.clone(),
        ..pb::InfoReply::default()
    };
    with_standing(reply, membership.standing().await)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The distribution's own name for itself.
fn operating_system() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

/// The address from which this machine reaches a manager; empty when it reaches none. Nothing is sent.
fn way_to(managers: &[String]) -> String {
    let address = |manager: &String| {
        let socket = std::net::UdpSocket::bind(("0.0.0.0", 0)).ok()?;
        socket.connect(manager.as_str()).ok()?;
        Some(socket.local_addr().ok()?.ip().to_string())
    };
    managers.iter().find_map(address).unwrap_or_default()
}

fn with_standing(mut reply: pb::InfoReply, standing: Standing) -> pb::InfoReply {
    match standing {
        Standing::Inactive => reply.set_swarm(pb::SwarmState::Inactive),
        Standing::Failed(why) => {
            reply.set_swarm(pb::SwarmState::Error);
            reply.error = why;
        }
        Standing::Locked(locked) => {
            reply.set_swarm(pb::SwarmState::Locked);
            reply.node_id = locked.identity.node.to_bytes();
            reply.cluster_id = locked.identity.cluster.to_bytes();
            reply.address = locked.swarm.advertise;
            reply.managers = locked.swarm.managers;
            reply.unlock_key_id = locked.key.to_string();
        }
        Standing::Active { swarm, identity, counts, read_only, missing, trouble, managers, locked_with } => {
            reply.set_swarm(pb::SwarmState::Active);
            reply.node_id = identity.node.to_bytes();
            reply.cluster_id = identity.cluster.to_bytes();
            reply.manager = identity.role == NodeRole::Manager;
            reply.unlock_key_id = locked_with.map(|key| key.to_string()).unwrap_or_default();
            reply.read_only_reason = read_only.unwrap_or_default();
            reply.warnings.extend(missing);
            if !trouble.is_empty() {
                reply.warnings.push(format!("this node takes no tasks on: {trouble}"));
            }
            reply.address = if swarm.advertise.is_empty() { way_to(&managers) } else { swarm.advertise };
            reply.managers = managers;
            if let Some(counts) = counts {
                reply.nodes = counts.nodes;
                reply.manager_count = counts.managers;
                reply.heartbeat_ms = pb::ClusterSpec::from(&counts.spec).heartbeat_ms;
                reply.task_history_limit = counts.spec.task_history_limit;
                reply.autolock = counts.spec.autolock;
                reply.root_rotating = counts.root_rotating;
                reply.raft_heartbeat_ms = millis(counts.raft.heartbeat);
                reply.raft_election_ms = millis(counts.raft.election);
            }
        }
    }
    reply
}
