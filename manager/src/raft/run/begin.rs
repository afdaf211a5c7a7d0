//! What a member begins with: the log and the settings that its files tell, and the machine on them.

use raft::eraftpb::SnapshotMetadata;
use raft::storage::{GetEntriesContext, Storage};
use skep_proto::model::Seed;

use super::super::disk::snapshot::Loaded;
use super::super::disk::{RaftDir, wal};
use super::super::error::RaftError;
use super::super::log::{Log, founded_by};
use super::super::machine::Machine;
use super::super::timing::config;
use super::Options;
use crate::store::{Change, Store, codec};
use crate::sys;

/// Ticks a heartbeat. Election timeouts are drawn in ticks: fine ones keep two members from standing in the same.
pub(super) const TICKS_A_HEARTBEAT: u32 = 5;

pub(super) fn install(store: &Store, loaded: Loaded) -> u64 {
    store.install(loaded.state);
    loaded.bytes
}

/// The log that the files tell.
pub(super) fn recovered_log(dir: &RaftDir, loaded: Option<&Loaded>, past: &mut wal::Past) -> Result<Log, RaftError> {
    let begun = match loaded {
        Some(loaded) => loaded.about.clone(),
        None if dir.member.founded => founded_by(dir.member.raft_id),
        None => SnapshotMetadata::default(),
    };
    let index = begun.index;
    let log = Log::recover(begun, std::mem::take(&mut past.saved));
    let log = log.ok_or_else(|| RaftError::Gap { dir: dir.path().to_owned(), index })?;
    // It ended while it joined, before it was sent anything: whether the others know of it, it does not, so there is no seat to take up.
    if dir.resumes && log.last() == 0 {
        return Err(RaftError::Empty { path: dir.path().to_owned() });
    }
    Ok(log)
}

/// Entries among which a founder's first transaction is, before its first snapshot.
const FOUNDING_MAX: u64 = 16;

/// How the cluster wants its members to behave, if anything of it is known here.
pub(super) fn settled(loaded: Option<&Loaded>, log: &Log) -> Option<Options> {
    if let Some(cluster) = loaded.and_then(|loaded| loaded.state.cluster()) {
        return Some(cluster.spec.raft.into());
    }
    let first = log.snapshot_about().index + 1;
    let end = (log.last() + 1).min(first + FOUNDING_MAX);
    let entries = log.entries(first, end, None, GetEntriesContext::empty(false)).unwrap_or_default();
    let changes = entries.iter().flat_map(|entry| codec::decode(&entry.data).unwrap_or_default()).flatten();
    changes.flat_map(|transaction| transaction.changes).find_map(|change| match change {
        Change::PutCluster(cluster) => Some(cluster.spec.raft.into()),
        _ => None,
    })
}

pub(super) fn machine(
    raft_id: u64,
    options: Options,
    log: Log,
    applied: u64,
    logger: &slog::Logger,
) -> Result<Machine, RaftError> {
    let seed = Seed::new(sys::random_bits());
    let heartbeats = options.election.as_millis() / options.heartbeat.as_millis().max(1);
    let heartbeats = usize::try_from(heartbeats).unwrap_or(1 << 20).max(2);
    let config = config(raft_id, TICKS_A_HEARTBEAT as usize, heartbeats);
    let machine = Machine::new(&config, log, applied, seed, logger);
    machine.map_err(|source| RaftError::Machine { action: "start", source })
}
