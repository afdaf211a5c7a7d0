//! How far the replacement of the root is, as the leader's loop sees it: for whoever wants to know.

use skep_proto::model::NodeId;

/// What a node said that it proves itself with and whom it trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presented {
    /// Digest of the root that signed its certificate.
    pub root: Vec<u8>,
    /// Digest of the roots that it trusts.
    pub trust: Vec<u8>,
    /// Version of the lock that its keys lie under, if it is a manager.
    pub lock: u64,
}

/// How far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RotationProgress {
    /// Nodes that are waited for, or were.
    pub nodes: usize,
    /// Of these, know both roots.
    pub trusting: usize,
    /// And have a certificate of the new one.
    pub certified: usize,
    /// Not there yet; `true`: it is down.
    pub waiting: Vec<(NodeId, bool)>,
}
