//! The cluster object.

use super::error::ConvertError;
use super::fields::{each, meta, meta_out, moment, moment_ms, required, span_in, span_ms};
use crate::model::{
    Autolock, Cluster, ClusterId, ClusterSpec, Era, Grant, Moment, NodeId, RaftTiming, Rotation, UnlockKey,
};
use crate::pb;

/// Quickest heartbeat: below 100 ms the messages of a large cluster would be the leader's main work.
const HEARTBEAT_MS_MIN: u64 = 100;
/// Slowest: beyond ten minutes a dead node is as good as never noticed.
const HEARTBEAT_MS_MAX: u64 = 600_000;
/// Docker's least life of a certificate, an hour. A shorter one is worth nothing: it would be renewed all the time, an absence of a
/// few minutes would outlast it, and certificates are good for an hour before they are made, for clocks that are behind.
const CERTIFICATE_MS_MIN: u64 = 3_600_000;
/// A hundred years.
const CERTIFICATE_MS_MAX: u64 = 100 * 366 * 24 * 3_600_000;

/// Quickest heartbeat of Raft: below ten milliseconds a busy machine is late for most of them.
const RAFT_HEARTBEAT_MS_MIN: u64 = 10;
/// Slowest: managers on other continents need a second, and ten leave room.
const RAFT_HEARTBEAT_MS_MAX: u64 = 10_000;
/// An election time has at least so many heartbeats: a lost one or two are no reason for an election.
const RAFT_HEARTBEATS_MIN: u64 = 5;
/// Longest election time: for so long a swarm whose leader hangs decides nothing.
const RAFT_ELECTION_MS_MAX: u64 = 60_000;

/// Checks how managers are to hear each other; what is zero is the default.
///
/// # Errors
/// When one of the two is out of its bounds.
pub fn raft_timing(heartbeat_ms: u64, election_ms: u64) -> Result<RaftTiming, ConvertError> {
    let default = RaftTiming::default();
    let or = |ms: u64, default| if ms == 0 { span_ms(default) } else { ms };
    let (heartbeat, election) = (or(heartbeat_ms, default.heartbeat), or(election_ms, default.election));
    let heartbeats = RAFT_HEARTBEAT_MS_MIN..=RAFT_HEARTBEAT_MS_MAX;
    let spans = heartbeat.saturating_mul(RAFT_HEARTBEATS_MIN)..=RAFT_ELECTION_MS_MAX;
    Ok(RaftTiming {
        heartbeat: span_in(heartbeat, "the heartbeat of Raft", heartbeats)?,
        election: span_in(election, "the election time of Raft", spans)?,
    })
}

impl TryFrom<pb::ClusterSpec> for ClusterSpec {
    type Error = ConvertError;

    fn try_from(spec: pb::ClusterSpec) -> Result<Self, ConvertError> {
        let heartbeat = HEARTBEAT_MS_MIN..=HEARTBEAT_MS_MAX;
        let life = CERTIFICATE_MS_MIN..=CERTIFICATE_MS_MAX;
        Ok(Self {
            task_history_limit: spec.task_history_limit,
            heartbeat: span_in(spec.heartbeat_ms, "the heartbeat period", heartbeat)?,
            certificate_life: span_in(spec.certificate_life_ms, "the life of certificates", life)?,
            autolock: spec.autolock,
            raft: raft_timing(spec.raft_heartbeat_ms, spec.raft_election_ms)?,
        })
    }
}

impl From<&ClusterSpec> for pb::ClusterSpec {
    fn from(spec: &ClusterSpec) -> Self {
        Self {
            task_history_limit: spec.task_history_limit,
            heartbeat_ms: span_ms(spec.heartbeat),
            certificate_life_ms: span_ms(spec.certificate_life),
            autolock: spec.autolock,
            raft_heartbeat_ms: span_ms(spec.raft.heartbeat),
            raft_election_ms: span_ms(spec.raft.election),
        }
    }
}

impl TryFrom<pb::Cluster> for Cluster {
    type Error = ConvertError;

    fn try_from(cluster: pb::Cluster) -> Result<Self, ConvertError> {
        let (id, meta) = meta(cluster.meta, "cluster")?;
        Ok(Self {
            id: ClusterId::from_bytes(&id)?,
            meta,
            spec: required(cluster.spec, "cluster", "spec")?.try_into()?,
            root_certificate: cluster.root_certificate,
            root_key: cluster.root_key,
            worker_token: cluster.worker_token,
            manager_token: cluster.manager_token,
            grants: each(cluster.grants)?,
            rotation: cluster.rotation.map(rotation).transpose()?.map(Box::new),
            lock: cluster.lock.unwrap_or_default().try_into()?,
            era: Era(cluster.era),
            former_managers: cluster.former_managers,
        })
    }
}

