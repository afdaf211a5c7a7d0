//! What all nodes of a cluster share.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Meta;
use super::grant::Grant;
use super::id::{ClusterId, NodeId};
use super::lock::Autolock;
use super::moment::Moment;

/// Certificates begin this long before they are made, so that a machine whose clock is behind accepts them. Their life is counted
/// from when they were made.
pub const BACKDATE: Duration = Duration::from_secs(3600);

/// The cluster: one a state.
#[derive(Clone, PartialEq)]
pub struct Cluster {
    /// Its id: the O of its certificates.
    pub id: ClusterId,
    /// Version and times.
    pub meta: Meta,
    /// What the user wants.
    pub spec: ClusterSpec,
    /// PEM of the trust root.
    pub root_certificate: String,
    /// PEM of its key. Never leaves the managers.
    pub root_key: String,
    /// Makes its bearer a worker.
    pub worker_token: String,
    /// Makes its bearer a manager.
    pub manager_token: String,
    /// Tokens with limits and tokens past them, oldest first. The two above may be among them; where they are not, they admit for
    /// ever.
    pub grants: Vec<Grant>,
    /// Another root on its way in.
    pub rotation: Option<Box<Rotation>>,
    /// What managers keep their keys under.
    pub lock: Autolock,
    /// Which of its lives it is in.
    pub era: Era,
    /// HOST:PORT of managers of earlier lives that have not been heard in this one.
    pub former_managers: Vec<String>,
}

/// A cluster that was made anew, from one survivor or from a backup, lives once more: whoever is still in an earlier life must not act.
/// The number is the moment when an operator said so, or a little more, so that the latest word of an operator counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Era(pub u64);

impl Era {
    /// The one that begins now.
    #[must_use]
    pub fn next(self, now: Moment) -> Self {
        Self(now.0.max(self.0 + 1))
    }
}

impl Cluster {
    /// PEM of every root that is trusted now; the one that digests in tokens are of is the first.
    #[must_use]
    pub fn trust(&self) -> String {
        let next = self.rotation.as_ref().map_or("", |rotation| &rotation.certificate);
        let gap = if next.is_empty() || self.root_certificate.ends_with('\n') { "" } else { "\n" };
        format!("{}{gap}{next}", self.root_certificate)
    }
}

/// Another root on its way in: it signs already, and is trusted beside the old one until every node has a certificate of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Rotation {
    /// PEM of the root that comes.
    pub certificate: String,
    /// PEM of its key. Never leaves the managers.
    pub key: String,
    /// PEM: the name and key of the one that comes, signed by the one that goes.
    pub cross_signed: String,
    /// Since when.
    pub started_at: Moment,
    /// Nodes that are not waited for.
    pub abandoned: BTreeSet<NodeId>,
}

impl std::fmt::Debug for Rotation {
    /// Leaves the key out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { started_at, abandoned, .. } = self;
        f.debug_struct("Rotation").field("started_at", started_at).field("abandoned", abandoned).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Cluster {
    /// Leaves key and tokens out: they have no place in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, meta, spec, .. } = self;
        f.debug_struct("Cluster").field("id", id).field("meta", meta).field("spec", spec).finish_non_exhaustive()
    }
}

/// What a user may set for the whole cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterSpec {
    /// Tasks kept for each slot, the live one counted; negative keeps all.
    pub task_history_limit: i32,
    /// How often an agent says that it lives; silence for three times that is Down.
    pub heartbeat: Duration,
    /// Life of a node's certificate.
    pub certificate_life: Duration,
    /// A manager that restarts is locked until it is given the unlock key.
    pub autolock: bool,
    /// How managers hear each other.
    pub raft: RaftTiming,
}

/// How the members of Raft hear each other. Settled when the cluster is founded, since all must have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaftTiming {
    /// How often a leader says that it lives. A tenth of the election time, so that nine lost ones are no reason for an election.
    pub heartbeat: Duration,
    /// Silence after which a follower stands for election.
    pub election: Duration,
}

impl Default for RaftTiming {
    fn default() -> Self {
        Self { heartbeat: Duration::from_millis(100), election: Duration::from_secs(1) }
    }
}

impl Default for ClusterSpec {
    /// Docker's history and certificate life; a heartbeat five times quicker, because one message a second costs nothing
    /// on a kept-open stream and a dead node is then known after three seconds.
    fn default() -> Self {
        Self {
            task_history_limit: 5,
            heartbeat: Duration::from_secs(1),
            certificate_life: Duration::from_secs(90 * 24 * 3600),
            autolock: false,
            raft: RaftTiming::default(),
        }
    }
}
