//! The checked values that decisions are made on. A value of these types has been validated: names are well-formed,
//! numbers are within their bounds, ids are of their kind. Only [`crate::convert`] and the managers' own code make them.
//!
//! - [`id`]: one type for each kind of object, so that a node's id is never taken for a task's.
//! - [`moment`]: time as a value; nothing that decides reads a clock. [`time`]: how drivers make one that never goes back.
//! - [`spec`], [`service`]: what a user asks for, and the service that keeps it.
//! - [`task`]: one run of one container on one node; its states only grow. [`disconnect`]: what becomes of it when its node is cut off.
//! - [`node`], [`cluster`]: the machines, and what they share. [`constraint`]: which machines a task may be on.
//! - [`token`]: what a machine needs to join; [`grant`]: what limits it; [`attempt`]: by what it is known until it has come. [`lock`]: what
//!   unlocks a manager.

pub mod attempt;
pub mod cluster;
pub mod constraint;
pub mod disconnect;
pub mod grant;
pub mod id;
pub mod lock;
pub mod moment;
pub mod name;
pub mod node;
pub mod service;
pub mod spec;
pub mod task;
pub mod time;
pub mod token;

pub use attempt::{ATTEMPT_LEN, JoinAttempt};
pub use cluster::{BACKDATE, Cluster, ClusterSpec, Era, RaftTiming, Rotation};
pub use constraint::label_of;
pub use disconnect::OnDisconnect;
pub use grant::{Grant, GrantError};
pub use id::{ClusterId, NodeId, ParseIdError, ServiceId, SessionId, TaskId};
pub use lock::{Autolock, KeyId, KeyIdError, UnlockKey, UnlockKeyError};
pub use moment::{Moment, Seed};
pub use name::{NameError, ServiceName};
pub use node::{
    Availability, KeyPrint, ManagerStatus, Node, NodeDescription, NodeRole, NodeSpec, NodeState, NodeStatus, Platform,
};
pub use service::{Freshness, Revision, Service, UpdateStatus};
pub use spec::{
    Constraint, ContainerSpec, MinAvailable, Mode, Placement, PortConfig, Protocol, PublishMode, Resources,
    RestartCondition, RestartPolicy, ServiceSpec, TaskSpec, UpdateConfig,
};
pub use task::{DesiredState, Slot, Task, TaskState, TaskStatus};
pub use time::SteadyTime;
pub use token::{JoinToken, RootDigest, TokenError, TokenSecret, TokenText};

/// What every stored object carries besides its id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Raft index of the last write. An update names the version it was computed from and is refused when it is stale.
    pub version: u64,
    /// When the object was made, by the clock of the leader that proposed it.
    pub created_at: Moment,
    /// When it was last written, by the same clock.
    pub updated_at: Moment,
}