impl From<&Cluster> for pb::Cluster {
    fn from(cluster: &Cluster) -> Self {
        Self {
            meta: meta_out(cluster.id.to_bytes(), &cluster.meta),
            spec: Some((&cluster.spec).into()),
            root_certificate: cluster.root_certificate.clone(),
            root_key: cluster.root_key.clone(),
            worker_token: cluster.worker_token.clone(),
            manager_token: cluster.manager_token.clone(),
            grants: cluster.grants.iter().map(Into::into).collect(),
            rotation: cluster.rotation.as_deref().map(rotation_out),
            lock: Some((&cluster.lock).into()).filter(|lock| *lock != pb::Autolock::default()),
            era: cluster.era.0,
            former_managers: cluster.former_managers.clone(),
        }
    }
}

fn rotation(part: pb::RootRotation) -> Result<Rotation, ConvertError> {
    let abandoned: Result<_, _> = part.abandoned.iter().map(|id| NodeId::from_bytes(id)).collect();
    Ok(Rotation {
        certificate: part.certificate,
        key: part.key,
        cross_signed: part.cross_signed,
        started_at: Moment(part.started_at),
        abandoned: abandoned?,
    })
}

fn rotation_out(part: &Rotation) -> pb::RootRotation {
    pb::RootRotation {
        certificate: part.certificate.clone(),
        key: part.key.clone(),
        cross_signed: part.cross_signed.clone(),
        started_at: part.started_at.0,
        abandoned: part.abandoned.iter().map(|id| id.to_bytes()).collect(),
    }
}

impl TryFrom<pb::Autolock> for Autolock {
    type Error = ConvertError;

    fn try_from(lock: pb::Autolock) -> Result<Self, ConvertError> {
        let key = |bytes: &Vec<u8>| UnlockKey::from_bytes(bytes).ok_or(ConvertError::UnlockKey);
        let past: Result<_, _> = lock.past.iter().map(key).collect();
        let now = Some(&lock.key).filter(|bytes| !bytes.is_empty()).map(key).transpose()?;
        Ok(Self { version: lock.version, key: now, past: past? })
    }
}

impl From<&Autolock> for pb::Autolock {
    fn from(lock: &Autolock) -> Self {
        let bytes = |key: &UnlockKey| key.as_bytes().to_vec();
        Self {
            version: lock.version,
            key: lock.key.as_ref().map(bytes).unwrap_or_default(),
            past: lock.past.iter().map(bytes).collect(),
        }
    }
}

impl TryFrom<pb::TokenGrant> for Grant {
    type Error = ConvertError;

    fn try_from(grant: pb::TokenGrant) -> Result<Self, ConvertError> {
        Ok(Self {
            role: grant.role().try_into()?,
            token: grant.token,
            expires_at: moment(grant.expires_at),
            uses: Some(grant.uses).filter(|uses| *uses > 0),
            used: grant.used,
            is_rotated: grant.rotated,
        })
    }
}

impl From<&Grant> for pb::TokenGrant {
    fn from(grant: &Grant) -> Self {
        Self {
            token: grant.token.clone(),
            role: pb::NodeRole::from(grant.role).into(),
            expires_at: moment_ms(grant.expires_at),
            uses: grant.uses.unwrap_or(0),
            used: grant.used,
            rotated: grant.is_rotated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timing_of_raft_is_the_default_or_within_its_bounds() {
        assert_eq!(raft_timing(0, 0), Ok(RaftTiming::default()));
        let timing = raft_timing(50, 0).unwrap();
        assert_eq!((span_ms(timing.heartbeat), span_ms(timing.election)), (50, 1_000));
        for (heartbeat, election) in [(9, 0), (10_001, 60_000), (100, 499), (1_000, 0), (100, 60_001), (u64::MAX, 0)] {
            assert!(raft_timing(heartbeat, election).is_err(), "{heartbeat} {election}");
        }
        assert!(raft_timing(10_000, 60_000).is_ok() && raft_timing(10, 50).is_ok());
        let told = raft_timing(1_000, 0).unwrap_err().to_string();
        assert_eq!(told, "use 1s as the election time of Raft: it must be between 5s and 1m");
    }
}
