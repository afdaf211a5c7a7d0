//! A node: one machine of the cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::Meta;
use super::id::NodeId;
use super::moment::Moment;
use super::spec::Resources;

/// A node and what the managers know of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its id: the CN of its certificate.
    pub id: NodeId,
    /// Version and times.
    pub meta: Meta,
    /// What the user wants of it.
    pub spec: NodeSpec,
    /// What its agent says of the machine.
    pub description: NodeDescription,
    /// Whether it answers.
    pub status: NodeStatus,
    /// As in its certificate; `spec.role` is what it should become.
    pub role: NodeRole,
    /// Set on managers.
    pub manager: Option<ManagerStatus>,
    /// PEM of the certificate it was last given.
    pub certificate: String,
    /// The key that it proved itself with when it asked for that certificate. If the answer was lost on the way, this is still the
    /// key that it has.
    pub proven_key: Option<KeyPrint>,
}

/// SHA-256 of a public key (`SubjectPublicKeyInfo` in DER): what a node is known by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyPrint([u8; 32]);

impl KeyPrint {
    /// The print of a public key.
    #[must_use]
    pub fn of_spki(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// Reads stored bytes; `None` unless there are 32.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// To be stored.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        self.0.to_vec()
    }
}

impl fmt::Display for KeyPrint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyPrint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPrint({self})")
    }
}

impl FromStr for KeyPrint {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let pair = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let bytes: Option<Vec<u8>> = (0..64).step_by(2).map(pair).collect();
        bytes.filter(|_| text.len() == 64).and_then(|bytes| Self::from_bytes(&bytes)).ok_or(())
    }
}

/// What a user wants of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeSpec {
    /// Labels for constraints.
    pub labels: BTreeMap<String, String>,
    /// Whether tasks may run there.
    pub availability: Availability,
    /// What it should be.
    pub role: NodeRole,
}

/// Whether tasks may run on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Availability {
    /// They may.
    Active,
    /// No new ones.
    Pause,
    /// None: those there are moved.
    Drain,
}

/// What a node is in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeRole {
    /// Runs tasks.
    Worker,
    /// Also holds the state and votes.
    Manager,
}

/// A machine as its agent describes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeDescription {
    /// Hostname.
    pub hostname: String,
    /// Operating system and architecture.
    pub platform: Platform,
    /// What it has.
    pub resources: Resources,
    /// Version of the daemon.
    pub engine_version: String,
    /// Labels given to the daemon.
    pub engine_labels: BTreeMap<String, String>,
    /// What keeps it from taking tasks on, as a full disk; empty when nothing does.
    pub trouble: String,
}

/// Operating system and architecture, as in `linux` and `x86_64`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Platform {
    /// As in `linux`.
    pub os: String,
    /// As in `x86_64`.
    pub architecture: String,
}

/// Whether a node answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeState {
    /// Nothing is known since the leader changed; nothing is moved.
    Unknown,
    /// It answers.
    Ready,
    /// It does not; what it ran is run elsewhere.
    Down,
    /// Its daemon was stopped a moment ago, as for an upgrade: it gets no new tasks, and keeps those that it has if it is back soon.
    Disconnected,
}

/// Whether a node answers, and why not.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeStatus {
    /// Whether it answers.
    pub state: NodeState,
    /// Why, in a few words.
    pub message: String,
    /// Where it was last seen.
    pub address: String,
    /// When its state last changed, by the leader's clock. The store keeps it; what a change says of it is not read.
    pub since: Moment,
}

impl NodeStatus {
    /// A status to be written.
    #[must_use]
    pub fn new(state: NodeState, message: &str, address: &str) -> Self {
        Self { state, message: message.to_owned(), address: address.to_owned(), since: Moment(0) }
    }
}

/// A manager's place in the Raft group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagerStatus {
    /// Never used again once removed.
    pub raft_id: u64,
    /// HOST:PORT that the others reach it at.
    pub address: String,
}

impl Node {
    /// It was let in and has not been heard of since: where a node is reached is known from its first word on, and stays known.
    #[must_use]
    pub fn never_came(&self) -> bool {
        self.manager.is_none() && self.status.state != NodeState::Ready && self.status.address.is_empty()
    }

    /// New tasks may be placed on it.
    #[must_use]
    pub fn takes_tasks(&self) -> bool {
        let is_able = self.status.state == NodeState::Ready && self.description.trouble.is_empty();
        is_able && self.spec.availability == Availability::Active
    }

    /// Tasks on it must be run elsewhere.
    #[must_use]
    pub fn sheds_tasks(&self) -> bool {
        self.status.state == NodeState::Down || self.spec.availability == Availability::Drain
    }
}
